//! A listener that serves HTTP/1: limits, TLS, and draining.
//!
//! hyper bounds neither the number of connections nor the TLS handshake: `accept` does the one,
//! and the other is done here.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::accept::accept_all;
use crate::listen::{Connection, Listener};
use crate::stop::stopped;
use crate::telemetry;

/// Most headers of a request.
const HEADERS_MAX: usize = 100;
/// Largest head of a request, in bytes.
const HEAD_MAX: usize = 64 << 10;

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

/// What a listener serves.
pub trait Service: Send + Sync + 'static {
    /// Answers one request.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Peer,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

/// How a listener serves.
#[derive(Clone)]
pub struct Limits {
    /// What it is called in logs.
    pub name: &'static str,
    /// Most connections at once; more wait to be accepted.
    pub connections_max: usize,
    /// Longest wait for a handshake, a request's head, or the next request.
    pub header_timeout: Duration,
    /// TLS, if it is ended here.
    pub tls: Option<TlsAcceptor>,
}

/// Serves until `stop` turns true, then lets requests in flight end until `drain` has passed.
/// Says how many connections had to be cut off.
pub async fn serve<S: Service>(
    listener: Listener,
    service: Arc<S>,
    limits: Limits,
    stop: watch::Receiver<bool>,
    drain: Duration,
) -> usize {
    let (name, most) = (limits.name, limits.connections_max);
    let stopping = stop.clone();
    let serve =
        |connection| connect(connection, Arc::clone(&service), limits.clone(), stopping.clone());
    accept_all(name, listener, most, stop, drain, serve).await
}

async fn connect<S: Service>(
    connection: Connection,
    service: Arc<S>,
    limits: Limits,
    stop: watch::Receiver<bool>,
) {
    match connection {
        Connection::Unix(stream) => {
            converse(stream, Peer::Local, service, &limits, stop).await;
        }
        Connection::Tcp(stream, address) => {
            let peer = Peer::Host(address);
            // Answers are small and whole: waiting to fill packets would only delay them.
            let _ = stream.set_nodelay(true);
            let Some(tls) = &limits.tls else {
                return converse(stream, peer, service, &limits, stop).await;
            };
            match tokio::time::timeout(limits.header_timeout, tls.accept(stream)).await {
                Ok(Ok(stream)) => converse(stream, peer, service, &limits, stop).await,
                Ok(Err(error)) => telemetry::webhook::connection_failed(limits.name, error),
                Err(late) => telemetry::webhook::connection_failed(limits.name, late),
            }
        }
    }
}

/// Serves one connection until it ends, or until its present request is answered after `stop`.
async fn converse<S: Service, C>(
    stream: C,
    peer: Peer,
    service: Arc<S>,
    limits: &Limits,
    mut stop: watch::Receiver<bool>,
) where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let answer = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(service.answer(request, peer).await) }
    });
    let connection = http1::Builder::new()
        // Without a timer hyper's own time limits do nothing.
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_MAX)
        // A sender that closes its half after the request still gets its request carried out.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), answer);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        telemetry::webhook::connection_failed(limits.name, error);
    }
}
