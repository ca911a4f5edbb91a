//! Whether directories can be written in, and files given away.

use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, Gid, Group, Uid, access, getegid, geteuid, getgroups};

use super::unit::Unit;
use crate::config::{Problem, Weight};
use crate::{journal, store};

/// What the unit makes by itself, before it starts us.
const MADE: &[&str] = &["/var/lib/suppressd", "/run/suppressd"];

/// This host, as the user that this process is.
pub(super) struct Host {
    user: Uid,
    groups: Vec<Gid>,
    gives_files: bool,
}

impl Host {
    pub(super) fn new(unit: Option<&Unit>) -> Host {
        let mut groups = getgroups().unwrap_or_default();
        groups.push(getegid());
        let named = unit.into_iter().flat_map(Unit::groups);
        groups.extend(named.filter_map(|name| Some(Group::from_name(name).ok()??.gid)));
        Host { user: geteuid(), groups, gives_files: unit.is_none_or(Unit::gives_files) }
    }

    pub(super) fn is_root(&self) -> bool {
        self.user.is_root()
    }

    /// Only root gives files to others.
    pub(super) fn owner(
        &self,
        key: &str,
        name: Option<&str>,
        owner: Option<u32>,
    ) -> Option<Problem> {
        let owner = owner.filter(|owner| !self.user.is_root() && *owner != self.user.as_raw())?;
        let what = format!("user {} cannot give files to user {owner}", self.user);
        Some(Problem::late(key, name, what, "remove it, and use group and mode"))
    }

    /// Only a member of a group gives files to it.
    pub(super) fn group(
        &self,
        key: &str,
        name: Option<&str>,
        group: Option<u32>,
    ) -> Option<Problem> {
        let group = group?;
        if !self.user.is_root() && !self.groups.contains(&Gid::from_raw(group)) {
            let what = format!("user {} is not in group {group}", self.user);
            let hint = "add SupplementaryGroups= to the unit (systemctl edit suppressd)";
            return Some(Problem::late(key, name, what, hint));
        }
        if self.gives_files {
            return None;
        }
        let what = "the unit does not let suppressd give files away".to_owned();
        let hint = "add SystemCallFilter=@chown to it (systemctl edit suppressd)";
        let problem = Problem::late(key, name, what, hint);
        Some(Problem { weight: Weight::Warning, ..problem })
    }
}

/// What keeps us from making files in a directory, or from making it.
pub(super) fn directory(key: &str, name: Option<&str>, path: &Path) -> Option<Problem> {
    let (what, hint) = refusal(path)?;
    Some(Problem::late(key, name, what, hint))
}

/// Whether the file system that a directory is on, or will be, has as little room left as keeps
/// us from taking anything, or as wants a hand.
pub(super) fn room(key: &str, path: &Path) -> Option<Problem> {
    let room = path.ancestors().find_map(|at| store::room(at).ok())?;
    let what = format!("{} MiB are free for {}", room.free >> 20, path.display());
    let problem = |what, hint| Problem::late(key, None, what, hint);
    if room.free < journal::RESERVE {
        let what = format!("{what}: every notification would be refused with 503");
        let least = journal::RESERVE >> 20;
        return Some(problem(what, &format!("make room: {least} MiB are the least to begin with")));
    }
    let nearly = problem(what, "the disk is nearly full: make room, or set store.retention");
    room.is_nearly_gone().then_some(Problem { weight: Weight::Warning, ..nearly })
}

/// Whether others may do more with the state directory than go through it.
pub(super) fn open_to_others(key: &str, path: &Path) -> Option<Problem> {
    let what = format!("others can list {}, or change what is in it", path.display());
    let problem = Problem::late(key, None, what, "`chmod 751` it");
    let is_open = store::is_open_to_others(path);
    is_open.then_some(Problem { weight: Weight::Warning, ..problem })
}

/// Why no file can be made in a directory, and what to do.
fn refusal(path: &Path) -> Option<(String, &'static str)> {
    let mut at = path;
    loop {
        match at.metadata() {
            Ok(meta) if meta.is_dir() => break,
            Ok(_) => {
                let what = format!("{} is a file, and no directory", at.display());
                return Some((what, "choose another path"));
            }
            Err(error) if is_absent(&error) => at = super::folder(at),
            Err(error) => {
                let what = format!("cannot look into {}: {error}", at.display());
                return Some((what, "let suppressd's user enter the directories on the way"));
            }
        }
        if MADE.iter().any(|made| path.starts_with(made) && Path::new(made).starts_with(at)) {
            return None;
        }
    }
    let error = access(at, AccessFlags::W_OK | AccessFlags::X_OK).err()?;
    let hint = match error {
        Errno::EROFS => "the file system is read-only: choose another path",
        _ => "let the directory belong to suppressd's user",
    };
    Some((format!("cannot make files in {}: {}", at.display(), error.desc()), hint))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
