//! PostgreSQL, with its own durability: the commit is on disk before the answer.

use anyhow::Result;
use deadpool_postgres::{Manager, Pool};
use tokio_postgres::NoTls;

use crate::Event;

const TABLES: &str = "CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, kind TEXT, at TEXT,
    recipient TEXT, code INT, reason TEXT);
    CREATE TABLE IF NOT EXISTS suppressions (recipient TEXT PRIMARY KEY, since TEXT)";
const EVENTS: &str = "INSERT INTO events SELECT * FROM unnest($1::text[], $2::text[], $3::text[],
    $4::text[], $5::int[], $6::text[]) ON CONFLICT DO NOTHING";
const SUPPRESSIONS: &str = "INSERT INTO suppressions SELECT * FROM unnest($1::text[], $2::text[])
    ON CONFLICT DO NOTHING";

pub struct Store(Pool);

impl Store {
    pub async fn open(url: &str) -> Result<Store> {
        let pool = Pool::builder(Manager::new(url.parse()?, NoTls)).max_size(16).build()?;
        pool.get().await?.batch_execute(TABLES).await?;
        Ok(Store(pool))
    }

    pub async fn put(&self, events: Vec<Event>) -> Result<()> {
        let of = |field: fn(&Event) -> &str| events.iter().map(field).collect::<Vec<&str>>();
        let (ids, kinds) = (of(|e| &e.message_id), of(|e| &e.event));
        let (times, recipients, reasons) =
            (of(|e| &e.timestamp), of(|e| &e.recipient), of(|e| &e.reason));
        let codes: Vec<i32> = events.iter().map(|event| i32::from(event.smtp_code)).collect();
        let mut client = self.0.get().await?;
        let transaction = client.transaction().await?;
        let insert = transaction.prepare_cached(EVENTS).await?;
        transaction.execute(&insert, &[&ids, &kinds, &times, &recipients, &codes, &reasons]).await?;
        let insert = transaction.prepare_cached(SUPPRESSIONS).await?;
        transaction.execute(&insert, &[&recipients, &times]).await?;
        Ok(transaction.commit().await?)
    }
}
