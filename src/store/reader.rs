//! Looking into the store.

use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::Notify;

use super::base::{Base, Scan};
use super::codec::{Counts, EventRef, Meta, decode, encode};
use super::keys::{self, CHANGED, EVENT, Hash, MESSAGE, META, QUIET, RUNS, SET_ASIDE, STANDING};
use super::{StoreError, View};
use crate::current::Current;
use crate::forgotten::Forgotten;
use crate::journal;
use crate::model::{
    Address, Element, Event, EventId, Filter, Gist, Position, Reason, Scope, SourceName, Standing,
    Submission, Suppression, Time,
};
use crate::provider::{Reading, Unreadable, read_element};
use crate::rules::Rules;

/// Looks into the store. Cheap to clone; every edge that looks has one.
#[derive(Clone)]
pub struct Reader {
    state: Arc<RwLock<State>>,
    /// The state is another one.
    changed: Arc<Notify>,
    pub(super) journal: journal::Reader,
    reading: Arc<Current<Reading>>,
    forgotten: Arc<Forgotten>,
    /// Whoever goes through the journal takes it for each record.
    pub(super) turn: Arc<Mutex<()>>,
}

enum State {
    Opening,
    /// It has still to take what the journal holds: who is suppressed in it is so, but nobody
    /// knows who else is.
    Behind(Arc<Base>),
    Open(Arc<View>),
    /// Who was suppressed before is so, if that is still known. Of sled nothing is held: it could
    /// not be opened again.
    Failed(StoreError, Option<Arc<Base>>),
}

/// A key and its value, as they are stored.
pub type Pair = (Vec<u8>, Vec<u8>);

/// One row of a scan over the standings: the address's key, the scope, the standing.
pub type StandingRow = (String, Scope, Standing);

/// What is done with each standing: the address's key, the scope, what verdicts need.
pub type Visit<'a> = &'a mut dyn FnMut(&str, &Scope, &Gist<'_>) -> Result<(), StoreError>;

/// Goes through all standings, in the order of the addresses' keys.
pub type Standings<'a> = dyn Fn(Visit<'_>) -> Result<(), StoreError> + Send + Sync + 'a;

/// A scan over the standings.
pub type StandingRows = Box<dyn Iterator<Item = Result<StandingRow, StoreError>> + Send>;

/// How much the store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The end of what is applied.
    pub applied: Position,
    /// Addresses, per scope, of which more than a delivery is known.
    pub standings: u64,
    /// Elements in quarantine.
    pub quarantined: u64,
    /// Elements and records that could not be applied; no more than [`SET_ASIDE_MAX`] are counted.
    pub set_aside: usize,
}

/// Most of what was set aside that is counted.
pub const SET_ASIDE_MAX: usize = 1_000;

impl Reader {
    /// A reader of a store that is still to be opened.
    pub fn new(journal: journal::Reader, reading: Arc<Current<Reading>>) -> Reader {
        let state = Arc::new(RwLock::new(State::Opening));
        let forgotten = Arc::new(Forgotten::nobody());
        let (changed, turn) = (Arc::default(), Arc::default());
        Reader { state, changed, journal, reading, forgotten, turn }
    }

    /// One that knows who was forgotten.
    #[must_use]
    pub fn with_forgotten(self, forgotten: Arc<Forgotten>) -> Reader {
        Reader { forgotten, ..self }
    }

    /// What reading events needs of the configuration.
    pub fn reading(&self) -> Arc<Reading> {
        self.reading.get()
    }

    /// The events of one element, as its provider reads them.
    ///
    /// # Errors
    /// When it cannot be understood.
    pub fn read(
        &self,
        submission: &Submission,
        element: &Element,
    ) -> Result<Vec<Event>, Unreadable> {
        read_element(&self.reading.get(), submission, element)
    }

    /// Lets those who ask about an address be told what suppresses it already, while the store is
    /// not current: of others nobody knows yet.
    pub fn attach_behind(&self, view: &Arc<View>) {
        // One that is made again knows fewer for a time than the one that failed.
        self.go_to(|state| match state {
            State::Failed(_, Some(before)) => State::Behind(before),
            _ => State::Behind(Arc::clone(&view.base)),
        });
    }

    /// Lets all readers look into the store. It must be current: an export of half of it would
    /// release the other half.
    pub fn attach(&self, view: &Arc<View>) {
        self.go_to(|_| State::Open(Arc::clone(view)));
    }

    /// Tells all readers that there is no store. Those who ask about an address are told what
    /// suppressed it before.
    pub fn fail(&self, error: StoreError) {
        self.go_to(|state| match state {
            State::Open(view) => State::Failed(error, Some(Arc::clone(&view.base))),
            State::Behind(base) => State::Failed(error, Some(base)),
            State::Failed(_, base) => State::Failed(error, base),
            State::Opening => State::Failed(error, None),
        });
    }

    /// Waits until the store is current, or cannot be opened.
    pub async fn opened(&self) {
        loop {
            let changed = self.changed.notified();
            if !matches!(*self.state(), State::Opening | State::Behind(_)) {
                return;
            }
            changed.await;
        }
    }

    /// Reads so many bytes of the store behind a key, for whether they can be read. Says where it
    /// came to; `None`: to the end.
    ///
    /// # Errors
    /// When they cannot. sled may panic.
    pub fn read_on(&self, after: &[u8], bytes: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let mut left = bytes;
        for pair in self.tree()?.range::<&[u8], _>((Bound::Excluded(after), Bound::Unbounded)) {
            let (key, value) = pair?;
            left = left.saturating_sub((key.len() + value.len()) as u64);
            if left == 0 {
                return Ok(Some(key.to_vec()));
            }
        }
        Ok(None)
    }

    fn go_to(&self, next: impl FnOnce(State) -> State) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        *state = next(std::mem::replace(&mut *state, State::Opening));
        drop(state);
        self.changed.notify_waiters();
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tree(&self) -> Result<sled::Tree, StoreError> {
        self.view().map(|view| view.tree.clone())
    }

    pub(super) fn view(&self) -> Result<Arc<View>, StoreError> {
        match &*self.state() {
            State::Opening | State::Behind(_) => Err(StoreError::NotReady),
            State::Open(view) => Ok(Arc::clone(view)),
            State::Failed(error, _) => Err(error.clone()),
        }
    }

    /// Where the journal begins.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn journal_start(&self) -> Result<Position, StoreError> {
        Ok(self.journal.start()?)
    }

    /// The bytes of the journal between two positions.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn journal_bytes(&self, from: Position, to: Position) -> Result<u64, StoreError> {
        Ok(self.journal.bytes_between(from, to)?)
    }

    /// The cursor of a feed, as last committed.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn cursor(&self, source: &SourceName, feed: &str) -> Result<Option<String>, StoreError> {
        let stored = self.tree()?.get(keys::cursor(source, feed))?;
        Ok(stored.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// How a source's events reached us.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn counts(&self, source: &SourceName) -> Result<Counts, StoreError> {
        let stored = self.tree()?.get(keys::counts(source))?;
        Ok(stored.map(|bytes| decode(&bytes)).transpose()?.unwrap_or_default())
    }

    /// Whether anything came of a source, if only by an import.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn knows(&self, source: &SourceName) -> Result<bool, StoreError> {
        Ok(self.tree()?.contains_key(keys::counts(source))?)
    }

    /// How much the store holds.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn totals(&self) -> Result<Totals, StoreError> {
        let tree = self.tree()?;
        let meta = tree.get(META)?.map(|bytes| Meta::decode(&bytes)).transpose()?;
        let Meta { applied, standings, quarantined, .. } = meta.unwrap_or_default();
        let set_aside = tree.scan_prefix([SET_ASIDE]).keys().take(SET_ASIDE_MAX).count();
        Ok(Totals { applied, standings, quarantined, set_aside })
    }

    /// Every standing of one address, by scope.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn standings_of(&self, address: &Address) -> Result<Vec<(Scope, Standing)>, StoreError> {
        self.standings_under(address.key())
    }

    /// Every standing of the address with that key, by scope.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn standings_under(&self, address: &str) -> Result<Vec<(Scope, Standing)>, StoreError> {
        let base = Arc::clone(&self.view()?.base);
        let mut standings: Vec<(Scope, Standing)> = Vec::new();
        for prefix in [STANDING, QUIET] {
            let (from, end) = keys::standings_of(prefix, address);
            let mut scan = base.scan(from, end);
            while scan.advance()? {
                let (_, scope) = parts(scan.key())?;
                if standings.iter().any(|(known, _)| *known == scope) {
                    continue;
                }
                let standing = if prefix == STANDING {
                    decode(scan.value())?
                } else {
                    Standing::quiet(decode(scan.value())?)
                };
                standings.push((scope, standing));
            }
        }
        standings.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(standings)
    }

    /// The verdict on an address: the weightiest suppression in any of the scopes, of what
    /// `filter` admits.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn verdict(
        &self,
        rules: &Rules,
        address: &Address,
        scopes: &[Scope],
        filter: &Filter,
        now: Time,
    ) -> Result<Option<Suppression>, StoreError> {
        if let Some(found) = self.forgotten(rules, address, scopes, filter, now) {
            return Ok(Some(found));
        }
        let key = address.key();
        let judge = |standing: &_, scope: &_| rules.judge(key, standing, scope, filter, now);
        self.weightiest(address, scopes, judge, |live| live.reason)
    }

    /// Why the verdict is what it is, for those who ask for no more, and often.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn reason(
        &self,
        rules: &Rules,
        address: &Address,
        scopes: &[Scope],
        filter: &Filter,
        now: Time,
    ) -> Result<Option<Reason>, StoreError> {
        if let Some(found) = self.forgotten(rules, address, scopes, filter, now) {
            return Ok(Some(found.reason));
        }
        let judge = |standing: &_, scope: &_| {
            rules.verdict(address.key(), &Gist::of(standing), scope, filter, now)
        };
        let live = self.weightiest(address, scopes, judge, |live| live.reason)?;
        Ok(live.map(|live| live.reason))
    }

    /// The verdict on an address of which no more is known than that.
    fn forgotten(
        &self,
        rules: &Rules,
        address: &Address,
        scopes: &[Scope],
        filter: &Filter,
        now: Time,
    ) -> Option<Suppression> {
        let found = self.forgotten.suppression(address, scopes, filter, now)?;
        rules.never.entry(address.key()).is_none().then_some(found)
    }

    /// Every answer to an MTA, a program or an operator comes from here.
    fn weightiest<T>(
        &self,
        address: &Address,
        scopes: &[Scope],
        judge: impl Fn(&Standing, &Scope) -> Option<T>,
        reason: impl Fn(&T) -> Reason,
    ) -> Result<Option<T>, StoreError> {
        let (base, lacking) = self.answering()?;
        let mut found: Option<T> = None;
        for scope in scopes {
            // A standing that says no more than a delivery suppresses nobody: it is not looked at.
            let key = keys::standing(STANDING, address.key(), scope);
            let Some(value) = base.get(&key)? else { continue };
            let heavier = |live: &T| found.as_ref().is_none_or(|f| reason(live) < reason(f));
            if let Some(live) = judge(&decode(&value)?, scope).filter(heavier) {
                found = Some(live);
            }
        }
        match lacking {
            Some(error) if found.is_none() => Err(error),
            _ => Ok(found),
        }
    }

    /// What answers questions about an address, and why nobody knows of those that it does not
    /// have, if nobody does.
    fn answering(&self) -> Result<(Arc<Base>, Option<StoreError>), StoreError> {
        match &*self.state() {
            State::Opening => Err(StoreError::NotReady),
            State::Open(view) => Ok((Arc::clone(&view.base), None)),
            State::Behind(base) => Ok((Arc::clone(base), Some(StoreError::NotReady))),
            State::Failed(error, base) => {
                let base = base.as_ref().ok_or_else(|| error.clone())?;
                Ok((Arc::clone(base), Some(error.clone())))
            }
        }
    }

    /// Every standing that can suppress, ordered by the address's key, then the scope.
    pub fn standings(&self) -> StandingRows {
        self.standings_after("")
    }

    /// The same, of the addresses whose key comes after this one.
    pub fn standings_after(&self, address: &str) -> StandingRows {
        // Behind every scope of the address, and before every longer address.
        self.standings_from([&[STANDING], address.as_bytes(), &[1]].concat())
    }

    /// The same, of the standings that come after that of an address in a scope.
    pub fn standings_behind(&self, address: &str, scope: &Scope) -> StandingRows {
        self.standings_from([&keys::standing(STANDING, address, scope)[..], &[0]].concat())
    }

    fn standings_from(&self, start: Vec<u8>) -> StandingRows {
        match self.view() {
            Ok(view) => Box::new(rows(view.base.scan(start, vec![STANDING + 1]))),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    /// The same as [`Reader::standings`], for whoever wants to judge all of them soon. What is
    /// committed before is among them.
    ///
    /// # Errors
    /// When the store cannot answer, or `each` says so.
    pub fn visit_standings(&self, each: Visit<'_>) -> Result<(), StoreError> {
        visit(&self.view()?.base, each)
    }

    /// Everything in the store, for comparing two of them.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub fn everything(&self) -> Result<Vec<Pair>, StoreError> {
        let view = self.view()?;
        let pairs = view.tree.iter().map(|pair| pair.map(|(k, v)| (k.to_vec(), v.to_vec())));
        let mut pairs = pairs.collect::<Result<Vec<Pair>, _>>()?;
        // What is in the base and what is not yet is nothing to compare.
        pairs.retain(|(key, _)| !key.starts_with(&[CHANGED]) && key != RUNS);
        for (_, value) in pairs.iter_mut().filter(|(key, _)| key == META) {
            *value = Meta { keys: 0, sum: 0, ..Meta::decode(value)? }.encode();
        }
        for prefix in [QUIET, STANDING] {
            let mut scan = view.base.scan_prefix(prefix);
            while scan.advance()? {
                pairs.push((scan.key().to_vec(), scan.value().to_vec()));
            }
        }
        let (events, names) = view.index.everything()?;
        let event = |((address, id), entry): ((Hash, EventId), EventRef)| {
            ([&[EVENT], &address[..], id.bytes()].concat(), encode(&entry))
        };
        pairs.extend(events.into_iter().map(event));
        pairs.extend(names.iter().map(|name| ([&[MESSAGE], &name[..]].concat(), Vec::new())));
        Ok(pairs)
    }
}

/// Gives every standing of a base.
///
/// # Errors
/// When it is damaged, or `each` says so.
pub(super) fn visit(base: &Arc<Base>, each: Visit<'_>) -> Result<(), StoreError> {
    let mut scan = base.scan_prefix(STANDING);
    while scan.advance()? {
        let (address, scope) = keys::standing_parts(scan.key()).ok_or_else(strange_key)?;
        each(address, &scope, &Gist::of(&decode(scan.value())?))?;
    }
    Ok(())
}

fn rows(mut scan: Scan) -> impl Iterator<Item = Result<StandingRow, StoreError>> {
    let row = |scan: &Scan| {
        let (address, scope) = parts(scan.key())?;
        Ok((address, scope, decode(scan.value())?))
    };
    std::iter::from_fn(move || match scan.advance() {
        Ok(true) => Some(row(&scan)),
        Ok(false) => None,
        Err(error) => Some(Err(error)),
    })
}

fn parts(key: &[u8]) -> Result<(String, Scope), StoreError> {
    let (address, scope) = keys::standing_parts(key).ok_or_else(strange_key)?;
    Ok((address.to_owned(), scope))
}

pub(super) fn strange_key() -> StoreError {
    StoreError::Damaged("a key is not in a form that this version reads".to_owned())
}
