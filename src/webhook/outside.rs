//! What is fetched because a notification says so: certificates, and confirmations of
//! subscriptions.
//!
//! A stranger who knows a topic can ask for a certificate that is not there as often as he likes.
//! So one URL is fetched once at a time, few are at once, and what failed is not tried again soon.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use crate::fetch::Fetcher;
use crate::flights::Flights;
use crate::provider::{PageRequest, PublicKeyBytes};

/// Longest wait for a certificate or a confirmation.
const FETCH_LIMIT: Duration = Duration::from_secs(5);
/// Most fetches at once, and most for one source.
const FETCHES_MAX: usize = 8;
const FETCHES_EACH_MAX: usize = 2;
/// Largest certificate, in bytes.
const CERTIFICATE_MAX: usize = 64 << 10;
/// Most certificates kept; a service has few.
const CERTIFICATES_MAX: usize = 32;
/// The wait after a first failure; doubled by each further one, up to the longest.
const PAUSE_FIRST: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(5 * 60);
/// Most failures remembered; with more, those whose wait ends first are forgotten early.
const FAILURES_MAX: usize = 256;

/// The body of an answer with status 200.
type Body = Option<Arc<[u8]>>;

/// Who can be asked. A seam for tests.
pub(super) trait Outlet: Clone + Send + Sync + 'static {
    /// Fetches a URL within [`FETCH_LIMIT`].
    fn get(&self, url: Url) -> impl Future<Output = Body> + Send;
}

/// Fetches for the webhooks of all sources.
pub(super) struct Outside<O = Fetcher> {
    outlet: O,
    flights: Arc<Flights<Url, Body>>,
    memory: Arc<Mutex<Memory>>,
}

/// The certificates that are known, oldest first, and the URLs that failed.
#[derive(Default)]
struct Memory {
    certificates: Vec<(Url, Arc<[u8]>)>,
    failures: HashMap<Url, Failure>,
}

struct Failure {
    pause: Duration,
    until: Instant,
}

impl Outlet for Fetcher {
    async fn get(&self, url: Url) -> Body {
        let request = PageRequest::get(url);
        let fetched = self.send(&request, FETCH_LIMIT).await.ok()?;
        (fetched.status == 200).then(|| fetched.body.into())
    }
}

impl<O: Outlet> Outside<O> {
    /// One that has fetched nothing yet.
    pub(super) fn new(outlet: O) -> Outside<O> {
        let flights = Flights::new(FETCHES_MAX, FETCHES_EACH_MAX);
        Outside { outlet, flights, memory: Arc::default() }
    }

    /// One that asks through another outlet, and knows what this one does.
    pub(super) fn renewed(&self, outlet: O) -> Outside<O> {
        let (flights, memory) = (Arc::clone(&self.flights), Arc::clone(&self.memory));
        Outside { outlet, flights, memory }
    }

    /// A certificate, from memory or from where the service keeps it.
    pub(super) async fn certificate(&self, source: &str, url: Url) -> Body {
        let now = Instant::now();
        {
            let memory = self.memory();
            if let Some((_, known)) = memory.certificates.iter().find(|(known, _)| *known == url) {
                return Some(Arc::clone(known));
            }
            if memory.failures.get(&url).is_some_and(|failure| now < failure.until) {
                return None;
            }
        }
        let outlet = self.outlet.clone();
        let fetch = {
            let url = url.clone();
            || async move { outlet.get(url).await.filter(|body| is_certificate(body)) }
        };
        // A fetch that was not begun says nothing of its URL.
        let fetched = self.flights.join(url.clone(), source, fetch).await?;
        let mut memory = self.memory();
        match &fetched {
            Some(certificate) => memory.keep(url, certificate),
            None => memory.fail(url, Instant::now()),
        }
        fetched
    }

    /// Whether a subscription could be confirmed.
    pub(super) async fn confirm(&self, source: &str, url: Url) -> bool {
        let outlet = self.outlet.clone();
        let fetch = {
            let url = url.clone();
            || async move { outlet.get(url).await }
        };
        self.flights.join(url, source, fetch).await.flatten().is_some()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn keep(&mut self, url: Url, certificate: &Arc<[u8]>) {
        self.failures.remove(&url);
        // Many may have waited for it.
        if self.certificates.iter().any(|(known, _)| *known == url) {
            return;
        }
        if self.certificates.len() >= CERTIFICATES_MAX {
            self.certificates.remove(0);
        }
        self.certificates.push((url, Arc::clone(certificate)));
    }

    fn fail(&mut self, url: Url, now: Instant) {
        let pause = match self.failures.get(&url) {
            // Another who waited for the same fetch has noted it.
            Some(failure) if now < failure.until => return,
            Some(failure) => (failure.pause * 2).min(PAUSE_MAX),
            None => PAUSE_FIRST,
        };
        if self.failures.len() >= FAILURES_MAX && !self.failures.contains_key(&url) {
            let first = self.failures.iter().min_by_key(|(_, failure)| failure.until);
            if let Some(first) = first.map(|(url, _)| url.clone()) {
                self.failures.remove(&first);
            }
        }
        self.failures.insert(url, Failure { pause, until: now + pause });
    }
}

fn is_certificate(body: &[u8]) -> bool {
    body.len() <= CERTIFICATE_MAX && PublicKeyBytes::from_certificate(body).is_some()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    const CERTIFICATE: &[u8] = include_bytes!("../../tests/fixtures/sns/test_cert.pem");

    /// Answers what it is told to, once the gate has a place.
    #[derive(Clone)]
    struct Fake {
        gate: Arc<Semaphore>,
        asked: Arc<AtomicUsize>,
        answer: Option<&'static [u8]>,
    }

    impl Outlet for Fake {
        async fn get(&self, _: Url) -> Body {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let _ = self.gate.acquire().await.unwrap();
            self.answer.map(Into::into)
        }
    }

    fn outside(answer: Option<&'static [u8]>, open: usize) -> (Arc<Outside<Fake>>, Fake) {
        let gate = Arc::new(Semaphore::new(open));
        let fake = Fake { gate, asked: Arc::default(), answer };
        (Arc::new(Outside::new(fake.clone())), fake)
    }

    fn url(number: usize) -> Url {
        format!("https://sns.us-east-1.amazonaws.com/{number}.pem").parse().unwrap()
    }

    fn asked(fake: &Fake) -> usize {
        fake.asked.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn nine_hundred_requests_are_one_fetch() {
        let (outside, fake) = outside(Some(CERTIFICATE), 0);
        let ask = || {
            let outside = Arc::clone(&outside);
            tokio::spawn(async move { outside.certificate("a", url(1)).await })
        };
        let waiting: Vec<_> = (0..900).map(|_| ask()).collect();
        fake.gate.add_permits(1);
        for waiting in waiting {
            assert!(waiting.await.unwrap().is_some());
        }
        assert!(outside.certificate("b", url(1)).await.is_some(), "from memory");
        assert_eq!(asked(&fake), 1);
    }

    #[tokio::test]
    async fn few_fetches_are_under_way_at_once_and_fewer_for_one_source() {
        let (outside, fake) = outside(Some(CERTIFICATE), 0);
        for source in ["a", "b", "c", "d", "e"] {
            for number in 0..10 {
                let number = number + 100 * source.as_bytes()[0] as usize;
                let asking = outside.certificate(source, url(number));
                // Enough to begin; the gate is shut.
                let _ = tokio::time::timeout(Duration::from_millis(1), asking).await;
                let confirming = outside.confirm(source, url(number + 50));
                let _ = tokio::time::timeout(Duration::from_millis(1), confirming).await;
            }
        }
        assert_eq!(asked(&fake), FETCHES_MAX);
        assert_eq!(outside.certificate("f", url(7)).await, None);
        assert!(outside.memory().failures.is_empty(), "what was not begun has not failed");
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_is_left_alone_for_ever_longer() {
        for answer in [None, Some(&b"no certificate"[..])] {
            let (outside, fake) = outside(answer, 1);
            let started = Instant::now();
            while started.elapsed() < Duration::from_secs(3_600) {
                assert_eq!(outside.certificate("a", url(1)).await, None);
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            // 5 + 10 + … + 160 are 315 s, then one each 300 s.
            assert_eq!(asked(&fake), 6 + 1 + (3_600 - 315) / 300);
            assert_eq!(outside.certificate("a", url(2)).await, None);
            assert_eq!(asked(&fake), 7 + (3_600 - 315) / 300 + 1, "another URL is not meant");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_memory_is_bounded() {
        let (outside, _) = outside(None, 1);
        for number in 0..FAILURES_MAX + 50 {
            assert_eq!(outside.certificate("a", url(number)).await, None);
        }
        assert_eq!(outside.memory().failures.len(), FAILURES_MAX);
        let (outside, fake) = super::tests::outside(Some(CERTIFICATE), 1);
        for number in 0..CERTIFICATES_MAX + 10 {
            assert!(outside.certificate("a", url(number)).await.is_some());
        }
        assert_eq!(outside.memory().certificates.len(), CERTIFICATES_MAX);
        let before = asked(&fake);
        assert!(outside.certificate("a", url(CERTIFICATES_MAX + 9)).await.is_some());
        assert_eq!(asked(&fake), before, "the newest are kept");
    }
}
