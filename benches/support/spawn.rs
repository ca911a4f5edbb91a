//! The daemon as a process, with a source that the load is signed for.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::load::{Connection, SECRET};

/// How often it is asked whether it is ready, and how long it may take.
const AGAIN: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(3600);

/// A running daemon: its process, where it takes events, and where it is asked.
pub(crate) struct Spawned {
    pub(crate) child: Child,
    pub(crate) hooks: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// Writes the configuration of a daemon that keeps everything in a directory.
pub(crate) fn configure(directory: &Path, more: &str) -> Result<PathBuf> {
    let text = format!(
        "[store]\npath = \"{0}/state\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n[control]\nsocket = \"{0}/control.sock\"\n\
         [[source]]\nname = \"bench\"\nprovider = \"generic\"\n\
         webhook = {{ secret = \"{SECRET}\" }}\n{more}",
        directory.display()
    );
    let path = directory.join("config.toml");
    fs::write(&path, text)?;
    Ok(path)
}

/// The program. Another build may be measured in its place, to compare two.
pub(crate) fn program() -> String {
    std::env::var("SUPPRESSD").unwrap_or_else(|_| env!("CARGO_BIN_EXE_suppressd").to_owned())
}

/// Starts it, and waits until it listens.
pub(crate) fn spawn(config: &Path) -> Result<Spawned> {
    let mut command = Command::new(program());
    command.args(["run", "-c"]).arg(config).stderr(Stdio::piped());
    command.env("SUPPRESSD_LOG", "info").env_remove("JOURNAL_STREAM");
    let mut child = command.spawn()?;
    let mut lines = BufReader::new(child.stderr.take().context("no output")?).lines();
    let (mut hooks, mut admin): (Option<SocketAddr>, Option<SocketAddr>) = (None, None);
    while hooks.is_none() || admin.is_none() {
        let line = lines.next().context("the daemon did not listen")??;
        for (listener, bound) in [("http", &mut hooks), ("admin", &mut admin)] {
            let mark = format!("listening listener=\"{listener}\" on=");
            if let Some((_, rest)) = line.split_once(&mark) {
                *bound = Some(rest.trim().parse()?);
            }
        }
    }
    let (hooks, admin) = hooks.zip(admin).context("the daemon did not listen")?;
    let verbose = std::env::var_os("VERBOSE").is_some();
    // Its further lines have to go somewhere.
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok).filter(|_| verbose) {
            println!("    {line}");
        }
    });
    Ok(Spawned { child, hooks, admin })
}

/// The request of a private path: it answers to its address alone.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").into_bytes()
}

/// Waits until a daemon is ready.
pub(crate) async fn until_ready(admin: SocketAddr) -> Result<()> {
    let started = Instant::now();
    while Connection::open(admin).await?.ask(&get("/readyz")).await?.0 != 200 {
        ensure!(started.elapsed() < PATIENCE, "it did not become ready");
        tokio::time::sleep(AGAIN).await;
    }
    Ok(())
}
