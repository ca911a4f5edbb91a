//! The two HTTP listeners: the public one for webhooks, the private one for health, metrics and
//! programs.
//!
//! The only owner of hyper's server. What is answered is decided elsewhere; here it becomes HTTP.

mod body;
mod changes;
mod content;
mod dashboard;
mod guard;
mod head;
mod private;
mod public;
mod server;
mod stream;
mod tls;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use ipnet::IpNet;
use url::Url;

pub use content::Content;
pub use guard::Guard;
pub use private::Private;
pub use public::Public;
pub use server::{Caller, Limits, Peer, Service, serve};
pub use tls::{Identity, TlsError};

use crate::acme;
use crate::listen::Entry;
use crate::secret::Secret;
use crate::webhook::Answer;

/// The `[http]` table.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens. Not empty.
    pub listen: Vec<Entry>,
    /// What providers call.
    pub public_url: Option<Url>,
    /// TLS by files, if it is ended here so.
    pub tls: Option<Tls>,
    /// TLS by a certificate that we obtain, if it is ended here so.
    pub acme: Option<acme::Settings>,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Most bytes of all that was received and is not yet durable.
    pub memory: usize,
    /// Largest body, in bytes.
    pub body_max: usize,
    /// Most connections at once.
    pub connections_max: usize,
    /// Most of them for one address (IPv6: one /64) that is no proxy of ours.
    pub connections_per_address: usize,
    /// Longest wait for a request's head, and for the next request on a connection.
    pub header_timeout: Duration,
    /// Longest wait for a body.
    pub body_timeout: Duration,
}

impl Settings {
    /// Whether TLS is ended here.
    pub fn has_tls(&self) -> bool {
        self.tls.is_some() || self.acme.is_some()
    }

    /// Whether only programs on this host can reach the listener.
    pub fn is_local(&self) -> bool {
        self.listen.iter().all(|entry| entry.listen.is_local())
    }
}

/// The `[admin]` table.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    /// Where the private listener listens.
    pub listen: Entry,
    /// What a client shows that comes from elsewhere than this host; any of them is good.
    pub tokens: Vec<Secret>,
    /// Names by which it may be called, beside its addresses and `localhost`.
    pub hosts: Vec<String>,
}

/// A TLS identity, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The file of the chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: Key,
}

impl Tls {
    /// The certificate that we obtain, which lies in one file of the state directory.
    pub fn kept(state: &Path) -> Tls {
        let file = acme::certificate(state);
        Tls { certificate: file.clone(), key: Key::File(file) }
    }
}

/// Where a private key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// In this file, which is read again when it changes.
    File(PathBuf),
    /// It is this.
    Secret(Secret),
}

/// The status of each answer to a notification. Never 403 or 406: providers give up on those.
fn status_of(answer: &Answer) -> StatusCode {
    match answer {
        Answer::Accepted | Answer::Echo(_) => StatusCode::OK,
        Answer::NotAuthentic => StatusCode::BAD_REQUEST,
        Answer::BasicWanted => StatusCode::UNAUTHORIZED,
        Answer::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Answer::Later(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// A response of plain text.
fn reply(status: StatusCode, text: impl Into<Bytes>) -> Response<Content> {
    let text = text.into();
    let plain = !text.is_empty();
    let mut response = Response::new(Content::from(text));
    *response.status_mut() = status;
    if plain {
        let kind = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
}

/// The same, and the connection ends with it: what is left of the request is not read.
fn closing(mut response: Response<Content>) -> Response<Content> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
