//! One notification, from authentication to receipt: what is behind `POST /hooks/<source>`.
//!
//! Nothing is read of a notification that is not authentic, and nothing is answered before it is
//! durable.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;

use crate::clock;
use crate::ingest::{Ingest, Refused};
use crate::model::{Origin, SourceName, Submission};
use crate::provider::{Check, Notification, Provider, Refusal};
use crate::telemetry;

/// One source's webhook.
#[derive(Clone)]
pub struct Settings {
    /// The source; part of the webhook's path.
    pub source: SourceName,
    /// Its provider.
    pub provider: &'static dyn Provider,
    /// All of these must hold. Empty only where the configuration says `auth = "none"`.
    pub checks: Vec<Check>,
}

/// How a notification is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All of it is durable.
    Accepted,
    /// It is not authentic; nothing was kept.
    NotAuthentic,
    /// Basic credentials are missing or wrong; nothing was kept.
    BasicWanted,
    /// It is too large to be kept.
    TooLarge,
    /// It was not kept; the sender may try again.
    Later(Duration),
}

/// The webhooks of all sources.
#[derive(Clone)]
pub struct Webhooks {
    sources: Arc<HashMap<String, Settings>>,
    ingest: Ingest,
}

impl Webhooks {
    /// Those of these sources.
    pub fn new(settings: Vec<Settings>, ingest: Ingest) -> Webhooks {
        let by_name = |s: Settings| (s.source.as_str().to_owned(), s);
        Webhooks { sources: Arc::new(settings.into_iter().map(by_name).collect()), ingest }
    }

    /// The webhook of a source. `None`: there is no such source, or it has no webhook.
    pub fn find(&self, source: &str) -> Option<&Settings> {
        self.sources.get(source)
    }

    /// Takes one notification. `peer` is for the log.
    pub async fn receive(
        &self,
        webhook: &Settings,
        headers: &HeaderMap,
        body: &[u8],
        peer: impl Display,
    ) -> Answer {
        let started = Instant::now();
        let source = webhook.source.as_str();
        let notification = Notification { headers, body };
        let verified = webhook.checks.iter().try_for_each(|check| check.verify(&notification));
        if let Err(refusal) = verified {
            telemetry::webhook::not_authentic(source, peer, &refusal, started.elapsed());
            let basic = refusal == Refusal::BasicWanted;
            return if basic { Answer::BasicWanted } else { Answer::NotAuthentic };
        }
        let elements = webhook.provider.split(body);
        let number = elements.len();
        let submission = Submission {
            source: webhook.source.clone(),
            provider: webhook.provider.name().into(),
            origin: Origin::Webhook,
            feed: "".into(),
            received_at: clock::now(),
            elements,
            cursor: None,
            released: Vec::new(),
        };
        // From the body's last byte to the queue there is no await: a sender that goes away after
        // that does not take back what it sent.
        let refused = match self.ingest.submit(&submission).await {
            Ok(_) => {
                telemetry::webhook::accepted(source, number, started.elapsed());
                return Answer::Accepted;
            }
            Err(refused) => refused,
        };
        telemetry::webhook::refused(source, &refused, started.elapsed());
        match refused {
            Refused::TooLarge => Answer::TooLarge,
            Refused::Full { retry_after } | Refused::DiskFull { retry_after } => {
                Answer::Later(retry_after)
            }
            Refused::Stopping => Answer::Later(STOPPING_RETRY),
        }
    }
}

/// When a sender may try again that met us stopping: a restart takes no longer.
const STOPPING_RETRY: Duration = Duration::from_secs(10);
