//! One look, after the start, through the part of the journal that was applied long ago, and
//! through a store that was opened without one.
//!
//! Nothing else reads that part until the store must be made again, which would be too late to
//! learn that a disk has lost some of it. Never reads beyond what was applied, and never fast.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::Shared;
use crate::journal::{Entry, Reader};
use crate::model::Position;
use crate::store::{self, StoreError};
use crate::telemetry;

/// Bytes that are read at a time, and the pause behind them: 16 MiB a second at most.
const STRETCH_BYTES: u64 = 4 << 20;
const PAUSE: Duration = Duration::from_millis(250);

/// The look, in a thread of its own.
pub(super) struct Scrub(Option<JoinHandle<()>>);

impl Scrub {
    /// Starts looking through what lies before `applied`; what cannot be read is reported.
    /// `store`: what is to be looked through first.
    pub(super) fn start(
        journal: Reader,
        applied: Position,
        store: Option<store::Reader>,
        shared: Arc<Shared>,
    ) -> Scrub {
        let look = move || {
            store.iter().for_each(|store| look_through(store, &shared));
            if let Err(error) = scrub(&journal, applied, &shared) {
                telemetry::ingest::journal_scrub_failed(error);
            }
        };
        match Builder::new().name("scrub".to_owned()).spawn(look) {
            Ok(thread) => Scrub(Some(thread)),
            Err(error) => {
                telemetry::ingest::journal_scrub_failed(error);
                Scrub(None)
            }
        }
    }

    /// Waits until it has ended, which it does soon once all is stopping: nothing is told after.
    pub(super) fn end(self) {
        if let Some(thread) = self.0 {
            thread.thread().unpark();
            // If it panicked, it has said so.
            let _ = thread.join();
        }
    }
}

/// Reads all of the store, without holding it between two stretches.
fn look_through(store: &store::Reader, shared: &Shared) {
    let mut after = Some(Vec::new());
    while let Some(key) = after
        && !shared.stopping.load(Ordering::Acquire)
    {
        // sled panics on some damage.
        let read = catch_unwind(AssertUnwindSafe(|| store.read_on(&key, STRETCH_BYTES)));
        after = match read.unwrap_or_else(|_| Err(StoreError::Damaged("sled gave up".to_owned()))) {
            Ok(after) => after,
            Err(error @ StoreError::Damaged(_)) => {
                telemetry::ingest::store_unread(error);
                shared.rotten.store(true, Ordering::Relaxed);
                None
            }
            // It is opened again by itself.
            Err(_) => None,
        };
        if after.is_some() {
            std::thread::park_timeout(PAUSE);
        }
    }
}

fn scrub(journal: &Reader, applied: Position, shared: &Shared) -> io::Result<()> {
    let started = Instant::now();
    let mut tail = journal.tail(journal.start()?);
    let (mut bytes, mut rested, mut damaged) = (0, 0, 0);
    while let Some(entry) = tail.next(applied)? {
        match entry {
            Entry::Record { payload, .. } => bytes += payload.len() as u64,
            Entry::Damage(damage) => {
                damage.tell();
                damaged += 1;
            }
            // Nothing behind it is applied.
            Entry::Newer { .. } => break,
        }
        if shared.stopping.load(Ordering::Acquire) {
            return Ok(());
        }
        if bytes - rested >= STRETCH_BYTES {
            rested = bytes;
            // Not on tokio's time, which may end while this pauses.
            std::thread::park_timeout(PAUSE);
        }
    }
    telemetry::ingest::journal_scrubbed(bytes, damaged, started.elapsed().as_secs_f64());
    Ok(())
}
