//! A listener that serves HTTP/1: limits, TLS, and draining.
//!
//! hyper bounds neither the number of connections, nor the TLS handshake, nor the time that a
//! client takes for its answers: `accept` does the first, `Watched` the last, and the other is done
//! here.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::CONNECTION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsAcceptor;

use super::stream::{RawHead, Watched};
use super::{Content, closing, head, reply};
use crate::accept::{self, Door, Place, accept_all, linger};
use crate::acme;
use crate::current::Current;
use crate::listen::Connection;
use crate::stop::stopped;
use crate::telemetry;

/// Most headers of a request.
const HEADERS_MAX: usize = 100;
/// Largest head of a request, and most bytes of a body that hyper reads at once.
pub(super) const HEAD_MAX: usize = 16 << 10;

/// Longest time that the end of a connection takes.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long after the stop a connection that has sent nothing yet is waited for: its client could
/// not know, and would take its end for a failure.
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// The same for one that was answered before: the next request may be on its way.
const NEXT_WAIT: Duration = Duration::from_secs(1);

/// What a client is told that there is no place for.
const NO_PLACE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\n\
    connection: close\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 26\r\n\r\n\
    Not now; try again later.\n";
/// What a client is told that has sent a part of a head, and no more for too long.
const LATE_HEAD: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 27\r\n\r\n\
    The request took too long.\n";

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A host.
    Host(SocketAddr),
    /// A program on this host, over a Unix socket.
    Local,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Host(address) => write!(f, "{}", address.ip()),
            Peer::Local => f.write_str("local"),
        }
    }
}

/// Who asks, and the place that they have.
#[derive(Clone)]
pub struct Caller {
    /// The other end of the connection.
    pub peer: Peer,
    /// The connection's place.
    pub place: Arc<Place>,
    /// Turns true when the listener stops.
    pub stop: watch::Receiver<bool>,
}

/// What a listener serves.
pub trait Service: Send + Sync + 'static {
    /// Answers one request, whose head can be understood in one way only.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        caller: Caller,
    ) -> impl Future<Output = Response<Content>> + Send;
}

/// How a listener serves.
#[derive(Clone)]
pub struct Limits {
    /// What it is called in logs.
    pub name: &'static str,
    /// How many connections there may be.
    pub places: Arc<accept::Limits>,
    /// Longest wait for a handshake, a request's head, or the next request.
    pub header_timeout: Duration,
    /// Longest wait for a client to take its answers.
    pub answer_timeout: Duration,
    /// TLS, if it is ended here.
    pub tls: Option<TlsAcceptor>,
}

/// Serves until `stop` turns true, then answers what is on its way until `drain` has passed.
/// Says how many connections had to be cut off. Each connection is served within the limits that
/// there are as it comes, and each request by the service that there is then.
pub async fn serve<S: Service>(
    door: impl Into<Door>,
    service: Arc<Current<S>>,
    limits: Arc<Current<Limits>>,
    stop: watch::Receiver<bool>,
    drain: Duration,
) -> usize {
    let (name, present) = (limits.get().name, Arc::clone(&limits));
    let places = move || Arc::clone(&present.get().places);
    telemetry::webhook::serving(name);
    // In plain text to a client that speaks TLS it would be noise.
    let farewell = || if limits.get().tls.is_some() { [].into() } else { NO_PLACE.into() };
    let stopping = stop.clone();
    let serve = |connection, place| {
        connect(connection, place, Arc::clone(&service), limits.get(), stopping.clone())
    };
    accept_all(name, door, places, farewell, stop, drain, serve).await
}

async fn connect<S: Service>(
    connection: Connection,
    place: Arc<Place>,
    service: Arc<Current<S>>,
    limits: Arc<Limits>,
    stop: watch::Receiver<bool>,
) {
    match connection {
        Connection::Unix(stream) => {
            let caller = Caller { peer: Peer::Local, place, stop };
            converse(stream, caller, service, &limits).await;
        }
        Connection::Tcp(stream, address) => {
            // A socket for both families shows IPv4 addresses in the form of IPv6.
            let address = SocketAddr::new(address.ip().to_canonical(), address.port());
            let caller = Caller { peer: Peer::Host(address), place, stop };
            // Answers are small and whole: waiting to fill packets would only delay them.
            let _ = stream.set_nodelay(true);
            let Some(tls) = &limits.tls else {
                return converse(stream, caller, service, &limits).await;
            };
            let place = Arc::clone(&caller.place);
            place.owed();
            let handshake = tokio::time::timeout(limits.header_timeout, tls.accept(stream));
            let shaken = tokio::select! {
                shaken = handshake => shaken,
                () = place.wanted() => return,
            };
            place.idle();
            match shaken {
                // A CA has seen what it asked for, and says nothing more.
                Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(acme::PROTOCOL) => {}
                Ok(Ok(stream)) => converse(stream, caller, service, &limits).await,
                Ok(Err(error)) => telemetry::webhook::connection_failed(limits.name, error),
                Err(late) => telemetry::webhook::connection_failed(limits.name, late),
            }
        }
    }
}

/// Serves one connection until it ends, or until it has given an answer after `stop` or has waited
/// long enough for a request, or until another has its place.
async fn converse<S: Service, C>(
    stream: C,
    caller: Caller,
    service: Arc<Current<S>>,
    limits: &Limits,
) where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (place, peer, name) = (Arc::clone(&caller.place), caller.peer, limits.name);
    let mut stop = caller.stop.clone();
    let (head, refused) = (Arc::new(RawHead::default()), Arc::new(AtomicBool::new(false)));
    let watched =
        Watched::new(stream, Arc::clone(&place), Arc::clone(&head), limits.answer_timeout);
    let (closes, heard, ends) = (Arc::clone(&refused), Arc::clone(&head), stop.clone());
    let answer = service_fn(move |request| {
        let (service, caller) = (service.get(), caller.clone());
        let (head, closes, ends) = (Arc::clone(&heard), Arc::clone(&closes), ends.clone());
        Box::pin(async move {
            let response = answer(service, request, caller, &head, name).await;
            closes.store(response.headers().contains_key(CONNECTION), Ordering::Relaxed);
            Ok::<_, Infallible>(if *ends.borrow() { closing(response) } else { response })
        })
    });
    let mut connection = http1::Builder::new()
        // Without a timer hyper's own time limits do nothing.
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_MAX)
        // A sender that closes its half after the request still gets its request carried out.
        .half_close(true)
        .serve_connection(TokioIo::new(watched), answer);
    let (mut stopping, mut waiting) = (false, false);
    let mut last = pin!(sleep(Duration::ZERO));
    let ended = loop {
        tokio::select! {
            biased;
            ended = poll_fn(|context| connection.poll_without_shutdown(context)) => break ended,
            () = place.wanted() => return,
            () = stopped(&mut stop), if !stopping => {
                let wait = if head.asked() { NEXT_WAIT } else { FIRST_WAIT };
                last.as_mut().reset(Instant::now() + wait);
                (stopping, waiting) = (true, true);
            }
            () = last.as_mut(), if waiting => {
                waiting = false;
                // A request that is begun ends the connection by its answer.
                if head.is_empty() {
                    std::pin::Pin::new(&mut connection).graceful_shutdown();
                }
            }
        }
    };
    let parts = connection.into_parts();
    // What is left of the conversation is its end: nobody waits for it.
    place.idle();
    let begun = !parts.read_buf.is_empty();
    let closing = close(parts.io.into_inner(), &ended, begun, &refused);
    tokio::select! {
        _ = tokio::time::timeout(CLOSE_TIMEOUT, closing) => {}
        () = place.wanted() => {}
    }
    if let Err(error) = ended {
        if let Some(status) = answered(&error, begun) {
            telemetry::webhook::request_refused(name, status, peer, None);
        }
        telemetry::webhook::connection_failed(limits.name, error);
    }
}

/// Answers one request, unless its head refuses itself.
async fn answer<S: Service>(
    service: Arc<S>,
    request: Request<Incoming>,
    caller: Caller,
    head: &RawHead,
    name: &'static str,
) -> Response<Content> {
    let (place, peer) = (Arc::clone(&caller.place), caller.peer);
    place.working();
    let raw = head.take();
    if raw.is_empty() {
        // Its client sends many at once: others come in between.
        place.hasty();
        tokio::task::yield_now().await;
    }
    let response = match head::check(&request, &raw) {
        Ok(()) => service.answer(request, caller).await,
        Err(status) => {
            telemetry::webhook::request_refused(name, status.as_u16(), peer, None);
            closing(reply(status, "The request cannot be understood.\n"))
        }
    };
    place.idle();
    head.expect();
    if matches!(response.body(), Content::Stream(_)) {
        head.lasts();
        return closing(response);
    }
    response
}

/// The status with which hyper, or `close`, has refused a head.
fn answered(error: &hyper::Error, begun: bool) -> Option<u16> {
    if error.is_parse_too_large() {
        Some(431)
    } else if error.is_parse() {
        Some(400)
    } else {
        (error.is_timeout() && begun).then_some(408)
    }
}

/// Closes a connection that hyper is done with, so that its last answer arrives.
async fn close(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    ended: &hyper::Result<()>,
    begun: bool,
    refused: &AtomicBool,
) {
    let unread = match ended {
        Ok(()) => refused.load(Ordering::Relaxed),
        Err(error) if error.is_timeout() && begun => stream.write_all(LATE_HEAD).await.is_ok(),
        Err(error) => error.is_parse(),
    };
    // Whoever has gone already needs no farewell.
    let _ = if unread { linger(stream).await } else { stream.shutdown().await };
}
