//! The laws of merging: any order, any repetition and any split of the same facts end in the same
//! standing and the same verdict, and the verdict is what a plain reading of the facts says.
//!
//! The small universe has every kind of fact and every tie between them; the large sets are drawn.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use suppressd::model::{
    Address, Bounce, Event, EventKind, Fact, MessageKey, Reason, Scope, SourceName, Standing,
    TALLY_MAX, Telling, Time, Until,
};
use suppressd::rules::{Rules, Threshold};

use crate::facts::{
    added, at, event, fact, failure, lifted, precise, short_rules, standing, standings,
    unexplained, verdict,
};

/// Largest subset that is merged in every order.
const ORDERED_MAX: usize = 4;

/// Facts that interact in every way there is: same and other reasons, sources, times, messages.
fn universe() -> Vec<Event> {
    use EventKind::*;
    vec![
        event("a", HardBounce, at(10)),
        event("a", HardBounce, at(20)),
        // The same instant as the first, told more precisely, and with an end of its own.
        Event { until: Some(at(15)), ..event("a", HardBounce, precise(at(10))) },
        event("b", HardBounce, at(10)),
        event("a", Complaint, at(20)),
        event("a", Unsubscribed, at(20)),
        event("b", Unsubscribed, at(20)),
        event("a", Rejected, at(15)),
        Event { reason: Some(Reason::Invalid), ..event("a", Rejected, at(20)) },
        added(at(20), Some(at(40)), "for a while"),
        added(at(20), None, "for good"),
        failure("a", SoftBounce, "m1", at(10)),
        failure("a", SoftBounce, "m1", at(20)),
        failure("a", SoftBounce, "m2", precise(at(20))),
        failure("b", SoftBounce, "m3", at(30)),
        failure("a", Blocked, "m4", at(20)),
        unexplained("a", "m5", at(10)),
        unexplained("a", "m6", at(15)),
        unexplained("b", "m7", at(20)),
        event("a", Delivered, at(10)),
        event("b", Delivered, at(20)),
        event("a", Delivered, precise(at(20))),
        lifted(at(20), None, None),
        lifted(at(20), Some(Reason::HardBounce), None),
        lifted(at(10), None, Some("a")),
        event("a", Resubscribed, at(20)),
        event("a", Resubscribed, at(21)),
    ]
}

/// The universe as facts, each with the spelling that it came with.
fn told() -> Vec<(&'static str, Fact)> {
    let spellings = ["User@x.test", "user@X.test", "USER@x.test"];
    let spelled = |(index, event): (usize, Event)| (spellings[index % 3], fact(&event));
    universe().into_iter().enumerate().map(spelled).collect()
}

/// The standing of facts merged in this order.
fn merged<'a>(told: impl IntoIterator<Item = &'a (&'static str, Fact)>) -> Standing {
    let mut standing = Standing::default();
    for (spelling, fact) in told {
        standing.merge(spelling, fact.clone(), &Telling::BY_DATE);
    }
    standing
}

/// Every subset of `0..count` with `size` members, each ascending.
fn subsets(count: usize, size: usize) -> Vec<Vec<usize>> {
    if size == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for last in size - 1..count {
        for mut rest in subsets(last, size - 1) {
            rest.push(last);
            all.push(rest);
        }
    }
    all
}

/// As the store does between two batches: written, and read back.
fn stored(standing: &Standing) -> Standing {
    let bytes = postcard::to_stdvec(standing).unwrap();
    postcard::from_bytes(&bytes).unwrap()
}

/// Merges every order of up to [`ORDERED_MAX`] facts, and checks each step against the first
/// standing that the same facts made.
fn every_order(
    told: &[(&'static str, Fact)],
    known: &mut HashMap<u32, Standing>,
    taken: &mut Vec<usize>,
    standing: &Standing,
) {
    let set = taken.iter().fold(0, |set, index| set | 1 << index);
    let expected = known.entry(set).or_insert_with(|| standing.clone());
    assert_eq!(standing, expected, "merged in the order {taken:?}");
    if taken.len() == ORDERED_MAX {
        return;
    }
    for index in 0..told.len() {
        let (spelling, fact) = &told[index];
        let mut next = standing.clone();
        let changed = next.merge(spelling, fact.clone(), &Telling::BY_DATE);
        assert_eq!(changed, next != *standing, "what merge says of {index} after {taken:?}");
        if taken.contains(&index) {
            assert_eq!(next, *standing, "{index} again after {taken:?}");
            continue;
        }
        taken.push(index);
        every_order(told, known, taken, &next);
        taken.pop();
    }
}

#[test]
fn every_order_and_repetition_of_few_facts_makes_one_standing() {
    every_order(&told(), &mut HashMap::new(), &mut Vec::new(), &Standing::default());
}

#[test]
fn orders_of_five_facts_make_one_standing() {
    let told = told();
    for subset in subsets(told.len(), 5) {
        let expected = merged(subset.iter().map(|i| &told[*i]));
        let orders: [[usize; 5]; 4] =
            [[4, 3, 2, 1, 0], [2, 3, 4, 0, 1], [1, 0, 3, 2, 4], [3, 0, 4, 1, 2]];
        for order in orders {
            let other = merged(order.iter().map(|i| &told[subset[*i]]));
            assert_eq!(other, expected, "{subset:?} in the order {order:?}");
        }
    }
}

#[test]
fn every_split_into_stored_batches_makes_one_standing() {
    let told = told();
    for subset in subsets(told.len(), 4) {
        let expected = merged(subset.iter().map(|i| &told[*i]));
        // Each bit says whether a batch ends, and the standing is stored, behind that fact.
        for split in 1..8_u32 {
            let mut standing = Standing::default();
            for (place, index) in subset.iter().enumerate().rev() {
                let (spelling, fact) = &told[*index];
                standing.merge(spelling, fact.clone(), &Telling::BY_DATE);
                if split & 1 << place != 0 {
                    standing = stored(&standing);
                }
            }
            assert_eq!(standing, expected, "{subset:?} split by {split:b}");
        }
    }
}

/// What a verdict says that does not depend on how it is put: the reason, and the end in
/// nanoseconds, `i64::MAX` for none.
type Essence = Option<(Reason, i64)>;

fn essence(rules: &Rules, standing: &Standing, now: Time) -> Essence {
    let end = |until: Until| until.time().map_or(i64::MAX, Time::nanos);
    verdict(rules, standing, now).map(|s| (s.reason, end(s.until)))
}

/// The verdict by a plain reading of the rules over a set of facts, without any merging.
fn plain_reading(rules: &Rules, facts: &[&Fact], now: Time) -> Essence {
    let live = |(_, end): &(Reason, i64)| now.nanos() < *end;
    let mut found: Vec<(Reason, i64)> = grounds_of(rules, facts);
    let soft = |fact: &Fact| match fact {
        Fact::SoftBounce(message, bounce) => Some((*message, bounce.clone())),
        _ => None,
    };
    let blocked = |fact: &Fact| match fact {
        Fact::Blocked(message, bounce) => Some((*message, bounce.clone())),
        _ => None,
    };
    let odd = |fact: &Fact| match fact {
        Fact::Unexplained(message, bounce) => Some((*message, bounce.clone())),
        _ => None,
    };
    found.extend(runs_of(&rules.soft_bounce, facts, soft));
    if let Some(threshold) = &rules.unexplained {
        found.extend(runs_of(threshold, facts, odd));
    }
    if let Some(threshold) = &rules.blocked {
        found.extend(runs_of(threshold, facts, blocked));
    }
    let found: Vec<(Reason, i64)> = found.into_iter().filter(live).collect();
    let reason = found.iter().map(|(reason, _)| *reason).min()?;
    Some((reason, found.iter().map(|(_, end)| *end).max()?))
}

/// The last instant that the lifts among the facts cover, for this reason and source.
fn covered(facts: &[&Fact], reason: Reason, source: &SourceName) -> i64 {
    let through = |fact: &&Fact| match fact {
        Fact::Lift(lift)
            if lift.covers.reason.is_none_or(|r| r == reason)
                && lift.covers.source.as_ref().is_none_or(|s| s == source) =>
        {
            Some(lift.through.nanos())
        }
        _ => None,
    };
    facts.iter().filter_map(through).max().unwrap_or(i64::MIN)
}

/// The grounds that no lift covers, each with its end: that of its latest fact, and, of several
/// facts at one instant, of the one that lasts longest.
fn grounds_of(rules: &Rules, facts: &[&Fact]) -> Vec<(Reason, i64)> {
    let mut latest: BTreeMap<(Reason, SourceName), (i64, i64)> = BTreeMap::new();
    for fact in facts {
        let Fact::Ground { reason, source, latest: told } = fact else { continue };
        let end = told.until.time().map_or(i64::MAX, Time::nanos);
        let known = latest.entry((*reason, source.clone())).or_insert((i64::MIN, i64::MIN));
        *known = (*known).max((told.at.nanos(), end));
    }
    let uncovered = latest
        .into_iter()
        .filter(|((reason, source), (at, _))| covered(facts, *reason, source) < *at);
    uncovered
        .map(|((reason, _), (at, end))| {
            let term = match reason {
                Reason::Complaint => rules.complaint,
                Reason::HardBounce => rules.hard_bounce,
                Reason::Invalid => rules.invalid,
                Reason::Unsubscribe => rules.unsubscribe,
                Reason::ProviderListed => rules.provider_listed,
                Reason::Manual | Reason::SoftBounces => suppressd::model::Term::Forever,
            };
            let ruled = term.end(Time::from_nanos(at, 9)).time().map_or(i64::MAX, Time::nanos);
            (reason, end.min(ruled))
        })
        .collect()
}

/// The ends of all runs of enough failures close enough together.
fn runs_of(
    threshold: &Threshold,
    facts: &[&Fact],
    pick: impl Fn(&Fact) -> Option<(MessageKey, Bounce)>,
) -> Vec<(Reason, i64)> {
    let mut by_message: BTreeMap<MessageKey, Bounce> = BTreeMap::new();
    for (message, bounce) in facts.iter().filter_map(|fact| pick(fact)) {
        let known = by_message.entry(message).or_insert_with(|| bounce.clone());
        *known = known.clone().max(bounce);
    }
    let delivery =
        |fact: &&Fact| if let Fact::Delivered(t) = fact { Some(t.nanos()) } else { None };
    let delivered = facts.iter().filter_map(delivery).max().unwrap_or(i64::MIN);
    let counts = |bounce: &&Bounce| {
        let lifted = covered(facts, Reason::SoftBounces, &bounce.source);
        lifted < bounce.at.nanos() && delivered <= bounce.at.nanos()
    };
    let mut times: Vec<Time> = by_message.values().filter(counts).map(|b| b.at).collect();
    times.sort();
    let run = |run: Vec<usize>| {
        let run: Vec<Time> = run.into_iter().map(|index| times[index]).collect();
        let last = run[run.len() - 1];
        let close = last.since(run[0]) <= threshold.within;
        let apart = run.windows(2).all(|pair| pair[1].since(pair[0]) >= threshold.apart);
        let end = threshold.term.end(last).time().map_or(i64::MAX, Time::nanos);
        (close && apart).then_some((Reason::SoftBounces, end))
    };
    subsets(times.len(), threshold.count).into_iter().filter_map(run).collect()
}

/// The day and hour of a failure that nothing explains.
fn odd(day: i64, hour: i64) -> Event {
    unexplained("a", &format!("{day}:{hour}"), at(day * 86_400 + hour * 3_600))
}

#[test]
fn what_nothing_explains_counts_by_days() {
    let now = at(90 * 86_400);
    let suppresses = |events: &[Event]| {
        verdict(&Rules::default(), &standing(events), now).map(|found| found.reason)
    };
    let days = |days: &[i64]| days.iter().map(|day| odd(*day, 0)).collect::<Vec<_>>();
    assert_eq!(suppresses(&days(&[1, 2, 3])), Some(Reason::SoftBounces));
    assert_eq!(suppresses(&days(&[1, 45, 91])), Some(Reason::SoftBounces));
    assert_eq!(suppresses(&days(&[1, 45, 92])), None, "too long ago");
    assert_eq!(suppresses(&days(&[1, 2])), None);
    let of_a_day: Vec<Event> = (0..24).map(|hour| odd(1, hour)).collect();
    assert_eq!(suppresses(&of_a_day), None, "one day, however many");
    assert!(suppresses(&[odd(1, 10), odd(1, 12), odd(2, 10), odd(3, 10)]).is_some());
    assert_eq!(suppresses(&[odd(1, 0), odd(1, 23), odd(2, 22)]), None, "not a day apart");
    let mut reset = days(&[1, 2, 3]);
    reset.push(event("a", EventKind::Delivered, at(2 * 86_400 + 60)));
    assert_eq!(suppresses(&reset), None, "a delivery between");
    // More on each day than are kept one by one.
    let many: Vec<Event> = (0..3)
        .flat_map(|day| (0..100).map(move |n| (day, n)))
        .map(|(day, n)| unexplained("a", &format!("{day} {n}"), at(day * 86_400 + n)))
        .collect();
    assert_eq!(suppresses(&many), Some(Reason::SoftBounces));
}

#[test]
fn verdicts_are_what_a_plain_reading_of_the_facts_says() {
    let told = told();
    let ends = [10, 15, 20, 21, 22, 25, 27, 30, 32, 35, 40, 42, 45, 50];
    let nows: Vec<Time> = ends.iter().flat_map(|s| [at(*s).just_before(), at(*s)]).collect();
    let rules = [Rules::default(), short_rules()];
    for size in 0..=4 {
        for (number, subset) in subsets(told.len(), size).into_iter().enumerate() {
            let facts: Vec<&Fact> = subset.iter().map(|i| &told[*i].1).collect();
            let forward = merged(subset.iter().map(|i| &told[*i]));
            let backward = merged(subset.iter().rev().map(|i| &told[*i]));
            for rules in &rules {
                // The larger subsets see every seventh instant, each subset other ones.
                let step = if size < 4 { 1 } else { 7 };
                for now in nows.iter().skip(number % step).step_by(step) {
                    let expected = plain_reading(rules, &facts, *now);
                    assert_eq!(essence(rules, &forward, *now), expected, "{subset:?} at {now}");
                    assert_eq!(verdict(rules, &forward, *now), verdict(rules, &backward, *now));
                }
            }
        }
    }
}

/// Any event about one of three addresses in one of two scopes.
fn any_event() -> impl Strategy<Value = Event> {
    let address = prop::sample::select(vec!["User@x.test", "user@X.TEST", "b@x.test", "c@y.test"]);
    let kind = prop::sample::select(EventKind::ALL.to_vec());
    let scope = prop::sample::select(vec![Scope::Global, Scope::Stream("news".into())]);
    let teller = prop::sample::select(vec!["a", "b"]);
    let lift = prop::option::of(prop::sample::select(Reason::ALL.to_vec()));
    let time = (0..60_i64, 0..4_i64, prop::sample::select(vec![0_u8, 3, 9]));
    let message = prop::option::of(0..200_u32);
    (address, kind, scope, teller, lift, time, message).prop_map(
        |(address, kind, scope, teller, lift, (second, half, digits), message)| {
            let at = Time::from_nanos(at(second).nanos() + half * 500_000_000, digits);
            let base = match kind {
                EventKind::Unlisted => lifted(at, lift, Some(teller)),
                _ => event(teller, kind, at),
            };
            Event {
                address: Address::parse(address).unwrap(),
                scope,
                message_id: message.map(|number| format!("m{number}")),
                ..base
            }
        },
    )
}

/// A set of events, and the same events shuffled with some of them told again.
fn told_twice() -> impl Strategy<Value = (Vec<Event>, Vec<Event>)> {
    let events = prop::collection::vec(any_event(), 100..400);
    events.prop_flat_map(|events| {
        let again = prop::sample::subsequence(events.clone(), 0..=events.len());
        let shuffled = again
            .prop_map({
                let events = events.clone();
                move |again| [events.clone(), again].concat()
            })
            .prop_shuffle();
        (Just(events), shuffled)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_order_of_many_events_makes_the_same_standings((events, again) in told_twice()) {
        let expected = standings(&events);
        let found = standings(&again);
        prop_assert_eq!(&found, &expected);
        for (key, standing) in &expected {
            for rules in [Rules::default(), short_rules()] {
                for now in [at(0), at(30), at(61), at(10_000_000)] {
                    let other = verdict(&rules, &found[key], now);
                    prop_assert_eq!(verdict(&rules, standing, now), other);
                }
            }
        }
    }

    #[test]
    fn a_full_tally_is_the_same_in_any_order(
        messages in prop::collection::vec((0..90_u32, 0..500_i64, 0..2_u8), 150..400),
        seed in any::<u64>(),
    ) {
        let bounce = |(message, second, teller): &(u32, i64, u8)| {
            let teller = if *teller == 0 { "a" } else { "b" };
            failure(teller, EventKind::SoftBounce, &format!("m{message}"), at(*second))
        };
        let events: Vec<Event> = messages.iter().map(bounce).collect();
        let expected = standing(&events);
        let mut other = events.clone();
        other.sort_by_key(|event| scatter(event.at.nanos().unsigned_abs(), seed));
        other.extend(events.iter().take(40).cloned());
        prop_assert_eq!(expected.soft().len(), TALLY_MAX);
        prop_assert_eq!(standing(&other), expected.clone());
        other.reverse();
        prop_assert_eq!(standing(&other), expected);
    }

    #[test]
    fn what_nothing_explains_is_kept_alike_in_any_order(
        messages in prop::collection::vec((0..120_u32, 0..60_i64, 0..86_400_i64), 50..300),
        seed in any::<u64>(),
    ) {
        let failed = |(message, day, second): &(u32, i64, i64)| {
            unexplained("a", &format!("m{message}"), at(day * 86_400 + second))
        };
        let events: Vec<Event> = messages.iter().map(failed).collect();
        let expected = standing(&events);
        let mut other = events.clone();
        other.sort_by_key(|event| scatter(event.at.nanos().unsigned_abs(), seed));
        other.extend(events.iter().take(40).cloned());
        prop_assert_eq!(standing(&other), expected.clone());
        other.reverse();
        prop_assert_eq!(standing(&other), expected.clone());
        prop_assert!(postcard::to_stdvec(&expected).unwrap().len() < 4 << 10);
    }

    #[test]
    fn a_fact_changes_no_other_address_and_no_other_scope((events, _) in told_twice()) {
        let together = standings(&events);
        for (key, expected) in &together {
            let own = |event: &&Event| event.address.key() == key.0 && event.scope == key.1;
            let alone = standings(events.iter().filter(own));
            prop_assert_eq!(alone.len(), 1);
            prop_assert_eq!(&alone[key], expected);
        }
    }
}

/// A number that follows from another and a seed in no evident way (SplitMix64's last step).
fn scatter(number: u64, seed: u64) -> u64 {
    let mixed = (number ^ seed).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}
