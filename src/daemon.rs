//! The composition root: what is started in which order, and how it stops.
//!
//! Start: the journal, so that intake can be durable; the listeners; what looks and what asks;
//! ready. Stop: no new work; what is in flight; the journal and the store; the last exports; then
//! those who only look.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::admin::{Admin, SourceInfo};
use crate::config::{self, Config};
use crate::fetch::Fetcher;
use crate::http::{Guard, Limits, Private, Public};
use crate::ingest::{Ingest, Running};
use crate::journal::OpenError;
use crate::listen::{Entry, Listen, Listener, Passed};
use crate::lookup::{Judge, Lookups};
use crate::rules::Rules;
use crate::stop::stopped;
use crate::store::Reader;
use crate::webhook::Webhooks;
use crate::{accept, clock, control, export, http, ingest, lookup, poll, systemd, telemetry};

/// How long requests, polls and commands in flight may take to end. More than what a new
/// connection is given for its first request, so that such a one ends by itself.
const DRAIN: Duration = Duration::from_secs(12);
/// How long the journal and the store may take to be synced.
const SYNC: Duration = Duration::from_secs(30);
/// How long the last exports may take.
const LAST_EXPORT: Duration = Duration::from_secs(20);

/// How long a sender may take for an answer, which is small, and a reader for a page.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// Most connections to the private listener.
const ADMIN_CONNECTIONS_MAX: usize = 64;

/// The bounds of histograms, in seconds.
const BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// How often what was measured is put in order, so that it takes no room where nobody asks for it.
const UPKEEP: Duration = Duration::from_secs(5);
/// How often log lines that were folded are summed up.
const FOLD: Duration = Duration::from_secs(1);

/// A fault of the configuration that is found while the daemon starts, and that no other start will
/// find gone.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misconfigured(String);

/// A part of the daemon that runs by itself.
type Part = (String, JoinHandle<()>);

/// What is bound before anything is promised.
struct Listeners {
    public: Listener,
    admin: Listener,
    control: Listener,
    lookups: Vec<Listener>,
}

/// One stop signal for each step of stopping.
struct Stops {
    intake: watch::Sender<bool>,
    exports: watch::Sender<bool>,
    lookers: watch::Sender<bool>,
}

/// Everything that runs, by the step in which it is stopped.
struct Parts {
    intake: Vec<Part>,
    exports: Vec<Part>,
    lookers: Vec<Part>,
}

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

    /// Runs the daemon until it is told to stop.
    ///
    /// # Errors
    /// When it cannot start, or had to stop by itself.
    pub fn run(self, config: Config, file: &Path) -> Result<()> {
        telemetry::log::start(config.log.as_ref());
        telemetry::health::starting(env!("CARGO_PKG_VERSION"), file.display());
        for remark in &config.remarks {
            telemetry::health::doubtful(&remark.path, &remark.what, &remark.hint);
        }
        let metrics = PrometheusBuilder::new().set_buckets(BUCKETS)?.install_recorder();
        let metrics = metrics.context("cannot start metrics")?;
        self.runtime.spawn(ignore(self.hangups));
        let ended = self.runtime.block_on(live(config, metrics));
        self.runtime.shutdown_timeout(Duration::from_secs(1));
        telemetry::fold::finish();
        ended
    }
}

/// Answers each SIGHUP with a word, also while all else starts and stops.
async fn ignore(mut hangups: Signal) {
    while hangups.recv().await.is_some() {
        telemetry::health::hangup_ignored();
    }
}

async fn live(config: Config, metrics: PrometheusHandle) -> Result<()> {
    let started = Instant::now();
    // First, so that a stop in the middle of the start is one in order, too.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let settings = ingest::Settings {
        hold: config.hold,
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
    let opened = ingest::open(settings.clone()).map_err(of_store)?;
    let listeners = bind(&config)?;
    let running = opened.start(&Handle::current())?;
    let stops = Stops {
        intake: watch::Sender::new(false),
        exports: watch::Sender::new(false),
        lookers: watch::Sender::new(false),
    };
    let mut parts = match start(config, settings, &running, listeners, metrics, &stops).await {
        Ok(parts) => parts,
        Err(error) => {
            // What was begun is not left half made.
            running.stop(SYNC).await;
            return Err(error);
        }
    };
    let ready = async {
        running.ingest.ready().await;
        systemd::ready();
        telemetry::health::started(started.elapsed().as_secs_f64());
        std::future::pending::<()>().await;
    };
    let failed = tokio::select! {
        () = ready => None,
        _ = terminate.recv() => { telemetry::health::stopping("SIGTERM"); None }
        _ = interrupt.recv() => { telemetry::health::stopping("SIGINT"); None }
        name = first_to_end(&mut parts) => { telemetry::health::ended_early(&name); Some(name) }
    };
    systemd::stopping();
    stop(running, parts, &stops).await;
    telemetry::fold::finish();
    telemetry::health::stopped();
    match failed {
        Some(name) => bail!("{name} ended by itself; see the log"),
        None => Ok(()),
    }
}

/// Tells a state directory that cannot be had from what may pass.
fn of_store(error: OpenError) -> anyhow::Error {
    use ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    let kind = match &error {
        OpenError::Io { error, .. } => error.kind(),
        _ => return error.into(),
    };
    if matches!(kind, NotADirectory | PermissionDenied | ReadOnlyFilesystem) {
        return Misconfigured(format!("store.path: {error}")).into();
    }
    error.into()
}

/// Binds every listener, so that what cannot be had is known before anything is promised.
fn bind(config: &Config) -> Result<Listeners> {
    let (public, admin) = (&config.http.listen, &config.admin.listen);
    let lookups: Vec<Entry> = config.lookups.iter().map(lookup::Settings::entry).collect();
    let named = public.iter().map(|entry| ("http", entry));
    let named =
        named.chain([("admin", admin)]).chain(lookups.iter().map(|entry| ("lookup", entry)));
    let takers = named.filter(|(_, entry)| entry.listen == Listen::Systemd).map(|(name, _)| name);
    let passed = Passed::receive(&takers.collect::<Vec<_>>());
    let mut passed = passed.map_err(|error| Misconfigured(error.to_string()))?;
    let control = passed.control();
    // In the order of those that take what systemd has passed.
    let public = bind_all("http.listen", public, &mut passed)?;
    let admin = private(config, bind_one("admin.listen", admin, &mut passed)?)?;
    let bind_lookup = |entry: &Entry| bind_one("lookup.listen", entry, &mut passed);
    let lookups = lookups.iter().map(bind_lookup).collect::<Result<_>>()?;
    let control = match control {
        Some(control) => control,
        None => bind_one("control.socket", &config.control.entry(), &mut passed)?,
    };
    Ok(Listeners { public, admin, control, lookups })
}

fn bind_all(key: &str, entries: &[Entry], passed: &mut Passed) -> Result<Listener> {
    let mut all = Listener::default();
    for entry in entries {
        all.join(bind_one(key, entry, passed)?);
    }
    Ok(all)
}

fn bind_one(key: &str, entry: &Entry, passed: &mut Passed) -> Result<Listener> {
    let listen = &entry.listen;
    Listener::bind(entry, passed).map_err(|error| {
        use ErrorKind::{AddrInUse, AddrNotAvailable};
        let what = format!("{key}: cannot listen on {listen}: {error} ({})", listen.hint(&error));
        // Another program may go, an address come, and systemd start the socket.
        let passes = matches!(error.kind(), AddrInUse | AddrNotAvailable);
        match passes || *listen == Listen::Systemd {
            true => anyhow!(what),
            false => Misconfigured(what).into(),
        }
    })
}

/// The private listener, unless a socket that systemd has passed is open to more than it should be.
fn private(config: &Config, listener: Listener) -> Result<Listener> {
    if !listener.is_local() && config.admin.tokens.is_empty() {
        let shown = listener.shown().join(", ");
        let what = format!("admin.listen: {shown} is open to other hosts (set [admin] token)");
        bail!(Misconfigured(what));
    }
    Ok(listener)
}

async fn start(
    config: Config,
    settings: ingest::Settings,
    running: &Running,
    listeners: Listeners,
    metrics: PrometheusHandle,
    stops: &Stops,
) -> Result<Parts> {
    let Running { ingest, reader, .. } = running;
    let rules = Arc::clone(&settings.rules);
    let tls = config.http.tls.as_ref().map(http::identity).transpose();
    let tls = tls.map_err(|error| Misconfigured(format!("http.tls: {error}")))?;
    let (tls, certificate) = tls.map(|tls| (tls.acceptor, tls.end)).unzip();
    let (exports, export_parts) = export::runner::start(
        config.exports,
        Arc::clone(&rules),
        running,
        stops.exports.subscribe(),
    )
    .await;
    let fetcher =
        Fetcher::through(config.proxy.as_ref())?.naming(config.environment_proxy.as_ref());
    let (polls, mut intake) = poll::start(
        config.polls,
        fetcher.clone().spooling_in(settings.state.clone()),
        running,
        Arc::clone(&rules),
        stops.intake.subscribe(),
    )
    .await?;
    let (lookups, mut lookers) =
        answer(config.lookups, listeners.lookups, reader, &rules, &stops.lookers);
    let webhooks = Webhooks::new(config.webhooks, ingest.clone(), fetcher.clone());
    let admin = Arc::new(Admin {
        ingest: ingest.clone(),
        reader: reader.clone(),
        changes: running.changes.clone(),
        recent: Arc::clone(&running.recent),
        rules,
        webhooks: webhooks.clone(),
        exports,
        polls,
        lookups,
        sources: config.sources.into_iter().map(known).collect(),
        started: clock::now(),
        certificate: certificate.flatten(),
        public: listeners.public.place().context("the public listener has no address")?,
        public_tls: tls.is_some(),
        state: settings.state.clone(),
        quarantine: settings.quarantine(),
        checkpoints: Arc::clone(&running.checkpoints),
    });
    let guard = Guard {
        is_local: listeners.admin.is_local(),
        tokens: config.admin.tokens,
        hosts: config.admin.hosts,
    };
    let private =
        Private::new(Arc::clone(&admin), metrics.clone(), guard, stops.lookers.subscribe());
    let header_timeout = config.http.header_timeout;
    lookers.extend(look(listeners.admin, private, metrics, header_timeout, &stops.lookers));
    let (public, limits) = open(config.http, webhooks, ingest, tls);
    intake.push(serve("http", listeners.public, public, limits, stops.intake.subscribe()));
    lookers.extend([
        part("control", control::serve(listeners.control, admin, stops.intake.subscribe())),
        part("watchdog", alive(stops.lookers.subscribe())),
        part("log", fold_lines(stops.lookers.subscribe())),
    ]);
    Ok(Parts { intake, exports: export_parts, lookers })
}

/// What operators are told of a source.
fn known(source: config::Source) -> SourceInfo {
    let config::Source { name, provider, silent } = source;
    SourceInfo { name, provider: provider.name(), silent }
}

/// What the public listener serves, and within which limits.
fn open(
    settings: http::Settings,
    webhooks: Webhooks,
    ingest: &Ingest,
    tls: Option<TlsAcceptor>,
) -> (Public, Limits) {
    let limits = Limits {
        name: "public",
        places: accept::Limits {
            most: settings.connections_max,
            each: settings.connections_per_address,
            exempt: settings.trusted_proxies.clone(),
        },
        header_timeout: settings.header_timeout,
        answer_timeout: ANSWER_TIMEOUT,
        tls,
    };
    let public = Public {
        webhooks,
        room: ingest.room(),
        body_max: settings.body_max,
        body_timeout: settings.body_timeout,
        trusted_proxies: settings.trusted_proxies,
    };
    (public, limits)
}

fn serve<S: http::Service>(
    name: &'static str,
    listener: Listener,
    service: S,
    limits: Limits,
    stop: watch::Receiver<bool>,
) -> Part {
    for on in listener.shown() {
        telemetry::webhook::listening(name, on);
    }
    part(name, async move {
        let cut = http::serve(listener, Arc::new(service), limits, stop, DRAIN).await;
        if cut > 0 {
            telemetry::health::straggler(name);
        }
    })
}

/// Starts the private listener, and the upkeep of the metrics that it shows.
fn look(
    listener: Listener,
    private: Private,
    metrics: PrometheusHandle,
    header_timeout: Duration,
    stop: &watch::Sender<bool>,
) -> [Part; 2] {
    let most = ADMIN_CONNECTIONS_MAX;
    let limits = Limits {
        name: "admin",
        places: accept::Limits { most, each: most / 4, exempt: Vec::new() },
        header_timeout,
        answer_timeout: PAGE_TIMEOUT,
        tls: None,
    };
    let upkeep = keep_up(metrics, stop.subscribe());
    let served = serve("admin", listener, private, limits, stop.subscribe());
    [served, part("metrics", upkeep)]
}

/// Starts the live lookups, each on its listener.
fn answer(
    settings: Vec<lookup::Settings>,
    listeners: Vec<Listener>,
    reader: &Reader,
    rules: &Arc<Rules>,
    stop: &watch::Sender<bool>,
) -> (Lookups, Vec<Part>) {
    let (mut judges, mut parts) = (Vec::new(), Vec::new());
    for (settings, listener) in settings.into_iter().zip(listeners) {
        let (name, on) = (settings.protocol.name(), listener.shown());
        for on in &on {
            telemetry::webhook::listening(name, on);
        }
        let on = on.join(", ");
        let judge = Arc::new(Judge::new(settings, on, reader.clone(), Arc::clone(rules)));
        let serving =
            lookup::listener::serve(listener, Arc::clone(&judge), stop.subscribe(), DRAIN);
        parts.push(part(name, async move {
            if serving.await > 0 {
                telemetry::health::straggler(name);
            }
        }));
        judges.push(judge);
    }
    (Lookups(judges), parts)
}

async fn keep_up(metrics: PrometheusHandle, mut stop: watch::Receiver<bool>) {
    let mut beat = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            _ = beat.tick() => metrics.run_upkeep(),
            () = stopped(&mut stop) => return,
        }
    }
}

/// Writes each second what repeated log lines were folded to.
async fn fold_lines(mut stop: watch::Receiver<bool>) {
    let mut beat = tokio::time::interval(FOLD);
    loop {
        tokio::select! {
            _ = beat.tick() => telemetry::fold::flush(),
            () = stopped(&mut stop) => return,
        }
    }
}

/// The watchdog's part lasts until the end even where nobody watches.
async fn alive(mut stop: watch::Receiver<bool>) {
    systemd::keep_alive(stop.clone()).await;
    stopped(&mut stop).await;
}

fn part(name: &str, work: impl Future<Output = ()> + Send + 'static) -> Part {
    (name.to_owned(), tokio::spawn(work))
}

/// The name of the first part that ends, which none should before it is told to.
async fn first_to_end(parts: &mut Parts) -> String {
    let Parts { intake, exports, lookers } = parts;
    let mut all: Vec<&mut Part> = intake.iter_mut().chain(exports).chain(lookers).collect();
    std::future::poll_fn(|context| {
        for (name, handle) in &mut all {
            if std::pin::Pin::new(handle).poll(context).is_ready() {
                return std::task::Poll::Ready(name.clone());
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// Stops step by step; what does not end in time is named and left behind.
async fn stop(running: Running, parts: Parts, stops: &Stops) {
    stops.intake.send_replace(true);
    end(parts.intake, DRAIN + Duration::from_secs(1)).await;
    for name in running.stop(SYNC).await {
        telemetry::health::straggler(name);
    }
    stops.exports.send_replace(true);
    end(parts.exports, LAST_EXPORT).await;
    stops.lookers.send_replace(true);
    end(parts.lookers, DRAIN + Duration::from_secs(1)).await;
}

async fn end(parts: Vec<Part>, limit: Duration) {
    let deadline = tokio::time::Instant::now() + limit;
    for (name, mut handle) in parts {
        // One that has ended before was already named, and must not be asked again.
        if handle.is_finished() {
            continue;
        }
        if tokio::time::timeout_at(deadline, &mut handle).await.is_err() {
            telemetry::health::straggler(&name);
            handle.abort();
        }
    }
}
