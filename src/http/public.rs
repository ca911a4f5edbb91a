//! The public listener: `/hooks/<source>` and nothing else.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::{Body, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_LENGTH, HeaderMap, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING,
};
use hyper::{Method, Request, Response, StatusCode};
use ipnet::IpNet;

use super::server::{Caller, Peer, Service};
use super::{Content, body, closing, head, reply, status_of};
use crate::accept::{is_among, subscriber};
use crate::model::SourceName;
use crate::provider::BASIC_CHALLENGE;
use crate::room::{Room, Share};
use crate::telemetry;
use crate::webhook::{self, Admission, Answer, Hook, Webhooks};

/// Where webhooks are.
const HOOKS: &str = "/hooks/";

/// Largest body of what may be a harmless probe, in bytes.
const PROBE_MAX: usize = 4 << 10;

/// When a sender may try again whose body had no room, or whose place another needed.
const RETRY: HeaderValue = HeaderValue::from_static("5");

/// Answers the public listener.
pub struct Public {
    /// The webhooks.
    pub webhooks: Webhooks,
    /// What all that was received may hold until it is durable.
    pub room: Room,
    /// Largest body, in bytes.
    pub body_max: usize,
    /// Longest wait for a body.
    pub body_timeout: Duration,
    /// Peers whose `X-Forwarded-For` is believed, beside programs on this host.
    pub trusted_proxies: Vec<IpNet>,
}

impl Service for Public {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        caller: Caller,
    ) -> Response<Content> {
        let (peer, uri) = (caller.peer, request.uri().clone());
        let refused = match self.notification(request, caller).await {
            Ok(answer) => return respond(answer),
            Err(Unread::Answer(answer)) => return closing(respond(answer)),
            Err(Unread::Status(status)) => refuse(status),
            Err(Unread::Coding(codings)) => {
                let mut response = refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE);
                let known = HeaderValue::from_static(codings);
                response.headers_mut().insert(ACCEPT_ENCODING, known);
                response
            }
        };
        let hook = hook_name(head::plain(uri.path()).as_ref()).map(str::to_owned);
        let hook = hook.and_then(|name| SourceName::parse(&name).ok());
        let hook = hook.as_ref().map(SourceName::as_str);
        let status = refused.status();
        if !status.is_success() {
            self.webhooks.refusals().note(hook.unwrap_or("-"), peer, status);
        }
        telemetry::webhook::request_refused("public", status.as_u16(), peer, hook);
        refused
    }
}

/// What stands in a path where the name of a source does.
fn hook_name(path: &str) -> Option<&str> {
    path.strip_prefix(HOOKS).map(|rest| rest.strip_suffix('/').unwrap_or(rest))
}

/// Why a body is not read, or not to its end.
enum Unread {
    /// The source says so, by the head alone.
    Answer(Answer),
    /// The request is not one for a source's webhook, or breaks a limit.
    Status(StatusCode),
    /// The body is packed; in one of these ways it may be.
    Coding(&'static str),
}

impl From<StatusCode> for Unread {
    fn from(status: StatusCode) -> Unread {
        Unread::Status(status)
    }
}

impl Public {
    async fn notification(
        &self,
        request: Request<Incoming>,
        caller: Caller,
    ) -> Result<Answer, Unread> {
        let (head, body) = request.into_parts();
        let path = head::plain(head.uri.path());
        let hook = hook_name(&path).and_then(|source| self.webhooks.find(source));
        let hook = hook.ok_or(StatusCode::NOT_FOUND)?;
        let query = head.uri.query().unwrap_or("");
        let told = hook.settings.provider.by_query() && !query.is_empty();
        match head.method {
            Method::POST => {}
            Method::GET if told => {}
            Method::GET | Method::HEAD => return Err(StatusCode::OK.into()),
            _ => return Err(StatusCode::METHOD_NOT_ALLOWED.into()),
        }
        if head.method == Method::POST {
            self.check_form(hook, &head.headers, &body)?;
        }
        let sender = self.sender(&head.headers, caller.peer);
        let mut share = self.room.share(sender.share());
        let headers = &head.headers;
        let admitted = self.webhooks.admit(hook, headers, query, &sender);
        let admission = admitted.map_err(Unread::Answer)?;
        let body = if head.method == Method::POST {
            self.body(hook, (body, admission), &caller, &sender, &mut share).await?
        } else {
            Vec::new()
        };
        share.finish();
        let request = webhook::Request { headers, query, body };
        Ok(self.webhooks.receive(hook, request, share, sender).await)
    }

    /// Whether the form of a request is one that is taken, whoever has sent it.
    fn check_form(&self, hook: &Hook, headers: &HeaderMap, body: &Incoming) -> Result<(), Unread> {
        let takes_gzip = hook.settings.provider.takes_gzip();
        if head::is_coded(headers, takes_gzip) {
            // A signature covers the bytes as sent; unpacking them is nobody's business here.
            return Err(Unread::Coding(if takes_gzip { "gzip, identity" } else { "identity" }));
        }
        if !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING) {
            return Err(StatusCode::LENGTH_REQUIRED.into());
        }
        if body.size_hint().lower() > self.body_max as u64 {
            return Err(StatusCode::PAYLOAD_TOO_LARGE.into());
        }
        Ok(())
    }

    /// The whole body of what was admitted.
    async fn body(
        &self,
        hook: &Hook,
        (body, admission): (Incoming, Admission),
        caller: &Caller,
        sender: &Sender,
        share: &mut Share,
    ) -> Result<Vec<u8>, Unread> {
        let max = match admission {
            Admission::Notification => self.body_max,
            Admission::Probe(_) => self.body_max.min(PROBE_MAX),
        };
        let started = Instant::now();
        caller.place.owed();
        let whole = body::collect(body, max, self.body_timeout, share).await;
        caller.place.working();
        match (whole, admission) {
            (Err(StatusCode::PAYLOAD_TOO_LARGE), Admission::Probe(refusal)) => {
                let took = started.elapsed();
                Err(Unread::Answer(self.webhooks.turn_away(hook, &refusal, took, sender)))
            }
            (whole, _) => Ok(whole?),
        }
    }

    /// Who sent a request: what a trusted proxy says, else the peer. A program that reaches us
    /// over a Unix socket is a proxy on this host.
    fn sender(&self, headers: &HeaderMap, peer: Peer) -> Sender {
        let trusted = match peer {
            Peer::Host(address) => is_among(&self.trusted_proxies, address.ip()),
            Peer::Local => true,
        };
        let forwarded = trusted.then(|| head::forwarded(headers, &self.trusted_proxies)).flatten();
        Sender { peer, forwarded }
    }
}

/// Who sent a notification.
struct Sender {
    peer: Peer,
    forwarded: Option<IpAddr>,
}

impl Sender {
    /// Whose bodies are counted together. `None`: a program on this host, which may be a proxy that
    /// does not say whom it speaks for.
    fn share(&self) -> Option<IpAddr> {
        let peer = match self.peer {
            Peer::Host(address) => Some(address.ip()),
            Peer::Local => None,
        };
        self.forwarded.or(peer).filter(|address| !address.is_loopback()).map(subscriber)
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.forwarded {
            Some(host) => write!(f, "{host} via {}", self.peer),
            None => write!(f, "{}", self.peer),
        }
    }
}

fn respond(answer: Answer) -> Response<Content> {
    let sentence = match &answer {
        Answer::Accepted => "Accepted.\n",
        Answer::Echo(json) => return echo(json),
        Answer::NotAuthentic | Answer::BasicWanted => "The request is not authentic.\n",
        Answer::TooLarge => "The request is too large.\n",
        Answer::Later(_) => "Not now; try again later.\n",
    };
    let mut response = reply(status_of(&answer), sentence);
    match answer {
        Answer::BasicWanted => {
            let (name, challenge) = BASIC_CHALLENGE;
            response.headers_mut().insert(name, challenge.parse().unwrap_or(EMPTY));
        }
        Answer::Later(wait) => {
            response.headers_mut().insert(RETRY_AFTER, wait.as_secs().max(1).into());
        }
        _ => {}
    }
    response
}

fn echo(json: &str) -> Response<Content> {
    let mut response = reply(StatusCode::OK, json.to_owned());
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}

const EMPTY: HeaderValue = HeaderValue::from_static("");

/// Answers what is no notification.
fn refuse(status: StatusCode) -> Response<Content> {
    let sentence = match status {
        StatusCode::OK => "",
        StatusCode::NOT_FOUND => "There is nothing here.\n",
        StatusCode::METHOD_NOT_ALLOWED => "Notifications are sent by POST.\n",
        StatusCode::LENGTH_REQUIRED => "The request has no length.\n",
        StatusCode::PAYLOAD_TOO_LARGE => "The request is too large.\n",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "The request's encoding is not supported.\n",
        StatusCode::REQUEST_TIMEOUT => "The request took too long.\n",
        StatusCode::SERVICE_UNAVAILABLE => "Not now; try again later.\n",
        _ => "The request cannot be understood.\n",
    };
    let mut response = reply(status, sentence);
    match status {
        StatusCode::OK => return response,
        StatusCode::METHOD_NOT_ALLOWED => {
            let methods = HeaderValue::from_static("POST, GET, HEAD");
            response.headers_mut().insert(ALLOW, methods);
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            response.headers_mut().insert(RETRY_AFTER, RETRY);
        }
        _ => {}
    }
    // A body may be on its way, which nobody reads.
    closing(response)
}
