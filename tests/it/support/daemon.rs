//! The daemon as a process, in a directory of its own.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use super::child::{Guarded, output};
use super::client::{self, SECRET};
use super::wait_for;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_suppressd");

/// The same, or another build of it that `SUPPRESSD` names, for tests that measure.
pub(crate) fn program() -> OsString {
    std::env::var_os("SUPPRESSD").unwrap_or_else(|| PROGRAM.into())
}

/// How long a start or a stop may take, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with a configuration, in which the daemon can be started again and again.
pub(crate) struct Home {
    pub(crate) dir: PathBuf,
    _temporary: tempfile::TempDir,
}

/// The source `test`.
pub(crate) fn source() -> String {
    format!(
        "[[source]]\nname = \"test\"\nprovider = \"generic\"\n\
         webhook = {{ secret = \"{SECRET}\" }}\n"
    )
}

/// A running daemon. It is killed when it is dropped; then its log must not name a recipient.
pub(crate) struct Daemon {
    child: Guarded,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    config: PathBuf,
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Home {
    /// With loopback listeners on free ports, a source `test`, an export, and `more`.
    pub(crate) fn new(more: &str) -> Home {
        Home::bare(&format!("{}{more}", source()))
    }

    /// With loopback listeners on free ports, an export, and `more`; no source of its own.
    pub(crate) fn bare(more: &str) -> Home {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().to_owned();
        let home = Home { dir, _temporary: temporary };
        home.configure(more);
        home
    }

    /// Writes the configuration again, with other additions.
    pub(crate) fn configure(&self, more: &str) {
        self.configure_http("", more);
    }

    /// Writes the configuration again, with other keys of `[http]` and other additions.
    pub(crate) fn configure_http(&self, http: &str, more: &str) {
        let text = format!(
            "[store]\npath = \"{0}/state\"\n[http]\nlisten = \"127.0.0.1:0\"\n{http}\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n[control]\nsocket = \"{0}/control.sock\"\n\
             [[export]]\nname = \"postfix\"\nformat = \"postfix-access\"\n\
             path = \"{0}/access\"\nmin_interval = \"100ms\"\n{more}",
            self.dir.display()
        );
        std::fs::write(self.config(), text).unwrap();
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.join("config.toml")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// The exported file, empty if it is not there.
    pub(crate) fn export(&self) -> String {
        std::fs::read_to_string(self.dir.join("access")).unwrap_or_default()
    }

    /// Starts the daemon and waits until its listeners are bound.
    pub(crate) fn start(&self) -> Daemon {
        self.start_by(self.run())
    }

    /// The command that runs the daemon.
    pub(crate) fn run(&self) -> Command {
        let mut command = Command::new(program());
        command.args(["run", "-c"]).arg(self.config());
        command
    }

    /// Starts the daemon by a command that runs it.
    pub(crate) fn start_by(&self, mut command: Command) -> Daemon {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        self.watch(command)
    }

    /// Starts the daemon with at most two sockets that are bound already, each with the name that
    /// its unit would give it.
    ///
    /// systemd passes them from descriptor 3 on. Here they come from 0 on, since nothing else can
    /// be placed in a child without a program in between.
    pub(crate) fn start_passing(&self, sockets: &[(&str, OwnedFd)]) -> Daemon {
        let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
        let mut passed = sockets.iter().map(|(_, socket)| socket.try_clone().unwrap().into());
        let mut command = self.run();
        command.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDS_FIRST_FD", "0");
        command.env("LISTEN_FDNAMES", names.join(":"));
        command.stdin(passed.next().unwrap_or_else(Stdio::null));
        command.stdout(passed.next().unwrap_or_else(Stdio::null));
        assert!(passed.next().is_none(), "two at most");
        self.watch(command)
    }

    /// Starts the daemon and reads its log until it has bound its listeners.
    fn watch(&self, mut command: Command) -> Daemon {
        command.env("SUPPRESSD_LOG", "info").env_remove("JOURNAL_STREAM");
        let mut child = Guarded::spawn(command.stderr(Stdio::piped()));
        let log = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let sink = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                sink.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let mut bound = |listener: &str| {
            wait_for(listener, PATIENCE, || {
                let text = log.lock().unwrap().clone();
                if let Ok(Some(status)) = child.try_wait() {
                    panic!("the daemon ended with {status}:\n{text}");
                }
                let mark = format!("listening listener=\"{listener}\" on=");
                let rest = text.split_once(&mark)?.1;
                let on = rest.split_whitespace().next()?;
                // A Unix socket has no such address, and its test knows the path.
                Some(on.parse().unwrap_or(([0; 4], 0).into()))
            })
        };
        let (http, admin) = (bound("http"), bound("admin"));
        let (reader, config) = (Some(reader), self.config());
        Daemon { child, log, reader, config, http, admin }
    }
}

impl Daemon {
    /// Waits until it says that it is ready.
    pub(crate) fn ready(self) -> Daemon {
        wait_for("readiness", PATIENCE, || (self.readyz().status == 200).then_some(()));
        self
    }

    /// The word for its health: `ready`, `degraded` or `not ready`.
    pub(crate) fn health(&self) -> String {
        self.readyz().body.lines().next().unwrap_or_default().to_owned()
    }

    /// Waits until nothing needs a hand.
    pub(crate) fn until_well(&self) {
        wait_for("health", PATIENCE, || (self.health() == "ready").then_some(()));
    }

    pub(crate) fn readyz(&self) -> client::Answer {
        client::request(self.admin, "GET", "/readyz", &[], b"")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Where a listener on TCP is, by its name in the log.
    pub(crate) fn listening(&self, name: &str) -> SocketAddr {
        let mark = format!("listening listener=\"{name}\" on=");
        wait_for(name, PATIENCE, || {
            let log = self.log();
            log.split_once(&mark)?.1.split_whitespace().next()?.parse().ok()
        })
    }

    /// What the private listener says of an address: the answer's status.
    pub(crate) fn looked_up(&self, address: &str) -> u16 {
        let encoded: String = address.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let path = format!("/v1/suppressions/{encoded}");
        client::request(self.admin, "GET", &path, &[], b"").status
    }

    /// Waits until an address is suppressed, and with it all that was reported before.
    pub(crate) fn until_suppressed(&self, address: &str) {
        let found = || (self.looked_up(address) == 200).then_some(());
        wait_for("the suppression", PATIENCE, found);
    }

    pub(crate) fn control_socket(&self) -> PathBuf {
        self.config.with_file_name("control.sock")
    }

    /// Whether a command on the control socket is carried out, without the program's start.
    pub(crate) fn control(&self, line: &str) -> bool {
        let mut stream = UnixStream::connect(self.control_socket()).unwrap();
        stream.write_all(line.as_bytes()).unwrap();
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        lines.last().is_some_and(|line| line.contains("\"done\""))
    }

    /// Runs a verb against it.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        cli(&self.config, arguments)
    }

    pub(crate) fn configuration(&self) -> &Path {
        &self.config
    }

    /// The rows that a verb prints with `--json`.
    pub(crate) fn rows(&self, arguments: &[&str]) -> Vec<Value> {
        self.answer(arguments).1
    }

    /// A verb's exit status, and the rows that it prints with `--json`.
    pub(crate) fn answer(&self, arguments: &[&str]) -> (i32, Vec<Value>) {
        let output = self.cli(&[arguments, &["--json"]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        let rows = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (output.status.code().unwrap(), rows)
    }

    /// What `status` has of a source.
    pub(crate) fn source(&self, name: &str) -> Value {
        let status = self.rows(&["status"]).remove(0);
        let sources = status["sources"].as_array().unwrap();
        sources.iter().find(|source| source["name"] == name).unwrap().clone()
    }

    /// What `status` has of the export.
    pub(crate) fn exported(&self) -> Value {
        self.rows(&["status"])[0]["exports"][0].clone()
    }

    /// The value of a series of `/metrics`, if it is there.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        let text = client::request(self.admin, "GET", "/metrics", &[], b"").body;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    }

    /// Waits until the log has a text.
    pub(crate) fn until_logged(&self, text: &str) {
        wait_for(text, PATIENCE, || self.log().contains(text).then_some(()));
    }

    /// Ends it the way `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and waits until it has; it must end well.
    pub(crate) fn stop(mut self) -> String {
        self.signal("TERM");
        let status = self.ended();
        assert!(status.success(), "{status}\n{}", self.log());
        self.log()
    }

    /// Waits until it has ended, and its log is whole.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let status = self.child.ended();
        self.reader.take().map(JoinHandle::join).transpose().unwrap();
        status
    }

    pub(crate) fn signal(&self, name: &str) {
        self.child.signal(name);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Nothing else is known of a daemon that a failed test leaves behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log();
        if std::thread::panicking() {
            eprintln!("--- log of the daemon\n{log}");
            return;
        }
        // Addresses are personal data, and bodies hold them.
        for private in ["@", "\"recipient", "recipient\\\""] {
            assert!(!log.contains(private), "{private} in the log:\n{log}");
        }
    }
}

/// Runs a verb with a configuration.
pub(crate) fn cli(config: &Path, arguments: &[&str]) -> Output {
    output(Command::new(program()).args(arguments).arg("-c").arg(config))
}
