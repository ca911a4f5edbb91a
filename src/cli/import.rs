//! `suppressd import`: brings a list of suppressions that another program has written.
//!
//! The file is read twice: first to see whether all of it can be taken, then to send it. So a file
//! that is refused has changed nothing.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::{io, mem, thread};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::{Value, json};

use super::arguments;
use super::completions;
use super::context::Context;
use super::failure::{Failure, Outcome};
use super::input::Input;
use super::row::many;
use crate::admin::Command;
use crate::clock;
use crate::import::{self, Count, DateOrder, FORMATS, Format, Refusal, Row, Told, Wanted};
use crate::model::{Reason, Scope, SourceName};
use crate::provider::Imported;

/// The arguments of `import`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file, also packed by gzip or zip; `-` reads standard input
    file: PathBuf,
    /// What it is [default: auto, by its columns]
    #[arg(long, value_name = "FORMAT", value_parser = formats(), hide_default_value = true,
        default_value = "auto")]
    format: Format,
    /// The source that the rows are attributed to [default: import]
    #[arg(long, value_parser = arguments::source, add = completions::sources())]
    source: Option<SourceName>,
    /// Take `--source` although no source has that name, as of another host
    #[arg(long, requires = "source")]
    new_source: bool,
    /// The reason of rows that do not say one
    #[arg(long, value_parser = arguments::reason, add = completions::reasons())]
    reason: Option<Reason>,
    /// The scope of rows that do not say one: `global` or `stream:NAME` [default: global]
    #[arg(long, value_parser = arguments::scope, add = completions::scopes())]
    scope: Option<Scope>,
    /// What comes first in 01/02/2026: day-first or month-first
    #[arg(long, value_name = "ORDER", value_parser = orders())]
    dates: Option<DateOrder>,
    /// Only show what would be imported
    #[arg(long)]
    dry_run: bool,
    /// Leave rows out that cannot be read, instead of refusing the file
    #[arg(long)]
    skip_bad: bool,
    /// Print JSON, one object
    #[arg(long)]
    json: bool,
}

/// Bad rows that are shown.
const BAD_SHOWN_MAX: usize = 20;
/// Rows of one command, and bytes of them, well below the socket's 1 MiB.
const ROWS_PER_COMMAND: usize = 4_000;
const BYTES_PER_COMMAND: usize = 400 << 10;
/// How many of these may wait, read, while one is taken.
const BATCHES_WAITING: usize = 2;
/// What a row takes beside its address and its note, at most.
const ROW_BYTES: usize = 500;
/// How many rows come between two looks at the progress.
const ROWS_PER_LOOK: u64 = 1_000;

fn formats() -> impl TypedValueParser<Value = Format> {
    let of = |name: String| FORMATS.iter().find(|(n, _)| *n == name).map(|(_, format)| *format);
    PossibleValuesParser::new(FORMATS.iter().map(|(name, _)| *name))
        .map(move |name| of(name).unwrap_or(Format::Auto))
}

fn orders() -> impl TypedValueParser<Value = DateOrder> {
    PossibleValuesParser::new(["day-first", "month-first"]).map(|order| match order.as_str() {
        "day-first" => DateOrder::DayFirst,
        _ => DateOrder::MonthFirst,
    })
}

impl Arguments {
    /// Reads the file, and sends what it has.
    pub(super) fn run(self, context: &mut Context) -> Outcome {
        let input = Input::open(&self.file)?;
        let wanted = Wanted {
            format: self.format,
            reason: self.reason,
            scope: self.scope.clone(),
            dates: self.dates,
            name: input.name.clone(),
            now: clock::now(),
        };
        let count = count(&input, &wanted, context)?;
        let refusal = count.refusal();
        let is_taken = refusal.is_none() && (count.bad == 0 || self.skip_bad);
        let sent = match is_taken && !self.dry_run {
            true => self.send(&input, &wanted, count.suppressing(), context),
            false => Ok(Sent::default()),
        };
        if self.json {
            let sent = sent.as_ref().map_or_else(|_| Sent::default(), Sent::clone);
            context.out.json(&summary(&count, &sent, self.dry_run))?;
        } else {
            for line in lines(&count) {
                context.out.line(&line)?;
            }
        }
        remarks(&count).iter().for_each(|remark| context.out.note(remark));
        let sent = sent?;
        if let Some(why) = refusal {
            return Err(unfit(&input, &why));
        }
        if !is_taken {
            let why = format!(
                "{} cannot be read, and nothing was imported; mend it, or leave it out with \
                 `--skip-bad`",
                many(count.bad, "row")
            );
            return Err(unfit(&input, &why));
        }
        if !self.json {
            context.out.line(&if self.dry_run {
                "Nothing was imported: this is what would be.".to_owned()
            } else {
                sent.told()
            })?;
        }
        sent.remarks().iter().for_each(|remark| context.out.note(remark));
        if let Some((line, why)) = count.lost {
            let why = format!("nothing from line {line} on can be read, or was imported: {why}");
            return Err(unfit(&input, &why));
        }
        Ok(0)
    }

    /// Reads the file again and sends its rows: while the daemon takes some, the next are read.
    fn send(
        &self,
        input: &Input,
        wanted: &Wanted,
        all: u64,
        context: &mut Context,
    ) -> Result<Sent, Failure> {
        let mut sending = Sending { by: self, sent: 0, all, before: None, ended: 0, shortened: 0 };
        let (hand, batches) = sync_channel(BATCHES_WAITING);
        let outcome = thread::scope(|scope| {
            let reading = scope.spawn(move || read_batches(input, wanted, &hand));
            let mut send = |rows| sending.send(rows, false, context).map(drop);
            let sent = batches.iter().try_for_each(&mut send);
            // If nobody takes them any more, the reading ends.
            drop(batches);
            let gave_up = |_| Err(io::Error::other("the reading gave up").into());
            let read = reading.join().unwrap_or_else(gave_up);
            sent?;
            read.map_err(|refusal| unread(input, refusal))?;
            sending.send(Vec::new(), true, context)
        });
        if outcome.is_err() && sending.sent > 0 {
            context.out.note(&format!(
                "It failed when {} had been imported; import the file again: what is known \
                 changes nothing.",
                many(sending.sent, "row")
            ));
        }
        outcome
    }
}

/// Reads all of the file, and hands its rows over, as many at once as go out together.
fn read_batches(
    input: &Input,
    wanted: &Wanted,
    hand: &SyncSender<Vec<Row>>,
) -> Result<(), Refusal> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    let read = input.read(&Cell::new(0), |reader| {
        import::read(reader, wanted, &mut |told| {
            let Told::Rows(_, rows, _) = told else { return ControlFlow::Continue(()) };
            for row in rows {
                bytes += row.address.len() + row.note.as_ref().map_or(0, String::len);
                batch.push(row);
            }
            if !is_full(batch.len(), bytes) {
                return ControlFlow::Continue(());
            }
            bytes = 0;
            match hand.send(mem::take(&mut batch)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })
    });
    read??;
    if !batch.is_empty() {
        // Whoever takes none any more says why.
        let _ = hand.send(batch);
    }
    Ok(())
}

/// Whether so many rows, with so many bytes of text, are enough for a command.
fn is_full(rows: usize, bytes: usize) -> bool {
    // A quote or a backslash takes two bytes on the way.
    rows >= ROWS_PER_COMMAND || 2 * bytes + ROW_BYTES * rows >= 2 * BYTES_PER_COMMAND
}

/// What became of the rows that were sent.
#[derive(Clone, Default)]
struct Sent {
    rows: u64,
    new: u64,
    known: u64,
    lifted: u64,
    /// Rows that have ended by the rules.
    ended: u64,
    /// Rows that the rules end sooner than the file does.
    shortened: u64,
}

impl Sent {
    /// What the daemon counted from the one answer to the other.
    fn between(rows: u64, before: &Value, after: &Value) -> Sent {
        let count = |of: &Value, key: &str| of[key].as_u64().unwrap_or(0);
        let more = |key: &str| count(after, key).saturating_sub(count(before, key));
        let (new, known, lifted) = (more("new"), more("known"), more("lifted"));
        Sent { rows, new, known, lifted, ..Sent::default() }
    }

    /// What became of rows that suppress nothing, or not for as long as they say.
    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.lifted > 0 {
            remarks.push(format!(
                "A lift outweighs {}, so that nothing suppresses what they name: see `suppressd \
                 explain ADDRESS`; `suppressd add ADDRESS` suppresses all the same.",
                many(self.lifted, "row")
            ));
        }
        if self.ended > 0 {
            remarks.push(format!(
                "By the terms in `[rules]`, time has ended {} already, and nothing suppresses \
                 what they name.",
                many(self.ended, "row")
            ));
        }
        if self.shortened > 0 {
            remarks.push(format!(
                "The terms in `[rules]` end {} sooner than the file does.",
                many(self.shortened, "row")
            ));
        }
        remarks
    }

    fn told(&self) -> String {
        let imported = format!("Imported {}", many(self.rows, "row"));
        match self.known {
            0 => format!("{imported}."),
            known => format!("{imported}: {} new, {known} known before.", self.new),
        }
    }
}

/// How far the sending has come.
struct Sending<'a> {
    by: &'a Arguments,
    sent: u64,
    all: u64,
    /// What the daemon had counted before the first rows.
    before: Option<Value>,
    ended: u64,
    shortened: u64,
}

impl Sending<'_> {
    fn send(
        &mut self,
        rows: Vec<Row>,
        is_last: bool,
        context: &mut Context,
    ) -> Result<Sent, Failure> {
        let source = self.by.source.as_ref();
        let rows: Vec<Imported> = rows.into_iter().map(imported).collect();
        let count = rows.len() as u64;
        let command = Command::Import {
            source: arguments::text(source),
            new_source: self.by.new_source,
            rows,
            apply: is_last,
        };
        let mut answer = context.ask_one(&command)?;
        let is_configured = answer["configured"] == true;
        let before = self.before.get_or_insert_with(|| answer["before"].take());
        self.sent += count;
        let sent = Sent::between(self.sent, before, &answer["after"]);
        self.ended += answer["ended"].as_u64().unwrap_or(0);
        self.shortened += answer["shortened"].as_u64().unwrap_or(0);
        let part = self.sent as f64 / self.all.max(1) as f64;
        context.out.progress("import", 0, self.sent, Some(part));
        if let Some(source) = source.filter(|_| is_last && !is_configured) {
            context.out.note(&format!("No source {source} is configured; the rows have its name."));
        }
        Ok(Sent { ended: self.ended, shortened: self.shortened, ..sent })
    }
}

fn imported(row: Row) -> Imported {
    Imported {
        address: row.address,
        reason: row.reason.to_string(),
        scope: (row.scope != Scope::Global).then(|| row.scope.to_string()),
        since: arguments::text(row.since.as_ref()),
        last: None,
        until: arguments::text(row.until.as_ref()),
        note: row.note,
    }
}

/// Reads all of the file, and counts.
fn count(input: &Input, wanted: &Wanted, context: &mut Context) -> Result<Count, Failure> {
    let mut count = Count::default();
    let passed = Cell::new(0);
    let read = input.read(&passed, |reader| {
        import::read(reader, wanted, &mut |told| {
            count.note(&told);
            if count.rows % ROWS_PER_LOOK == 0 {
                let part = passed.get() as f64 / input.length.max(1) as f64;
                context.out.progress("reading", 0, count.rows, Some(part));
            }
            ControlFlow::Continue(())
        })
    });
    match read {
        Ok(Ok(())) => Ok(count),
        Ok(Err(refusal)) => Err(unread(input, refusal)),
        Err(error) => Err(unread(input, error.into())),
    }
}

fn unread(input: &Input, refusal: Refusal) -> Failure {
    unfit(input, &refusal.to_string())
}

fn unfit(input: &Input, why: &str) -> Failure {
    Failure::Failed(format!("{}: {why}", input.shown))
}

/// What the file holds, for people.
fn lines(count: &Count) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(recognised) = &count.recognised {
        let import::Recognised { format, list, by } = recognised;
        lines.push(format!("Recognised as {format} ({list}) by {by}."));
    }
    let rows = |n| many(n, "row");
    for (reason, n) in &count.reasons {
        lines.push(format!("{reason}: {}", rows(*n)));
    }
    if let Some((first, last)) = count.span {
        lines.push(format!("since {first} to {last}"));
    }
    for (why, n) in &count.passed {
        lines.push(format!("passed over, {why}: {}", rows(*n)));
    }
    for (line, why) in count.first_bad.iter().take(BAD_SHOWN_MAX) {
        lines.push(format!("line {line}: {why}"));
    }
    let more = count.bad.saturating_sub(BAD_SHOWN_MAX as u64);
    if more > 0 {
        lines.push(format!("and {} more that cannot be read", rows(more)));
    }
    lines
}

/// What an operator should know of it beside.
fn remarks(count: &Count) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(sign) = count.part {
        remarks.push(format!("The file has {sign}: it may be only a part of the list."));
    }
    if count.undated > 0 {
        let rows = many(count.undated, "row");
        remarks.push(format!("{rows} without a date: what is new of them counts from now."));
    }
    if count.unzoned > 0 {
        let rows = many(count.unzoned, "row");
        remarks.push(format!("{rows} without a time zone: their times are taken as UTC."));
    }
    remarks
}

fn summary(count: &Count, sent: &Sent, is_dry: bool) -> Value {
    let recognised = count.recognised.as_ref();
    let reasons: serde_json::Map<String, Value> =
        count.reasons.iter().map(|(reason, n)| (reason.to_string(), (*n).into())).collect();
    let bad = count.first_bad.iter().map(|(line, why)| json!({ "line": line, "problem": why }));
    json!({
        "format": recognised.map(|r| r.format),
        "list": recognised.map(|r| r.list),
        "recognised_by": recognised.map(|r| r.by.as_str()),
        "rows": count.rows,
        "suppressing": count.suppressing(),
        "reasons": reasons,
        "passed_over": count.passed,
        "bad": count.bad,
        "bad_rows": bad.collect::<Vec<Value>>(),
        "undated": count.undated,
        "part": count.part,
        "imported": sent.rows,
        "new": sent.new,
        "known": sent.known,
        "lifted": sent.lifted,
        "ended": sent.ended,
        "shortened": sent.shortened,
        "lost_from": count.lost.map(|(line, _)| line),
        "dry_run": is_dry,
    })
}
