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

    /// The id of a change, by which a follower says what it has seen last.
    pub fn change_id(&self, number: u64) -> String {
        format!("{:016x}-{number}", self.changes.run())
    }

    /// The number of the change with that id. `None`: this process has not told it.
    pub fn change_number(&self, id: &str) -> Option<u64> {
        let number = id.split_once('-')?.1.parse().ok()?;
        let ours = number <= self.last_change() && self.change_id(number) == id;
        ours.then_some(number)
    }

    /// Waits for a change behind number `seen`. `None`: there are none any more.
    pub async fn changed(&self, seen: u64) -> Option<u64> {
        let mut last = self.changes.follow();
        last.wait_for(|last| *last > seen).await.ok().map(|last| *last)
    }

    /// The verdicts that have changed since change number `seen`, as server-sent events, and the
    /// number of the last change. It blocks on the store.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn changes_since(&self, seen: u64) -> Result<(u64, String), String> {
        self.verdicts_since(seen).map_err(|failure| failure.error)
    }

    fn verdicts_since(&self, seen: u64) -> Result<(u64, String), Failure> {
        let (last, changes) = self.changes.latest_since(seen);
        let Some(changes) = changes else {
            return Ok((last, VerdictChange::Reset.event(&self.change_id(last))));
        };
        let now = clock::now();
        let mut events = String::new();
        for (number, change) in changes {
            let (key, scope) = (&*change.address, &change.scope);
            let standings = self.reader.standings_under(key)?;
            // Of somebody who was forgotten nothing is left to tell.
            let Some((_, standing)) = standings.iter().find(|(of, _)| of == scope) else {
                continue;
            };
            let found = self.rules.judge(key, standing, scope, &Filter::default(), now);
            let never = self.rules.never.entry(key);
            let row = rows::verdict(key, &scope.to_string(), found.as_ref(), never);
            events += &VerdictChange::Address(row).event(&self.change_id(number));
        }
        if events.is_empty() {
            events = format!("id: {}\n\n", self.change_id(last));
        }
        Ok((last, events))
    }
}

impl VerdictChange {
    /// As a server-sent event (WHATWG HTML, section 9.2) with the id of its change.
    pub fn event(&self, id: &str) -> String {
        match self {
            VerdictChange::Address(row) => format!("id: {id}\nevent: verdict\ndata: {row}\n\n"),
            VerdictChange::Reset => format!("id: {id}\nevent: reset\ndata: {}\n\n", json!({})),
        }
    }
}
