//! Verdicts that turn though nobody said anything: a term ends, or the rules are others.
//!
//! A task looks for them and has the journal tell of each, so that they stand there in the order of
//! their address. By which rules, and up to when, it has looked stands beside the last of them.

mod kept;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::clock;
use crate::ends::Ends;
use crate::forgotten::Forgotten;
use crate::ingest::{Changes, Ingest, Known, Policy, Running};
use crate::model::{
    Cursor, Element, Filter, Gist, Scope, SourceName, Standing, Submission, Time, Turn,
};
use crate::provider::{OWN, turned_element};
use crate::rules::{Rules, turn};
use crate::stop::{Part, stopped};
use crate::store::{Reader, StoreError};

/// What the part is called.
pub const PART: &str = "turns";
/// The cursor's feed.
const FEED: &str = "turns";
/// Most turns that are found at once, and those of one record.
const FOUND_MAX: usize = 65_536;
const AT_ONCE: usize = 200;
/// The wait before what failed is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// From one look to the next at least, and at most, so that a clock that was set is noticed. One
/// that takes long, over all of a large store, is followed by a rest of so many times as long.
const LOOK_MIN: Duration = Duration::from_secs(1);
const LOOK_MAX: Duration = Duration::from_secs(10);
const REST: u32 = 4;
/// How often it is kept that nothing has turned: what ended before then is not looked for again.
const KEEP_EVERY: Duration = Duration::from_secs(60 * 60);

/// What looks.
struct Task {
    policy: Policy,
    reader: Reader,
    ingest: Ingest,
    changes: Changes,
    /// The rules by which it looks, and whom they exempt, as the configuration has it. At a reload
    /// another task takes its place.
    rules: Arc<Rules>,
    never: Vec<Box<str>>,
    /// What those know who are told; and up to when that is kept.
    known: Known,
    kept: Time,
}

/// What a look has found.
#[derive(Default)]
struct Found {
    turns: Vec<Turn>,
    ends: Ends,
    /// There may be more behind the standing of this address in this scope.
    more: Option<(String, Scope)>,
}

/// Starts it. `never`: whom the present rules exempt, as the configuration has it.
pub(super) fn start(running: &Running, never: Vec<Box<str>>) -> Part {
    let (policy, rules) = (running.policy.clone(), running.policy.rules.get());
    let known = Option::clone(&policy.turns.get());
    let known = known.unwrap_or_else(|| Known { rules: Arc::clone(&rules), at: clock::now() });
    let (reader, ingest) = (running.reader.clone(), running.ingest.clone());
    let changes = running.changes.clone();
    let kept = known.at;
    let task = Task { policy, reader, ingest, changes, rules, never, known, kept };
    Part::start(PART, |mut stop| async move {
        tokio::select! {
            () = stopped(&mut stop) => {}
            () = task.work() => {}
        }
    })
}

impl Task {
    async fn work(mut self) {
        self.ingest.ready().await;
        while self.begin().await.is_err() {
            sleep(AGAIN).await;
        }
        let mut changed = self.changes.follow();
        let (mut seen, mut ends) = (None, Ends::default());
        loop {
            let (begun, last) = (Instant::now(), *changed.borrow_and_update());
            let present = Known { rules: Arc::clone(&self.rules), at: clock::now() };
            let looked = match self.places(seen, &mut ends, &present) {
                Some(places) => self.look_at(places, present).await,
                None => self.look_at_all(present).await.inspect(|_| ends = Ends::default()),
            };
            let Ok(found) = looked else {
                // The checks tell of the store.
                seen = None;
                sleep(AGAIN).await;
                continue;
            };
            ends.join(found);
            seen = Some(last);
            sleep(LOOK_MIN.max(REST * begun.elapsed())).await;
            let left = ends.next().map_or(LOOK_MAX, |end| end.since(clock::now()).min(LOOK_MAX));
            tokio::select! {
                changed = changed.changed() => if changed.is_err() { return },
                () = sleep(left) => {}
            }
        }
    }

    /// Finds out what those know who are told.
    async fn begin(&mut self) -> Result<(), StoreError> {
        let kept = self.reader.cursor(&SourceName::operator(), FEED)?;
        let known = kept.and_then(|text| kept::read(&text, &self.rules));
        if let Some(known) = known {
            self.kept = known.at;
            self.know(known);
        } else {
            // Nobody was told before: they are from now on.
            let known = self.known.clone();
            self.tell(&[], Some(&known)).await;
        }
        Ok(())
    }

    /// The addresses whose verdicts may have turned since `seen`, or were to end by now. `None`:
    /// any may have.
    fn places(&self, seen: Option<u64>, ends: &mut Ends, present: &Known) -> Option<Vec<Box<str>>> {
        let is_back = present.at.nanos() < self.known.at.nanos();
        if is_back || *present.rules != *self.known.rules {
            return None;
        }
        let mut places = self.changes.addresses_since(seen?)?;
        places.extend(ends.take_due(present.at)?);
        places.sort_unstable();
        places.dedup();
        Some(places)
    }

    async fn look_at(&mut self, places: Vec<Box<str>>, now: Known) -> Result<Ends, StoreError> {
        let found = match places.is_empty() {
            true => Found::default(),
            false => self.found(&now, move |look| look.at(&places)).await?,
        };
        let is_late = now.at.since(self.kept) > KEEP_EVERY;
        let is_news = !found.turns.is_empty();
        self.tell(&found.turns, Some(&now).filter(|_| is_news || is_late)).await;
        self.know(now);
        Ok(found.ends)
    }

    async fn look_at_all(&mut self, now: Known) -> Result<Ends, StoreError> {
        let (mut is_news, mut behind) = (*now.rules != *self.known.rules, None);
        loop {
            let from = behind.take();
            let found = self.found(&now, move |look| look.behind(from)).await?;
            let Found { turns, ends, more } = found;
            is_news |= !turns.is_empty();
            behind = more;
            self.tell(&turns, Some(&now).filter(|_| is_news && behind.is_none())).await;
            if behind.is_none() {
                self.know(now);
                return Ok(ends);
            }
        }
    }

    async fn found(
        &self,
        now: &Known,
        look: impl FnOnce(&Look) -> Result<Found, StoreError> + Send + 'static,
    ) -> Result<Found, StoreError> {
        let (reader, before, now) = (self.reader.clone(), self.known.clone(), now.clone());
        let look_at = Look { reader, forgotten: Arc::clone(self.ingest.forgotten()), before, now };
        let found = tokio::task::spawn_blocking(move || look(&look_at)).await;
        found.unwrap_or_else(|error| Err(StoreError::Damaged(error.to_string())))
    }

    /// Has the journal tell of turns, and behind them up to when it has.
    async fn tell(&mut self, turns: &[Turn], upto: Option<&Known>) {
        let mut parts: Vec<Vec<Element>> =
            turns.chunks(AT_ONCE).map(|part| part.iter().map(turned_element).collect()).collect();
        if parts.is_empty() && upto.is_some() {
            parts.push(Vec::new());
        }
        let mut left = parts.len();
        for elements in parts {
            left -= 1;
            let state = upto.filter(|_| left == 0).map(|known| kept::write(known, &self.never));
            let cursor = state.map(|state| Cursor { feed: FEED.to_owned(), state });
            let ours = Submission::ours(SourceName::operator(), OWN, elements, clock::now());
            let submission = Submission { cursor, ..ours };
            while self.ingest.submit(&submission).await.is_err() {
                sleep(AGAIN).await;
            }
        }
        self.kept = upto.map_or(self.kept, |known| known.at);
    }

    /// Those who are told know this from now on.
    fn know(&mut self, known: Known) {
        self.known = known.clone();
        self.policy.turns.set(Some(known));
    }
}

/// One look into the store.
struct Look {
    reader: Reader,
    forgotten: Arc<Forgotten>,
    before: Known,
    now: Known,
}

impl Look {
    /// Looks at these addresses.
    fn at(&self, places: &[Box<str>]) -> Result<Found, StoreError> {
        let mut found = Found::default();
        for key in places {
            for (scope, standing) in self.reader.standings_under(key)? {
                self.note_end(key, &scope, &Gist::of(&standing), &mut found.ends);
                found.turns.extend(self.turn(key, &scope, &standing));
            }
        }
        Ok(found)
    }

    /// Looks at all behind a place.
    fn behind(&self, from: Option<(String, Scope)>) -> Result<Found, StoreError> {
        let (mut found, mut places) = (Found::default(), Vec::new());
        self.reader.visit_standings(&mut |key, scope, gist| {
            let is_live = self.note_end(key, scope, gist, &mut found.ends);
            let is_before =
                from.as_ref().is_some_and(|(last, of)| (key, scope) <= (last.as_str(), of));
            let Known { rules, at } = &self.before;
            let was_live = rules.verdict(key, gist, scope, &Filter::default(), *at).is_some();
            if was_live != is_live && !is_before && places.len() < FOUND_MAX {
                places.push((key.to_owned(), scope.clone()));
            }
            Ok(())
        })?;
        found.more = places.last().filter(|_| places.len() == FOUND_MAX).cloned();
        for (key, scope) in places {
            let standings = self.reader.standings_under(&key)?;
            let of = standings.iter().find(|(of, _)| *of == scope);
            found.turns.extend(of.and_then(|(_, standing)| self.turn(&key, &scope, standing)));
        }
        Ok(found)
    }

    /// Notes when a verdict ends, if it does; says whether it is one now.
    fn note_end(&self, key: &str, scope: &Scope, gist: &Gist<'_>, ends: &mut Ends) -> bool {
        let Known { rules, at } = &self.now;
        let live = rules.verdict(key, gist, scope, &Filter::default(), *at);
        if let Some(end) = live.and_then(|live| live.until.time()) {
            ends.add(end, key);
        }
        live.is_some()
    }

    /// The turn of a verdict, if it is another than is known.
    fn turn(&self, key: &str, scope: &Scope, standing: &Standing) -> Option<Turn> {
        if self.forgotten.has(key) {
            return None;
        }
        let live = |Known { rules, at }: &Known| rules.live(key, standing, *at);
        let of = (standing.spelled(key), scope);
        turn(of, &live(&self.before), &live(&self.now), self.now.at)
    }
}
