//! Health: what may be wrong, in one list, and the word that follows from it.
//!
//! `/readyz`, `status` and the metrics all show this list and nothing else.

use std::time::Duration;

use super::{Admin, SourceInfo};
use crate::acme::Trouble;
use crate::clock;
use crate::export::handle::Status as ExportStatus;
use crate::forward::Status as ForwardStatus;
use crate::ingest::Lag;
use crate::journal;
use crate::model::Time;
use crate::poll::Status as PollStatus;
use crate::store::{self, SET_ASIDE_MAX, StoreError};
use crate::units::show_duration;

/// How long before its end a certificate wants a hand.
const CERTIFICATE_TERM: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// How long what was acknowledged may not be applied while the store is called current.
const CURRENT_WITHIN: Duration = Duration::from_secs(1);

/// How long something may wait to be exported, beyond its `min_interval`.
const EXPORT_PATIENCE: Duration = Duration::from_secs(60);

/// How long a receiver may leave something waiting.
const FORWARD_PATIENCE: Duration = Duration::from_secs(60 * 60);

/// After how many failures in a row, and how long without a success, a poll wants a hand.
const POLL_FAILURES: u32 = 3;
const POLL_PATIENCE: Duration = Duration::from_secs(60 * 60);

/// How something stands; the worst comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// All is well.
    Ready,
    /// It serves, and needs a hand.
    Degraded,
    /// It does not serve.
    NotReady,
}

impl Health {
    /// Every one.
    pub const ALL: [Health; 3] = [Health::Ready, Health::Degraded, Health::NotReady];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Ready => "ready",
            Health::Degraded => "degraded",
            Health::NotReady => "not ready",
        }
    }
}

/// One thing that health rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What it is about.
    pub name: &'static str,
    /// Of what: the name of an export or a source.
    pub of: Option<String>,
    /// How it stands.
    pub health: Health,
    /// In words; with a hint where something is wrong.
    pub detail: String,
}

impl HealthCheck {
    /// A check that fails with that health when there is a problem.
    pub(super) fn new(
        name: &'static str,
        ill: Health,
        problem: Option<String>,
        well: &str,
    ) -> HealthCheck {
        let health = if problem.is_some() { ill } else { Health::Ready };
        HealthCheck { name, of: None, health, detail: problem.unwrap_or_else(|| well.to_owned()) }
    }

    fn of(self, name: &str) -> HealthCheck {
        HealthCheck { of: Some(name.to_owned()), ..self }
    }

    /// What it is about, with whose it is.
    pub fn title(&self) -> String {
        match &self.of {
            Some(of) => format!("{} {of}", self.name),
            None => self.name.to_owned(),
        }
    }

    /// Its word where it stands in a list: `ok` when nothing is wrong.
    pub fn word(&self) -> &'static str {
        if self.health == Health::Ready { "ok" } else { self.health.as_str() }
    }
}

/// The worst of them.
pub fn worst(checks: &[HealthCheck]) -> Health {
    checks.iter().map(|check| check.health).max().unwrap_or(Health::Ready)
}

impl Admin {
    /// Everything that health rests on, what is wrong first.
    pub fn checks(&self) -> Vec<HealthCheck> {
        let now = clock::now();
        let mut checks = vec![
            self.intake_check(),
            self.store_check(),
            self.records_check(),
            self.journal_check(),
            self.checkpoint_check(),
            self.quarantine_check(),
            self.held_check(),
            self.disk_check(),
            self.configuration_check(),
        ];
        let certificate = self.certificate.as_ref().map(|certificate| certificate.get());
        checks.extend(certificate.and_then(|certificate| match &self.keeper {
            Some(keeper) => Some(kept_check(&certificate, keeper.trouble(), now)),
            None => certificate_check(&certificate, now),
        }));
        checks.extend(self.fleet_check());
        checks.extend(self.exports.statuses().iter().map(|export| export_check(export, now)));
        checks.extend(self.lookup_checks());
        checks.extend(self.forwards.statuses(now).iter().map(forward_check));
        checks.extend(self.polls.statuses().iter().map(|poll| poll_check(poll, now)));
        checks.extend(self.sources.iter().filter_map(|source| self.silence_check(source, now)));
        checks.sort_by_key(|check| std::cmp::Reverse(check.health));
        checks
    }

    fn intake_check(&self) -> HealthCheck {
        let obstacle = self.ingest.obstacle();
        let problem = obstacle.map(|why| format!("nothing can be made durable: {why}"));
        HealthCheck::new("intake", Health::NotReady, problem, "what comes is made durable")
    }

    fn store_check(&self) -> HealthCheck {
        let problem = match (self.ingest.halted(), self.reader.totals()) {
            (Some((record, form)), _) => {
                let what = "and what follows is not applied";
                let hint = "start the newer version again; intake goes on meanwhile";
                let who = "a newer suppressd has written the journal's record at";
                Some(format!("{who} {record}, in form {form}, {what}: {hint}"))
            }
            (None, Ok(_)) if self.ingest.is_ready() => None,
            (None, Err(error)) if error != StoreError::NotReady => {
                Some(format!("{error}; intake goes on meanwhile"))
            }
            _ => Some("being opened or rebuilt; intake goes on meanwhile".to_owned()),
        };
        let [rotten, _] = store::set_aside_stores(&self.quarantine);
        if let (None, Some(rotten)) = (&problem, rotten) {
            let what = "was whole until the disk changed it, and was made again";
            let hint = "look at the disk, then delete it";
            let problem = Some(format!("{} {what}: {hint}", rotten.display()));
            return HealthCheck::new("store", Health::Degraded, problem, "");
        }
        if let (None, Some(behind)) = (&problem, behind(self.ingest.lag())) {
            return HealthCheck::new("store", Health::Degraded, Some(behind), "");
        }
        HealthCheck::new("store", Health::NotReady, problem, "open and current")
    }

    fn records_check(&self) -> HealthCheck {
        let number = self.reader.totals().unwrap_or_default().set_aside;
        let problem = (number > 0).then(|| {
            let plus = if number == SET_ASIDE_MAX { " or more" } else { "" };
            let hint = "see `suppressd quarantine list`, and replay it after an upgrade";
            format!("{number}{plus} elements or records could not be applied: {hint}")
        });
        HealthCheck::new("records", Health::Degraded, problem, "all could be applied")
    }

    fn held_check(&self) -> HealthCheck {
        let (masses, suppressions) = self.all_held();
        let problem = (masses > 0).then(|| {
            let hint = "see `suppressd held`; `release` lets one go, `lift --held` ends it";
            format!("masses of new suppressions: {masses}, with {suppressions} of them: {hint}")
        });
        HealthCheck::new("held", Health::Degraded, problem, "nothing is held back")
    }

    /// How many masses are held back, and how many suppressions.
    pub(super) fn all_held(&self) -> (usize, u64) {
        let masses = self.reader.masses().unwrap_or_default();
        (masses.len(), masses.iter().map(|(_, mass)| mass.count).sum())
    }

    fn journal_check(&self) -> HealthCheck {
        let problem = match journal::damaged_files(&self.quarantine) {
            Ok(files) if files.is_empty() => None,
            Ok(files) => {
                let files: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
                let hint = "look at the disk, poll again from before that time, then move it away";
                Some(format!("damage was kept aside in {}: {hint}", files.join(", ")))
            }
            Err(error) => Some(format!("{}: {error}", self.quarantine.display())),
        };
        HealthCheck::new("journal", Health::Degraded, problem, "whole")
    }

    fn checkpoint_check(&self) -> HealthCheck {
        let problem = match self.checkpoints.refused() {
            Ok(files) if files.is_empty() => None,
            Ok(files) => {
                let files: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
                let hint = "the log says why; look at it, then move it away";
                Some(format!("refused {}: {hint}", files.join(", ")))
            }
            Err(error) => Some(format!("the folders cannot be read: {error}")),
        };
        HealthCheck::new("checkpoints", Health::Degraded, problem, "none was refused")
    }

    fn quarantine_check(&self) -> HealthCheck {
        let number = self.reader.totals().unwrap_or_default().quarantined;
        let problem = (number > 0).then(|| {
            let hint =
                "see `suppressd quarantine list`; replay them after an upgrade, or drop them";
            format!("{number} authentic payloads were not understood: {hint}")
        });
        HealthCheck::new("quarantine", Health::Degraded, problem, "empty")
    }

    fn disk_check(&self) -> HealthCheck {
        let state = self.state.display();
        let problem = match store::room(&self.state) {
            Ok(room) if !room.is_nearly_gone() => None,
            Ok(room) => {
                let free = room.free >> 20;
                let hint = "make room, or set a shorter store.retention";
                Some(format!("nearly full: {free} MiB are free for {state}: {hint}"))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Some(format!("{state} is not there: it was moved or removed; put it back"))
            }
            Err(error) => Some(format!("{state}: {error}")),
        };
        HealthCheck::new("disk", Health::Degraded, problem, "has room")
    }

    fn configuration_check(&self) -> HealthCheck {
        let last = self.reloads.last();
        let problem = last.as_ref().and_then(|last| {
            let first = last.error.as_ref()?.lines().next().unwrap_or_default();
            let more = match last.problems.len() {
                0 | 1 => String::new(),
                number => format!(" and {} more", number - 1),
            };
            let hint = "the settings of before are in force; mend it, then `suppressd reload`";
            Some(format!("the reload at {} failed: {first}{more}: {hint}", last.at))
        });
        let well = last.map_or_else(
            || "as read at the start".to_owned(),
            |last| match last.restart.is_empty() {
                true => format!("as read at {}", last.at),
                false => {
                    let keys = last.restart.join(" and ");
                    format!("as read at {}, but {keys}, which needs a restart", last.at)
                }
            },
        );
        HealthCheck::new("configuration", Health::Degraded, problem, &well)
    }

    /// Whether a source says anything at all, where the configuration tells how long it may not.
    fn silence_check(&self, source: &SourceInfo, now: Time) -> Option<HealthCheck> {
        let limit = source.silent?;
        let name = source.name.as_str();
        let counts = self.counts(&source.name);
        let by_webhook = self.webhooks.find(name).is_some();
        let (what, last) = match by_webhook {
            true => ("webhook", counts.last_webhook),
            false => ("answer to a poll", counts.last_poll),
        };
        let silent = now.since(last.unwrap_or(self.started)) > limit;
        let problem = silent.then(|| {
            let since = last.map_or_else(
                || format!("since the start at {}", self.started.floor_second()),
                |last| format!("since {}", last.floor_second()),
            );
            let hint = match by_webhook {
                true => "see at the provider whether it is on and goes to the right URL",
                false => "see the log, and `suppressd poll`",
            };
            format!("no {what} {since}, longer than {}: {hint}", show_duration(limit))
        });
        let well = last.map_or_else(|| format!("no {what} yet"), |_| "heard of".to_owned());
        Some(HealthCheck::new("source", Health::Degraded, problem, &well).of(name))
    }
}

/// Whether a store that is open is not current.
pub(super) fn is_behind(lag: Lag) -> bool {
    lag.age >= CURRENT_WITHIN
}

/// What it has still to take then.
fn behind(lag: Lag) -> Option<String> {
    is_behind(lag).then(|| {
        let Lag { records, age } = lag;
        let seconds = age.as_secs_f64();
        let what = "records that are acknowledged, and that lookups and exports lack";
        let hint = "it goes on by itself; where that lasts, look at the log and the host's load";
        format!("{seconds:.1} s behind; {what}: {records}: {hint}")
    })
}

/// The certificate that the public listener shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// When it ends, if that can be told.
    pub end: Option<Time>,
    /// Why there is no newer one, if something is wrong.
    pub problem: Option<String>,
}

impl Certificate {
    /// Whether its term has ended.
    pub fn has_ended(&self, now: Time) -> bool {
        self.end.is_some_and(|end| now.nanos() >= end.nanos())
    }

    /// What is wrong with its term, if it has ended or soon will.
    pub fn term(&self, now: Time) -> Option<String> {
        let end = self.end?;
        if self.has_ended(now) {
            return Some(format!("it has ended at {end}, and no provider trusts it any more"));
        }
        (end.since(now) < CERTIFICATE_TERM).then(|| format!("it ends at {end}"))
    }
}

fn certificate_check(certificate: &Certificate, now: Time) -> Option<HealthCheck> {
    let check =
        |problem, well: &str| HealthCheck::new("certificate", Health::Degraded, problem, well);
    if let Some(problem) = &certificate.problem {
        let end = certificate.end.map_or(String::new(), |end| format!(", until {end}"));
        let problem = format!("{problem}; the one of before goes on{end}");
        return Some(check(Some(problem), ""));
    }
    let end = certificate.end?;
    let hint = "renew it; a new one is taken by itself";
    let problem = certificate.term(now).map(|term| format!("{term}: {hint}"));
    Some(check(problem, &format!("good until {end}")))
}

/// How a certificate stands that we obtain. What is not urgent is tried again before anybody need
/// know.
fn kept_check(certificate: &Certificate, trouble: Option<Trouble>, now: Time) -> HealthCheck {
    let term = match certificate.end {
        None => Some("there is none yet, and no TLS without it".to_owned()),
        Some(_) if certificate.has_ended(now) || trouble.is_some() => certificate.term(now),
        Some(_) => None,
    };
    let urgent = trouble.as_ref().filter(|trouble| trouble.is_urgent);
    let term = term.or(urgent.map(|_| "it is not the one that is wanted".to_owned()));
    let problem = term.map(|term| match trouble {
        Some(Trouble { why, next, .. }) => {
            format!("{term}: {why}; tried again at {}, or at a reload", next.floor_second())
        }
        None => format!("{term}: it is being ordered"),
    });
    let well = certificate.end.map_or(String::new(), |end| format!("good until {end}"));
    HealthCheck::new("certificate", Health::Degraded, problem, &well)
}

fn export_check(export: &ExportStatus, now: Time) -> HealthCheck {
    let patience = EXPORT_PATIENCE.saturating_add(export.min_interval);
    let stale = || {
        let since = export.pending_since.filter(|since| now.since(*since) > patience)?;
        Some(format!("it waits to be written since {}: see the log", since.floor_second()))
    };
    let problem = export.problem().or_else(stale);
    let problem = problem.map(|problem| format!("{}: {problem}", export.path));
    let waits = export.pending_since.filter(|since| now.since(*since) >= CURRENT_WITHIN);
    let well = waits.map_or_else(
        || "has what the store has".to_owned(),
        |since| format!("what came since {} is still to be written", since.floor_second()),
    );
    HealthCheck::new("export", Health::Degraded, problem, &well).of(&export.name)
}

fn forward_check(forward: &ForwardStatus) -> HealthCheck {
    let late = Duration::from_secs(forward.lag_seconds) > FORWARD_PATIENCE;
    let problem = late.then(|| {
        let since = forward.waiting_since.as_deref().unwrap_or("long");
        let why = forward.error.as_deref().unwrap_or("it takes little at a time");
        format!("{} has not taken what waits since {since}: {why}", forward.to)
    });
    let well = match forward.lag_seconds {
        0 => "told of everything".to_owned(),
        seconds => format!("{seconds} s behind"),
    };
    HealthCheck::new("forward", Health::Degraded, problem, &well).of(&forward.name)
}

fn poll_check(poll: &PollStatus, now: Time) -> HealthCheck {
    let last = poll.last_success.as_deref().and_then(Time::parse);
    let long = last.is_none_or(|last| now.since(last) > POLL_PATIENCE);
    let error = poll.last_error.as_deref().unwrap_or("see the log");
    let problem = if poll.state.starts_with("stopped") {
        Some(format!("{}: {error}; mend the credentials, then `suppressd poll`", poll.state))
    } else if poll.failures >= POLL_FAILURES && long {
        let times = poll.failures;
        Some(format!("it has failed {times} times in a row, and is tried again: {error}"))
    } else {
        None
    };
    HealthCheck::new("poll", Health::Degraded, problem, "goes on").of(&poll.source)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60 * 60;

    fn at(seconds: i64) -> Time {
        Time::from_seconds(seconds)
    }

    #[test]
    fn a_certificate_wants_a_hand_two_weeks_before_its_end() {
        let end = at(100 * DAY);
        for (now, health, words) in [
            (80 * DAY, Health::Ready, "good until"),
            (86 * DAY, Health::Ready, "good until"),
            (86 * DAY + 1, Health::Degraded, "it ends at"),
            (100 * DAY, Health::Degraded, "it has ended"),
        ] {
            let certificate = Certificate { end: Some(end), problem: None };
            let check = certificate_check(&certificate, at(now)).unwrap();
            assert_eq!(check.health, health, "{now}");
            assert!(check.detail.starts_with(words), "{}", check.detail);
        }
        let certificate = Certificate { end: Some(end), problem: Some("no key".to_owned()) };
        let check = certificate_check(&certificate, at(0)).unwrap();
        assert_eq!(check.health, Health::Degraded);
        assert!(check.detail.contains("no key; the one of before"), "{}", check.detail);
    }

    #[test]
    fn a_store_is_current_for_a_second_and_then_says_how_far_it_is_behind() {
        let behind = |millis| behind(Lag { records: 7, age: Duration::from_millis(millis) });
        assert_eq!((behind(0), behind(999)), (None, None));
        let words = behind(3_240).unwrap();
        assert!(words.starts_with("3.2 s behind; ") && words.contains(": 7: "), "{words}");
    }

    #[test]
    fn an_export_may_wait_for_its_interval_and_no_longer() {
        let export = ExportStatus {
            name: "e".to_owned(),
            pending: true,
            pending_since: Some(at(1_000)),
            min_interval: Duration::from_secs(600),
            ..ExportStatus::default()
        };
        assert_eq!(export_check(&export, at(1_660)).health, Health::Ready);
        let check = export_check(&export, at(1_661));
        assert_eq!((check.health, &*check.title()), (Health::Degraded, "export e"));
    }

    #[test]
    fn a_poll_may_fail_for_a_while() {
        let poll = |state, failures, last_success: Option<i64>| PollStatus {
            source: "p".to_owned(),
            state,
            last_start: None,
            last_success: last_success.map(|seconds| at(seconds).to_string()),
            lag_seconds: None,
            failures,
            last_error: Some("no answer".to_owned()),
            next_due: None,
            interval: Duration::from_secs(60),
            pushes: false,
            push: None,
        };
        for (state, failures, last, health) in [
            ("idle", 0, None, Health::Ready),
            ("stopped: authentication", 1, Some(9_000), Health::Degraded),
            ("backing off", 2, None, Health::Ready),
            ("backing off", 3, None, Health::Degraded),
            ("backing off", 30, Some(9_000), Health::Ready),
            ("backing off", 3, Some(6_399), Health::Degraded),
        ] {
            let check = poll_check(&poll(state, failures, last), at(10_000));
            assert_eq!(check.health, health, "{state} {failures} {last:?}");
        }
    }
}
