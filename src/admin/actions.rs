//! Telling the edges to act now: poll, export, and send a sample.

use std::time::Instant;

use http::{HeaderMap, HeaderValue, header};
use serde_json::json;
use tokio::sync::mpsc;

use super::suppressions::{parse_address, parse_time};
use super::{Admin, Failure, Replies, Reply, row, unheard};
use crate::clock;
use crate::export::handle::WriteError;
use crate::fetch::post_local;
use crate::model::EventKind;
use crate::poll::{PollError, Progress};
use crate::provider::Draft;
use crate::secret::Secret;

/// Progress that waits for a slow client.
const PROGRESS_WAITING: usize = 16;

/// The names that could have been meant, as the end of a sentence.
pub fn there_are<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        "; there is none".to_owned()
    } else {
        format!("; there are: {}", names.join(", "))
    }
}

impl Admin {
    pub(super) async fn replay(
        &self,
        name: &str,
        since: &str,
        to: &Replies,
    ) -> Result<(), Failure> {
        let since = parse_time(since)?;
        let now = clock::now();
        let forwards = self.forwards.statuses(now);
        let known = forwards.iter().find(|forward| forward.name == name).cloned();
        let unknown = || {
            let names = forwards.iter().map(|forward| &*forward.name);
            Failure::usage(format!("there is no forward named {name:?}{}", there_are(names)))
        };
        let forward = known.ok_or_else(unknown)?;
        if since > now {
            return Err(Failure::usage(format!("{since} is still to come: nothing can be told")));
        }
        if !self.forwards.replay(name, since).await {
            return Err(Failure::failed("the daemon is stopping"));
        }
        let (name, to_whom, since) = (forward.name, forward.to, since.to_string());
        row(to, json!({ "name": name, "to": to_whom, "since": since })).await
    }

    pub(super) async fn poll(
        &self,
        source: Option<String>,
        since: Option<String>,
        to: &Replies,
    ) -> Result<(), Failure> {
        let since = since.as_deref().map(parse_time).transpose()?;
        let run = |progress| self.polls.run_now(source.as_deref(), since, progress);
        let summaries = self.with_progress(to, run).await;
        let mut failed = None;
        for summary in summaries.map_err(|error| self.not_polled(&error))? {
            failed = failed.or(summary.error.clone());
            let answer = serde_json::to_value(&summary).map_err(Failure::failed)?;
            to.send(Reply::Row { row: answer }).await.map_err(unheard)?;
        }
        failed.map_or(Ok(()), |error| Err(Failure::failed(error)))
    }

    /// Why a source is not polled, and which are.
    pub(super) fn not_polled(&self, error: &PollError) -> Failure {
        let names: Vec<String> =
            self.polls.statuses().into_iter().map(|poll| poll.source).collect();
        match error {
            PollError::Stopping => Failure::failed(error),
            PollError::NotPolled(_) if !names.is_empty() => {
                Failure::usage(format!("{error}; polled are: {}", names.join(", ")))
            }
            _ => Failure::usage(error),
        }
    }

    /// Does something long, and hands on how far it is.
    pub(super) async fn with_progress<F: Future>(
        &self,
        to: &Replies,
        work: impl FnOnce(mpsc::Sender<Progress>) -> F,
    ) -> F::Output {
        let (progress, mut steps) = mpsc::channel(PROGRESS_WAITING);
        let forward = async {
            while let Some(step) = steps.recv().await {
                let Progress { source, pages, rows, part, wait } = step;
                let reply = Reply::Progress { what: source, pages, rows, part, wait };
                if to.send(reply).await.is_err() {
                    break;
                }
            }
        };
        tokio::join!(work(progress), forward).0
    }

    pub(super) async fn export(
        &self,
        name: Option<String>,
        force: bool,
        to: &Replies,
    ) -> Result<(), Failure> {
        let statuses = self.exports.write(name.as_deref(), force).await;
        let statuses = statuses.map_err(|error| match error {
            WriteError::Unknown(_) => {
                let known = self.exports.statuses();
                let names = known.iter().map(|export| &*export.name);
                Failure::usage(format!("{error}{}", there_are(names)))
            }
            WriteError::Stopping => Failure::failed(error),
        })?;
        let mut failed = None;
        for status in statuses {
            failed = failed.or_else(|| status.error.clone().or_else(|| status.held_back.clone()));
            row(to, serde_json::to_value(&status).map_err(Failure::failed)?).await?;
        }
        failed.map_or(Ok(()), |error| Err(Failure::failed(error)))
    }

    pub(super) async fn trigger(
        &self,
        source: &str,
        kind: &str,
        address: &str,
        to: &Replies,
    ) -> Result<(), Failure> {
        let hook = self.webhooks.find(source).ok_or_else(|| {
            let hooked = self.sources.iter().map(|known| known.name.as_str());
            let names = there_are(hooked.filter(|name| self.webhooks.find(name).is_some()));
            Failure::usage(format!("{source:?} is no source with a webhook{names}"))
        })?;
        let webhook = &hook.settings;
        let provider = &*webhook.provider;
        let address = parse_address(address)?;
        let kind = EventKind::parse(kind)
            .ok_or_else(|| Failure::usage(format!("{kind:?} is no kind of event")))?;
        let now = clock::now();
        let has = |kind: &EventKind| provider.sample(*kind, &address, now).is_some();
        let sample = provider.sample(kind, &address, now).ok_or_else(|| {
            let kinds = EventKind::ALL.into_iter().filter(has).map(EventKind::as_str);
            let (name, kinds) = (provider.name(), there_are(kinds));
            Failure::usage(format!("{name} has no sample of an event of kind {kind}{kinds}"))
        })?;
        let mut draft = Draft::new(HeaderMap::new(), sample.body, webhook.url.clone(), now);
        let content_type = HeaderValue::from_static(sample.content_type);
        draft.headers.insert(header::CONTENT_TYPE, content_type);
        for check in &webhook.checks {
            check.sign(&mut draft).map_err(Failure::failed)?;
        }
        let headers: Vec<(String, Secret)> = draft
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), Secret::new(value.as_bytes())))
            .collect();
        let path = format!("/hooks/{source}");
        let started = Instant::now();
        // A secret may be in it: only the path is told.
        let called = match draft.query.as_str() {
            "" => path.clone(),
            query => format!("{path}?{query}"),
        };
        let sent = post_local(&self.public, self.public_tls, &called, &headers, draft.body).await;
        let answer = sent.map_err(Failure::failed)?;
        let body = json!({
            "url": format!("{}{path}", self.public),
            "status": answer.status,
            "body": String::from_utf8_lossy(&answer.body).trim(),
            "took_ms": started.elapsed().as_millis() as u64,
        });
        row(to, body).await?;
        if answer.status == 200 {
            return Ok(());
        }
        Err(Failure::failed(format!("the daemon answered {}", answer.status)))
    }
}
