//! From the store's standings to an export's rows, in one pass.
//!
//! Pure but for what it reads and the thread that does it: no files, no clock. Merges the scopes
//! of an address into one verdict, and notes what the next writing and the guard must know.

use std::collections::BTreeSet;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use super::{Edits, Entry, Row, Rows, Settings, Table};
use crate::model::{Gist, Reason, Scope, Standing, Time, Until};
use crate::rules::{Rules, Verdict};
use crate::store::{StoreError, Visit};

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

/// Bytes of rows that are handed over at once, and how many hands full may wait.
const ROWS_BYTES: usize = 256 << 10;
const WAITING: usize = 4;

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

impl Verdicts {
    /// Goes on with another address.
    fn start(&mut self, key: &str) {
        self.key.clear();
        self.key.push_str(key);
        (self.live, self.ended) = (None, None);
    }
}

impl Scan<'_> {
    /// Calls `add` with each row, in the order of the standings. A thread of its own makes them,
    /// while those before are added.
    ///
    /// # Errors
    /// When the store cannot answer, or `add` fails.
    pub fn run<E: From<StoreError>>(
        &self,
        standings: impl FnOnce(Visit<'_>) -> Result<(), StoreError> + Send,
        mut add: impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<Found, E> {
        thread::scope(|scope| {
            let (send, made) = sync_channel(WAITING);
            let make = move || self.make(standings, &send);
            let maker = thread::Builder::new().name("rows".to_owned()).spawn_scoped(scope, make);
            let maker = maker.map_err(StoreError::from)?;
            for rows in made {
                rows.iter().try_for_each(&mut add)?;
            }
            // The last rows are the last only if it says so: sled may have given up.
            Ok(maker.join().unwrap_or_else(|_| Err(gave_up()))?)
        })
    }

    /// Sends all rows; says what else was found.
    fn make(
        &self,
        standings: impl FnOnce(Visit<'_>) -> Result<(), StoreError>,
        send: &SyncSender<Rows>,
    ) -> Result<Found, StoreError> {
        let (mut found, mut rows) = (Found::default(), Rows::default());
        let mut current = Verdicts::default();
        standings(&mut |key, scope, gist| {
            if current.key != key {
                self.finish(&current, &mut found, &mut rows);
                if rows.bytes() >= ROWS_BYTES {
                    send.send(std::mem::take(&mut rows)).map_err(|_| gave_up())?;
                }
                current.start(key);
            }
            self.weigh(&mut current, scope, gist, &mut found.ends);
            Ok(())
        })?;
        self.finish(&current, &mut found, &mut rows);
        send.send(rows).map_err(|_| gave_up())?;
        Ok(found)
    }

    /// Adds what follows from one standing of the address.
    fn weigh(&self, of: &mut Verdicts, scope: &Scope, gist: &Gist<'_>, ends: &mut Ends) {
        let filter = &self.settings.filter;
        let live = self.rules.verdict(gist, scope, filter, self.now);
        if let (None, Some(before)) = (&live, self.before) {
            weightiest(&mut of.ended, self.rules.verdict(gist, scope, filter, before));
        }
        if let Some(end) = live.and_then(|live| live.until.time()) {
            ends.add(end, &of.key);
        }
        if weightiest(&mut of.live, live) || of.live.is_none() {
            of.spelling.clear();
            of.spelling.push_str(gist.spelling(&of.key));
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
            self.weigh(&mut of, scope, &Gist::of(standing), ends);
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
        if let Some(live) = of.live {
            found.unfit += u64::from(!self.rows(of, live, rows));
        } else if let Some(ended) = of.ended {
            let before = rows.count();
            self.rows(of, ended, rows);
            found.expired += (rows.count() - before) as u64;
            rows.truncate(before);
        }
    }

    /// Asks the format for the rows of an address; says whether it can carry it.
    fn rows(&self, of: &Verdicts, verdict: Verdict, rows: &mut Rows) -> bool {
        let Some(at) = of.key.bytes().rposition(|byte| byte == b'@') else { return false };
        let (local, domain) = (&of.key[..at], &of.key[at + 1..]);
        let Verdict { reason, since, until } = verdict;
        let (spelling, style) = (of.spelling.as_str(), &self.settings.style);
        let entry = Entry { local, domain, spelling, reason, since, until, style };
        let before = rows.count();
        let fit = self.settings.format.rows(&entry, rows).is_ok();
        if !fit {
            rows.truncate(before);
        }
        fit
    }
}

fn gave_up() -> StoreError {
    StoreError::Damaged("a scan of the standings gave up".to_owned())
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
            manual("#x@x.test", Scope::Global, Until::Forever),
            manual("a@x.test", Scope::Global, Until::At(at(150))),
            test::standing("a@x.test", news(), Reason::Complaint, Until::At(at(140))),
            manual("b@x.test", Scope::Global, Until::At(at(100))),
            manual("c@x.test", Scope::Global, Until::At(at(90))),
            manual("d@x.test", Scope::Global, Until::At(at(99))),
            manual("d@x.test", news(), Until::Forever),
            manual("e@xn--bcher-kva.test", Scope::Global, Until::At(at(95))),
        ];
        let (rules, settings) = (Rules::default(), test::settings("/nowhere/file".as_ref()));
        let (rules, settings) = (&rules, &settings);
        let scan = Scan { rules, settings, now: at(100), before: Some(at(92)) };
        let mut rows = Vec::new();
        let add = |row: Row<'_>| {
            rows.push(format!("{} {}", row.key, row.value));
            Ok::<_, StoreError>(())
        };
        let found = scan.run(|each| test::visit(&standings, each), add).unwrap();
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
        let one = test::standing("a@x.test", Scope::Global, Reason::Manual, Until::Forever);
        let standings = |each: Visit<'_>| test::visit(&[one], each).and(Err(StoreError::NotReady));
        let (rules, settings) = (&Rules::default(), &test::settings("/nowhere/file".as_ref()));
        let scan = Scan { rules, settings, now: at(1), before: None };
        let ended = scan.run(standings, |_| Ok(()));
        assert_eq!(ended, Err(StoreError::NotReady));
    }
}
