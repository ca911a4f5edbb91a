//! Which suppressions a class of failure made, or a text: those that would not be without it.

use super::suppressions::parse_class;
use super::{Admin, Failure, ListFilter};
use crate::model::{
    Address, Class, Event, Fact, Filter, Lifts, Reason, Reread, Scope, SourceName, Standing,
    Telling, Time,
};
use crate::store::EventFilter;

/// Failures of a class, or of which a text tells.
pub(super) struct Cause {
    class: Option<Class>,
    /// On one line, in lower case.
    text: Option<String>,
}

impl Cause {
    /// `None`: the filter names neither.
    pub(super) fn parse(filter: &ListFilter) -> Result<Option<Cause>, Failure> {
        let class = filter.class.as_deref().map(parse_class).transpose()?;
        let text = filter.diagnostic.as_deref().map(plain);
        if text.as_deref() == Some("") {
            return Err(Failure::usage("a text to look for in diagnostics must not be empty"));
        }
        let is_any = class.is_some() || text.is_some();
        Ok(is_any.then_some(Cause { class, text }))
    }

    /// Whether it is the cause of this event.
    fn made(&self, event: &Event) -> bool {
        let said = || event.diagnostic.as_deref().map(plain).unwrap_or_default();
        event.failure.is_some()
            && self.class.is_none_or(|class| event.class() == Some(class))
            && self.text.as_ref().is_none_or(|text| said().contains(text))
    }
}

/// A text on one line, in lower case.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

impl Admin {
    /// The grounds of a standing that nothing but a cause made, by the events of the journal. Where
    /// they are not there any more, by what the standing knows of the latest.
    pub(super) fn made_by(
        &self,
        cause: &Cause,
        scope: &Scope,
        standing: &Standing,
        now: Time,
    ) -> Result<Vec<Lifts>, Failure> {
        let Ok(address) = Address::named(standing.spelling()) else { return Ok(Vec::new()) };
        let filter = EventFilter { address: Some(address.clone()), ..EventFilter::default() };
        let (mut scan, mut told) = (self.reader.events(filter)?, Vec::new());
        while let Some(one) = scan.advance()? {
            if one.event.scope == *scope {
                told.push(Reread { event: one.event, id: one.id, record: one.place.0.as_u64() });
            }
        }
        let key = address.key();
        let mut made: Vec<Lifts> = Vec::new();
        for (reason, source) in rests_on(standing) {
            let only =
                Filter { reasons: vec![reason], sources: vec![source.clone()], scopes: Vec::new() };
            let suppresses =
                |standing: &Standing| self.rules.judge(key, standing, scope, &only, now).is_some();
            if !suppresses(standing) {
                continue;
            }
            let is_made = match reason {
                Reason::SoftBounces => {
                    let counted = |told: &Reread| counts(standing, &told.event);
                    let any = told.iter().any(|told| cause.made(&told.event) && counted(told));
                    any && !suppresses(&without(cause, &told))
                }
                _ => cause.made_ground(standing, reason, &source, &told),
            };
            if is_made {
                made.push(Lifts { reason: Some(reason), source: Some(source) });
            }
        }
        Ok(made)
    }
}

impl Cause {
    /// Whether a ground rests on nothing else.
    fn made_ground(
        &self,
        standing: &Standing,
        reason: Reason,
        source: &SourceName,
        told: &[Reread],
    ) -> bool {
        let same = |ground: &(Reason, &SourceName)| *ground == (reason, source);
        let ground = standing.grounds().find(|(r, s, _)| same(&(*r, s)));
        let Some((_, _, ground)) = ground else { return false };
        let latest = told.iter().find(|told| told.id == ground.latest.evidence);
        let is_latest = match latest {
            Some(latest) => self.made(&latest.event),
            // The journal has let it go.
            None => self.text.is_none() && self.class == ground.latest.class,
        };
        let stands = |event: &Event| {
            event.source == *source && standing.lifted(reason, source, event.at, None).is_none()
        };
        let is_ground = |event: &Event| match event.fact() {
            Some(Fact::Ground { reason: of, .. }) => of == reason && stands(event),
            _ => false,
        };
        is_latest && !told.iter().any(|told| is_ground(&told.event) && !self.made(&told.event))
    }
}

/// The reasons and sources that a standing may suppress by.
fn rests_on(standing: &Standing) -> Vec<(Reason, SourceName)> {
    let grounds = standing.grounds().map(|(reason, source, _)| (reason, source.clone()));
    let counted = standing.soft().iter().chain(standing.blocked().iter());
    let counted = counted.chain(standing.unexplained().iter());
    let counted = counted.map(|bounce| (Reason::SoftBounces, bounce.source.clone()));
    let mut all: Vec<(Reason, SourceName)> = grounds.chain(counted).collect();
    all.sort();
    all.dedup();
    all
}

/// Whether a failure is one of those that are counted.
fn counts(standing: &Standing, event: &Event) -> bool {
    let counted = standing.soft().iter().chain(standing.blocked().iter());
    let mut counted = counted.chain(standing.unexplained().iter());
    counted.any(|bounce| bounce.at == event.at && bounce.source == event.source)
}

/// What would be known of an address without a cause.
fn without(cause: &Cause, told: &[Reread]) -> Standing {
    let mut standing = Standing::default();
    for Reread { event, record, .. } in told {
        if let Some(fact) = event.fact().filter(|_| !cause.made(event)) {
            let telling = Telling { record: *record, received: event.received_at, is_new: true };
            standing.merge(event.address.received(), fact, &telling);
        }
    }
    standing
}
