//! The loop of a listener: accepts within limits, and lets what was accepted end at a stop.
//!
//! Never waits for a place: when all are taken, the connection that has the least need of its own
//! gives way, or the new one is told that there is none. Never reads or writes a connection that it
//! has a place for: whoever serves it does.

mod places;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

pub use places::{Limits, Place, is_among, subscriber};

use crate::listen::{Connection, Listener};
use crate::stop::stopped;
use crate::telemetry;
use places::Places;

/// The wait after an accept that failed: the usual reason is a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often it is looked whether the files of Unix sockets are still there.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Most connections that are told at once that there is no place; others are only closed.
const FAREWELLS_MAX: usize = 64;

/// How often others get their turn before one of them gives way: twice is what it takes to see that
/// a client has left, where they are not many.
const TURNS: usize = 8;

/// How long, and for how many bytes, a connection is read on that we have closed: what was written
/// last would be lost with a client that is still sending.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: u64 = 64 << 20;

/// What connections are accepted from: a listener, which can be exchanged for another meanwhile.
/// What was accepted goes on.
#[derive(Clone, Debug)]
pub struct Door(watch::Receiver<Listener>);

impl Door {
    /// One with this listener, and what exchanges it.
    pub fn new(listener: Listener) -> (watch::Sender<Listener>, Door) {
        let (exchange, door) = watch::channel(listener);
        (exchange, Door(door))
    }
}

impl From<Listener> for Door {
    fn from(listener: Listener) -> Door {
        Door::new(listener).1
    }
}

/// Serves each connection until `stop` turns true, then lets those that are open end until `drain`
/// has passed. `limits` are asked for each connection; one that there is no place for is sent
/// `farewell`, and closed. `name` is for logs and metrics. Says how many connections had to be cut
/// off.
pub async fn accept_all<F>(
    name: &str,
    door: impl Into<Door>,
    limits: impl Fn() -> Arc<Limits> + Send + Sync + 'static,
    farewell: impl Fn() -> Arc<[u8]>,
    mut stop: watch::Receiver<bool>,
    drain: Duration,
    serve: impl Fn(Connection, Arc<Place>) -> F,
) -> usize
where
    F: Future<Output = ()> + Send + 'static,
{
    telemetry::webhook::accepting(name);
    let places = Arc::new(Places::new(name, limits));
    let Door(mut listeners) = door.into();
    let mut listener = listeners.borrow_and_update().clone();
    let farewells = Arc::new(Semaphore::new(FAREWELLS_MAX));
    let mut connections = JoinSet::new();
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            // Without anyone who could exchange it, it stays.
            Ok(()) = listeners.changed() => {
                listener = listeners.borrow_and_update().clone();
                continue;
            }
            _ = look.tick() => {
                for (path, mended) in listener.mend() {
                    telemetry::webhook::socket_taken(name, &path, mended.as_ref().err());
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok(connection) => {
                let is_left = make_way(&places, &connection).await;
                if is_left {
                    // Nobody is there to be served, or to be told anything.
                } else if let Some(place) = places.enter(&connection) {
                    connections.spawn(serve(connection, Arc::new(place)));
                } else {
                    telemetry::webhook::no_place(name);
                    if let Ok(turn) = Arc::clone(&farewells).try_acquire_owned() {
                        let farewell = farewell();
                        connections.spawn(async move {
                            dismiss(connection, &farewell).await;
                            drop(turn);
                        });
                    }
                }
                telemetry::webhook::connections(name, connections.len());
            }
            Err(error) => {
                telemetry::webhook::accept_failed(name, error);
                let _ = timeout(ACCEPT_PAUSE, stopped(&mut stop)).await;
            }
        }
    }
    drop((listener, listeners));
    let deadline = Instant::now() + drain;
    while let Ok(Some(_)) = tokio::time::timeout_at(deadline, connections.join_next()).await {}
    let cut = connections.len();
    connections.shutdown().await;
    cut
}

/// Where all places are taken, lets those go whose clients have left, before another has to give
/// way: this loop may have taken more than it was seen of yet. Says whether the new client has left
/// itself.
async fn make_way(places: &Places, connection: &Connection) -> bool {
    for _ in 0..TURNS {
        if !places.is_full() {
            return false;
        }
        if connection.is_left() {
            return true;
        }
        yield_now().await;
    }
    false
}

/// Tells one client too many.
async fn dismiss(connection: Connection, farewell: &[u8]) {
    match connection {
        Connection::Tcp(stream, _) => part(stream, farewell).await,
        Connection::Unix(stream) => part(stream, farewell).await,
    }
}

/// Writes a last word and closes, so that it arrives.
async fn part(mut stream: impl AsyncRead + AsyncWrite + Unpin, word: &[u8]) {
    if matches!(timeout(LINGER, stream.write_all(word)).await, Ok(Ok(()))) {
        // Whether the client takes it is its own affair.
        let _ = linger(stream).await;
    }
}

/// Closes a connection so that its client still gets what was written: what it sends is read on
/// for that, for a while.
///
/// # Errors
/// When it cannot be closed.
pub async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    timeout(LINGER, stream.shutdown()).await??;
    let mut rest = stream.take(LINGER_BYTES_MAX);
    // Whether it ends in time or not, the connection is closed.
    let _ = timeout(LINGER, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    Ok(())
}
