//! Several mail hosts, one truth: what one host is told, all of them know.
//!
//! One more way in and one more follower of the journal. NATS JetStream carries records between
//! hosts and is never the ground of an answer: what it loses is asked for from any host that has
//! it. docs/fleet.md has the whole picture, and what happens when.

mod answer;
mod ask;
mod digest;
mod forget;
mod hand_in;
mod heads;
mod lease;
mod letter;
mod life;
mod link;
mod out;
mod passed;
mod read;
mod sight;
mod stands;
mod stream;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_nats::Client;
use tokio::sync::{Notify, mpsc, watch};

pub use forget::Wish;
pub use sight::{Check, HostRow, Summary};

use crate::clock;
use crate::current::Current;
use crate::ingest::{Changes, Ingest, Running};
use crate::model::{Known, Position, Reach, SourceName, Time};
use crate::secret::Secret;
use crate::stop::{Part, stopped};
use crate::store::Reader;
use crate::telemetry;
use crate::turns::{Tellers, Turns};
use crate::webhook::Tokens;
use life::Life;
use passed::Passings;
use sight::Sight;

/// What the part is called.
pub const PART: &str = "fleet";

/// How long a host waits before it tries again what has failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The `[fleet]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// This host's name.
    pub host: String,
    /// The servers' URLs.
    pub servers: Vec<String>,
    /// Who we are to them.
    pub login: Login,
    /// The certificates of the authority that the servers' are of. `None`: the system's.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The stream's name, and the first word of every subject.
    pub stream: String,
    /// On how many servers the stream is kept.
    pub replicas: usize,
    /// Which hosts poll.
    pub poll: Polling,
    /// A host that reaches no servers for so long polls and forwards by itself: cut off, it goes on
    /// alone.
    pub alone_after: Duration,
    /// What all hosts should agree on.
    pub agreed: Agreed,
    /// The sources that are polled.
    pub polled: Vec<SourceName>,
    /// The forwards whose receivers all hosts would tell the same.
    pub forwards: Vec<SourceName>,
    /// The state directory.
    pub state: PathBuf,
}

/// What all hosts should agree on. A reload may change it, and the host stays in the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// A hash of the rules.
    pub rules: u64,
    /// A hash of the names and providers of the sources.
    pub sources: u64,
}

/// How a host shows the servers who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// By its certificate, or not at all.
    None,
    /// By an NKEY: its seed, or the text of a `.creds` file.
    Credentials(Secret),
    /// By name and password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
}

/// Which hosts poll a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polling {
    /// One of those that live.
    Elected,
    /// Each.
    Always,
    /// The others.
    Never,
}

/// Of each life of each host, how much is known.
type Reaches = BTreeMap<(Box<str>, u64), Reach>;

/// What all parts of it share.
struct Fleet {
    settings: Settings,
    /// What of them may change.
    agreed: Current<Agreed>,
    ingest: Ingest,
    reader: Reader,
    tokens: Tokens,
    turns: Turns,
    tellers: Tellers,
    changes: Changes,
    /// What was known when, to say what of it was forwarded.
    passings: Mutex<Passings>,
    /// Whether it had one before; else it finds out how the next begins.
    has_life: bool,
    life: Mutex<Life>,
    /// Where the journal ended when this process began, or one before it that could not settle.
    began: Position,
    /// The last record that was sent to the others.
    sent: Mutex<Position>,
    reaches: Mutex<Reaches>,
    sight: Mutex<Sight>,
    /// What is known of other hosts' heads has changed.
    heard: Notify,
    /// The buckets that an operator, or another host, wants repaired.
    repairs: mpsc::Sender<ask::Repair>,
    /// What other hosts want forgotten.
    wishes: forget::Wishes,
    /// The connection, once there is one.
    client: OnceLock<Client>,
}

/// The operator's handle. Cheap to clone.
#[derive(Clone)]
pub struct Handle(Arc<Fleet>);

/// Whose turn it is to poll, as far as that is known before it is started.
pub fn turns(settings: &Settings) -> Turns {
    match settings.poll {
        Polling::Always => Turns::always(),
        Polling::Never => Turns::never(),
        Polling::Elected => Turns::elected(),
    }
}

/// What it shares with those whose work the hosts share.
pub struct Shared {
    /// The webhooks' tokens that count once.
    pub tokens: Tokens,
    /// Who polls.
    pub turns: Turns,
    /// Who forwards.
    pub tellers: Tellers,
}

/// Starts it.
pub fn start(settings: Settings, running: &Running, shared: Shared) -> (Handle, Part) {
    let Shared { tokens, turns, tellers } = shared;
    let end = running.ingest.committed();
    let (repairs, wanted) = mpsc::channel(4);
    telemetry::fleet::begin();
    // Before anything is told to this host.
    let life = unsettled(&settings.state, end);
    let began = life.and_then(|life| life.unsettled).unwrap_or(end);
    let fleet = Arc::new(Fleet {
        agreed: Current::new(settings.agreed),
        settings,
        ingest: running.ingest.clone(),
        reader: running.reader.clone(),
        tokens,
        turns,
        tellers,
        changes: running.changes.clone(),
        passings: Mutex::default(),
        has_life: life.is_some(),
        life: Mutex::new(life.unwrap_or_else(|| Life::begin(began, true))),
        began,
        sent: Mutex::default(),
        reaches: Mutex::default(),
        sight: Mutex::new(Sight::new(clock::now())),
        heard: Notify::new(),
        repairs,
        wishes: forget::Wishes::new(),
        client: OnceLock::new(),
    });
    let handle = Handle(Arc::clone(&fleet));
    let before = running.changes.last();
    (handle, Part::start(PART, move |stop| fleet.live(wanted, before, stop)))
}

/// The life so far, with where the journal ended when it was begun with: noted, since a crash may
/// come before it is known whether that was an older one, put back.
fn unsettled(state: &Path, end: Position) -> Option<Life> {
    let file = life::path(state);
    let mut life = Life::load(&file, end)?;
    life.unsettled = Some(life.unsettled.unwrap_or(end));
    clock::hear(life.heard);
    if let Err(error) = life.store(&file) {
        telemetry::fleet::life_not_noted(&error);
    }
    Some(life)
}

impl Handle {
    /// Tells the others of other rules or sources from now on.
    pub fn agree(&self, agreed: Agreed) {
        self.0.agreed.set(agreed);
    }

    /// Has the standings compared with those of all other hosts, and what differs mended.
    pub fn repair(&self) -> bool {
        self.0.repairs.try_send(ask::Repair { from: None }).is_ok()
    }

    /// What the last comparison has found, if it was after that time: in how many parts each host
    /// differs.
    pub fn compared_since(&self, time: Time) -> Option<Vec<(String, u32)>> {
        let sight = self.0.sight();
        let (_, found) = sight.compared.as_ref().filter(|(at, _)| *at >= time)?;
        Some(found.iter().map(|(host, differ)| (host.to_string(), *differ)).collect())
    }
}

impl Fleet {
    async fn live(
        self: Arc<Self>,
        wanted: mpsc::Receiver<ask::Repair>,
        changes_before: u64,
        stop: watch::Receiver<bool>,
    ) {
        let mut stopping = stop.clone();
        // Whether there is a connection or not: they are records of this host.
        let mut told = pin!(self.tell_what_stands(changes_before));
        let began = async {
            self.ingest.ready().await;
            self.begin().await;
            link::connect(&self).await
        };
        let client = tokio::select! {
            client = began => client,
            () = &mut told => return,
            () = self.go_alone_in_the_end() => return,
            () = stopped(&mut stopping) => return telemetry::fleet::ended(),
        };
        // It is one connection for as long as this part lives.
        let _ = self.client.set(client.clone());
        let (fleet, on) = (&self, client.clone());
        let parts = async {
            tokio::join!(
                fleet.tell(&on),
                fleet.follow(&on),
                fleet.show_heads(&on),
                fleet.hear_heads(&on),
                fleet.answer_all(&on),
                fleet.ask_for_holes(&on),
                fleet.repair_all(&on, wanted),
                fleet.elect(&on),
                fleet.share_tokens(&on),
                fleet.learn_forgotten(&on),
            )
        };
        tokio::select! {
            _ = parts => {}
            () = &mut told => {}
            () = stopped(&mut stopping) => {}
        }
        self.note_life();
        self.leave(&client).await;
        telemetry::fleet::ended();
    }

    /// Finds out which life this is, and what is known of others.
    async fn begin(&self) {
        let known = loop {
            match self.reader.reaches() {
                Ok(reaches) => break reaches,
                // It opens it again by itself.
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        };
        let reaches = known.into_iter().map(|(host, life, reach)| ((host, life), reach));
        *self.reaches() = reaches.collect();
        if !self.has_life {
            let start = self.reader.journal_start().unwrap_or(self.began);
            *self.life() = Life::begin(start, start.segment <= 1);
        }
        telemetry::fleet::life(&self.settings.host, self.life().number);
        self.note_life();
    }

    /// Whether others know a record of this life that was not told, and did not stand in the
    /// journal when it was begun with: then the state directory is an older one that was put back.
    fn is_put_back(&self, known: Option<Position>) -> bool {
        let told = self.life().told.max(*self.sent());
        known.is_some_and(|known| known > told && known >= self.began)
    }

    /// Begins another life: positions of this one mean other records elsewhere. What was told in
    /// this one and is gone here comes back from the others.
    async fn begin_again(&self) {
        let old = *self.life();
        let next = Life::begin(self.began, true);
        let upto = self.began.min(old.told);
        let known = Known { host: self.settings.host.as_str().into(), life: old.number, upto };
        telemetry::fleet::put_back(&self.settings.host, self.began);
        telemetry::fleet::begun_again(&self.settings.host, next.number);
        self.adopt(vec![known], None).await;
        *self.life() = next;
        *self.sent() = next.told;
        self.note_life();
    }

    fn note_life(&self) {
        // One after the other, so that nothing older takes the place of what is newer.
        let life = self.life();
        if let Err(error) = life.store(&life::path(&self.settings.state)) {
            telemetry::fleet::life_not_noted(&error);
        }
    }

    /// Everything that is known of every life of every host, ours with what it has told.
    fn seen(&self) -> Vec<Known> {
        let of = |((host, life), reach): (&(Box<str>, u64), &Reach)| Known {
            host: host.clone(),
            life: *life,
            upto: reach.upto(),
        };
        let mut seen: Vec<Known> = self.reaches().iter().map(of).collect();
        let life = *self.life();
        let host = self.settings.host.as_str().into();
        seen.push(Known { host, life: life.number, upto: life.told });
        seen
    }

    fn is_us(&self, host: &str, life: u64) -> bool {
        host == self.settings.host && life == self.life().number
    }

    fn passings(&self) -> MutexGuard<'_, Passings> {
        self.passings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sent(&self) -> MutexGuard<'_, Position> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reaches(&self) -> MutexGuard<'_, Reaches> {
        self.reaches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sight(&self) -> MutexGuard<'_, Sight> {
        self.sight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subject(&self, what: &str, host: &str) -> String {
        format!("{}.{what}.{host}", self.settings.stream)
    }
}

/// Waits until the client is connected.
async fn connected(client: &Client) {
    while client.connection_state() != async_nats::connection::State::Connected {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
