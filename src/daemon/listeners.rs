//! What is listened on: bound before anything is promised, and exchanged at a reload.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use tokio::sync::watch;

use super::group::Group;
use super::{DRAIN, Misconfigured};
use crate::accept::Door;
use crate::config::Config;
use crate::current::Current;
use crate::http;
use crate::listen::{Entry, Listen, Listener, Passed};
use crate::lookup::{self, Judge};
use crate::rules::Rules;
use crate::stop::{Part, stopped};
use crate::telemetry;

/// The listeners that a configuration asks for.
#[derive(Default)]
pub(super) struct Listeners {
    pub(super) public: Listener,
    pub(super) admin: Listener,
    /// In the order of the lookups.
    pub(super) lookups: Vec<Listener>,
    pub(super) control: Listener,
    /// Where lookups are to be asked as soon as what stands in the way has gone.
    late: Vec<Listen>,
}

impl Listeners {
    /// Binds every one, so that what cannot be had is known before anything is promised. Those that
    /// are in `present` stay bound, and so does the control socket, wherever it is to be. A lookup
    /// that something keeps from a start is bound later: all else is to be served meanwhile.
    ///
    /// # Errors
    /// When one cannot be bound.
    pub(super) fn bind(
        config: &Config,
        present: &Listeners,
        passed: &mut Passed,
    ) -> Result<Listeners> {
        let socket = passed.control();
        let mut tried = |entry: &Entry, present: &Listener| match present.of_entry(entry)? {
            Some(listener) => Ok(listener),
            None => Listener::bind(entry, passed),
        };
        let mut bound = |key: &str, entry: &Entry, present: &Listener| {
            tried(entry, present).map_err(|error| unbound(key, entry, &error))
        };
        // In the order of those that take what systemd has passed.
        let mut public = Listener::default();
        for entry in &config.http.listen {
            public.join(bound("http.listen", entry, &present.public)?);
        }
        let admin = bound("admin.listen", &config.admin.listen, &present.admin)?;
        private(config, &admin)?;
        let mut known = Listener::default();
        present.lookups.iter().cloned().for_each(|listener| known.join(listener));
        let is_start = present.public.place().is_none();
        let mut late = Vec::new();
        let lookups = config.lookups.iter().map(|lookup| {
            let entry = lookup.entry();
            // Who waits for it goes on, or has it by now.
            let mut found = match present.late.contains(&entry.listen) {
                true => Ok(None),
                false => tried(&entry, &known).map(Some),
            };
            if is_start && found.as_ref().is_err_and(|error| may_go(&entry.listen, error)) {
                found = Ok(None);
            }
            let found = found.map_err(|error| unbound("lookup.listen", &entry, &error))?;
            Ok(found.unwrap_or_else(|| {
                late.push(entry.listen);
                Listener::default()
            }))
        });
        let lookups = lookups.collect::<Result<_>>()?;
        let own = config.control.entry();
        let control = match socket {
            Some(socket) => socket,
            None if present.control.place().is_none() => tried(&own, &present.control)
                .map_err(|error| unbound("control.socket", &own, &error))?,
            // Elsewhere it is only after a restart.
            None => {
                let kept = present.control.of_entry(&own);
                kept.map_err(|error| unbound("control", &own, &error))?;
                present.control.clone()
            }
        };
        Ok(Listeners { public, admin, lookups, control, late })
    }
}

/// What systemd has passed, dealt among the listeners that take some.
pub(super) fn passed(config: &Config) -> Result<Passed> {
    let lookups: Vec<Entry> = config.lookups.iter().map(lookup::Settings::entry).collect();
    let named = config.http.listen.iter().map(|entry| ("http", entry));
    let named = named.chain([("admin", &config.admin.listen)]);
    let named = named.chain(lookups.iter().map(|entry| ("lookup", entry)));
    let takers = named.filter(|(_, entry)| entry.listen == Listen::Systemd).map(|(name, _)| name);
    let passed = Passed::receive(&takers.collect::<Vec<_>>());
    Ok(passed.map_err(|error| Misconfigured(error.to_string()))?)
}

/// Whether what keeps us from listening may go by itself, or by another hand than that which writes
/// the configuration.
fn may_go(listen: &Listen, error: &io::Error) -> bool {
    use ErrorKind::{AddrInUse, AlreadyExists, NotADirectory};
    passes(listen, error)
        || matches!(listen, Listen::Unix(_))
            && matches!(error.kind(), AddrInUse | AlreadyExists | NotADirectory)
}

/// Whether it may be gone at the next start.
fn passes(listen: &Listen, error: &io::Error) -> bool {
    use ErrorKind::{AddrInUse, AddrNotAvailable, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    // Another program may go, an address come, and a disk be mended. A socket of systemd's that is
    // not there by now does not come to a process that runs already: its unit starts one.
    let passes = matches!(
        error.kind(),
        AddrInUse | AddrNotAvailable | QuotaExceeded | ReadOnlyFilesystem | StorageFull
    );
    passes && *listen != Listen::Systemd
}

fn unbound(key: &str, entry: &Entry, error: &io::Error) -> anyhow::Error {
    let listen = &entry.listen;
    let what = format!("{key}: cannot listen on {listen}: {error} ({})", listen.hint(error));
    match passes(listen, error) {
        true => anyhow!(what),
        false => Misconfigured(what).into(),
    }
}

/// Refuses a private listener whose socket systemd has passed, and opened to more than it should.
fn private(config: &Config, listener: &Listener) -> Result<()> {
    if !listener.is_local() && config.admin.tokens.is_empty() {
        let shown = listener.shown().join(", ");
        let what = format!("admin.listen: {shown} is open to other hosts (set [admin] token)");
        bail!(Misconfigured(what));
    }
    Ok(())
}

/// An HTTP listener that serves, and what of it can be exchanged.
pub(super) struct Served<S> {
    listener: watch::Sender<Listener>,
    pub(super) service: Arc<Current<S>>,
    limits: Arc<Current<http::Limits>>,
}

impl<S: http::Service> Served<S> {
    /// Serves on a listener from now on, as a part of `group`.
    pub(super) fn open(
        name: &'static str,
        listener: Listener,
        service: S,
        limits: http::Limits,
        group: &mut Group,
    ) -> Served<S> {
        tell(name, &listener, &Listener::default());
        let (exchange, door) = Door::new(listener);
        let (service, limits) = (Arc::new(Current::new(service)), Arc::new(Current::new(limits)));
        let (what, within) = (Arc::clone(&service), Arc::clone(&limits));
        group.add([Part::start(name, |stop| async move {
            if http::serve(door, what, within, stop, DRAIN).await > 0 {
                telemetry::health::straggler(name);
            }
        })]);
        Served { listener: exchange, service, limits }
    }

    /// Serves on another listener, by another service, within other limits.
    pub(super) fn exchange(
        &self,
        name: &'static str,
        listener: Listener,
        service: S,
        limits: http::Limits,
    ) {
        tell(name, &listener, &self.listener.borrow());
        self.service.set(service);
        self.limits.set(limits);
        self.listener.send_replace(listener);
    }

    /// Accepts nothing any more.
    pub(super) fn close(&self) {
        self.listener.send_replace(Listener::default());
    }
}

/// A lookup that answers, and what of it can be exchanged.
pub(super) struct Answered {
    pub(super) listen: Listen,
    listener: watch::Sender<Listener>,
    pub(super) judge: Arc<Current<Judge>>,
}

impl Answered {
    /// Answers on a listener from now on, as a part of `group`. One without a socket gets it as
    /// soon as that can be.
    pub(super) fn open(
        entry: Entry,
        listener: Listener,
        judge: Judge,
        protocol: &'static str,
        group: &mut Group,
    ) -> Answered {
        tell(protocol, &listener, &Listener::default());
        let listen = entry.listen.clone();
        let name = Answered::name(&listen);
        let (exchange, door) = Door::new(listener);
        let opened = judge.opened();
        let judge = Arc::new(Current::new(judge));
        let asked = Arc::clone(&judge);
        let late = bound_late(entry, exchange.clone(), Arc::clone(&judge), protocol);
        group.add([Part::start(name.clone(), |mut stop| async move {
            tokio::select! {
                () = stopped(&mut stop) => {}
                () = opened => {}
            }
            let served = lookup::listener::serve(door, asked, stop, DRAIN);
            let cut = tokio::select! {
                cut = served => cut,
                never = late => match never {},
            };
            if cut > 0 {
                telemetry::health::straggler(&name);
            }
        })]);
        Answered { listen, listener: exchange, judge }
    }

    /// Answers by other settings and rules from now on.
    pub(super) fn renew(&self, settings: lookup::Settings, rules: Arc<Rules>) {
        // One that was bound late has no other who admits its clients.
        let _ = self.listener.borrow().of_entry(&settings.entry());
        self.judge.set(self.judge.get().renewed(settings, rules));
    }

    /// Where it is asked, as it is shown.
    pub(super) fn shown(listen: &Listen, listener: &Listener) -> String {
        match listener.place() {
            Some(_) => listener.shown().join(", "),
            None => listen.to_string(),
        }
    }

    /// What the part is called that answers there.
    pub(super) fn name(listen: &Listen) -> String {
        format!("lookup {listen}")
    }

    /// Accepts nothing any more.
    pub(super) fn close(&self) {
        self.listener.send_replace(Listener::default());
    }
}

/// Tells where it is listened from now on, and was not before.
fn tell(name: &'static str, listener: &Listener, before: &Listener) {
    let known = before.shown();
    for on in listener.shown().iter().filter(|on| !known.contains(on)) {
        telemetry::webhook::listening(name, on);
    }
}

/// Binds what is not bound yet, as soon as what is in the way has gone. Never ends.
async fn bound_late(
    entry: Entry,
    exchange: watch::Sender<Listener>,
    judge: Arc<Current<Judge>>,
    protocol: &'static str,
) -> Infallible {
    while exchange.borrow().place().is_none() {
        match Listener::bind(&entry, &mut Passed::default()) {
            Ok(listener) => {
                judge.get().is_kept_from(None);
                tell(protocol, &listener, &Listener::default());
                exchange.send_replace(listener);
            }
            Err(error) => {
                let hint = entry.listen.hint(&error);
                judge.get().is_kept_from(Some(format!("nobody can ask: {error} ({hint})")));
                tokio::time::sleep(BIND_AGAIN).await;
            }
        }
    }
    std::future::pending().await
}

/// How long to wait before something is bound again that could not be.
const BIND_AGAIN: Duration = Duration::from_secs(2);

/// How long a client of HTTP may take for an answer: a sender's is small, a reader's is a page.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const PAGE_TIMEOUT: Duration = Duration::from_secs(30);
