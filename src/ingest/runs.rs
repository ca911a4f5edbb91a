//! Makes runs of the base while the applier goes on: of what has changed, and one of several. The
//! applier itself only lets them count, and takes what they have out of sled.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::chores::{beside, ended, joined};
use crate::store::{Base, Made, Next, StoreError, Writer};
use crate::telemetry;

/// With so many times as many keys as make a run the applier waits for the one that is being
/// written; and so many are kept where none can be.
const MUCH: usize = 2;
const OVERFULL: usize = 8;
/// The wait before another run is tried.
const AGAIN: Duration = Duration::from_secs(10);
/// How much the making of one of several gives way to all others, the applier among them.
const NICENESS: i32 = 10;

/// The runs that are being made.
pub(super) struct Runs {
    /// Keys that make a run.
    keys: usize,
    base: Arc<Base>,
    /// Of what has changed.
    writing: Option<JoinHandle<io::Result<Made>>>,
    /// Of several.
    merging: Option<JoinHandle<io::Result<Made>>>,
    /// One could not be written: none is begun before.
    after: Instant,
    settling: bool,
}

impl Runs {
    pub(super) fn new(keys: usize, writer: &Writer) -> Runs {
        let base = Arc::clone(writer.base());
        let (writing, merging) = (None, None);
        Runs { keys, base, writing, merging, after: Instant::now(), settling: false }
    }

    /// Whether there is nothing to be done soon.
    pub(super) fn is_idle(&self) -> bool {
        !self.settling && self.writing.is_none() && self.merging.is_none()
    }

    /// Lets what was written count, and begins with what is due.
    pub(super) fn work(&mut self, writer: &mut Writer) -> Result<(), StoreError> {
        let is_much = writer.base().changes() > MUCH * self.keys;
        let wait = if is_much { joined } else { ended };
        let made = [wait(&mut self.writing), ended(&mut self.merging)];
        self.adopt(writer, made)?;
        self.settling = writer.settle()?;
        while is_much && self.settling {
            self.settling = writer.settle()?;
        }
        if Instant::now() < self.after {
            // None could be written. What a start finds beside the runs may be more all the same.
            return writer.check_base(OVERFULL * self.keys);
        }
        if self.writing.is_none()
            && let Some(next) = writer.next_run(self.keys)
        {
            self.writing = Some(begin(next, 0)?);
        }
        if self.merging.is_none()
            && let Some(next) = writer.next_merge(self.keys)
        {
            self.merging = Some(begin(next, NICENESS)?);
        }
        Ok(())
    }

    /// Waits for what is being written, and lets it count.
    pub(super) fn pause(&mut self, writer: &mut Writer) -> Result<(), StoreError> {
        let made = [joined(&mut self.writing), joined(&mut self.merging)];
        self.adopt(writer, made)
    }

    fn adopt(
        &mut self,
        writer: &mut Writer,
        made: [Option<Result<Made, String>>; 2],
    ) -> Result<(), StoreError> {
        for made in made.into_iter().flatten() {
            match made {
                Ok(made) => writer.adopt(&made)?,
                Err(error) => {
                    telemetry::ingest::base_failed(error);
                    self.after = Instant::now() + AGAIN;
                }
            }
        }
        Ok(())
    }
}

fn begin(next: Next, niceness: i32) -> io::Result<JoinHandle<io::Result<Made>>> {
    beside("base", niceness, move || next.write())
}

impl Drop for Runs {
    /// Nobody writes to the folder any more when the store is opened again. What was written and
    /// does not count yet is removed then.
    fn drop(&mut self) {
        self.base.give_up();
        let _ = (joined(&mut self.writing), joined(&mut self.merging));
    }
}
