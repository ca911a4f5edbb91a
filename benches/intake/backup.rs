//! What backups cost intake under full load: `BACKUP=1000000` has that many suppressions first.
//!
//! They follow each other without a pause, which nobody does: so a round is as long as is wanted.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinHandle;

use crate::load::{self, Connection, Load};
use crate::measure::{against, median};
use crate::target::{self, Target};
use crate::{ROUNDS, find, milliseconds};

/// Events in a request that fills the store, and how long a part of filling it is told.
const FILL: u64 = 100;
const PART: Duration = Duration::from_secs(1);

/// Intake alone, and while backups are made, in turns.
pub(crate) async fn cost(size: u64, length: Duration) -> Result<()> {
    let daemon = target::daemon().await?;
    fill(&daemon, size).await?;
    let (mut ratios, mut rates, mut took) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let alone = rate(&daemon, length).await?;
        let backups = Backups::start(&daemon);
        let beside = rate(&daemon, length).await?;
        took.extend(backups.end().await?);
        ratios.push(beside / alone);
        rates.push(alone);
    }
    println!("backups beside intake, from {size} suppressions on");
    println!("  {:.0} requests/s of one event without", median(rates));
    let times = took.iter().map(|time| milliseconds(*time));
    println!("  {} backups, {:.0} ms each", took.len(), median(times));
    against("acknowledged requests/s while they are made", median(ratios), 0.9, true);
    Ok(())
}

/// Tells of so many addresses, and waits until all of it is applied.
async fn fill(daemon: &Target, size: u64) -> Result<()> {
    let load = Load { events: FILL, length: PART, rate: None };
    while load::next(0, u64::MAX).unwrap_or(size) < size {
        load::run(daemon.hooks, load, None).await?;
        applied(daemon).await?;
    }
    Ok(())
}

/// Waits until the store has all that was told.
async fn applied(daemon: &Target) -> Result<()> {
    let last = load::next(0, u64::MAX).context("no number is left")? - 1;
    let mut connection = Connection::open(daemon.admin.context("it is asked")?).await?;
    find(&mut connection, last).await
}

/// Acknowledged requests a second, as many as can be had.
async fn rate(daemon: &Target, length: Duration) -> Result<f64> {
    let load = Load { events: 1, length, rate: None };
    let started = Instant::now();
    let times = load::run(daemon.hooks, load, None).await?;
    let rate = times.len() as f64 / started.elapsed().as_secs_f64();
    applied(daemon).await?;
    Ok(rate)
}

/// Backups, one after the other, until the end.
struct Backups {
    ended: Arc<AtomicBool>,
    running: JoinHandle<Result<Vec<Duration>>>,
}

impl Backups {
    fn start(daemon: &Target) -> Backups {
        let (config, ended) = (daemon.config(), Arc::new(AtomicBool::new(false)));
        let stops = Arc::clone(&ended);
        let running = tokio::task::spawn_blocking(move || {
            let mut took = Vec::new();
            while !stops.load(Ordering::Relaxed) {
                let started = Instant::now();
                let file = config.with_file_name("backup");
                ensure!(backup(&config, &file)?.wait()?.success(), "a backup failed");
                took.push(started.elapsed());
                std::fs::remove_file(file)?;
            }
            Ok(took)
        });
        Backups { ended, running }
    }

    async fn end(self) -> Result<Vec<Duration>> {
        self.ended.store(true, Ordering::Relaxed);
        self.running.await?
    }
}

fn backup(config: &Path, file: &PathBuf) -> Result<Child> {
    let mut command = Command::new(crate::spawn::program());
    command.arg("backup").arg(file).arg("-c").arg(config).stdout(Stdio::null());
    Ok(command.spawn()?)
}
