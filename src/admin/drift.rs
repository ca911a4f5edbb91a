//! How a provider's own suppression list differs from ours. Only looks: nothing is kept or changed.
//!
//! Their rows are compared as they come; of each only a hash is remembered, to know afterwards what
//! of ours is not there.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::suppressions::parse_source;
use super::{Admin, Failure, Replies, Reply, blocking, row, unheard};
use crate::clock;
use crate::model::{
    Address, Event, Fact, Filter, Reason, Scope, SourceName, Standing, Submission, Time,
};

/// Most rows of the provider's that are compared; they take about 50 bytes each.
const ROWS_MAX: u64 = 2_000_000;

/// Pages that wait to be compared.
const PAGES_WAITING: usize = 2;

/// The comparison as far as it has come.
struct Comparison {
    admin: Arc<Admin>,
    source: SourceName,
    to: Replies,
    now: Time,
    hasher: RandomState,
    /// Addresses on their list, each with its scope and without, by hash.
    there: HashSet<u64>,
    rows: u64,
    unreadable: u64,
    same: u64,
    only_there: u64,
    only_here: u64,
    different: u64,
}

impl Admin {
    pub(super) async fn drift(self: &Arc<Self>, source: &str, to: &Replies) -> Result<(), Failure> {
        let name = parse_source(source)?;
        let (pages, inbox) = mpsc::channel(PAGES_WAITING);
        let comparison = Comparison::new(Arc::clone(self), name, to.clone());
        let compared = blocking(move || comparison.read(inbox));
        let reading = self.with_progress(to, |progress| self.polls.lists(source, pages, progress));
        let (summary, comparison) = tokio::join!(reading, compared);
        let summary = summary.map_err(|error| self.not_polled(&error))?;
        let comparison = comparison?;
        if let Some(error) = summary.error {
            let error = format!("the list was not read to its end: {error}");
            return Err(Failure::failed(error));
        }
        let comparison = blocking(move || comparison.look_here()).await?;
        row(to, comparison.summary(&summary.feeds, summary.took)).await
    }
}

impl Comparison {
    fn new(admin: Arc<Admin>, source: SourceName, to: Replies) -> Comparison {
        Comparison {
            admin,
            source,
            to,
            now: clock::now(),
            hasher: RandomState::default(),
            there: HashSet::new(),
            rows: 0,
            unreadable: 0,
            same: 0,
            only_there: 0,
            only_here: 0,
            different: 0,
        }
    }

    /// Takes their pages until there are no more.
    fn read(mut self, mut pages: mpsc::Receiver<Submission>) -> Result<Comparison, Failure> {
        while let Some(page) = pages.blocking_recv() {
            for element in &page.elements {
                self.rows += 1;
                if self.rows > ROWS_MAX {
                    let error = format!("the list has more than {ROWS_MAX} rows: too many");
                    return Err(Failure::failed(error));
                }
                match self.admin.reader.read(&page, element) {
                    Err(_) => self.unreadable += 1,
                    Ok(events) => {
                        for event in events {
                            self.row(&page.feed, &event)?;
                        }
                    }
                }
            }
        }
        Ok(self)
    }

    /// Compares one row of theirs.
    fn row(&mut self, list: &str, event: &Event) -> Result<(), Failure> {
        let Some(Fact::Ground { reason, latest, .. }) = event.fact() else { return Ok(()) };
        if !latest.until.holds_at(self.now) {
            return Ok(());
        }
        let (address, scope) = (&event.address, &event.scope);
        let is_new = self.there.insert(self.hash(address.key(), Some(scope), Some(reason)));
        self.there.insert(self.hash(address.key(), Some(scope), None));
        self.there.insert(self.hash(address.key(), None, None));
        if !is_new {
            return Ok(());
        }
        let here = self.reasons_here(address, scope)?;
        let found = match here.first() {
            None => {
                self.only_there += 1;
                "only_there"
            }
            // A list that says no cause does not contradict any.
            Some(_) if here.contains(&reason) || reason == Reason::ProviderListed => {
                self.same += 1;
                return Ok(());
            }
            Some(_) => {
                self.different += 1;
                "different_reason"
            }
        };
        let address = address.received();
        self.tell(found, address, scope, (Some(list), Some(reason), here.first(), latest.at))
    }

    /// The live reasons of ours that cover an address for mail of a scope, by weight.
    fn reasons_here(&self, address: &Address, scope: &Scope) -> Result<Vec<Reason>, Failure> {
        let mut reasons = Vec::new();
        for (known, standing) in self.admin.reader.standings_of(address)? {
            if known == Scope::Global || known == *scope {
                let findings =
                    self.admin.rules.findings(address.key(), &standing, &Filter::default());
                reasons.extend(findings.iter().filter(|f| f.is_live(self.now)).map(|f| f.reason));
            }
        }
        reasons.sort_unstable();
        Ok(reasons)
    }

    /// Looks for what this source has told us and is not on its list.
    fn look_here(mut self) -> Result<Comparison, Failure> {
        let admin = Arc::clone(&self.admin);
        for standing in admin.reader.standings() {
            let (key, scope, standing) = standing?;
            let Some((reason, since)) = self.told(&key, &standing) else { continue };
            let known = match scope {
                // Theirs may be by stream where ours is not.
                Scope::Global => self.hash(&key, None, None),
                Scope::Stream(_) => self.hash(&key, Some(&scope), None),
            };
            let global = self.hash(&key, Some(&Scope::Global), None);
            if !self.there.contains(&known) && !self.there.contains(&global) {
                self.only_here += 1;
                let here = (None, None, Some(&reason), since);
                self.tell("only_here", standing.spelling(), &scope, here)?;
            }
        }
        Ok(self)
    }

    /// What a standing has of this source, of what can be on a list at all: the weightiest reason.
    fn told(&self, key: &str, standing: &Standing) -> Option<(Reason, Time)> {
        let filter = Filter { sources: vec![self.source.clone()], ..Filter::default() };
        let findings = self.admin.rules.findings(key, standing, &filter);
        let counts = |reason: Reason| reason != Reason::SoftBounces;
        let live = findings.iter().filter(|f| f.is_live(self.now) && counts(f.reason));
        live.map(|finding| (finding.reason, finding.since)).min()
    }

    fn hash(&self, address: &str, scope: Option<&Scope>, reason: Option<Reason>) -> u64 {
        self.hasher.hash_one((address, scope, reason))
    }

    fn tell(
        &self,
        found: &str,
        address: &str,
        scope: &Scope,
        (list, there, here, since): (Option<&str>, Option<Reason>, Option<&Reason>, Time),
    ) -> Result<(), Failure> {
        let row = json!({
            "found": found,
            "address": address,
            "scope": scope.to_string(),
            "list": list,
            "there": there.map(Reason::as_str),
            "here": here.map(|reason| reason.as_str()),
            "since": since.to_string(),
        });
        self.to.blocking_send(Reply::Row { row }).map_err(unheard)
    }

    fn summary(&self, lists: &[String], took: f64) -> Value {
        json!({
            "found": "summary",
            "source": self.source.as_str(),
            "lists": lists,
            "rows": self.rows,
            "unreadable": self.unreadable,
            "same": self.same,
            "only_there": self.only_there,
            "only_here": self.only_here,
            "different_reason": self.different,
            "took": took,
        })
    }
}
