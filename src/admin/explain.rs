//! Everything behind the verdict on one address.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Value, json};

use super::suppressions::parse_address;
use super::{Admin, Failure, Replies, blocking, exports, row, rows};
use crate::clock;
use crate::model::{
    Address, Bounce, Event, Fact, Filter, Reason, Scope, SourceName, Standing, Term, Time,
};
use crate::rules::Threshold;
use crate::store::EventFilter;
use crate::units::show_duration;

/// Most events shown, and about how many bytes of them: a reply may be as long as a notification.
/// `events` shows all.
const EVENTS_MAX: usize = 100;
const BYTES_MAX: usize = 1 << 20;
/// Most of them that are read: the last ones.
const LOOKS_MAX: usize = 2_000;

impl Admin {
    pub(super) async fn explain(
        self: &Arc<Self>,
        address: &str,
        to: &Replies,
    ) -> Result<(), Failure> {
        let parsed = parse_address(address)?;
        let admin = Arc::clone(self);
        let answer = blocking(move || admin.explanation(&parsed)).await?;
        row(to, answer).await
    }

    pub(super) fn explanation(&self, address: &Address) -> Result<Value, Failure> {
        let now = clock::now();
        let found = self.verdict(address, &Scope::Global)?;
        let standings = self.reader.standings_of(address)?;
        let scopes: Vec<Value> = standings
            .iter()
            .map(|(scope, known)| self.standing(address, scope, known, now))
            .collect();
        let filter = EventFilter { address: Some(address.clone()), ..EventFilter::default() };
        let mut scan = self.reader.events(filter)?;
        let mut left_out = scan.keep_last(LOOKS_MAX);
        let (mut events, mut bytes, mut late) = (VecDeque::new(), 0, Vec::new());
        while let Some(told) = scan.advance()? {
            let row = rows::explained(&told);
            let size = row.to_string().len();
            events.push_back((size, row));
            bytes += size;
            while events.len() > EVENTS_MAX || bytes > BYTES_MAX && events.len() > 1 {
                bytes -= events.pop_front().map_or(0, |(size, _)| size);
                left_out += 1;
            }
            late.extend(told_late(&standings, &told.event));
            late.truncate(EVENTS_MAX);
        }
        let events: Vec<Value> = events.into_iter().map(|(_, row)| row).collect();
        let listings = self.exports.listings(&[address.key().to_owned()].into(), now)?;
        let mut exports = exports::rows(listings.first().map_or(&[], Vec::as_slice));
        for (row, export) in exports.iter_mut().zip(self.exports.statuses()) {
            row["generation"] = export.generation.into();
            row["last_written"] = export.last_written.into();
            row["pending"] = export.pending.into();
            row["held_back"] = export.held_back.into();
        }
        let person = self.ingest.forgotten().person(address.key());
        Ok(json!({
            "address": address.received(),
            "suppressed": found.is_some(),
            "suppression": found.as_ref().map(rows::suppression),
            "never": self.rules.never.entry(address.key()),
            "known": !scopes.is_empty() || !events.is_empty(),
            "forgotten": person.as_ref().map(rows::forgotten),
            "scopes": scopes,
            "rules": self.rules_row(),
            "events": events,
            "events_left_out": left_out,
            "lifted_before_told": late,
            "exports": exports,
        }))
    }

    fn standing(&self, of: &Address, scope: &Scope, standing: &Standing, now: Time) -> Value {
        let findings = self.rules.findings(of.key(), standing, &Filter::default());
        let findings: Vec<Value> = findings.iter().map(|f| rows::finding(f, now)).collect();
        let bounces = |mut bounces: Vec<&Bounce>| -> Vec<Value> {
            bounces.sort_by_key(|bounce| (bounce.at, &bounce.source));
            let row = |b: &&Bounce| json!({ "at": b.at.to_string(), "source": b.source.as_str() });
            bounces.iter().map(row).collect()
        };
        let lifts: Vec<Value> = standing
            .lifts()
            .map(|(covers, through)| {
                json!({
                    "reason": covers.reason.map(Reason::as_str),
                    "source": covers.source.as_ref().map(SourceName::as_str),
                    "through": through.to_string(),
                })
            })
            .collect();
        json!({
            "scope": scope.to_string(),
            "findings": findings,
            "lifts": lifts,
            "delivered": rows::time(standing.delivered()),
            "soft_bounces": bounces(standing.soft().iter().collect()),
            "blocked": bounces(standing.blocked().iter().collect()),
            "unexplained": bounces(standing.unexplained().iter().collect()),
        })
    }

    fn rules_row(&self) -> Value {
        let term = |term: Term| match term {
            Term::Forever => "forever".to_owned(),
            Term::For(span) => show_duration(span),
        };
        let threshold = |t: &Threshold| {
            json!({
                "count": t.count,
                "within": show_duration(t.within),
                "apart": show_duration(t.apart),
                "for": term(t.term),
            })
        };
        let rules = &self.rules;
        json!({
            "hard_bounce": term(rules.hard_bounce),
            "complaint": term(rules.complaint),
            "unsubscribe": term(rules.unsubscribe),
            "invalid": term(rules.invalid),
            "provider_listed": term(rules.provider_listed),
            "soft_bounce": threshold(&rules.soft_bounce),
            "blocked": rules.blocked.as_ref().map(threshold),
            "unexplained": rules.unexplained.as_ref().map(threshold),
        })
    }
}

/// What is told after a lift and dated before it, as a lift covers all that happened before: that
/// is a complaint which suppresses nobody, and whoever looks for it must find out why.
fn told_late(standings: &[(Scope, Standing)], event: &Event) -> Option<Value> {
    let Some(Fact::Ground { reason, source, .. }) = event.fact() else { return None };
    let (_, standing) = standings.iter().find(|(scope, _)| *scope == event.scope)?;
    let ground = standing.grounds().find(|(r, s, _)| *r == reason && **s == source);
    let (_, _, ground) = ground.filter(|(_, _, ground)| ground.despite.is_none())?;
    let through = standing.lifted(reason, &source, ground.latest.at, None)?;
    (event.received_at.nanos() > through.nanos()).then(|| {
        json!({
            "kind": event.kind.as_str(),
            "source": source.as_str(),
            "at": event.at.to_string(),
            "received_at": event.received_at.to_string(),
            "lifted": through.to_string(),
        })
    })
}
