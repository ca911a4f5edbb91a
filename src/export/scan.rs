//! From the store's standings to an export's rows, in one pass.
//!
//! Pure but for the iterator it reads: no files, no clock. Merges the scopes of an address into
//! one verdict, and notes what the next writing and the guard must know.

use super::{Entry, Row, Rows, Settings};
use crate::model::{Suppression, Time};
use crate::rules::Rules;
use crate::store::{StandingRow, StoreError};

/// What a scan finds beside the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Suppressed addresses that the format cannot carry.
    pub unfit: u64,
    /// Rows that have ended since the last publication.
    pub expired: u64,
    /// When the first of the live suppressions ends.
    pub next_end: Option<Time>,
}

/// One pass.
pub struct Scan<'a> {
    /// What makes verdicts.
    pub rules: &'a Rules,
    /// The export.
    pub settings: &'a Settings,
    /// As of when.
    pub now: Time,
    /// When the present file was made.
    pub before: Option<Time>,
}

/// Of one address: the weightiest suppression now, and the one when the file was made.
#[derive(Default)]
struct Verdicts {
    key: String,
    live: Option<Suppression>,
    ended: Option<Suppression>,
}

impl Scan<'_> {
    /// Calls `add` with each row, in the order of the standings.
    ///
    /// # Errors
    /// When the store cannot answer, or `add` fails.
    pub fn run<E: From<StoreError>>(
        &self,
        standings: impl Iterator<Item = Result<StandingRow, StoreError>>,
        mut add: impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<Found, E> {
        let (mut found, mut rows) = (Found::default(), Rows::default());
        let mut current = Verdicts::default();
        for standing in standings {
            let (key, scope, standing) = standing?;
            if current.key != key {
                self.finish(&current, &mut found, &mut rows);
                rows.iter().try_for_each(&mut add)?;
                current = Verdicts { key, live: None, ended: None };
            }
            let filter = &self.settings.filter;
            let live = self.rules.judge(&standing, &scope, filter, self.now);
            if let (None, Some(before)) = (&live, self.before) {
                let ended = self.rules.judge(&standing, &scope, filter, before);
                weightiest(&mut current.ended, ended);
            }
            if let Some(end) = live.as_ref().and_then(|live| live.until.time()) {
                found.next_end = Some(found.next_end.map_or(end, |known| known.min(end)));
            }
            weightiest(&mut current.live, live);
        }
        self.finish(&current, &mut found, &mut rows);
        rows.iter().try_for_each(add)?;
        Ok(found)
    }

    /// Makes the rows of the address that is complete.
    fn finish(&self, of: &Verdicts, found: &mut Found, rows: &mut Rows) {
        rows.clear();
        if let Some(live) = &of.live {
            if !self.rows(&of.key, live, rows) {
                found.unfit += 1;
            }
        } else if let Some(ended) = &of.ended {
            if self.rows(&of.key, ended, rows) {
                found.expired += rows.count() as u64;
            }
            rows.clear();
        }
    }

    /// Asks the format for the rows of an address; says whether it can carry it.
    fn rows(&self, key: &str, suppression: &Suppression, rows: &mut Rows) -> bool {
        let Some((local, domain)) = key.rsplit_once('@') else { return false };
        let entry = Entry {
            local,
            domain,
            spelling: &suppression.address,
            reason: suppression.reason,
            since: suppression.since,
            until: suppression.until,
            style: &self.settings.style,
        };
        let fit = self.settings.format.rows(&entry, rows).is_ok();
        if !fit {
            rows.clear();
        }
        fit
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
            Ok(manual("e@xn--bcher-kva.test", Scope::Global, Until::At(at(95)))),
        ];
        let (rules, settings) = (Rules::default(), test::settings("/nowhere/file".as_ref()));
        let (rules, settings) = (&rules, &settings);
        let scan = Scan { rules, settings, now: at(100), before: Some(at(92)) };
        let mut rows = Vec::new();
        let add = |row: Row<'_>| {
            rows.push(format!("{} {}", row.key, row.value));
            Ok::<_, StoreError>(())
        };
        let found = scan.run(standings.into_iter(), add).unwrap();
        assert_eq!(
            rows,
            ["a@x.test 550 5.1.1 suppressed: complaint", "d@x.test 550 5.1.1 suppressed: manual"]
        );
        assert_eq!(found.unfit, 1);
        assert_eq!(found.expired, 3, "b, and e in both forms; c had ended before");
        assert_eq!(found.next_end, Some(at(140)));
    }

    #[test]
    fn an_error_ends_the_scan() {
        let standings = vec![
            Ok(test::standing("a@x.test", Scope::Global, Reason::Manual, Until::Forever)),
            Err(StoreError::NotReady),
        ];
        let (rules, settings) = (&Rules::default(), &test::settings("/nowhere/file".as_ref()));
        let scan = Scan { rules, settings, now: at(1), before: None };
        let ended = scan.run(standings.into_iter(), |_| Ok(()));
        assert_eq!(ended, Err(StoreError::NotReady));
    }
}
