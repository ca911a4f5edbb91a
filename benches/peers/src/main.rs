//! Webhook receivers as they are written by hand: axum, and a database that has each event, and
//! each suppression, before the answer.
//!
//! `peers postgres URL`: a transaction for each request, over 16 connections.
//! `peers sqlite FILE`: one writer, which commits what waits at once; WAL, synchronous=FULL.
//!
//! Prints the address it listens on. The load is that of the intake bench.

mod postgres;
mod sqlite;

use std::sync::Arc;

use anyhow::{Result, bail};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hmac::{Hmac, Mac};
use serde::Deserialize;
use sha2::Sha256;

/// The key that the bench signs with.
const SECRET: &[u8] = b"bench-secret";

/// An event of suppressd's generic format, as far as it is stored.
#[derive(Deserialize)]
struct Event {
    event: String,
    timestamp: String,
    message_id: String,
    recipient: String,
    smtp_code: u16,
    reason: String,
}

/// One, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Events {
    Many(Vec<Event>),
    One(Event),
}

enum Store {
    Postgres(postgres::Store),
    Sqlite(sqlite::Store),
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let store = match words[..] {
        ["postgres", url] => Store::Postgres(postgres::Store::open(url).await?),
        ["sqlite", file] => Store::Sqlite(sqlite::Store::open(file)?),
        _ => bail!("usage: peers postgres URL | sqlite FILE"),
    };
    let app = Router::new().route("/hooks/bench", post(take)).with_state(Arc::new(store));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

async fn take(State(store): State<Arc<Store>>, head: HeaderMap, body: Bytes) -> StatusCode {
    let signature = head.get("x-webhook-signature").and_then(|value| hex::decode(value).ok());
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).expect("a key of any length serves");
    mac.update(&body);
    if signature.is_none_or(|signature| mac.verify_slice(&signature).is_err()) {
        return StatusCode::UNAUTHORIZED;
    }
    let events = match serde_json::from_slice(&body) {
        Ok(Events::Many(events)) => events,
        Ok(Events::One(event)) => vec![event],
        Err(_) => return StatusCode::BAD_REQUEST,
    };
    let stored = match &*store {
        Store::Postgres(store) => store.put(events).await,
        Store::Sqlite(store) => store.put(events).await,
    };
    if stored.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
