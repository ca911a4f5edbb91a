//! The paths that the configuration names: no two things may have one, and none is the store's.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use nix::libc::ELOOP;

use super::section::{Field, obstacle, shown};

/// The paths that are taken.
pub(super) struct Places {
    /// Where each leads, and what it is.
    taken: BTreeMap<PathBuf, String>,
    /// What the daemon keeps what it knows in, and the directory that they are in.
    state: Vec<PathBuf>,
    store: Option<PathBuf>,
}

impl Places {
    /// `store`: the state directory; `others`: the paths of what is no file of rows or events.
    pub(super) fn new(
        store: Option<&Path>,
        others: impl IntoIterator<Item = (PathBuf, String)>,
    ) -> Places {
        let below = [
            "acme",
            "base",
            "checkpoint",
            "forgetting",
            "forgotten",
            "index",
            "journal",
            "quarantine",
            "sled",
        ];
        let state = |store: &Path| below.iter().map(|name| plain(&store.join(name))).collect();
        Places {
            taken: others.into_iter().map(|(path, what)| (plain(&path), what)).collect(),
            state: store.map(state).unwrap_or_default(),
            store: store.map(plain),
        }
    }

    /// Takes a path for a file that we write; `false`, with a problem, if it cannot have it.
    /// `what` it is from now on; `becomes`: what writing does to the file that is there.
    pub(super) fn take(
        &mut self,
        field: &Field<'_>,
        path: &Path,
        what: String,
        becomes: &str,
    ) -> bool {
        let (text, place) = (shown(&path.to_string_lossy()), plain(path));
        let beside = "choose another directory, such as \"export\" beside them";
        if let Some(own) = self.state.iter().find(|own| place.starts_with(own)) {
            let what =
                if *own == place { "the store's own" } else { "in a directory of the store" };
            field.problem(format!("{text} is {what}"), beside);
            return false;
        }
        if is_beside_an_export(&place) {
            let what = format!("{text} has the name of what suppressd puts beside an export");
            field.problem(what, "choose a name without \".suppressd-\"");
            return false;
        }
        if let Some(other) = self.taken.get(&place) {
            field.problem(format!("{text} is {other}"), "give each a file of its own");
            return false;
        }
        if !is_fit(field, path, &place, becomes) {
            return false;
        }
        if self.store.is_some() && self.store.as_deref() == place.parent() {
            field.warn(format!("{text} is among the store's own directories"), beside);
        }
        self.missing_directory(field, path);
        self.taken.insert(place, what);
        true
    }

    /// A directory that is not there is made, if that is allowed; a misspelt one is, too.
    fn missing_directory(&self, field: &Field<'_>, path: &Path) {
        let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
            return;
        };
        if let Some(what) = obstacle(directory) {
            return field.warn(what, IN_THE_WAY);
        }
        let ours = self.store.as_ref().is_some_and(|store| plain(directory).starts_with(store));
        if !ours && !directory.is_dir() {
            let what = format!("{} is no directory", shown(&directory.to_string_lossy()));
            field.warn(what, "it will be made if suppressd may; is it spelled right?");
        }
    }
}

/// The remedy for what stands where a file of ours is to be. It may have come by itself and may go,
/// so it is told, and keeps nothing else from being run.
pub(super) const IN_THE_WAY: &str = "choose another path, or remove it if nothing needs it";

/// Whether a path is that of a draft of an export's file, or of a note on it.
fn is_beside_an_export(place: &Path) -> bool {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') && name.contains(".suppressd-")
}

/// Where the kernel shows what are no files.
const NO_FILES: &[&str] = &["/dev", "/proc", "/sys"];

/// Whether no file can be made at a path, since the kernel has its own there; says so.
pub(super) fn is_kernels(field: &Field<'_>, path: &Path) -> bool {
    let is_kernels = is_in_kernels(&plain(path));
    if is_kernels {
        let text = shown(&path.to_string_lossy());
        field.problem(format!("{text} is where the kernel has its own"), "choose another path");
    }
    is_kernels
}

fn is_in_kernels(place: &Path) -> bool {
    let is_in = |root: &&str| place.starts_with(root) && !place.starts_with("/dev/shm");
    NO_FILES.iter().any(is_in)
}

/// Whether a file of ours can have that path; says where it had better not.
fn is_fit(field: &Field<'_>, path: &Path, place: &Path, becomes: &str) -> bool {
    let text = shown(&path.to_string_lossy());
    // Where a link leads, another hand may have changed.
    if path.is_symlink() && is_in_kernels(place) {
        field.warn(format!("{text} is a link to where the kernel has its own"), IN_THE_WAY);
        return true;
    }
    if is_kernels(field, path) {
        return false;
    }
    match path.metadata() {
        Err(error) if error.raw_os_error() == Some(ELOOP) => {
            field.warn(format!("{text} is a link in a circle"), IN_THE_WAY);
        }
        Ok(_) if place.parent() == Some(Path::new("/etc")) => {
            let what = format!("{text} is among the system's own files, and would be {becomes}");
            field.warn(what, "choose a directory of the MTA's, or the state directory's export");
        }
        _ => {}
    }
    true
}

/// Where a path leads, however it is spelled: through links, as far as there is something.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components().filter(|part| *part != Component::CurDir) {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
            plain = led(plain);
        }
    }
    plain
}

/// Most links that lead to a file that is not there yet.
const LINKS_MAX: usize = 8;

/// Where one path leads, whether there is something or not.
fn led(mut path: PathBuf) -> PathBuf {
    for _ in 0..LINKS_MAX {
        if let Ok(there) = path.canonicalize() {
            return there;
        }
        let Ok(target) = path.read_link() else { break };
        path.pop();
        path.push(target);
    }
    path
}
