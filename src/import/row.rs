//! A row of cells becomes rows of ours, by the shape of its list.

use std::ops::ControlFlow;

use super::cells::{Cells, plain};
use super::shapes::{self, ADDRESSES, Covers, Says, Shape};
use super::words::{Said, word};
use super::{Each, Format, Recognised, Refusal, Row, Told, Wanted, date, names, unfit};
use crate::model::bounds::{self, NOTE_BYTES_MAX};
use crate::model::trust::is_ahead;
use crate::model::{Address, Reason, Scope, Time};
use crate::provider::wire;

/// Before this no list was kept: it is the first second of 1990.
const EARLIEST: i64 = 631_152_000;

/// Why a row that says nothing is passed over.
pub(super) const NOT_SAID: &str = "it does not say that it is suppressed";
const CLEAR: &str = "it says that it is not suppressed";
const EXPIRED: &str = "it has expired";

/// Scopes of other services that leave nothing out.
const EVERYTHING: [&str; 5] = ["global", "account", "all", "organization", "organisation"];

/// What a spreadsheet would run as a formula has this before it.
const GUARD: char = '\'';

/// Reads the rows of one file.
pub(super) struct Reading<'w> {
    wanted: &'w Wanted,
    /// The columns of the last row, and what they were recognised as.
    known: Option<(Vec<String>, &'static Shape)>,
    is_told: bool,
}

/// What a cell of a row has made of it.
enum Stop {
    Passed(&'static str),
    Bad(String),
}

impl<'w> Reading<'w> {
    pub(super) fn new(wanted: &'w Wanted) -> Reading<'w> {
        Reading { wanted, known: None, is_told: false }
    }

    /// Reads a row.
    pub(super) fn row(
        &mut self,
        line: u64,
        cells: &Cells,
        each: Each<'_>,
    ) -> Result<ControlFlow<()>, Refusal> {
        let shape = self.shape(cells)?;
        if !std::mem::replace(&mut self.is_told, true)
            && each(Told::Recognised(recognised(shape, cells, self.wanted))).is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
        Ok(each(match self.rows(shape, cells) {
            Ok((rows, is_zoned)) => Told::Rows(line, rows, is_zoned),
            Err(Stop::Passed(why)) => Told::Passed(line, why),
            Err(Stop::Bad(why)) => Told::Bad(line, why),
        }))
    }

    /// The shape of the list that has these columns. Rows of JSON may leave some out.
    fn shape(&mut self, cells: &Cells) -> Result<&'static Shape, Refusal> {
        if let Some((names, shape)) = &self.known
            && *names == cells.names
        {
            return Ok(shape);
        }
        let shape = recognise(self.wanted, cells)?;
        self.check(shape)?;
        self.known = Some((cells.names.clone(), shape));
        Ok(shape)
    }

    /// Refuses what is no list of suppressions, or does not say which it is.
    fn check(&self, shape: &Shape) -> Result<(), Refusal> {
        let Shape { format, list, .. } = shape;
        match &shape.says {
            Says::Allowed => Err(unfit(format!(
                "it looks like {list} of {format}: those on it are to be mailed, not suppressed"
            ))),
            Says::FileName(_) if self.wanted.reason.is_some() => Ok(()),
            Says::FileName(parts) => match self.named(parts) {
                Some((_, Some(_))) => Ok(()),
                Some((part, None)) => Err(unfit(format!(
                    "it looks like {format}'s list of {list}, and its name says {part:?}: those on \
                     it are no suppressions; if they are to be, say why with `--reason`"
                ))),
                None => {
                    let known: Vec<&str> = parts.iter().map(|(part, _)| *part).collect();
                    Err(unfit(format!(
                        "it looks like {format}'s list of {list}, which only the file's name tells \
                         apart ({}): name it so, or say why with `--reason`",
                        known.join(", ")
                    )))
                }
            },
            _ => Ok(()),
        }
    }

    fn named(
        &self,
        parts: &'static [(&'static str, Option<Reason>)],
    ) -> Option<&'static (&'static str, Option<Reason>)> {
        parts.iter().find(|(part, _)| self.wanted.name.contains(part))
    }

    fn number_behind(&self, before: &str) -> Option<&str> {
        let (_, rest) = self.wanted.name.split_once(before)?;
        rest.split(|c: char| !c.is_ascii_digit()).next().filter(|number| !number.is_empty())
    }

    fn rows(&self, shape: &Shape, cells: &Cells) -> Result<(Vec<Row>, bool), Stop> {
        if cells.is_too_long {
            return Err(Stop::Bad("it has more cells than the header".to_owned()));
        }
        let address = address(shape, cells)?;
        let reason = self.reason(shape, cells)?;
        let (since, is_zoned) =
            self.time(shape.since, cells)?.map_or((None, true), |(at, z)| (Some(at), z));
        if since.is_some_and(|since| is_ahead(since, self.wanted.now)) {
            return Err(Stop::Bad("its time is in the future".to_owned()));
        }
        let until = self.time(shape.until, cells)?.map(|(until, _)| until);
        if until.is_some_and(|until| until.nanos() <= self.wanted.now.nanos()) {
            return Err(Stop::Passed(EXPIRED));
        }
        let note = note(shape, cells)?;
        let row = |scope| Row {
            address: address.received().to_owned(),
            scope,
            reason,
            since,
            until,
            note: note.clone(),
        };
        let rows: Vec<Row> = self.scopes(shape, cells, reason)?.into_iter().map(row).collect();
        Ok((rows, is_zoned))
    }

    fn reason(&self, shape: &Shape, cells: &Cells) -> Result<Reason, Stop> {
        if shape.only.is_some_and(|column| !cells.is_on(column)) {
            return Err(Stop::Passed(CLEAR));
        }
        let given = self.wanted.reason;
        let said = match &shape.says {
            Says::Always(reason) => Said::Reason(*reason),
            Says::By(by) => by(cells),
            Says::Word(columns) => words(columns, cells),
            Says::FileName(parts) => match self.named(parts) {
                Some((_, Some(reason))) => Said::Reason(*reason),
                _ => return given.ok_or(Stop::Passed(NOT_SAID)),
            },
            Says::Nothing | Says::Allowed => {
                // Who names the format `plain` says that it is a list to suppress.
                let by_hand = (self.wanted.format == Format::Plain).then_some(Reason::Manual);
                return given.or(by_hand).ok_or(Stop::Passed(NOT_SAID));
            }
        };
        match said {
            Said::Reason(reason) => Ok(reason),
            Said::Clear => Err(Stop::Passed(CLEAR)),
            Said::Soft(what) => given.ok_or(Stop::Passed(what)),
            Said::Unknown(text) if text.is_empty() => {
                given.ok_or_else(|| Stop::Bad("no reason stands in it: say `--reason`".to_owned()))
            }
            Said::Unknown(text) => given.ok_or_else(|| {
                let text = bounds::reason(&text);
                let hint = "if it suppresses, say why with `--reason`";
                Stop::Bad(format!("{text:?} is no reason that is known: {hint}"))
            }),
        }
    }

    fn time(&self, columns: &[&str], cells: &Cells) -> Result<Option<(Time, bool)>, Stop> {
        let Some((_, text)) = cells.first(columns) else { return Ok(None) };
        let dated = date::time(text, self.wanted.dates).map_err(Stop::Bad)?;
        if dated.time.second() < EARLIEST {
            return Err(Stop::Bad(format!("{text:?} is before 1990")));
        }
        Ok(Some((dated.time, dated.is_zoned)))
    }

    fn scopes(&self, shape: &Shape, cells: &Cells, reason: Reason) -> Result<Vec<Scope>, Stop> {
        let usual = || vec![self.wanted.scope.clone().unwrap_or_default()];
        let scopes = match shape.covers {
            Covers::All => usual(),
            Covers::By(by) => by(cells, reason),
            Covers::FileName(before) => match self.number_behind(before) {
                Some(number) if self.wanted.scope.is_none() => {
                    Scope::parse(&format!("stream:{number}")).into_iter().collect()
                }
                _ => usual(),
            },
            Covers::Stream(name) => match cells.get(name) {
                "" => usual(),
                text => Scope::parse(&format!("stream:{text}")).into_iter().collect(),
            },
            Covers::Scope(name) => vec![self.scope(name, cells)?],
        };
        if scopes.is_empty() {
            return Err(Stop::Bad("what it covers has no possible name".to_owned()));
        }
        Ok(scopes)
    }

    /// What is said in a column of scopes: in our words, or that it is everything. Of what else it
    /// may mean, only the operator can say what it covers.
    fn scope(&self, column: &str, cells: &Cells) -> Result<Scope, Stop> {
        let text = cells.get(column);
        let usual = self.wanted.scope.clone();
        if let Some(scope) = Scope::parse(text) {
            return Ok(scope);
        }
        if text.is_empty() || EVERYTHING.contains(&plain(text).as_str()) {
            return Ok(usual.unwrap_or_default());
        }
        usual.ok_or_else(|| {
            let hint = "say what such rows cover with `--scope`";
            Stop::Bad(format!(
                "its {column} {text:?} is neither `global` nor `stream:NAME`: {hint}"
            ))
        })
    }
}

fn words(columns: &[&str], cells: &Cells) -> Said {
    let filled = || columns.iter().map(|column| (*column, cells.get(column)));
    let known = filled().map(|(_, text)| word(text)).find(|s| !matches!(s, Said::Unknown(_)));
    known.unwrap_or_else(|| {
        match filled().find(|(_, text)| !text.is_empty()) {
            Some((_, text)) => Said::Unknown(text.to_owned()),
            // A contact of whom no status is told is one who is mailed.
            None if cells.has("status") && !cells.has("reason") => Said::Clear,
            None => Said::Unknown(String::new()),
        }
    })
}

fn address(shape: &Shape, cells: &Cells) -> Result<Address, Stop> {
    let Some((column, text)) = cells.first(shape.address) else {
        return Err(Stop::Bad("it has no address".to_owned()));
    };
    if !cells.is_whole(column) {
        return Err(Stop::Bad("its address is not UTF-8".to_owned()));
    }
    let guarded =
        |text: &&str| text.starts_with(['=', '+', '-', '@', GUARD, '＝', '＋', '－', '＠']);
    let text = text.strip_prefix(GUARD).filter(guarded).unwrap_or(text);
    let text = text.strip_prefix("mailto:").unwrap_or(text);
    if !text.contains(['@', '.']) || text.contains('/') {
        return Err(Stop::Bad("it is no address".to_owned()));
    }
    wire::listed(text).map_err(|error| Stop::Bad(error.to_string()))
}

/// What was said: ours as it is, another's as much as is worth keeping for good.
fn note(shape: &Shape, cells: &Cells) -> Result<Option<String>, Stop> {
    let Some((_, text)) = cells.first(shape.note) else { return Ok(None) };
    if shape.format != "suppressd" {
        return Ok(Some(bounds::reason(text)));
    }
    if text.len() > NOTE_BYTES_MAX {
        return Err(Stop::Bad(format!("its note is longer than {NOTE_BYTES_MAX} bytes")));
    }
    Ok(Some(text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()))
}

/// The first list that has these columns, of those that `admits` does.
fn listed_as(cells: &Cells, admits: impl Fn(&Shape) -> bool) -> Option<&'static Shape> {
    let has = |shape: &Shape| shape.has.iter().all(|name| cells.has(name));
    let fits = |shape: &&Shape| {
        admits(shape) && has(shape) && (!shape.is_exact || shape.has.len() == cells.names.len())
    };
    shapes::ALL.iter().find(fits)
}

fn recognise(wanted: &Wanted, cells: &Cells) -> Result<&'static Shape, Refusal> {
    let admits = |shape: &Shape| match wanted.format {
        Format::Of(format) => shape.format == format,
        _ => shape.named.is_empty() || shape.named.iter().any(|part| wanted.name.contains(part)),
    };
    if let Some(shape) = listed_as(cells, admits) {
        return Ok(shape);
    }
    if cells.names.len() == 1 && ADDRESSES.contains(&cells.names[0].as_str()) {
        return Ok(if cells.names[0] == "address" { &shapes::PLAIN } else { &shapes::CONTACTS });
    }
    if !ADDRESSES.iter().any(|name| cells.has(name)) {
        let known = cells.names.join(", ");
        return Err(unfit(format!("none of its columns is named as an address: {known}")));
    }
    let Says::Word(columns) = shapes::COLUMNS.says else { return Ok(&shapes::CONTACTS) };
    let says = columns.iter().any(|name| cells.has(name));
    Ok(if says { &shapes::COLUMNS } else { &shapes::CONTACTS })
}

/// What the columns of an import of Amazon's are called, which has no header.
const HEADERLESS: [&str; 2] = ["emailaddress", "reason"];

/// How each line of Amazon's own program begins where it writes text, and what follows.
const OF_AWS: &str = "suppresseddestinationsummaries";
const AWS_COLUMNS: [&str; 4] = [OF_AWS, "emailaddress", "lastupdatetime", "reason"];

/// The names of the columns, by the first record, and whether that is a header.
pub(super) fn header(record: &[Vec<u8>]) -> Result<(Vec<String>, bool), Refusal> {
    let texts: Vec<_> = record.iter().map(|cell| super::lines::text(cell).0).collect();
    let is_address: Vec<bool> = texts.iter().map(|text| wire::listed(text).is_ok()).collect();
    let names = names(record);
    if !is_address.contains(&true) && names.iter().any(|n| ADDRESSES.contains(&n.as_str())) {
        return Ok((names, true));
    }
    if record.len() == AWS_COLUMNS.len() && names[0] == OF_AWS && is_address[1] {
        return Ok((AWS_COLUMNS.map(str::to_owned).to_vec(), false));
    }
    if record.len() == 1 {
        return Ok((vec!["address".to_owned()], false));
    }
    let is_import = record.len() == 2
        && is_address == [true, false]
        && matches!(word(&texts[1]), Said::Reason(_));
    if is_import {
        return Ok((HEADERLESS.map(str::to_owned).to_vec(), false));
    }
    Err(unfit(
        "its first row names no column of addresses: it needs a header such as address,reason",
    ))
}

fn recognised(shape: &'static Shape, cells: &Cells, wanted: &Wanted) -> Recognised {
    let mut by = match shape.has {
        [] => format!("its columns {}", cells.names.join(", ")),
        has => format!("the columns {}", has.join(", ")),
    };
    let like = listed_as(cells, |_| wanted.format == Format::Auto && shape.has.is_empty());
    if let Some(Shape { format, list, .. }) = like {
        by = format!("{by}; if it is {format}'s list of {list}, say `--format {format}`");
    }
    Recognised { format: shape.format, list: shape.list, by }
}
