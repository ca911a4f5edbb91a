//! From a standing and a time to a verdict.
//!
//! Pure arithmetic: thresholds and terms can change at any time, and expiry needs no job. Never
//! changes a standing, and never decides anything that depends on the order facts arrived in.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::{
    Bounce, Filter, Gist, Ground, MassId, Never, Reason, Scope, Sole, SourceName, Standing,
    Suppression, Term, Time, Turn, Until,
};

/// Days, for the defaults.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long each reason suppresses, and how many transient failures make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// After the latest hard bounce.
    pub hard_bounce: Term,
    /// After the latest complaint.
    pub complaint: Term,
    /// After the latest unsubscription.
    pub unsubscribe: Term,
    /// After the latest refusal as invalid.
    pub invalid: Term,
    /// After the latest sight on a provider's list.
    pub provider_listed: Term,
    /// When soft bounces suppress.
    pub soft_bounce: Threshold,
    /// When failures by the sender's fault suppress; by default never.
    pub blocked: Option<Threshold>,
    /// Who is never suppressed, whatever is told.
    pub never: Never,
    /// When refusals for good suppress that nothing explains. `None`: never.
    pub unexplained: Option<Threshold>,
}

/// A number of distinct messages that failed within a span, and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// How many messages, at least 1 and at most [`crate::model::TALLY_MAX`].
    pub count: usize,
    /// The longest span from the first to the last of them.
    pub within: Duration,
    /// The shortest span between two of them that count.
    pub apart: Duration,
    /// How long the suppression lasts after the last of them.
    pub term: Term,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            hard_bounce: Term::Forever,
            complaint: Term::Forever,
            unsubscribe: Term::Forever,
            invalid: Term::Forever,
            provider_listed: Term::Forever,
            soft_bounce: Threshold::default(),
            blocked: None,
            never: Never::default(),
            unexplained: Some(Threshold::UNEXPLAINED),
        }
    }
}

impl Threshold {
    /// That of refusals that nothing explains: a receiver that is down for an hour, or dislikes one
    /// campaign, does not come to it.
    pub const UNEXPLAINED: Threshold = Threshold {
        count: 3,
        within: Duration::from_secs(90 * 24 * 60 * 60),
        apart: DAY,
        term: Term::Forever,
    };
}

impl Default for Threshold {
    fn default() -> Threshold {
        let apart = Duration::ZERO;
        Threshold { count: 5, within: 14 * DAY, apart, term: Term::For(30 * DAY) }
    }
}

/// One reason that was found in a standing, live or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The reason.
    pub reason: Reason,
    /// Whose telling it rests on.
    pub sources: Vec<SourceName>,
    /// Since when.
    pub since: Time,
    /// Until when.
    pub until: Until,
    /// Through which instant it was lifted, if it is lifted now.
    pub lifted: Option<Time>,
    /// An operator's note.
    pub note: Option<Box<str>>,
    /// Whether it does not count, because the rules never suppress the address.
    pub exempt: bool,
    /// The mass with which it is held back, if it is.
    pub held: Option<MassId>,
}

impl Finding {
    /// Whether it suppresses at `now`.
    pub fn is_live(&self, now: Time) -> bool {
        let is_counted = !self.exempt && self.held.is_none();
        is_counted && self.lifted.is_none() && self.until.holds_at(now)
    }
}

/// The turn of the verdict on an address from what suppressed it before, or nothing, to what does
/// now. `None`: it has not turned.
pub fn turn(
    (address, scope): (&str, &Scope),
    before: &[Finding],
    after: &[Finding],
    at: Time,
) -> Option<Turn> {
    let added = !after.is_empty();
    if added != before.is_empty() {
        return None;
    }
    let found = if added { after } else { before };
    let sources = found.iter().filter(|_| added).flat_map(|finding| finding.sources.clone());
    Some(Turn {
        address: address.into(),
        scope: scope.clone(),
        added,
        reason: found.iter().map(|finding| finding.reason).min()?,
        sources: sources.collect::<BTreeSet<_>>().into_iter().collect(),
        since: found.iter().map(|finding| finding.since).min().filter(|_| added),
        until: found.iter().map(|finding| finding.until).max().unwrap_or(Until::Forever),
        note: found.iter().find_map(|finding| finding.note.clone()).filter(|_| added),
        at,
    })
}

/// A verdict without whose telling it rests on: what a row of a file needs of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The weightiest of the live reasons.
    pub reason: Reason,
    /// When the earliest of the live reasons began.
    pub since: Time,
    /// When the last of the live reasons ends.
    pub until: Until,
}

impl Verdict {
    /// The verdict that two make together.
    #[must_use]
    pub fn and(self, other: Verdict) -> Verdict {
        Verdict {
            reason: self.reason.min(other.reason),
            since: self.since.min(other.since),
            until: self.until.max(other.until),
        }
    }
}

/// From when to when a ground suppresses, and through which instant it is lifted, if it is.
struct Extent {
    since: Time,
    until: Until,
    lifted: Option<Time>,
}

impl Extent {
    /// What two make together that are told by one source for one reason.
    fn or(self, other: Extent) -> Extent {
        match (self.lifted, other.lifted) {
            (None, None) => Extent {
                since: self.since.min(other.since),
                until: self.until.max(other.until),
                lifted: None,
            },
            (Some(_), None) => other,
            _ => self,
        }
    }

    /// What follows at `now`.
    fn verdict(self, reason: Reason, now: Time) -> Option<Verdict> {
        let Extent { since, until, lifted } = self;
        let is_live = lifted.is_none() && until.holds_at(now);
        is_live.then_some(Verdict { reason, since, until })
    }
}

impl Rules {
    /// The verdict that follows from a standing of the address with that key at `now`, of what
    /// `filter` admits: the one that [`Rules::judge`] explains. Millions are asked for at once, so
    /// it copies nothing.
    pub fn verdict(
        &self,
        key: &str,
        gist: &Gist<'_>,
        scope: &Scope,
        filter: &Filter,
        now: Time,
    ) -> Option<Verdict> {
        if !filter.admits_scope(scope) || self.never.has(key) {
            return None;
        }
        let standing = match gist {
            Gist::Sole(Sole { reason, source, first, at, until, .. }) => {
                let admitted = filter.admits(*reason, source);
                let extent = || self.extent(*reason, *first, (*at, *until));
                return admitted.then(extent).and_then(|extent| extent.verdict(*reason, now));
            }
            Gist::Whole(standing) => standing,
        };
        let grounds = standing
            .grounds()
            .filter(|(reason, source, _)| filter.admits(*reason, source.as_str()))
            .filter(|(reason, source, _)| standing.held_with(*reason, source).is_none());
        let live = grounds.filter_map(|(reason, source, ground)| {
            self.extent_in(standing, reason, source, ground).verdict(reason, now)
        });
        let counted =
            self.counted(standing, filter).into_iter().filter(|finding| finding.is_live(now));
        let counted = counted.map(|f| Verdict { reason: f.reason, since: f.since, until: f.until });
        live.chain(counted).reduce(Verdict::and)
    }

    /// The suppression that follows from a standing of the address with that key at `now`, of what
    /// `filter` admits.
    pub fn judge(
        &self,
        key: &str,
        standing: &Standing,
        scope: &Scope,
        filter: &Filter,
        now: Time,
    ) -> Option<Suppression> {
        if !filter.admits_scope(scope) {
            return None;
        }
        let mut verdict: Option<Suppression> = None;
        for finding in self.findings(key, standing, filter) {
            if !finding.is_live(now) {
                continue;
            }
            match &mut verdict {
                Some(known) => combine(known, finding),
                None => verdict = Some(suppression(standing, scope, finding)),
            }
        }
        verdict
    }

    /// Every reason that a standing of the address with that key holds, of what `filter` admits,
    /// live or not.
    pub fn findings(&self, key: &str, standing: &Standing, filter: &Filter) -> Vec<Finding> {
        let mut findings: Vec<Finding> = standing
            .grounds()
            .filter(|(reason, source, _)| filter.admits(*reason, source.as_str()))
            .map(|(reason, source, ground)| self.weigh(standing, reason, source, ground))
            .collect();
        findings.extend(self.counted(standing, filter));
        let exempt = self.never.has(key);
        findings.iter_mut().for_each(|finding| finding.exempt = exempt);
        findings
    }

    /// Those that suppress at `now`, whoever told them.
    pub fn live(&self, key: &str, standing: &Standing, now: Time) -> Vec<Finding> {
        let mut findings = self.findings(key, standing, &Filter::default());
        findings.retain(|finding| finding.is_live(now));
        findings
    }

    /// Whether a standing has anything of a source that no lift has ended: it suppresses, or may
    /// come to.
    pub fn has_left(&self, standing: &Standing, source: &SourceName) -> bool {
        let mut grounds = standing.grounds().filter(|(_, of, _)| *of == source);
        let counted = standing.soft().iter().chain(standing.blocked().iter());
        let mut counted = counted.chain(standing.unexplained().iter());
        grounds.any(|(reason, of, ground)| {
            self.extent_in(standing, reason, of, ground).lifted.is_none()
        }) || counted.any(|bounce| bounce.source == *source && counts(standing, bounce))
    }

    /// The findings that counts of failures make.
    fn counted(&self, standing: &Standing, filter: &Filter) -> Vec<Finding> {
        let mut findings = Vec::new();
        let soft: Vec<&Bounce> = standing.soft().iter().collect();
        let blocked = standing.blocked().iter().collect();
        let unexplained = standing.unexplained().iter().collect();
        for (mut bounces, threshold) in [
            (soft, Some(&self.soft_bounce)),
            (blocked, self.blocked.as_ref()),
            (unexplained, self.unexplained.as_ref()),
        ] {
            bounces.retain(|bounce| {
                let source = bounce.source.as_str();
                filter.admits(Reason::SoftBounces, source) && counts(standing, bounce)
            });
            let Some(threshold) = threshold.filter(|_| !bounces.is_empty()) else { continue };
            let with = |bounce: &&Bounce| standing.held_with(Reason::SoftBounces, &bounce.source);
            if let Some(mass) = bounces.iter().find_map(with) {
                let held = threshold.apply(bounces.clone());
                findings.extend(held.map(|finding| Finding { held: Some(mass), ..finding }));
                bounces.retain(|bounce| with(bounce).is_none());
            }
            findings.extend(threshold.apply(bounces));
        }
        findings
    }

    fn weigh(
        &self,
        standing: &Standing,
        reason: Reason,
        source: &SourceName,
        ground: &Ground,
    ) -> Finding {
        let Extent { since, until, lifted } = self.extent_in(standing, reason, source, ground);
        let (sources, note) = (vec![source.clone()], ground.latest.note.clone());
        let (held, exempt) = (standing.held_with(reason, source), false);
        Finding { reason, sources, since, until, lifted, note, exempt, held }
    }

    fn extent_in(
        &self,
        standing: &Standing,
        reason: Reason,
        source: &SourceName,
        ground: &Ground,
    ) -> Extent {
        let Ground { first, latest, despite } = ground;
        let covered = |at, despite| standing.lifted(reason, source, at, despite);
        let since = if covered(*first, None).is_some() { latest.at } else { *first };
        let by_date = Extent {
            lifted: covered(latest.at, None),
            ..self.extent(reason, since, (latest.at, latest.until))
        };
        let Some(despite) = despite else { return by_date };
        let at = despite.latest.at;
        let anyway = Extent {
            lifted: covered(at, Some(despite.record)),
            ..self.extent(reason, at, (at, despite.latest.until))
        };
        by_date.or(anyway)
    }

    /// Of a ground that holds since `since`, and was last so at `at`, where nothing is lifted.
    fn extent(&self, reason: Reason, since: Time, (at, until): (Time, Until)) -> Extent {
        Extent { since, until: self.end(reason, at, until), lifted: None }
    }

    /// When a suppression for this reason ends whose last fact was at `at`, and which whoever told
    /// it has end then.
    pub fn end(&self, reason: Reason, at: Time, until: Until) -> Until {
        until.min(self.term(reason).end(at))
    }

    /// When the last fact was of a suppression for this reason that ends then; `None`: the rules
    /// set no end to it.
    pub fn last_fact(&self, reason: Reason, until: Time) -> Option<Time> {
        match self.term(reason) {
            Term::For(span) => Some(until.minus(span)),
            Term::Forever => None,
        }
    }

    fn term(&self, reason: Reason) -> Term {
        match reason {
            Reason::HardBounce => self.hard_bounce,
            Reason::Complaint => self.complaint,
            Reason::Unsubscribe => self.unsubscribe,
            Reason::Invalid => self.invalid,
            Reason::ProviderListed => self.provider_listed,
            Reason::SoftBounces => self.soft_bounce.term,
            // An operator says how long with the command itself.
            Reason::Manual => Term::Forever,
        }
    }
}

/// Whether a failure counts: no lift covers it, and no later delivery has reset it.
fn counts(standing: &Standing, bounce: &Bounce) -> bool {
    let Bounce { despite, at, source, .. } = bounce;
    let lift = standing.lifted(Reason::SoftBounces, source, *at, *despite);
    lift.is_none() && !standing.has_reset(bounce)
}

impl Threshold {
    /// The finding that these failures make, if enough of them lie close enough together, and far
    /// enough apart.
    fn apply(&self, mut bounces: Vec<&Bounce>) -> Option<Finding> {
        bounces.sort_unstable_by_key(|bounce| (bounce.at, &bounce.source));
        let mut finding: Option<Finding> = None;
        for end in 0..bounces.len() {
            let Some(counted) = self.ending_with(&bounces[..=end]) else { continue };
            let last = bounces[end].at;
            let until = self.term.end(last);
            let known = finding.take().filter(|f| f.until.holds_at(last));
            let since = known.as_ref().map_or(last, |f| f.since);
            let mut sources: Vec<SourceName> = known.map_or_else(Vec::new, |f| f.sources);
            sources.extend(counted.into_iter().map(|bounce| bounce.source.clone()));
            sources.sort();
            sources.dedup();
            let reason = Reason::SoftBounces;
            let (lifted, note, exempt, held) = (None, None, false, None);
            finding = Some(Finding { reason, sources, since, until, lifted, note, exempt, held });
        }
        finding
    }

    /// So many failures, the last of them and the latest before it that are far enough apart, if
    /// the first of them is not too long ago.
    fn ending_with<'b>(&self, bounces: &[&'b Bounce]) -> Option<Vec<&'b Bounce>> {
        let last = bounces.last()?.at;
        let mut counted: Vec<&Bounce> = Vec::new();
        for bounce in bounces.iter().rev() {
            if counted.len() >= self.count.max(1) || last.since(bounce.at) > self.within {
                break;
            }
            let far = |next: &&Bounce| next.at.since(bounce.at) >= self.apart;
            if counted.last().is_none_or(far) {
                counted.push(bounce);
            }
        }
        (counted.len() >= self.count.max(1)).then_some(counted)
    }
}

fn suppression(standing: &Standing, scope: &Scope, finding: Finding) -> Suppression {
    Suppression {
        address: standing.spelling().into(),
        scope: scope.clone(),
        reason: finding.reason,
        since: finding.since,
        until: finding.until,
        sources: finding.sources,
        note: finding.note,
    }
}

fn combine(known: &mut Suppression, finding: Finding) {
    known.reason = known.reason.min(finding.reason);
    known.since = known.since.min(finding.since);
    known.until = known.until.max(finding.until);
    known.sources.extend(finding.sources);
    known.sources.sort();
    known.sources.dedup();
    known.note = known.note.take().or(finding.note);
}
