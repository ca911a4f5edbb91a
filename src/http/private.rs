//! The private listener: health, metrics, and lookups for programs on the host.

use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;
use percent_encoding::percent_decode_str;
use tokio::sync::Semaphore;

use super::server::{Caller, Peer, Service};
use super::{closing, head, reply};
use crate::admin::{Admin, Answered, Health, worst};
use crate::clock;
use crate::provider::Check;
use crate::secret::Secret;

/// Most pages that are read at once: each keeps a thread of those for blocking work.
const PAGES_MAX: usize = 4;

/// Answers the private listener.
pub struct Private {
    /// Health and lookups.
    pub admin: Arc<Admin>,
    /// Metrics.
    pub metrics: PrometheusHandle,
    guard: Guard,
    pages: Semaphore,
}

/// Who is answered.
pub struct Guard {
    /// Whether only programs on this host reach the listener: then they need no token.
    pub is_local: bool,
    /// The tokens, any of which is good.
    pub tokens: Vec<Secret>,
    /// Names by which we may be called.
    pub hosts: Vec<String>,
}

impl Service for Private {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        caller: Caller,
    ) -> Response<Full<Bytes>> {
        let uri = request.uri();
        if let Some(refused) = self.guard.refuses(uri.path(), request.headers(), caller.peer) {
            return closing(refused);
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, "Only GET is answered.\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return closing(response);
        }
        match uri.path() {
            "/livez" => reply(StatusCode::OK, "ok\n"),
            "/readyz" => self.readiness(),
            "/metrics" => self.metrics(),
            "/v1/suppressions" => self.page(uri.query().unwrap_or("")).await,
            path => match path.strip_prefix("/v1/suppressions/") {
                Some(address) => self.suppression(address, uri.query().unwrap_or("")),
                None => reply(StatusCode::NOT_FOUND, "There is nothing here.\n"),
            },
        }
    }
}

impl Guard {
    fn refuses(
        &self,
        path: &str,
        headers: &HeaderMap,
        peer: Peer,
    ) -> Option<Response<Full<Bytes>>> {
        // A page in a browser on this host can call us by its own name, and read the answer. It
        // cannot reach a Unix socket.
        if peer != Peer::Local && !head::is_for(headers, &self.hosts) {
            let why = "This host is not called so; name it by its address, or in [admin] hosts.\n";
            return Some(reply(StatusCode::MISDIRECTED_REQUEST, why));
        }
        let open = self.is_local || matches!(path, "/livez" | "/readyz");
        let shown = || Check::Bearer(self.tokens.clone()).verify_head(headers, clock::now());
        if open || shown().is_ok() {
            return None;
        }
        let why = "A token is needed: Authorization: Bearer, as [admin] token has it.\n";
        let mut response = reply(StatusCode::UNAUTHORIZED, why);
        let challenge = HeaderValue::from_static("Bearer realm=\"suppressd\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        Some(response)
    }
}

impl Private {
    /// What answers whom the guard lets in.
    pub fn new(admin: Arc<Admin>, metrics: PrometheusHandle, guard: Guard) -> Private {
        Private { admin, metrics, guard, pages: Semaphore::new(PAGES_MAX) }
    }

    /// The word, and a line per check.
    fn readiness(&self) -> Response<Full<Bytes>> {
        let checks = self.admin.checks();
        let health = worst(&checks);
        let status = match health {
            Health::Ready | Health::Degraded => StatusCode::OK,
            Health::NotReady => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut text = format!("{}\n", health.as_str());
        for check in &checks {
            text.push_str(&format!("{} {}: {}\n", check.word(), check.title(), check.detail));
        }
        reply(status, text)
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        self.admin.measure();
        let mut response = reply(StatusCode::OK, self.metrics.render());
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }

    fn suppression(&self, address: &str, query: &str) -> Response<Full<Bytes>> {
        let scope = url::form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == "scope")
            .map(|(_, value)| value.into_owned());
        let address = percent_decode_str(address).decode_utf8_lossy();
        answered(self.admin.suppression(&address, scope.as_deref()))
    }

    /// Read where nobody else waits for it.
    async fn page(&self, query: &str) -> Response<Full<Bytes>> {
        let fields = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let admin = Arc::clone(&self.admin);
        // It is never closed.
        let _turn = self.pages.acquire().await;
        match tokio::task::spawn_blocking(move || admin.page(fields)).await {
            Ok(answer) => answered(answer),
            Err(error) => answered(Answered::Unavailable(error.to_string())),
        }
    }
}

fn answered(answer: Answered) -> Response<Full<Bytes>> {
    let (status, body) = match answer {
        Answered::Suppressed(row) => (StatusCode::OK, row.to_string()),
        Answered::Page(page) => (StatusCode::OK, page),
        Answered::Clear => {
            (StatusCode::NOT_FOUND, serde_json::json!({ "suppressed": false }).to_string())
        }
        Answered::BadRequest(error) => {
            (StatusCode::BAD_REQUEST, serde_json::json!({ "error": error }).to_string())
        }
        Answered::Unavailable(error) => {
            (StatusCode::SERVICE_UNAVAILABLE, serde_json::json!({ "error": error }).to_string())
        }
    };
    let mut response = reply(status, format!("{body}\n"));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
