//! By which rules, and up to when, all turns were told: the state of a cursor. Pure.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ingest::Known;
use crate::model::bounds::CURSOR_BYTES_MAX;
use crate::model::{Never, Term, Time};
use crate::rules::{Rules, Threshold};

#[derive(Serialize, Deserialize)]
struct Wire {
    at: Time,
    hard_bounce: Option<Duration>,
    complaint: Option<Duration>,
    unsubscribe: Option<Duration>,
    invalid: Option<Duration>,
    provider_listed: Option<Duration>,
    soft_bounce: WireThreshold,
    blocked: Option<WireThreshold>,
    unexplained: Option<WireThreshold>,
    /// `None`: they were too many to be kept here.
    never: Option<Vec<Box<str>>>,
}

#[derive(Serialize, Deserialize)]
struct WireThreshold {
    count: usize,
    within: Duration,
    apart: Duration,
    term: Option<Duration>,
}

/// As the state of a cursor. `never`: whom the rules exempt, as the configuration has it.
pub(super) fn write(known: &Known, never: &[Box<str>]) -> String {
    let Known { rules, at } = known;
    let mut wire = Wire {
        at: *at,
        hard_bounce: span(rules.hard_bounce),
        complaint: span(rules.complaint),
        unsubscribe: span(rules.unsubscribe),
        invalid: span(rules.invalid),
        provider_listed: span(rules.provider_listed),
        soft_bounce: threshold(&rules.soft_bounce),
        blocked: rules.blocked.as_ref().map(threshold),
        unexplained: rules.unexplained.as_ref().map(threshold),
        never: Some(never.to_vec()),
    };
    #[expect(clippy::expect_used, reason = "texts, numbers and lists always have a JSON form")]
    let text = |wire: &Wire| serde_json::to_string(wire).expect("these have a JSON form");
    let whole = text(&wire);
    if whole.len() <= CURSOR_BYTES_MAX {
        return whole;
    }
    wire.never = None;
    text(&wire)
}

/// From the state of a cursor. Whom they exempted is as at `present`, where that was not kept.
/// `None`: another version wrote it.
pub(super) fn read(text: &str, present: &Rules) -> Option<Known> {
    let wire: Wire = serde_json::from_str(text).ok()?;
    let never = match wire.never {
        None => present.never.clone(),
        Some(entries) => {
            let mut never = Never::default();
            entries.iter().try_for_each(|entry| never.add(entry)).ok()?;
            never
        }
    };
    let rules = Rules {
        hard_bounce: term(wire.hard_bounce),
        complaint: term(wire.complaint),
        unsubscribe: term(wire.unsubscribe),
        invalid: term(wire.invalid),
        provider_listed: term(wire.provider_listed),
        soft_bounce: wire.soft_bounce.read(),
        blocked: wire.blocked.map(WireThreshold::read),
        unexplained: wire.unexplained.map(WireThreshold::read),
        never,
    };
    Some(Known { rules: Arc::new(rules), at: wire.at })
}

impl WireThreshold {
    fn read(self) -> Threshold {
        let WireThreshold { count, within, apart, term: of } = self;
        Threshold { count, within, apart, term: term(of) }
    }
}

fn threshold(of: &Threshold) -> WireThreshold {
    let Threshold { count, within, apart, term } = *of;
    WireThreshold { count, within, apart, term: span(term) }
}

fn span(term: Term) -> Option<Duration> {
    match term {
        Term::For(span) => Some(span),
        Term::Forever => None,
    }
}

fn term(span: Option<Duration>) -> Term {
    span.map_or(Term::Forever, Term::For)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_they_were_written_as_far_as_they_fit() {
        let entries: Vec<Box<str>> = vec!["postmaster@x.test".into(), "@y.test".into()];
        let mut never = Never::default();
        entries.iter().for_each(|entry| never.add(entry).unwrap());
        let rules = Rules {
            complaint: Term::For(Duration::from_millis(1_500)),
            blocked: Some(Threshold { count: 7, ..Threshold::default() }),
            unexplained: None,
            never,
            ..Rules::default()
        };
        let at = Time::from_nanos(1_700_000_000_123_456_789, 9);
        let known = Known { rules: Arc::new(rules), at };
        assert_eq!(read(&write(&known, &entries), &Rules::default()), Some(known.clone()));
        let many: Vec<Box<str>> = (0..9_000).map(|n| format!("a{n}@x.test").into()).collect();
        let text = write(&known, &many);
        assert!(text.len() <= CURSOR_BYTES_MAX);
        assert_eq!(read(&text, &known.rules), Some(known));
        assert_eq!(read("{}", &Rules::default()), None);
    }
}
