//! One notification, from authentication to receipt: what is behind `POST /hooks/<source>`.
//!
//! Nothing is read of a notification that is not authentic, and nothing is answered before it is
//! durable.

mod outside;
mod refusals;
mod repeats;
mod tokens;

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use url::Url;

use crate::clock;
use crate::fetch::Fetcher;
use crate::ingest::{Handed, Ingest, Refused};
use crate::model::{Element, Origin, SourceName, Submission, Time};
use crate::provider::{self, Adapter, Ask, Check, Notification, UNPACKED_MAX, gunzip, is_packed};
use crate::room::Share;
use crate::telemetry;
use crate::telemetry::webhook::Meter;
use outside::Outside;
pub use refusals::{Refusal, Refusals};
use repeats::{Digest, Repeats, Skipped};
pub use tokens::{Token, Tokens};

/// When a sender may try again that met us stopping, or unable to fetch a certificate.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// Largest body that is read where requests are answered, in bytes.
const LIGHT: usize = 64 << 10;
/// Larger bodies that are read at once.
const TURNS: usize = 2;
/// What reading a larger body takes beside it, in bodies of its size: its elements, and, when it is
/// gone itself, the record that is made of them.
const WORK_FACTOR: usize = 2;

/// One source's webhook.
#[derive(Clone)]
pub struct Settings {
    /// The source; part of the webhook's path.
    pub source: SourceName,
    /// Its provider.
    pub provider: Adapter,
    /// All of these must hold. Empty only where the configuration says `auth = "none"`.
    pub checks: Vec<Check>,
    /// The URL that the provider calls, as it was entered there, where that is known.
    pub url: Option<String>,
    /// Whether a subscription that asks for it is confirmed.
    pub confirm: bool,
}

/// A request to a webhook.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// What stands behind the `?` of its URL.
    pub query: &'a str,
    /// Its body, whole.
    pub body: Vec<u8>,
}

/// Why the body of a notification is to be read.
#[derive(Debug)]
pub enum Admission {
    /// Nothing in the head speaks against it.
    Notification,
    /// It is not authentic, for this reason, but may be a probe, which is small.
    Probe(provider::Refusal),
}

/// How a notification is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All of it is durable.
    Accepted,
    /// It is a question whether we are there; the answer to it, as JSON.
    Echo(String),
    /// It is not authentic; nothing was kept.
    NotAuthentic,
    /// Basic credentials are missing or wrong; nothing was kept.
    BasicWanted,
    /// It is too large to be kept.
    TooLarge,
    /// It was not kept; the sender may try again.
    Later(Duration),
}

/// One source's webhook, ready to be called.
pub struct Hook {
    /// How it is called.
    pub settings: Settings,
    meter: Meter,
    skipped: Arc<Skipped>,
}

/// The webhooks of all sources.
#[derive(Clone)]
pub struct Webhooks {
    hooks: Arc<HashMap<String, Hook>>,
    ingest: Ingest,
    outside: Arc<Outside>,
    tokens: Tokens,
    repeats: Arc<Repeats>,
    refusals: Arc<Refusals>,
    turns: Arc<Semaphore>,
}

/// What came of an authentic notification.
enum Taken {
    /// It is answered.
    Answer(Answer),
    /// It asks for a subscription to be confirmed.
    Confirm(Url),
    /// So many elements are durable already.
    Repeated(usize),
    /// So many elements wait to be made durable.
    Handed(usize, Digest, Handed),
    /// It was not taken.
    Refused(Refused),
}

/// How a notification is answered that is not authentic.
fn answer_to(refusal: &provider::Refusal) -> Answer {
    match refusal {
        provider::Refusal::BasicWanted => Answer::BasicWanted,
        // That we could not fetch it is no fault of the sender's.
        provider::Refusal::Certificate | provider::Refusal::Untimely(_) => Answer::Later(TRY_AGAIN),
        _ => Answer::NotAuthentic,
    }
}

impl Webhooks {
    /// The tokens that count once.
    pub fn tokens(&self) -> Tokens {
        self.tokens.clone()
    }

    /// Those of these sources.
    pub fn new(settings: Vec<Settings>, ingest: Ingest, fetcher: Fetcher) -> Webhooks {
        let hooks = hooks(settings, |_| Arc::default());
        let (outside, turns) = (Arc::new(Outside::new(fetcher)), Arc::new(Semaphore::new(TURNS)));
        let (tokens, repeats, refusals) = Default::default();
        Webhooks { hooks, ingest, outside, tokens, repeats, refusals, turns }
    }

    /// Those of other sources, or by other settings: what is remembered of notifications stays.
    #[must_use]
    pub fn renewed(&self, settings: Vec<Settings>, fetcher: Fetcher) -> Webhooks {
        let skipped = |source: &str| {
            self.find(source).map_or_else(Arc::default, |hook| Arc::clone(&hook.skipped))
        };
        let hooks = hooks(settings, skipped);
        let outside = Arc::new(self.outside.renewed(fetcher));
        Webhooks { hooks, outside, ..self.clone() }
    }

    /// The webhook of a source. `None`: there is no such source, or it has no webhook.
    pub fn find(&self, source: &str) -> Option<&Hook> {
        self.hooks.get(source)
    }

    /// Those that were turned away last.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// How many elements of a source came that were durable already, and when the last of them
    /// came, since the start: the store does not know of them.
    pub fn skipped(&self, source: &str) -> (u64, Option<Time>) {
        self.find(source).map_or((0, None), |hook| hook.skipped.so_far())
    }

    /// Whether a notification with that head can be authentic, and be taken. `peer` is for the log.
    ///
    /// # Errors
    /// How it is answered if not; its body need not be read.
    pub fn admit(
        &self,
        hook: &Hook,
        headers: &HeaderMap,
        query: &str,
        peer: impl Display,
    ) -> Result<Admission, Answer> {
        let webhook = &hook.settings;
        let started = Instant::now();
        let now = clock::now();
        let verify = |check: &Check| check.verify_head(headers, query, now);
        match webhook.checks.iter().try_for_each(verify) {
            Ok(()) => match self.ingest.keeps_up() {
                Ok(()) => Ok(Admission::Notification),
                Err(refused) => Err(self.refuse(hook, &refused, started, peer)),
            },
            Err(refusal) if webhook.provider.has_probes() => Ok(Admission::Probe(refusal)),
            Err(refusal) => Err(self.turn_away(hook, &refusal, started.elapsed(), peer)),
        }
    }

    /// Tells that a notification is not authentic, and how it is answered.
    pub fn turn_away(
        &self,
        hook: &Hook,
        refusal: &provider::Refusal,
        took: Duration,
        peer: impl Display,
    ) -> Answer {
        self.refusals.note(hook.settings.source.as_str(), &peer, refusal);
        hook.meter.not_authentic(peer, refusal, took);
        answer_to(refusal)
    }

    /// Takes one notification. `share` is what its body holds; `peer` is for the log.
    pub async fn receive(
        &self,
        hook: &Hook,
        request: Request<'_>,
        mut share: Share,
        peer: impl Display,
    ) -> Answer {
        let started = Instant::now();
        let packed = hook.settings.provider.takes_gzip() && is_packed(&request.body);
        let heavy = packed || request.body.len() > LIGHT;
        let most = if packed { UNPACKED_MAX as usize } else { request.body.len() };
        let taken = if !heavy {
            self.read(hook, request, share, &peer).await
        } else if share.work(most * WORK_FACTOR).await.is_err() {
            Taken::Refused(Refused::Full { retry_after: TRY_AGAIN })
        } else {
            self.read_beside(hook, request, share, peer.to_string()).await
        };
        self.answer(hook, taken, started, peer).await
    }

    /// Reads a large notification where it keeps nobody else from being answered, and not too many
    /// of them at once. That goes on when its sender goes away.
    async fn read_beside(
        &self,
        hook: &Hook,
        request: Request<'_>,
        share: Share,
        peer: String,
    ) -> Taken {
        // It is never closed; without a turn it would only be a little less fair.
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let (webhooks, source) = (self.clone(), hook.settings.source.clone());
        let Request { headers, query, body } = request;
        let (headers, query, runtime) = (headers.clone(), query.to_owned(), Handle::current());
        let reading = move || {
            let hook = webhooks.find(source.as_str())?;
            let request = Request { headers: &headers, query: &query, body };
            let taken = runtime.block_on(webhooks.read(hook, request, share, peer));
            drop(turn);
            Some(taken)
        };
        let taken = tokio::task::spawn_blocking(reading).await.ok().flatten();
        taken.unwrap_or(Taken::Refused(Refused::Stopping))
    }

    /// Verifies a notification, and hands it in.
    async fn read(
        &self,
        hook: &Hook,
        request: Request<'_>,
        share: Share,
        peer: impl Display,
    ) -> Taken {
        let (started, now) = (Instant::now(), clock::now());
        let webhook = &hook.settings;
        let Request { headers, query, mut body } = request;
        if webhook.provider.takes_gzip()
            && let Some(plain) = gunzip(&body)
        {
            body = plain;
        }
        let url = webhook.url.as_deref();
        let notification = Notification { headers, query, body: &body, url, now };
        if webhook.provider.is_probe(&notification) {
            return Taken::Answer(Answer::Accepted);
        }
        let verified = match self.verify(webhook, &notification).await {
            Ok(()) if !self.is_first_body(webhook, &notification) => {
                Err(provider::Refusal::Replayed)
            }
            verified => verified,
        };
        if let Err(refusal) = verified {
            return Taken::Answer(self.turn_away(hook, &refusal, started.elapsed(), peer));
        }
        match webhook.provider.asks(&notification) {
            Some(Ask::Echo(value)) => return Taken::Answer(Answer::Echo(value.to_string())),
            Some(Ask::Confirm(url)) => return Taken::Confirm(url),
            None => {}
        }
        let elements = webhook.provider.split(&notification);
        // From here on they are enough.
        drop(body);
        self.take(webhook, elements, clock::receipt(), share)
    }

    /// Answers when what was taken is durable.
    async fn answer(
        &self,
        hook: &Hook,
        taken: Taken,
        started: Instant,
        peer: impl Display,
    ) -> Answer {
        let Hook { settings: webhook, meter, skipped } = hook;
        let now = clock::now();
        let refused = match taken {
            Taken::Answer(answer) => return answer,
            Taken::Confirm(url) => return self.confirm(webhook, url).await,
            Taken::Repeated(number) => {
                skipped.note(number, now);
                meter.accepted(number, started.elapsed());
                return Answer::Accepted;
            }
            Taken::Handed(number, digest, handed) => match handed.durable().await {
                Ok(_) => {
                    self.repeats.note(digest, now);
                    meter.accepted(number, started.elapsed());
                    return Answer::Accepted;
                }
                Err(refused) => refused,
            },
            Taken::Refused(refused) => refused,
        };
        self.refuse(hook, &refused, started, peer)
    }

    /// Tells that a notification is not taken, and how it is answered.
    fn refuse(
        &self,
        hook: &Hook,
        refused: &Refused,
        started: Instant,
        peer: impl Display,
    ) -> Answer {
        self.refusals.note(hook.settings.source.as_str(), &peer, refused);
        hook.meter.refused(refused, started.elapsed());
        match refused {
            Refused::TooLarge => Answer::TooLarge,
            Refused::Full { retry_after } | Refused::Unwritable { retry_after, .. } => {
                Answer::Later(*retry_after)
            }
            Refused::Stopping => Answer::Later(TRY_AGAIN),
        }
    }

    /// Hands in the elements of an authentic notification. From the body's last byte to here there
    /// is no wait unless it is heavy or a certificate must be fetched: a sender that goes away
    /// after that does not take back what it sent.
    fn take(&self, webhook: &Settings, elements: Vec<Element>, now: Time, share: Share) -> Taken {
        let number = elements.len();
        if number == 0 {
            return Taken::Answer(Answer::Accepted);
        }
        let submission = Submission {
            source: webhook.source.clone(),
            provider: webhook.provider.name().into(),
            origin: Origin::Webhook,
            feed: "".into(),
            received_at: now,
            elements,
            cursor: None,
            released: Vec::new(),
        };
        let digest = repeats::digest(&submission);
        if self.repeats.knows(&digest, now) {
            return Taken::Repeated(number);
        }
        let payload = submission.encode();
        drop(submission);
        match self.ingest.hand_in(&webhook.source, payload, share) {
            Ok(handed) => Taken::Handed(number, digest, handed),
            Err(refused) => Taken::Refused(refused),
        }
    }

    /// Whether every check of the source holds.
    async fn verify(
        &self,
        webhook: &Settings,
        notification: &Notification<'_>,
    ) -> Result<(), provider::Refusal> {
        for check in &webhook.checks {
            let fetched = match check.wanted(notification)? {
                Some(url) => {
                    let fetched = self.outside.certificate(webhook.source.as_str(), url).await;
                    Some(fetched.ok_or(provider::Refusal::Certificate)?)
                }
                None => None,
            };
            check.verify(notification, fetched.as_deref())?;
        }
        Ok(())
    }

    /// Whether the notification's token, if it has one, came with no other body before.
    fn is_first_body(&self, webhook: &Settings, notification: &Notification<'_>) -> bool {
        let Some(token) = webhook.provider.once(notification) else { return true };
        self.tokens.admit(webhook.source.as_str(), &token, notification.body, notification.now)
    }

    /// Confirms a subscription. The source must want that; the URL was checked by its adapter.
    async fn confirm(&self, webhook: &Settings, url: Url) -> Answer {
        let source = webhook.source.as_str();
        if !webhook.confirm {
            telemetry::webhook::confirmation_left(source);
            return Answer::Accepted;
        }
        let done = self.outside.confirm(source, url).await;
        telemetry::webhook::confirmed(source, done);
        if done { Answer::Accepted } else { Answer::Later(TRY_AGAIN) }
    }
}

/// The hooks by their names, each with what was counted of it.
fn hooks(
    settings: Vec<Settings>,
    skipped: impl Fn(&str) -> Arc<Skipped>,
) -> Arc<HashMap<String, Hook>> {
    let by_name = |settings: Settings| {
        let name = settings.source.as_str().to_owned();
        let (meter, skipped) = (Meter::new(&name), skipped(&name));
        (name, Hook { settings, meter, skipped })
    };
    Arc::new(settings.into_iter().map(by_name).collect())
}
