//! One process at a time has a state directory.
//!
//! The lock is on the directory itself, so that whoever moves what is in it lets no second one in.
//! Earlier versions lock the journal's directory and sled's file alone.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc::{O_DIRECTORY, O_NONBLOCK};

use super::Paths;
use super::restored::settle;
use crate::journal::OpenError;

/// How long a lock is waited for: who has ended may have left it to a child that has just begun.
const HELD_MAX: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(20);

/// Keeps every other process out of a state directory until it is dropped.
pub struct Alone {
    _lock: Flock<File>,
}

impl Alone {
    /// Takes a state directory, making it if it is not there. A restore that broke off in it when
    /// all was there is ended.
    ///
    /// # Errors
    /// When another process has it, it cannot be had, or a restore broke off before.
    pub fn take(state: &Path) -> Result<Alone, OpenError> {
        let alone = Alone::take_as_it_is(state)?;
        settle(state)?;
        Ok(alone)
    }

    /// The same, with nothing in it touched.
    ///
    /// # Errors
    /// When another process has it, or it cannot be had.
    #[expect(clippy::disallowed_methods, reason = "nobody tells when another's lock ends")]
    pub fn take_as_it_is(state: &Path) -> Result<Alone, OpenError> {
        let begun = Instant::now();
        loop {
            match Alone::try_take(state) {
                Err(OpenError::InUse(_)) if begun.elapsed() < HELD_MAX => std::thread::sleep(AGAIN),
                taken => return taken,
            }
        }
    }

    fn try_take(state: &Path) -> Result<Alone, OpenError> {
        let io = |error| OpenError::Io { path: state.to_owned(), error };
        match DirBuilder::new().recursive(true).mode(0o700).create(state) {
            // What is there is told when it is opened.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io(error)),
            _ => {}
        }
        let handle = File::options().read(true).custom_flags(O_DIRECTORY).open(state);
        let lock = Flock::lock(handle.map_err(io)?, FlockArg::LockExclusiveNonblock)
            .map_err(|_| OpenError::InUse(state.to_owned()))?;
        match within(state).into_iter().find(|path| is_locked(path).unwrap_or(false)) {
            Some(path) => Err(OpenError::InUse(path)),
            None => Ok(Alone { _lock: lock }),
        }
    }
}

/// What a process keeps of a file or folder of its own, for as long as it lives.
pub struct Hold {
    _lock: Flock<File>,
}

/// Takes a file or folder; `None`: another process has it. What nobody has was left by one that has
/// ended.
///
/// # Errors
/// When the file system has no locks.
pub fn hold(file: File) -> io::Result<Option<Hold>> {
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(Hold { _lock: lock })),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}

/// Whether another process has a state directory. No lock is kept.
///
/// # Errors
/// When it is there, or its journal, and cannot be opened.
pub fn is_in_use(state: &Path) -> io::Result<bool> {
    let [journal, sled] = within(state);
    Ok(is_locked(state)? || is_locked(&journal)? || is_locked(&sled).unwrap_or(false))
}

/// What earlier versions lock: the journal, and sled's file.
fn within(state: &Path) -> [PathBuf; 2] {
    [state.join("journal"), Paths::of(state).sled.join("db")]
}

fn is_locked(path: &Path) -> io::Result<bool> {
    // What is a FIFO lets nobody wait.
    match File::options().read(true).custom_flags(O_NONBLOCK).open(path) {
        Ok(handle) => {
            let lock = Flock::lock(handle, FlockArg::LockSharedNonblock);
            Ok(lock.is_err_and(|(_, errno)| errno == Errno::EWOULDBLOCK))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
