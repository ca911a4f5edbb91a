//! The journal: what we were told, verbatim, in append-only segments.
//!
//! A record is on disk before anyone is answered. A torn tail is cut, and said so; damage anywhere
//! else is kept aside, reported, and stepped over, never skipped in silence. Segments that are
//! complete are packed when the applier has no more to read in them. Nothing here knows what a
//! payload means.

mod blank;
mod format;
mod pack;
mod packed;
mod reader;
mod recover;
mod scan;
mod segment;
mod verify;
mod watch;
mod writer;

pub use blank::{Blanked, blank_files};
pub use format::SEAL_SIZE;
pub(crate) use format::SEGMENT_HEADER;
pub use pack::{Packing, packed_length};
pub use reader::{Entry, Reader, Tail};
pub use recover::{Journal, OpenError, Recovery, damaged_files, note_loss, open};
pub(crate) use segment::{create_private, open_regular, private_dir, sync_dir};
pub use verify::{Decodes, Verified, verify};
pub use writer::{AppendError, PAYLOAD_MAX, Placed, RESERVE, Writer};

use std::path::PathBuf;

use crate::model::Position;
use crate::telemetry;

/// A stretch of a segment that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it starts.
    pub from: Position,
    /// How many bytes it takes.
    pub bytes: u64,
    /// The copy of the segment that was kept aside; `None` if it could not be made.
    pub aside: Option<PathBuf>,
    /// What is not there at all, in words; `None` where there are bytes that cannot be read.
    pub lost: Option<String>,
}

impl Damage {
    /// Tells it in the log.
    pub fn tell(&self) {
        let Damage { from, bytes, aside, lost } = self;
        match lost {
            Some(what) => telemetry::ingest::journal_lost(from, what, aside.as_deref()),
            None => telemetry::ingest::journal_damaged(from, *bytes, aside.as_deref()),
        }
    }
}
