//! What a change is to those who follow verdicts: whom it suppresses that it did not, or no more.

use super::apply::Merge;
use super::{Change, Known};
use crate::forgotten::ToldLater;
use crate::model::{Address, Position, Scope, Standing, Turn};
use crate::rules::{Finding, turn};
use crate::store::{StoreError, TurnPlace};

/// What suppressed an address before a change.
pub(super) struct Before {
    /// Until now.
    pub(super) live: Vec<Finding>,
    /// As those know it who are told of turns, where that is something else: a term may have ended,
    /// or the rules be others, and nobody was told yet.
    known: Option<Vec<Finding>>,
}

impl Merge<'_> {
    /// What suppresses an address.
    pub(super) fn live(&self, key: &str, standing: &Standing) -> Vec<Finding> {
        self.rules.live(key, standing, self.now)
    }

    /// The same, before a change.
    pub(super) fn before(&self, key: &str, standing: &Standing) -> Before {
        let live = self.live(key, standing);
        let known = Option::as_ref(&self.turns);
        let known = known.map(|Known { rules, at }| rules.live(key, standing, *at));
        let known = known.filter(|known| known.is_empty() != live.is_empty());
        Before { live, known }
    }

    /// Notes the change of a verdict, if it is one.
    pub(super) fn note_change(
        &mut self,
        (address, scope): (&str, &Scope),
        standing: &Standing,
        before: &Before,
        after: &[Finding],
        position: Position,
    ) -> Result<(), StoreError> {
        if before.live != after {
            let weightiest = |found: &[Finding]| found.iter().map(|finding| finding.reason).min();
            self.changed.push(Change {
                address: address.into(),
                scope: scope.clone(),
                before: weightiest(&before.live),
                after: weightiest(after),
                position,
                by_order: standing.stands_by_order(position.as_u64()),
            });
        }
        if self.turns.is_none() {
            return Ok(());
        }
        // Told twice does no harm. What nobody was told of does.
        let of = (standing.spelled(address), scope);
        let of_known = |known: &Vec<Finding>| turn(of, known, after, self.now);
        let turned = turn(of, &before.live, after, self.now);
        let turned = turned.or_else(|| before.known.as_ref().and_then(of_known));
        turned.map_or(Ok(()), |turn| self.note_turn(&turn))
    }

    /// Notes what has turned by itself, unless it has turned back since.
    pub(super) fn turned(&mut self, turn: &Turn) -> Result<(), StoreError> {
        let Ok(address) = Address::parse(&turn.address) else { return Ok(()) };
        let key = address.key();
        if self.forgotten.has(key) {
            // Found as they were being forgotten: the journal has the address again.
            let (segment, received) = (self.place.record.segment, turn.at);
            self.told.push(ToldLater { address, segment, ground: None, lift: None, received });
            return Ok(());
        }
        if self.turns.is_none() || address.is_blank() {
            return Ok(());
        }
        let standing = self.writer.standing(&mut self.batch, key, &turn.scope)?;
        if self.live(key, &standing).is_empty() == turn.added {
            return Ok(());
        }
        self.note_turn(turn)
    }

    fn note_turn(&mut self, turn: &Turn) -> Result<(), StoreError> {
        // What is merged again comes behind all that was told, and before what follows.
        let (record, element) = match self.again {
            Some(_) => (self.writer.applied(), 0),
            None => (self.place.record, self.place.element.saturating_add(1)),
        };
        self.writer.put_turn(&mut self.batch, TurnPlace::of(record, element, turn), turn)
    }
}
