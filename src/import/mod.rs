//! Files that people bring: what other services and we ourselves export, read row by row.
//!
//! Pure but for the reader it is given, and of constant memory. Columns are found by name, never
//! by position, and what is no list of suppressions is not taken for one. Never decides what is
//! done with a row.

mod cells;
mod count;
mod date;
mod lines;
mod particular;
mod records;
mod row;
mod scanner;
mod shapes;
mod words;

use std::io::{self, BufRead, Read};
use std::ops::ControlFlow;

use serde_json::Value;

use cells::{Cells, plain};
use lines::Lines;
use records::{Got, Records};
use row::Reading;
use scanner::{Piece, Scanner};

pub use count::Count;
pub use date::DateOrder;

use crate::model::{Reason, Scope, Time};

/// What kind of file it is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Whatever it looks like.
    Auto,
    /// Separated columns, with any names.
    Csv,
    /// JSON, with any names.
    JsonLines,
    /// An address a line.
    Plain,
    /// A list of this service, or of ours.
    Of(&'static str),
}

/// Every format by its name on the command line.
pub const FORMATS: &[(&str, Format)] = &[
    ("auto", Format::Auto),
    ("csv", Format::Csv),
    ("json-lines", Format::JsonLines),
    ("plain", Format::Plain),
    ("sendgrid", Format::Of("sendgrid")),
    ("mailgun", Format::Of("mailgun")),
    ("postmark", Format::Of("postmark")),
    ("ses", Format::Of("ses")),
    ("brevo", Format::Of("brevo")),
    ("sparkpost", Format::Of("sparkpost")),
    ("mandrill", Format::Of("mandrill")),
    ("mailjet", Format::Of("mailjet")),
    ("suppressd", Format::Of("suppressd")),
];

/// What is wanted of a file, and known of it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What it is said to be.
    pub format: Format,
    /// The reason of rows that say none.
    pub reason: Option<Reason>,
    /// The scope of rows that say none.
    pub scope: Option<Scope>,
    /// What comes first in `01/02/2026`.
    pub dates: Option<DateOrder>,
    /// The file's name, in lower case: it may tell what the columns do not.
    pub name: String,
    /// The present.
    pub now: Time,
}

/// A row that suppresses an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The address, as it is spelled there.
    pub address: String,
    /// What it covers.
    pub scope: Scope,
    /// Why.
    pub reason: Reason,
    /// Since when, if that is told.
    pub since: Option<Time>,
    /// Until when, if it ends.
    pub until: Option<Time>,
    /// What was said about it, in a line.
    pub note: Option<String>,
}

/// As what a file was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recognised {
    /// The format.
    pub format: &'static str,
    /// Which list of it.
    pub list: &'static str,
    /// By which columns, or by what else.
    pub by: String,
}

/// What is told of a file while it is read. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// What it is, before its first row.
    Recognised(Recognised),
    /// A row, which may count for several scopes, and whether its time had a zone.
    Rows(u64, Vec<Row>, bool),
    /// A row that suppresses nobody, and why.
    Passed(u64, &'static str),
    /// A row that cannot be read, and why.
    Bad(u64, String),
    /// From this line on nothing can be read, and why.
    Lost(u64, &'static str),
    /// It is a part of a list, by this sign.
    Part(&'static str),
}

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is not what it must be; says what to do.
    #[error("{0}")]
    Unfit(String),
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Where what is told goes; `Break` ends the reading.
type Each<'e> = &'e mut dyn FnMut(Told) -> ControlFlow<()>;

/// Bytes that are looked at to tell JSON from lines.
const HEAD_BYTES: u64 = 64 << 10;

/// Reads a file.
///
/// # Errors
/// When it is no list of suppressions, or cannot be read.
pub fn read(input: impl Read, wanted: &Wanted, each: Each<'_>) -> Result<(), Refusal> {
    let mut input = lines::decoded(io::BufReader::with_capacity(1 << 18, input))?;
    let mut head = Vec::new();
    input.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    let first = head.iter().copied().find(|byte| !byte.is_ascii_whitespace());
    let is_json = matches!(first, Some(b'{' | b'['));
    let input = io::Cursor::new(&head[..]).chain(input);
    match (wanted.format, is_json) {
        (Format::Csv | Format::Plain, true) => Err(unfit("it is JSON: name another format")),
        (Format::JsonLines, false) if first.is_some() => {
            Err(unfit("it is no JSON: name another format"))
        }
        (_, true) => {
            let is_whole = (head.len() as u64) < HEAD_BYTES;
            read_json(Scanner::new(input, &head, is_whole), wanted, each)
        }
        (_, false) => read_lines(Lines::of(input, &head), wanted, each),
    }
}

fn unfit(why: impl Into<String>) -> Refusal {
    Refusal::Unfit(why.into())
}

fn read_json(
    mut scanner: Scanner<impl BufRead>,
    wanted: &Wanted,
    each: Each<'_>,
) -> Result<(), Refusal> {
    let mut reading = Reading::new(wanted);
    let mut cells = Cells::default();
    loop {
        let (line, row) = match scanner.next()? {
            Piece::Row(line, row) => (line, row),
            Piece::Around(around) => {
                let sign = serde_json::from_slice(&around).ok().and_then(|a| part(&a));
                if let Some(sign) = sign
                    && each(Told::Part(sign)).is_break()
                {
                    return Ok(());
                }
                continue;
            }
            Piece::Bad(line, why) => {
                if each(Told::Bad(line, why.to_owned())).is_break() {
                    return Ok(());
                }
                continue;
            }
            Piece::Broken(line, why) => {
                let _ = each(Told::Lost(line, why));
                return Ok(());
            }
            Piece::End => return Ok(()),
        };
        match serde_json::from_slice::<Value>(&row) {
            Ok(Value::Object(object)) => cells.take(object),
            Ok(Value::String(text)) => {
                cells = Cells::named(vec!["address".to_owned()]);
                cells.fill(&vec![text.into_bytes()]);
            }
            _ => {
                if each(Told::Bad(line, "it is no JSON".to_owned())).is_break() {
                    return Ok(());
                }
                continue;
            }
        }
        if reading.row(line, &cells, each)?.is_break() {
            return Ok(());
        }
    }
}

/// The sign that a document is only a part of its list.
fn part(around: &Value) -> Option<&'static str> {
    let filled =
        |at: &str| around.pointer(at).is_some_and(|v| v.as_str() != Some("") && !v.is_null());
    [("/NextToken", "NextToken"), ("/nextToken", "nextToken")]
        .into_iter()
        .find(|(at, _)| filled(at))
        .map(|(_, sign)| sign)
        .or_else(|| (around.pointer("/has_more") == Some(&Value::Bool(true))).then_some("has_more"))
        .or_else(|| filled("/paging/next").then_some("paging.next"))
}

fn read_lines(lines: Lines<impl BufRead>, wanted: &Wanted, each: Each<'_>) -> Result<(), Refusal> {
    let mut records = if wanted.format == Format::Plain {
        Records::whole_lines(lines)
    } else {
        Records::new(lines)?
    };
    let mut reading = Reading::new(wanted);
    let mut cells: Option<Cells> = None;
    loop {
        let (line, record) = match records.next()? {
            Got::Record(line, record) => (line, record),
            Got::Bad(line, why) => {
                if each(Told::Bad(line, why.to_owned())).is_break() {
                    return Ok(());
                }
                continue;
            }
            Got::End => return Ok(()),
        };
        if record.len() == 1 && is_remark(&record[0]) {
            continue;
        }
        let Some(cells) = &mut cells else {
            if wanted.format == Format::Plain && names_columns(&record) {
                let what = "its first line names columns, so it is no plain list";
                return Err(unfit(format!("{what}: leave `--format` out, or name another")));
            }
            let (names, is_header) = row::header(&record)?;
            let cells = cells.insert(Cells::named(names));
            if !is_header {
                cells.fill(&record);
                if reading.row(line, cells, each)?.is_break() {
                    return Ok(());
                }
            }
            continue;
        };
        cells.fill(&record);
        if reading.row(line, cells, each)?.is_break() {
            return Ok(());
        }
    }
}

/// Whether a line has several cells, and no address in them.
fn names_columns(line: &[Vec<u8>]) -> bool {
    let has = |bytes: &[u8]| line.iter().flatten().any(|byte| bytes.contains(byte));
    has(b",;\t") && !has(b"@")
}

/// Whether a line is a remark: an address may begin with `#` too.
fn is_remark(line: &[u8]) -> bool {
    line.starts_with(b"#") && !line.contains(&b'@')
}

/// The names of a header as they are compared.
fn names(record: &[Vec<u8>]) -> Vec<String> {
    record.iter().map(|cell| plain(&lines::text(cell).0)).collect()
}
