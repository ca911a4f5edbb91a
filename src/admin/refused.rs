//! Showing webhooks that were turned away, and going on with them as they come.

use serde_json::{Value, json};

use super::{Admin, Failure, Replies, is_changed, row};
use crate::webhook::Refusal;

impl Admin {
    pub(super) async fn refused(
        &self,
        source: Option<String>,
        follow: bool,
        to: &Replies,
    ) -> Result<(), Failure> {
        let refusals = self.webhooks.refusals();
        let mut progress = refusals.progress();
        let mut seen = 0;
        loop {
            progress.mark_unchanged();
            for refusal in refusals.since(seen) {
                seen = refusal.number;
                if source.as_deref().is_none_or(|source| source == &*refusal.source) {
                    row(to, shown(&refusal)).await?;
                }
            }
            if !follow || !is_changed(&mut progress, to).await? {
                return Ok(());
            }
        }
    }
}

pub(super) fn shown(refusal: &Refusal) -> Value {
    json!({
        "at": refusal.at.to_string(),
        "source": refusal.source,
        "peer": refusal.peer,
        "reason": refusal.reason,
    })
}
