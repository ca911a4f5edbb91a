//! What the laws are tested with: short ways to make events, facts, standings and verdicts.

use std::collections::BTreeMap;
use std::time::Duration;

use suppressd::model::{
    Address, Event, EventKind, Fact, Failure, Filter, Gist, Lifts, Never, Origin, Reason, Scope,
    SourceName, Standing, Suppression, Telling, Term, Time,
};
use suppressd::rules::{Rules, Threshold};

/// A Unix time, in seconds, that all others are counted from.
const START: i64 = 1_750_000_000;

/// The instant that many seconds after the start.
pub(crate) fn at(seconds: i64) -> Time {
    Time::from_seconds(START + seconds)
}

/// The instant that many nanoseconds away from another.
pub(crate) fn shift(time: Time, nanos: i64) -> Time {
    Time::from_nanos(time.nanos() + nanos, 9)
}

/// The same instant, told with three fractional digits.
pub(crate) fn precise(time: Time) -> Time {
    Time::from_nanos(time.nanos(), 3)
}

pub(crate) fn source(name: &str) -> SourceName {
    SourceName::parse(name).unwrap()
}

/// A webhook's event about `User@x.test` in the global scope, without a message id.
pub(crate) fn event(teller: &str, kind: EventKind, at: Time) -> Event {
    Event {
        source: source(teller),
        provider: "generic".into(),
        kind,
        address: Address::parse("User@x.test").unwrap(),
        scope: Scope::Global,
        at,
        told_at: None,
        received_at: at,
        origin: Origin::Webhook,
        failure: None,
        message_id: None,
        smtp_code: None,
        enhanced_code: None,
        diagnostic: None,
        tags: Vec::new(),
        url: None,
        user_agent: None,
        provider_kind: kind.to_string(),
        provider_event_id: None,
        identity: None,
        machine: false,
        metadata: None,
        reason: None,
        until: None,
        loose: false,
        undated: false,
        lifts: None,
    }
}

/// A failure of a message.
pub(crate) fn failure(teller: &str, kind: EventKind, message: &str, at: Time) -> Event {
    Event { message_id: Some(message.to_owned()), ..event(teller, kind, at) }
}

/// A refusal of a message for good that nothing explains.
pub(crate) fn unexplained(teller: &str, message: &str, at: Time) -> Event {
    let known = Failure { unexplained: true, ..Failure::default() };
    Event { failure: Some(known), ..failure(teller, EventKind::SoftBounce, message, at) }
}

/// An operator's addition.
pub(crate) fn added(at: Time, until: Option<Time>, note: &str) -> Event {
    Event {
        origin: Origin::Operator,
        until,
        diagnostic: Some(note.to_owned()),
        ..event("operator", EventKind::Listed, at)
    }
}

/// An operator's lift.
pub(crate) fn lifted(at: Time, reason: Option<Reason>, teller: Option<&str>) -> Event {
    Event {
        origin: Origin::Operator,
        lifts: Some(Lifts { reason, source: teller.map(source) }),
        ..event("operator", EventKind::Unlisted, at)
    }
}

/// An event that is the ground of this reason, or a soft bounce for the last one.
pub(crate) fn cause(reason: Reason, teller: &str, at: Time) -> Event {
    match reason {
        Reason::Complaint => event(teller, EventKind::Complaint, at),
        Reason::HardBounce => event(teller, EventKind::HardBounce, at),
        Reason::Unsubscribe => event(teller, EventKind::Unsubscribed, at),
        Reason::Manual => Event { source: source(teller), ..added(at, None, "by hand") },
        Reason::ProviderListed => event(teller, EventKind::Listed, at),
        Reason::SoftBounces => failure(teller, EventKind::SoftBounce, "m", at),
        Reason::Invalid => {
            Event { reason: Some(Reason::Invalid), ..event(teller, EventKind::Rejected, at) }
        }
    }
}

pub(crate) fn fact(event: &Event) -> Fact {
    event.fact().expect("this kind of event has a fact")
}

/// The standing that events of one address and scope make, in this order.
pub(crate) fn standing(events: &[Event]) -> Standing {
    let mut standing = Standing::default();
    for event in events {
        if let Some(fact) = event.fact() {
            standing.merge(event.address.received(), fact, &Telling::BY_DATE);
        }
    }
    standing
}

/// The standings that events make, by address and scope, as the store keeps them.
pub(crate) fn standings<'a>(
    events: impl IntoIterator<Item = &'a Event>,
) -> BTreeMap<(String, Scope), Standing> {
    let mut standings: BTreeMap<(String, Scope), Standing> = BTreeMap::new();
    for event in events {
        let key = (event.address.key().to_owned(), event.scope.clone());
        if let Some(fact) = event.fact() {
            let standing = standings.entry(key).or_default();
            standing.merge(event.address.received(), fact, &Telling::BY_DATE);
        }
    }
    standings
}

/// The verdict on all that a standing holds.
pub(crate) fn verdict(rules: &Rules, standing: &Standing, now: Time) -> Option<Suppression> {
    let (scope, filter) = (Scope::Global, Filter::default());
    // What rules say of one address alone is not what is looked at here.
    let key = "any@example.com";
    let suppression = rules.judge(key, standing, &scope, &filter, now);
    let parts = |s: &Suppression| (s.reason, s.since, s.until);
    // Exports ask for the short form of the same, whether or not that holds the whole standing.
    for gist in [Gist::of(standing), Gist::Whole(standing)] {
        let verdict = rules.verdict(key, &gist, &scope, &filter, now);
        assert_eq!(verdict.map(|v| (v.reason, v.since, v.until)), suppression.as_ref().map(parts));
    }
    suppression
}

pub(crate) fn seconds(count: u64) -> Term {
    Term::For(Duration::from_secs(count))
}

/// How far apart [`short_rules`] want what nothing explains.
const GAP: Duration = Duration::from_secs(6);

/// Rules with a different short term for each reason, that count every kind of failure.
pub(crate) fn short_rules() -> Rules {
    let (within, apart) = (Duration::from_secs(10), Duration::ZERO);
    Rules {
        hard_bounce: seconds(10),
        complaint: seconds(20),
        unsubscribe: seconds(15),
        invalid: seconds(5),
        provider_listed: seconds(30),
        soft_bounce: Threshold { count: 2, within, apart, term: seconds(12) },
        blocked: Some(Threshold { count: 1, within: Duration::ZERO, apart, term: seconds(7) }),
        unexplained: Some(Threshold { count: 2, within, apart: GAP, term: seconds(9) }),
        never: Never::default(),
    }
}
