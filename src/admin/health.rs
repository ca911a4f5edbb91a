//! Health: what readiness rests on, how everything stands, and the metrics that are asked for.

use serde_json::{Value, json};

use super::{Admin, rows};
use crate::clock;
use crate::journal;
use crate::model::{SourceName, trust};
use crate::store::{Counts, SET_ASIDE_MAX, StoreError};
use crate::telemetry;

/// One thing that readiness rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What it is about.
    pub name: &'static str,
    /// Whether it holds.
    pub ok: bool,
    /// In words; with a hint where it does not hold.
    pub detail: String,
}

impl Admin {
    /// What readiness rests on.
    pub fn checks(&self) -> Vec<HealthCheck> {
        let check = |name, ok: bool, well: &str, ill: &str| HealthCheck {
            name,
            ok,
            detail: if ok { well } else { ill }.to_owned(),
        };
        vec![
            check(
                "intake",
                self.ingest.takes(),
                "what comes is made durable",
                "nothing can be made durable: look at the disk's room and the log",
            ),
            self.store_check(),
            self.records_check(),
            self.journal_check(),
            self.checkpoint_check(),
        ]
    }

    fn checkpoint_check(&self) -> HealthCheck {
        let (ok, detail) = match self.checkpoints.refused() {
            Ok(files) if files.is_empty() => (true, "none was refused".to_owned()),
            Ok(files) => {
                let files: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
                let hint = "the log says why; look at it, then move it away";
                (false, format!("refused {}: {hint}", files.join(", ")))
            }
            Err(error) => (false, format!("the folders cannot be read: {error}")),
        };
        HealthCheck { name: "checkpoints", ok, detail }
    }

    fn store_check(&self) -> HealthCheck {
        let (ok, detail) = match (self.ingest.halted(), self.reader.totals()) {
            (Some((record, form)), _) => {
                let what = "and what follows is not applied";
                let hint = "start the newer version again; intake goes on meanwhile";
                let who = "a newer suppressd has written the journal's record at";
                (false, format!("{who} {record}, in form {form}, {what}: {hint}"))
            }
            (None, Ok(_)) if self.ingest.is_ready() => (true, "open and current".to_owned()),
            (None, Err(error)) if error != StoreError::NotReady => {
                (false, format!("{error}; intake goes on meanwhile"))
            }
            _ => (false, "being opened or rebuilt; intake goes on meanwhile".to_owned()),
        };
        HealthCheck { name: "store", ok, detail }
    }

    /// What was set aside wants a hand, and keeps nothing from serving.
    fn records_check(&self) -> HealthCheck {
        let detail = match self.reader.totals().unwrap_or_default().set_aside {
            0 => "all could be applied".to_owned(),
            number => {
                let plus = if number == SET_ASIDE_MAX { " or more" } else { "" };
                let hint = "see `suppressd quarantine list`, and replay it after an upgrade";
                format!("{number}{plus} elements or records could not be applied: {hint}")
            }
        };
        HealthCheck { name: "records", ok: true, detail }
    }

    fn journal_check(&self) -> HealthCheck {
        let (ok, detail) = match journal::damaged_files(&self.quarantine) {
            Ok(files) if files.is_empty() => (true, "whole".to_owned()),
            Ok(files) => {
                let files: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
                let hint = "look at it, then move it away";
                (false, format!("damage was kept aside in {}: {hint}", files.join(", ")))
            }
            Err(error) => (false, format!("{}: {error}", self.quarantine.display())),
        };
        HealthCheck { name: "journal", ok, detail }
    }

    pub(super) fn status(&self) -> Value {
        let checks = self.checks();
        let totals = self.reader.totals().unwrap_or_default();
        let (polls, now) = (self.polls.statuses(), clock::now());
        let sources: Vec<Value> = self
            .sources
            .iter()
            .map(|(source, provider)| {
                let counts = self.counts(source);
                let webhook = counts.last_webhook.filter(|at| !trust::is_ahead(*at, now));
                let poll = polls.iter().find(|poll| poll.source == source.as_str());
                json!({
                    "name": source.as_str(),
                    "provider": provider,
                    "last_webhook": rows::time(counts.last_webhook),
                    "webhook_age_seconds": webhook.map(|at| now.since(at).as_secs()),
                    "last_poll": rows::time(counts.last_poll),
                    "lag_seconds": poll.and_then(|poll| poll.lag_seconds),
                    "webhook_only": counts.webhook_only,
                    "poll_only": counts.poll_only,
                    "both": counts.both,
                    "listed": counts.listed,
                    "missed_by_webhook": self.missed(source.as_str(), counts.poll_only),
                    "repeated": counts.repeated,
                    "unreadable": counts.unreadable,
                    "blocked": counts.blocked,
                    "poll_state": poll.map(|poll| poll.state),
                    "last_success": poll.and_then(|poll| poll.last_success.clone()),
                    "last_error": poll.and_then(|poll| poll.last_error.clone()),
                    "push": poll.and_then(|poll| poll.push.clone()),
                    "next_poll": poll.and_then(|poll| poll.next_due.clone()),
                })
            })
            .collect();
        let (waiting, limit) = self.ingest.waiting();
        let word = |ok: bool| if ok { "ready" } else { "opening" };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "ready": checks.iter().all(|check| check.ok),
            "checks": checks.iter().map(|check| {
                json!({ "name": check.name, "ok": check.ok, "detail": check.detail })
            }).collect::<Vec<_>>(),
            "sources": sources,
            "store": {
                "state": word(self.ingest.is_ready()),
                "applied": totals.applied.to_string(),
                "lag_bytes": self.ingest.lag_bytes(),
                "standings": totals.standings,
                "quarantined": totals.quarantined,
                "set_aside": totals.set_aside,
            },
            "queue": { "waiting": waiting, "limit": limit },
            "exports": self.exports.statuses(),
            "lookups": self.lookups.statuses(),
        })
    }

    /// What is counted of a source, with what came since the start and was known before the store.
    fn counts(&self, source: &SourceName) -> Counts {
        let mut counts = self.reader.counts(source).unwrap_or_default();
        let (skipped, last) = self.webhooks.skipped(source.as_str());
        counts.repeated += skipped;
        counts.last_webhook = counts.last_webhook.max(last);
        counts
    }

    /// Only a source that has a webhook can have missed anything by it.
    fn missed(&self, source: &str, poll_only: u64) -> Option<u64> {
        self.webhooks.find(source).map(|_| poll_only)
    }

    /// Brings the metrics up to date that are not kept as things happen.
    pub fn measure(&self) {
        let totals = self.reader.totals().unwrap_or_default();
        telemetry::health::totals(totals.standings, totals.quarantined, totals.set_aside);
        self.lookups.measure();
        telemetry::health::ready(self.checks().iter().all(|check| check.ok));
        for (source, _) in &self.sources {
            let counts = self.counts(source);
            let name = source.as_str();
            telemetry::health::origins(name, counts.webhook_only, counts.poll_only, counts.both);
            if let Some(missed) = self.missed(name, counts.poll_only) {
                telemetry::health::missed(name, missed);
            }
            let seconds = |time: Option<crate::model::Time>| time.map(|time| time.second());
            telemetry::health::last_webhook(name, seconds(counts.last_webhook));
        }
    }
}
