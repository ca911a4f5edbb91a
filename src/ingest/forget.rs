//! What becomes of events of somebody who was forgotten: they count, and nothing of them is kept.

use super::Change;
use super::apply::Merge;
use crate::forgotten::{KeptGround, KeptLift, ToldLater};
use crate::model::{Address, Event, Origin, QuarantineId, Reason, Scope, Standing, Telling};

impl Merge<'_> {
    /// Whether an address is that of somebody who was forgotten, or what is left of it.
    pub(super) fn is_forgotten(&self, address: &str) -> bool {
        self.forgotten.has(address) || Address::parse(address).is_ok_and(|it| it.is_blank())
    }

    /// Keeps no more of an event than that somebody who was forgotten is suppressed, and why; or
    /// that a lift has ended that.
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
        let of = |found| KeptGround::of(event.scope.clone(), &found, event.received_at);
        self.count_forgotten(ToldLater {
            address: event.address.clone(),
            segment: place.record.segment,
            ground: found.map(of),
            lift: KeptLift::of(event),
            received: event.received_at,
        });
    }

    /// The same of what a host knows that has not forgotten them.
    pub(super) fn forget_standing(
        &mut self,
        (address, scope): (Address, Scope),
        standing: &Standing,
        place: QuarantineId,
    ) {
        let (segment, received) = (place.record.segment, self.now);
        let live = self.live(address.key(), standing).into_iter();
        let found = live.min_by_key(|finding| finding.reason);
        let ground = found.map(|it| KeptGround::standing(scope, &it, standing, received));
        self.count_forgotten(ToldLater { address, segment, ground, lift: None, received });
    }

    fn count_forgotten(&mut self, told: ToldLater) {
        if let Some((scope, before, after)) = self.changed_by(&told) {
            self.changed.push(Change {
                address: told.address.key().into(),
                scope,
                before,
                after,
                position: self.place.record,
                by_order: false,
            });
        }
        self.told.push(told);
    }

    /// Where that may change a verdict, what it was and what it is.
    fn changed_by(&self, told: &ToldLater) -> Option<(Scope, Option<Reason>, Option<Reason>)> {
        if let Some(KeptGround { scope, reason, .. }) = &told.ground {
            return Some((scope.clone(), Some(*reason), Some(*reason)));
        }
        let (lift, mut person) = (told.lift.as_ref()?, self.forgotten.person(told.address.key())?);
        let before = person.reason_in(&lift.scope, self.now)?;
        person.lift(lift.clone());
        Some((lift.scope.clone(), Some(before), person.reason_in(&lift.scope, self.now)))
    }
}
