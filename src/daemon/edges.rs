//! Everything that runs around the intake: started, exchanged at a reload, and stopped.
//!
//! What can fail is done first, by `prepare`; what is exchanged behind that is exchanged whole.

use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context, Result};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{Mutex, watch};

use super::DRAIN;
use super::certificate::{Kept, Shown, kept, shown};
use super::group::Group;
use super::listeners::{ANSWER_TIMEOUT, Answered, Listeners, PAGE_TIMEOUT, Served};
use super::member::Member;
use crate::accept::{self, Door};
use crate::acme::Keeper;
use crate::admin::{self, Admin, Census, Reloads, SourceInfo};
use crate::config::{self, Config};
use crate::current::Current;
use crate::export::handle::Exports;
use crate::fetch::Fetcher;
use crate::fleet;
use crate::forward::{self, Forwards};
use crate::http::{self, Guard, Limits, Private, Public};
use crate::ingest::{Known, Running};
use crate::listen::{Listen, Listener, Passed};
use crate::lookup::{self, Judge, Lookups};
use crate::model::Time;
use crate::poll::{self, Polls};
use crate::stop::{Part, stopped};
use crate::turns::{Tellers, Turns};
use crate::webhook::Webhooks;
use crate::{clock, control, systemd, telemetry};

/// How long the journal and the store may take to be synced.
const SYNC: Duration = Duration::from_secs(30);
/// How long the last exports may take.
const LAST_EXPORT: Duration = Duration::from_secs(20);

/// Most connections to the private listener.
const ADMIN_CONNECTIONS_MAX: usize = 64;

/// What the parts are called that read the certificate again, and that obtain it.
const CERTIFICATE: &str = "certificate";
const ACME: &str = "acme";

/// How often what was measured is put in order, so that it takes no room where nobody asks for it.
const UPKEEP: Duration = Duration::from_secs(5);
/// How often log lines that were folded are summed up.
const FOLD: Duration = Duration::from_secs(1);

/// What of a configuration can fail, done.
pub(super) struct Prepared {
    config: Config,
    listeners: Listeners,
    /// Where the public one is.
    place: Listen,
    keeper: Option<Kept>,
    identity: Option<Shown>,
    fetcher: Fetcher,
}

/// Binds and reads what a configuration asks for, beside what is `present` already. The keeper goes
/// on if what it is told stays the same.
///
/// # Errors
/// When something cannot be had. Nothing has changed then.
pub(super) fn prepare(
    config: Config,
    present: &Listeners,
    keeper: Option<&Arc<Keeper>>,
    passed: &mut Passed,
) -> Result<Prepared> {
    let keeper = kept(&config, keeper)?;
    let identity = shown(&config, keeper.as_ref())?;
    let fetcher = Fetcher::through(config.proxy.as_ref())?;
    let fetcher = fetcher.naming(config.environment_proxy.as_ref());
    let listeners = Listeners::bind(&config, present, passed)?;
    let place = listeners.public.place().context("the public listener has no address")?;
    Ok(Prepared { config, listeners, place, keeper, identity, fetcher })
}

/// All that runs beside the intake, by the step in which it is stopped.
pub(super) struct Edges {
    running: Running,
    intake: Group,
    exporting: Group,
    lookers: Group,
    metrics: PrometheusHandle,
    reloads: Reloads,
    state: PathBuf,
    started: Time,
    webhooks: Webhooks,
    exports: Exports,
    polls: Polls,
    fleet: Option<Member>,
    forwards: Forwards,
    census: Arc<Census>,
    rejudging: Arc<Mutex<()>>,
    answered: Vec<Answered>,
    /// Who obtains the certificate, if we do.
    pub(super) keeper: Option<Arc<Keeper>>,
    /// What is listened on.
    pub(super) listeners: Listeners,
    doors: Option<Doors>,
}

/// The doors that stay open from the start to the stop.
struct Doors {
    admin: Arc<Current<Admin>>,
    public: Served<Public>,
    private: Served<Private>,
    control: watch::Sender<Listener>,
}

impl Edges {
    /// Starts everything around a running intake.
    ///
    /// # Errors
    /// When something cannot be started. The intake is to be stopped then.
    pub(super) async fn start(
        prepared: Prepared,
        running: Running,
        metrics: PrometheusHandle,
        reloads: Reloads,
    ) -> (Edges, Result<()>) {
        let webhooks = Webhooks::new(Vec::new(), running.ingest.clone(), prepared.fetcher.clone());
        let mut edges = Edges {
            intake: Group::default(),
            exporting: Group::default(),
            lookers: Group::default(),
            metrics,
            reloads,
            exports: Exports::none(&running, prepared.config.store.path.join("quarantine")),
            state: prepared.config.store.path.clone(),
            started: clock::now(),
            webhooks,
            polls: Polls::default(),
            fleet: None,
            forwards: Forwards::default(),
            census: Arc::default(),
            rejudging: Arc::default(),
            answered: Vec::new(),
            keeper: None,
            listeners: Listeners::default(),
            doors: None,
            running,
        };
        let started = edges.exchange(prepared).await;
        let upkeep = edges.metrics.clone();
        edges.lookers.add([
            Part::start("metrics", |stop| keep_up(upkeep, stop)),
            Part::start("watchdog", alive),
            Part::start("log", fold_lines),
        ]);
        (edges, started)
    }

    /// Puts what was prepared in the place of what runs. Requests and conversations go on; a run of
    /// a poll is cut, and made again. Dropping the future leaves what can only be stopped.
    ///
    /// # Errors
    /// When a cron expression is not one.
    pub(super) async fn exchange(&mut self, prepared: Prepared) -> Result<()> {
        let Prepared { mut config, listeners, place, keeper, identity, fetcher } = prepared;
        // What goes, or is written in another way, ends by the rules that it began with.
        self.end_exports(&config.exports).await;
        let policy = &self.running.policy;
        telemetry::log::set(&config.log);
        policy.reading.set(std::mem::take(&mut config.reading));
        policy.retention.set(config.store.retention);
        policy.hold.set(config.hold);
        let tells_turns = config.forwards.iter().any(|forward| forward.subjects.has_turns());
        let present = || Known { rules: policy.rules.get(), at: clock::now() };
        let known = Option::clone(&policy.turns.get()).unwrap_or_else(present);
        policy.turns.set(tells_turns.then_some(known));
        self.running.ingest.room().resize(config.http.memory / 2);
        let webhooks = std::mem::take(&mut config.webhooks);
        self.webhooks = self.webhooks.renewed(webhooks, fetcher.clone());
        let has_other_rules = *policy.rules.get() != config.rules;
        if has_other_rules {
            policy.rules.set(config.rules.clone());
            // Any verdict may be another: whoever follows them reads all.
            self.running.changes.tell_all();
        }
        let (exports, parts) = self.exports.renewed(std::mem::take(&mut config.exports)).await;
        self.exports = exports;
        self.exporting.add(parts);
        self.exchange_fleet(config.fleet.take()).await;
        self.exchange_polls(std::mem::take(&mut config.polls), &fetcher).await?;
        let never = std::mem::take(&mut config.never);
        self.exchange_forwards(std::mem::take(&mut config.forwards), &fetcher, never).await;
        self.exchange_lookups(std::mem::take(&mut config.lookups), &listeners.lookups).await;
        self.exchange_certificate(identity.as_ref()).await;
        let (keeper, asking) = keeper.map(|kept| (kept.keeper, kept.fetcher)).unzip();
        let before = std::mem::replace(&mut self.keeper, keeper);
        self.exchange_doors(config, &listeners, place, identity);
        self.listeners = listeners;
        // The CA may ask at once.
        self.exchange_keeper(before, asking).await;
        Ok(())
    }

    async fn end_exports(&mut self, settings: &[crate::export::Settings]) {
        let staying = self.exports.staying(settings);
        let ends = |name: &str| !staying.iter().any(|staying| staying == name);
        self.exporting.end_those(LAST_EXPORT, ends).await;
    }

    /// Leaves the fleet and joins it again, where what is said of it has changed, or what it does.
    async fn exchange_fleet(&mut self, settings: Option<fleet::Settings>) {
        match (&mut self.fleet, &settings) {
            (None, None) => return,
            (Some(member), Some(settings)) if member.stays_with(settings) => return,
            _ => {}
        }
        // A host that has given its turns back polls no more, and tells nobody.
        let takes_turns = |name: &str| name.starts_with("poll ") || name.starts_with("forward ");
        self.intake.end_those(DRAIN, takes_turns).await;
        self.intake.end_those(DRAIN, |name| name == fleet::PART).await;
        self.fleet = settings.map(|settings| {
            let (member, part) = Member::join(settings, &self.running, self.webhooks.tokens());
            self.intake.add([part]);
            member
        });
    }

    async fn exchange_polls(
        &mut self,
        settings: Vec<poll::Settings>,
        fetcher: &Fetcher,
    ) -> Result<()> {
        self.intake.end_those(DRAIN, |name| name.starts_with("poll ")).await;
        let fetcher = fetcher.clone().spooling_in(self.state.clone());
        let rules = self.running.policy.rules.get();
        let turns = self.fleet.as_ref().map_or_else(Turns::always, |member| member.turns.clone());
        let (running, before) = (&self.running, &self.polls);
        let (polls, parts) = poll::start(settings, fetcher, running, rules, before, turns)?;
        self.polls = polls;
        self.intake.add(parts);
        Ok(())
    }

    async fn exchange_forwards(
        &mut self,
        settings: Vec<forward::Settings>,
        fetcher: &Fetcher,
        never: Vec<Box<str>>,
    ) {
        // What is told just now is told again, with the same id.
        let tells = |name: &str| name.starts_with("forward ") || name == forward::PART;
        self.intake.end_those(DRAIN, tells).await;
        let tellers = self.fleet.as_ref().map(|member| member.tellers.clone());
        let tellers = tellers.unwrap_or_else(Tellers::alone);
        let (running, before) = (&self.running, &self.forwards);
        let (forwards, parts) = forward::start(settings, fetcher, running, before, &tellers, never);
        self.forwards = forwards;
        self.intake.add(parts);
    }

    async fn exchange_lookups(&mut self, settings: Vec<lookup::Settings>, listeners: &[Listener]) {
        let rules = self.running.policy.rules.get();
        let (gone, mut staying): (Vec<Answered>, Vec<Answered>) =
            std::mem::take(&mut self.answered)
                .into_iter()
                .partition(|known| !settings.iter().any(|wanted| wanted.listen == known.listen));
        for (settings, listener) in settings.into_iter().zip(listeners) {
            let known = staying.iter().position(|known| known.listen == settings.listen);
            let rules = Arc::clone(&rules);
            if let Some(known) = known {
                let known = staying.swap_remove(known);
                known.renew(settings, rules);
                self.answered.push(known);
                continue;
            }
            let (entry, protocol) = (settings.entry(), settings.protocol.name());
            let shown = Answered::shown(&entry.listen, listener);
            let judge = Judge::new(settings, shown, self.running.reader.clone(), rules);
            let lookers = &mut self.lookers;
            let answered = Answered::open(entry, listener.clone(), judge, protocol, lookers);
            self.answered.push(answered);
        }
        gone.iter().for_each(Answered::close);
        let gone: Vec<String> = gone.iter().map(|gone| Answered::name(&gone.listen)).collect();
        self.lookers.end_those(DRAIN, |name| gone.iter().any(|gone| gone == name)).await;
    }

    async fn exchange_certificate(&mut self, shown: Option<&Shown>) {
        self.lookers.end_those(DRAIN, |name| name == CERTIFICATE).await;
        if let Some(Shown { identity, .. }) = shown {
            let identity = Arc::clone(identity);
            self.lookers.add([Part::start(CERTIFICATE, |stop| identity.watch(stop))]);
        }
    }

    async fn exchange_keeper(&mut self, before: Option<Arc<Keeper>>, asking: Option<Fetcher>) {
        let next = self.keeper.clone();
        if let (Some(before), Some(next), Some(asking)) = (&before, &next, asking)
            && Arc::ptr_eq(before, next)
        {
            return next.ask_by(asking);
        }
        self.intake.end_those(DRAIN, |name| name == ACME).await;
        self.intake.add(next.map(|keeper| Part::start(ACME, |stop| keeper.keep(stop))));
    }

    fn exchange_doors(
        &mut self,
        config: Config,
        listeners: &Listeners,
        place: Listen,
        identity: Option<Shown>,
    ) {
        let admin = self.admin(&config, place, identity.as_ref());
        let guard = Guard {
            is_local: listeners.admin.is_local(),
            tokens: config.admin.tokens.clone(),
            hosts: config.admin.hosts.clone(),
        };
        let private_limits = private_limits(config.http.header_timeout);
        let (public, public_limits) = self.public(config.http, identity);
        if let Some(doors) = &self.doors {
            doors.admin.set(admin);
            let private = doors.private.service.get().renewed(guard);
            doors.private.exchange("admin", listeners.admin.clone(), private, private_limits);
            doors.public.exchange("http", listeners.public.clone(), public, public_limits);
            return;
        }
        let admin = Arc::new(Current::new(admin));
        let private = Private::new(Arc::clone(&admin), self.metrics.clone(), guard);
        let (lookers, intake) = (&mut self.lookers, &mut self.intake);
        let at = listeners.admin.clone();
        let private = Served::open("admin", at, private, private_limits, lookers);
        let at = listeners.public.clone();
        let public = Served::open("http", at, public, public_limits, intake);
        let (control, door) = Door::new(listeners.control.clone());
        let asked = Arc::clone(&admin);
        intake.add([Part::start("control", |stop| control::serve(door, asked, stop))]);
        let counted = Arc::clone(&admin);
        let (resumed, wished) = (Arc::clone(&admin), Arc::clone(&admin));
        lookers.add([
            Part::start("census", |stop| admin::keep_counting(counted, stop)),
            Part::start("releases", |stop| admin::keep_letting_go(resumed, stop)),
            Part::start("forgetting", |stop| admin::keep_forgetting(wished, stop)),
        ]);
        self.doors = Some(Doors { admin, public, private, control });
    }

    /// What operators work on from now on.
    fn admin(&self, config: &Config, place: Listen, identity: Option<&Shown>) -> Admin {
        let running = &self.running;
        Admin {
            ingest: running.ingest.clone(),
            reader: running.reader.clone(),
            changes: running.changes.clone(),
            rules: running.policy.rules.get(),
            webhooks: self.webhooks.clone(),
            exports: self.exports.clone(),
            polls: self.polls.clone(),
            fleet: self.fleet.as_ref().map(|member| member.handle.clone()),
            forwards: self.forwards.clone(),
            census: Arc::clone(&self.census),
            lookups: Lookups(self.answered.iter().map(|a| Arc::clone(&a.judge)).collect()),
            sources: config.sources.iter().map(known).collect(),
            started: self.started,
            certificate: identity.map(|shown| shown.identity.state()),
            keeper: self.keeper.clone(),
            public: place,
            public_tls: identity.is_some(),
            state: self.state.clone(),
            quarantine: self.state.join("quarantine"),
            checkpoints: Arc::clone(&running.checkpoints),
            reloads: self.reloads.clone(),
            rejudging: Arc::clone(&self.rejudging),
        }
    }

    /// What the public listener serves, and within which limits.
    fn public(&self, settings: http::Settings, identity: Option<Shown>) -> (Public, Limits) {
        let limits = Limits {
            name: "public",
            places: Arc::new(accept::Limits {
                most: settings.connections_max,
                each: settings.connections_per_address,
                exempt: settings.trusted_proxies.clone(),
            }),
            header_timeout: settings.header_timeout,
            answer_timeout: ANSWER_TIMEOUT,
            tls: identity.map(|shown| shown.acceptor),
        };
        let public = Public {
            webhooks: self.webhooks.clone(),
            room: self.running.ingest.room(),
            body_max: settings.body_max,
            body_timeout: settings.body_timeout,
            trusted_proxies: settings.trusted_proxies,
        };
        (public, limits)
    }

    /// Waits until the store has caught up with what was there at the start.
    pub(super) fn ready(&self) -> impl Future<Output = ()> + use<> {
        let ingest = self.running.ingest.clone();
        async move { ingest.ready().await }
    }

    /// The name of the first part that ends, which none should before it is told to.
    pub(super) async fn first_to_end(&mut self) -> String {
        std::future::poll_fn(|context| {
            for group in [&mut self.intake, &mut self.exporting, &mut self.lookers] {
                if let Poll::Ready(name) = group.poll_ended(context) {
                    return Poll::Ready(name);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Stops step by step; what does not end in time is named and left behind.
    pub(super) async fn stop(mut self) {
        // More than what connections are given, so that they end by themselves.
        let drain = DRAIN + Duration::from_secs(1);
        if let Some(doors) = &self.doors {
            doors.public.close();
            doors.control.send_replace(Listener::default());
        }
        self.listeners.public = Listener::default();
        self.listeners.control = Listener::default();
        self.intake.end(drain).await;
        for name in self.running.stop(SYNC).await {
            telemetry::health::straggler(name);
        }
        self.exporting.end(LAST_EXPORT).await;
        if let Some(doors) = &self.doors {
            doors.private.close();
        }
        self.answered.iter().for_each(Answered::close);
        self.listeners = Listeners::default();
        self.lookers.end(drain).await;
    }
}

fn private_limits(header_timeout: Duration) -> Limits {
    let most = ADMIN_CONNECTIONS_MAX;
    Limits {
        name: "admin",
        places: Arc::new(accept::Limits { most, each: most / 4, exempt: Vec::new() }),
        header_timeout,
        answer_timeout: PAGE_TIMEOUT,
        tls: None,
    }
}

/// What operators are told of a source.
fn known(source: &config::Source) -> SourceInfo {
    let config::Source { name, provider, silent } = source;
    SourceInfo { name: name.clone(), provider: provider.name(), silent: *silent }
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
