//! The daemon as a process that is ended and started again on the same state, and what it takes.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::load::Connection;
use crate::spawn::{Spawned, configure, get, spawn, until_ready};

/// How long nothing may happen until it is quiet, and how long is waited for anything.
const QUIET: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(3600);

/// A running daemon.
pub(crate) struct Daemon {
    child: Child,
    config: PathBuf,
    pub(crate) state: PathBuf,
    /// Where it takes events, and where it is asked.
    pub(crate) hooks: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// Resident memory in MiB: all, what of it are mapped files, and the most that it was.
pub(crate) struct Resident {
    pub(crate) all: f64,
    pub(crate) files: f64,
    pub(crate) most: f64,
}

/// The tables of an LMDB export and a socketmap.
pub(crate) fn readers(directory: &Path) -> String {
    format!(
        "[[export]]\nname = \"postfix\"\nformat = \"postfix-access\"\ntable = \"lmdb\"\n\
         path = \"{0}/access.lmdb\"\n\
         [[lookup]]\nprotocol = \"socketmap\"\nlisten = \"unix:{0}/lookup.sock\"\n",
        directory.display()
    )
}

impl Daemon {
    /// Starts one on a new directory.
    pub(crate) async fn start(directory: &Path) -> Result<Daemon> {
        Daemon::of(configure(directory, &readers(directory))?, directory).await
    }

    /// The same by a configuration that is written already.
    pub(crate) async fn of(config: PathBuf, directory: &Path) -> Result<Daemon> {
        let Spawned { child, hooks, admin } = spawn(&config)?;
        let daemon = Daemon { child, config, state: directory.join("state"), hooks, admin };
        until_ready(admin).await?;
        Ok(daemon)
    }

    /// Ends it; says how long that took.
    pub(crate) fn end(&mut self, kill: bool) -> Result<Duration> {
        let started = Instant::now();
        if kill {
            self.child.kill()?;
        } else {
            let pid = self.child.id().to_string();
            ensure!(Command::new("kill").arg(pid).status()?.success(), "it could not be stopped");
        }
        self.child.wait()?;
        Ok(started.elapsed())
    }

    /// Starts it again; says when it took a notification, and when it was ready.
    pub(crate) async fn restart(&mut self) -> Result<(Duration, Duration)> {
        let started = Instant::now();
        let Spawned { child, hooks, admin } = spawn(&self.config)?;
        (self.child, self.hooks, self.admin) = (child, hooks, admin);
        let (mut request, mut body) = (String::new(), String::new());
        let mut connection = Connection::open(self.hooks).await?;
        let first = crate::load::next(1, u64::MAX).context("no number is left")?;
        crate::load::put_request(&mut request, &mut body, &crate::load::key()?, first, 1)?;
        ensure!(connection.ask(request.as_bytes()).await?.0 == 200, "it took no notification");
        let took = started.elapsed();
        until_ready(admin).await?;
        Ok((took, started.elapsed()))
    }

    /// Waits until nothing that is acknowledged is still to be applied.
    pub(crate) async fn until_applied(&self) -> Result<()> {
        let started = Instant::now();
        while self.lag().await? > 0 {
            ensure!(started.elapsed() < PATIENCE, "it does not get on");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// The bytes of the journal that are still to be applied.
    pub(crate) async fn lag(&self) -> Result<u64> {
        let mut connection = Connection::open(self.admin).await?;
        let answer = connection.ask(&get("/metrics")).await?.1;
        let text = String::from_utf8_lossy(answer).into_owned();
        let lag = text.lines().find_map(|line| line.strip_prefix("suppressd_store_lag_bytes "));
        Ok(lag.context("no lag is told")?.trim().parse()?)
    }

    pub(crate) fn open_files(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// Waits until it has used no processor for a while: what it does beside is done then.
    pub(crate) async fn until_quiet(&self) -> Result<()> {
        let (mut before, mut since) = (self.ticks()?, Instant::now());
        while since.elapsed() < QUIET {
            tokio::time::sleep(QUIET / 10).await;
            let now = self.ticks()?;
            // A tick or two are of its clocks.
            if now > before + 2 {
                (before, since) = (now, Instant::now());
            }
        }
        Ok(())
    }

    fn ticks(&self) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        Ok(fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum())
    }

    pub(crate) fn resident(&self) -> Result<Resident> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let of = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            let kib = line.split_whitespace().find_map(|word| word.parse::<f64>().ok());
            kib.unwrap_or(f64::NAN) / 1024.0
        };
        Ok(Resident { all: of("VmRSS:"), files: of("RssFile:"), most: of("VmHWM:") })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself; then something has failed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks for an address until it is suppressed.
pub(crate) async fn find(connection: &mut Connection, address: &str) -> Result<()> {
    let request = get(&format!("/v1/suppressions/{address}"));
    let started = Instant::now();
    while connection.ask(&request).await?.0 != 200 {
        ensure!(started.elapsed() < PATIENCE, "what was answered is not found");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}
