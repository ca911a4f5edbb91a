//! Metrics that are brought up to date when they are asked for.
//!
//! Each configured thing has all of its series from the first time on, so that no alert waits for
//! the trouble that it is about.

use std::time::Duration;

use super::health::{Health, worst};
use super::{Admin, SourceInfo, process};
use crate::clock;
use crate::ingest::Told;
use crate::model::{EventKind, Origin, Reason, SourceName, Time};
use crate::poll::Status as PollStatus;
use crate::store::{self, Counts};
use crate::telemetry;

impl Admin {
    /// Brings the metrics up to date that are not kept as things happen. Gives those of the
    /// process, as text.
    pub fn measure(&self) -> String {
        let now = clock::now();
        let totals = self.reader.totals().unwrap_or_default();
        telemetry::health::totals(totals.standings, totals.quarantined, totals.set_aside);
        let (masses, suppressions) = self.all_held();
        telemetry::health::held(masses, suppressions);
        telemetry::health::clock(now.second());
        telemetry::health::forgotten(self.ingest.forgotten().count());
        let lag = self.ingest.lag();
        telemetry::ingest::lags(self.ingest.lag_bytes(), lag.records, lag.age);
        self.lookups.measure();
        self.measure_health();
        if let Ok(room) = store::room(&self.state) {
            telemetry::health::disk(room.free, room.size);
        }
        let certificate = self.certificate.as_ref().map(|certificate| certificate.get());
        if let Some(end) = certificate.and_then(|certificate| certificate.end) {
            telemetry::health::certificate(end.second());
        }
        for export in self.exports.statuses() {
            let pending = export.pending_since.map_or(Duration::ZERO, |since| now.since(since));
            telemetry::export::known(&export.name, pending);
            let (failing, foreign) = (export.error.is_some(), export.foreign.is_some());
            telemetry::export::stands(&export.name, failing, foreign);
        }
        for forward in self.forwards.statuses(now) {
            let last = forward.last_success.as_deref().and_then(Time::parse).map(Time::second);
            let lag = Duration::from_secs(forward.lag_seconds);
            telemetry::forward::stands(&forward.name, lag, last);
        }
        self.measure_told();
        let polls = self.polls.statuses();
        for source in &self.sources {
            let poll = polls.iter().find(|poll| poll.source == source.name.as_str());
            self.measure_source(source, poll, now);
        }
        self.measure_suppressions();
        process::text(self.started)
    }

    /// What is scraped, without the gauges of what a reload has taken away.
    pub fn without_gone(&self, text: &str) -> String {
        let checks = self.checks();
        let (exports, now) = (self.exports.statuses(), clock::now());
        let forwards = self.forwards.statuses(now);
        let counted = self.census.counted();
        let is_configured =
            |name: &str| self.sources.iter().any(|source| source.name.as_str() == name);
        telemetry::series::without_gone(text, |label, value| match label {
            "source" => is_configured(value),
            telemetry::series::OF_STORE => {
                is_configured(value) || counted.keys().any(|(_, source)| **source == *value)
            }
            "export" => exports.iter().any(|export| export.name == value),
            "forward" => forwards.iter().any(|forward| forward.name == value),
            "of" => checks.iter().any(|check| check.of.as_deref().unwrap_or_default() == value),
            _ => true,
        })
    }

    fn measure_health(&self) {
        let checks = self.checks();
        let overall = worst(&checks);
        telemetry::health::ready(overall != Health::NotReady);
        for state in Health::ALL {
            telemetry::health::state(state.as_str(), state == overall);
        }
        for check in &checks {
            let of = check.of.as_deref().unwrap_or_default();
            telemetry::health::check(check.name, of, check.health as u8);
        }
    }

    fn measure_source(&self, source: &SourceInfo, poll: Option<&PollStatus>, now: Time) {
        let counts = self.counts(&source.name);
        let name = source.name.as_str();
        telemetry::ingest::known(name);
        telemetry::health::origins(name, counts.webhook_only, counts.poll_only, counts.both);
        if let Some(missed) = self.missed(name, counts.poll_only) {
            telemetry::health::missed(name, missed);
            telemetry::health::last_webhook(name, counts.last_webhook.map(Time::second));
        }
        telemetry::health::silence_limit(name, source.silent);
        let Some(poll) = poll else { return };
        telemetry::poll::stands(name, &self.poll_stand(poll, &counts, now));
        if poll.pushes {
            telemetry::push::known(name);
        }
    }

    /// After a restart the store knows what this process does not yet.
    fn poll_stand(&self, poll: &PollStatus, counts: &Counts, now: Time) -> telemetry::poll::Stand {
        let succeeded = poll.last_success.as_deref().and_then(Time::parse);
        let last_success = succeeded.max(counts.last_poll);
        let lag = poll.lag_seconds.map(Duration::from_secs);
        telemetry::poll::Stand {
            last_success,
            interval: poll.interval,
            lag: lag.unwrap_or_else(|| now.since(last_success.unwrap_or(self.started))),
            stopped: poll.state.starts_with("stopped"),
            failures: poll.failures,
        }
    }

    /// The events since the start, of each configured way and of those that have brought any.
    fn measure_told(&self) {
        let mut all = self.ingest.told();
        for (source, origin) in self.ways() {
            if !all.iter().any(|told| told.source == source && told.origin == origin) {
                let (new, again) = ([0; EventKind::ALL.len()], 0);
                all.push(Told { source, origin, new, again });
            }
        }
        for Told { source, origin, new, again } in all {
            let kinds: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).zip(new).collect();
            // Those of a webhook that were known to be durable never come so far.
            let is_webhook = origin == Origin::Webhook;
            let skipped = if is_webhook { self.webhooks.skipped(source.as_str()).0 } else { 0 };
            telemetry::ingest::told(source.as_str(), origin.as_str(), &kinds, again + skipped);
        }
    }

    /// The ways by which events are to come.
    fn ways(&self) -> Vec<(SourceName, Origin)> {
        let polls = self.polls.statuses();
        let mut ways = Vec::new();
        for SourceInfo { name, .. } in &self.sources {
            if self.webhooks.find(name.as_str()).is_some() {
                ways.push((name.clone(), Origin::Webhook));
            }
            if polls.iter().any(|poll| poll.source == name.as_str()) {
                ways.push((name.clone(), Origin::Poll));
            }
            if self.fleet.is_some() {
                ways.push((name.clone(), Origin::Fleet));
            }
        }
        ways
    }

    fn measure_suppressions(&self) {
        let counted = self.census.counted();
        let configured = self.sources.iter().map(|source| source.name.as_str());
        let mut sources: Vec<&str> = configured.collect();
        sources.extend(counted.keys().map(|(_, source)| &**source));
        sources.sort_unstable();
        sources.dedup();
        for source in sources {
            for reason in Reason::ALL {
                let number = counted.get(&(reason, source.into())).copied().unwrap_or(0);
                telemetry::health::suppressions(reason.as_str(), source, number);
            }
        }
    }
}
