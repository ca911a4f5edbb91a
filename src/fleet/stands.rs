//! What stands here despite a lift by the order of our journal alone: the others, who go by dates,
//! are told of it by a date at which it stands.
//!
//! A provider's clock may be ahead: a lift covers what it has dated so, and by its date what is
//! told, or said by an operator, a moment later.

use super::{Fleet, PAUSE};
use crate::clock;
use crate::ingest::{Change, Refused};
use crate::model::{SourceName, Submission};
use crate::provider::{OWN, Told, told_element};
use crate::store::StoreError;

impl Fleet {
    /// Tells the others of what changes behind number `seen`, as records of this host, for as long
    /// as it lives. What is not told, since the process ends or too much changes, shows when
    /// standings are compared.
    pub(super) async fn tell_what_stands(&self, mut seen: u64) {
        let changes = &self.changes;
        let mut numbers = changes.follow();
        loop {
            let last = changes.last();
            let recent = changes.since(seen).unwrap_or_default();
            seen = last.max(seen + recent.len() as u64);
            for change in recent.into_iter().filter(|change| change.by_order) {
                // The store is opened again by itself.
                let told = loop {
                    match self.stands(&change) {
                        Ok(told) => break told,
                        Err(_) => tokio::time::sleep(PAUSE).await,
                    }
                };
                if let Some(told) = told {
                    self.tell_own(&told).await;
                }
            }
            if numbers.wait_for(|last| *last > seen).await.is_err() {
                return;
            }
        }
    }

    /// What the others are to be told of a change that rests on such an order.
    fn stands(&self, change: &Change) -> Result<Option<Told>, StoreError> {
        let Change { address, scope, .. } = change;
        let standings = self.reader.standings_under(address)?;
        let standing = standings.into_iter().find(|(of, _)| of == scope);
        Ok(standing.map(|(scope, standing)| Told::of(address, scope, &standing)))
    }

    async fn tell_own(&self, told: &Told) {
        let source = SourceName::operator();
        let told = vec![told_element(told)];
        let submission = Submission::ours(source, OWN, told, clock::receipt());
        while let Err(refused) = self.ingest.submit(&submission).await {
            if matches!(refused, Refused::Stopping | Refused::TooLarge) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
