//! Changes of verdicts as they come, for pages and programs that follow them.

use serde_json::{Value, json};

use crate::admin::{Admin, Failure, rows};
use crate::clock;
use crate::model::Filter;

/// What has changed since a follower looked last.
#[derive(Clone, Debug, PartialEq)]
pub enum VerdictChange {
    /// The verdict on an address in a scope, as it is now.
    Address(Value),
    /// More than is known one by one: the follower must read everything again.
    Reset,
}

impl Admin {
    /// The number of the last change.
    pub fn last_change(&self) -> u64 {
        self.changes.last()
    }

    /// Waits for a change behind number `seen`. `None`: there are none any more.
    pub async fn changed(&self, seen: u64) -> Option<u64> {
        let mut last = self.changes.follow();
        last.wait_for(|last| *last > seen).await.ok().map(|last| *last)
    }

    /// The verdicts that have changed since change number `seen`. It blocks on the store.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn changes_since(&self, seen: u64) -> Result<Vec<VerdictChange>, String> {
        self.verdicts_since(seen).map_err(|failure| failure.error)
    }

    fn verdicts_since(&self, seen: u64) -> Result<Vec<VerdictChange>, Failure> {
        let Some(keys) = self.changes.addresses_since(seen) else {
            return Ok(vec![VerdictChange::Reset]);
        };
        let now = clock::now();
        let mut changes = Vec::new();
        for key in keys {
            for (scope, standing) in self.reader.standings_under(&key)? {
                let found = self.rules.judge(&key, &standing, &scope, &Filter::default(), now);
                let never = self.rules.never.entry(&key);
                let row = rows::verdict(&key, &scope.to_string(), found.as_ref(), never);
                changes.push(VerdictChange::Address(row));
            }
        }
        Ok(changes)
    }
}

impl VerdictChange {
    /// As a server-sent event (WHATWG HTML, section 9.2) with the number of its change.
    pub fn event(&self, number: u64) -> String {
        match self {
            VerdictChange::Address(row) => format!("id: {number}\nevent: verdict\ndata: {row}\n\n"),
            VerdictChange::Reset => {
                format!("id: {number}\nevent: reset\ndata: {}\n\n", json!({}))
            }
        }
    }
}
