//! The laws of merging where a clock was wrong: what stands is what a plain reading of the journal,
//! record by record, says; and merging any part of the journal again over what came of more of it
//! changes nothing, as after a checkpoint that is newer than the place it stands for.

use std::time::Duration;

use proptest::prelude::*;
use suppressd::model::{
    Bounce, Event, EventKind, Fact, Reason, Standing, Telling, Term, Time, Until,
};
use suppressd::rules::{Rules, Threshold};

use crate::facts::{added, at, event, fact, failure, lifted, shift, source, verdict};

/// One record of a journal, about one address.
#[derive(Clone, Debug)]
struct Record {
    fact: Fact,
    telling: Telling,
}

/// What is recorded, at which time of our clock.
fn record(number: usize, fact: Fact, received: Time) -> Record {
    let record = (number as u64 + 1) << 32;
    Record { fact, telling: Telling { record, received, is_new: true } }
}

fn merged<'r>(standing: &Standing, records: impl IntoIterator<Item = &'r Record>) -> Standing {
    let mut standing = standing.clone();
    for Record { fact, telling } in records {
        standing.merge("User@x.test", fact.clone(), telling);
    }
    standing
}

/// A journal whose clock steps back and forth: ours has at most three steps back, so that no end
/// is dropped for want of room.
fn journal(steps_back: usize) -> impl Strategy<Value = Vec<Record>> {
    let step = prop::sample::select(vec![-7_200_i64, -31_536_000, 7_200, 31_536_000, -120]);
    let steps = prop::collection::vec((0..24_usize, step), 0..=steps_back);
    let facts = prop::collection::vec((0..9_u8, 0..3_u8, -900..300_i64), 4..24);
    (steps, facts).prop_map(|(steps, facts)| {
        let mut clock = at(100_000_000);
        let mut records = Vec::new();
        for (number, (kind, teller, ago)) in facts.into_iter().enumerate() {
            for (_, step) in steps.iter().filter(|(when, _)| *when == number) {
                clock = shift(clock, step * 1_000_000_000);
            }
            clock = clock.plus(Duration::from_millis(7_500));
            let told = shift(clock, ago * 1_000_000_000);
            let teller = ["a", "b", "c"][usize::from(teller)];
            let message = format!("m{number}");
            let told: Event = match kind {
                0 => event(teller, EventKind::Complaint, told),
                1 => event(teller, EventKind::HardBounce, told),
                2 => added(clock, None, "by hand"),
                3 | 4 => failure(teller, EventKind::SoftBounce, &message, told),
                5 => lifted(clock, Some(Reason::Complaint), None),
                6 => lifted(clock, None, Some(teller)),
                7 => lifted(clock, None, None),
                _ => event(teller, EventKind::Delivered, told),
            };
            records.push(record(number, fact(&told), clock));
        }
        records
    })
}

/// Every ground holds for good, and each soft bounce is one.
fn rules() -> Rules {
    let soft_bounce =
        Threshold { count: 1, within: Duration::ZERO, apart: Duration::ZERO, term: Term::Forever };
    Rules { soft_bounce, ..Rules::default() }
}

/// Whether an end covers a fact that is dated `at`: one that was recorded later does by its date;
/// one that was recorded earlier does too, unless it is dated after the fact was received.
fn reaches(end: &Record, (at, through): (Time, Time), told: &Record) -> (bool, bool) {
    let by_date = at.nanos() <= through.nanos();
    let earlier = end.telling.record < told.telling.record;
    (by_date && !earlier, by_date && earlier)
}

/// Whether anything of a journal stands, by a plain reading.
fn stands(journal: &[Record], told: &Record) -> bool {
    let (reason, teller, when) = match &told.fact {
        Fact::Ground { reason, source, latest } => (*reason, source, latest.at),
        Fact::SoftBounce(_, Bounce { at, source, .. }) => (Reason::SoftBounces, source, *at),
        _ => return false,
    };
    let (mut after, mut before, mut contradicted) = (false, false, false);
    for end in journal {
        // Of a lift that knows the fraction of a second, the journal says what came after it.
        let mut in_its_second = false;
        let (through, known) = match &end.fact {
            Fact::Lift(lift)
                if lift.covers.reason.is_none_or(|r| r == reason)
                    && lift.covers.source.as_ref().is_none_or(|s| s == teller) =>
            {
                let second = lift.through.just_after().floor_second();
                in_its_second =
                    when.nanos() < lift.through.nanos() && when.nanos() == second.nanos();
                (lift.through, lift.through)
            }
            Fact::Delivered(at) if reason == Reason::SoftBounces => {
                (at.just_before(), (*at).min(end.telling.received))
            }
            _ => continue,
        };
        let (is_after, is_before) = reaches(end, (when, through), told);
        after |= is_after;
        before |= is_before;
        contradicted |=
            is_before && (in_its_second || known.nanos() > told.telling.received.nanos());
    }
    !(after || before && !contradicted)
}

#[test]
fn a_lift_never_covers_what_was_recorded_after_it() {
    let (year, hour) = (31_536_000, 3_600);
    for (lifted_at, told_at, received) in [
        // The clock was ahead at the lift.
        (year, 10, 10),
        (2 * hour, 10, 10),
        // It was behind at the fact, whose own date is not believed then.
        (0, -year, -year),
        (0, -2 * hour, -2 * hour),
    ] {
        let lift = record(1, fact(&lifted(at(lifted_at), None, None)), at(lifted_at));
        for told in [
            event("a", EventKind::Complaint, at(told_at)),
            added(at(told_at), None, "by hand"),
            failure("a", EventKind::SoftBounce, "m", at(told_at)),
        ] {
            let before = record(0, fact(&told), at(received));
            let after = record(2, fact(&told), at(received));
            let case = format!("{lifted_at} {told:?}");
            let now = at(5 * year);
            let live = |records: &[&Record]| {
                let standing = merged(&Standing::default(), records.iter().copied());
                verdict(&rules(), &standing, now).is_some()
            };
            assert!(live(&[&lift, &after]), "{case}");
            assert!(!live(&[&before, &lift]), "{case}");
            assert!(live(&[&before, &lift, &after]), "{case}");
            // The next lift covers it, although it is dated before the first one.
            let again = record(3, fact(&lifted(at(received), None, None)), at(received));
            assert!(!live(&[&lift, &after, &again]), "{case}");
            let once_more = record(4, fact(&told), at(received));
            let later =
                Record { telling: Telling { is_new: false, ..once_more.telling }, ..once_more };
            assert!(!live(&[&lift, &after, &again, &later]), "told again: {case}");
        }
    }
}

#[test]
fn what_arrives_late_is_covered_as_ever() {
    let lift = record(0, fact(&lifted(at(100), None, None)), at(100));
    let late = record(1, fact(&event("a", EventKind::HardBounce, at(50))), at(200));
    let standing = merged(&Standing::default(), [&lift, &late]);
    assert_eq!(verdict(&rules(), &standing, at(300)), None);
    // A resubscription may be dated a little ahead: that is no contradiction.
    let back = Event { received_at: at(100), ..event("a", EventKind::Resubscribed, at(160)) };
    let gone = event("a", EventKind::Unsubscribed, at(150));
    let records = [record(0, fact(&back), at(100)), record(1, fact(&gone), at(110))];
    assert_eq!(verdict(&rules(), &merged(&Standing::default(), &records), at(300)), None);
}

#[test]
fn what_stands_anyway_has_its_own_end() {
    let lift = record(1, fact(&lifted(at(1_000_000), None, None)), at(1_000_000));
    let for_good = record(0, fact(&added(at(900_000), None, "")), at(900_000));
    let a_while = record(2, fact(&added(at(10), Some(at(100)), "")), at(10));
    let standing = merged(&Standing::default(), [&for_good, &lift, &a_while]);
    let found = verdict(&rules(), &standing, at(50)).map(|s| (s.since, s.until));
    assert_eq!(found, Some((at(10), Until::At(at(100)))));
    assert_eq!(verdict(&rules(), &standing, at(100)), None);
    let sources = rules().findings("a@x.test", &standing, &Default::default());
    assert_eq!(
        sources.iter().map(|f| f.sources.clone()).collect::<Vec<_>>(),
        [[source("operator")]]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_stands_is_what_the_journal_says_in_its_order(journal in journal(3)) {
        let standing = merged(&Standing::default(), &journal);
        let expected = journal.iter().any(|told| stands(&journal, told));
        let found = verdict(&rules(), &standing, at(1_000_000_000));
        prop_assert_eq!(found.is_some(), expected);
    }

    #[test]
    fn nothing_is_lost_however_often_a_clock_was_wrong(journal in journal(12)) {
        let standing = merged(&Standing::default(), &journal);
        let expected = journal.iter().any(|told| stands(&journal, told));
        let found = verdict(&rules(), &standing, at(1_000_000_000));
        prop_assert!(found.is_some() || !expected);
    }

    #[test]
    fn merging_again_over_what_came_later_changes_nothing(
        journal in journal(6), from in 0..24_usize, reached in 0..24_usize,
    ) {
        let expected = merged(&Standing::default(), &journal);
        let reached = reached.min(journal.len());
        let newer = merged(&Standing::default(), &journal[..reached]);
        let again = merged(&newer, &journal[from.min(reached)..]);
        prop_assert_eq!(again, expected);
    }
}
