//! What the unit allows, as its file and its drop-ins say (systemd.exec(5), systemd.unit(5)).

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::User;

use super::Place;
use crate::config::{Problem, Weight};
use crate::http;
use crate::listen::{Listen, untaken};

/// The unit that we come with.
const OURS: &str = include_str!("../../systemd/suppressd.service");

/// Where systemd looks for units, the first first.
const FOLDERS: &[&str] = &[
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
];

/// The user of the unit unless it names another.
const USER: &str = "suppressd";

/// The lines of a unit's `[Service]`, drop-ins behind it.
pub(super) struct Unit {
    lines: Vec<(String, String)>,
    installed: bool,
}

/// The user that the unit runs as, if this host has it.
pub(super) fn user() -> Option<User> {
    let unit = Unit::installed();
    let named = unit.as_ref().and_then(|unit| unit.last("User"));
    User::from_name(named.unwrap_or(USER)).ok().flatten()
}

/// Programs that do what they are for by root alone, or that have no way to root under a unit
/// with `NoNewPrivileges=`.
const ROOTS: &[&str] = &["doas", "postfix", "postsuper", "service", "su", "sudo", "systemctl"];

/// What the unit says of memory (systemd.resource-control(5)).
const BOUNDS: &[&str] = &["MemoryHigh", "MemoryMax"];

/// What to do without them.
pub(super) const ROOTS_HINT: &str =
    "use table = \"lmdb\", which Postfix looks at again without a reload";

/// What `systemctl enable` makes of the socket unit.
const ENABLED: &str = "/etc/systemd/system/sockets.target.wants/suppressd.socket";

/// That the socket unit is on, and none of the places takes what systemd passes.
pub(super) fn untaken_socket(places: &[Place]) -> Option<Problem> {
    untaken_by(places, Path::new(ENABLED))
}

fn untaken_by(places: &[Place], enabled: &Path) -> Option<Problem> {
    let is_taken = places.iter().any(|place| place.entry.listen == Listen::Systemd);
    if is_taken || fs::symlink_metadata(enabled).is_err() {
        return None;
    }
    let what = "suppressd.socket is enabled, and nothing takes its port: the start fails";
    let problem = Problem::late("http.listen", None, what.to_owned(), &untaken("http"));
    Some(Problem { weight: Weight::Warning, ..problem })
}

impl Unit {
    /// The one of this host, if there is one.
    pub(super) fn installed() -> Option<Unit> {
        let file = |folder: &&str| fs::read_to_string(Path::new(folder).join("suppressd.service"));
        let mut text = FOLDERS.iter().find_map(|folder| file(folder).ok())?;
        for folder in FOLDERS.iter().rev() {
            text.push_str(&drop_ins(&Path::new(folder).join("suppressd.service.d")));
        }
        Some(Unit { lines: settings(&text), installed: true })
    }

    /// The one of this host, else the one that we come with.
    pub(super) fn installed_or_ours() -> Unit {
        let ours = || Unit { lines: settings(OURS), installed: false };
        Unit::installed().unwrap_or_else(ours)
    }

    /// What problems call it.
    pub(super) fn called(&self) -> &'static str {
        if self.installed { "the unit" } else { "the unit that suppressd comes with" }
    }

    /// The places that it does not let us bind.
    pub(super) fn forbidden(&self, places: &[Place]) -> Vec<Problem> {
        if !self.values("SocketBindDeny").contains(&"any") {
            return Vec::new();
        }
        let forbidden = |place: &&Place| match &place.entry.listen {
            Listen::Tcp(address) => address.port() != 0 && !self.binds(address.port()),
            Listen::Unix(_) | Listen::Systemd => false,
        };
        let problem = |place: &Place| {
            let Listen::Tcp(address) = &place.entry.listen else { return None };
            let port = address.port();
            let what = format!("{} does not let suppressd bind port {port}", self.called());
            let hint = format!("add SocketBindAllow=tcp:{port} to it (systemctl edit suppressd)");
            let problem = Problem::late(&place.key, None, what, &hint);
            Some(Problem { weight: Weight::Warning, ..problem })
        };
        places.iter().filter(forbidden).filter_map(problem).collect()
    }

    /// That what may be received and wait leaves too little for all else of the memory that it
    /// gives us.
    pub(super) fn exceeded(&self, http: &http::Settings) -> Option<Problem> {
        let bounds = BOUNDS.iter().filter_map(|key| Some((key, self.last(key)?)));
        let bounds = bounds.filter_map(|(key, text)| Some((bytes(text)?, key, text)));
        let (bound, key, text) = bounds.min()?;
        let wanted = http.memory as u64;
        if wanted <= bound / 2 {
            return None;
        }
        let (wanted, body) = (wanted >> 20, http.body_max >> 20);
        let what = format!(
            "is {wanted} MiB with a body_max of {body} MiB, and {} has {key}={text} for all",
            self.called()
        );
        let hint = format!(
            "use a smaller body_max or memory, or raise {} (systemctl edit suppressd)",
            BOUNDS.join("= and ") + "="
        );
        let problem = Problem::late("http.memory", None, what, &hint);
        Some(Problem { weight: Weight::Warning, ..problem })
    }

    /// Why the command of an export cannot work there, which its key names.
    pub(super) fn refused(&self, key: &str, name: &str, command: &[String]) -> Option<Problem> {
        let program = Path::new(command.first()?).file_name()?.to_str()?;
        let user = self.last("User").unwrap_or(USER);
        if matches!(user, "root" | "0") || !ROOTS.contains(&program) {
            return None;
        }
        let what = format!("{program} needs root, and the user of the unit is {user}");
        let problem = Problem::late(key, Some(name), what, ROOTS_HINT);
        Some(Problem { weight: Weight::Warning, ..problem })
    }

    /// The groups that it adds to the user's own.
    pub(super) fn groups(&self) -> impl Iterator<Item = &str> {
        self.values("SupplementaryGroups").into_iter()
    }

    /// Whether it lets us change the group of a file.
    pub(super) fn gives_files(&self) -> bool {
        let filters = self.values("SystemCallFilter");
        filters.is_empty() || filters.contains(&"@chown")
    }

    fn binds(&self, port: u16) -> bool {
        self.values("SocketBindAllow").iter().any(|rule| {
            let ports = rule.rsplit(':').next().unwrap_or_default();
            let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
            let within = |first: u16, last: u16| (first..=last).contains(&port);
            ports == "any"
                || rule.ends_with("tcp")
                || first.parse().ok().zip(last.parse().ok()).is_some_and(|(f, l)| within(f, l))
        })
    }

    /// The words of a setting that is a list; one that is empty begins it anew.
    pub(super) fn values(&self, key: &str) -> Vec<&str> {
        let mut values = Vec::new();
        for (_, value) in self.lines.iter().filter(|(name, _)| name == key) {
            if value.is_empty() {
                values.clear();
            }
            values.extend(value.split_whitespace());
        }
        values
    }

    /// The value of a setting that is none: the last.
    pub(super) fn last(&self, key: &str) -> Option<&str> {
        self.lines.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// The text of all drop-ins of a folder, in their order.
fn drop_ins(folder: &Path) -> String {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    paths.sort();
    let text = |path: &PathBuf| format!("\n{}", fs::read_to_string(path).unwrap_or_default());
    paths.iter().map(text).collect()
}

/// A size as systemd writes it. `None`: it is a part of the host's memory, or no bound.
fn bytes(text: &str) -> Option<u64> {
    let (number, shift) = match text.char_indices().last()? {
        (at, 'K') => (&text[..at], 10),
        (at, 'M') => (&text[..at], 20),
        (at, 'G') => (&text[..at], 30),
        (at, 'T') => (&text[..at], 40),
        _ => (text, 0),
    };
    number.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn settings(text: &str) -> Vec<(String, String)> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';', '[']));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::Entry;

    impl Unit {
        /// Ours with more lines, as it is installed.
        pub(in super::super) fn ours_with(more: &str) -> Unit {
            Unit { lines: settings(&format!("{OURS}{more}")), installed: true }
        }
    }

    fn place(listen: &str) -> Place {
        let listen = Listen::parse(listen).unwrap();
        let entry = Entry { listen, mode: 0o660, group: None };
        Place { key: "http.listen".to_owned(), entry }
    }

    #[test]
    fn a_socket_unit_that_nothing_takes_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let enabled = directory.path().join("suppressd.socket");
        let told = |listen| untaken_by(&[place(listen)], &enabled);
        assert!(told("127.0.0.1:8099").is_none(), "it is not enabled");
        fs::write(&enabled, "").unwrap();
        let hint = told("127.0.0.1:8099").unwrap().hint;
        assert!(hint.contains("systemctl disable --now suppressd.socket"), "{hint}");
        assert!(told("systemd").is_none());
    }

    #[test]
    fn ports_are_those_that_the_unit_names() {
        for (listen, more, allowed) in [
            ("127.0.0.1:8025", "", true),
            ("127.0.0.1:10033", "", true),
            ("127.0.0.1:10035", "", false),
            ("127.0.0.1:0", "", true),
            ("unix:/x", "", true),
            ("systemd", "", true),
            ("0.0.0.0:443", "", false),
            ("0.0.0.0:443", "\n[Service]\nSocketBindAllow=tcp:443\n", true),
            ("0.0.0.0:443", "\nSocketBindAllow=ipv4:tcp:400-500\n", true),
            ("0.0.0.0:443", "\nSocketBindDeny=\n", true),
            ("127.0.0.1:8025", "\nSocketBindAllow=\n", false),
        ] {
            let found = Unit::ours_with(more).forbidden(&[place(listen)]);
            assert_eq!(found.is_empty(), allowed, "{listen} {more}: {found:?}");
        }
    }

    #[test]
    fn what_needs_root_is_told_of_a_unit_of_another_user() {
        for (program, more, works) in [
            ("postfix", "", false),
            ("/usr/sbin/postfix", "", false),
            ("/usr/bin/sudo", "", false),
            ("/usr/sbin/postfix", "\nUser=root\n", true),
            ("/usr/sbin/postmap", "", true),
        ] {
            let found =
                Unit::ours_with(more).refused("export[1].command", "x", &[program.to_owned()]);
            assert_eq!(found.is_none(), works, "{program} {more}: {found:?}");
        }
        assert!(Unit::ours_with("").refused("export[1].command", "x", &[]).is_none());
    }

    #[test]
    fn sizes_are_read_as_systemd_does() {
        for (text, size) in [
            ("2G", Some(2 << 30)),
            ("512M", Some(512 << 20)),
            ("4096", Some(4096)),
            ("infinity", None),
            ("80%", None),
            ("", None),
        ] {
            assert_eq!(bytes(text), size, "{text}");
        }
    }

    #[test]
    fn lists_grow_and_begin_anew() {
        let unit = |text: &str| Unit { lines: settings(text), installed: true };
        let lines = "ReadWritePaths=/a -/b\n#ReadWritePaths=/c\n";
        assert_eq!(unit(lines).values("ReadWritePaths"), ["/a", "-/b"]);
        let lines = format!("{lines}ReadWritePaths=\nReadWritePaths= /d \\\n /e\n");
        assert_eq!(unit(&lines).values("ReadWritePaths"), ["/d", "/e"]);
        assert!(unit("").gives_files(), "without a filter nothing is kept from us");
        assert!(unit(OURS).gives_files());
        assert!(!unit("SystemCallFilter=@system-service").gives_files());
    }
}
