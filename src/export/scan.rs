//! From the store's standings to an export's rows, in one pass.
//!
//! Pure but for the iterator it reads: no files, no clock. Merges the scopes of an address into
//! one verdict, and notes what the next writing and the guard must know.

use std::collections::BTreeSet;

use super::{Edits, Entry, Row, Rows, Settings, Table};
use crate::model::{Reason, Scope, Standing, Time, Until};
use crate::rules::{Rules, Verdict};
use crate::store::{StandingRow, StoreError};

/// What a scan finds beside the rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Suppressed addresses that the format cannot carry.
    pub unfit: u64,
    /// Rows that have ended since the last publication.
    pub expired: u64,
    /// When the live suppressions end.
    pub ends: Ends,
}

/// The next ends of suppressions, and whose they are. One that has moved since is harmless: its
/// address is looked at, and found as it was.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ends {
    known: BTreeSet<(i64, Box<str>)>,
    /// From this instant on, there may be more than is known.
    horizon: Option<i64>,
}

/// Most ends that are known.
const ENDS_MAX: usize = 65_536;

impl Ends {
    fn add(&mut self, end: Time, key: &str) {
        let at = end.nanos();
        if self.horizon.is_some_and(|horizon| at >= horizon) {
            return;
        }
        self.known.insert((at, key.into()));
        if self.known.len() > ENDS_MAX {
            self.horizon = self.known.pop_last().map(|(at, _)| at).or(self.horizon);
        }
    }

    /// The next instant at which an address may have to be looked at.
    pub fn next(&self) -> Option<Time> {
        let first = self.known.first().map(|(at, _)| *at);
        first.or(self.horizon).map(|at| Time::from_nanos(at, 9))
    }

    /// Takes the addresses of the ends that have come. `None`: there may be more than are known.
    pub fn take_due(&mut self, now: Time) -> Option<Vec<Box<str>>> {
        if self.horizon.is_some_and(|horizon| horizon <= now.nanos()) {
            return None;
        }
        let mut due = Vec::new();
        while let Some((at, _)) = self.known.first()
            && *at <= now.nanos()
        {
            due.extend(self.known.pop_first().map(|(_, key)| key));
        }
        Some(due)
    }

    /// Adds those of another.
    pub fn join(&mut self, other: Ends) {
        for (at, key) in other.known {
            self.add(Time::from_nanos(at, 9), &key);
        }
    }
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

/// Of one address: the weightiest verdict now, and the one when the file was made.
#[derive(Default)]
struct Verdicts {
    key: String,
    spelling: String,
    live: Option<Verdict>,
    ended: Option<Verdict>,
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
                current = Verdicts { key, live: None, ended: None, ..current };
            }
            self.weigh(&mut current, &scope, &standing, &mut found.ends);
        }
        self.finish(&current, &mut found, &mut rows);
        rows.iter().try_for_each(add)?;
        Ok(found)
    }

    /// Adds what follows from one standing of the address.
    fn weigh(&self, of: &mut Verdicts, scope: &Scope, standing: &Standing, ends: &mut Ends) {
        let filter = &self.settings.filter;
        let live = self.rules.verdict(standing, scope, filter, self.now);
        if let (None, Some(before)) = (&live, self.before) {
            weightiest(&mut of.ended, self.rules.verdict(standing, scope, filter, before));
        }
        if let Some(end) = live.and_then(|live| live.until.time()) {
            ends.add(end, &of.key);
        }
        if weightiest(&mut of.live, live) || of.live.is_none() {
            of.spelling.clear();
            of.spelling.push_str(standing.spelling());
        }
    }

    /// What has to be done about one address: the rows that are to be, and those whose keys are to
    /// be gone. `None`: that cannot be told of it alone, such as when it is unfit.
    pub(super) fn one(
        &self,
        key: &str,
        standings: &[(Scope, Standing)],
        ends: &mut Ends,
        edits: &mut Edits,
    ) -> Option<()> {
        let mut of = Verdicts { key: key.to_owned(), ..Verdicts::default() };
        for (scope, standing) in standings {
            self.weigh(&mut of, scope, standing, ends);
        }
        // An address of other letters has other rows for each way to spell it.
        if !of.spelling.is_ascii() && self.settings.style.table == Table::Text {
            return None;
        }
        // What its keys are does not depend on why it is suppressed.
        let any = Verdict { reason: Reason::Manual, since: self.now, until: Until::Forever };
        let mut rows = Rows::default();
        let fit = self.rows(&of, of.live.unwrap_or(any), &mut rows);
        let into = if of.live.is_some() { &mut edits.puts } else { &mut edits.deletes };
        rows.iter().for_each(|row| into.add(&[row.key], &[row.value]));
        fit.then_some(())
    }

    /// Makes the rows of the address that is complete.
    fn finish(&self, of: &Verdicts, found: &mut Found, rows: &mut Rows) {
        rows.clear();
        if let Some(live) = of.live {
            if !self.rows(of, live, rows) {
                found.unfit += 1;
            }
        } else if let Some(ended) = of.ended {
            if self.rows(of, ended, rows) {
                found.expired += rows.count() as u64;
            }
            rows.clear();
        }
    }

    /// Asks the format for the rows of an address; says whether it can carry it.
    fn rows(&self, of: &Verdicts, verdict: Verdict, rows: &mut Rows) -> bool {
        let Some((local, domain)) = of.key.rsplit_once('@') else { return false };
        let Verdict { reason, since, until } = verdict;
        let (spelling, style) = (of.spelling.as_str(), &self.settings.style);
        let entry = Entry { local, domain, spelling, reason, since, until, style };
        let fit = self.settings.format.rows(&entry, rows).is_ok();
        if !fit {
            rows.clear();
        }
        fit
    }
}

/// Keeps the weightier verdict, at equal weight the one that came first; says whether it is the
/// other one.
fn weightiest(known: &mut Option<Verdict>, other: Option<Verdict>) -> bool {
    let heavier = |other: &Verdict| known.as_ref().is_none_or(|k| other.reason < k.reason);
    let replaced = other.as_ref().is_some_and(heavier);
    if replaced {
        *known = other;
    }
    replaced
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
        assert_eq!(found.ends.next().map(Time::nanos), Some(at(140).nanos()));
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
