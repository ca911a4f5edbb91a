//! SQLite: one writer, and one commit for all that wait.

use anyhow::{Result, anyhow};
use rusqlite::{Connection, params};
use tokio::sync::{mpsc, oneshot};

use crate::Event;

const TABLES: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, kind TEXT, at TEXT, recipient TEXT,
    code INT, reason TEXT) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS suppressions (recipient TEXT PRIMARY KEY, since TEXT) WITHOUT ROWID";
const EVENT: &str = "INSERT OR IGNORE INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const SUPPRESSION: &str = "INSERT OR IGNORE INTO suppressions VALUES (?1, ?2)";
/// Requests in one commit at most.
const WAITING: usize = 256;

type Asked = (Vec<Event>, oneshot::Sender<bool>);

pub struct Store(mpsc::Sender<Asked>);

impl Store {
    pub fn open(file: &str) -> Result<Store> {
        let connection = Connection::open(file)?;
        connection.execute_batch(TABLES)?;
        let (send, receive) = mpsc::channel(WAITING);
        std::thread::spawn(move || write(connection, receive));
        Ok(Store(send))
    }

    pub async fn put(&self, events: Vec<Event>) -> Result<()> {
        let (done, stored) = oneshot::channel();
        self.0.send((events, done)).await?;
        if stored.await? { Ok(()) } else { Err(anyhow!("not stored")) }
    }
}

fn write(mut connection: Connection, mut asked: mpsc::Receiver<Asked>) {
    let mut waiting = Vec::new();
    while asked.blocking_recv_many(&mut waiting, WAITING) > 0 {
        let stored = commit(&mut connection, &waiting).is_ok();
        for (_, done) in waiting.drain(..) {
            // Whoever asked may have gone.
            let _ = done.send(stored);
        }
    }
}

fn commit(connection: &mut Connection, asked: &[Asked]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for event in asked.iter().flat_map(|(events, _)| events) {
        let Event { event: kind, timestamp, message_id, recipient, smtp_code, reason } = event;
        let row = params![message_id, kind, timestamp, recipient, smtp_code, reason];
        transaction.prepare_cached(EVENT)?.execute(row)?;
        transaction.prepare_cached(SUPPRESSION)?.execute(params![recipient, timestamp])?;
    }
    transaction.commit()
}
