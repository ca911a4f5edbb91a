//! How often a source's API may be asked. Pure: the instant is an argument.
//!
//! What the provider's page says of its rate is a bucket, which a run may empty at once and which
//! fills again evenly. What an answer says comes on top. What was told is not paid for twice.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use crate::provider::Rate;

/// One source's budget, which outlives its runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Budget {
    /// What one request costs, and how much may be owed before one has to wait.
    rate: Option<(Duration, Duration)>,
    /// When all that was spent is earned again.
    level: Option<Instant>,
    /// The provider wants to be left alone until then.
    not_before: Option<Instant>,
    /// When each detail was first told, by the hash of its token. `None`: and it is told for good.
    told: HashMap<u64, Option<Instant>>,
    hashes: RandomState,
}

/// Most details that are remembered. With one more, all are asked for again.
const TOLD_MAX: usize = 250_000;

/// How long a detail may lag behind the listing that leads to it: one that is told again after that
/// is told for good.
const LAG: Duration = Duration::from_secs(600);

impl Budget {
    /// A full budget.
    pub(super) fn new(rate: Option<Rate>) -> Budget {
        let costs = |rate: Rate| {
            let requests = rate.requests.max(1);
            let one = rate.per / requests;
            (one, rate.per.saturating_sub(one))
        };
        Budget { rate: rate.map(costs), ..Budget::default() }
    }

    /// Spends one request: how long it has to wait.
    pub(super) fn spend(&mut self, now: Instant) -> Duration {
        let mut start = self.not_before.map_or(now, |held| held.max(now));
        if let Some((one, most)) = self.rate {
            let level = self.level.map_or(start, |level| level.max(start));
            start = start.max(level.checked_sub(most).unwrap_or(start));
            self.level = Some(level + one);
        }
        start - now
    }

    /// Nothing is asked before then.
    pub(super) fn hold(&mut self, until: Instant) {
        self.not_before = self.not_before.max(Some(until));
    }

    /// Remembers details that are committed and stay as they are.
    pub(super) fn remember(&mut self, details: &[String], now: Instant) {
        if self.told.len() + details.len() > TOLD_MAX {
            self.told.clear();
        }
        for detail in details {
            let first = self.told.entry(self.hashes.hash_one(detail)).or_insert(Some(now));
            *first = first.filter(|first| now.saturating_duration_since(*first) < LAG);
        }
    }

    /// Whether a detail is told for good.
    pub(super) fn was_told(&self, detail: &str) -> bool {
        self.told.get(&self.hashes.hash_one(detail)) == Some(&None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_full_bucket_is_spent_at_once_and_fills_evenly() {
        let start = Instant::now();
        let rate = Rate { requests: 10, per: 60 * SECOND };
        let mut budget = Budget::new(Some(rate));
        let mut at = start;
        for asked in 0..10 {
            assert_eq!(budget.spend(at), Duration::ZERO, "request {asked}");
        }
        for asked in 10..13 {
            let wait = budget.spend(at);
            assert_eq!(wait, 6 * SECOND, "request {asked}");
            at += wait;
        }
        assert_eq!(budget.spend(at + 60 * SECOND), Duration::ZERO, "it has filled again");
        let times: Vec<Duration> = (0..10).map(|_| budget.spend(at + 60 * SECOND)).collect();
        assert_eq!(times[8], Duration::ZERO, "full, and no more than full");
        assert_eq!(times[9], 6 * SECOND);
    }

    #[test]
    fn what_an_answer_says_holds_every_request() {
        let now = Instant::now();
        let mut budget = Budget::new(None);
        assert_eq!(budget.spend(now), Duration::ZERO);
        budget.hold(now + 30 * SECOND);
        budget.hold(now + 10 * SECOND);
        assert_eq!(budget.spend(now), 30 * SECOND);
        assert_eq!(budget.spend(now + 31 * SECOND), Duration::ZERO);
    }
}
