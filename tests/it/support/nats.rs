//! NATS servers of a test's own, on loopback, one or three of them.
//!
//! The program is `nats-server` of the PATH, or what `SUPPRESSD_NATS_SERVER` names; `.ci/nats`
//! installs it.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::child::{Guarded, output};
use super::fleet::copy;
use super::wait_for;

/// How long a server may take to start, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why there is no server, if there is none.
pub(crate) fn missing() -> Option<String> {
    let works = Command::new(program()).arg("--version").output().is_ok();
    (!works).then(|| "nats-server is not installed: run .ci/nats".to_owned())
}

fn program() -> PathBuf {
    let named = std::env::var_os("SUPPRESSD_NATS_SERVER").map(PathBuf::from);
    let installed = Path::new("/opt/suppressd-nats/bin/nats-server");
    let installed = installed.exists().then(|| installed.to_owned());
    named.or(installed).unwrap_or_else(|| "nats-server".into())
}

/// A cluster.
pub(crate) struct Nats {
    dir: tempfile::TempDir,
    scheme: &'static str,
    servers: Vec<Server>,
}

struct Server {
    port: u16,
    config: PathBuf,
    child: Option<Guarded>,
}

impl Nats {
    /// Starts so many servers, which believe everybody.
    pub(crate) fn start(number: usize) -> Nats {
        Nats::with(number, "nats", "")
    }

    /// Starts so many, for URLs of that scheme, and with more in their configuration.
    pub(crate) fn with(number: usize, scheme: &'static str, more: &str) -> Nats {
        let dir = tempfile::tempdir().unwrap();
        let ports: Vec<(u16, u16)> = (0..number).map(|_| (free_port(), free_port())).collect();
        let routes: Vec<String> =
            ports.iter().map(|(_, route)| format!("nats://127.0.0.1:{route}")).collect();
        let mut servers = Vec::new();
        for (index, (port, route)) in ports.into_iter().enumerate() {
            let name = format!("n{}", index + 1);
            let store = dir.path().join(&name);
            let cluster = format!(
                "cluster {{ name: test, listen: \"127.0.0.1:{route}\", no_advertise: true, \
                 routes: [{}] }}\n",
                routes.join(", ")
            );
            let text = format!(
                "server_name: {name}\nlisten: \"127.0.0.1:{port}\"\n\
                 jetstream {{ store_dir: {store:?}, max_file_store: 8GB, sync_interval: always }}\n\
                 {}{more}",
                if number > 1 { cluster } else { String::new() }
            );
            let config = dir.path().join(format!("{name}.conf"));
            std::fs::write(&config, text).unwrap();
            servers.push(Server { port, config, child: None });
        }
        let mut nats = Nats { dir, scheme, servers };
        (0..number).for_each(|index| nats.begin(index));
        nats
    }

    /// Starts a server that was stopped, and waits until it listens.
    pub(crate) fn begin(&mut self, index: usize) {
        let server = &mut self.servers[index];
        let mut command = Command::new(program());
        command.arg("-c").arg(&server.config).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        server.child = Some(Guarded::spawn(&mut command));
        let port = server.port;
        let listens = || TcpStream::connect(("127.0.0.1", port)).ok().map(drop);
        wait_for("the server", PATIENCE, listens);
    }

    /// Ends a server the way `kill -9` does.
    pub(crate) fn kill(&mut self, index: usize) {
        drop(self.servers[index].child.take());
    }

    /// Sends a server a signal: after `STOP` it answers nobody until `CONT`, as if it was cut off.
    pub(crate) fn signal(&self, index: usize, name: &str) {
        let Some(child) = &self.servers[index].child else { return };
        let mut kill = Command::new("kill");
        assert!(output(kill.args(["-s", name, &child.id().to_string()])).status.success());
    }

    /// Takes a stopped server's disk away.
    pub(crate) fn wipe(&self, index: usize) {
        std::fs::remove_dir_all(self.store(index)).unwrap();
    }

    /// Keeps a copy of a stopped server's disk.
    pub(crate) fn copy_store(&self, index: usize, to: &Path) {
        copy(&self.store(index), to);
    }

    /// Puts such a copy back: what was written since is lost, as by a power cut.
    pub(crate) fn put_back(&self, index: usize, from: &Path) {
        self.wipe(index);
        copy(from, &self.store(index));
    }

    fn store(&self, index: usize) -> PathBuf {
        self.dir.path().join(format!("n{}", index + 1))
    }

    /// Deletes the stream, as an operator's slip would; says whether it was there.
    pub(crate) fn delete_stream(&self, name: &str) -> bool {
        let deleted = |server: &Server| ask(server.port, &format!("$JS.API.STREAM.DELETE.{name}"));
        let answer = self.servers.iter().find_map(|server| deleted(server).ok());
        answer.is_some_and(|answer| answer.contains("\"success\":true"))
    }

    /// Their ports.
    pub(crate) fn ports(&self) -> Vec<u16> {
        self.servers.iter().map(|server| server.port).collect()
    }

    /// How many there are.
    pub(crate) fn number(&self) -> usize {
        self.servers.len()
    }

    /// The list of their URLs, as the configuration has it.
    pub(crate) fn urls(&self) -> String {
        let url = |server: &Server| format!("\"{}://127.0.0.1:{}\"", self.scheme, server.port);
        format!("[{}]", self.servers.iter().map(url).collect::<Vec<_>>().join(", "))
    }
}

/// Asks a server something without a body: the answer's text.
fn ask(port: u16, subject: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let text = format!(
        "CONNECT {{\"verbose\":false}}\r\nSUB _INBOX.test 1\r\nPUB {subject} _INBOX.test 0\r\n\r\n"
    );
    stream.write_all(text.as_bytes())?;
    let mut lines = BufReader::new(stream).lines();
    // What comes behind the line that begins an answer is its text.
    while !lines.next().ok_or(std::io::ErrorKind::UnexpectedEof)??.starts_with("MSG ") {}
    lines.next().ok_or(std::io::ErrorKind::UnexpectedEof)?
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
