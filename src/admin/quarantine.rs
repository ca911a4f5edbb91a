//! Payloads that were authentic but not understood, and what could not be applied: shown, told
//! again, or forgotten.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Admin, Failure, Replies, Reply, blocking, row, unheard};
use crate::ingest::RECORD_BYTES;
use crate::model::{Element, QuarantineId, Submission};
use crate::store::{LastRecords, Quarantined, StoreError};

/// Most ids released by one submission.
const RELEASED_AT_ONCE: usize = 1_000;
/// Why something cannot be told again.
const LOST: &str = "the journal no longer has it; `suppressd quarantine drop` forgets it";

impl Admin {
    pub(super) async fn quarantine_list(self: &Arc<Self>, to: &Replies) -> Result<(), Failure> {
        let (reader, to) = (self.reader.clone(), to.clone());
        blocking(move || {
            let mut heard = Ok(());
            reader.visit_quarantined(&mut |held| {
                heard = to.blocking_send(Reply::Row { row: summary(&held) }).map_err(unheard);
                if heard.is_ok() { Ok(()) } else { Err(StoreError::NotReady) }
            })?;
            heard
        })
        .await
    }

    pub(super) async fn quarantine_show(&self, id: &str, to: &Replies) -> Result<(), Failure> {
        let held = self.held(parse(id)?)?;
        let mut answer = summary(&held);
        let element = held.told.map(|(_, element)| element).unwrap_or_default();
        answer["payload"] = String::from_utf8_lossy(&element.body).into();
        answer["context"] = element.context.into();
        row(to, answer).await
    }

    pub(super) async fn quarantine_replay(
        &self,
        ids: Vec<String>,
        to: &Replies,
    ) -> Result<(), Failure> {
        // Those of one body follow each other: it is read once.
        let mut last = LastRecords::default();
        for id in self.chosen(&ids)? {
            let problem = if id.element == QuarantineId::WHOLE {
                self.replay_record(id).await?
            } else {
                self.replay_element(id, &mut last).await?
            };
            row(to, outcome(id, problem)).await?;
        }
        Ok(())
    }

    /// Tells an element again; says why not.
    async fn replay_element(
        &self,
        id: QuarantineId,
        last: &mut LastRecords,
    ) -> Result<Option<String>, Failure> {
        let held = self.reader.quarantined_in(id, last)?.ok_or_else(|| missing(id))?;
        let Some((head, element)) = held.told else { return Ok(Some(LOST.to_owned())) };
        // What still cannot be read stays where it is.
        if let Err(unreadable) = self.reader.read(&head, &element) {
            return Ok(Some(unreadable.to_string()));
        }
        self.tell_again(&head, vec![element], vec![id]).await?;
        Ok(None)
    }

    /// Tells the elements of a record again, in as many records as they need; says why not. Its
    /// cursor is not taken: the feed was read on since.
    async fn replay_record(&self, id: QuarantineId) -> Result<Option<String>, Failure> {
        let mut payload = match self.reader.record(id.record)? {
            Some(Ok(payload)) => payload,
            Some(Err(strange)) => return Ok(Some(strange.to_string())),
            None => return Ok(Some(LOST.to_owned())),
        };
        let (mut elements, mut bytes) = (Vec::new(), 0);
        while let Some((_, element)) = payload.advance() {
            bytes += element.body.len();
            elements.push(element);
            if bytes >= RECORD_BYTES {
                let piece = std::mem::take(&mut elements);
                self.tell_again(payload.head(), piece, Vec::new()).await?;
                bytes = 0;
            }
        }
        let released = [&payload.head().released[..], &[id]].concat();
        self.tell_again(payload.head(), elements, released).await?;
        Ok(None)
    }

    async fn tell_again(
        &self,
        head: &Submission,
        elements: Vec<Element>,
        released: Vec<QuarantineId>,
    ) -> Result<(), Failure> {
        let again = Submission { elements, cursor: None, released, ..head.clone() };
        let receipt = self.ingest.submit(&again).await?;
        self.ingest.applied(receipt).await;
        Ok(())
    }

    pub(super) async fn quarantine_drop(
        &self,
        ids: Vec<String>,
        to: &Replies,
    ) -> Result<(), Failure> {
        for chunk in self.chosen(&ids)?.chunks(RELEASED_AT_ONCE) {
            self.instruct(Vec::new(), chunk.to_vec()).await?;
            for id in chunk {
                row(to, outcome(*id, None)).await?;
            }
        }
        Ok(())
    }

    /// The elements that are named, each of which must be there; all of them if none is.
    fn chosen(&self, ids: &[String]) -> Result<Vec<QuarantineId>, Failure> {
        if ids.is_empty() {
            return Ok(self.reader.quarantined()?);
        }
        let ids = ids.iter().map(|id| parse(id)).collect::<Result<Vec<_>, _>>()?;
        for id in &ids {
            self.held(*id)?;
        }
        Ok(ids)
    }

    fn held(&self, id: QuarantineId) -> Result<Quarantined, Failure> {
        self.reader.quarantined_element(id)?.ok_or_else(|| missing(id))
    }
}

fn missing(id: QuarantineId) -> Failure {
    Failure::failed(format!("there is nothing in quarantine with id {id}"))
}

fn parse(id: &str) -> Result<QuarantineId, Failure> {
    let hint = "is no id; `suppressd quarantine list` shows them";
    id.parse().map_err(|_| Failure::usage(format!("{id:?} {hint}")))
}

pub(super) fn summary(held: &Quarantined) -> Value {
    let told = held.told.as_ref();
    let (head, reason) = (told.map(|(head, _)| head), &held.reason);
    let is_lost = told.is_none() && held.id.element != QuarantineId::WHOLE;
    json!({
        "id": held.id.to_string(),
        "source": head.map(|head| head.source.as_str()),
        "provider": head.map(|head| &head.provider),
        "origin": head.map(|head| head.origin.as_str()),
        "received_at": head.map(|head| head.received_at.to_string()),
        "bytes": told.map(|(_, element)| element.body.len()),
        "set_aside": held.set_aside,
        "lost": is_lost,
        "problem": if is_lost { format!("{LOST}. It was: {reason}") } else { reason.clone() },
    })
}

fn outcome(id: QuarantineId, problem: Option<String>) -> Value {
    json!({ "id": id.to_string(), "done": problem.is_none(), "problem": problem })
}
