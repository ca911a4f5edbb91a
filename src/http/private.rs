//! The private listener: health, metrics, the dashboard, and what programs ask and tell.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;
use percent_encoding::percent_decode_str;
use tokio::sync::{Semaphore, watch};
use url::form_urlencoded;

use super::dashboard::{self, Act, Asset};
use super::guard::Guard;
use super::head::is_coded;
use super::server::{Caller, Peer, Service};
use super::{Content, body, changes, closing, reply};
use crate::admin::{self, Admin, Answered, Health, worst};
use crate::current::Current;
use crate::room::{Room, Share};
use crate::telemetry;

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
    Overview,
    Address,
    Act,
    Asset(Asset),
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
        if let Some(asset) = Asset::of(path) {
            return Some(Route::Asset(asset));
        }
        Some(match path {
            "/" => Route::Overview,
            "/address" => Route::Address,
            dashboard::ACT => Route::Act,
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

    /// What a request with that method changes, if it does, but for a form, which says it itself.
    fn writes(self, method: &Method) -> Option<&'static str> {
        match self {
            Route::Suppressions if *method == Method::POST => Some("suppress"),
            Route::Suppression(_) if *method == Method::DELETE => Some("lift"),
            _ => None,
        }
    }

    /// The methods that it answers.
    fn methods(self) -> &'static str {
        match self {
            Route::Act => "POST",
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
            return refuse(refused, caller.peer);
        }
        let Some(route) = Route::of(path) else {
            let nothing = reply(StatusCode::NOT_FOUND, "There is nothing here.\n");
            return refuse(nothing, caller.peer);
        };
        let methods = route.methods();
        if !methods.split(", ").any(|known| known == method.as_str()) {
            let why = format!("Only {methods} are answered here.\n");
            let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, why);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
            return refuse(response, caller.peer);
        }
        let (writes, peer) = (route.writes(method), caller.peer);
        let response = self.answer_route(route, &head, body, caller).await;
        if let Some(what) = writes {
            telemetry::webhook::written(what, None, peer, response.status().as_u16());
        }
        response
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

    async fn answer_route(
        &self,
        route: Route<'_>,
        head: &Parts,
        body: Incoming,
        caller: Caller,
    ) -> Response<Content> {
        let method = &head.method;
        let fields = || {
            let query = head.uri.query().unwrap_or("");
            form_urlencoded::parse(query.as_bytes()).into_owned().collect::<Vec<_>>()
        };
        let text = |encoded| percent_decode_str(encoded).decode_utf8_lossy().into_owned();
        match route {
            Route::Overview => self.overview(fields()).await,
            Route::Address => self.explain(fields()).await,
            Route::Act => self.act(&head.headers, body, caller).await,
            Route::Asset(asset) => asset.answer(),
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
            Route::Suppressions if *method == Method::POST => {
                self.write(&head.headers, body, caller).await
            }
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
        let admin = self.admin.get();
        let process = admin.measure();
        let text = reply(StatusCode::OK, admin.without_gone(&self.metrics.render()) + &process);
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

    async fn write(
        &self,
        headers: &HeaderMap,
        body: Incoming,
        caller: Caller,
    ) -> Response<Content> {
        let mut share = self.room.share(None);
        match collect(headers, body, &caller, &mut share).await {
            Ok(body) => answered(self.admin.get().suppress(&body).await),
            Err(status) => {
                closing(json(status, &serde_json::json!({ "error": NO_BODY }).to_string()))
            }
        }
    }

    /// Shows a page whose rows are looked up where nobody else waits for them.
    async fn page(
        &self,
        page: impl FnOnce(&Admin, bool) -> Response<Content> + Send + 'static,
    ) -> Response<Content> {
        let (admin, may_write) = (self.admin.get(), !self.guard.tokens.is_empty());
        let _turn = self.looks.acquire().await;
        let page = tokio::task::spawn_blocking(move || page(&admin, may_write)).await;
        page.unwrap_or_else(|error| answered(Answered::Unavailable(error.to_string())))
    }

    async fn overview(&self, fields: Vec<(String, String)>) -> Response<Content> {
        self.page(move |admin, may_write| {
            dashboard::overview(&admin.overview(), may_write, field(&fields, "done"))
        })
        .await
    }

    async fn explain(&self, fields: Vec<(String, String)>) -> Response<Content> {
        self.page(move |admin, may_write| {
            let asked = field(&fields, "q").unwrap_or_default().trim();
            let found = admin.explain_row(asked);
            dashboard::address(asked, found, may_write, field(&fields, "done"))
        })
        .await
    }

    /// Does what a form asks for, and tells of it.
    async fn act(&self, headers: &HeaderMap, body: Incoming, caller: Caller) -> Response<Content> {
        let (what, id, response) = match self.form(headers, body, &caller).await {
            Ok(act) => (act.what, act.id.clone(), self.perform(act).await),
            Err(response) => ("form", None, response),
        };
        let status = response.status().as_u16();
        telemetry::webhook::written(what, id.as_deref(), caller.peer, status);
        response
    }

    /// What a form asks for. A browser that says that another site has sent it tries in vain.
    async fn form(
        &self,
        headers: &HeaderMap,
        body: Incoming,
        caller: &Caller,
    ) -> Result<Act, Response<Content>> {
        if dashboard::is_foreign(headers) {
            let why = "The form was sent from another site.";
            return Err(closing(dashboard::problem(StatusCode::FORBIDDEN, why)));
        }
        let mut share = self.room.share(None);
        let body = collect(headers, body, caller, &mut share).await;
        let body = body.map_err(|status| closing(dashboard::problem(status, NO_BODY)))?;
        let act = Act::parse(form_urlencoded::parse(&body).into_owned().collect());
        act.map_err(|why| dashboard::problem(StatusCode::BAD_REQUEST, &why))
    }

    /// The token stands in the form, so no other site can send one.
    async fn perform(&self, act: Act) -> Response<Content> {
        if !self.guard.is_token(&act.token) {
            return dashboard::problem(StatusCode::FORBIDDEN, "The token is not right.");
        }
        if let Err(why) = self.carry_out(act.command).await {
            return dashboard::problem(StatusCode::BAD_REQUEST, &why);
        }
        let Ok(then) = HeaderValue::from_str(&act.then) else {
            return dashboard::problem(StatusCode::BAD_REQUEST, "No such page.");
        };
        let mut response = reply(StatusCode::SEE_OTHER, "");
        response.headers_mut().insert(LOCATION, then);
        response
    }

    /// Carries out a command to its end, also should the browser go away. What it says is shown by
    /// the next page, but for why it failed.
    async fn carry_out(&self, command: admin::Command) -> Result<(), String> {
        let (replies, mut heard) = admin::replies();
        tokio::spawn(self.admin.get().execute(command, replies));
        let ended = tokio::spawn(async move {
            let mut last = None;
            while let Some(line) = heard.next().await {
                last = Some(line);
            }
            last
        });
        let last = ended.await.ok().flatten();
        let failed = "it was not carried out to its end; see the log".to_owned();
        match last {
            Some(line) if line.outcome == Some("done") => Ok(()),
            Some(line) => {
                let error = serde_json::from_slice::<serde_json::Value>(&line.text);
                let error = error.ok().and_then(|line| Some(line["error"].as_str()?.to_owned()));
                Err(error.unwrap_or(failed))
            }
            None => Err(failed),
        }
    }

    fn follow(&self, headers: &HeaderMap, stop: watch::Receiver<bool>) -> Response<Content> {
        let Ok(turn) = Arc::clone(&self.followers).try_acquire_owned() else {
            let error = format!("{FOLLOWERS_MAX} follow already");
            return answered(Answered::Unavailable(error));
        };
        let seen = headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty());
        let seen = seen.map(|id| id.to_str().unwrap_or("no id of ours"));
        changes::stream(Arc::clone(&self.admin), seen, turn, stop)
    }
}

/// Refuses a request, whatever it would ask for, and tells of it.
fn refuse(response: Response<Content>, peer: Peer) -> Response<Content> {
    telemetry::webhook::request_refused("admin", response.status().as_u16(), peer, None);
    closing(response)
}

/// What is said where a body is not taken.
const NO_BODY: &str = "the body is too large, too slow, or packed, or has no room now";

async fn collect(
    headers: &HeaderMap,
    body: Incoming,
    caller: &Caller,
    share: &mut Share,
) -> Result<Vec<u8>, StatusCode> {
    if is_coded(headers, false) {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    caller.place.owed();
    let whole = body::collect(body, BODY_MAX, BODY_TIMEOUT, share).await;
    caller.place.working();
    whole
}

/// The value of a field of a query, the first where there are several.
fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
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
