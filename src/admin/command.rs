//! Commands and replies, which are the wire form of the control socket too: one JSON object a line.
//!
//! Rows are shown as they are by `--json`; the command line turns them into tables otherwise.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::provider::Imported;

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// How everything stands: one row.
    Status,
    /// Whether addresses are suppressed: one row each.
    Lookup {
        /// The addresses.
        addresses: Vec<String>,
        /// A scope, else `global`.
        scope: Option<String>,
    },
    /// Everything behind the verdict on an address: one row.
    Explain {
        /// The address.
        address: String,
    },
    /// The suppressions that match: one row each.
    List {
        /// Which.
        filter: ListFilter,
    },
    /// Suppresses addresses by hand: one row each.
    Add {
        /// The addresses.
        addresses: Vec<String>,
        /// A scope, else `global`.
        scope: Option<String>,
        /// For how many seconds; else for ever.
        seconds: Option<u64>,
        /// Why.
        note: Option<String>,
    },
    /// Lifts suppressions of the addresses, or of all that match: one row each.
    Lift {
        /// The addresses; empty: all that match.
        addresses: Vec<String>,
        /// Which of their suppressions.
        filter: ListFilter,
        /// Why.
        note: Option<String>,
        /// Only shows what would be lifted.
        dry_run: bool,
    },
    /// Erases what was told of addresses: one row each, and one with the counts at the end.
    Forget {
        /// The addresses.
        addresses: Vec<String>,
        /// Only counts.
        dry_run: bool,
    },
    /// Ends the grounds of a source that the configuration has no longer: one row.
    Retire {
        /// The source.
        source: String,
        /// Why.
        note: Option<String>,
        /// Only counts.
        dry_run: bool,
    },
    /// The masses of new suppressions that are held back: one row each.
    Held,
    /// Lets such a mass go: one row.
    Release {
        /// Its id.
        id: u64,
    },
    /// Lifts all that such a mass holds, and ends it: one row each.
    LiftHeld {
        /// Its id.
        id: u64,
        /// Why.
        note: Option<String>,
        /// Only shows what would be lifted.
        dry_run: bool,
    },
    /// Reads the journal again under the present rules: a row for each verdict that changes, and
    /// one with the counts at the end.
    Rejudge {
        /// Makes it so.
        apply: bool,
    },
    /// The events that match: one row each, oldest first.
    Events {
        /// Which.
        query: EventQuery,
        /// Goes on with events as they come.
        follow: bool,
    },
    /// The webhooks that were turned away last: one row each, oldest first.
    Refused {
        /// Of this source.
        source: Option<String>,
        /// Goes on with them as they come.
        follow: bool,
    },
    /// Polls now: a row for each source when it is done, progress before.
    Poll {
        /// One source; else all that are polled.
        source: Option<String>,
        /// From this RFC 3339 time, instead of the cursor.
        since: Option<String>,
    },
    /// Compares a provider's own suppression list with ours: a row for each difference, and one
    /// with the counts at the end.
    Drift {
        /// The source.
        source: String,
    },
    /// Takes rows of a file that was read by the command line: one row, once they are durable.
    Import {
        /// The source that they are attributed to; else `import`.
        source: Option<String>,
        /// Whether nobody need have heard of that source.
        #[serde(default)]
        new_source: bool,
        /// The rows.
        rows: Vec<Imported>,
        /// Waits until the store has applied all that is durable; progress before.
        apply: bool,
    },
    /// Reads the configuration again: one row, once that is in force or refused.
    Reload {
        /// The file that is meant; a daemon that has another one refuses.
        #[serde(default)]
        file: Option<PathBuf>,
    },
    /// How the fleet stands: one row, with the hosts in it.
    Fleet,
    /// Compares the standings with the other hosts', and mends what differs: a row for each host.
    FleetRepair,
    /// Where the state is, and up to where its journal is durable: one row.
    Backup,
    /// Writes exports now: one row each.
    Export {
        /// One export; else all.
        name: Option<String>,
        /// Past the guards.
        force: bool,
    },
    /// Tells a receiver again what came or turned since a time: one row.
    ForwardReplay {
        /// The forward.
        name: String,
        /// From this RFC 3339 time on.
        since: String,
    },
    /// Sends a signed sample notification to our own listener: one row.
    Trigger {
        /// The source.
        source: String,
        /// The kind of event.
        kind: String,
        /// The recipient.
        address: String,
    },
    /// Looks at journal, checkpoints, base and store: a row for each, and for each problem.
    Verify,
    /// The payloads in quarantine: one row each.
    QuarantineList,
    /// One payload in quarantine: one row.
    QuarantineShow {
        /// Its id.
        id: String,
    },
    /// Reads payloads again: one row each.
    QuarantineReplay {
        /// Their ids; empty: all.
        ids: Vec<String>,
    },
    /// Forgets payloads: one row each.
    QuarantineDrop {
        /// Their ids; empty: all.
        ids: Vec<String>,
    },
}

/// Which suppressions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListFilter {
    /// Of this reason.
    pub reason: Option<String>,
    /// Of this source.
    pub source: Option<String>,
    /// Of this domain, as a U-label or an A-label; not its subdomains.
    pub domain: Option<String>,
    /// Of this scope.
    pub scope: Option<String>,
    /// Begun at or after this RFC 3339 time.
    pub since: Option<String>,
    /// Begun before this RFC 3339 time.
    pub until: Option<String>,
    /// Only what failures of this class made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Only what failures made in whose diagnostic this text stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnostic: Option<String>,
}

/// Which events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventQuery {
    /// To this address.
    pub address: Option<String>,
    /// Of this message.
    pub message_id: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// Of this class of failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Of this source.
    pub source: Option<String>,
    /// At or after this RFC 3339 time.
    pub since: Option<String>,
    /// Before this RFC 3339 time.
    pub until: Option<String>,
    /// No more than the last so many of those that are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// What an operator is answered: rows and progress, then `Done` or `Failed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// The command was understood, and is being carried out: the first reply to each.
    Heard,
    /// One object of the answer.
    Row {
        /// The object.
        row: Value,
    },
    /// How far a long command has come.
    Progress {
        /// What it is about, such as a source.
        what: String,
        /// Pages read so far.
        pages: u64,
        /// Rows read so far.
        rows: u64,
        /// The part of the window that is read, 0 to 1, where it is known.
        part: Option<f64>,
        /// How long a provider has told us to wait, in seconds, if it does now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wait: Option<u64>,
    },
    /// The end of a command that was carried out.
    Done,
    /// The end of a command that was not, or not wholly.
    Failed {
        /// What is wrong, and a hint.
        error: String,
        /// Whether the command itself was wrong (exit 64), not its carrying out (exit 1).
        usage: bool,
    },
}
