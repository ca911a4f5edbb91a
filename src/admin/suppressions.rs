//! Verdicts: looking them up, listing them, and changing them by hand.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Admin, Failure, ListFilter, Replies, Reply, blocking, row, rows, unheard};
use crate::clock;
use crate::model::bounds::check_note;
use crate::model::{
    Address, Filter, Lifts, Reason, Scope, SourceName, Standing, Suppression, Time,
};
use crate::provider::{Instruction, instruction_element};
use crate::store::StoreError;

/// Most lifts in one submission.
const LIFTS_AT_ONCE: usize = 1_000;

/// A [`ListFilter`] that was understood.
pub(super) struct Wanted {
    pub(super) filter: Filter,
    domain: Option<String>,
    since: Option<Time>,
    until: Option<Time>,
}

/// One suppression to lift.
pub(super) struct Target {
    address: String,
    pub(super) scope: Scope,
    /// The reason at present; `None`: it is not suppressed.
    pub(super) reason: Option<Reason>,
    /// The last instant to cover.
    through: Time,
}

impl Wanted {
    pub(super) fn parse(filter: ListFilter) -> Result<Wanted, Failure> {
        let reason = filter.reason.as_deref().map(parse_reason).transpose()?;
        let source = filter.source.as_deref().map(parse_source).transpose()?;
        let scope = filter.scope.as_deref().map(parse_scope).transpose()?;
        let domain = filter.domain.as_deref().map(parse_domain).transpose()?;
        Ok(Wanted {
            filter: Filter {
                reasons: reason.into_iter().collect(),
                sources: source.into_iter().collect(),
                scopes: scope.into_iter().collect(),
            },
            domain,
            since: filter.since.as_deref().map(parse_time).transpose()?,
            until: filter.until.as_deref().map(parse_time).transpose()?,
        })
    }

    pub(super) fn admits_key(&self, key: &str) -> bool {
        let domain = key.rsplit_once('@').map_or("", |(_, domain)| domain);
        self.domain.as_deref().is_none_or(|wanted| wanted == domain)
    }

    pub(super) fn admits(&self, suppression: &Suppression) -> bool {
        self.since.is_none_or(|since| suppression.since.nanos() >= since.nanos())
            && self.until.is_none_or(|until| suppression.since.nanos() < until.nanos())
    }

    /// What lifts a suppression, as far as the filter goes.
    pub(super) fn lift(&self, target: &Target, note: Option<&str>) -> Instruction {
        Instruction {
            add: false,
            address: target.address.clone(),
            scope: target.scope.clone(),
            at: target.through,
            until: None,
            note: note.map(str::to_owned),
            lifts: Lifts {
                reason: self.filter.reasons.first().copied(),
                source: self.filter.sources.first().cloned(),
            },
        }
    }
}

impl Admin {
    pub(super) fn verdict(
        &self,
        address: &Address,
        scope: &Scope,
    ) -> Result<Option<Suppression>, StoreError> {
        let scopes = [Scope::Global, scope.clone()];
        let scopes = if *scope == Scope::Global { &scopes[..1] } else { &scopes };
        self.reader.verdict(&self.rules, address, scopes, &Filter::default(), clock::now())
    }

    pub(super) async fn lookup(
        &self,
        addresses: Vec<String>,
        scope: Option<String>,
        to: &Replies,
    ) -> Result<(), Failure> {
        let scope = parse_scope(scope.as_deref().unwrap_or("global"))?;
        let parsed = parse_addresses(&addresses)?;
        for (given, address) in addresses.iter().zip(parsed) {
            let found = self.verdict(&address, &scope)?;
            let never = self.rules.never.entry(address.key());
            row(to, rows::verdict(given, &scope.to_string(), found.as_ref(), never)).await?;
        }
        Ok(())
    }

    pub(super) async fn list(
        self: &Arc<Self>,
        filter: ListFilter,
        to: &Replies,
    ) -> Result<(), Failure> {
        let wanted = Wanted::parse(filter)?;
        let (admin, to) = (Arc::clone(self), to.clone());
        blocking(move || {
            admin.each_match(&wanted, |_, found| {
                let row = rows::suppression(&found);
                to.blocking_send(Reply::Row { row }).map_err(unheard)
            })
        })
        .await
    }

    /// Goes through the live suppressions that match.
    fn each_match(
        &self,
        wanted: &Wanted,
        mut each: impl FnMut(&Standing, Suppression) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let now = clock::now();
        for standing in self.reader.standings() {
            let (key, scope, standing) = standing?;
            if !wanted.admits_key(&key) {
                continue;
            }
            let found = self.rules.judge(&key, &standing, &scope, &wanted.filter, now);
            if let Some(found) = found.filter(|found| wanted.admits(found)) {
                each(&standing, found)?;
            }
        }
        Ok(())
    }

    pub(super) async fn add(
        &self,
        addresses: Vec<String>,
        scope: Option<String>,
        seconds: Option<u64>,
        note: Option<String>,
        to: &Replies,
    ) -> Result<(), Failure> {
        check_note(note.as_deref().unwrap_or_default()).map_err(Failure::usage)?;
        let scope = parse_scope(scope.as_deref().unwrap_or("global"))?;
        let parsed = parse_addresses(&addresses)?;
        let now = clock::now();
        let until = seconds.map(|seconds| now.plus(Duration::from_secs(seconds)));
        let element = |address: &Address| {
            instruction_element(&Instruction {
                add: true,
                address: address.received().to_owned(),
                scope: scope.clone(),
                at: now,
                until,
                note: note.clone(),
                lifts: Lifts::default(),
            })
        };
        self.instruct(parsed.iter().map(element).collect(), Vec::new()).await?;
        for address in &parsed {
            let found = self.verdict(address, &scope)?;
            let never = self.rules.never.entry(address.key());
            let (named, within) = (address.received(), scope.to_string());
            let mut answer = rows::verdict(named, &within, found.as_ref(), never);
            answer["done"] = found.is_some().into();
            let ended = || match never {
                Some(entry) => {
                    let kept = "the addition is kept, and counts once that is gone";
                    format!("[rules] never has {entry:?}: {kept}")
                }
                None => "the term had ended before it was applied".to_owned(),
            };
            answer["problem"] = found.is_none().then(ended).into();
            row(to, answer).await?;
        }
        Ok(())
    }

    pub(super) async fn lift(
        self: &Arc<Self>,
        addresses: Vec<String>,
        filter: ListFilter,
        note: Option<String>,
        dry_run: bool,
        to: &Replies,
    ) -> Result<(), Failure> {
        if addresses.is_empty() && filter == ListFilter::default() {
            let error = "name the addresses to lift, or a filter; lifting all needs a filter too";
            return Err(Failure::usage(error));
        }
        check_note(note.as_deref().unwrap_or_default()).map_err(Failure::usage)?;
        let wanted = Arc::new(Wanted::parse(filter)?);
        let parsed = parse_addresses(&addresses)?;
        let (admin, asked) = (Arc::clone(self), Arc::clone(&wanted));
        let targets = blocking(move || admin.targets(&parsed, &asked)).await?;
        for chunk in targets.chunks(LIFTS_AT_ONCE) {
            if !dry_run {
                let element = |target| instruction_element(&wanted.lift(target, note.as_deref()));
                self.instruct(chunk.iter().map(element).collect(), Vec::new()).await?;
            }
            for target in chunk {
                row(to, lifted(target, note.as_deref(), dry_run)).await?;
            }
        }
        Ok(())
    }

    /// What a lift is about: named addresses in any case, or all that match.
    pub(super) fn targets(
        &self,
        addresses: &[Address],
        wanted: &Wanted,
    ) -> Result<Vec<Target>, Failure> {
        let now = clock::now();
        let mut targets = Vec::new();
        if addresses.is_empty() {
            self.each_match(wanted, |standing, found| {
                targets.push(Target {
                    address: found.address.into(),
                    through: last_instant(standing, now),
                    scope: found.scope,
                    reason: Some(found.reason),
                });
                Ok(())
            })?;
        }
        for address in addresses {
            let mut standings = self.reader.standings_of(address)?;
            standings.retain(|(scope, _)| wanted.filter.admits_scope(scope));
            if standings.is_empty() {
                let scope = wanted.filter.scopes.first().cloned().unwrap_or_default();
                standings.push((scope, Standing::default()));
            }
            for (scope, standing) in standings {
                let (key, filter) = (address.key(), &wanted.filter);
                let found = self.rules.judge(key, &standing, &scope, filter, now);
                targets.push(Target {
                    address: address.received().to_owned(),
                    through: last_instant(&standing, now),
                    reason: found.map(|found| found.reason),
                    scope,
                });
            }
        }
        Ok(targets)
    }
}

/// A lift covers all that is known when it is made: a fact that a fast clock dated ahead too.
fn last_instant(standing: &Standing, now: Time) -> Time {
    let grounds = standing.grounds().map(|(_, _, ground)| ground.latest.at);
    let bounces = standing.soft().iter().chain(standing.blocked().iter()).map(|b| b.at);
    let latest = grounds.chain(bounces).max().unwrap_or(now);
    if latest.nanos() > now.nanos() { latest } else { now }
}

fn lifted(target: &Target, note: Option<&str>, dry_run: bool) -> Value {
    json!({
        "address": target.address,
        "scope": target.scope.to_string(),
        "reason": target.reason.map(Reason::as_str),
        "through": target.through.to_string(),
        "done": !dry_run,
        "note": note,
        "problem": null,
    })
}

fn parse_addresses(given: &[String]) -> Result<Vec<Address>, Failure> {
    given.iter().map(|text| parse_address(text)).collect()
}

pub(super) fn parse_address(text: &str) -> Result<Address, Failure> {
    Address::named(text.trim()).map_err(|error| Failure::usage(format!("{text:?}: {error}")))
}

pub(super) fn parse_source(text: &str) -> Result<SourceName, Failure> {
    SourceName::parse(text).map_err(|error| Failure::usage(format!("{text:?}: {error}")))
}

pub(super) fn parse_reason(text: &str) -> Result<Reason, Failure> {
    let known = Reason::ALL.map(Reason::as_str).join(" ");
    let error = || Failure::usage(format!("{text:?} is no reason; they are: {known}"));
    Reason::parse(text).ok_or_else(error)
}

pub(super) fn parse_scope(text: &str) -> Result<Scope, Failure> {
    let error = || Failure::usage(format!("{text:?} is not `global` or `stream:<name>`"));
    Scope::parse(text).ok_or_else(error)
}

pub(super) fn parse_time(text: &str) -> Result<Time, Failure> {
    let error = || Failure::usage(format!("{text:?} is not a time such as 2026-06-15T10:32:11Z"));
    Time::parse(text).ok_or_else(error)
}

/// A domain in the form that keys have it.
fn parse_domain(text: &str) -> Result<String, Failure> {
    let probe = Address::parse(&format!("x@{text}"));
    let error = |error| Failure::usage(format!("{text:?}: {error}"));
    probe.map(|address| address.domain().to_owned()).map_err(error)
}
