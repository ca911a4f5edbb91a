//! How everything stands, as one row.

use serde_json::{Value, json};

use super::health::{Health, HealthCheck, is_behind, worst};
use super::{Admin, SourceInfo, rows};
use crate::clock;
use crate::model::{SourceName, trust};
use crate::store::Counts;

impl Admin {
    pub(super) fn status(&self) -> Value {
        let checks = self.checks();
        let health = worst(&checks);
        let totals = self.reader.totals().unwrap_or_default();
        let (polls, now) = (self.polls.statuses(), clock::now());
        let sources: Vec<Value> = self
            .sources
            .iter()
            .map(|SourceInfo { name: source, provider, .. }| {
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
        let lag = self.ingest.lag();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "state": health.as_str(),
            "ready": health != Health::NotReady,
            "checks": checks.iter().map(|check| {
                let ok = check.health == Health::Ready;
                json!({ "name": check.name, "of": check.of, "ok": ok, "state": check.word(),
                    "detail": check.detail })
            }).collect::<Vec<_>>(),
            "sources": sources,
            "store": {
                "state": self.store_word(),
                "applied": totals.applied.to_string(),
                "lag_bytes": self.ingest.lag_bytes(),
                "lag_records": lag.records,
                "lag_seconds": lag.age.as_millis() as f64 / 1_000.0,
                "standings": totals.standings,
                "quarantined": totals.quarantined,
                "set_aside": totals.set_aside,
                "held": self.all_held().1,
            },
            "queue": { "waiting": waiting, "limit": limit },
            "exports": self.exports.statuses(),
            "lookups": self.lookups.statuses(),
            "forwards": self.forwards.statuses(now),
            "fleet": self.fleet.as_ref().map(crate::fleet::Handle::summary),
        })
    }

    /// What keeps lookups from being asked, if something does.
    pub(super) fn lookup_checks(&self) -> Vec<HealthCheck> {
        let check = |(at, why): (String, String)| HealthCheck {
            of: Some(at),
            ..HealthCheck::new("lookup", Health::Degraded, Some(why), "")
        };
        self.lookups.unheard().into_iter().map(check).collect()
    }

    /// How the store stands, in a word.
    fn store_word(&self) -> &'static str {
        match self.ingest.lag() {
            _ if !self.ingest.is_ready() => "opening",
            lag if is_behind(lag) => "behind",
            _ => "ready",
        }
    }

    /// What is counted of a source, with what came since the start and was known before the store.
    pub(super) fn counts(&self, source: &SourceName) -> Counts {
        let mut counts = self.reader.counts(source).unwrap_or_default();
        let (skipped, last) = self.webhooks.skipped(source.as_str());
        counts.repeated += skipped;
        counts.last_webhook = counts.last_webhook.max(last);
        counts
    }

    /// Only a source that has a webhook can have missed anything by it.
    pub(super) fn missed(&self, source: &str, poll_only: u64) -> Option<u64> {
        self.webhooks.find(source).map(|_| poll_only)
    }
}
