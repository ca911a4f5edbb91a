//! Ending suppressions by hand: of addresses, of all that match, of a source that is gone.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::suppressions::{Match, Wanted, parse_addresses, parse_source};
use super::{Admin, Failure, ListFilter, Replies, blocking, exports, row};
use crate::clock;
use crate::export::handle::Status as ExportStatus;
use crate::forgotten::KeptGround;
use crate::model::bounds::check_note;
use crate::model::{
    Address, Bounce, Element, Filter, Lifts, Reason, Scope, SourceName, Standing, Time,
};
use crate::provider::{Instruction, instruction_element};
use crate::units::show_span;

/// Most lifts in one submission.
const LIFTS_AT_ONCE: usize = 1_000;

/// What Postfix remembers of what was suppressed before.
const POSTFIX_CACHES: &str = "Postfix may refuse it for a while yet: running smtpd processes \
    remember what they looked up (`postfix reload` ends that), and reject_unverified_recipient \
    remembers what it probed, for hours; see docs/mta/postfix.md";

/// What to do about a row of which the store knows nothing to lift.
const HELD_ROW: &str = "to take its row out of an export that holds removals back: \
    `suppressd add` the address, then `lift` it again";

/// What is told of one that suppressed nothing, but may have come to.
const IN_VAIN: &str =
    "was not suppressed; what was told of it up to now counts no more all the same";

/// One suppression to lift.
pub(super) struct Target {
    address: String,
    key: String,
    pub(super) scope: Scope,
    /// The reason at present; `None`: it is not suppressed.
    pub(super) reason: Option<Reason>,
    /// The last instant to cover.
    through: Time,
    /// The grounds to end.
    covers: Vec<Lifts>,
    /// Why there is nothing to lift.
    problem: Option<&'static str>,
}

impl Target {
    fn new(key: &str, scope: Scope, standing: &Standing, now: Time) -> Target {
        let through = last_instant(standing, now);
        let (address, key) = (standing.spelling().to_owned(), key.to_owned());
        Target { address, key, scope, reason: None, through, covers: Vec::new(), problem: None }
    }

    /// What lifts it.
    pub(super) fn lifts(&self, note: Option<&str>) -> impl Iterator<Item = Instruction> {
        self.covers.iter().map(move |covers| Instruction {
            add: false,
            address: self.address.clone(),
            scope: self.scope.clone(),
            at: self.through,
            until: None,
            note: note.map(str::to_owned),
            lifts: covers.clone(),
        })
    }
}

impl Admin {
    pub(super) async fn lift(
        self: &Arc<Self>,
        addresses: Vec<String>,
        filter: ListFilter,
        note: Option<String>,
        dry_run: bool,
        to: &Replies,
    ) -> Result<(), Failure> {
        if addresses.is_empty() && filter == ListFilter::default() {
            let error = "name the addresses to lift, or a filter; lifting all needs a filter too";
            return Err(Failure::usage(error));
        }
        check_note(note.as_deref().unwrap_or_default()).map_err(Failure::usage)?;
        let wanted = Wanted::parse(filter)?;
        self.check_sources(&wanted.filter.sources)?;
        let asked = !addresses.is_empty();
        let (parsed, how) = (parse_addresses(&addresses)?, (&wanted.filter, note.as_deref()));
        let parsed = self.lift_forgotten(parsed, how, dry_run, to).await?;
        if asked && parsed.is_empty() {
            return Ok(());
        }
        let admin = Arc::clone(self);
        let targets = blocking(move || admin.targets(&parsed, &wanted)).await?;
        let (done, failed) = match dry_run {
            true => (targets.len(), None),
            false => self.lift_all(&targets, note.as_deref(), to).await,
        };
        self.tell_lifted(&targets[..done], note.as_deref(), dry_run, to).await?;
        failed.map_or(Ok(()), Err)
    }

    /// Lifts those of whom no more is known than that they were forgotten; gives the others.
    async fn lift_forgotten(
        &self,
        addresses: Vec<Address>,
        (filter, note): (&Filter, Option<&str>),
        dry_run: bool,
        to: &Replies,
    ) -> Result<Vec<Address>, Failure> {
        let mut others = Vec::new();
        for address in addresses {
            let person = self.ingest.forgotten().person(address.key());
            let mut grounds = person.map_or(Vec::new(), |person| person.grounds);
            grounds.retain(|ground| ground.is_admitted(filter));
            if grounds.is_empty() {
                others.push(address);
                continue;
            }
            if !dry_run {
                let lifts = grounds.iter().map(|ground| lift_of(&address, ground, note));
                self.instruct(lifts.collect(), Vec::new()).await?;
            }
            for KeptGround { scope, reason, .. } in grounds {
                let answer = json!({
                    "address": address.received(),
                    "scope": scope.to_string(),
                    "reason": reason.as_str(),
                    "done": !dry_run,
                    "note": "it was forgotten",
                    "problem": null,
                });
                row(to, answer).await?;
            }
        }
        Ok(others)
    }

    /// Lifts as many as it can; says how many of the first are done.
    async fn lift_all(
        &self,
        targets: &[Target],
        note: Option<&str>,
        to: &Replies,
    ) -> (usize, Option<Failure>) {
        let mut done = 0;
        for chunk in targets.chunks(LIFTS_AT_ONCE) {
            if to.is_closed() {
                return (done, Some(super::unheard(())));
            }
            let known = chunk.iter().filter(|target| target.problem.is_none());
            let lifts = known.flat_map(|target| target.lifts(note));
            let elements: Vec<_> = lifts.map(|lift| instruction_element(&lift)).collect();
            if !elements.is_empty()
                && let Err(failure) = self.instruct(elements, Vec::new()).await
            {
                return (done, Some(failure));
            }
            done += chunk.len();
        }
        (done, None)
    }

    async fn tell_lifted(
        &self,
        targets: &[Target],
        note: Option<&str>,
        dry_run: bool,
        to: &Replies,
    ) -> Result<(), Failure> {
        let keys = match dry_run {
            true => Vec::new(),
            false => targets.iter().take(exports::TOLD_MAX).map(|t| t.key.clone()).collect(),
        };
        let mut listings = self.listed_soon(keys).await?.into_iter();
        let caches = (!dry_run && self.feeds_postfix()).then(|| POSTFIX_CACHES.to_owned());
        let clock = self.clock_hint().filter(|_| !dry_run);
        let hints: Vec<String> = clock.into_iter().chain(caches).collect();
        let hint = (!hints.is_empty()).then(|| hints.join("\n"));
        for target in targets {
            let mut answer = lifted(target, note, dry_run);
            let listings = listings.next().unwrap_or_default();
            if !listings.is_empty() {
                answer["exports"] = exports::rows(&listings).into();
            }
            let is_held = listings.iter().any(|listing| listing.is_held);
            answer["hint"] = match (target.problem, target.reason) {
                (None, Some(_)) => hint.as_deref(),
                (None, None) => Some(IN_VAIN),
                (Some(_), _) => is_held.then_some(HELD_ROW),
            }
            .into();
            row(to, answer).await?;
        }
        Ok(())
    }

    /// What is to be known where something is dated by a clock that went ahead.
    pub(super) fn clock_hint(&self) -> Option<String> {
        let ahead = self.ingest.clock_ahead()? + Duration::from_millis(500);
        Some(format!(
            "the clock went ahead by {} within the last day, and this is dated by it: if this host \
             did not stand still for so long, set it right; see docs/knownissues.md",
            show_span(ahead.as_secs())
        ))
    }

    /// What a lift is about: named addresses of which something is known, or all that match.
    pub(super) fn targets(
        &self,
        addresses: &[Address],
        wanted: &Wanted,
    ) -> Result<Vec<Target>, Failure> {
        let now = clock::receipt();
        let mut targets = Vec::new();
        if addresses.is_empty() {
            self.each_match(wanted, |Match { key, standing, suppression, covers }| {
                let target = Target::new(key, suppression.scope, standing, now);
                targets.push(Target { reason: Some(suppression.reason), covers, ..target });
                Ok(())
            })?;
        }
        for address in addresses {
            let mut standings = self.reader.standings_of(address)?;
            let is_known = !standings.is_empty();
            standings.retain(|(scope, standing)| {
                wanted.filter.admits_scope(scope) && can_suppress(standing)
            });
            if standings.is_empty() {
                let scope = wanted.filter.scopes.first().cloned().unwrap_or_default();
                let problem = match is_known {
                    true => "was not suppressed: there is nothing to lift",
                    false => "was not suppressed: nothing is known of it",
                };
                let target = Target::new(address.key(), scope, &Standing::default(), now);
                let address = address.received().to_owned();
                targets.push(Target { address, problem: Some(problem), ..target });
            }
            for (scope, standing) in standings {
                let covers = self.meant(wanted, &scope, &standing, now)?;
                let problem = covers.is_empty().then_some("nothing of it was made by that alone");
                let key = address.key();
                let judge = |covers: &Lifts| {
                    self.rules.judge(key, &standing, &scope, &Filter::of(covers), now)
                };
                let reason = covers.iter().find_map(judge).map(|found| found.reason);
                let target = Target::new(key, scope, &standing, now);
                let address = address.received().to_owned();
                targets.push(Target { address, reason, covers, problem, ..target });
            }
        }
        Ok(targets)
    }

    /// Ends every ground of a source that the configuration has no longer.
    pub(super) async fn retire(
        self: &Arc<Self>,
        source: &str,
        note: Option<String>,
        dry_run: bool,
        to: &Replies,
    ) -> Result<(), Failure> {
        check_note(note.as_deref().unwrap_or_default()).map_err(Failure::usage)?;
        let name = parse_source(source)?;
        if name == SourceName::operator() {
            let hint = "what was suppressed by hand ends with `suppressd lift --source operator`";
            return Err(Failure::usage(format!("the source {source:?} is built in: {hint}")));
        }
        if self.sources.iter().any(|known| known.name == name) {
            let hint = "take it out of the configuration, and `suppressd reload`, before";
            return Err(Failure::usage(format!("the source {source:?} is in use: {hint}")));
        }
        self.check_sources(std::slice::from_ref(&name))?;
        let (admin, asked) = (Arc::clone(self), name.clone());
        let (targets, mut freed) = blocking(move || admin.resting_on(&asked)).await?;
        let (done, failed) = match dry_run {
            true => (0, None),
            false => self.lift_all(&targets, note.as_deref(), to).await,
        };
        let (forgotten, others) = self.retire_forgotten(name, dry_run || failed.is_some()).await?;
        freed += others;
        let keys = targets[..done].iter().take(exports::TOLD_MAX).map(|t| t.key.clone()).collect();
        let listings = self.listed_soon(keys).await?;
        let answer = json!({
            "source": source,
            "standings": targets.len() as u64 + forgotten,
            "forgotten": forgotten,
            "freed": freed,
            "ended": done as u64 + if dry_run { 0 } else { forgotten },
            "done": !dry_run && failed.is_none(),
            "exports": exports::summary(&listings),
            "hint": (done > 0 && self.feeds_postfix()).then_some(POSTFIX_CACHES),
        });
        row(to, answer).await?;
        failed.map_or(Ok(()), Err)
    }

    /// Ends what a source has told of people who were forgotten, and takes them out of the exports.
    /// Says of how many it told anything, and how many of these nothing else suppresses.
    async fn retire_forgotten(
        self: &Arc<Self>,
        name: SourceName,
        dry_run: bool,
    ) -> Result<(u64, u64), Failure> {
        let forgotten = Arc::clone(self.ingest.forgotten());
        let retire = move || forgotten.retire(&name, dry_run, clock::now());
        let counts = blocking(move || retire().map_err(Failure::failed)).await?;
        if counts.1 > 0 && !dry_run {
            // Nobody can say any more which rows are theirs. What an export cannot do, it tells.
            let _ = self.exports.write(None, false).await;
        }
        Ok(counts)
    }

    /// All that has anything of a source that no lift has ended, and how many of these nothing else
    /// suppresses.
    fn resting_on(&self, source: &SourceName) -> Result<(Vec<Target>, u64), Failure> {
        let now = clock::receipt();
        let (mut targets, mut freed) = (Vec::new(), 0);
        for standing in self.reader.standings() {
            let (key, scope, standing) = standing?;
            if !self.rules.has_left(&standing, source) {
                continue;
            }
            let findings = self.rules.findings(&key, &standing, &Filter::default());
            let mut live = findings.iter().filter(|finding| finding.is_live(now)).peekable();
            let alone = |of: &[SourceName]| of.iter().all(|of| of == source);
            freed += u64::from(live.peek().is_some() && live.all(|f| alone(&f.sources)));
            let covers = vec![Lifts { reason: None, source: Some(source.clone()) }];
            let target = Target::new(&key, scope, &standing, now);
            targets.push(Target { covers, ..target });
        }
        Ok((targets, freed))
    }

    /// Whether Postfix may ask us, or what we write.
    fn feeds_postfix(&self) -> bool {
        self.exports.statuses().iter().any(ExportStatus::is_for_postfix)
            || self.lookups.may_serve_postfix()
    }
}

/// What lifts a ground of somebody who was forgotten, on all hosts.
fn lift_of(address: &Address, ground: &KeptGround, note: Option<&str>) -> Element {
    instruction_element(&Instruction {
        add: false,
        address: address.received().to_owned(),
        scope: ground.scope.clone(),
        at: clock::receipt(),
        until: None,
        note: note.map(str::to_owned),
        lifts: Lifts { reason: Some(ground.reason), source: None },
    })
}

/// Whether a standing has anything that suppresses or may come to.
fn can_suppress(standing: &Standing) -> bool {
    bounces(standing).next().is_some() || standing.grounds().next().is_some()
}

/// Every failure that is counted, whatever counts it.
fn bounces(standing: &Standing) -> impl Iterator<Item = &Bounce> {
    let counted = standing.soft().iter().chain(standing.blocked().iter());
    counted.chain(standing.unexplained().iter())
}

/// A lift covers all that is known when it is made: a fact that a fast clock dated ahead too.
pub(super) fn last_instant(standing: &Standing, now: Time) -> Time {
    let grounds = standing.grounds().map(|(_, _, ground)| ground.latest.at);
    let bounces = bounces(standing).map(|bounce| bounce.at);
    let latest = grounds.chain(bounces).max().unwrap_or(now);
    if latest.nanos() > now.nanos() { latest } else { now }
}

fn lifted(target: &Target, note: Option<&str>, dry_run: bool) -> Value {
    json!({
        "address": target.address,
        "scope": target.scope.to_string(),
        "reason": target.reason.map(Reason::as_str),
        "through": target.through.to_string(),
        "done": !dry_run && target.problem.is_none(),
        "note": note,
        "problem": target.problem,
    })
}
