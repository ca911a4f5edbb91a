//! What was received by a wrong clock is merged again, once that is right.

use std::time::Duration;

use super::apply::Merge;
use crate::journal::{self, Entry};
use crate::model::{
    Element, Event, EventKind, Fact, Payload, Position, QuarantineId, Stretch, Submission, Telling,
    Time,
};
use crate::provider::{self, OPERATOR, OWN, Reading};
use crate::store::StoreError;

impl Merge<'_> {
    /// Merges an event again whose times are put right: where it was told first, and said
    /// something. By that it can only suppress for longer, or lift what was recorded before it.
    pub(super) fn event_again(
        &mut self,
        event: &Event,
        stretch: &Stretch,
        place: QuarantineId,
    ) -> Result<(), StoreError> {
        let Some(fact) = event.fact() else { return Ok(()) };
        let standing = self.writer.standing(&mut self.batch, event.address.key(), &event.scope)?;
        // A lift alone is dated by our clock for sure.
        if stretch.is_found() && standing.lifts().next().is_none() {
            return Ok(());
        }
        if !self.writer.is_told_first(event, place)? || self.is_echo(event)? {
            return Ok(());
        }
        // An echo, or what a list tells without a date of what was known, was no ground.
        let is_merged = match &fact {
            Fact::Ground { reason, source, latest } => standing.grounds().any(|(r, s, ground)| {
                let rests_on_it = ground.latest.evidence == latest.evidence;
                r == *reason && s == source && (rests_on_it || !event.undated)
            }),
            _ => true,
        };
        if !is_merged {
            return Ok(());
        }
        // What is recorded behind a lift stands despite it: the lift was dated ahead, or the clock
        // is misjudged.
        let is_end = matches!(fact, Fact::Delivered(_) | Fact::Lift(_));
        let received = event.received_at.minus(if is_end { Duration::ZERO } else { stretch.by });
        let telling = Telling { record: place.record.as_u64(), received, is_new: true };
        self.merge(event, standing, fact, &telling, place.record)
    }
}

/// The events of an element that was received while the clock was wrong, dated as they should be.
/// They are recognised as ever: by what their provider said, or an operator's instant then.
pub(super) fn redated(
    reading: &Reading,
    stretch: &Stretch,
    head: &Submission,
    element: &Element,
) -> Vec<Event> {
    if !stretch.covers(head.received_at) {
        return Vec::new();
    }
    let received_at = stretch.redate(head.received_at);
    let head = Submission { received_at, ..head.clone() };
    // What cannot be read is in quarantine already.
    let mut events = provider::read_element(reading, &head, element).unwrap_or_default();
    let is_operator = &*head.provider == OPERATOR;
    for event in events.iter_mut().filter(|_| is_operator || &*head.provider == OWN) {
        event.until = event.until.map(|until| until.plus(stretch.redate(event.at).since(event.at)));
        event.at = stretch.redate(event.at);
        // An operator's lift covers all that was known.
        if is_operator && event.kind == EventKind::Unlisted {
            event.at = event.at.max(received_at);
        }
    }
    events
}

/// Where a stretch begins that a record tells of, as far as the journal still has it. Where only
/// its times are known: with the last segment before it that begins with something earlier.
pub(super) fn begin_of(
    stretch: &Stretch,
    journal: &journal::Reader,
    record: Position,
) -> Result<Position, StoreError> {
    let start = journal.start()?;
    if !stretch.is_found() {
        return Ok(stretch.from.max(start));
    }
    let mut from = Position { segment: record.segment, ..start };
    while from > start && first_receipt(journal, from, record)?.is_none_or(|at| at >= stretch.since)
    {
        from.segment -= 1;
    }
    Ok(from)
}

/// When the first record of a segment was received that is ours.
fn first_receipt(
    journal: &journal::Reader,
    from: Position,
    end: Position,
) -> Result<Option<Time>, StoreError> {
    let end = end.min(Position { segment: from.segment + 1, ..from });
    let mut tail = journal.tail(from);
    while let Some(entry) = tail.next(end)? {
        match entry {
            Entry::Record { payload, .. } => match Payload::open(payload) {
                Ok(payload) if payload.peer().is_none() => {
                    return Ok(Some(payload.head().received_at));
                }
                _ => {}
            },
            Entry::Damage(damage) => damage.tell(),
            Entry::Newer { .. } => break,
        }
    }
    Ok(None)
}
