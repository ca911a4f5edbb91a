//! What went into the store since the start: how many events, of which kinds, and how soon.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::{Event, EventKind, Origin, SourceName, Time};
use crate::telemetry;

/// How many events came by one way since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Who told them.
    pub source: SourceName,
    /// By which way.
    pub origin: Origin,
    /// Those that nothing had told before, by kind in the order of [`EventKind::ALL`].
    pub new: [u64; EventKind::ALL.len()],
    /// Those that were known.
    pub again: u64,
}

/// What became of the rows that were imported for a source since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imports {
    /// Nothing had told them before.
    pub new: u64,
    /// They had been imported already.
    pub known: u64,
    /// Of both: a lift outweighs them, so that nothing suppresses their address.
    pub lifted: u64,
}

/// All that came since the start.
#[derive(Debug, Default)]
pub(super) struct Flow(Mutex<Sums>);

#[derive(Debug, Default)]
struct Sums {
    told: Vec<Told>,
    imports: BTreeMap<SourceName, Imports>,
}

/// What one batch brings, until it is committed.
#[derive(Debug, Default)]
pub(super) struct Passed {
    told: Vec<Told>,
    imports: BTreeMap<SourceName, Imports>,
    ages: Vec<(SourceName, Origin, Duration)>,
    ended: Vec<(SourceName, Time)>,
}

impl Passed {
    /// An event was merged; `is_new` when nothing had told it before. By another host: `origin` is
    /// the fleet.
    pub(super) fn event(&mut self, event: &Event, origin: Origin, is_new: bool) {
        let told = entry(&mut self.told, &event.source, origin);
        if !is_new {
            told.again += 1;
            return;
        }
        told.new[event.kind as usize] += 1;
        let by_provider = matches!(origin, Origin::Webhook | Origin::Poll);
        // Only a time of theirs tells how long it took.
        if by_provider && !event.undated && event.told_at.is_none() {
            let age = event.received_at.since(event.at);
            self.ages.push((event.source.clone(), origin, age));
        }
    }

    /// The first event of an imported row was merged.
    pub(super) fn row(&mut self, source: &SourceName, is_new: bool) {
        let imports = self.imports.entry(source.clone()).or_default();
        *(if is_new { &mut imports.new } else { &mut imports.known }) += 1;
    }

    /// All of an imported row was merged, and nothing suppresses its address.
    pub(super) fn lifted_row(&mut self, source: &SourceName) {
        self.imports.entry(source.clone()).or_default().lifted += 1;
    }

    /// A record was applied to its end.
    pub(super) fn record(&mut self, source: &SourceName, received_at: Time) {
        self.ended.push((source.clone(), received_at));
    }
}

impl Flow {
    /// A batch is committed. `is_live`: it is no part of what was left at the start.
    pub(super) fn add(&self, passed: Passed, now: Time, is_live: bool) {
        {
            let mut all = self.sums();
            for told in passed.told {
                let sum = entry(&mut all.told, &told.source, told.origin);
                sum.again += told.again;
                sum.new.iter_mut().zip(told.new).for_each(|(sum, new)| *sum += new);
            }
            for (source, Imports { new, known, lifted }) in passed.imports {
                let sum = all.imports.entry(source).or_default();
                (sum.new, sum.known) = (sum.new + new, sum.known + known);
                sum.lifted += lifted;
            }
        }
        if !is_live {
            return;
        }
        for (source, origin, age) in passed.ages {
            telemetry::ingest::aged(source.as_str(), origin.as_str(), age);
        }
        for (source, received_at) in passed.ended {
            telemetry::ingest::applied(source.as_str(), now.since(received_at));
        }
    }

    /// How it stands.
    pub(super) fn so_far(&self) -> Vec<Told> {
        self.sums().told.clone()
    }

    /// The same of what was imported for a source.
    pub(super) fn imports(&self, source: &SourceName) -> Imports {
        self.sums().imports.get(source).copied().unwrap_or_default()
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entry<'a>(all: &'a mut Vec<Told>, source: &SourceName, origin: Origin) -> &'a mut Told {
    let known = all.iter().position(|told| told.origin == origin && told.source == *source);
    let index = known.unwrap_or_else(|| {
        let (new, again) = ([0; EventKind::ALL.len()], 0);
        all.push(Told { source: source.clone(), origin, new, again });
        all.len() - 1
    });
    &mut all[index]
}
