//! What one record does to the store: its elements are read, and their events merged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use std::vec;

use super::again::redated;
use super::flow::Passed;
use super::hold::{self, Masses as _};
use super::{Change, Known};
use crate::forgotten::{Forgotten, ToldLater};
use crate::model::{
    Correction, Cursor, Element, Event, EventId, EventKind, Fact, Hold, Lift, Lifts, Origin,
    Position, QuarantineId, SourceName, Standing, Stretch, Submission, Telling, Time,
};
use crate::provider::{self, OWN, Reading};
use crate::rules::Rules;
use crate::store::{Batch, ListedKey, Noted, Seen, Sight, StoreError, Writer};

/// A batch is full when it has this many elements and events, looked at so many keys, or holds so
/// many bytes of them. sled takes some KiB for each key until a batch is through.
const BATCH_ELEMENTS: usize = 512;
const BATCH_KEYS: usize = 4 * BATCH_ELEMENTS;
const BATCH_BYTES: usize = 1 << 20;
/// A batch is committed after so long at the latest: what is in it goes with the process.
pub(super) const BATCH_TIME: Duration = Duration::from_millis(200);

/// Merges records into a batch.
pub(super) struct Merge<'a> {
    pub(super) writer: &'a Writer,
    pub(super) rules: Arc<Rules>,
    pub(super) reading: Arc<Reading>,
    /// By which rule masses are held here in the journal.
    pub(super) hold: Option<Hold>,
    pub(super) batch: Batch,
    pub(super) now: Time,
    /// The changes of verdicts.
    pub(super) changed: Vec<Change>,
    /// Elements that could not be read, by source.
    pub(super) unreadable: BTreeMap<SourceName, u64>,
    /// What those know who are told of each verdict that turns, if there are any.
    pub(super) turns: Arc<Option<Known>>,
    /// The element that is merged.
    pub(super) place: QuarantineId,
    /// What is told of the batch once it is committed.
    pub(super) passed: Passed,
    /// Elements that were looked at, and events that were merged.
    pub(super) elements: usize,
    /// No event of the element was merged yet.
    pub(super) fresh: bool,
    /// It merges what it has merged before, of a stretch that is dated wrongly: that alone, and
    /// nothing that came with it.
    pub(super) again: Option<&'a Stretch>,
    /// It has come upon such a stretch, which has to be merged again before anything else.
    pub(super) found: bool,
    /// What it merges is a copy of another host's record.
    pub(super) is_copy: bool,
    pub(super) forgotten: Arc<Forgotten>,
    /// What was told of people who were forgotten.
    pub(super) told: Vec<ToldLater>,
}

/// The events of an element that are still to be merged.
pub(super) type Events = vec::IntoIter<Event>;

impl Merge<'_> {
    /// Whether it is large enough to be committed.
    pub(super) fn is_full(&self) -> bool {
        self.found
            || self.elements >= BATCH_ELEMENTS
            || self.batch.keys() >= BATCH_KEYS
            || self.batch.bytes() >= BATCH_BYTES
    }

    /// Begins with a record, or goes on with one.
    pub(super) fn begin(&mut self, head: &Submission, at: Position) -> Result<(), StoreError> {
        if self.again.is_some() || self.writer.is_applied(at, 0) {
            return Ok(());
        }
        let Submission { source, origin, received_at, .. } = head;
        self.writer.note_arrival(&mut self.batch, source, *origin, *received_at)
    }

    /// Reads one element. Gives its events, of which there are none if it cannot be read.
    pub(super) fn element(
        &mut self,
        head: &Submission,
        place: QuarantineId,
        element: &Element,
    ) -> Result<Events, StoreError> {
        self.elements += 1;
        (self.place, self.fresh) = (place, true);
        if let Some(stretch) = self.again {
            // What another host's clock has dated is no matter of ours.
            let events = (!self.is_copy).then(|| redated(&self.reading, stretch, head, element));
            return Ok(events.unwrap_or_default().into_iter());
        }
        if self.writer.is_applied(place.record, place.element) {
            // Only the index lacks it; what could not be read then is not applied.
            if !self.writer.is_kept(&mut self.batch, place)?
                && let Ok(events) = provider::read_element(&self.reading, head, element)
            {
                return Ok(events.into_iter());
            }
            self.writer.note_unreadable(&mut self.batch, place, &head.source, element)?;
            return Ok(Events::default());
        }
        if &*head.provider == OWN {
            self.own(head, place, element)?;
        }
        if hold::is_by_operator(&head.provider, &head.source) {
            if let Some(step) = provider::mass_step(element) {
                match self.is_copy {
                    true => self.peers_mass_step(&step, place.record)?,
                    false => self.mass_step(step, place.record)?,
                }
            } else if let Some(correction) = provider::correction(element) {
                self.correct(&correction, place.record, head.received_at)?;
            }
        }
        match provider::read_element(&self.reading, head, element) {
            Ok(events) => Ok(events.into_iter()),
            Err(unreadable) => {
                let (batch, reason) = (&mut self.batch, unreadable.to_string());
                if self.writer.quarantine(batch, place, &head.source, element, &reason)? {
                    *self.unreadable.entry(head.source.clone()).or_default() += 1;
                }
                Ok(Events::default())
            }
        }
    }

    /// What an element of our own says beside its events.
    fn own(
        &mut self,
        head: &Submission,
        place: QuarantineId,
        element: &Element,
    ) -> Result<(), StoreError> {
        if let Some((address, step)) = provider::push_step(element)
            && !self.is_forgotten(&address)
        {
            self.writer.put_pushed(&mut self.batch, &head.source, &address, step)?;
        }
        if self.is_copy {
            return self.beside(place, head.received_at, element);
        }
        if let Some(told) = provider::told(element) {
            return self.adopt(told, place, head.received_at);
        }
        if let Some(stretch) = provider::read_stretch(element) {
            self.writer.put_stretch(&mut self.batch, place.record, &stretch)?;
            self.found = true;
        }
        if let Some(hold) = provider::hold_rule(element) {
            self.writer.put_hold(&mut self.batch, hold)?;
            self.hold = hold;
        }
        provider::turned(element).map_or(Ok(()), |turn| self.turned(&turn))
    }

    /// Merges events of an element, as far as the batch goes.
    pub(super) fn events(
        &mut self,
        feed: &str,
        place: QuarantineId,
        events: &mut Events,
    ) -> Result<(), StoreError> {
        self.place = place;
        while !self.is_full()
            && let Some(event) = events.next()
        {
            self.elements += 1;
            if self.forgotten.has(event.address.key()) {
                self.forget_again(&event, place);
                continue;
            }
            match self.again {
                None => self.event(event, feed, events.len() == 0)?,
                Some(stretch) => self.event_again(&event, stretch, place)?,
            }
        }
        Ok(())
    }

    /// Ends a record: only now is what it replaces released, and its cursor to be seen.
    pub(super) fn end(
        &mut self,
        head: &Submission,
        at: Position,
        is_whole: bool,
    ) -> Result<(), StoreError> {
        if self.again.is_some() || self.writer.is_applied(at, QuarantineId::WHOLE) {
            return Ok(());
        }
        // What was told again and could not be applied stays where it was.
        for id in head.released.iter().filter(|_| is_whole && !self.is_copy) {
            self.writer.release(&mut self.batch, *id)?;
        }
        if !self.is_copy {
            self.passed.record(&head.source, head.received_at);
        }
        // How far another host has come with its own journal means nothing here.
        let is_theirs = self.is_copy && head.source == SourceName::operator();
        match head.cursor.as_ref().filter(|_| !is_theirs) {
            Some(Cursor { feed, state }) => {
                self.writer.put_cursor(&mut self.batch, &head.source, feed, state)
            }
            None => Ok(()),
        }
    }

    /// Merges one event, which may be the last of its element. One that was known is merged too:
    /// another telling of it may know more, and merging is idempotent.
    fn event(&mut self, mut event: Event, feed: &str, is_last: bool) -> Result<(), StoreError> {
        let place = self.place;
        if let Some(at) = self.writer.twin(&self.batch, &event, place)? {
            event.at = at;
        }
        let id: EventId = event.id();
        let noted = self.writer.note_told(&mut self.batch, &event, id, place, self.is_copy)?;
        if self.writer.is_applied(place.record, place.element) {
            return Ok(());
        }
        let origin = if self.is_copy { Origin::Fleet } else { event.origin };
        let is_new = noted.seen == Seen::First;
        self.passed.event(&event, origin, is_new);
        self.take(&event, feed, &noted)?;
        self.note_row(&event, is_new, is_last)
    }

    /// Merges what an event says.
    fn take(&mut self, event: &Event, feed: &str, noted: &Noted) -> Result<(), StoreError> {
        let Noted { seen, dated_by_us } = *noted;
        let Some(mut fact) = event.fact() else { return Ok(()) };
        if self.is_echo(event)? {
            return Ok(());
        }
        let is_back = self.sight(event, feed, &mut fact)?;
        // Ours is not the time of a fact, and it is another at each telling: the first one stands.
        let by_us = dated_by_us || event.told_at.is_some();
        if seen != Seen::First && by_us && !is_back {
            return Ok(());
        }
        let standing = self.writer.standing(&mut self.batch, event.address.key(), &event.scope)?;
        let is_import = event.origin == Origin::Import;
        if event.undated && !is_back && !is_import && standing.has_ground_of(&fact) {
            return Ok(());
        }
        // The provider's other way may not name the message, and so count it a second time.
        if seen == Seen::NewOrigin && counts_a_message(&fact) {
            return Ok(());
        }
        let telling = Telling {
            record: self.place.record.as_u64(),
            received: event.received_at,
            // Another host's clock, and the order in which its records come here, prove nothing of
            // when: all hosts go by the dates.
            is_new: !self.is_copy && (seen == Seen::First || is_back),
        };
        self.merge(event, standing, fact, &telling, self.place.record)
    }

    /// Merges a fact into the standing of its address, and notes whether the verdict changes.
    pub(super) fn merge(
        &mut self,
        event: &Event,
        mut standing: Standing,
        fact: Fact,
        telling: &Telling,
        record: Position,
    ) -> Result<(), StoreError> {
        let (address, scope) = (event.address.key(), &event.scope);
        let before = self.before(address, &standing);
        let spelling = event.address.received();
        let lifts = matches!(fact, Fact::Lift(_));
        let has_changed = if event.origin == Origin::Import {
            // Merged again, ours is its date: the right one by now.
            let is_undated = event.undated && self.again.is_none();
            standing.merge_lasting(spelling, fact, is_undated, telling)
        } else {
            standing.merge(spelling, fact, telling)
        };
        if !has_changed {
            return self.note_held_again(event, &standing);
        }
        if lifts {
            self.free_lifted((address, scope), &mut standing)?;
        }
        let mut after = self.live(address, &standing);
        if before.live.is_empty() && !after.is_empty() {
            self.hold(event, &mut standing, &after)?;
            after = self.live(address, &standing);
        }
        self.note_change((address, scope), &standing, &before, &after, record)?;
        self.writer.put_standing(&mut self.batch, address, scope, &standing)
    }

    /// Takes what the present rules say of facts that were concluded by earlier ones.
    fn correct(
        &mut self,
        correction: &Correction,
        record: Position,
        received: Time,
    ) -> Result<(), StoreError> {
        let (address, scope) = (&*correction.address, &correction.scope);
        if self.is_forgotten(address) {
            return Ok(());
        }
        let mut standing = self.writer.standing(&mut self.batch, address, scope)?;
        let (before, held) = (self.before(address, &standing), standing.held().to_vec());
        if !correction.apply(&mut standing) {
            return self.note_corrected_again((address, scope), &standing, received);
        }
        let mut after = self.live(address, &standing);
        if before.live.is_empty() && !after.is_empty() {
            self.hold_corrected(correction, &held, &mut standing, &after, received)?;
            after = self.live(address, &standing);
        }
        self.note_change((address, scope), &standing, &before, &after, record)?;
        self.note_all_freed(&held, &standing, address, scope)?;
        self.note_left(&held, &standing, (address, scope))?;
        self.writer.put_standing(&mut self.batch, address, scope, &standing)
    }

    /// Whether a source shows us nothing but what we put on its list ourselves. That is an event,
    /// and no ground: it would hold the address there for good.
    pub(super) fn is_echo(&mut self, event: &Event) -> Result<bool, StoreError> {
        let of_a_list = matches!(event.kind, EventKind::Listed | EventKind::Rejected);
        if !of_a_list || event.origin == Origin::Operator {
            return Ok(false);
        }
        let address = event.address.key();
        let step = self.writer.pushed(&mut self.batch, &event.source, address)?;
        Ok(step.is_some_and(|step| step.is_echo(event)))
    }

    /// Notes what a provider's own list tells, or has ceased to tell. Says whether a row is back
    /// that had gone: then it stands from now on, however long ago the list dates it.
    fn sight(&mut self, event: &Event, feed: &str, fact: &mut Fact) -> Result<bool, StoreError> {
        if event.origin != Origin::Poll || feed.is_empty() {
            return Ok(false);
        }
        let key = |reason| ListedKey {
            source: &event.source,
            feed,
            address: event.address.key(),
            scope: &event.scope,
            reason,
        };
        match fact {
            Fact::Ground { reason, latest, .. } if event.kind == EventKind::Listed => {
                let row = key(*reason);
                let known = self.writer.sight(&mut self.batch, &row)?;
                let is_back = known.is_some_and(|known| known.gone);
                if is_back {
                    latest.at = latest.at.max(event.received_at);
                }
                let first = known.filter(|known| event.undated && !known.gone);
                let at = first.map_or(event.at, |known| known.at);
                self.writer.put_sight(&mut self.batch, &row, Sight { at, gone: false })?;
                Ok(is_back)
            }
            Fact::Lift(Lift { covers: Lifts { reason: Some(reason), .. }, through, .. })
                if event.kind == EventKind::Unlisted =>
            {
                let gone = Sight { at: *through, gone: true };
                self.writer.put_sight(&mut self.batch, &key(*reason), gone)?;
                Ok(false)
            }
            _ => Ok(false),
        }
    }
}

/// Whether a fact counts a message that failed.
fn counts_a_message(fact: &Fact) -> bool {
    matches!(fact, Fact::SoftBounce(..) | Fact::Blocked(..) | Fact::Unexplained(..))
}
