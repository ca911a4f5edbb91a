//! Payloads that were authentic but not understood: shown, read again, or forgotten.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Admin, Failure, Replies, Reply, blocking, row, unheard};
use crate::model::{QuarantineId, Submission};
use crate::store::Quarantined;

/// Most ids released by one submission.
const RELEASED_AT_ONCE: usize = 1_000;

impl Admin {
    pub(super) async fn quarantine_list(self: &Arc<Self>, to: &Replies) -> Result<(), Failure> {
        let (reader, to) = (self.reader.clone(), to.clone());
        blocking(move || {
            for id in reader.quarantined()? {
                if let Some(held) = reader.quarantined_element(id)? {
                    to.blocking_send(Reply::Row { row: summary(&held) }).map_err(unheard)?;
                }
            }
            Ok(())
        })
        .await
    }

    pub(super) async fn quarantine_show(&self, id: &str, to: &Replies) -> Result<(), Failure> {
        let held = self.held(parse(id)?)?;
        let mut answer = summary(&held);
        let element = held.element.unwrap_or_default();
        answer["payload"] = String::from_utf8_lossy(&element.body).into();
        answer["context"] = element.context.into();
        row(to, answer).await
    }

    pub(super) async fn quarantine_replay(
        &self,
        ids: Vec<String>,
        to: &Replies,
    ) -> Result<(), Failure> {
        for id in self.chosen(&ids)? {
            let Quarantined { submission, element, .. } = self.held(id)?;
            let Some(element) = element else {
                row(to, outcome(id, Some("the journal no longer has it".to_owned()))).await?;
                continue;
            };
            // What still cannot be read stays where it is.
            if let Err(unreadable) = self.reader.read(&submission, &element) {
                row(to, outcome(id, Some(unreadable.to_string()))).await?;
                continue;
            }
            let again = Submission {
                elements: vec![element],
                cursor: None,
                released: vec![id],
                ..submission
            };
            let receipt = self.ingest.submit(&again).await?;
            self.ingest.applied(receipt).await;
            row(to, outcome(id, None)).await?;
        }
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
        let missing = || Failure::failed(format!("there is nothing in quarantine with id {id}"));
        self.reader.quarantined_element(id)?.ok_or_else(missing)
    }
}

fn parse(id: &str) -> Result<QuarantineId, Failure> {
    let hint = "is no id; `suppressd quarantine list` shows them";
    id.parse().map_err(|_| Failure::usage(format!("{id:?} {hint}")))
}

fn summary(held: &Quarantined) -> Value {
    json!({
        "id": held.id.to_string(),
        "source": held.submission.source.as_str(),
        "provider": held.submission.provider,
        "origin": held.submission.origin.as_str(),
        "received_at": held.submission.received_at.to_string(),
        "bytes": held.element.as_ref().map_or(0, |element| element.body.len()),
        "problem": held.reason,
    })
}

fn outcome(id: QuarantineId, problem: Option<String>) -> Value {
    json!({ "id": id.to_string(), "done": problem.is_none(), "problem": problem })
}
