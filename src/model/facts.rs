//! A standing as facts, for others to merge, and what of a fact it has already.

use super::cuts::Cuts;
use super::standing::{Despite, Fact, Ground, Latest, Lift, Standing};
use super::{Bounce, Reason, SourceName, Time};

impl Standing {
    /// All that is known as facts, which make the same verdicts wherever they are merged. What only
    /// the order of our journal decides is dated so that it stands.
    pub fn facts(&self) -> Vec<Fact> {
        let mut facts = Vec::new();
        for ((reason, source), ground) in &self.grounds {
            let of = |latest| Fact::Ground { reason: *reason, source: source.clone(), latest };
            if ground.first != ground.latest.at {
                facts.push(of(Latest { at: ground.first, ..ground.latest.clone() }));
            }
            facts.push(of(ground.latest.clone()));
            facts.extend(self.despite_lifts(*reason, source, ground).map(|(despite, through)| {
                of(Latest { at: through.just_after(), ..despite.latest.clone() })
            }));
        }
        let bounce = |bounce: &Bounce| Bounce { despite: None, ..bounce.clone() };
        facts.extend(self.soft.pairs().map(|(key, b)| Fact::SoftBounce(key, bounce(b))));
        facts.extend(self.blocked.pairs().map(|(key, b)| Fact::Blocked(key, bounce(b))));
        facts.extend(self.unexplained.pairs().map(|(key, b)| Fact::Unexplained(key, bounce(b))));
        facts.extend(self.delivered().map(Fact::Delivered));
        facts.extend(self.lifts().map(|(covers, through)| {
            Fact::Lift(Lift { covers: covers.clone(), through, theirs: false })
        }));
        facts
    }

    /// Whether there is a ground already of a fact's reason and source, lifted or not.
    pub fn has_ground_of(&self, fact: &Fact) -> bool {
        match fact {
            Fact::Ground { reason, source, .. } => self.place_of_ground(*reason, source).is_ok(),
            _ => false,
        }
    }

    /// Whether a fact is an end that an end known already stands for.
    pub fn has_end(&self, fact: &Fact) -> bool {
        match fact {
            Fact::Delivered(at) => self.delivered.through() >= Some(*at),
            Fact::Lift(Lift { covers, through, .. }) => {
                self.lifts.get(covers).and_then(Cuts::through) >= Some(*through)
            }
            _ => false,
        }
    }

    /// Whether anything that this record says stands by the order of our journal alone.
    pub fn stands_by_order(&self, record: u64) -> bool {
        self.grounds.iter().any(|((reason, source), ground)| {
            let despite = self.despite_lifts(*reason, source, ground);
            despite.is_some_and(|(despite, _)| despite.record == record)
        })
    }

    /// What of a ground stands by the order of our journal alone, and through when the lifts go
    /// that cover it by its date.
    pub fn despite_lifts<'a>(
        &self,
        reason: Reason,
        source: &SourceName,
        ground: &'a Ground,
    ) -> Option<(&'a Despite, Time)> {
        let despite = ground.despite.as_deref()?;
        let lifted = |despite_of| self.lifted(reason, source, despite.latest.at, despite_of);
        let through = lifted(None)?;
        lifted(Some(despite.record)).is_none().then_some((despite, through))
    }
}
