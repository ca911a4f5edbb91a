//! A real, private Postfix: its own configuration, queue and port, and no way out.
//!
//! Needs root, Postfix and its LMDB tables. Mail that it accepts is discarded.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::unistd::{User, geteuid};

use super::host::free_port;
use super::smtp::Session;

/// Longest wait for an answer of the server, and for its port to open.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// The services that a server needs to take a recipient; nothing is chrooted.
const SERVICES: &str = "\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
";

/// A running instance. Stopped and removed when dropped.
pub(crate) struct Postfix {
    directory: tempfile::TempDir,
    port: u16,
}

impl Postfix {
    /// What is missing on this host, if anything is.
    pub(crate) fn missing() -> Option<String> {
        if !geteuid().is_root() {
            return Some("only root can start Postfix".to_owned());
        }
        let maps = Command::new("postconf").arg("-m").output();
        match maps {
            Err(_) => Some("Postfix is not installed".to_owned()),
            Ok(output) if String::from_utf8_lossy(&output.stdout).contains("lmdb") => None,
            Ok(_) => Some("postfix-lmdb is not installed".to_owned()),
        }
    }

    /// Starts a server that asks `lmdb:<table>` about each recipient; the table must be there.
    pub(crate) fn start(table: &Path) -> Postfix {
        let table = table.display();
        Postfix::start_with(&format!(
            "smtpd_recipient_restrictions =
  check_recipient_access lmdb:{table}, permit_mynetworks, reject
"
        ))
    }

    /// Starts a server with these lines at the end of its `main.cf`.
    pub(crate) fn start_with(settings: &str) -> Postfix {
        let directory = tempfile::Builder::new().prefix("suppressd-postfix").tempdir_in("/tmp");
        let directory = directory.unwrap();
        let root = directory.path();
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["etc", "queue", "data"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        let user = User::from_name("postfix").unwrap().unwrap();
        chown(root.join("data"), Some(user.uid.as_raw()), None).unwrap();
        let port = free_port();
        let services = format!("127.0.0.1:{port} inet n - n - - smtpd\n{SERVICES}");
        fs::write(root.join("etc/master.cf"), services).unwrap();
        fs::write(root.join("etc/main.cf"), main_cf(root) + settings).unwrap();
        let postfix = Postfix { directory, port };
        let output = postfix.control("start");
        assert!(output.status.success(), "{output:?}\n{}", postfix.log());
        postfix.await_port();
        postfix
    }

    /// Compiles a text table to `<table>.lmdb`, as an administrator would.
    pub(crate) fn postmap(table: &Path) -> Output {
        Command::new("postmap").arg(format!("lmdb:{}", table.display())).output().unwrap()
    }

    /// Opens a session, and begins a message.
    pub(crate) fn session(&self) -> Session {
        Session::begin(self.port, "SMTPUTF8").unwrap()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("maillog")).unwrap_or_default()
    }

    fn control(&self, verb: &str) -> Output {
        let etc: PathBuf = self.directory.path().join("etc");
        Command::new("postfix").arg("-c").arg(etc).arg(verb).output().unwrap()
    }

    /// `postfix start` returns when the master runs; its port may open a moment later.
    fn await_port(&self) {
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(started.elapsed() < WAIT_MAX, "no server:\n{}", self.log());
            std::thread::yield_now();
        }
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _ = self.control("stop");
    }
}

fn main_cf(root: &Path) -> String {
    let root = root.display();
    format!(
        "compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
maillog_file = {root}/maillog
maillog_file_prefixes = {root}
inet_interfaces = loopback-only
inet_protocols = ipv4
myhostname = mta.test
mydestination =
mynetworks = 127.0.0.0/8
default_transport = discard:
relay_transport = discard:
local_transport = discard:
local_recipient_maps =
alias_maps =
alias_database =
disable_dns_lookups = yes
smtputf8_enable = yes
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 100000
smtpd_hard_error_limit = 100000
smtpd_relay_restrictions = permit_mynetworks, reject
"
    )
}
