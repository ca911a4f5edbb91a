//! One look, after the start, through the part of the journal that was applied long ago.
//!
//! Nothing else reads it until the store must be made again, which would be too late to learn that
//! a disk has lost some of it. Never reads beyond what was applied, and never fast.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Shared, report};
use crate::journal::{Entry, Reader};
use crate::model::Position;
use crate::telemetry;

/// Bytes that are read at a time, and the pause behind them: 16 MiB a second at most.
const STRETCH_BYTES: u64 = 4 << 20;
const PAUSE: Duration = Duration::from_millis(250);

/// Starts looking through what lies before `applied`; what cannot be read is reported.
pub(super) fn start(journal: Reader, applied: Position, shared: Arc<Shared>) {
    let look = move || match scrub(&journal, applied, &shared) {
        Ok(()) => {}
        Err(error) => telemetry::ingest::journal_scrub_failed(error),
    };
    if let Err(error) = std::thread::Builder::new().name("scrub".to_owned()).spawn(look) {
        telemetry::ingest::journal_scrub_failed(error);
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
                report(&damage);
                damaged += 1;
            }
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
