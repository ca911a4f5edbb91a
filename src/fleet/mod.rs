//! Several mail hosts, one truth: what one host is told, all of them know.
//!
//! One more way in and one more follower of the journal. NATS JetStream carries records between
//! hosts and is never the ground of an answer: what it loses is asked for from any host that has
//! it. docs/fleet.md has the whole picture, and what happens when.

mod answer;
mod ask;
mod digest;
mod hand_in;
mod heads;
mod lease;
mod letter;
mod life;
mod link;
mod out;
mod read;
mod sight;
mod stream;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::Client;
use tokio::sync::{Notify, mpsc, watch};

pub use sight::{Check, HostRow, Summary};

use crate::ingest::{Ingest, Running};
use crate::model::{Known, Position, Reach, SourceName, Time};
use crate::secret::Secret;
use crate::stop::{Part, stopped};
use crate::store::Reader;
use crate::telemetry;
use crate::turns::Turns;
use crate::webhook::Tokens;
use life::Life;
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
    /// A hash of the rules, and of the names and providers of the sources: all hosts should agree.
    pub rules: u64,
    /// The latter.
    pub sources: u64,
    /// The sources that are polled.
    pub polled: Vec<SourceName>,
    /// The state directory.
    pub state: PathBuf,
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
    ingest: Ingest,
    reader: Reader,
    tokens: Tokens,
    turns: Turns,
    life: Mutex<Life>,
    /// Where the journal ended when this process began.
    began: Position,
    reaches: Mutex<Reaches>,
    sight: Mutex<Sight>,
    /// What is known of other hosts' heads has changed.
    heard: Notify,
    /// The buckets that an operator, or another host, wants repaired.
    repairs: mpsc::Sender<ask::Repair>,
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

/// Starts it.
pub fn start(
    settings: Settings,
    running: &Running,
    tokens: Tokens,
    turns: Turns,
) -> (Handle, Part) {
    let began = running.ingest.committed();
    let (repairs, wanted) = mpsc::channel(4);
    telemetry::fleet::begin();
    let fleet = Arc::new(Fleet {
        settings,
        ingest: running.ingest.clone(),
        reader: running.reader.clone(),
        tokens,
        turns,
        life: Mutex::new(Life::begin(began, true)),
        began,
        reaches: Mutex::default(),
        sight: Mutex::default(),
        heard: Notify::new(),
        repairs,
    });
    let handle = Handle(Arc::clone(&fleet));
    (handle, Part::start(PART, |stop| fleet.live(wanted, stop)))
}

impl Handle {
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
        stop: watch::Receiver<bool>,
    ) {
        let mut stopping = stop.clone();
        let began = async {
            self.ingest.ready().await;
            self.begin().await;
            link::connect(&self).await
        };
        let client = tokio::select! {
            client = began => client,
            () = stopped(&mut stopping) => return telemetry::fleet::ended(),
        };
        let (fleet, told) = (&self, client.clone());
        let parts = async {
            tokio::join!(
                fleet.tell(&told),
                fleet.follow(&told),
                fleet.show_heads(&told),
                fleet.hear_heads(&told),
                fleet.answer_all(&told),
                fleet.ask_for_holes(&told),
                fleet.repair_all(&told, wanted),
                fleet.elect(&told),
                fleet.share_tokens(&told),
            )
        };
        tokio::select! {
            _ = parts => {}
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
        let file = life::path(&self.settings.state);
        let life = Life::load(&file, self.began).unwrap_or_else(|| {
            let start = self.reader.journal_start().unwrap_or(self.began);
            Life::begin(start, start.segment <= 1)
        });
        *self.life() = life;
        telemetry::fleet::life(&self.settings.host, life.number);
        self.note_life();
    }

    /// Begins another life: positions of this one mean other records elsewhere. What was told in
    /// this one and is gone here comes back from the others.
    async fn begin_again(&self) {
        let old = *self.life();
        let next = Life::begin(self.began, true);
        let upto = self.began.min(old.told);
        let known = Known { host: self.settings.host.as_str().into(), life: old.number, upto };
        telemetry::fleet::begun_again(&self.settings.host, next.number);
        self.adopt(vec![known], None).await;
        *self.life() = next;
        self.note_life();
    }

    fn note_life(&self) {
        let life = *self.life();
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
