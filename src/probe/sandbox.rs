//! The files that the unit keeps from us, or from everybody else (systemd.exec(5), "Sandboxing").

use std::path::{Path, PathBuf};

use super::unit::Unit;
use crate::config::{Problem, Weight};

/// A directory in which we make what others are to find.
pub(super) struct Spot {
    pub(super) key: String,
    pub(super) name: Option<String>,
    pub(super) directory: PathBuf,
    /// Where it could be instead.
    pub(super) better: &'static str,
}

/// Settings that make directories which we may write in, and where those are.
const MADE: &[(&str, &str)] = &[
    ("StateDirectory", "/var/lib"),
    ("RuntimeDirectory", "/run"),
    ("CacheDirectory", "/var/cache"),
    ("LogsDirectory", "/var/log"),
];

const TEMPORARY: &[&str] = &["/tmp", "/var/tmp"];
const HOMES: &[&str] = &["/home", "/root", "/run/user"];

/// What no `ProtectSystem=` makes read-only.
const KERNELS: &[&str] = &["/dev", "/proc", "/sys"];

impl Unit {
    /// Why others would not find what we make there.
    pub(super) fn kept(&self, spot: &Spot) -> Option<Problem> {
        let directory = spot.directory.display();
        let spellings = [spot.directory.clone(), resolved(&spot.directory)];
        let is_in = |root: &Path| spellings.iter().any(|path| path.starts_with(root));
        let is_in_any = |roots: &[&str]| roots.iter().any(|root| is_in(Path::new(root)));
        let called = self.called();
        let elsewhere = || format!("choose another path, such as one in {}", spot.better);
        let (what, hint) = if self.named("BindPaths").iter().any(|path| is_in(path)) {
            return None;
        } else if self.is_on("PrivateTmp") && is_in_any(TEMPORARY) {
            (
                format!("{called} has a /tmp of its own: no other program sees {directory}"),
                elsewhere(),
            )
        } else if (self.is_on("ProtectHome") || self.last("ProtectHome") == Some("tmpfs"))
            && is_in_any(HOMES)
        {
            (format!("{called} hides {directory} from suppressd"), elsewhere())
        } else if is_in_any(&self.read_only()) && !self.writable().iter().any(|path| is_in(path)) {
            let what = format!("{called} does not let suppressd write in {directory}");
            (what, format!("add ReadWritePaths={directory} to it (systemctl edit suppressd)"))
        } else {
            return None;
        };
        let problem = Problem::late(&spot.key, spot.name.as_deref(), what, &hint);
        Some(Problem { weight: Weight::Warning, ..problem })
    }

    /// Below what nothing can be written unless it says so.
    fn read_only(&self) -> Vec<&'static str> {
        let homes = (self.last("ProtectHome") == Some("read-only")).then_some(HOMES);
        let system: &[_] = match self.last("ProtectSystem") {
            Some("strict") => &["/"],
            Some("full") => &["/usr", "/boot", "/efi", "/etc"],
            _ if self.is_on("ProtectSystem") => &["/usr", "/boot", "/efi"],
            _ => &[],
        };
        system.iter().chain(homes.into_iter().flatten()).copied().collect()
    }

    /// Where it lets us write all the same: what it makes, and what it names.
    fn writable(&self) -> Vec<PathBuf> {
        let made = MADE.iter().flat_map(|(key, root)| {
            let names = self.values(key).into_iter();
            names.map(move |name| Path::new(root).join(name.split(':').next().unwrap_or(name)))
        });
        let kernels = KERNELS.iter().map(PathBuf::from);
        made.chain(self.named("ReadWritePaths")).chain(kernels).collect()
    }

    /// The paths of a setting that is a list of them.
    fn named(&self, key: &str) -> Vec<PathBuf> {
        let values = self.values(key).into_iter();
        values.map(|path| path.trim_start_matches(['-', '+']).into()).collect()
    }

    fn is_on(&self, key: &str) -> bool {
        matches!(self.last(key), Some("yes" | "true" | "on" | "1" | "disconnected"))
    }
}

/// Where a path leads, as far as there is something.
fn resolved(path: &Path) -> PathBuf {
    let there = |at: &Path| Some(at.canonicalize().ok()?.join(path.strip_prefix(at).ok()?));
    path.ancestors().find_map(there).unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a directory under our unit with more lines: a part of it, `""` for nothing.
    const CASES: &[(&str, &str, &str)] = &[
        ("/var/lib/suppressd/export", "", ""),
        ("/var/lib/suppressd", "", ""),
        ("/run/suppressd", "", ""),
        ("/dev/shm/x", "", ""),
        ("/tmp", "", "a /tmp of its own"),
        ("/var/tmp/x", "", "a /tmp of its own"),
        ("/tmp/x", "ReadWritePaths=/tmp/x", "a /tmp of its own"),
        ("/tmp/x", "BindPaths=/tmp/x", ""),
        ("/tmp/x", "PrivateTmp=no\nReadWritePaths=/tmp", ""),
        ("/home/exim", "", "hides /home/exim"),
        ("/home/exim", "ReadWritePaths=/home/exim", "hides /home/exim"),
        ("/home/exim", "ProtectHome=read-only", "does not let suppressd write in /home/exim"),
        ("/home/exim", "ProtectHome=read-only\nReadWritePaths=/home", ""),
        ("/etc/postfix", "", "does not let suppressd write in /etc/postfix"),
        ("/etc/postfix", "ReadWritePaths=/a -/etc/postfix", ""),
        ("/etc/postfix", "ReadWritePaths=/etc/postfix\nReadWritePaths=", "does not let"),
        ("/etc/postfix", "ProtectSystem=full", "does not let"),
        ("/etc/postfix", "ProtectSystem=yes", ""),
        ("/srv/suppressd", "", "does not let suppressd write in /srv/suppressd"),
        ("/srv/suppressd", "ProtectSystem=no", ""),
        ("/var/log/suppressd", "", "does not let"),
        ("/var/log/suppressd", "LogsDirectory=suppressd:s", ""),
    ];

    #[test]
    fn paths_are_those_that_the_unit_leaves_us() {
        for (directory, more, word) in CASES {
            let (key, name) = ("export[1].path".to_owned(), None);
            let spot = Spot { key, name, directory: directory.into(), better: "/b" };
            let found = Unit::ours_with(&format!("\n[Service]\n{more}\n")).kept(&spot);
            let said = found.map(|problem| problem.what).unwrap_or_default();
            assert!(said.contains(word) && said.is_empty() == word.is_empty(), "{more}: {said}");
        }
    }
}
