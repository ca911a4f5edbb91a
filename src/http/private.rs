//! The private listener: health, metrics, and what programs ask and tell.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;
use percent_encoding::percent_decode_str;
use tokio::sync::{Semaphore, watch};
use url::form_urlencoded;

use super::guard::Guard;
use super::server::{Caller, Service};
use super::{Content, body, changes, closing, reply};
use crate::admin::{Admin, Answered, Health, worst};
use crate::current::Current;
use crate::room::Room;

/// Most questions that look at the store at once: each keeps a thread of those for blocking work.
const LOOKS_MAX: usize = 4;
/// Most followers of changes.
const FOLLOWERS_MAX: usize = 8;
/// Largest body, in bytes, and the longest wait for it.
const BODY_MAX: usize = 1 << 20;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The change that a browser has seen last, when it connects again.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The description of what is answered here, for programs (OpenAPI 3.1).
const OPENAPI: &str = include_str!("openapi.json");

/// Answers the private listener.
pub struct Private {
    admin: Arc<Current<Admin>>,
    metrics: PrometheusHandle,
    guard: Guard,
    room: Room,
    looks: Arc<Semaphore>,
    followers: Arc<Semaphore>,
}

/// What a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route<'a> {
    Live,
    Ready,
    Metrics,
    OpenApi,
    State,
    Changes,
    Events,
    Suppressions,
    Suppression(&'a str),
    Explain(&'a str),
}

impl Route<'_> {
    fn of(path: &str) -> Option<Route<'_>> {
        Some(match path {
            "/livez" => Route::Live,
            "/readyz" => Route::Ready,
            "/metrics" => Route::Metrics,
            "/openapi.json" => Route::OpenApi,
            "/v1/status" => Route::State,
            "/v1/changes" => Route::Changes,
            "/v1/events" => Route::Events,
            "/v1/suppressions" => Route::Suppressions,
            path => match path.strip_prefix("/v1/suppressions/") {
                Some(address) => Route::Suppression(address),
                None => Route::Explain(path.strip_prefix("/v1/explain/")?),
            },
        })
    }

    /// The methods that it answers.
    fn methods(self) -> &'static str {
        match self {
            Route::Suppressions => "GET, HEAD, POST",
            Route::Suppression(_) => "GET, HEAD, DELETE",
            _ => "GET, HEAD",
        }
    }
}

impl Service for Private {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        caller: Caller,
    ) -> Response<Content> {
        let (head, body) = request.into_parts();
        let (path, method) = (head.uri.path(), &head.method);
        if let Some(refused) = self.guard.refuses(method, &head.uri, &head.headers, caller.peer) {
            return closing(refused);
        }
        let Some(route) = Route::of(path) else {
            return closing(reply(StatusCode::NOT_FOUND, "There is nothing here.\n"));
        };
        let methods = route.methods();
        if !methods.split(", ").any(|known| known == method.as_str()) {
            let why = format!("Only {methods} are answered here.\n");
            let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, why);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
            return closing(response);
        }
        let fields = || {
            let query = head.uri.query().unwrap_or("");
            form_urlencoded::parse(query.as_bytes()).into_owned().collect::<Vec<_>>()
        };
        let text = |encoded| percent_decode_str(encoded).decode_utf8_lossy().into_owned();
        match route {
            Route::Live => reply(StatusCode::OK, "ok\n"),
            Route::Ready => self.readiness(),
            Route::Metrics => self.metrics(),
            Route::OpenApi => typed(reply(StatusCode::OK, OPENAPI), "application/json"),
            Route::Changes => self.follow(&head.headers, caller.stop),
            Route::State => self.look(Admin::state).await,
            Route::Events => {
                let fields = fields();
                self.look(move |admin| admin.feed(fields)).await
            }
            Route::Suppressions if *method == Method::POST => self.write(body, caller).await,
            Route::Suppressions => {
                let fields = fields();
                self.look(move |admin| admin.page(fields)).await
            }
            Route::Suppression(address) if *method == Method::DELETE => {
                answered(self.admin.get().unsuppress(&text(address), fields()).await)
            }
            Route::Suppression(address) => {
                answered(self.admin.get().suppression(&text(address), fields()))
            }
            Route::Explain(address) => {
                let address = text(address);
                self.look(move |admin| admin.explained(&address)).await
            }
        }
    }
}

impl Private {
    /// What answers whom the guard lets in.
    pub fn new(admin: Arc<Current<Admin>>, metrics: PrometheusHandle, guard: Guard) -> Private {
        let room = admin.get().ingest.room();
        let looks = Arc::new(Semaphore::new(LOOKS_MAX));
        let followers = Arc::new(Semaphore::new(FOLLOWERS_MAX));
        Private { admin, metrics, guard, room, looks, followers }
    }

    /// The same, and another guard.
    #[must_use]
    pub fn renewed(&self, guard: Guard) -> Private {
        let Private { admin, metrics, room, looks, followers, .. } = self;
        let (admin, metrics, room) = (Arc::clone(admin), metrics.clone(), room.clone());
        let (looks, followers) = (Arc::clone(looks), Arc::clone(followers));
        Private { admin, metrics, guard, room, looks, followers }
    }

    /// The word, and a line per check.
    fn readiness(&self) -> Response<Content> {
        let checks = self.admin.get().checks();
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

    fn metrics(&self) -> Response<Content> {
        self.admin.get().measure();
        let text = reply(StatusCode::OK, self.metrics.render());
        typed(text, "text/plain; version=0.0.4; charset=utf-8")
    }

    /// Looks where nobody else waits for it.
    async fn look(
        &self,
        look: impl FnOnce(&Admin) -> Answered + Send + 'static,
    ) -> Response<Content> {
        let admin = self.admin.get();
        // It is never closed.
        let _turn = self.looks.acquire().await;
        match tokio::task::spawn_blocking(move || look(&admin)).await {
            Ok(answer) => answered(answer),
            Err(error) => answered(Answered::Unavailable(error.to_string())),
        }
    }

    async fn write(&self, body: Incoming, caller: Caller) -> Response<Content> {
        let mut share = self.room.share(None);
        caller.place.owed();
        let whole = body::collect(body, BODY_MAX, BODY_TIMEOUT, &mut share).await;
        caller.place.working();
        match whole {
            Ok(body) => answered(self.admin.get().suppress(&body).await),
            Err(status) => {
                let error = "the body is too large, too slow, or has no room now".to_owned();
                closing(json(status, &serde_json::json!({ "error": error }).to_string()))
            }
        }
    }

    fn follow(&self, headers: &HeaderMap, stop: watch::Receiver<bool>) -> Response<Content> {
        let Ok(turn) = Arc::clone(&self.followers).try_acquire_owned() else {
            let error = format!("{FOLLOWERS_MAX} follow already");
            return answered(Answered::Unavailable(error));
        };
        let seen = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()?.parse().ok());
        changes::stream(Arc::clone(&self.admin), seen, turn, stop)
    }
}

fn answered(answer: Answered) -> Response<Content> {
    let error = |error: String| serde_json::json!({ "error": error }).to_string();
    match answer {
        Answered::Found(text) => json(StatusCode::OK, &text),
        Answered::Clear => json(StatusCode::NOT_FOUND, "{\"suppressed\":false}"),
        Answered::BadRequest(why) => json(StatusCode::BAD_REQUEST, &error(why)),
        Answered::Unavailable(why) => {
            let mut response = json(StatusCode::SERVICE_UNAVAILABLE, &error(why));
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
            response
        }
    }
}

fn json(status: StatusCode, text: &str) -> Response<Content> {
    typed(reply(status, format!("{text}\n")), "application/json")
}

fn typed(mut response: Response<Content>, kind: &'static str) -> Response<Content> {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
