//! What a provider's own list should have of ours, against what we have put there.
//!
//! Derived anew at each look, from the standings and from the steps that were noted: there is no
//! queue that could lose anything. Only mail of every kind is pushed, never one stream's.

use std::collections::HashSet;

use crate::model::{
    Address, Filter, PushStage, PushVerb, Pushed, Reason, Scope, SourceName, Standing, Time,
};
use crate::provider::{place_key, place_of, place_since, place_step};
use crate::rules::Rules;
use crate::store::{Reader, StoreError};

/// Most jobs of one look. The next look finds the rest.
pub(super) const JOBS_MAX: usize = 1_000;

/// One address to be put on the list, or taken off it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) verb: PushVerb,
    /// The address's key.
    pub(super) address: String,
    /// Why it is suppressed, if it is.
    pub(super) reason: Option<Reason>,
    /// What was done about it before.
    pub(super) step: Option<Pushed>,
    /// It is on the list, but not in every place.
    pub(super) again: bool,
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The first of the jobs, removals before additions.
    pub(super) jobs: Vec<Job>,
    /// All that wait.
    pub(super) waiting: u64,
    /// Addresses that we have put there.
    pub(super) pushed: u64,
    /// Addresses that the provider has refused.
    pub(super) refused: u64,
    /// Steps that note the places of the list that have come and gone, by what each is noted under.
    pub(super) places: Vec<(String, Pushed)>,
}

/// Whose list it is, and what is pushed there.
pub(super) struct Aim<'a> {
    pub(super) source: &'a SourceName,
    pub(super) reasons: &'a [Reason],
    pub(super) now: Time,
    /// Addresses that are put off.
    pub(super) except: &'a HashSet<String>,
    /// The places of the list. `None`: they are not known.
    pub(super) places: Option<&'a [String]>,
}

/// What of an address concerns one source's list.
#[derive(Debug, PartialEq, Eq)]
struct Wants {
    /// The reason and its begin, told by others than the source.
    wanted: Option<(Reason, Time)>,
    /// The source itself has told us to suppress it: its list is its own affair then.
    own: bool,
}

/// Looks through everything.
pub(super) fn plan(reader: &Reader, rules: &Rules, aim: &Aim<'_>) -> Result<Plan, StoreError> {
    let mut plan = Plan::default();
    let mut known = Vec::new();
    for row in reader.all_pushed(aim.source) {
        let (address, step) = row?;
        if let Some(place) = place_of(&address) {
            known.push((place.to_owned(), step));
            continue;
        }
        plan.pushed += u64::from(is_done(&step));
        plan.refused += u64::from(step.stage == PushStage::Refused);
        if is_there(&step) && !aim.wants(rules, &address, &of(reader, &address)?).keeps() {
            let (verb, step) = (PushVerb::Remove, Some(step));
            plan.add(aim, Job { verb, address, reason: None, step, again: false });
        }
    }
    let newest = plan.compare(aim, &known);
    for row in reader.standings() {
        let (address, scope, standing) = row?;
        if scope != Scope::Global {
            continue;
        }
        let wants = aim.wants(rules, &address, &standing);
        let Some((reason, since)) = wants.wanted.filter(|_| !wants.own) else { continue };
        let step = reader.pushed(aim.source, &address)?;
        let again = step.is_some_and(|step| is_done(&step));
        if step.is_none_or(|step| is_missing(&step, since, newest)) {
            let (verb, reason) = (PushVerb::Add, Some(reason));
            plan.add(aim, Job { verb, address, reason, step, again });
        }
    }
    Ok(plan)
}

/// Whether our row may be on the list.
fn is_there(step: &Pushed) -> bool {
    match step.verb {
        PushVerb::Add => step.stage != PushStage::Refused,
        PushVerb::Remove => step.stage == PushStage::Begun,
    }
}

fn is_done(step: &Pushed) -> bool {
    (step.verb, step.stage) == (PushVerb::Add, PushStage::Done)
}

/// Whether our row may be missing on the list, or in the newest of its places. What was refused is
/// tried again for a new cause.
fn is_missing(step: &Pushed, since: Time, newest: Option<Time>) -> bool {
    match (step.verb, step.stage) {
        (PushVerb::Add, PushStage::Done) => {
            newest.is_some_and(|newest| step.added.unwrap_or(step.at) < newest)
        }
        (PushVerb::Add, PushStage::Refused) => since.nanos() > step.at.nanos(),
        (PushVerb::Add, PushStage::Begun) | (PushVerb::Remove, _) => true,
    }
}

fn of(reader: &Reader, address: &str) -> Result<Standing, StoreError> {
    let Ok(address) = Address::parse(address) else { return Ok(Standing::default()) };
    let standings = reader.standings_of(&address)?;
    let global = standings.into_iter().find(|(scope, _)| *scope == Scope::Global);
    Ok(global.map(|(_, standing)| standing).unwrap_or_default())
}

impl Plan {
    /// Notes what has come and gone of the places, and gives when the newest came. Those that are
    /// found first were there before anything was pushed.
    fn compare(&mut self, aim: &Aim<'_>, known: &[(String, Pushed)]) -> Option<Time> {
        let since = |place: &str| {
            let step = known.iter().find(|(known, _)| known == place);
            step.and_then(|(_, step)| place_since(step))
        };
        let there = aim.places?;
        let found = if known.is_empty() { Time::from_seconds(0) } else { aim.now };
        for place in there.iter().filter(|place| since(place).is_none()) {
            self.places.push((place_key(place), place_step(Some(found), aim.now)));
        }
        let left = known.iter().map(|(place, _)| place);
        for place in left.filter(|place| since(place).is_some() && !there.contains(place)) {
            self.places.push((place_key(place), place_step(None, aim.now)));
        }
        there.iter().map(|place| since(place).unwrap_or(found)).max()
    }

    fn add(&mut self, aim: &Aim<'_>, job: Job) {
        self.waiting += 1;
        if self.jobs.len() < JOBS_MAX && !aim.except.contains(&job.address) {
            self.jobs.push(job);
        }
    }
}

impl Wants {
    /// Whether a row of ours is left where it is.
    fn keeps(&self) -> bool {
        self.wanted.is_some() || self.own
    }
}

impl Aim<'_> {
    fn wants(&self, rules: &Rules, key: &str, standing: &Standing) -> Wants {
        let mut wants = Wants { wanted: None, own: false };
        for finding in rules.findings(key, standing, &Filter::default()) {
            if !finding.is_live(self.now) {
                continue;
            }
            let others = finding.sources.iter().any(|source| source != self.source);
            if others && self.reasons.contains(&finding.reason) {
                let found = (finding.reason, finding.since);
                wants.wanted = Some(wants.wanted.map_or(found, |known| known.min(found)));
            }
            // No provider puts an address on its list for what we count.
            wants.own |= !others && finding.reason != Reason::SoftBounces;
        }
        wants
    }
}
