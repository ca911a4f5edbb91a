//! What is known of the fleet at present, for those who look.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::Handle;
use super::letter::Head;
use crate::clock;
use crate::model::{Position, Time, trust};
use crate::telemetry;
use crate::units::show_duration;

/// A host of which nothing was heard for so long is gone.
pub(super) const ALIVE: Duration = Duration::from_secs(35);
/// How long something may be missing, or not be told, before it wants a hand.
const PATIENCE: Duration = Duration::from_secs(60);
/// For so long a message that was not taken wants a hand: none follows it, and the log has it.
const ASIDE_TOLD: Duration = Duration::from_secs(24 * 60 * 60);
/// A host that was silent for so long is forgotten, if it was retired.
const FORGET: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What is known at present.
pub(super) struct Sight {
    /// Since when no server is reached, if none is.
    pub(super) cut_off: Option<Time>,
    pub(super) server: String,
    /// The stream's last message, and how many have still to be read.
    pub(super) stream: Option<(u64, u64)>,
    /// Messages that were not taken, and when the last came.
    aside: (u64, Option<Time>),
    /// What the last comparison of standings found, and when.
    pub(super) compared: Option<(Time, BTreeMap<Box<str>, u32>)>,
    /// When another host was heard last that has the name of this one.
    twin: Option<Time>,
    heads: BTreeMap<Box<str>, (Head, Time)>,
    problems: BTreeMap<&'static str, (String, Time)>,
}

impl Sight {
    /// Nothing yet, since `now`.
    pub(super) fn new(now: Time) -> Sight {
        Sight {
            cut_off: Some(now),
            server: String::new(),
            stream: None,
            aside: (0, None),
            compared: None,
            twin: None,
            heads: BTreeMap::new(),
            problems: BTreeMap::new(),
        }
    }

    /// Notes that a part does not work, and says so once.
    pub(super) fn fails(&mut self, part: &'static str, problem: String) {
        let known = self.problems.get(part).map(|(known, _)| known == &problem);
        if known != Some(true) {
            telemetry::fleet::fails(part, &problem);
        }
        let since = self.problems.get(part).map_or_else(clock::now, |(_, since)| *since);
        self.problems.insert(part, (problem, since));
    }

    /// Notes that it works.
    pub(super) fn works(&mut self, part: &'static str) {
        if self.problems.remove(part).is_some() {
            telemetry::fleet::works(part);
        }
    }

    /// Notes that a message was not taken.
    pub(super) fn set_aside(&mut self, now: Time) {
        self.aside = (self.aside.0 + 1, Some(now));
    }

    /// Notes what a host tells of itself.
    pub(super) fn hear(&mut self, host: &str, head: Head, now: Time) {
        self.heads.insert(host.into(), (head, now));
        self.heads.retain(|_, (_, heard)| now.since(*heard) < FORGET);
    }

    /// Notes that another host has the name of this one, and says so once.
    pub(super) fn hear_twin(&mut self, name: &str, now: Time) {
        if self.twin.replace(now).is_none() {
            telemetry::fleet::has_a_twin(name);
        }
    }

    /// What the hosts that live have told of themselves.
    pub(super) fn living(&self, now: Time) -> impl Iterator<Item = (&str, &Head)> {
        let heads = self.heads.iter().filter(move |(_, (_, heard))| now.since(*heard) <= ALIVE);
        heads.map(|(host, (head, _))| (&**host, head))
    }

    /// All hosts that are known, and whether each lives.
    pub(super) fn known(&self, now: Time) -> Vec<(Box<str>, bool)> {
        let lives = |heard: &Time| now.since(*heard) <= ALIVE;
        self.heads.iter().map(|(host, (_, heard))| (host.clone(), lives(heard))).collect()
    }

    /// Up to where others know a life of a host.
    pub(super) fn known_of(&self, host: &str, life: u64) -> Option<Position> {
        let seen = self.heads.values().flat_map(|(head, _)| &head.seen);
        let of = seen.filter(|known| &*known.host == host && known.life == life);
        of.map(|known| known.upto).max()
    }
}

/// One host, as this one sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HostRow {
    /// Its name.
    pub host: String,
    /// `self`, `live` or `silent`.
    pub state: &'static str,
    /// When it was heard last.
    pub heard: Option<String>,
    /// The life of its journal.
    pub life: String,
    /// The last record that it has told.
    pub told: String,
    /// How far that is known here.
    pub known: String,
    /// Whether all that it has told is known here.
    pub level: bool,
    /// Bytes of its journal that it has still to tell.
    pub lag_bytes: u64,
    /// By how many seconds its clock is ahead of ours.
    pub clock_seconds: i64,
    /// Whether its rules are ours.
    pub rules_agree: bool,
    /// Whether its sources are.
    pub sources_agree: bool,
    /// The sources that it polls.
    pub polls: Vec<String>,
    /// Its version.
    pub version: String,
    /// In how many of 256 parts its standings differ from ours, when that was compared last.
    pub differs: Option<u32>,
}

/// How this host's part stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// This host's name.
    pub host: String,
    /// Whether it is connected.
    pub connected: bool,
    /// The version of the server.
    pub server: String,
    /// The stream's name.
    pub stream: String,
    /// Messages of it that are still to be read.
    pub stream_behind: Option<u64>,
    /// Bytes of our journal that are still to be told.
    pub lag_bytes: u64,
    /// Messages that were not taken.
    pub set_aside: u64,
    /// What does not work at present.
    pub problems: Vec<String>,
}

/// What is wrong with the fleet, for health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// In words, with a hint. `None`: nothing.
    pub problem: Option<String>,
    /// In words, how it stands otherwise.
    pub well: String,
}

impl Handle {
    /// How this host's part stands.
    pub fn summary(&self) -> Summary {
        let Handle(fleet) = self;
        let lag_bytes = fleet.lag();
        let sight = fleet.sight();
        Summary {
            host: fleet.settings.host.clone(),
            connected: sight.cut_off.is_none(),
            server: sight.server.clone(),
            stream: fleet.settings.stream.clone(),
            stream_behind: sight.stream.map(|(_, behind)| behind),
            lag_bytes,
            set_aside: sight.aside.0,
            problems: problems(&sight),
        }
    }

    /// Every host that is known, this one first.
    pub fn hosts(&self) -> Vec<HostRow> {
        let Handle(fleet) = self;
        // One after the other: each locks the life.
        let life = *fleet.life();
        let (now, lag) = (clock::now(), fleet.lag());
        let polls = fleet.settings.polled.iter().filter(|source| fleet.turns.is_ours(source));
        let ours = HostRow {
            host: fleet.settings.host.clone(),
            state: "self",
            heard: None,
            life: format!("{:016x}", life.number),
            told: life.told.to_string(),
            known: life.told.to_string(),
            level: lag == 0,
            lag_bytes: lag,
            clock_seconds: 0,
            rules_agree: true,
            sources_agree: true,
            polls: polls.map(ToString::to_string).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            differs: None,
        };
        let (reaches, agreed) = (fleet.reaches().clone(), *fleet.agreed.get());
        let sight = fleet.sight();
        let row = |host: &str, (head, heard): &(Head, Time)| {
            let reach = reaches.get(&(Box::from(host), head.life));
            let known = reach.map(crate::model::Reach::upto).unwrap_or_default();
            let differs = sight.compared.as_ref().and_then(|(_, found)| found.get(host));
            let is_live = now.since(*heard) <= ALIVE;
            HostRow {
                host: host.to_owned(),
                state: if is_live { "live" } else { "silent" },
                heard: Some(heard.floor_second().to_string()),
                life: format!("{:016x}", head.life),
                told: head.at.to_string(),
                known: known.to_string(),
                level: known >= head.at,
                lag_bytes: head.lag,
                clock_seconds: (head.clock - heard.nanos()) / 1_000_000_000,
                rules_agree: head.rules == agreed.rules,
                sources_agree: head.sources == agreed.sources,
                polls: if is_live { head.polls.clone() } else { Vec::new() },
                version: head.version.clone(),
                differs: differs.copied(),
            }
        };
        let others = sight.heads.iter().map(|(host, head)| row(host, head));
        std::iter::once(ours).chain(others).collect()
    }

    /// What is wrong, for health. Brings the metrics up to date.
    pub fn check(&self) -> Check {
        let (summary, hosts) = (self.summary(), self.hosts());
        let others = || hosts.iter().skip(1);
        let (behind, disagree) = (
            others().filter(|row| !row.level).count(),
            others().filter(|row| differs(row)).count(),
        );
        telemetry::fleet::hosts(hosts.len(), behind, disagree);
        let Handle(fleet) = self;
        let now = clock::now();
        let sight = fleet.sight();
        let lasting = sight.problems.iter().filter(|(_, (_, since))| now.since(*since) > PATIENCE);
        let mut found: Vec<String> =
            lasting.map(|(part, (problem, _))| format!("{part}: {problem}")).collect();
        if let Some(since) = sight.cut_off.filter(|since| now.since(*since) > PATIENCE) {
            found.push(format!("no NATS server was reached since {since}"));
        }
        if sight.twin.is_some_and(|heard| now.since(heard) <= ALIVE) {
            let name = &fleet.settings.host;
            found.push(format!("another host calls itself {name}: give each a name of its own"));
        }
        for row in others() {
            found.extend(row_problem(row));
        }
        if sight.aside.1.is_some_and(|last| now.since(last) < ASIDE_TOLD) {
            found.push(format!("messages set aside: {}; the log says why", summary.set_aside));
        }
        let hint = "see `suppressd fleet`";
        let problem = (!found.is_empty()).then(|| format!("{}: {hint}", found.join("; ")));
        Check { problem, well: format!("{} hosts", hosts.len()) }
    }
}

fn problems(sight: &Sight) -> Vec<String> {
    sight.problems.iter().map(|(part, (problem, _))| format!("{part}: {problem}")).collect()
}

fn differs(row: &HostRow) -> bool {
    row.state == "live" && !(row.rules_agree && row.sources_agree)
}

/// What an administrator has to know of another host.
fn row_problem(row: &HostRow) -> Option<String> {
    let host = &row.host;
    if row.state == "silent" {
        let heard = row.heard.as_deref().unwrap_or("never");
        return Some(format!("nothing was heard of {host} since {heard}"));
    }
    if !row.rules_agree {
        return Some(format!("{host} has other [rules], and so other suppressions"));
    }
    if !row.sources_agree {
        return Some(format!("{host} has other sources: names and providers must be the same"));
    }
    let off = Duration::from_secs(row.clock_seconds.unsigned_abs());
    if off > trust::SKEW {
        return Some(format!("the clocks of {host} and here differ by {}", show_duration(off)));
    }
    let differs = row.differs.filter(|differs| *differs > 0);
    differs.map(|parts| {
        format!("{parts} of 256 parts of its standings differ: `suppressd fleet repair` mends that")
    })
}
