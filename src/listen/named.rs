//! A Unix socket and its file: made, opened to those who may reach it, and made again where another
//! hand has taken the file away.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::{fs, io};

use tokio::net::{UnixListener, UnixStream};

use super::Entry;

/// A socket that we have bound to a path. Its file is removed with it.
#[derive(Debug)]
pub(super) struct Named {
    path: PathBuf,
    live: Mutex<Live>,
}

#[derive(Debug)]
struct Live {
    socket: UnixListener,
    /// Which file it is: not another process's by now.
    file: Option<(u64, u64)>,
    mode: u32,
    group: Option<u32>,
    /// The group that it has where none is named.
    usual_group: Option<u32>,
}

impl Named {
    /// Binds it. One that a dead process left behind is replaced.
    ///
    /// # Errors
    /// When a living process has it, something else is there, or the group is not ours.
    pub(super) fn bind(path: &Path, entry: &Entry) -> io::Result<Named> {
        let live = Mutex::new(bind(path, entry.mode, entry.group)?);
        Ok(Named { path: path.to_owned(), live })
    }

    /// Lets those reach it who may by this entry. It is made again if its file is gone.
    ///
    /// # Errors
    /// Those of [`Named::bind`].
    pub(super) fn admit(&self, entry: &Entry) -> io::Result<()> {
        let mut live = self.live();
        if identity(&self.path) != live.file {
            *live = bind(&self.path, entry.mode, entry.group)?;
            return Ok(());
        }
        let group = entry.group.or(live.usual_group.filter(|_| live.group.is_some()));
        (live.mode, live.group) = (entry.mode, entry.group);
        admit(&self.path, entry.mode, group)
    }

    /// Makes it again if its file is gone. Says whether it was.
    ///
    /// # Errors
    /// Those of [`Named::bind`].
    pub(super) fn mend(&self) -> io::Result<bool> {
        let mut live = self.live();
        let is_gone = identity(&self.path) != live.file;
        if is_gone {
            *live = bind(&self.path, live.mode, live.group)?;
        }
        Ok(is_gone)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<UnixStream>> {
        self.live().socket.poll_accept(context).map_ok(|(stream, _)| stream)
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let file = self.live().file;
        if file.is_some() && identity(&self.path) == file {
            // One that stays is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether a Unix socket is at a path.
///
/// # Errors
/// When something else is, which we never replace.
pub fn holds_socket(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "what is there is no socket"))
        }
        there => Ok(there.is_ok()),
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

fn bind(path: &Path, mode: u32, group: Option<u32>) -> io::Result<Live> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    if holds_socket(path)? && StdUnixStream::connect(path).is_err() {
        fs::remove_file(path)?;
    }
    let socket = StdUnixListener::bind(path)?;
    let usual_group = fs::symlink_metadata(path).ok().map(|meta| meta.gid());
    admit(path, mode, group)?;
    socket.set_nonblocking(true)?;
    let (socket, file) = (UnixListener::from_std(socket)?, identity(path));
    Ok(Live { socket, file, mode, group, usual_group })
}

fn admit(path: &Path, mode: u32, group: Option<u32>) -> io::Result<()> {
    if group.is_some() {
        chown(path, None, group)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}
