//! The law of judging again: what stands afterwards is what the journal says by the present rules,
//! whatever it was judged by before, and however often.

use proptest::prelude::*;
use suppressd::model::{
    Class, Correction, Event, EventKind, Failure, Judgement, Reread, Scope, Standing, TALLY_MAX,
    Telling,
};

use crate::facts::{added, at, event, failure, lifted};

/// Replies that rules may take for anything.
const REPLIES: usize = 3;

/// What rules make of each of the replies.
type Judging = [Meaning; REPLIES];

/// A kind of failure and its class; `None`: the rules make nothing of it.
type Meaning = Option<Class>;

/// What the journal holds of one address.
#[derive(Clone, Copy, Debug)]
enum Record {
    Failed { source: bool, message: u8, reply: usize },
    Delivered,
    Complaint,
    Added,
    Lifted,
}

fn teller(source: bool) -> &'static str {
    if source { "a" } else { "b" }
}

/// The records as events, by these rules.
fn events(records: &[Record], judging: Judging) -> Vec<Event> {
    let read = |(place, record): (usize, &Record)| {
        let at = at(i64::try_from(place).unwrap());
        match *record {
            Record::Failed { source, message, reply } => {
                let class = judging[reply];
                let kind = class.map_or(EventKind::Failed, Class::kind);
                let of_class = |class| Judgement {
                    class,
                    rule: String::new(),
                    evidence: String::new(),
                    source: String::new(),
                };
                let known = Failure {
                    unexplained: class == Some(Class::Unexplained),
                    judgement: class.map(of_class),
                    ..Failure::default()
                };
                let event = failure(teller(source), kind, &format!("m{message}"), at);
                Event { failure: Some(known), ..event }
            }
            Record::Delivered => event("a", EventKind::Delivered, at),
            Record::Complaint => event("a", EventKind::Complaint, at),
            Record::Added => added(at, None, "by hand"),
            Record::Lifted => lifted(at, None, None),
        }
    };
    records.iter().enumerate().map(read).collect()
}

/// What stands when they are applied in their order.
fn applied(events: &[Event]) -> Standing {
    let mut standing = Standing::default();
    for (record, event) in (1..).zip(events) {
        let Some(fact) = event.fact() else { continue };
        let telling = Telling { record, received: event.received_at, is_new: true };
        standing.merge(event.address.received(), fact, &telling);
    }
    standing
}

/// What stands after a run by the rules that read `now`; they were applied as `first`.
fn rejudged(standing: &Standing, first: &[Event], now: &[Event]) -> Standing {
    let told: Vec<Reread> = (1..)
        .zip(first.iter().zip(now))
        .map(|(record, (first, now))| Reread { event: now.clone(), id: first.id(), record })
        .collect();
    let mut standing = standing.clone();
    let address = now.first().map_or("", |event| event.address.key());
    if let Some(correction) = Correction::of(&standing, address, &Scope::Global, &told) {
        assert!(correction.apply(&mut standing), "a correction that corrects nothing");
        assert!(!correction.apply(&mut standing), "a correction that is not done at once");
    }
    assert_eq!(Correction::of(&standing, address, &Scope::Global, &told), None, "a second run");
    standing
}

fn meaning() -> impl Strategy<Value = Meaning> {
    use Class::{Disabled, Full, NoMailbox, Policy, Rate, System, Unexplained};
    let classes = [NoMailbox, Disabled, Full, System, Policy, Rate, Unexplained];
    prop::sample::select(classes.map(Some).into_iter().chain([None]).collect::<Vec<_>>())
}

fn record() -> impl Strategy<Value = Record> {
    let failed = (any::<bool>(), 0_u8..6, 0..REPLIES)
        .prop_map(|(source, message, reply)| Record::Failed { source, message, reply });
    prop_oneof![
        8 => failed,
        1 => Just(Record::Delivered),
        1 => Just(Record::Complaint),
        1 => Just(Record::Added),
        1 => Just(Record::Lifted),
    ]
}

proptest! {
    #[test]
    fn what_is_judged_again_is_what_the_present_rules_say(
        records in prop::collection::vec(record(), 0..10),
        judgings in prop::collection::vec(prop::array::uniform3(meaning()), 2..5),
    ) {
        // Somebody has named the address, so that it has its spelling whatever rules make of it.
        let records = [&[Record::Added], &records[..]].concat();
        let first = events(&records, judgings[0]);
        let began = applied(&first);
        let mut standing = began.clone();
        for judging in &judgings[1..] {
            let now = events(&records, *judging);
            standing = rejudged(&standing, &first, &now);
            prop_assert_eq!(&standing, &applied(&now), "{:?}", judging);
        }
        prop_assert_eq!(rejudged(&standing, &first, &first), began, "and back");
    }
}

#[test]
fn more_messages_than_are_kept_come_back_as_they_were() {
    let failed = |number: usize| Record::Failed {
        source: true,
        message: u8::try_from(number).unwrap(),
        reply: number % 2,
    };
    let records: Vec<Record> = (0..TALLY_MAX + 9).map(failed).collect();
    let (mixed, soft) = ([Class::NoMailbox, Class::Full], [Class::Full; 2]);
    let judging = |[first, second]: [Class; 2]| [Some(first), Some(second), None];
    let first = events(&records, judging(mixed));
    let now = events(&records, judging(soft));
    let after = rejudged(&applied(&first), &first, &now);
    assert_eq!(after, applied(&now));
    assert_eq!(rejudged(&after, &first, &first), applied(&first));
}
