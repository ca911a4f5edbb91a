//! Work that many ask for at once is done once, and only so much of it at a time.
//!
//! What is asked for again while it is under way is not begun again: everyone gets the same
//! outcome. It goes on when whoever asked first has gone.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Work under way, by what it is for.
pub struct Flights<K, V> {
    most: usize,
    most_each: usize,
    open: Mutex<HashMap<K, Flight<V>>>,
}

struct Flight<V> {
    /// On whose account it is.
    account: String,
    outcome: watch::Receiver<Option<V>>,
}

/// Ends a flight, also one whose work panics.
struct Landing<K: Eq + Hash, V> {
    flights: Arc<Flights<K, V>>,
    key: K,
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// At most so many at once, and so many on one account.
    pub fn new(most: usize, most_each: usize) -> Arc<Flights<K, V>> {
        Arc::new(Flights { most, most_each, open: Mutex::default() })
    }

    /// The outcome of the work for `key`. `None`: too much is under way, or the work has failed in
    /// a way that nobody has thought of.
    pub async fn join<F>(
        self: &Arc<Self>,
        key: K,
        account: &str,
        work: impl FnOnce() -> F,
    ) -> Option<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut outcome = self.depart(key, account, work)?;
        let landed = outcome.wait_for(Option::is_some).await.ok()?;
        landed.clone()
    }

    fn depart<F>(
        self: &Arc<Self>,
        key: K,
        account: &str,
        work: impl FnOnce() -> F,
    ) -> Option<watch::Receiver<Option<V>>>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut open = self.open();
        if let Some(flight) = open.get(&key) {
            return Some(flight.outcome.clone());
        }
        let of_account = open.values().filter(|flight| flight.account == account).count();
        if open.len() >= self.most || of_account >= self.most_each {
            return None;
        }
        let (teller, outcome) = watch::channel(None);
        let flight = Flight { account: account.to_owned(), outcome: outcome.clone() };
        open.insert(key.clone(), flight);
        let landing = Landing { flights: Arc::clone(self), key };
        let work = work();
        tokio::spawn(async move {
            let found = work.await;
            // Whoever asks from now on asks anew.
            drop(landing);
            teller.send_replace(Some(found));
        });
        Some(outcome)
    }
}

impl<K: Eq + Hash, V> Flights<K, V> {
    fn open(&self) -> MutexGuard<'_, HashMap<K, Flight<V>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.flights.open().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn what_is_under_way_is_not_begun_again() {
        let flights = Flights::new(8, 8);
        let (begun, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let ask = || {
            let (begun, gate) = (Arc::clone(&begun), Arc::clone(&gate));
            let flights = Arc::clone(&flights);
            tokio::spawn(async move {
                let work = || async move {
                    begun.fetch_add(1, Ordering::SeqCst);
                    let _ = gate.acquire().await.unwrap();
                    7
                };
                flights.join("a", "", work).await
            })
        };
        let asked: Vec<_> = (0..100).map(|_| ask()).collect();
        // Whoever asked first may go.
        asked[0].abort();
        gate.add_permits(1);
        for asked in asked.into_iter().skip(1) {
            assert_eq!(asked.await.unwrap(), Some(7));
        }
        assert_eq!(begun.load(Ordering::SeqCst), 1);
        assert!(flights.open().is_empty());
    }

    #[tokio::test]
    async fn no_more_is_under_way_than_may_be() {
        let flights = Flights::new(3, 2);
        let wait = || std::future::pending::<()>();
        for (key, account, taken) in
            [(1, "a", true), (2, "a", true), (3, "a", false), (4, "b", true), (5, "c", false)]
        {
            assert_eq!(flights.depart(key, account, wait).is_some(), taken, "{key}");
        }
        assert!(flights.depart(2, "c", wait).is_some(), "it is under way");
    }

    #[tokio::test]
    async fn work_that_panics_leaves_its_place() {
        let flights: Arc<Flights<u8, u8>> = Flights::new(1, 1);
        let broken = || async { panic!("as a test wants it") };
        assert_eq!(flights.join(1, "", broken).await, None);
        assert_eq!(flights.join(1, "", || async { 2 }).await, Some(2));
    }
}
