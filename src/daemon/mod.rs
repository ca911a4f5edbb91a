//! The composition root: what is started in which order, and how it stops.
//!
//! Start: the journal, so that intake can be durable; the listeners; what looks and what asks;
//! ready. Stop: no new work; what is in flight; the journal and the store; the last exports; then
//! those who only look. Between them, a reload exchanges all but the journal and the store.

mod certificate;
mod edges;
mod group;
mod listeners;
mod member;
mod reload;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::Reloads;
use crate::config::Config;
use crate::ingest;
use crate::journal::OpenError;
use crate::{systemd, telemetry};
use edges::Edges;
use listeners::Listeners;
use reload::Reload;

/// How long requests, polls and commands in flight may take to end. More than what a new
/// connection is given for its first request, so that such a one ends by itself.
const DRAIN: Duration = Duration::from_secs(12);

/// A fault of the configuration that is found while the daemon starts, and that no other start will
/// find gone.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misconfigured(String);

/// What the daemon runs in. From when it is there, SIGHUP does not kill.
pub struct Process {
    runtime: Runtime,
    hangups: Signal,
}

impl Process {
    /// To be made before all else.
    ///
    /// # Errors
    /// When there can be no threads, or no signals.
    pub fn new() -> Result<Process> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let guard = runtime.enter();
        let hangups = signal(SignalKind::hangup())?;
        drop(guard);
        Ok(Process { runtime, hangups })
    }

    /// Runs the daemon until it is told to stop. `file` is read again at a reload.
    ///
    /// # Errors
    /// When it cannot start, or had to stop by itself.
    pub fn run(self, config: Config, file: &Path) -> Result<()> {
        telemetry::log::start(&config.log);
        telemetry::health::starting(env!("CARGO_PKG_VERSION"), file.display());
        reload::remark(&config);
        let metrics = telemetry::series::record().context("cannot start metrics")?;
        let ended = self.runtime.block_on(live(config, file.to_owned(), metrics, self.hangups));
        self.runtime.shutdown_timeout(Duration::from_secs(1));
        telemetry::fold::finish();
        ended
    }
}

/// The signals that tell the daemon to stop.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    fn new() -> Result<Ends> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Ends { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one of them.
    async fn told(&mut self) {
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        };
        telemetry::health::stopping(name);
    }
}

async fn live(
    config: Config,
    file: PathBuf,
    metrics: PrometheusHandle,
    hangups: Signal,
) -> Result<()> {
    let started = Instant::now();
    // First, so that a stop in the middle of the start is one in order, too.
    let mut ends = Ends::new()?;
    let settings = ingest::Settings {
        // The other half is for reading them.
        memory: config.http.memory / 2,
        ..ingest::Settings::new(
            config.store.path.clone(),
            config.store.retention,
            Arc::new(config.rules.clone()),
            Arc::new(config.reading.clone()),
        )
    };
    // Nothing is made of the store before all else is known to be to be had.
    let opened = ingest::open(settings).map_err(of_store)?;
    let (reloads, wishes) = Reloads::new(&file);
    let reload = Reload::new(&config, file, reloads.clone(), wishes, hangups);
    let mut passed = listeners::passed(&config)?;
    let prepared = edges::prepare(config.clone(), &Listeners::default(), None, &mut passed)?;
    let running = opened.start(&Handle::current())?;
    let (mut edges, begun) = Edges::start(prepared, running, metrics, reloads).await;
    let ended = match begun {
        Ok(()) => run(&mut edges, &mut ends, reload, started).await,
        Err(error) => Err(error),
    };
    systemd::stopping();
    edges.stop().await;
    telemetry::fold::finish();
    telemetry::health::stopped();
    ended
}

/// Runs until it is told to stop, or a part ends by itself.
async fn run(
    edges: &mut Edges,
    ends: &mut Ends,
    mut reload: Reload,
    started: Instant,
) -> Result<()> {
    let mut ready = pin!(edges.ready());
    let mut is_ready = false;
    loop {
        tokio::select! {
            () = ends.told() => return Ok(()),
            name = edges.first_to_end() => {
                telemetry::health::ended_early(&name);
                bail!("{name} ended by itself; see the log");
            }
            () = &mut ready, if !is_ready => {
                is_ready = true;
                systemd::ready();
                telemetry::health::started(started.elapsed().as_secs_f64());
            }
            wishes = reload.wanted() => tokio::select! {
                biased;
                () = ends.told() => return Ok(()),
                () = reload.carry_out(wishes, edges, is_ready) => {}
            },
        }
    }
}

/// Tells a state directory that cannot be had from what may pass: a file system that an error has
/// made read-only is mended or mounted anew.
fn of_store(error: OpenError) -> anyhow::Error {
    use ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    let kind = match &error {
        OpenError::Io { error, .. } => error.kind(),
        _ => return error.into(),
    };
    match kind {
        NotADirectory | PermissionDenied => Misconfigured(format!("store.path: {error}")).into(),
        ReadOnlyFilesystem => anyhow!(
            "store.path: {error} (mount the file system writable, and see `dmesg` for why it is \
             not; or add the path to ReadWritePaths= of the unit)"
        ),
        _ => error.into(),
    }
}
