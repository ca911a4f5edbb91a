//! The limit of what a disk acknowledges: the least that a group commit can be.
//!
//! One thread takes all that is waiting, writes it with one call, syncs once, answers all. The
//! file's blocks are written before, so that a sync has no metadata to write. No checks, no
//! segments, no limits, no reading back: what a real journal adds is measured against this.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::sync::oneshot;

/// The room that is written again and again, in bytes.
const ROOM: u64 = 64 << 20;
/// A group is closed when it has this many bytes.
const GROUP_BYTES: usize = 8 << 20;

/// Bytes that wait to be durable, and who waits for them.
type Waiting = (Vec<u8>, oneshot::Sender<()>);

/// Takes what is to be made durable.
#[derive(Clone)]
pub(crate) struct Log(Sender<Waiting>);

impl Log {
    /// Starts the committer on a new file.
    pub(crate) fn start(path: &Path) -> io::Result<Log> {
        let file = prepared(path)?;
        let (sender, waiting) = channel();
        std::thread::Builder::new().name("committer".to_owned()).spawn(move || {
            if let Err(error) = commit(&file, &waiting) {
                println!("the limit's log failed: {error}");
            }
        })?;
        Ok(Log(sender))
    }

    /// Answers when the bytes are durable.
    pub(crate) async fn append(&self, bytes: Vec<u8>) -> bool {
        let (reply, answer) = oneshot::channel();
        self.0.send((bytes, reply)).is_ok() && answer.await.is_ok()
    }
}

/// A file whose blocks are all written.
pub(crate) fn prepared(path: &Path) -> io::Result<File> {
    let file = File::create_new(path)?;
    let zeros = vec![0; 1 << 20];
    for at in (0..ROOM).step_by(zeros.len()) {
        file.write_all_at(&zeros, at)?;
    }
    file.sync_all()?;
    Ok(file)
}

fn commit(file: &File, waiting: &Receiver<Waiting>) -> io::Result<()> {
    let (mut at, mut buffer, mut replies) = (0, Vec::new(), Vec::new());
    while let Ok(first) = waiting.recv() {
        let mut next = Some(first);
        while let Some((bytes, reply)) = next {
            buffer.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            buffer.extend_from_slice(&bytes);
            replies.push(reply);
            next = if buffer.len() < GROUP_BYTES { waiting.try_recv().ok() } else { None };
        }
        at = if at + buffer.len() as u64 > ROOM { 0 } else { at };
        file.write_all_at(&buffer, at)?;
        file.sync_data()?;
        at += buffer.len() as u64;
        buffer.clear();
        for reply in replies.drain(..) {
            // Whoever asked may be gone.
            let _ = reply.send(());
        }
    }
    Ok(())
}
