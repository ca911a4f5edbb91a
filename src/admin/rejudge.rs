//! Reading the journal again under the present rules, and making it so.
//!
//! Each address that has failed is taken once, with all of its events. What is applied goes the
//! one way in, together with how far it has come, so that it goes on there after a kill.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use super::{Admin, Failure, Replies, Reply, blocking, unheard};
use crate::clock;
use crate::ingest::foresight::Foresight;
use crate::model::{
    Address, Correction, Cursor, Element, Event, Filter, MassId, Position, Reread, Scope,
    SourceName, Standing, Submission, Suppression, Time,
};
use crate::provider::{OPERATOR, correction_element};
use crate::store::{EventFilter, LastRecords, Told};

/// The feed under which it is noted how far it has come.
const FEED: &str = "rejudge";
/// Corrections of one submission, and addresses between two words about the progress.
const AT_ONCE: usize = 500;
const TOLD_EVERY: u64 = 200;

/// One run.
struct Run {
    admin: Arc<Admin>,
    to: Replies,
    apply: bool,
    /// What would be held back of what it does not apply.
    foresight: Foresight,
    now: Time,
    /// By which rules, in short.
    rules: String,
    /// Where the journal began, and where it ends, as it began.
    start: Position,
    end: Position,
    /// What was read of the journal last.
    last: LastRecords,
    waiting: Vec<Element>,
    /// What becomes of verdicts, by address key and scope.
    rows: Vec<(Box<str>, Scope, Value)>,
    addresses: u64,
    changed: u64,
    corrected: u64,
    /// How many of the changes are held back with a mass, or would be.
    held: u64,
    /// The exports, and how many addresses leave each.
    leaving: Vec<(String, Filter, u64)>,
}

impl Admin {
    pub(super) async fn rejudge(
        self: &Arc<Self>,
        apply: bool,
        to: &Replies,
    ) -> Result<(), Failure> {
        let alone = apply.then(|| Arc::clone(&self.rejudging).try_lock_owned()).transpose();
        let alone = alone.map_err(|_| {
            let what = "another `suppressd rejudge --apply` is under way";
            Failure::failed(format!("{what}: nothing was changed; wait until it is done"))
        })?;
        let (admin, to) = (Arc::clone(self), to.clone());
        blocking(move || {
            // As long as it runs, whoever has gone meanwhile.
            let _alone = alone;
            Run::new(admin, to, apply)?.go()
        })
        .await
    }
}

impl Run {
    fn new(admin: Arc<Admin>, to: Replies, apply: bool) -> Result<Run, Failure> {
        let rules = rules_of(&admin);
        let (now, start) = (clock::now(), admin.reader.journal_start()?);
        let end = admin.reader.totals()?.applied;
        let (waiting, rows) = (Vec::new(), Vec::new());
        let (addresses, changed, corrected, held) = (0, 0, 0, 0);
        let exports = admin.exports.filters().into_iter();
        let leaving = exports.map(|(name, filter)| (name, filter, 0)).collect();
        let foresight = Foresight::new(admin.reader.clone(), Arc::clone(&admin.rules), now)?;
        Ok(Run {
            admin,
            to,
            apply,
            foresight,
            now,
            rules,
            start,
            end,
            last: LastRecords::default(),
            waiting,
            rows,
            addresses,
            changed,
            corrected,
            held,
            leaving,
        })
    }

    fn go(mut self) -> Result<(), Failure> {
        let left = if self.apply { self.left_at()? } else { None };
        let from = left.unwrap_or_default().max(self.start);
        let filter = EventFilter { judged: true, ..EventFilter::default() };
        let reader = self.admin.reader.clone();
        let mut scan = reader.events_from(filter, (from, 0))?;
        let mut seen = HashSet::new();
        while let Some(told) = scan.advance()? {
            let (record, address) = (told.place.0, told.event.address);
            if record >= self.end {
                break;
            }
            if !seen.insert(short(&address)) {
                continue;
            }
            self.address(&address)?;
            self.addresses += 1;
            if self.addresses.is_multiple_of(TOLD_EVERY) {
                self.progress(record)?;
            }
            if self.waiting.len() >= AT_ONCE {
                self.flush(Some(record))?;
            }
        }
        self.flush(None)?;
        let leaving = self.leaving.iter().filter(|(_, _, rows)| *rows > 0);
        let leaving = leaving.map(|(export, _, rows)| json!({ "export": export, "rows": rows }));
        let summary = json!({
            "found": "summary",
            "addresses": self.addresses,
            "changed": self.changed,
            "corrected": self.corrected,
            "held": self.held,
            "applied": self.apply,
            "leaving": leaving.collect::<Vec<_>>(),
            "read_from": from.to_string(),
            "resumed": left.is_some(),
        });
        self.send(Reply::Row { row: summary })
    }

    /// Judges one address, of which all events are read.
    fn address(&mut self, address: &Address) -> Result<(), Failure> {
        let reader = &self.admin.reader;
        let told = reader.events_of(address, &mut self.last)?.into_iter();
        let told = told.map(|Told { event, id, place: (record, _), .. }| Reread {
            event,
            id,
            record: record.as_u64(),
        });
        let told: Vec<Reread> = told.collect();
        let known: BTreeMap<Scope, Standing> = reader.standings_of(address)?.into_iter().collect();
        let mut scopes: Vec<Scope> = told.iter().map(|told| told.event.scope.clone()).collect();
        scopes.sort();
        scopes.dedup();
        let mut after = known.clone();
        for scope in scopes {
            let standing = known.get(&scope).cloned().unwrap_or_default();
            let correction = Correction::of(&standing, address.key(), &scope, &told);
            let Some(correction) = correction else { continue };
            let mut corrected = standing.clone();
            correction.apply(&mut corrected);
            self.corrected += 1;
            let held = match self.apply {
                true => None,
                false => self.foreseen(&correction, &standing)?,
            };
            self.row(address, &scope, (&standing, &corrected), held, &told);
            after.insert(scope, corrected);
            if self.apply {
                self.waiting.push(correction_element(&correction));
            }
        }
        self.count_leaving(address, &known, &after);
        Ok(())
    }

    /// Counts the exports that have an address now and will not.
    fn count_leaving(
        &mut self,
        address: &Address,
        before: &BTreeMap<Scope, Standing>,
        after: &BTreeMap<Scope, Standing>,
    ) {
        if before == after {
            return;
        }
        let (rules, now) = (&self.admin.rules, self.now);
        for (_, filter, leaving) in &mut self.leaving {
            let has = |standings: &BTreeMap<Scope, Standing>| {
                let mut each = standings.iter();
                each.any(|(scope, of)| rules.judge(address.key(), of, scope, filter, now).is_some())
            };
            *leaving += u64::from(has(before) && !has(after));
        }
    }

    /// Tells what becomes of a verdict, where anything does.
    fn row(
        &mut self,
        address: &Address,
        scope: &Scope,
        (before, after): (&Standing, &Standing),
        held: Option<MassId>,
        told: &[Reread],
    ) {
        let judge = |standing: &Standing| {
            self.admin.rules.judge(address.key(), standing, scope, &Filter::default(), self.now)
        };
        let essence = |found: &Option<Suppression>| found.as_ref().map(|s| (s.reason, s.until));
        let (from, to) = (judge(before), judge(after));
        if essence(&from) == essence(&to) {
            return;
        }
        let held = held.filter(|_| to.is_some());
        self.changed += 1;
        self.held += u64::from(held.is_some());
        let reason = |found: &Option<Suppression>| found.as_ref().map(|s| s.reason.as_str());
        let row = json!({
            "found": "change",
            "address": address.received(),
            "scope": scope.to_string(),
            "from": reason(&from),
            "to": reason(&to),
            "why": why(told, scope),
            "done": self.apply,
            "held": held.map(|MassId(id)| id),
        });
        self.rows.push((address.key().into(), scope.clone(), row));
    }

    /// Hands in what waits, and tells its rows when it is applied. `at`: where to go on after a
    /// kill; `None`: nowhere, it is done.
    fn flush(&mut self, at: Option<Position>) -> Result<(), Failure> {
        if self.rules != rules_of(&self.admin) {
            let what = "the rules were changed meanwhile; what was told before is by the old ones";
            return Err(Failure::failed(format!("{what}: run rejudge again")));
        }
        if self.apply {
            let state = at.map_or(String::new(), |at| format!("{} {}", at.as_u64(), self.rules));
            let (source, waiting) = (SourceName::operator(), std::mem::take(&mut self.waiting));
            let submission = Submission {
                cursor: Some(Cursor { feed: FEED.to_owned(), state }),
                ..Submission::ours(source, OPERATOR, waiting, clock::receipt())
            };
            let ingest = &self.admin.ingest;
            Handle::current().block_on(async {
                let receipt = ingest.submit(&submission).await?;
                ingest.applied(receipt).await;
                Ok::<_, Failure>(())
            })?;
        }
        for (address, scope, mut row) in std::mem::take(&mut self.rows) {
            if self.apply && !row["to"].is_null() {
                let held = self.held_with(&address, &scope)?;
                self.held += u64::from(held.is_some());
                row["held"] = held.map(|MassId(id)| id).into();
            }
            self.send(Reply::Row { row })?;
        }
        Ok(())
    }

    /// The mass with which an address is held back, if it is, and suppressed no more for it.
    fn held_with(&self, address: &str, scope: &Scope) -> Result<Option<MassId>, Failure> {
        let standings = self.admin.reader.standings_under(address)?;
        let standing = standings.iter().find(|(known, _)| known == scope);
        Ok(standing.and_then(|(_, standing)| self.mass_of(address, scope, standing)))
    }

    /// The mass with which an address would be held back, if a correction were applied.
    fn foreseen(
        &mut self,
        correction: &Correction,
        standing: &Standing,
    ) -> Result<Option<MassId>, Failure> {
        let mut standing = standing.clone();
        self.foresight.apply(correction, &mut standing)?;
        Ok(self.mass_of(&correction.address, &correction.scope, &standing))
    }

    fn mass_of(&self, address: &str, scope: &Scope, standing: &Standing) -> Option<MassId> {
        let filter = Filter::default();
        let judged = self.admin.rules.judge(address, standing, scope, &filter, self.now);
        let held = standing.held().first().filter(|_| judged.is_none());
        held.map(|held| held.mass)
    }

    /// Where a run by the same rules was broken off, if one was.
    fn left_at(&self) -> Result<Option<Position>, Failure> {
        let state = self.admin.reader.cursor(&SourceName::operator(), FEED)?.unwrap_or_default();
        let left = state.split_once(' ').filter(|(_, rules)| *rules == self.rules);
        Ok(left.and_then(|(at, _)| at.parse().ok()).map(Position::from_u64))
    }

    fn progress(&mut self, at: Position) -> Result<(), Failure> {
        let of = |from, to| self.admin.reader.journal_bytes(from, to);
        let (done, all) = (of(self.start, at)?, of(self.start, self.end)?);
        let part = Some(done as f64 / all.max(1) as f64);
        let (what, pages) = ("journal".to_owned(), u64::from(at.segment));
        self.send(Reply::Progress { what, pages, rows: self.addresses, part, wait: None })
    }

    fn send(&self, reply: Reply) -> Result<(), Failure> {
        self.to.blocking_send(reply).map_err(unheard)
    }
}

/// By which rules failures are judged now, in short.
fn rules_of(admin: &Admin) -> String {
    let rules = format!("{} {:?}", env!("CARGO_PKG_VERSION"), admin.reader.reading().judge);
    HEXLOWER.encode(&Sha256::digest(rules)[..8])
}

/// What stands for an address among those that were seen.
fn short(address: &Address) -> u64 {
    let digest = Sha256::digest(address.key());
    digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// What the latest failure is by the present rules, and what says so.
fn why(told: &[Reread], scope: &Scope) -> Option<String> {
    let judged = |told: &&Reread| told.event.scope == *scope && told.event.failure.is_some();
    // The latest of those that read otherwise than when they were applied; else the latest.
    let otherwise = |told: &&Reread| told.id != told.event.id();
    let latest = |told: &&Reread| told.event.at;
    let changed = told.iter().filter(judged).filter(otherwise).max_by_key(latest);
    let told = changed.or_else(|| told.iter().filter(judged).max_by_key(latest))?;
    Some(words(&told.event))
}

fn words(event: &Event) -> String {
    let judgement = event.failure.as_ref().and_then(|failure| failure.judgement.as_ref());
    let Some(judgement) = judgement else { return event.kind.to_string() };
    let by = match (&*judgement.rule, &*judgement.evidence) {
        ("", _) => String::new(),
        (rule, evidence) => format!(" by {rule} ({evidence})"),
    };
    format!("{} of {} is {}{by}", event.kind, event.at, judgement.class)
}
