//! What single facts do to a verdict, to the nanosecond: lifts, ends, counts, deliveries.
//!
//! And which fact each kind of event is, as a literal table.

use std::time::Duration;

use suppressd::model::{
    Event, EventKind, Fact, Lifts, Origin, Reason, Scope, TALLY_MAX, Term, Time, Until,
};
use suppressd::rules::{Rules, Threshold};

use crate::facts::{
    added, at, cause, event, failure, lifted, precise, seconds, shift, short_rules, source,
    standing, standings, verdict,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Rules under which one soft bounce is enough, so that every reason has one cause.
fn one_is_enough() -> Rules {
    let soft_bounce =
        Threshold { count: 1, within: Duration::ZERO, apart: Duration::ZERO, term: Term::Forever };
    Rules { soft_bounce, ..Rules::default() }
}

fn suppressed(rules: &Rules, events: &[Event], now: Time) -> bool {
    verdict(rules, &standing(events), now).is_some()
}

#[test]
fn a_lift_covers_what_is_not_newer() {
    let rules = one_is_enough();
    for reason in Reason::ALL {
        for (nanos, covered) in [(-1, true), (0, true), (1, false)] {
            let told = cause(reason, "a", shift(at(10), nanos));
            let events = [told, lifted(at(10), None, None)];
            assert_eq!(!suppressed(&rules, &events, at(20)), covered, "{reason} {nanos} ns later");
        }
        // Of two facts the newer one stands, and its time is the suppression's.
        let events = [
            cause(reason, "a", at(5)),
            lifted(at(10), None, None),
            Event { message_id: Some("n".to_owned()), ..cause(reason, "a", at(15)) },
        ];
        let found = verdict(&rules, &standing(&events), at(20)).map(|s| s.since);
        assert_eq!(found, Some(at(15)), "{reason}");
    }
}

#[test]
fn a_limited_lift_leaves_the_others() {
    let rules = one_is_enough();
    let lift = |reason, teller| lifted(at(20), reason, teller);
    for reason in Reason::ALL {
        for other in Reason::ALL {
            let told = cause(other, "a", at(10));
            let stands = |lift: Event| suppressed(&rules, &[told.clone(), lift], at(30));
            assert_eq!(stands(lift(Some(reason), None)), other != reason, "{other}: {reason}");
            assert_eq!(stands(lift(Some(reason), Some("a"))), other != reason);
            assert!(stands(lift(Some(reason), Some("b"))));
            assert!(stands(lift(None, Some("b"))), "{other} of another source");
            assert!(!stands(lift(None, Some("a"))), "{other} of that source");
        }
    }
}

#[test]
fn a_resubscription_ends_its_own_unsubscription_only() {
    let rules = one_is_enough();
    let back = |nanos| event("a", EventKind::Resubscribed, shift(at(10), nanos));
    for (told, nanos, stands) in [
        (cause(Reason::Unsubscribe, "a", at(10)), -1, true),
        (cause(Reason::Unsubscribe, "a", at(10)), 0, true),
        (cause(Reason::Unsubscribe, "a", precise(at(10))), 0, true),
        (cause(Reason::Unsubscribe, "a", at(10)), 1, false),
        (cause(Reason::Unsubscribe, "b", at(10)), 1, true),
        (cause(Reason::Complaint, "a", at(10)), 1, true),
        (cause(Reason::HardBounce, "a", at(10)), 1, true),
        (cause(Reason::Invalid, "a", at(10)), 1, true),
        (cause(Reason::ProviderListed, "a", at(10)), 1, true),
        (cause(Reason::Manual, "a", at(10)), 1, true),
        (cause(Reason::SoftBounces, "a", at(10)), 1, true),
    ] {
        let name = told.kind;
        assert_eq!(suppressed(&rules, &[told, back(nanos)], at(20)), stands, "{name} {nanos}");
    }
}

#[test]
fn streams_do_not_touch_each_other() {
    let rules = one_is_enough();
    let news = Scope::Stream("news".into());
    let offers = Scope::Stream("offers".into());
    let gone = event("a", EventKind::Unsubscribed, at(10));
    let back = event("a", EventKind::Resubscribed, at(20));
    let known = standings(&[
        Event { scope: news.clone(), ..gone.clone() },
        Event { scope: offers.clone(), ..gone },
        Event { scope: news.clone(), ..back },
    ]);
    let key = |scope: &Scope| ("user@x.test".to_owned(), scope.clone());
    assert!(!known.contains_key(&key(&Scope::Global)), "a stream's fact is in no other scope");
    assert_eq!(verdict(&rules, &known[&key(&news)], at(30)), None);
    assert!(verdict(&rules, &known[&key(&offers)], at(30)).is_some());
}

#[test]
fn an_end_is_exact_for_every_reason() {
    let rules = Rules {
        soft_bounce: Threshold {
            count: 1,
            within: Duration::ZERO,
            apart: Duration::ZERO,
            term: seconds(12),
        },
        ..short_rules()
    };
    for (told, end) in [
        (cause(Reason::HardBounce, "a", at(10)), at(20)),
        (cause(Reason::Complaint, "a", at(10)), at(30)),
        (cause(Reason::Unsubscribe, "a", at(10)), at(25)),
        (cause(Reason::Invalid, "a", at(10)), at(15)),
        (cause(Reason::ProviderListed, "a", at(10)), at(40)),
        (cause(Reason::SoftBounces, "a", at(10)), at(22)),
        (failure("a", EventKind::Blocked, "m", at(10)), at(17)),
        (added(at(10), Some(at(33)), "until then"), at(33)),
        // The teller's own end and the rules' term: the earlier one holds.
        (Event { until: Some(at(12)), ..cause(Reason::HardBounce, "a", at(10)) }, at(12)),
        (Event { until: Some(at(90)), ..cause(Reason::HardBounce, "a", at(10)) }, at(20)),
    ] {
        let known = standing(std::slice::from_ref(&told));
        let before = verdict(&rules, &known, shift(end, -1));
        assert_eq!(before.map(|s| s.until), Some(Until::At(end)), "{} at {end}", told.kind);
        assert_eq!(verdict(&rules, &known, end), None, "{} at {end}", told.kind);
    }
}

#[test]
fn of_two_tellings_at_one_instant_the_longer_one_holds() {
    let short = Event { until: Some(at(15)), ..cause(Reason::HardBounce, "a", precise(at(10))) };
    let long = cause(Reason::HardBounce, "a", at(10));
    for events in [[short.clone(), long.clone()], [long, short]] {
        assert!(suppressed(&Rules::default(), &events, at(1_000)));
    }
}

#[test]
fn by_default_a_reason_has_no_end_but_soft_bounces() {
    let rules = Rules::default();
    let late = at(0).plus(200 * 365 * DAY);
    for reason in Reason::ALL {
        let stands = suppressed(&rules, &[cause(reason, "a", at(10))], late);
        assert_eq!(stands, reason != Reason::SoftBounces, "{reason}");
    }
    let five: Vec<Event> =
        (0..5).map(|n| failure("a", EventKind::SoftBounce, &format!("m{n}"), at(n))).collect();
    let end = at(4).plus(30 * DAY);
    assert!(suppressed(&rules, &five, at(4)));
    assert!(suppressed(&rules, &five, shift(end, -1)));
    assert!(!suppressed(&rules, &five, end));
    assert!(!suppressed(&rules, &five[1..], at(4)), "four are too few");
}

#[test]
fn a_span_is_exact() {
    let rules = short_rules();
    for (nanos, stands) in [(-1, true), (0, true), (1, false)] {
        let events = [
            failure("a", EventKind::SoftBounce, "m1", at(10)),
            failure("b", EventKind::SoftBounce, "m2", shift(at(20), nanos)),
        ];
        assert_eq!(suppressed(&rules, &events, at(21)), stands, "{nanos} ns");
    }
    // Two of three lie close enough together.
    let events: Vec<Event> = [0, 15, 20]
        .iter()
        .map(|s| failure("a", EventKind::SoftBounce, &format!("m{s}"), at(*s)))
        .collect();
    let found = verdict(&rules, &standing(&events), at(21)).unwrap();
    assert_eq!((found.reason, found.since), (Reason::SoftBounces, at(20)));
}

#[test]
fn a_message_counts_once() {
    let rules = short_rules();
    let bounce =
        |teller, message, second| failure(teller, EventKind::SoftBounce, message, at(second));
    let again = [bounce("a", "m1", 10), bounce("a", "m1", 10), bounce("a", "m1", 11)];
    assert!(!suppressed(&rules, &again, at(12)), "one message, three notifications");
    let other = [bounce("a", "m1", 10), bounce("a", "m2", 10)];
    assert!(suppressed(&rules, &other, at(12)), "two messages at one instant");
    let nameless = |nanos| event("a", EventKind::SoftBounce, shift(at(10), nanos));
    assert!(!suppressed(&rules, &[nameless(0), nameless(999_999_999)], at(12)), "one second");
    assert!(suppressed(&rules, &[nameless(0), nameless(1_000_000_000)], at(12)), "two seconds");
}

#[test]
fn a_delivery_resets_the_count_of_what_is_older() {
    let rules = short_rules();
    let bounces: Vec<Event> = [10, 15, 20]
        .iter()
        .map(|s| failure("a", EventKind::SoftBounce, &format!("m{s}"), at(*s)))
        .collect();
    for (time, stands) in [
        (at(10), true),
        (at(15), true),
        (precise(at(15)), true),
        (shift(at(15), 1), false),
        (at(20), false),
        (at(25), false),
    ] {
        let delivered = event("b", EventKind::Delivered, time);
        let events = [bounces.clone(), vec![delivered]].concat();
        assert_eq!(suppressed(&rules, &events, at(26)), stands, "delivered at {time}");
        assert_eq!(standing(&events).soft().len(), 3, "nothing is erased");
    }
    for reason in Reason::ALL.into_iter().filter(|r| *r != Reason::SoftBounces) {
        let events = [cause(reason, "a", at(10)), event("a", EventKind::Delivered, at(20))];
        assert!(suppressed(&Rules::default(), &events, at(30)), "{reason} outlives a delivery");
    }
}

#[test]
fn blocked_suppresses_only_when_the_rules_say_so() {
    let many: Vec<Event> = (0..TALLY_MAX as i64 * 2)
        .map(|n| failure("a", EventKind::Blocked, &format!("m{n}"), at(n)))
        .collect();
    assert_eq!(standing(&many).blocked().len(), TALLY_MAX, "they are counted all the same");
    assert!(!suppressed(&Rules::default(), &many, at(64)));
    let blocked =
        Some(Threshold { count: 3, within: 14 * DAY, apart: Duration::ZERO, term: seconds(100) });
    let rules = Rules { blocked, ..Rules::default() };
    assert!(suppressed(&rules, &many[..3], at(3)));
    assert!(!suppressed(&rules, &many[..2], at(3)));
    // Neither kind of failure counts for the other.
    let soft: Vec<Event> =
        (0..4).map(|n| failure("a", EventKind::SoftBounce, &format!("s{n}"), at(n))).collect();
    assert!(!suppressed(&rules, &[soft, many[..2].to_vec()].concat(), at(5)));
}

#[test]
fn the_largest_count_can_be_reached() {
    let bounces: Vec<Event> = (0..TALLY_MAX as i64)
        .map(|n| failure("a", EventKind::SoftBounce, &format!("m{n}"), at(n)))
        .collect();
    let soft_bounce =
        Threshold { count: TALLY_MAX, within: DAY, apart: Duration::ZERO, term: Term::Forever };
    let rules = Rules { soft_bounce, ..Rules::default() };
    assert!(suppressed(&rules, &bounces, at(100)));
    assert!(!suppressed(&rules, &bounces[1..], at(100)));
}

/// What an event adds to a standing, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Nothing,
    Ground(Reason),
    SoftBounce,
    Blocked,
    Delivered,
    Lift,
}

/// Each kind's effect by origin: webhook, poll, operator, import.
const EFFECTS: [(EventKind, [Effect; 4]); 16] = {
    use Effect::*;
    use EventKind as Kind;
    const LISTED: Effect = Ground(Reason::ProviderListed);
    [
        (Kind::Accepted, [Nothing; 4]),
        (Kind::Delivered, [Delivered; 4]),
        (Kind::Deferred, [Nothing; 4]),
        (Kind::SoftBounce, [SoftBounce; 4]),
        (Kind::HardBounce, [Ground(Reason::HardBounce); 4]),
        (Kind::Blocked, [Blocked; 4]),
        (Kind::Complaint, [Ground(Reason::Complaint); 4]),
        (Kind::Unsubscribed, [Ground(Reason::Unsubscribe); 4]),
        (Kind::Resubscribed, [Lift; 4]),
        (Kind::Rejected, [LISTED; 4]),
        (Kind::Failed, [Nothing; 4]),
        (Kind::Opened, [Nothing; 4]),
        (Kind::Clicked, [Nothing; 4]),
        (Kind::Listed, [LISTED, LISTED, Ground(Reason::Manual), LISTED]),
        // Gone from a provider's list proves nothing; a lift is said in so many words.
        (Kind::Unlisted, [Nothing; 4]),
        (Kind::Unknown, [Nothing; 4]),
    ]
};

fn effect(event: &Event) -> Effect {
    match event.fact() {
        None => Effect::Nothing,
        Some(Fact::Ground { reason, .. }) => Effect::Ground(reason),
        Some(Fact::SoftBounce(..)) => Effect::SoftBounce,
        Some(Fact::Blocked(..)) => Effect::Blocked,
        Some(Fact::Unexplained(..)) => unreachable!("nothing here was judged"),
        Some(Fact::Delivered(_)) => Effect::Delivered,
        Some(Fact::Lift(_)) => Effect::Lift,
    }
}

#[test]
fn each_kind_has_its_effect() {
    assert_eq!(EFFECTS.map(|(kind, _)| kind), EventKind::ALL, "the table has every kind");
    for (kind, effects) in EFFECTS {
        for (origin, expected) in Origin::ALL.into_iter().zip(effects) {
            let told = Event { origin, ..event("a", kind, at(10)) };
            assert_eq!(effect(&told), expected, "{kind} by {origin}");
            // A reason that the teller names stands in for the usual one, and makes no ground.
            let named = Event { reason: Some(Reason::Invalid), ..told.clone() };
            let replaced = match expected {
                Effect::Ground(_) => Effect::Ground(Reason::Invalid),
                other => other,
            };
            assert_eq!(effect(&named), replaced, "{kind} by {origin}, reason invalid");
            let lifting = Event { lifts: Some(Lifts::default()), ..told };
            let lifted = if kind == EventKind::Unlisted { Effect::Lift } else { expected };
            assert_eq!(effect(&lifting), lifted, "{kind} by {origin}, with a lift");
        }
    }
}

#[test]
fn a_fact_carries_what_the_event_says() {
    let told =
        Event { diagnostic: Some("550 no".to_owned()), ..cause(Reason::HardBounce, "a", at(10)) };
    let Some(Fact::Ground { source: teller, latest, .. }) = told.fact() else {
        panic!("no ground")
    };
    assert_eq!((teller, latest.at, latest.until), (source("a"), at(10), Until::Forever));
    assert_eq!((latest.evidence, latest.note), (told.id(), None));
    let by_hand = added(at(10), Some(at(20)), "asked by phone");
    let Some(Fact::Ground { latest, .. }) = by_hand.fact() else { panic!("no ground") };
    assert_eq!(latest.until, Until::At(at(20)));
    assert_eq!(latest.note.as_deref(), Some("asked by phone"));
    let Some(Fact::Lift(lift)) = event("a", EventKind::Resubscribed, at(10)).fact() else {
        panic!("no lift")
    };
    let own = Lifts { reason: Some(Reason::Unsubscribe), source: Some(source("a")) };
    assert_eq!((lift.covers, lift.through), (own, shift(at(10), -1)));
}

#[test]
fn a_verdict_tells_since_when_and_by_whom() {
    let rules = Rules { soft_bounce: short_rules().soft_bounce, ..Rules::default() };
    let bounce =
        |teller, second| failure(teller, EventKind::SoftBounce, &format!("m{second}"), at(second));
    let hard = |teller, second| cause(Reason::HardBounce, teller, at(second));
    let complaint = |teller, second| cause(Reason::Complaint, teller, at(second));
    let cases: Vec<(Vec<Event>, Reason, i64, &[&str])> = vec![
        (vec![hard("a", 10)], Reason::HardBounce, 10, &["a"]),
        (vec![hard("a", 20), hard("a", 10), hard("a", 30)], Reason::HardBounce, 10, &["a"]),
        (vec![hard("b", 20), hard("a", 30)], Reason::HardBounce, 20, &["a", "b"]),
        // The weightiest reason, the earliest time, everyone who told a live one.
        (vec![hard("b", 10), complaint("a", 20)], Reason::Complaint, 10, &["a", "b"]),
        (vec![hard("b", 20), complaint("a", 10)], Reason::Complaint, 10, &["a", "b"]),
        // What is lifted no longer speaks.
        (
            vec![hard("b", 10), lifted(at(15), None, None), complaint("a", 20)],
            Reason::Complaint,
            20,
            &["a"],
        ),
        // Since the second of two in the first run; as long as the runs' terms meet.
        (vec![bounce("b", 20), bounce("a", 21)], Reason::SoftBounces, 21, &["a", "b"]),
        (
            vec![bounce("a", 10), bounce("a", 11), bounce("b", 20), bounce("b", 30)],
            Reason::SoftBounces,
            11,
            &["a", "b"],
        ),
        (
            vec![bounce("a", 10), bounce("a", 11), bounce("b", 22), bounce("b", 23)],
            Reason::SoftBounces,
            23,
            &["b"],
        ),
    ];
    for (number, (events, reason, since, sources)) in cases.into_iter().enumerate() {
        let found = verdict(&rules, &standing(&events), at(31)).unwrap();
        let tellers: Vec<String> = found.sources.iter().map(ToString::to_string).collect();
        assert_eq!((found.reason, found.since), (reason, at(since)), "case {number}");
        assert_eq!(tellers, sources, "case {number}");
    }
}
