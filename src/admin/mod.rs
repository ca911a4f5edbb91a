//! What operators ask for: the verbs behind the control socket, and health.
//!
//! Looks through `Reader`, changes through `Ingest`, and has the handles of the edges that can be
//! told to act now. Knows nothing of sockets or of how an answer is shown.

mod actions;
mod api;
mod cause;
mod census;
mod command;
mod drift;
mod events;
mod explain;
mod exports;
mod fleet;
mod forget;
mod health;
mod import;
mod lift;
mod masses;
mod measure;
mod overview;
mod process;
mod quarantine;
mod refused;
mod rejudge;
mod reload;
mod replies;
mod rows;
mod status;
mod suppressions;
mod trends;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use actions::there_are;
pub use api::{Answered, VerdictChange};
pub use census::{Census, keep_counting};
pub use command::{Command, EventQuery, ListFilter, Reply};
pub use forget::keep_forgetting;
pub use health::{Certificate, Health, HealthCheck, worst};
pub use masses::keep_letting_go;
pub use overview::Overview;
pub use reload::{Reloaded, Reloads, Wish};
pub use replies::{Heard, Line, Replies, replies};
pub use trends::Point;
pub use verify::{Configured, verify_stopped};

use tokio::sync::{Mutex, watch};

use crate::acme::Keeper;
use crate::current::Current;
use crate::export::handle::Exports;
use crate::fleet::Handle as Fleet;
use crate::forward::Forwards;
use crate::ingest::{Changes, Ingest, Receipt, Refused};
use crate::listen::Listen;
use crate::lookup::Lookups;
use crate::model::{Element, QuarantineId, SourceName, Submission, Time};
use crate::poll::Polls;
use crate::rules::Rules;
use crate::store::{Checkpoints, Reader, StoreError};
use crate::webhook::Webhooks;
use crate::{clock, provider};

/// What the operator's verbs work on.
pub struct Admin {
    /// The way in.
    pub ingest: Ingest,
    /// The way to look.
    pub reader: Reader,
    /// Where every change of a verdict is told.
    pub changes: Changes,
    /// The rules in force.
    pub rules: Arc<Rules>,
    /// The webhooks, to sign samples for.
    pub webhooks: Webhooks,
    /// The exports.
    pub exports: Exports,
    /// The polls.
    pub polls: Polls,
    /// Who is told of events and suppressions.
    pub forwards: Forwards,
    /// The live lookups.
    pub lookups: Lookups,
    /// The other hosts that know the same. `None`: there are none.
    pub fleet: Option<Fleet>,
    /// The configured sources.
    pub sources: Vec<SourceInfo>,
    /// How many suppressions there are, and how they and events went.
    pub census: Arc<Census>,
    /// When the daemon started.
    pub started: Time,
    /// How the certificate of the public listener stands, if it speaks TLS.
    pub certificate: Option<Arc<Current<Certificate>>>,
    /// Who obtains it, if we do.
    pub keeper: Option<Arc<Keeper>>,
    /// Where the public listener listens.
    pub public: Listen,
    /// Whether it speaks TLS.
    pub public_tls: bool,
    /// The state directory.
    pub state: PathBuf,
    /// Where what cannot be read is kept.
    pub quarantine: PathBuf,
    /// The checkpoints.
    pub checkpoints: Arc<Checkpoints>,
    /// The way to a reload.
    pub reloads: Reloads,
    /// Held by who applies what the present rules make of the journal.
    pub rejudging: Arc<Mutex<()>>,
}

/// A configured source.
#[derive(Clone, Debug)]
pub struct SourceInfo {
    /// Its name.
    pub name: SourceName,
    /// Its provider's name.
    pub provider: &'static str,
    /// How long it may say nothing. `None`: for ever.
    pub silent: Option<Duration>,
}

/// Why a command was not carried out.
struct Failure {
    error: String,
    usage: bool,
}

impl Failure {
    /// The command itself is wrong.
    fn usage(error: impl ToString) -> Failure {
        Failure { error: error.to_string(), usage: true }
    }

    /// It could not be carried out.
    fn failed(error: impl ToString) -> Failure {
        Failure { error: error.to_string(), usage: false }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::failed(error)
    }
}

impl From<Refused> for Failure {
    fn from(error: Refused) -> Failure {
        Failure::failed(format!("nothing was changed: {error}"))
    }
}

/// Nobody listens any more.
fn unheard<E>(_: E) -> Failure {
    Failure::failed("the client has gone")
}

impl Admin {
    /// Carries out one command. Every answer goes to `replies`; when its receiver is gone, the
    /// command ends early.
    pub async fn execute(self: Arc<Self>, command: Command, replies: Replies) {
        let last = match self.carry_out(command, &replies).await {
            Ok(()) => Reply::Done,
            Err(Failure { error, usage }) => Reply::Failed { error, usage },
        };
        // A client that has gone needs no answer.
        let _ = replies.send(last).await;
    }

    async fn carry_out(self: &Arc<Self>, command: Command, to: &Replies) -> Result<(), Failure> {
        // An operator who was told 200 finds what it was about. What brings more does not wait.
        if !matches!(command, Command::Import { .. }) {
            self.ingest.level().await;
        }
        match command {
            Command::Status => row(to, self.status()).await,
            Command::Lookup { addresses, scope } => self.lookup(addresses, scope, to).await,
            Command::Explain { address } => self.explain(&address, to).await,
            Command::List { filter } => self.list(filter, to).await,
            Command::Add { addresses, scope, seconds, note } => {
                self.add(addresses, scope, seconds, note, to).await
            }
            Command::Lift { addresses, filter, note, dry_run } => {
                self.lift(addresses, filter, note, dry_run, to).await
            }
            Command::Forget { addresses, dry_run } => self.forget(addresses, dry_run, to).await,
            Command::Retire { source, note, dry_run } => {
                self.retire(&source, note, dry_run, to).await
            }
            Command::Held => self.masses(to).await,
            Command::Release { id } => self.release(id, to).await,
            Command::LiftHeld { id, note, dry_run } => self.lift_held(id, note, dry_run, to).await,
            Command::Rejudge { apply } => self.rejudge(apply, to).await,
            Command::Events { query, follow } => self.events(query, follow, to).await,
            Command::Refused { source, follow } => self.refused(source, follow, to).await,
            Command::Poll { source, since } => self.poll(source, since, to).await,
            Command::Drift { source } => self.drift(&source, to).await,
            Command::Import { source, new_source, rows, apply } => {
                let source = self.import_source(source.as_deref(), new_source)?;
                self.import(source, rows, apply, to).await
            }
            Command::Fleet => self.show_fleet(to).await,
            Command::FleetRepair => self.repair_fleet(to).await,
            Command::Backup => row(to, self.durable()).await,
            Command::Reload { file } => self.reload(file.as_deref(), to).await,
            Command::Export { name, force } => self.export(name, force, to).await,
            Command::Verify => self.verify(to).await,
            Command::ForwardReplay { name, since } => self.replay(&name, &since, to).await,
            Command::Trigger { source, kind, address } => {
                self.trigger(&source, &kind, &address, to).await
            }
            Command::QuarantineList => self.quarantine_list(to).await,
            Command::QuarantineShow { id } => self.quarantine_show(&id, to).await,
            Command::QuarantineReplay { ids } => self.quarantine_replay(ids, to).await,
            Command::QuarantineDrop { ids } => self.quarantine_drop(ids, to).await,
        }
    }

    /// Hands in what an operator says, and waits until it is applied.
    async fn instruct(
        &self,
        elements: Vec<Element>,
        released: Vec<QuarantineId>,
    ) -> Result<Receipt, Failure> {
        let (source, provider) = (SourceName::operator(), provider::OPERATOR);
        let said = Submission::ours(source, provider, elements, clock::receipt());
        let submission = Submission { released, ..said };
        let receipt = self.ingest.submit(&submission).await?;
        self.ingest.applied(receipt).await;
        Ok(receipt)
    }
}

/// Waits until there is more to tell whoever follows. `false`: they have gone.
async fn is_changed<T>(progress: &mut watch::Receiver<T>, to: &Replies) -> Result<bool, Failure> {
    tokio::select! {
        changed = progress.changed() => {
            changed.map_err(|_| Failure::failed("suppressd is stopping"))?;
            Ok(true)
        }
        () = to.closed() => Ok(false),
    }
}

async fn row(to: &Replies, row: serde_json::Value) -> Result<(), Failure> {
    to.send(Reply::Row { row }).await.map_err(unheard)
}

/// Runs what blocks on the store where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(Failure::failed)?
}
