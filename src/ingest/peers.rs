//! What comes from the other hosts of a fleet, where it differs from what this host was told.
//!
//! A copy of another host's record is merged as the record was there. What names a place in that
//! host's journal, or a mass by that host's number, means nothing here.

use tokio::sync::watch;

use super::Ingest;
use super::apply::Merge;
use crate::model::{Address, Element, Peer, Position, QuarantineId, Standing, Telling, Time};
use crate::provider::{self, MassStep, Told};
use crate::store::StoreError;

impl Ingest {
    /// The end of what is committed, as it grows, for who tells other hosts.
    pub fn durable(&self) -> watch::Receiver<Position> {
        self.committed.clone()
    }
}

impl Merge<'_> {
    /// Notes that a copy is applied. One that is of no place says what a peer knows beside the
    /// journals.
    pub(super) fn end_copy(&mut self, peer: &Peer, record: Position) -> Result<(), StoreError> {
        let is_applied = self.writer.is_applied(record, QuarantineId::WHOLE);
        if self.again.is_some() || is_applied || peer.is_of_no_record() {
            return Ok(());
        }
        self.writer.note_copy(&mut self.batch, peer, record)
    }

    /// What an element says that a peer knows beside the journals.
    pub(super) fn beside(
        &mut self,
        place: QuarantineId,
        received: Time,
        element: &Element,
    ) -> Result<(), StoreError> {
        if let Some(told) = provider::told(element) {
            return self.adopt(told, place, received);
        }
        let Some(provider::Reached { reached, place }) = provider::reached(element) else {
            return Ok(());
        };
        for known in &reached {
            self.writer.raise_reach(&mut self.batch, known)?;
        }
        place.map_or(Ok(()), |place| self.writer.put_stream_place(&mut self.batch, &place))
    }

    /// Merges what a peer knows of an address, or what we have told the peers of it ourselves. An
    /// end that is known says nothing new: what stands despite it does so still.
    pub(super) fn adopt(
        &mut self,
        Told { address, spelling, scope, told }: Told,
        place: QuarantineId,
        received: Time,
    ) -> Result<(), StoreError> {
        let forgotten = self.forgotten.has(&address).then(|| Address::parse(&address).ok());
        if let Some(address) = forgotten.flatten() {
            let mut standing = Standing::default();
            let telling = Telling::BY_DATE;
            for fact in told {
                standing.merge(&spelling, fact, &telling);
            }
            self.forget_standing((address, scope), &standing, place);
            return Ok(());
        }
        let mut standing = self.writer.standing(&mut self.batch, &address, &scope)?;
        let before = self.before(&address, &standing);
        let telling = Telling { record: place.record.as_u64(), received, is_new: false };
        let mut has_changed = false;
        for fact in told {
            if !standing.has_end(&fact) {
                has_changed |= standing.merge(&spelling, fact, &telling);
            }
        }
        if !has_changed {
            return Ok(());
        }
        let after = self.live(&address, &standing);
        self.note_change((&address, &scope), &standing, &before, &after, place.record)?;
        self.writer.put_standing(&mut self.batch, &address, &scope, &standing)
    }

    /// Takes another host's step about a mass: whom it lets go is held here no longer either.
    pub(super) fn peers_mass_step(
        &mut self,
        step: &MassStep,
        record: Position,
    ) -> Result<(), StoreError> {
        let MassStep::Free(_, address, scope) = step else { return Ok(()) };
        let standing = self.writer.standing(&mut self.batch, address, scope)?;
        for held in standing.held().to_vec() {
            self.mass_step(MassStep::Free(held.mass, address.to_owned(), scope.clone()), record)?;
            self.mass_step(MassStep::End(held.mass), record)?;
        }
        Ok(())
    }
}
