//! How many suppressions there are, by reason and source.
//!
//! Counting goes through all standings, so it is done beside everything else, and so seldom that it
//! takes a small part of one processor's time, however many there are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Admin;
use super::trends::Trends;
use crate::clock;
use crate::current::Current;
use crate::model::{Filter, Gist, Reason};
use crate::stop::stopped;
use crate::store::StoreError;

/// How often it is looked whether to count.
const BEAT: Duration = Duration::from_secs(5);
/// From one counting to the next at least so many times what it took.
const REST: u32 = 50;
/// Ends of suppressions are no changes: it is counted again after this time.
const STALE: Duration = Duration::from_secs(10 * 60);

/// The suppressions in force, each by its weightiest reason and one source that tells it.
pub(super) type Counted = BTreeMap<(Reason, Box<str>), u64>;

/// The last counting, and the last day.
#[derive(Debug, Default)]
pub struct Census {
    last: Mutex<Option<Last>>,
    pub(super) trends: Trends,
}

#[derive(Clone, Debug)]
struct Last {
    counted: Counted,
    /// The last change that it knows of.
    seen: u64,
    ended: Instant,
    took: Duration,
}

impl Census {
    /// What was counted last; nothing before the first time.
    pub(super) fn counted(&self) -> Counted {
        self.last().map(|last| last.counted).unwrap_or_default()
    }

    /// How many there were then. `None`: nobody has counted yet.
    pub(super) fn total(&self) -> Option<u64> {
        self.last().map(|last| last.counted.values().sum())
    }

    fn last(&self) -> Option<Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Keeps count of the suppressions, and of how they and events go, until the stop.
pub async fn keep_counting(admin: Arc<Current<Admin>>, mut stop: watch::Receiver<bool>) {
    let mut beat = tokio::time::interval(BEAT);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = stopped(&mut stop) => return,
        }
        let present = admin.get();
        let counting = Arc::clone(&present);
        // While the store does not answer there is nothing to count; the checks tell of it.
        let _ = tokio::task::spawn_blocking(move || counting.count()).await;
        present.note_trends();
    }
}

impl Admin {
    /// Counts the suppressions, if it is time to. It blocks on the store.
    ///
    /// # Errors
    /// When the store cannot answer.
    fn count(&self) -> Result<(), StoreError> {
        let seen = self.last_change();
        let is_due = self.census.last().is_none_or(|last| {
            let rested = last.ended.elapsed();
            let has_news = seen != last.seen && rested > last.took.saturating_mul(REST);
            has_news || rested > STALE
        });
        if !is_due {
            return Ok(());
        }
        let started = Instant::now();
        let counted = self.count_all()?;
        let (ended, took) = (Instant::now(), started.elapsed());
        let last = Last { counted, seen, ended, took };
        *self.census.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
        Ok(())
    }

    fn count_all(&self) -> Result<Counted, StoreError> {
        let (now, filter) = (clock::now(), Filter::default());
        let mut counted = Counted::new();
        self.reader.visit_standings(&mut |key, scope, gist| {
            let found = match gist {
                Gist::Sole(sole) => {
                    let live = self.rules.verdict(key, gist, scope, &filter, now);
                    live.map(|live| (live.reason, sole.source.into()))
                }
                Gist::Whole(standing) => {
                    let live = self.rules.judge(key, standing, scope, &filter, now);
                    live.and_then(|live| Some((live.reason, live.sources.first()?.as_str().into())))
                }
            };
            if let Some(kind) = found {
                *counted.entry(kind).or_default() += 1;
            }
            Ok(())
        })?;
        Ok(counted)
    }
}
