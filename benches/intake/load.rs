//! The load: keep-alive connections that send unique signed requests over plain sockets.
//!
//! Written by hand, because a general client costs more than the servers it would measure.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use crate::event;

/// The key of the signatures.
pub(crate) const SECRET: &str = "bench-secret";
/// Connections at once.
pub(crate) const CONNECTIONS: u64 = 64;

/// The number of the next event, over all rounds: none is sent twice.
pub(crate) static NEXT: AtomicU64 = AtomicU64::new(0);

/// How requests are made.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// Events in each request.
    pub(crate) events: u64,
    /// How long.
    pub(crate) length: Duration,
    /// Requests a second over all connections; `None`: each as soon as the last is answered.
    pub(crate) rate: Option<u64>,
}

/// A connection that sends a request and reads the answer.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(to: SocketAddr) -> Result<Connection> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: vec![0; 256 << 10] })
    }

    /// Sends the bytes of a request; gives the status and the body of the answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<(u16, &[u8])> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            let got = self.stream.read(&mut self.buffer[filled..]).await?;
            ensure!(got > 0, "the server closed the connection, or its answer is too long");
            filled += got;
            let Some((status, start, length)) = head(&self.buffer[..filled])? else { continue };
            if filled >= start + length {
                return Ok((status, &self.buffer[start..start + length]));
            }
        }
    }
}

/// The status, where the body starts, and its length, once the head is whole.
fn head(bytes: &[u8]) -> Result<Option<(u16, usize, usize)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..end])?;
    let status = text.get(9..12).context("no status")?.parse()?;
    let field = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    Ok(Some((status, end + 4, field.unwrap_or("0").parse()?)))
}

/// Who wants to know of each answer: the request's first event, and when it was answered.
pub(crate) type Seen = UnboundedSender<(u64, Instant)>;

/// Sends a load to `/hooks/bench`; gives the time from sending to the answer of each request.
pub(crate) async fn run(to: SocketAddr, load: Load, seen: Option<Seen>) -> Result<Vec<Duration>> {
    let mut connections = JoinSet::new();
    for place in 0..CONNECTIONS {
        let connection = Connection::open(to).await?;
        connections.spawn(converse(connection, load, place, seen.clone()));
    }
    let mut times = Vec::new();
    while let Some(done) = connections.join_next().await {
        times.extend(done??);
    }
    Ok(times)
}

async fn converse(
    mut connection: Connection,
    load: Load,
    place: u64,
    seen: Option<Seen>,
) -> Result<Vec<Duration>> {
    let key = key()?;
    let end = Instant::now() + load.length;
    let (mut request, mut body, mut times) = (String::new(), String::new(), Vec::new());
    let mut ticks = load.rate.map(|rate| ticks(rate, place));
    while Instant::now() < end {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let first = next(load.events, u64::MAX).context("no number is left")?;
        put_request(&mut request, &mut body, &key, first, load.events)?;
        let sent = Instant::now();
        let (status, _) = connection.ask(request.as_bytes()).await?;
        let answered = Instant::now();
        if status != 200 {
            bail!("the server answered {status}");
        }
        times.push(answered - sent);
        if let Some(seen) = &seen {
            // Nobody wants to know any more: the load goes on all the same.
            let _ = seen.send((first, answered));
        }
    }
    Ok(times)
}

/// Takes that many numbers of events, or those that are left below a bound; says the first.
pub(crate) fn next(count: u64, below: u64) -> Option<u64> {
    let take = |next| (next < below).then(|| below.min(next + count));
    NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()
}

/// What signs.
pub(crate) fn key() -> Result<Hmac<Sha256>> {
    Ok(Hmac::new_from_slice(SECRET.as_bytes())?)
}

/// When one of the connections sends, so that all of them together keep the rate.
fn ticks(rate: u64, place: u64) -> Interval {
    let every = Duration::from_secs(CONNECTIONS) / rate as u32;
    let start = tokio::time::Instant::now() + every * place as u32 / CONNECTIONS as u32;
    let mut ticks = interval_at(start, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Makes the request that tells of these events.
pub(crate) fn put_request(
    request: &mut String,
    body: &mut String,
    key: &Hmac<Sha256>,
    first: u64,
    events: u64,
) -> Result<()> {
    body.clear();
    for number in first..first + events {
        body.push_str(if number == first { "[" } else { "," });
        event::put(body, number);
    }
    body.push(']');
    let whole = if events == 1 { &body[1..body.len() - 1] } else { body.as_str() };
    let mut mac = key.clone();
    mac.update(whole.as_bytes());
    request.clear();
    write!(
        request,
        "POST /hooks/bench HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nx-webhook-signature: {}\r\n\r\n{whole}",
        whole.len(),
        HEXLOWER.encode(&mac.finalize().into_bytes())
    )?;
    Ok(())
}
