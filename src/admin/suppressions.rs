//! Verdicts: looking them up, listing them, and changing them by hand.

use std::sync::Arc;
use std::time::Duration;

use super::cause::Cause;
use super::{Admin, Failure, ListFilter, Replies, Reply, blocking, exports, row, rows, unheard};
use crate::clock;
use crate::export::Keys;
use crate::model::bounds::check_note;
use crate::model::{
    Address, Class, Filter, Lifts, MassId, Reason, Scope, SourceName, Standing, Suppression, Time,
};
use crate::provider::{Instruction, instruction_element};
use crate::store::StoreError;

/// A [`ListFilter`] that was understood.
pub(super) struct Wanted {
    pub(super) filter: Filter,
    domain: Option<String>,
    since: Option<Time>,
    until: Option<Time>,
    pub(super) cause: Option<Cause>,
}

/// A live suppression that matches.
pub(super) struct Match<'a> {
    pub(super) key: &'a str,
    pub(super) standing: &'a Standing,
    pub(super) suppression: Suppression,
    /// The grounds that are meant.
    pub(super) covers: Vec<Lifts>,
}

impl Wanted {
    pub(super) fn parse(filter: ListFilter) -> Result<Wanted, Failure> {
        let reason = filter.reason.as_deref().map(parse_reason).transpose()?;
        let source = filter.source.as_deref().map(parse_source).transpose()?;
        let scope = filter.scope.as_deref().map(parse_scope).transpose()?;
        let domain = filter.domain.as_deref().map(parse_domain).transpose()?;
        let cause = Cause::parse(&filter)?;
        Ok(Wanted {
            cause,
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

    /// The grounds that are meant, where no cause is named.
    fn lifts(&self) -> Lifts {
        Lifts {
            reason: self.filter.reasons.first().copied(),
            source: self.filter.sources.first().cloned(),
        }
    }

    /// Whether a ground is meant, as far as its reason and source tell.
    fn admits_ground(&self, ground: &Lifts) -> bool {
        let own = self.lifts();
        own.reason.is_none_or(|reason| ground.reason == Some(reason))
            && own.source.is_none_or(|source| ground.source == Some(source))
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

    /// The mass with which mail of that scope to an address is held back, if any.
    fn held_with(&self, address: &Address, scope: &Scope) -> Result<Option<MassId>, StoreError> {
        let standings = self.reader.standings_of(address)?;
        let of = standings.iter().filter(|(of, _)| *of == Scope::Global || of == scope);
        Ok(of.flat_map(|(_, standing)| standing.held()).map(|held| held.mass).next())
    }

    pub(super) async fn lookup(
        &self,
        addresses: Vec<String>,
        scope: Option<String>,
        to: &Replies,
    ) -> Result<(), Failure> {
        let scope = parse_scope(scope.as_deref().unwrap_or("global"))?;
        let parsed = parse_addresses(&addresses)?;
        let keys: Keys = parsed.iter().map(|address| address.key().to_owned()).collect();
        let (handle, now) = (self.exports.clone(), clock::now());
        let listings = blocking(move || Ok(handle.listings(&keys, now)?)).await?;
        for ((given, address), listings) in addresses.iter().zip(parsed).zip(listings) {
            let found = self.verdict(&address, &scope)?;
            let never = self.rules.never.entry(address.key());
            let mut answer = rows::verdict(given, &scope.to_string(), found.as_ref(), never);
            let is_forgotten = self.ingest.forgotten().has(address.key());
            answer["forgotten"] = is_forgotten.into();
            if is_forgotten && found.is_none() {
                answer["note"] = "forgotten, not suppressed".into();
            } else if found.is_none()
                && let Some(mass) = self.held_with(&address, &scope)?
            {
                answer["note"] = format!("held with mass {mass}; see `suppressd held`").into();
            }
            answer["exports"] = exports::rows(&listings).into();
            row(to, answer).await?;
        }
        Ok(())
    }

    pub(super) async fn list(
        self: &Arc<Self>,
        filter: ListFilter,
        to: &Replies,
    ) -> Result<(), Failure> {
        let wanted = Wanted::parse(filter)?;
        self.check_sources(&wanted.filter.sources)?;
        let (admin, to) = (Arc::clone(self), to.clone());
        blocking(move || {
            admin.each_match(&wanted, |found| {
                let row = rows::suppression(&found.suppression);
                to.blocking_send(Reply::Row { row }).map_err(unheard)
            })
        })
        .await
    }

    /// Goes through the live suppressions that match.
    pub(super) fn each_match(
        &self,
        wanted: &Wanted,
        mut each: impl FnMut(Match<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let now = clock::now();
        for standing in self.reader.standings() {
            let (key, scope, standing) = standing?;
            if !wanted.admits_key(&key) {
                continue;
            }
            let judge = |filter: &Filter| self.rules.judge(&key, &standing, &scope, filter, now);
            let found = judge(&wanted.filter).filter(|found| wanted.admits(found));
            if found.is_none() {
                continue;
            }
            let covers = self.meant(wanted, &scope, &standing, now)?;
            let found = covers.iter().find_map(|covers| judge(&Filter::of(covers)));
            if let Some(suppression) = found {
                each(Match { key: &key, standing: &standing, suppression, covers })?;
            }
        }
        Ok(())
    }

    /// The grounds of a standing that are meant.
    pub(super) fn meant(
        &self,
        wanted: &Wanted,
        scope: &Scope,
        standing: &Standing,
        now: Time,
    ) -> Result<Vec<Lifts>, Failure> {
        let Some(cause) = &wanted.cause else { return Ok(vec![wanted.lifts()]) };
        let mut covers = self.made_by(cause, scope, standing, now)?;
        covers.retain(|ground| wanted.admits_ground(ground));
        Ok(covers)
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
        let now = clock::receipt();
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
        let keys = parsed.iter().take(exports::TOLD_MAX).map(|a| a.key().to_owned()).collect();
        let mut listings = self.listed_soon(keys).await?.into_iter();
        let clock = self.clock_hint().filter(|_| until.is_some());
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
            answer["hint"] = clock.clone().into();
            if let Some(listings) = listings.next() {
                answer["exports"] = exports::rows(&listings).into();
            }
            row(to, answer).await?;
        }
        Ok(())
    }
}

pub(super) fn parse_addresses(given: &[String]) -> Result<Vec<Address>, Failure> {
    given.iter().map(|text| parse_address(text)).collect()
}

pub(super) fn parse_address(text: &str) -> Result<Address, Failure> {
    Address::named(text.trim()).map_err(|error| Failure::usage(format!("{text:?}: {error}")))
}

impl Admin {
    /// Refuses sources of which nobody has heard: a typo must not look like "nothing matches".
    /// One that the configuration has no longer, or of which rows were imported, is known as long
    /// as the store counts it.
    pub(super) fn check_sources(&self, named: &[SourceName]) -> Result<(), Failure> {
        for name in named {
            let configured = self.sources.iter().any(|known| known.name == *name);
            if configured || *name == SourceName::operator() || self.reader.knows(name)? {
                continue;
            }
            let names: Vec<&str> = self.sources.iter().map(|known| known.name.as_str()).collect();
            let known = format!("the configuration has: {}, and operator", names.join(", "));
            return Err(Failure::usage(format!("there is no source named \"{name}\"; {known}")));
        }
        Ok(())
    }
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

pub(super) fn parse_class(text: &str) -> Result<Class, Failure> {
    let known = Class::ALL.map(|(_, name)| name).join(" ");
    let error = || Failure::usage(format!("{text:?} is no class of failure; they are: {known}"));
    Class::parse(text).ok_or_else(error)
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
