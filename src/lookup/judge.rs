//! From a query to an answer: the store's verdict, narrowed as one `[[lookup]]` says.
//!
//! Never writes anything down that names an address. What it counts is read by `status` and by
//! whoever asks for metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::{Answer, Query, Sender, Settings, Style};
use crate::current::Current;
use crate::model::{Address, Reason, Scope};
use crate::rules::Rules;
use crate::store::{Reader, StoreError};
use crate::{clock, telemetry};

/// Longest wait for the store at a start: what is asked meanwhile waits with it.
const OPENED_MAX: Duration = Duration::from_secs(3);

/// Answers the queries of one listener.
pub struct Judge {
    pub(super) settings: Settings,
    /// Where it is asked, as logs and metrics name it.
    pub(super) listen: String,
    reader: Reader,
    rules: Arc<Rules>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Whether the store could not answer when it was last asked.
    failing: AtomicBool,
    connections: AtomicU64,
    suppressed: AtomicU64,
    clear: AtomicU64,
    errors: AtomicU64,
    malformed: AtomicU64,
    /// Why nobody can ask, if something keeps us from listening.
    kept_from: Mutex<Option<String>>,
}

/// How a listener stands. Everything but `connections` counts since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The protocol.
    pub protocol: &'static str,
    /// Where it is asked.
    pub listen: String,
    /// Connections that are open.
    pub connections: u64,
    /// Queries that were answered.
    pub queries: u64,
    /// Those of them that were told of a suppression.
    pub suppressed: u64,
    /// Those of them that the store could not answer.
    pub errors: u64,
    /// Connections that ended because what they sent was no query.
    pub malformed: u64,
}

/// All listeners, to look at.
#[derive(Clone, Default)]
pub struct Lookups(pub Vec<Arc<Current<Judge>>>);

impl Lookups {
    /// How each stands, in the order of the configuration.
    pub fn statuses(&self) -> Vec<Status> {
        self.0.iter().map(|judge| judge.get().status()).collect()
    }

    /// Where nobody can ask, and why.
    pub fn unheard(&self) -> Vec<(String, String)> {
        let unheard = |judge: Arc<Judge>| {
            let why = judge.counts.kept_from.lock().unwrap_or_else(PoisonError::into_inner);
            Some((judge.listen.clone(), why.clone()?))
        };
        self.0.iter().filter_map(|judge| unheard(judge.get())).collect()
    }

    /// Whether any gives answers that Postfix understands.
    pub fn may_serve_postfix(&self) -> bool {
        self.0.iter().any(|judge| judge.get().settings.style != Some(Style::Sendmail))
    }

    /// Brings their metrics up to date.
    pub fn measure(&self) {
        for status in self.statuses() {
            let Status { protocol, listen, connections, queries, suppressed, errors, malformed } =
                status;
            let clear = queries.saturating_sub(suppressed + errors);
            let answers = [("suppressed", suppressed), ("clear", clear), ("error", errors)];
            telemetry::lookup::counted(protocol, &listen, connections, answers, malformed);
        }
    }
}

/// Counts a connection until it is dropped.
pub(super) struct Connected(Arc<Counts>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

impl Judge {
    /// One that answers at `listen`.
    pub fn new(settings: Settings, listen: String, reader: Reader, rules: Arc<Rules>) -> Judge {
        Judge { settings, listen, reader, rules, counts: Arc::default() }
    }

    /// One that answers there by other settings and rules from now on, and counts on.
    #[must_use]
    pub fn renewed(&self, settings: Settings, rules: Arc<Rules>) -> Judge {
        let Judge { listen, reader, counts, .. } = self;
        let (listen, reader, counts) = (listen.clone(), reader.clone(), Arc::clone(counts));
        Judge { settings, listen, reader, rules, counts }
    }

    /// Notes what keeps us from listening, or that nothing does.
    pub fn is_kept_from(&self, why: Option<String>) {
        let mut known = self.counts.kept_from.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = why.as_ref().filter(|why| known.as_ref() != Some(why)) {
            telemetry::lookup::unheard(&self.listen, why);
        }
        *known = why;
    }

    /// Waits until the store is current, though not for long: who was suppressed before a start is
    /// so from the first answer on.
    pub fn opened(&self) -> impl Future<Output = ()> + use<> {
        let reader = self.reader.clone();
        async move {
            // An MTA that waits much longer takes that for a failure.
            let _ = tokio::time::timeout(OPENED_MAX, reader.opened()).await;
        }
    }

    /// The answer to one query.
    pub fn answer(&self, query: &Query<'_>) -> Answer<'_> {
        match self.find(query) {
            Ok(Some(reason)) => {
                self.counts.suppressed.fetch_add(1, Relaxed);
                let named = || Style::parse(&query.table).unwrap_or(Style::Access);
                let style = self.settings.style.unwrap_or_else(named);
                Answer::Suppressed(self.settings.replies.get(style, reason))
            }
            Ok(None) => {
                self.counts.clear.fetch_add(1, Relaxed);
                Answer::Clear
            }
            Err(error) => {
                self.counts.errors.fetch_add(1, Relaxed);
                let open = self.settings.open_on_error;
                if !self.counts.failing.swap(true, Relaxed) {
                    telemetry::lookup::cannot_answer(&self.listen, &error, open);
                }
                if open { Answer::Clear } else { Answer::Unavailable }
            }
        }
    }

    /// Why the recipient is suppressed, if it is: in any reading, or without its extension.
    fn find(&self, query: &Query<'_>) -> Result<Option<Reason>, StoreError> {
        let (filter, now) = (&self.settings.filter, clock::now());
        let scopes = self.scopes(&query.sender);
        for address in Address::readings(&query.recipient) {
            let base = address.without_extension(&self.settings.recipient_delimiter);
            for address in [Some(address), base].into_iter().flatten() {
                let found = self.reader.reason(&self.rules, &address, scopes, filter, now)?;
                if self.counts.failing.load(Relaxed) && self.counts.failing.swap(false, Relaxed) {
                    telemetry::lookup::answers_again(&self.listen);
                }
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        Ok(None)
    }

    /// The scopes of mail from this sender.
    fn scopes(&self, sender: &str) -> &[Scope] {
        let by_sender = &self.settings.scopes_by_sender;
        let senders: Vec<Address> = match by_sender.is_empty() {
            true => Vec::new(),
            false => Address::readings(sender).collect(),
        };
        let means = |wanted: &Sender| {
            senders.iter().any(|sender| match wanted {
                Sender::Address(address) => sender == address,
                Sender::Domain(domain) => sender.domain() == domain,
            })
        };
        let row = by_sender.iter().find(|(sender, _)| means(sender));
        row.map_or(&self.settings.scopes, |(_, scopes)| scopes)
    }

    pub(super) fn connected(&self) -> Connected {
        self.counts.connections.fetch_add(1, Relaxed);
        Connected(Arc::clone(&self.counts))
    }

    pub(super) fn malformed(&self) {
        self.counts.malformed.fetch_add(1, Relaxed);
        telemetry::lookup::malformed(self.settings.protocol.name(), &self.listen);
    }

    fn status(&self) -> Status {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let (suppressed, errors) = (read(&self.counts.suppressed), read(&self.counts.errors));
        Status {
            protocol: self.settings.protocol.name(),
            listen: self.listen.clone(),
            connections: read(&self.counts.connections),
            queries: suppressed + errors + read(&self.counts.clear),
            suppressed,
            errors,
            malformed: read(&self.counts.malformed),
        }
    }
}
