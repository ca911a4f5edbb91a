//! The servers under load, each a process in a directory of its own, and what they use.
//!
//! They are killed, not stopped: what matters was measured before.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::spawn::{Spawned, configure, spawn, until_ready};

/// The argument with which this program becomes the limit.
pub(crate) const LIMIT: &str = "--serve-limit";

/// A running server. It is killed when it is dropped.
pub(crate) struct Target {
    child: Child,
    directory: tempfile::TempDir,
    /// Where it takes events.
    pub(crate) hooks: SocketAddr,
    /// Where it is asked; the limit has no such place.
    pub(crate) admin: Option<SocketAddr>,
}

/// CPU time in microseconds: of a whole process, and of its thread that applies.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cpu {
    pub(crate) all: f64,
    pub(crate) applier: f64,
}

/// A directory on the disk that the project is built on: `/tmp` may be memory.
pub(crate) fn directory() -> Result<tempfile::TempDir> {
    Ok(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?)
}

/// Starts the limit.
pub(crate) fn limit() -> Result<Target> {
    let directory = directory()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(LIMIT).arg(directory.path()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
    Ok(Target { child, directory, hooks: line.trim().parse()?, admin: None })
}

/// Starts the daemon, and waits until it is ready.
pub(crate) async fn daemon() -> Result<Target> {
    let directory = directory()?;
    let Spawned { child, hooks, admin } = spawn(&configure(directory.path(), "")?)?;
    let target = Target { child, directory, hooks, admin: Some(admin) };
    until_ready(admin).await?;
    Ok(target)
}

impl Target {
    /// The configuration of the daemon.
    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().join("config.toml")
    }

    /// What it has used so far.
    pub(crate) fn cpu(&self) -> Cpu {
        let process = format!("/proc/{}", self.child.id());
        let mut cpu = Cpu { all: ticks(&format!("{process}/stat")), ..Cpu::default() };
        let Ok(threads) = fs::read_dir(format!("{process}/task")) else { return cpu };
        for thread in threads.flatten().map(|thread| thread.path()) {
            let name = fs::read_to_string(thread.join("comm")).unwrap_or_default();
            if name.trim() == "applier" {
                cpu.applier = ticks(&thread.join("stat").to_string_lossy());
            }
        }
        cpu
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // It may have ended by itself; then its requests have failed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The user and system time of a `stat` file, in microseconds; a tick is 10 ms on every Linux.
fn ticks(path: &str) -> f64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 * 10_000.0
}
