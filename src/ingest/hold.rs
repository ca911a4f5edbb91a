//! Holding back a mass of new suppressions, until an administrator has looked at it.
//!
//! A receiver that is out of order may say of every mailbox that it does not exist. What is above
//! the usual rate of one source, domain and class is noted like any other fact, but suppresses
//! nobody yet. It is counted by when it happened, so that history which comes in bulk is no mass.

use std::collections::BTreeSet;
use std::time::Duration;

use super::apply::Merge;
use crate::model::{
    Correction, Event, EventKind, Filter, Held, Hold, MassId, Origin, Position, Reason, Scope,
    SourceName, Standing, Time,
};
use crate::provider::{MassStep, OPERATOR};
use crate::rules::Finding;
use crate::store::{Kin, Mass, Rate, StoreError};
use crate::telemetry;

/// Slots that the span is divided into, and the shortest, in seconds.
const SLOTS: u64 = 60;
/// What a poll brings that is older is history.
const HISTORY: Duration = Duration::from_secs(24 * 60 * 60);

/// A suppression that is new, by what it is told apart from others.
pub(super) struct New<'a> {
    source: &'a SourceName,
    /// The key of the address.
    address: &'a str,
    scope: &'a Scope,
    /// The class of the failure, or what else it is.
    class: &'a str,
    pub(super) at: Time,
    received: Time,
}

impl<'a> New<'a> {
    fn by(event: &'a Event) -> New<'a> {
        New {
            source: &event.source,
            address: event.address.key(),
            scope: &event.scope,
            class: event.class().map_or(event.kind.as_str(), |class| class.as_str()),
            at: event.at,
            received: event.received_at,
        }
    }
}

impl Hold {
    /// What a new suppression has in common with others.
    fn kin(&self, new: &New<'_>) -> Kin {
        let part = |wanted: bool, text: &str| if wanted { text.into() } else { "".into() };
        let domain = new.address.rsplit_once('@').map_or("", |(_, domain)| domain);
        Kin {
            source: part(self.by_source, new.source.as_str()),
            domain: part(self.by_domain, domain),
            class: part(self.by_class, new.class),
        }
    }

    /// Counts one more, and says whether it is above what there may be.
    fn is_above(&self, rate: &mut Rate, at: Time, received: Time) -> bool {
        let (width, span) = self.slots();
        let slot = u64::try_from(at.second()).unwrap_or(0) / width;
        let newest = rate.slots.last_key_value().map_or(slot, |(newest, _)| slot.max(*newest));
        if slot + 2 * span < newest {
            return false;
        }
        rate.slots = rate.slots.split_off(&newest.saturating_sub(2 * span));
        *rate.slots.entry(slot).or_default() += 1;
        rate.received = rate.received.max(received.second());
        // The fullest span that it lies in.
        let sum = |end: u64| {
            let span = end.saturating_sub(span - 1)..=end;
            rate.slots.range(span).map(|(_, count)| u64::from(*count)).sum::<u64>()
        };
        let fullest = (slot..slot + span).map(sum).max().unwrap_or(0);
        let is_above = fullest > u64::from(self.count);
        rate.passes &= is_above || slot < newest;
        is_above
    }

    /// How long a slot is, in seconds, and how many of them make the span.
    fn slots(&self) -> (u64, u64) {
        let width = (self.within.as_secs() / SLOTS).max(1);
        (width, self.within.as_secs().div_ceil(width).max(1))
    }

    /// Since when something must have been received to matter at `now`.
    pub(super) fn horizon(&self, now: Time) -> Time {
        now.minus(self.within.saturating_mul(3)).minus(HISTORY)
    }

    /// Whether an event can be one of a mass: it happened of late, by all that we know.
    fn is_of_late(&self, event: &Event) -> bool {
        match event.origin {
            Origin::Webhook => true,
            Origin::Poll => {
                let old = event.received_at.since(event.at) > HISTORY.max(self.within);
                !event.undated && !old
            }
            Origin::Operator | Origin::Import | Origin::Fleet => false,
        }
    }
}

/// Whether what an event says may be held.
fn may_be_held(event: &Event, after: &[Finding]) -> bool {
    let by_a_person = matches!(event.kind, EventKind::Complaint | EventKind::Unsubscribed)
        || matches!(event.origin, Origin::Operator | Origin::Import);
    !by_a_person && after.iter().all(|finding| Held::may_be(finding.reason))
}

/// What is known of masses, and what becomes of it: in the store, or in a look ahead.
pub(super) trait Masses {
    /// By which rule masses are held. `None`: nothing is.
    fn rule(&self) -> Option<Hold>;
    fn rate(&mut self, kin: &Kin) -> Result<Rate, StoreError>;
    fn put_rate(&mut self, kin: &Kin, rate: Rate) -> Result<(), StoreError>;
    fn mass(&mut self, id: MassId) -> Result<Option<Mass>, StoreError>;
    fn next_mass(&mut self) -> Result<MassId, StoreError>;
    /// What was held of an address before a correction took it.
    fn take_left(&mut self, place: (&str, &Scope)) -> Result<Vec<Held>, StoreError>;
    /// Notes that a mass holds one more.
    fn note_held(&mut self, new: &New<'_>, kin: Kin, id: MassId) -> Result<(), StoreError>;

    /// Holds what a correction has made of a standing that suppressed nobody before, if it came
    /// with a mass of others. However old the failures are, it is now that they become so.
    fn hold_corrected(
        &mut self,
        correction: &Correction,
        before: &[Held],
        standing: &mut Standing,
        after: &[Finding],
        received: Time,
    ) -> Result<(), StoreError> {
        let (address, scope) = (&*correction.address, &correction.scope);
        let left = self.take_left((address, scope))?;
        if correction.restores() && left.is_empty() && before.is_empty() {
            // It suppressed before the rules were changed and changed back.
            return Ok(());
        }
        let mut before = before.to_vec();
        for held in left {
            let mass = self.mass(held.mass)?;
            before.extend(mass.filter(|mass| !mass.released).map(|_| held));
        }
        let Some(rules) = self.rule() else { return Ok(()) };
        if !after.iter().all(|finding| Held::may_be(finding.reason)) {
            return Ok(());
        }
        let mut sources: Vec<&SourceName> = after.iter().flat_map(|f| &f.sources).collect();
        sources.sort();
        sources.dedup();
        for source in sources {
            let of_source = after.iter().filter(|finding| finding.sources.contains(source));
            let reasons: Vec<Reason> = of_source.map(|finding| finding.reason).collect();
            // What was held for one reason stays so for another.
            let joined = before.iter().find(|held| held.source == *source);
            let class = standing.class_of(&reasons, source);
            let class = class.map_or(reasons[0].as_str(), |class| class.as_str());
            let new = New { source, address, scope, class, at: received, received };
            self.hold_new(&rules, &new, standing, &reasons, joined.map(|held| held.mass))?;
        }
        Ok(())
    }

    fn hold_new(
        &mut self,
        rules: &Hold,
        new: &New<'_>,
        standing: &mut Standing,
        reasons: &[Reason],
        joined: Option<MassId>,
    ) -> Result<(), StoreError> {
        let kin = rules.kin(new);
        let mass = match joined {
            Some(mass) => Some(mass),
            None => self.mass_of(&kin, rules, new)?,
        };
        let Some(mass) = mass else { return Ok(()) };
        for reason in reasons {
            standing.hold(Held { reason: *reason, source: new.source.clone(), mass });
        }
        self.note_held(new, kin, mass)
    }

    /// The mass that one more new suppression belongs to, if it is one too many.
    fn mass_of(
        &mut self,
        kin: &Kin,
        rules: &Hold,
        new: &New<'_>,
    ) -> Result<Option<MassId>, StoreError> {
        let mut rate = self.rate(kin)?;
        let is_above = rules.is_above(&mut rate, new.at, new.received);
        let mut mass = None;
        if is_above && !rate.passes {
            mass = match rate.mass {
                Some(id) if self.mass(id)?.is_some() => Some(id),
                _ => Some(self.next_mass()?),
            };
            rate.mass = mass;
        }
        self.put_rate(kin, rate)?;
        Ok(mass)
    }
}

impl Masses for Merge<'_> {
    fn rule(&self) -> Option<Hold> {
        self.hold
    }

    fn rate(&mut self, kin: &Kin) -> Result<Rate, StoreError> {
        self.writer.rate(&mut self.batch, kin)
    }

    fn put_rate(&mut self, kin: &Kin, rate: Rate) -> Result<(), StoreError> {
        self.writer.put_rate(&mut self.batch, kin, &rate)
    }

    fn mass(&mut self, id: MassId) -> Result<Option<Mass>, StoreError> {
        self.writer.mass(&mut self.batch, id)
    }

    fn next_mass(&mut self) -> Result<MassId, StoreError> {
        self.writer.next_mass(&mut self.batch)
    }

    fn take_left(&mut self, place: (&str, &Scope)) -> Result<Vec<Held>, StoreError> {
        self.writer.take_left(&mut self.batch, place)
    }

    fn note_held(&mut self, new: &New<'_>, kin: Kin, id: MassId) -> Result<(), StoreError> {
        let place = (new.address, new.scope);
        if !self.writer.put_held(&mut self.batch, id, place, true)? {
            return Ok(());
        }
        let known = self.writer.mass(&mut self.batch, id)?;
        if known.is_none() {
            telemetry::ingest::mass_held(id, &kin.source, &kin.domain, &kin.class);
        }
        let (since, last, released) = (new.at, new.at, false);
        let mut mass = known.unwrap_or(Mass { kin, since, last, count: 0, released });
        mass.since = mass.since.min(new.at);
        mass.last = mass.last.max(new.at);
        mass.count += 1;
        self.writer.put_mass(&mut self.batch, id, Some(&mass))
    }
}

impl Merge<'_> {
    /// Holds what an event has made of a standing that suppressed nobody before, if it came with a
    /// mass of others.
    pub(super) fn hold(
        &mut self,
        event: &Event,
        standing: &mut Standing,
        after: &[Finding],
    ) -> Result<(), StoreError> {
        let Some(rules) = self.hold.filter(|_| may_be_held(event, after)) else { return Ok(()) };
        let reasons: Vec<_> = after
            .iter()
            .filter(|finding| finding.sources.contains(&event.source))
            .map(|finding| finding.reason)
            .collect();
        // What else the same source says of an address that is held, such as its list, is no more
        // to be believed.
        let joined = standing.held().iter().find(|held| held.source == event.source);
        let joined = joined.map(|held| held.mass);
        if joined.is_none() && !rules.is_of_late(event) {
            return Ok(());
        }
        self.hold_new(&rules, &New::by(event), standing, &reasons, joined)
    }

    /// Notes again what a standing says of masses: a checkpoint may have it in the standing alone,
    /// which it wrote later.
    pub(super) fn note_held_again(
        &mut self,
        event: &Event,
        standing: &Standing,
    ) -> Result<(), StoreError> {
        for held in standing.held().iter().filter(|held| held.source == event.source) {
            let new = New::by(event);
            let kin = self.hold.map_or_else(Kin::default, |rules| rules.kin(&new));
            self.note_held(&new, kin, held.mass)?;
        }
        Ok(())
    }

    /// The same of what a correction has made, and finds done.
    pub(super) fn note_corrected_again(
        &mut self,
        (address, scope): (&str, &Scope),
        standing: &Standing,
        at: Time,
    ) -> Result<(), StoreError> {
        for Held { reason, source, mass } in standing.held() {
            let class = standing.class_of(&[*reason], source);
            let class = class.map_or(reason.as_str(), |class| class.as_str());
            let new = New { source, address, scope, class, at, received: at };
            let kin = self.hold.map_or_else(Kin::default, |rules| rules.kin(&new));
            self.note_held(&new, kin, *mass)?;
        }
        Ok(())
    }

    /// Takes an administrator's step about a mass.
    pub(super) fn mass_step(&mut self, step: MassStep, record: Position) -> Result<(), StoreError> {
        match step {
            MassStep::Pass(id) => {
                let Some(mass) = self.writer.mass(&mut self.batch, id)? else { return Ok(()) };
                let mut rate = self.writer.rate(&mut self.batch, &mass.kin)?;
                rate.passes = true;
                self.writer.put_rate(&mut self.batch, &mass.kin, &rate)?;
                let mass = Mass { released: true, ..mass };
                self.writer.put_mass(&mut self.batch, id, Some(&mass))
            }
            MassStep::Free(id, address, scope) => self.free(id, &address, &scope, record),
            MassStep::End(id) => {
                // Unless more of it has come just now.
                let mass = self.writer.mass(&mut self.batch, id)?;
                let mass = mass.filter(|mass| mass.count > 0 && !mass.released);
                self.writer.put_mass(&mut self.batch, id, mass.as_ref())
            }
        }
    }

    /// Holds an address no longer.
    fn free(
        &mut self,
        id: MassId,
        address: &str,
        scope: &Scope,
        record: Position,
    ) -> Result<(), StoreError> {
        let mut standing = self.writer.standing(&mut self.batch, address, scope)?;
        let before = self.before(address, &standing);
        if standing.free(id) {
            let after = self.live(address, &standing);
            self.note_change((address, scope), &standing, &before, &after, record)?;
            self.writer.put_standing(&mut self.batch, address, scope, &standing)?;
        }
        self.note_freed(id, address, scope)
    }

    /// Holds nothing back any more that is lifted.
    pub(super) fn free_lifted(
        &mut self,
        (address, scope): (&str, &Scope),
        standing: &mut Standing,
    ) -> Result<(), StoreError> {
        let held = standing.held().to_vec();
        if held.is_empty() {
            return Ok(());
        }
        let findings = self.rules.findings(address, standing, &Filter::default());
        standing.free_unless(|reason, source| {
            findings
                .iter()
                .filter(|finding| finding.lifted.is_none())
                .any(|finding| finding.reason == reason && finding.sources.contains(source))
        });
        self.note_all_freed(&held, standing, address, scope)
    }

    /// Notes what a correction has left nothing to hold of, should another bring it back.
    pub(super) fn note_left(
        &mut self,
        before: &[Held],
        standing: &Standing,
        place: (&str, &Scope),
    ) -> Result<(), StoreError> {
        let gone = before.iter().filter(|held| !standing.held().contains(held));
        let gone: Vec<Held> = gone.cloned().collect();
        if gone.is_empty() {
            return Ok(());
        }
        self.writer.put_left(&mut self.batch, place, &gone)
    }

    /// Notes which masses no longer hold an address that they held before.
    pub(super) fn note_all_freed(
        &mut self,
        before: &[Held],
        standing: &Standing,
        address: &str,
        scope: &Scope,
    ) -> Result<(), StoreError> {
        let ids = |held: &[Held]| held.iter().map(|held| held.mass).collect::<BTreeSet<_>>();
        for id in &ids(before) - &ids(standing.held()) {
            self.note_freed(id, address, scope)?;
        }
        Ok(())
    }

    fn note_freed(&mut self, id: MassId, address: &str, scope: &Scope) -> Result<(), StoreError> {
        if !self.writer.put_held(&mut self.batch, id, (address, scope), false)? {
            return Ok(());
        }
        let Some(mut mass) = self.writer.mass(&mut self.batch, id)? else { return Ok(()) };
        // Too few are counted where a checkpoint was written meanwhile, never too many.
        mass.count = mass.count.saturating_sub(1);
        self.writer.put_mass(&mut self.batch, id, Some(&mass))
    }
}

/// Whose steps about masses count.
pub(super) fn is_by_operator(provider: &str, source: &SourceName) -> bool {
    provider == OPERATOR && *source == SourceName::operator()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_above_the_rate_is_told_by_when_it_happened() {
        let hold = Hold { count: 3, ..Hold::default() };
        let mut rate = Rate::default();
        let mut above = |at: i64| {
            let at = Time::from_seconds(1_000_000 + at);
            hold.is_above(&mut rate, at, at)
        };
        assert_eq!([0, 60, 120].map(&mut above), [false; 3]);
        assert!(above(180), "the fourth within an hour");
        assert!(!above(2 * 3600), "two hours later");
        assert_eq!([-3600, -7200].map(&mut above), [false; 2], "history, in any order");
        assert!(above(200), "one that comes late, of the full hour");
        assert!(!above(86_400));
        assert!(!above(100), "that hour is long over");
    }

    #[test]
    fn short_spans_have_slots_too() {
        for seconds in [1, 7, 59, 60, 61, 3600, 86_400] {
            let hold = Hold { within: Duration::from_secs(seconds), ..Hold::default() };
            let (width, span) = hold.slots();
            assert!(width * span >= seconds && width * (span - 1) < seconds, "{seconds}");
            assert!(span <= 2 * SLOTS);
        }
    }
}
