//! From the store's standings to an export's rows, in one pass.
//!
//! Pure but for the iterator it reads: no files, no clock. Merges the scopes of an address into
//! one verdict, and notes what the next writing and the guard must know.

use std::cell::Cell;
use std::collections::VecDeque;

use super::{Row, Settings};
use crate::model::{Address, Suppression, Time};
use crate::rules::Rules;
use crate::store::{StandingRow, StoreError};

/// What a scan finds beside the rows.
#[derive(Debug, Default)]
pub struct Found {
    /// Suppressed addresses that the format cannot carry.
    pub unfit: Cell<u64>,
    /// Rows that have ended since the last publication.
    pub expired: Cell<u64>,
    /// When the first of the live suppressions ends.
    pub next_end: Cell<Option<Time>>,
}

/// The rows of one export, in the order of the standings.
pub struct Scan<'a, I> {
    standings: I,
    rules: &'a Rules,
    settings: &'a Settings,
    now: Time,
    /// When the present file was made.
    before: Option<Time>,
    found: &'a Found,
    current: Option<Verdicts>,
    ready: VecDeque<Row>,
    failed: bool,
}

/// Of one address: the weightiest suppression now, and the one when the file was made.
struct Verdicts {
    key: String,
    live: Option<Suppression>,
    ended: Option<Suppression>,
}

impl<'a, I> Scan<'a, I>
where
    I: Iterator<Item = Result<StandingRow, StoreError>>,
{
    /// A scan as of `now`. `before` is when the present file was made.
    pub fn new(
        standings: I,
        rules: &'a Rules,
        settings: &'a Settings,
        (now, before): (Time, Option<Time>),
        found: &'a Found,
    ) -> Scan<'a, I> {
        let (current, ready) = (None, VecDeque::new());
        Scan { standings, rules, settings, now, before, found, current, ready, failed: false }
    }

    fn take(&mut self, (key, scope, standing): StandingRow) {
        if self.current.as_ref().is_some_and(|current| current.key != key) {
            self.finish();
        }
        let filter = &self.settings.filter;
        let live = self.rules.judge(&standing, &scope, filter, self.now);
        let ended = match (&live, self.before) {
            (None, Some(before)) => self.rules.judge(&standing, &scope, filter, before),
            _ => None,
        };
        if let Some(end) = live.as_ref().and_then(|live| live.until.time()) {
            let next = self.found.next_end.get().map_or(end, |known| known.min(end));
            self.found.next_end.set(Some(next));
        }
        let current = self.current.get_or_insert(Verdicts { key, live: None, ended: None });
        weightiest(&mut current.live, live);
        weightiest(&mut current.ended, ended);
    }

    /// Makes the rows of the address that is complete.
    fn finish(&mut self) {
        let Some(verdicts) = self.current.take() else { return };
        let rows = |suppression: &Suppression| {
            let address = Address::parse(&verdicts.key).ok()?;
            self.settings.format.rows(&address, suppression, &self.settings.reply).ok()
        };
        match (&verdicts.live, &verdicts.ended) {
            (Some(live), _) => match rows(live) {
                Some(rows) => self.ready.extend(rows),
                None => self.found.unfit.set(self.found.unfit.get() + 1),
            },
            (None, Some(ended)) => {
                let gone = rows(ended).map_or(0, |rows| rows.len() as u64);
                self.found.expired.set(self.found.expired.get() + gone);
            }
            (None, None) => {}
        }
    }
}

impl<I> Iterator for Scan<'_, I>
where
    I: Iterator<Item = Result<StandingRow, StoreError>>,
{
    type Item = Result<Row, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.ready.pop_front() {
                return Some(Ok(row));
            }
            if self.failed {
                return None;
            }
            match self.standings.next() {
                Some(Ok(row)) => self.take(row),
                Some(Err(error)) => {
                    self.failed = true;
                    return Some(Err(error));
                }
                None if self.current.is_some() => self.finish(),
                None => return None,
            }
        }
    }
}

/// Keeps the suppression of the weightier reason; at equal weight the one that came first.
fn weightiest(known: &mut Option<Suppression>, other: Option<Suppression>) {
    let heavier = |other: &Suppression| known.as_ref().is_none_or(|k| other.reason < k.reason);
    if other.as_ref().is_some_and(heavier) {
        *known = other;
    }
}

#[cfg(test)]
mod tests {
    use super::super::test;
    use super::*;
    use crate::model::{Reason, Scope, Until};

    fn at(seconds: i64) -> Time {
        Time::from_seconds(seconds)
    }

    #[test]
    fn one_row_an_address_and_what_else_is_found() {
        let news = || Scope::Stream("news".into());
        let manual = |key, scope, until| test::standing(key, scope, Reason::Manual, until);
        let standings = vec![
            Ok(manual("#x@x.test", Scope::Global, Until::Forever)),
            Ok(manual("a@x.test", Scope::Global, Until::At(at(150)))),
            Ok(test::standing("a@x.test", news(), Reason::Complaint, Until::At(at(140)))),
            Ok(manual("b@x.test", Scope::Global, Until::At(at(100)))),
            Ok(manual("c@x.test", Scope::Global, Until::At(at(90)))),
            Ok(manual("d@x.test", Scope::Global, Until::At(at(99)))),
            Ok(manual("d@x.test", news(), Until::Forever)),
            Ok(manual("e@b\u{fc}cher.test", Scope::Global, Until::At(at(95)))),
        ];
        let (rules, settings) = (Rules::default(), test::settings("/nowhere/file".as_ref()));
        let found = Found::default();
        let times = (at(100), Some(at(92)));
        let scan = Scan::new(standings.into_iter(), &rules, &settings, times, &found);
        let rows: Vec<String> =
            scan.map(|row| row.map(|r| format!("{} {}", r.key, r.value)).unwrap()).collect();
        assert_eq!(
            rows,
            ["a@x.test 550 5.1.1 suppressed: complaint", "d@x.test 550 5.1.1 suppressed: manual"]
        );
        assert_eq!(found.unfit.get(), 1);
        assert_eq!(found.expired.get(), 3, "b, and e in both forms; c had ended before");
        assert_eq!(found.next_end.get(), Some(at(140)));
    }

    #[test]
    fn an_error_ends_the_scan() {
        let standings = vec![
            Ok(test::standing("a@x.test", Scope::Global, Reason::Manual, Until::Forever)),
            Err(StoreError::NotReady),
        ];
        let (rules, settings) = (Rules::default(), test::settings("/nowhere/file".as_ref()));
        let found = Found::default();
        let scan = Scan::new(standings.into_iter(), &rules, &settings, (at(1), None), &found);
        assert_eq!(scan.collect::<Vec<_>>(), [Err(StoreError::NotReady)]);
    }
}
