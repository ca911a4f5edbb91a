//! How often an API may be asked with a key, and which of a source's keys is good. Pure: the
//! instant is an argument.
//!
//! What the provider's page says of its rate holds in any span of its length: a run may use it at
//! once, and goes on as that is past. Sources with the same key share it. What an answer says comes
//! on top. What was told is not paid for twice.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Settings;
use crate::model::Time;
use crate::provider::{Query, Rate, Settings as ProviderSettings, Window};

/// What one key may ask of one API.
#[derive(Debug, Default)]
struct Allowance {
    rate: Option<Rate>,
    /// When each of the last requests begins, or by when it had come to the provider: the earliest
    /// first, and no more than the rate allows in one span.
    requests: VecDeque<Instant>,
    /// What was granted is used up until then.
    not_before: Option<Instant>,
    /// The provider has refused more until then.
    refused_until: Option<Instant>,
}

/// The allowances of all sources, by provider, host and key.
#[derive(Default)]
pub(super) struct Allowances {
    all: HashMap<u64, Arc<Mutex<Allowance>>>,
    hashes: RandomState,
}

/// One source's keys and what it may ask for with them, which outlives its runs.
#[derive(Debug)]
pub(super) struct Budget {
    /// An allowance for each set of secrets.
    allowances: Vec<Arc<Mutex<Allowance>>>,
    /// The set that is asked with.
    current: usize,
    /// When the last request begins.
    last: Option<Instant>,
    /// When each detail was first told, by the hash of its token. `None`: and it is told for good.
    told: HashMap<u64, Option<Instant>>,
    hashes: RandomState,
}

/// Most details that are remembered. With one more, all are asked for again.
const TOLD_MAX: usize = 250_000;

/// How long a detail may lag behind the listing that leads to it: one that is told again after that
/// is told for good.
const LAG: Duration = Duration::from_secs(600);

impl Allowance {
    /// A full one.
    fn new(rate: Option<Rate>) -> Allowance {
        Allowance { rate, ..Allowance::default() }
    }

    /// Spends one request, unless it has to wait longer than `most`: how long it has to.
    fn spend(&mut self, now: Instant, most: Duration) -> Duration {
        let held = self.not_before.max(self.refused_until);
        let mut start = held.map_or(now, |held| held.max(now));
        let full = self.rate.filter(|rate| self.requests.len() >= rate.requests.max(1) as usize);
        if let (Some(rate), Some(first)) = (full, self.requests.front()) {
            start = start.max(*first + rate.per);
        }
        let wait = start - now;
        if wait <= most && self.rate.is_some() {
            if full.is_some() {
                self.requests.pop_front();
            }
            self.note(start);
        }
        wait
    }

    /// The request that begins at `start` has been answered: until now it may have been on its way.
    fn answered(&mut self, start: Instant, now: Instant) {
        if let Some(place) = self.requests.iter().position(|other| *other == start) {
            self.requests.remove(place);
            self.note(now.max(start));
        }
    }

    fn note(&mut self, at: Instant) {
        let place = self.requests.partition_point(|other| *other <= at);
        self.requests.insert(place, at);
    }
}

impl Allowances {
    /// The budget of a source, which shares what others ask of the same API with the same key.
    pub(super) fn budget(&mut self, settings: &Settings) -> Budget {
        let sets = 0..settings.settings.secret_sets();
        let allowances = sets.map(|set| {
            let key = self.key(settings, &settings.settings.with_secret_set(set));
            let full = || Arc::new(Mutex::new(Allowance::new(settings.provider.rate())));
            self.all.entry(key).or_insert_with(full).clone()
        });
        Budget::new(allowances.collect())
    }

    fn key(&self, source: &Settings, settings: &ProviderSettings) -> u64 {
        let since = Time::from_seconds(0);
        let window = Window { since, until: since };
        let host = source.feeds.first().and_then(|feed| {
            let query = Query { settings, feed: &feed.name, window, next: None, now: since };
            let url = source.provider.page_request(&query).ok()?.url;
            Some(url.origin().ascii_serialization())
        });
        let secrets: Vec<(&str, Vec<&[u8]>)> = settings
            .secret_lists()
            .map(|(key, secrets)| (key, secrets.iter().map(|secret| secret.reveal()).collect()))
            .collect();
        self.hashes.hash_one((source.provider.name(), host, secrets))
    }
}

impl Default for Budget {
    /// Of one key, without a limit.
    fn default() -> Budget {
        Budget::new(vec![Arc::default()])
    }
}

impl Budget {
    fn new(allowances: Vec<Arc<Mutex<Allowance>>>) -> Budget {
        let (told, hashes) = (HashMap::new(), RandomState::new());
        Budget { allowances, current: 0, last: None, told, hashes }
    }

    /// How many sets of secrets there are.
    pub(super) fn sets(&self) -> usize {
        self.allowances.len()
    }

    /// The set of secrets that is asked with: the last that was good.
    pub(super) fn current(&self) -> usize {
        self.current
    }

    /// Goes on to the next set.
    pub(super) fn next_set(&mut self) {
        self.current = (self.current + 1) % self.sets().max(1);
    }

    /// Spends one request, unless it has to wait longer than `most`: how long it has to.
    pub(super) fn spend(&mut self, now: Instant, most: Duration) -> Duration {
        let wait = self.allowance().spend(now, most);
        self.last = (wait <= most).then_some(now + wait);
        wait
    }

    /// The last request has been answered, or will not be.
    pub(super) fn answered(&mut self, now: Instant) {
        if let Some(start) = self.last.take() {
            self.allowance().answered(start, now);
        }
    }

    /// Nothing is asked with this key before then.
    pub(super) fn hold(&mut self, until: Instant) {
        let mut allowance = self.allowance();
        allowance.not_before = allowance.not_before.max(Some(until));
    }

    /// A request was refused: nothing is asked with this key before then, unless an operator does.
    pub(super) fn refuse(&mut self, until: Instant) {
        let mut allowance = self.allowance();
        allowance.refused_until = allowance.refused_until.max(Some(until));
    }

    /// An operator asks now, whatever was refused before.
    pub(super) fn forgive(&mut self) {
        self.allowance().refused_until = None;
    }

    fn allowance(&self) -> MutexGuard<'_, Allowance> {
        self.allowances[self.current].lock().unwrap_or_else(PoisonError::into_inner)
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

    use crate::poll::stage;
    use crate::provider::{Setting, by_name};
    use crate::secret::Secret;

    const SECOND: Duration = Duration::from_secs(1);

    const LONG: Duration = Duration::from_secs(3_600);

    /// A source of a provider that allows two requests a second, with these keys.
    fn resend(source: &str, keys: &[&'static str]) -> Settings {
        let provider = by_name("resend").unwrap();
        let mut settings = ProviderSettings::default();
        let secrets = keys.iter().map(|key| Secret::new(*key)).collect();
        settings.set("api_key", Setting::Secrets(secrets));
        let source = crate::model::SourceName::parse(source).unwrap();
        let feeds = provider.feeds().to_vec();
        Settings { source, provider: provider.into(), settings, feeds, ..stage::settings() }
    }

    #[test]
    fn sources_with_one_key_share_what_it_may_ask() {
        let now = Instant::now();
        let mut shelf = Allowances::default();
        let mut a = shelf.budget(&resend("a", &["k1"]));
        let mut b = shelf.budget(&resend("b", &["k1", "k2"]));
        let mut c = shelf.budget(&resend("c", &["k3"]));
        let rate = by_name("resend").unwrap().rate().unwrap();
        let free =
            (0..20).map(|n| if n % 2 == 0 { a.spend(now, LONG) } else { b.spend(now, LONG) });
        let free = free.take_while(Duration::is_zero).count();
        assert_eq!(free, rate.requests as usize);
        assert_eq!(c.spend(now, LONG), Duration::ZERO, "another key");
        a.refuse(now + 60 * SECOND);
        assert!(b.spend(now, SECOND) >= 60 * SECOND);
        b.forgive();
        assert!(a.spend(now, LONG) < 60 * SECOND);
        a.hold(now + 60 * SECOND);
        assert!(b.spend(now, LONG) >= 60 * SECOND);
        b.next_set();
        assert_eq!(b.spend(now, LONG), Duration::ZERO, "its other key");
    }

    #[test]
    fn what_is_not_waited_for_is_not_spent() {
        let now = Instant::now();
        let mut allowance = Allowance::new(Some(Rate { requests: 1, per: 100 * SECOND }));
        assert_eq!(allowance.spend(now, SECOND), Duration::ZERO);
        for _ in 0..3 {
            assert_eq!(allowance.spend(now, SECOND), 100 * SECOND);
        }
    }

    /// However long requests take and whoever asks: in no span of the rate's there are more.
    #[test]
    fn no_span_has_more_requests_than_the_rate() {
        let begun = Instant::now();
        let in_millis = |millis: u64| begun + Duration::from_millis(millis);
        for provider in crate::provider::ALL {
            let Some(rate) = provider.rate() else { continue };
            let mut allowance = Allowance::new(Some(rate));
            let (mut now, mut came) = (begun, Vec::new());
            for number in 0..u64::from(rate.requests) * 4 {
                // It is idle for a while at times, as between two polls.
                let idle = if number % 7 == 6 { rate.per / 3 } else { Duration::ZERO };
                now += idle + allowance.spend(now + idle, LONG);
                let start = now;
                // It comes to the provider at once, or after a while.
                let travels = Duration::from_millis(number * 37 % 400);
                came.push(start + travels);
                now += travels + Duration::from_millis(5);
                allowance.answered(start, now);
            }
            let most = rate.requests as usize;
            let spans = came.windows(most + 1).map(|span| span[most] - span[0]);
            assert!(spans.min().unwrap() >= rate.per, "{}", provider.name());
        }
        // Those that are not answered yet count from their beginning.
        let rate = Rate { requests: 2, per: SECOND };
        let mut allowance = Allowance::new(Some(rate));
        assert_eq!(allowance.spend(in_millis(0), LONG), Duration::ZERO);
        assert_eq!(allowance.spend(in_millis(900), LONG), Duration::ZERO);
        assert_eq!(allowance.spend(in_millis(900), LONG), Duration::from_millis(100));
        assert_eq!(allowance.spend(in_millis(900), LONG), SECOND);
        allowance.answered(in_millis(1_900), in_millis(2_500));
        assert_eq!(allowance.spend(in_millis(2_500), LONG), Duration::ZERO);
        assert_eq!(allowance.spend(in_millis(2_500), LONG), SECOND);
    }

    #[test]
    fn what_an_answer_says_holds_every_request() {
        let now = Instant::now();
        let mut budget = Budget::default();
        assert_eq!(budget.spend(now, LONG), Duration::ZERO);
        budget.hold(now + 30 * SECOND);
        budget.hold(now + 10 * SECOND);
        assert_eq!(budget.spend(now, LONG), 30 * SECOND);
        assert_eq!(budget.spend(now + 31 * SECOND, LONG), Duration::ZERO);
    }
}
