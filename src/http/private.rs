//! The private listener: health, metrics, and lookups for programs on the host.

use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;
use percent_encoding::percent_decode_str;

use super::reply;
use super::server::{Peer, Service};
use crate::admin::{Admin, Answered};

/// Answers the private listener.
pub struct Private {
    /// Health and lookups.
    pub admin: Arc<Admin>,
    /// Metrics.
    pub metrics: PrometheusHandle,
}

impl Service for Private {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        _peer: Peer,
    ) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, "Only GET is answered.\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let uri = request.uri();
        match uri.path() {
            "/livez" => reply(StatusCode::OK, "ok\n"),
            "/readyz" => self.readiness(),
            "/metrics" => self.metrics(),
            "/v1/suppressions" => self.page(uri.query().unwrap_or("")),
            path => match path.strip_prefix("/v1/suppressions/") {
                Some(address) => self.suppression(address, uri.query().unwrap_or("")),
                None => reply(StatusCode::NOT_FOUND, "There is nothing here.\n"),
            },
        }
    }
}

impl Private {
    /// A line per check.
    fn readiness(&self) -> Response<Full<Bytes>> {
        let checks = self.admin.checks();
        let ready = checks.iter().all(|check| check.ok);
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let line = |check: &crate::admin::HealthCheck| {
            let word = if check.ok { "ok" } else { "failed" };
            format!("{word} {}: {}\n", check.name, check.detail)
        };
        reply(status, checks.iter().map(line).collect::<String>())
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

    fn page(&self, query: &str) -> Response<Full<Bytes>> {
        let fields: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
        answered(self.admin.page(fields.iter().map(|(name, value)| (&**name, &**value))))
    }
}

fn answered(answer: Answered) -> Response<Full<Bytes>> {
    let (status, body) = match answer {
        Answered::Suppressed(row) => (StatusCode::OK, row),
        Answered::Clear => (StatusCode::NOT_FOUND, serde_json::json!({ "suppressed": false })),
        Answered::BadRequest(error) => {
            (StatusCode::BAD_REQUEST, serde_json::json!({ "error": error }))
        }
        Answered::Unavailable(error) => {
            (StatusCode::SERVICE_UNAVAILABLE, serde_json::json!({ "error": error }))
        }
    };
    let mut response = reply(status, format!("{body}\n"));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
