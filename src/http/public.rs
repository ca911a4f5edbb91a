//! The public listener: `/hooks/<source>` and nothing else.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, HeaderMap, RETRY_AFTER,
    TRANSFER_ENCODING,
};
use hyper::{Method, Request, Response, StatusCode};
use ipnet::IpNet;

use super::server::{Peer, Service};
use super::{reply, status_of};
use crate::provider::BASIC_CHALLENGE;
use crate::telemetry;
use crate::webhook::{self, Answer, Webhooks};

/// Where webhooks are.
const HOOKS: &str = "/hooks/";

/// Answers the public listener.
pub struct Public {
    /// The webhooks.
    pub webhooks: Webhooks,
    /// Largest body, in bytes.
    pub body_max: usize,
    /// Longest wait for a body.
    pub body_timeout: Duration,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
}

impl Service for Public {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Peer,
    ) -> Response<Full<Bytes>> {
        match self.notification(request, peer).await {
            Ok(answer) => respond(answer),
            Err(status) => {
                telemetry::webhook::request_refused("public", status.as_u16(), peer);
                refuse(status)
            }
        }
    }
}

impl Public {
    async fn notification(
        &self,
        request: Request<Incoming>,
        peer: Peer,
    ) -> Result<Answer, StatusCode> {
        let source = request.uri().path().strip_prefix(HOOKS);
        let hook = source.and_then(|source| self.webhooks.find(source));
        let hook = hook.ok_or(StatusCode::NOT_FOUND)?;
        let (head, body) = request.into_parts();
        let query = head.uri.query().unwrap_or("");
        let told = hook.settings.provider.by_query() && !query.is_empty();
        let body = match head.method {
            Method::POST if is_coded(&head.headers, hook.settings.provider.takes_gzip()) => {
                // A signature covers the bytes as sent; unpacking them is nobody's business here.
                return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
            }
            Method::POST => self.body(&head.headers, body).await?,
            Method::GET if told => Bytes::new(),
            Method::GET | Method::HEAD => return Err(StatusCode::OK),
            _ => return Err(StatusCode::METHOD_NOT_ALLOWED),
        };
        let headers = &head.headers;
        let sender = Sender { peer, forwarded: self.forwarded(headers, peer) };
        let request = webhook::Request { headers, query, body: &body };
        Ok(self.webhooks.receive(hook, request, sender).await)
    }

    /// The whole body, within the limits.
    async fn body(&self, headers: &HeaderMap, mut body: Incoming) -> Result<Bytes, StatusCode> {
        if !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING) {
            return Err(StatusCode::LENGTH_REQUIRED);
        }
        let announced = body.size_hint().lower() > self.body_max as u64;
        if announced && headers.contains_key(EXPECT) {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let whole = tokio::time::timeout(self.body_timeout, collect(&mut body, self.body_max));
        let whole = whole.await.map_err(|_| StatusCode::REQUEST_TIMEOUT)?;
        if whole == Err(StatusCode::PAYLOAD_TOO_LARGE) {
            // A sender that is still sending would never see an answer that came before its end.
            let _ = tokio::time::timeout(DISCARD_TIME, discard(&mut body)).await;
        }
        whole
    }

    /// What a trusted proxy says of the sender: the last entry, which it wrote itself.
    fn forwarded(&self, headers: &HeaderMap, peer: Peer) -> Option<String> {
        let Peer::Host(address) = peer else { return None };
        let trusted = self.trusted_proxies.iter().any(|net| net.contains(&address.ip()));
        let last = headers.get_all("x-forwarded-for").iter().next_back().filter(|_| trusted)?;
        let entry = last.to_str().ok()?.rsplit(',').next()?.trim();
        entry.parse::<std::net::IpAddr>().ok().map(|ip| ip.to_string())
    }
}

/// Whether the body is packed, in a way that its provider's adapter does not undo.
fn is_coded(headers: &HeaderMap, takes_gzip: bool) -> bool {
    let known = |value: &[u8]| value == b"identity" || (takes_gzip && value == b"gzip");
    headers.get_all(CONTENT_ENCODING).iter().any(|value| !known(value.as_bytes()))
}

/// Longest time, and most bytes, for which a body is read only to be thrown away.
const DISCARD_TIME: Duration = Duration::from_secs(2);
const DISCARD_MAX: usize = 64 << 20;

/// The whole body, if it is not too large.
async fn collect(body: &mut Incoming, max: usize) -> Result<Bytes, StatusCode> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > max {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.into())
}

/// Reads what is left of a body that nobody wants.
async fn discard(body: &mut Incoming) {
    let mut left = DISCARD_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}

/// Who sent a notification, for the log.
struct Sender {
    peer: Peer,
    forwarded: Option<String>,
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.forwarded {
            Some(host) => write!(f, "{host} via {}", self.peer),
            None => write!(f, "{}", self.peer),
        }
    }
}

fn respond(answer: Answer) -> Response<Full<Bytes>> {
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

fn echo(json: &str) -> Response<Full<Bytes>> {
    let mut response = reply(StatusCode::OK, json.to_owned());
    let kind = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}

const EMPTY: hyper::header::HeaderValue = hyper::header::HeaderValue::from_static("");

/// Answers what is no notification.
fn refuse(status: StatusCode) -> Response<Full<Bytes>> {
    let sentence = match status {
        StatusCode::OK => "",
        StatusCode::NOT_FOUND => "There is nothing here.\n",
        StatusCode::METHOD_NOT_ALLOWED => "Notifications are sent by POST.\n",
        StatusCode::LENGTH_REQUIRED => "The request has no length.\n",
        StatusCode::PAYLOAD_TOO_LARGE => "The request is too large.\n",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "The request's encoding is not supported.\n",
        StatusCode::REQUEST_TIMEOUT => "The request took too long.\n",
        _ => "The request cannot be understood.\n",
    };
    let mut response = reply(status, sentence);
    let headers = response.headers_mut();
    match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            let methods = hyper::header::HeaderValue::from_static("POST, GET, HEAD");
            headers.insert(ALLOW, methods);
        }
        // What is left of the body is not read, so the connection cannot go on.
        StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::REQUEST_TIMEOUT
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::BAD_REQUEST => {
            headers.insert(CONNECTION, hyper::header::HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}
