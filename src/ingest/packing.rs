//! Packs the journal's segments in a thread, while the applier goes on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::chores::{beside, ended, joined};
use crate::journal;
use crate::telemetry;

/// The wait before what failed is tried again.
const AGAIN: Duration = Duration::from_secs(5 * 60);
/// How much it gives way to all others, the applier among them.
const NICENESS: i32 = 10;

/// The packing that is under way.
#[derive(Default)]
pub(super) struct Packing {
    /// Segments below this were looked at.
    done: u32,
    /// When it failed last: it is told once, until it works.
    failed: Option<Instant>,
    given_up: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<journal::Packing>>>,
}

impl Packing {
    /// Looks after the thread, and starts one for what there is to pack below a segment.
    pub(super) fn work(&mut self, journal: &journal::Reader, below: u32) -> io::Result<()> {
        match ended(&mut self.thread) {
            Some(Ok(packing)) => {
                self.done = packing.done;
                self.failed = None;
                telemetry::ingest::journal_packed(packing.segments, packing.before, packing.after);
            }
            Some(Err(error)) => {
                let is_told = self.failed.replace(Instant::now()).is_some();
                if !is_told {
                    telemetry::ingest::packing_failed(error);
                }
            }
            None => {}
        }
        let may = self.failed.is_none_or(|failed| failed.elapsed() >= AGAIN);
        if self.thread.is_some() || below <= self.done || !may {
            return Ok(());
        }
        let (journal, segments) = (journal.clone(), (self.done, below));
        let given_up = Arc::clone(&self.given_up);
        let work = move || journal.pack(segments, &|| !given_up.load(Ordering::Relaxed));
        self.thread = Some(beside("pack", NICENESS, work)?);
        Ok(())
    }

    /// Ends it. It begins anew when it goes on, for segments may have changed.
    pub(super) fn stop(&mut self) {
        self.given_up.store(true, Ordering::Relaxed);
        let _ = joined(&mut self.thread);
        self.given_up.store(false, Ordering::Relaxed);
        self.done = 0;
    }
}

impl Drop for Packing {
    /// Nobody changes segments any more when the store is opened again.
    fn drop(&mut self) {
        self.stop();
    }
}
