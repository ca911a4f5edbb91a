//! What becomes of events of somebody who was forgotten: they count, and nothing of them is kept.

use super::Change;
use super::apply::Merge;
use crate::forgotten::{KeptGround, ToldLater};
use crate::model::{Address, Event, Origin, QuarantineId, Standing, Telling};

impl Merge<'_> {
    /// Whether an address is that of somebody who was forgotten, or what is left of it.
    pub(super) fn is_forgotten(&self, address: &str) -> bool {
        self.forgotten.has(address) || Address::parse(address).is_ok_and(|it| it.is_blank())
    }

    /// Keeps no more of an event than that somebody who was forgotten is suppressed, and why.
    pub(super) fn forget_again(&mut self, event: &Event, place: QuarantineId) {
        let origin = if self.is_copy { Origin::Fleet } else { event.origin };
        self.passed.event(event, origin, true);
        let mut standing = Standing::default();
        let telling =
            Telling { record: place.record.as_u64(), received: event.received_at, is_new: true };
        if let Some(fact) = event.fact() {
            standing.merge(event.address.received(), fact, &telling);
        }
        let live = self.live(event.address.key(), &standing).into_iter();
        let found = live.min_by_key(|finding| finding.reason);
        let ground = found.map(|found| KeptGround::of(event.scope.clone(), &found));
        if let Some(KeptGround { reason, .. }) = &ground {
            self.changed.push(Change {
                address: event.address.key().into(),
                scope: event.scope.clone(),
                before: Some(*reason),
                after: Some(*reason),
                position: place.record,
            });
        }
        self.told.push(ToldLater {
            address: event.address.clone(),
            segment: place.record.segment,
            ground,
            received: event.received_at,
        });
    }
}
