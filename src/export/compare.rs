//! Compares an export's file with what the store would have it hold. Changes nothing.
//!
//! Blocking. Rows are told apart by hashes of 32 bits, so that millions take little memory: a
//! difference is missed once in some billion times, and only until the next writing.

use std::collections::BTreeSet;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::file::{self, modified};
use super::handle::{Entry, Exports, Status};
use super::scan::Scan;
use super::table::{Digest, Listed, is_damage, kind};
use super::whole::{is_held, noted};
use super::write::Source;
use super::{Row, Rows, Settings};
use crate::forgotten::Forgotten;
use crate::model::{Checked, Time};
use crate::rules::Rules;
use crate::store::{Standings, StoreError};

const EXPORT: &str = "export";
/// Longest wait for a difference to go: a file may trail the store by `min_interval`.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Shortest: a change takes less on an idle host.
const WAIT_MIN: Duration = Duration::from_secs(2);

/// A row: the hash of its key, and that of all of it.
type Hashed = (u32, u32);

/// The rows that differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Differences {
    /// How many rows the file has.
    rows: u64,
    /// The file has them, and the store does not say so.
    more: BTreeSet<Hashed>,
    /// The file is without them.
    missing: BTreeSet<Hashed>,
    /// The file has them, and they say something else.
    other: BTreeSet<Hashed>,
}

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// The file has these rows and no others.
    Same(u64),
    Differs(Differences),
    /// It is no file, not of this kind, or damaged.
    Foreign(String),
}

/// Why there was no comparison.
#[derive(Debug, thiserror::Error)]
pub(super) enum CompareError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    File(#[from] io::Error),
}

impl Differences {
    fn of(mut store: Vec<Hashed>, file: &[Hashed]) -> Differences {
        store.sort_unstable();
        let rows = file.len() as u64;
        let mut found = Differences { rows, ..Differences::default() };
        let keys: BTreeSet<u32> = file.iter().map(|(key, _)| *key).collect();
        for row in file {
            let at = store.partition_point(|(key, _)| *key < row.0);
            match store.get(at) {
                Some((key, _)) if *key == row.0 => {
                    // Of several with one key the file has one.
                    if store.binary_search(row).is_err() {
                        found.other.insert(*row);
                    }
                }
                _ => {
                    found.more.insert(*row);
                }
            }
        }
        let missing = store.into_iter().filter(|(key, _)| !keys.contains(key));
        found.missing.extend(missing.map(|(key, _)| (key, key)));
        found
    }

    /// Those that another comparison has found too.
    fn and(self, again: &Differences) -> Differences {
        let both = |one: &BTreeSet<Hashed>, two: &BTreeSet<Hashed>| one & two;
        Differences {
            rows: again.rows,
            more: both(&self.more, &again.more),
            missing: both(&self.missing, &again.missing),
            other: both(&self.other, &again.other),
        }
    }

    fn is_empty(&self) -> bool {
        self.more.is_empty() && self.missing.is_empty() && self.other.is_empty()
    }
}

/// Compares the file with what follows from the standings at `now`.
pub(super) fn compare(
    settings: &Settings,
    (rules, forgotten): (&Rules, &Forgotten),
    now: Time,
    standings: &Standings<'_>,
) -> Result<Compared, CompareError> {
    let foreign = |why: String| Ok(Compared::Foreign(why));
    let file = match file::read(&settings.path) {
        Ok(file) => file,
        Err(error) => return foreign(error.to_string()),
    };
    let mut held = Digest::default();
    let listed = rows_of(settings, &file, &mut |row| held.add(row))?;
    match kind(settings.style.table).check(&file) {
        Err(error) if is_damage(&error) => {
            return foreign("it is damaged: who reads it does not find all of its rows".to_owned());
        }
        checked => checked?,
    }
    let mut others = Vec::new();
    if let Listed::Other(lines) = listed {
        let shape = settings.format.shape();
        let may_stay = kind(settings.style.table).lines(&file, shape, &mut |line| {
            // The same line may come twice.
            let (number, mut row) = (others.len().to_string(), Rows::default());
            row.add_line(line);
            others.extend(row.iter().map(|row| hashed(Row { value: &number, ..row })));
        })?;
        if !may_stay {
            return foreign(format!("it has {lines} lines, and not all are rows of this format"));
        }
    }
    let mut wanted = Digest::default();
    let scan = Scan { rules, settings, forgotten, now, before: None, past: None };
    scan.run(standings, |row| {
        wanted.add(row);
        Ok::<_, StoreError>(())
    })?;
    if held == wanted && others.is_empty() {
        return Ok(Compared::Same(held.rows));
    }
    let (mut store, mut rows) = (Vec::new(), others);
    scan.run(standings, |row| {
        store.push(hashed(row));
        Ok::<_, StoreError>(())
    })?;
    rows_of(settings, &file, &mut |row| rows.push(hashed(row)))?;
    let found = Differences::of(store, &rows);
    Ok(if found.is_empty() { Compared::Same(found.rows) } else { Compared::Differs(found) })
}

fn rows_of(settings: &Settings, file: &File, each: &mut dyn FnMut(Row<'_>)) -> io::Result<Listed> {
    let (style, format) = (&settings.style, settings.format);
    kind(style.table).rows(file, format.shape(), &mut |row| {
        each(row);
        Ok(())
    })
}

fn hashed(row: Row<'_>) -> Hashed {
    let mut hasher = DefaultHasher::new();
    row.key.hash(&mut hasher);
    let key = hasher.finish() as u32;
    row.value.hash(&mut hasher);
    (key, hasher.finish() as u32)
}

/// Why a file may differ from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Excuse {
    /// Rows are kept that the store does not have.
    Held,
    /// It is about to be written, when `min_interval` has passed.
    Due,
}

/// What `verify` says of it.
fn told(
    settings: &Settings,
    compared: Result<Compared, CompareError>,
    excuse: Option<Excuse>,
    lost: u64,
) -> Checked {
    let (path, name) = (&settings.path, &settings.name);
    let well = |detail: String| Checked::well(EXPORT, path, detail).at(name);
    let ill = |problem: String| {
        let consequence = "the MTA that reads it may send where it should not, or refuse too much";
        let hint = "see who else writes to the file; `suppressd export`, or a start, mends it, but \
                    one that is held back, or left as it is, only `suppressd export NAME --force`";
        Checked::ill(EXPORT, path, problem, consequence, hint).at(name)
    };
    if lost > 0 {
        let problem = format!("{lost} rows that were held back are gone from it");
        let consequence = "the MTA that reads it sends to them again";
        let hint = "import them from a backup, then accept it with `suppressd export NAME --force`";
        return Checked::ill(EXPORT, path, problem, consequence, hint).at(name);
    }
    match compared {
        // What the store has suffered is told as that of the store.
        Err(CompareError::Store(error)) => well(format!("not compared: {error}")),
        Err(CompareError::File(error)) => ill(format!("it cannot be read: {error}")),
        Ok(Compared::Same(rows)) => well(format!("{rows} rows, as the store has")),
        Ok(Compared::Foreign(why)) => ill(why),
        Ok(Compared::Differs(found)) => {
            let [more, missing, other] =
                [&found.more, &found.missing, &found.other].map(BTreeSet::len);
            match excuse {
                Some(Excuse::Held) if missing == 0 && other == 0 => {
                    return well(format!("{more} rows are held back, the rest is as in the store"));
                }
                Some(Excuse::Due) => {
                    let rows = more + missing + other;
                    return well(format!("{rows} rows trail the store, within `min_interval`"));
                }
                _ => {}
            }
            ill(format!(
                "the store does not justify {more} of its rows, {missing} are missing, and {other} \
                 say something else"
            ))
        }
    }
}

/// Compares the files of exports with a store that nobody has open. Each is compared as of when it
/// was written last: what has ended since is taken out at the next start.
pub fn verify_stopped(
    exports: &[Settings],
    by: (&Rules, &Forgotten),
    now: Time,
    standings: &Standings<'_>,
) -> Vec<Checked> {
    let one = |settings: &Settings| {
        let made = modified(&settings.path).map_or(now, |made| made.min(now));
        let excuse = is_held(&settings.path).then_some(Excuse::Held);
        let compared = compare(settings, by, made, standings);
        let lost = compared.as_ref().map_or(0, |compared| lost(&settings.path, compared));
        told(settings, compared, excuse, lost)
    };
    exports.iter().map(one).collect()
}

/// How many of the rows that a stop left held back are not in the file any more.
fn lost(path: &Path, compared: &Compared) -> u64 {
    let there = match compared {
        Compared::Same(_) => 0,
        Compared::Differs(found) => found.more.len() as u64,
        // That is told.
        Compared::Foreign(_) => return 0,
    };
    noted(path).map_or(0, |(held, lost)| lost + held.saturating_sub(there))
}

/// What says of each export that it was not compared.
pub fn not_compared(state: &Path, why: &str) -> Checked {
    Checked::well(EXPORT, state, format!("not compared: {why}"))
}

impl Exports {
    /// Compares the files with the store, while both change: only what differs twice does.
    pub async fn verify(&self) -> Vec<Checked> {
        let mut first = Vec::new();
        for entry in self.list.iter() {
            first.push((entry, entry.compare(&self.world.source).await));
        }
        let differ = first.iter().filter(|(_, found)| !matches!(found, Ok(Compared::Same(_))));
        let trails = differ.map(|(entry, _)| 2 * entry.settings.min_interval).max();
        if let Some(trails) = trails {
            tokio::time::sleep(trails.clamp(WAIT_MIN, WAIT_MAX)).await;
        }
        let mut rows = Vec::new();
        for (entry, found) in first {
            let found = match found {
                Ok(Compared::Same(_)) => found,
                found => twice(found, entry.compare(&self.world.source).await),
            };
            let status: Status = entry.status.borrow().clone();
            let excuse = match status {
                Status { held_back: Some(_), .. } => Some(Excuse::Held),
                Status { pending: true, error: None, .. } => Some(Excuse::Due),
                _ => None,
            };
            rows.push(told(&entry.settings, found, excuse, entry.status.borrow().lost_rows));
        }
        rows
    }
}

impl Entry {
    async fn compare(&self, source: &Source) -> Result<Compared, CompareError> {
        let (settings, source, now) = (Arc::clone(&self.settings), source.clone(), (self.now)());
        let look = move || {
            let by = (&*source.rules.get(), &*source.forgotten);
            compare(&settings, by, now, &*source.standings)
        };
        let looked = tokio::task::spawn_blocking(look).await;
        looked.unwrap_or_else(|error| Err(io::Error::other(error).into()))
    }
}

/// What two comparisons have found.
fn twice(
    one: Result<Compared, CompareError>,
    two: Result<Compared, CompareError>,
) -> Result<Compared, CompareError> {
    let (Ok(Compared::Differs(one)), Ok(Compared::Differs(two))) = (one, &two) else { return two };
    let both = one.and(two);
    Ok(if both.is_empty() { Compared::Same(two.rows) } else { Compared::Differs(both) })
}

#[cfg(test)]
mod tests {
    use super::super::guard::Guard;
    use super::super::publish::Publication;
    use super::super::test::{self, standing};
    use super::super::{ALL, Table};
    use super::*;
    use crate::model::{Reason, Scope, Until};
    use crate::store::{StandingRow, Visit};

    fn rows(names: &[&str]) -> Vec<StandingRow> {
        let row = |name: &&str| {
            let address = format!("{name}@x.test");
            standing(&address, Scope::Global, Reason::Complaint, Until::Forever)
        };
        names.iter().map(row).collect()
    }

    /// Writes what the one has, and compares it with the other.
    fn compared(settings: &Settings, written: &[&str], then: &[&str]) -> Compared {
        let (now, rules) = (Time::from_seconds(9), Rules::default());
        let (written, then) = (rows(written), rows(then));
        let mut publication = Publication::begin(settings).unwrap();
        let nobody = Forgotten::nobody();
        let (rules, forgotten) = (&rules, &nobody);
        let scan = Scan { rules, settings, forgotten, now, before: None, past: None };
        scan.run(|each| test::visit(&written, each), |row| publication.add(row)).unwrap();
        let guard = Guard { force: true, ..Guard::new(0) };
        publication.finish(&guard).unwrap();
        compare(settings, (rules, forgotten), now, &|each: Visit<'_>| test::visit(&then, each))
            .unwrap()
    }

    fn counts(compared: Compared) -> [usize; 3] {
        match compared {
            Compared::Same(_) => [0; 3],
            Compared::Differs(found) => {
                [&found.more, &found.missing, &found.other].map(BTreeSet::len)
            }
            Compared::Foreign(why) => panic!("{why}"),
        }
    }

    #[test]
    fn every_difference_is_found_in_every_format_and_table() {
        let directory = tempfile::tempdir().unwrap();
        for format in ALL {
            for table in [Table::Text, Table::Lmdb, Table::Cdb] {
                if !format.tables().contains(&table) {
                    continue;
                }
                let name = format!("{} {}", format.name(), table.as_str());
                let path = directory.path().join(name.replace(' ', "-"));
                let style = test::style_in(*format, table);
                let settings = Settings { format: *format, style, ..test::settings(&path) };
                let check = |written, then| counts(compared(&settings, written, then));
                assert_eq!(check(&["a", "b", "c"], &["a", "b", "c"]), [0; 3], "{name}");
                let [more, missing, _] = check(&["a", "b", "c"], &["a", "b"]);
                assert!(more >= 1 && missing == 0, "{name}");
                let [more, missing, _] = check(&["a", "b"], &["a", "b", "d"]);
                assert!(more == 0 && missing >= 1, "{name}");
            }
        }
    }

    #[test]
    fn what_is_no_table_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access");
        let settings = test::settings(&path);
        let look = || {
            let one = rows(&["a"]);
            let standings = |each: Visit<'_>| test::visit(&one, each);
            compare(
                &settings,
                (&Rules::default(), &Forgotten::nobody()),
                Time::from_seconds(9),
                &standings,
            )
            .unwrap()
        };
        assert!(matches!(look(), Compared::Foreign(_)), "it is missing");
        std::fs::write(&path, "no row\n").unwrap();
        assert_eq!(counts(look()), [1, 1, 0]);
        // It is left as it is: nothing else writes it.
        let hint = told(&settings, Ok(look()), None, 0).hint.unwrap();
        assert!(hint.contains("left as it is, only `suppressd export NAME --force`"), "{hint}");
        std::fs::write(&path, b"\xff\n").unwrap();
        assert!(matches!(look(), Compared::Foreign(_)), "it is no text");
        std::fs::write(&path, "a@x.test\t550 something else\n").unwrap();
        assert_eq!(counts(look()), [0, 0, 1]);
    }

    #[test]
    fn only_what_differs_twice_does() {
        let found = |more: &[u32]| {
            let more = more.iter().map(|key| (*key, *key)).collect();
            Ok(Compared::Differs(Differences { rows: 7, more, ..Differences::default() }))
        };
        assert_eq!(twice(found(&[1]), found(&[2])).unwrap(), Compared::Same(7));
        assert_eq!(counts(twice(found(&[1, 2]), found(&[2])).unwrap()), [1, 0, 0]);
        assert_eq!(twice(found(&[1]), Ok(Compared::Same(3))).unwrap(), Compared::Same(3));
    }
}
