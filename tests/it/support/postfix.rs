//! A real, private Postfix: its own configuration, queue and port, and no way out.
//!
//! Needs root, Postfix and its LMDB tables. Mail that it accepts is discarded.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
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
    submission: u16,
}

impl Postfix {
    /// What is missing on this host, if anything is.
    pub(crate) fn missing() -> Option<String> {
        Postfix::missing_with("lmdb")
    }

    /// The same, with tables of that type.
    pub(crate) fn missing_with(table: &str) -> Option<String> {
        if !geteuid().is_root() {
            return Some("only root can start Postfix".to_owned());
        }
        let maps = Command::new("postconf").arg("-m").output();
        match maps {
            Err(_) => Some("Postfix is not installed".to_owned()),
            Ok(output) if String::from_utf8_lossy(&output.stdout).contains(table) => None,
            Ok(_) => Some(format!("postfix-{table} is not installed")),
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

    /// Starts a server with more lines in `main.cf`. The tables that they name must be there.
    pub(crate) fn start_with(lines: &str) -> Postfix {
        let directory = tempfile::Builder::new().prefix("suppressd-postfix").tempdir_in("/tmp");
        let directory = directory.unwrap();
        let root = directory.path();
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["etc", "queue", "data"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        let user = User::from_name("postfix").unwrap().unwrap();
        chown(root.join("data"), Some(user.uid.as_raw()), None).unwrap();
        let (port, submission) = (free_port(), free_port());
        let services = format!(
            "127.0.0.1:{port} inet n - n - - smtpd
127.0.0.1:{submission} inet n - n - - smtpd
  -o smtpd_recipient_restrictions=permit_mynetworks,reject
{SERVICES}"
        );
        fs::write(root.join("etc/master.cf"), services).unwrap();
        fs::write(root.join("etc/main.cf"), main_cf(root) + lines).unwrap();
        let postfix = Postfix { directory, port, submission };
        let output = postfix.control("start");
        assert!(output.status.success(), "{output:?}\n{}", postfix.log());
        postfix.await_port();
        postfix
    }

    /// Compiles a text table to `<table>.lmdb`, as an administrator would.
    pub(crate) fn postmap(table: &Path) -> Output {
        Command::new("postmap").arg(format!("lmdb:{}", table.display())).output().unwrap()
    }

    /// What Postfix's own tool finds under each of these keys, in order of the keys it finds.
    pub(crate) fn query(map: &str, keys: &str) -> String {
        let mut child = Command::new("postmap")
            .args(["-q", "-", map])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let keys = keys.to_owned();
        let writer = std::thread::spawn(move || stdin.write_all(keys.as_bytes()));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        // 1: a key was not found.
        assert!(matches!(output.status.code(), Some(0 | 1)), "{map}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Submits a message by sendmail(1), from this sender to this recipient.
    pub(crate) fn sendmail(&self, from: &str, to: &str) {
        let mut command = Command::new("sendmail");
        command.arg("-C").arg(self.etc()).args(["-f", from, to]).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"Subject: test\n\ntext\n").unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// Tries again what is in the queue.
    pub(crate) fn flush(&self) {
        let output = Command::new("postqueue").arg("-c").arg(self.etc()).arg("-f").output();
        assert!(output.unwrap().status.success());
    }

    /// Waits until the log has a delivery to this recipient with that outcome, such as
    /// `status=sent`; gives its line.
    pub(crate) fn until_delivered(&self, to: &str, outcome: &str) -> String {
        let (to, what) = (format!("to=<{to}>"), format!("{outcome} of {to}"));
        super::wait_for(&what, WAIT_MAX, || {
            let log = self.log();
            let line = log.lines().find(|line| line.contains(&to) && line.contains(outcome));
            line.map(str::to_owned)
        })
    }

    /// Opens a session, and begins a message.
    pub(crate) fn session(&self) -> Session {
        Session::begin(self.port, "SMTPUTF8").unwrap()
    }

    /// The same, with the service whose own restrictions know nothing of our tables.
    pub(crate) fn submission(&self) -> Session {
        Session::begin(self.submission, "SMTPUTF8").unwrap()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("maillog")).unwrap_or_default()
    }

    fn etc(&self) -> PathBuf {
        self.directory.path().join("etc")
    }

    fn control(&self, verb: &str) -> Output {
        Command::new("postfix").arg("-c").arg(self.etc()).arg(verb).output().unwrap()
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
