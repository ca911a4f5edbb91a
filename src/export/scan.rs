//! From the store's standings to an export's rows, in one pass.
//!
//! Pure but for what it reads and the threads that do it: no files, no clock. Merges the scopes
//! of an address into one verdict, unless the format tells them apart, and notes what the next
//! writing and the guard must know.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Builder};

use super::guard::Keys;
use super::rows::Edits;
use super::{Entry, Row, Rows, Settings, Table};
use crate::ends::Ends;
use crate::forgotten::Forgotten;
use crate::model::{Filter, Gist, Reason, Scope, Standing, Time, Until};
use crate::niceness::give_way;
use crate::rules::{Rules, Verdict};
use crate::store::{StoreError, Visit};

/// What a scan finds beside the rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Suppressed addresses that the format cannot carry.
    pub unfit: u64,
    /// The keys of rows that are gone for a reason: they have ended since the last publication,
    /// were lifted, or are let go by other rules.
    pub gone: Keys,
    /// When the live suppressions end.
    pub ends: Ends,
}

/// Bytes of addresses that are handed over at once, and how many hands full may wait.
const BATCH_BYTES: usize = 128 << 10;
const WAITING: usize = 4;

/// How much a whole scan gives way to those that answer senders, while cores are short: as the
/// applier does, which would stand still behind it.
const NICENESS: i32 = 5;

/// One pass.
pub struct Scan<'a> {
    /// What makes verdicts.
    pub rules: &'a Rules,
    /// The export.
    pub settings: &'a Settings,
    /// Who was forgotten: of them there are hashes at most.
    pub forgotten: &'a Forgotten,
    /// As of when.
    pub now: Time,
    /// When the present file was made, if what is gone is to be explained.
    pub before: Option<Time>,
    /// The rules by which it was made, if those are others: what these let go, somebody meant to.
    pub past: Option<&'a Rules>,
}

/// Of one address, or one of its scopes: the weightiest verdict now, and the one when the file was
/// made.
#[derive(Default)]
struct Verdicts {
    key: String,
    /// Of which scope, where the format tells them apart.
    scope: Scope,
    spelling: String,
    live: Option<Verdict>,
    ended: Option<Verdict>,
}

impl Verdicts {
    fn address(&self) -> Row<'_> {
        Row { key: &self.key, value: &self.spelling }
    }

    /// Goes on with another address, or another of its scopes.
    fn start(&mut self, key: &str, scope: Option<&Scope>) {
        self.key.clear();
        self.key.push_str(key);
        self.scope = scope.cloned().unwrap_or_default();
        (self.live, self.ended) = (None, None);
    }
}

/// Addresses that are judged, in their order.
#[derive(Default)]
struct Judged {
    /// The keys of addresses, and how these are spelled.
    addresses: Rows,
    /// The verdict on each, and whether it is live. One that is not has ended since the file was
    /// made.
    verdicts: Vec<(Scope, Verdict, bool)>,
}

impl Judged {
    fn add(&mut self, of: &Verdicts) {
        if let Some(verdict) = of.live.or(of.ended) {
            let Row { key, value: spelling } = of.address();
            self.addresses.add(&[key], &[spelling]);
            self.verdicts.push((of.scope.clone(), verdict, of.live.is_some()));
        }
    }
}

impl Scan<'_> {
    /// Calls `add` with each row, in the order of the standings. One thread reads and judges these,
    /// another makes the rows, while those before are added.
    ///
    /// # Errors
    /// When the store cannot answer, or `add` fails.
    pub fn run<E: From<StoreError>>(
        &self,
        standings: impl FnOnce(Visit<'_>) -> Result<(), StoreError> + Send,
        mut add: impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<Found, E> {
        thread::scope(|scope| {
            let (send_judged, judged) = sync_channel(WAITING);
            let (send_rows, made) = sync_channel(WAITING);
            let judge = move || {
                give_way(NICENESS);
                self.judge(standings, &send_judged)
            };
            let judge = Builder::new().name("judge".to_owned()).spawn_scoped(scope, judge);
            let make = move || {
                give_way(NICENESS);
                self.make(judged, &send_rows)
            };
            let maker = Builder::new().name("rows".to_owned()).spawn_scoped(scope, make);
            let (judge, maker) =
                (judge.map_err(StoreError::from)?, maker.map_err(StoreError::from)?);
            for rows in made {
                rows.iter().try_for_each(&mut add)?;
            }
            let kept = self.kept(|hash, filter| self.forgotten.rows(hash, filter, self.now));
            kept.iter().try_for_each(&mut add)?;
            let mut found = maker.join().map_err(|_| gave_up())?;
            if self.before.is_some() {
                let over = self.kept(|hash, _| self.forgotten.rows_let_go(hash, self.now));
                over.iter().for_each(|row| found.gone.add(row.key));
            }
            // The last rows are the last only if it says so: sled may have given up.
            let mut ends = judge.join().unwrap_or_else(|_| Err(gave_up()))?;
            self.note_end_of_kept(&mut ends);
            Ok(Found { ends, ..found })
        })
    }

    /// Sends the verdicts on all addresses that have one; says when they end.
    fn judge(
        &self,
        standings: impl FnOnce(Visit<'_>) -> Result<(), StoreError>,
        send: &SyncSender<Judged>,
    ) -> Result<Ends, StoreError> {
        let mut ends = Ends::default();
        let (mut current, mut judged) = (Verdicts::default(), Judged::default());
        let by_scope = self.settings.format.is_by_scope();
        standings(&mut |key, scope, gist| {
            if by_scope || current.key != key {
                judged.add(&current);
                if judged.addresses.bytes() >= BATCH_BYTES {
                    send.send(std::mem::take(&mut judged)).map_err(|_| gave_up())?;
                }
                current.start(key, by_scope.then_some(scope));
            }
            self.weigh(&mut current, scope, gist, &mut ends);
            Ok(())
        })?;
        judged.add(&current);
        send.send(judged).map_err(|_| gave_up())?;
        Ok(ends)
    }

    /// Sends the rows of all that is judged; says what else was found. Ends early when nobody
    /// takes them any more.
    fn make(&self, judged: Receiver<Judged>, send: &SyncSender<Rows>) -> Found {
        let mut found = Found::default();
        for judged in judged {
            let mut rows = Rows::default();
            let Judged { addresses, verdicts } = judged;
            for (address, (scope, verdict, is_live)) in addresses.iter().zip(verdicts) {
                self.finish((address, &scope), verdict, is_live, &mut found, &mut rows);
            }
            if send.send(rows).is_err() {
                break;
            }
        }
        found
    }

    /// Adds what follows from one standing of the address.
    fn weigh(&self, of: &mut Verdicts, scope: &Scope, gist: &Gist<'_>, ends: &mut Ends) {
        let filter = &self.settings.filter;
        let is_forgotten = self.forgotten.is_everywhere(&of.key);
        let live = match is_forgotten {
            true => None,
            false => self.rules.verdict(&of.key, gist, scope, filter, self.now),
        };
        if let (None, Some(before)) = (&live, self.before) {
            let rules = self.rules;
            for rules in [Some(rules), self.past].into_iter().flatten() {
                weightiest(&mut of.ended, rules.verdict(&of.key, gist, scope, filter, before));
            }
            let is_let_go = is_forgotten || is_lifted(gist) || rules.never.has(&of.key);
            if is_let_go && filter.admits_scope(scope) {
                weightiest(&mut of.ended, Some(self.any()));
            }
        }
        if let Some(end) = live.and_then(|live| live.until.time()) {
            ends.add(end, &of.key);
        }
        if weightiest(&mut of.live, live) || of.live.is_none() {
            of.spelling.clear();
            of.spelling.push_str(gist.spelling());
        }
    }

    /// Whether one address is to be in the file, and the rows that it has there then. `None`: the
    /// format cannot carry it.
    pub(super) fn look(&self, key: &str, standings: &[(Scope, Standing)]) -> (bool, Option<Rows>) {
        let kept = self.kept_of(key);
        if kept.count() > 0 {
            return (true, Some(kept));
        }
        let (mut live, mut others, mut fit) = (Rows::default(), Rows::default(), true);
        let mut wanted = false;
        for of in self.verdicts_of(key, standings, &mut Ends::default()) {
            let into = if of.live.is_some() { &mut live } else { &mut others };
            fit &= self.rows((of.address(), &of.scope), of.live.unwrap_or(self.any()), into);
            wanted |= of.live.is_some();
        }
        (wanted, fit.then_some(if wanted { live } else { others }))
    }

    /// The verdicts on one address: one, or one for each scope of which anything is known.
    fn verdicts_of(
        &self,
        key: &str,
        standings: &[(Scope, Standing)],
        ends: &mut Ends,
    ) -> Vec<Verdicts> {
        let by_scope = self.settings.format.is_by_scope() && !standings.is_empty();
        let start = |scope: &Scope| {
            let (key, spelling) = (key.to_owned(), key.to_owned());
            Verdicts { key, spelling, scope: scope.clone(), ..Verdicts::default() }
        };
        let mut all = Vec::new();
        for (scope, standing) in standings {
            if by_scope || all.is_empty() {
                all.push(start(if by_scope { scope } else { &Scope::Global }));
            }
            let of = all.last_mut();
            of.into_iter().for_each(|of| self.weigh(of, scope, &Gist::of(standing), ends));
        }
        if all.is_empty() {
            all.push(start(&Scope::Global));
        }
        all
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
        let kept = self.kept_of(key);
        if kept.count() > 0 {
            kept.iter().for_each(|row| edits.puts.add(&[row.key], &[row.value]));
            self.note_end_of_kept(ends);
            return Some(());
        }
        if standings.is_empty() && self.settings.format.is_by_scope() {
            // Which rows it had, its standings would tell.
            return None;
        }
        let mut all_fit = true;
        for of in self.verdicts_of(key, standings, ends) {
            // An address of other letters has other rows for each way to spell it.
            if !of.spelling.is_ascii() && self.settings.style.table == Table::Text {
                return None;
            }
            let live = of.live.is_some();
            let ended = of.ended.is_some() || self.forgotten.has(key);
            let mut rows = Rows::default();
            let verdict = of.live.unwrap_or(self.any());
            all_fit &= self.rows((of.address(), &of.scope), verdict, &mut rows);
            let into = if live { &mut edits.puts } else { &mut edits.deletes };
            // While rows are held back, none goes that nobody can explain.
            if live || ended || self.before.is_none() {
                rows.iter().for_each(|row| into.add(&[row.key], &[row.value]));
            }
        }
        all_fit.then_some(())
    }

    /// The rows of somebody who was forgotten, where the format has hashes.
    fn kept_of(&self, key: &str) -> Rows {
        self.kept(|hash, filter| self.forgotten.rows_of(key, hash, filter, self.now))
    }

    fn kept(&self, rows: impl Fn(&str, &Filter) -> Vec<String>) -> Rows {
        let Settings { format, style, filter, .. } = self.settings;
        let mut kept = Rows::default();
        if format.hashes() {
            rows(style.hash.name(), filter).iter().for_each(|key| kept.add(&[key], &[]));
        }
        kept
    }

    /// Whose the rows of the forgotten are cannot be told: when one ends, all are looked at.
    fn note_end_of_kept(&self, ends: &mut Ends) {
        let Settings { format, style, filter, .. } = self.settings;
        let end = self.forgotten.next_end(style.hash.name(), filter, self.now);
        end.filter(|_| format.hashes()).into_iter().for_each(|end| ends.more_from(end));
    }

    /// A verdict for keys alone: these do not depend on why an address is suppressed.
    fn any(&self) -> Verdict {
        Verdict { reason: Reason::Manual, since: self.now, until: Until::Forever }
    }

    /// Makes the rows of an address, if they are to be, or notes them as gone.
    fn finish(
        &self,
        address: (Row<'_>, &Scope),
        verdict: Verdict,
        is_live: bool,
        found: &mut Found,
        rows: &mut Rows,
    ) {
        let before = rows.count();
        let fit = self.rows(address, verdict, rows);
        if is_live {
            found.unfit += u64::from(!fit);
        } else {
            rows.iter().skip(before).for_each(|row| found.gone.add(row.key));
            rows.truncate(before);
        }
    }

    /// Asks the format for the rows of an address, its key with how it is spelled; says whether it
    /// can carry it.
    fn rows(&self, address: (Row<'_>, &Scope), verdict: Verdict, rows: &mut Rows) -> bool {
        let (Row { key, value: spelling }, scope) = address;
        let Some(at) = key.bytes().rposition(|byte| byte == b'@') else { return false };
        let (local, domain) = (&key[..at], &key[at + 1..]);
        let Verdict { reason, since, until } = verdict;
        let style = &self.settings.style;
        let entry = Entry { local, domain, spelling, scope, reason, since, until, style };
        let before = rows.count();
        let fit = self.settings.format.rows(&entry, rows).is_ok();
        if !fit {
            rows.truncate(before);
        }
        fit
    }
}

/// Whether somebody has said of an address that it is no longer suppressed: an operator, a
/// provider, or a delivery after soft bounces.
fn is_lifted(gist: &Gist<'_>) -> bool {
    let Gist::Whole(standing) = gist else { return false };
    let soft = !standing.soft().is_empty() || !standing.blocked().is_empty();
    standing.lifts().next().is_some() || soft && standing.delivered().is_some()
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
        let (rules, settings, forgotten) = (&rules, &settings, &Forgotten::nobody());
        let (now, before) = (at(100), Some(at(92)));
        let scan = Scan { rules, settings, forgotten, now, before, past: None };
        let mut rows = Vec::new();
        let add = |row: Row<'_>| {
            rows.push(format!("{} {}", row.key, row.value));
            Ok::<_, StoreError>(())
        };
        let found = scan.run(|each| test::visit(&standings, each), add).unwrap();
        assert_eq!(
            rows,
            ["a@x.test 550 5.7.1 suppressed: complaint", "d@x.test 550 5.7.1 suppressed: manual"]
        );
        assert_eq!(found.unfit, 1);
        assert_eq!(found.gone.count(), 3, "b, and e in both forms; c had ended before");
        assert_eq!(found.ends.next().map(Time::nanos), Some(at(140).nanos()));
    }

    #[test]
    fn an_error_ends_the_scan() {
        let one = test::standing("a@x.test", Scope::Global, Reason::Manual, Until::Forever);
        let standings = |each: Visit<'_>| test::visit(&[one], each).and(Err(StoreError::NotReady));
        let (rules, settings) = (&Rules::default(), &test::settings("/nowhere/file".as_ref()));
        let forgotten = &Forgotten::nobody();
        let scan = Scan { rules, settings, forgotten, now: at(1), before: None, past: None };
        let ended = scan.run(standings, |_| Ok(()));
        assert_eq!(ended, Err(StoreError::NotReady));
    }
}
