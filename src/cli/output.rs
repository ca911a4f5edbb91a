//! The one place that prints: rows to standard output, progress and complaints to standard error.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Stdout, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anstyle::Style;
use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use super::failure::Failure;
use crate::shown::{clean, clean_lines, escaped};
use crate::telemetry::log;

/// Width of the bar, in characters.
const BAR_WIDTH: u8 = 24;

/// What a verb prints to.
#[derive(Debug)]
pub(super) struct Output {
    out: BufWriter<Stdout>,
    /// Whether a progress line stands on the terminal, to be wiped before anything else.
    progress: bool,
    look: Look,
    /// When the first progress was shown.
    since: Option<Instant>,
    /// Nothing is said that is no answer, no question and no complaint.
    quiet: bool,
}

impl Output {
    /// On the process's standard output and error.
    pub(super) fn new() -> Output {
        Output {
            out: BufWriter::new(io::stdout()),
            progress: false,
            look: Look::of_terminal(),
            since: None,
            quiet: false,
        }
    }

    /// Says nothing that is no answer, no question and no complaint.
    pub(super) fn quiet(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    /// Whether nothing else is said.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether tables are shown in full, however wide the terminal is.
    pub(super) fn set_wide(&mut self, wide: bool) {
        self.look.fit = self.look.fit.filter(|_| !wide);
    }

    /// How rows are to look.
    pub(super) fn look(&self) -> Look {
        self.look
    }

    /// Prints a line, in colour where that may be.
    pub(super) fn toned(&mut self, text: &str, tone: Option<Style>) -> Result<(), Failure> {
        self.line(&self.look.toned(text, tone))
    }

    /// Prints a line.
    pub(super) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.text(&format!("{text}\n"))
    }

    /// Prints a line of JSON.
    pub(super) fn json(&mut self, row: &Value) -> Result<(), Failure> {
        self.line(&escaped(&row.to_string()))
    }

    /// Prints text as it is.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Prints bytes as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.wipe();
        self.out.write_all(bytes).map_err(|error| unwritten(&error))
    }

    /// Sends on what is printed.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.wipe();
        self.out.flush().map_err(|error| unwritten(&error))
    }

    /// Shows how far a command has come, if standard error is a terminal.
    pub(super) fn progress(&mut self, what: &str, pages: u64, rows: u64, part: Option<f64>) {
        let mut terminal = io::stderr();
        if self.quiet || !terminal.is_terminal() {
            return;
        }
        let bar = part.map_or(String::new(), bar);
        let since = *self.since.get_or_insert_with(Instant::now);
        let rate = rate(rows, since.elapsed());
        let pages = if pages > 0 { format!("pages {pages}, ") } else { String::new() };
        let rows =
            if rows > 0 || part.is_none() { format!("rows {rows}{rate}") } else { String::new() };
        let line = format!("{}  {bar}{pages}{rows}", clean(what));
        // One that went on in the next line could not be wiped.
        let columns = columns_of(&terminal).map_or(usize::MAX, |columns| columns - 1);
        let line = format!("\r\x1b[K{}", elided(&line, columns));
        self.progress = terminal.write_all(line.as_bytes()).is_ok();
    }

    /// Says something to the person that is no part of the answer.
    pub(super) fn note(&mut self, text: &str) {
        if !self.quiet {
            self.say(text);
        }
    }

    fn say(&mut self, text: &str) {
        self.wipe();
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Puts a question to the person, who answers on the same line.
    pub(super) fn ask(&mut self, question: &str) {
        self.wipe();
        let _ = write!(io::stderr(), "{question}");
    }

    /// Says why a verb has failed; as an error of the log where that is the `journal`.
    pub(super) fn complain(&mut self, failure: &Failure, journal: bool) {
        // What was answered before the failure comes before the complaint.
        let _ = self.flush();
        let text = clean_lines(&failure.to_string());
        if !text.is_empty() {
            self.say(&if journal { log::as_errors(&text) } else { text });
        }
    }

    fn wipe(&mut self) {
        if std::mem::take(&mut self.progress) {
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
    }
}

/// How rows look to whoever reads them. The default is for programs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    /// A person reads them, on a terminal.
    pub(super) person: bool,
    /// How wide a line may be, in columns of a terminal; `None`: as wide as it is.
    pub(super) fit: Option<usize>,
    /// What needs a hand is in colour.
    pub(super) colour: bool,
}

impl Look {
    /// That of standard output.
    fn of_terminal() -> Look {
        let person = io::stdout().is_terminal();
        let fit = columns_of(io::stdout()).filter(|_| person);
        let says = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let plain = says("NO_COLOR").is_some() || says("TERM").is_none_or(|term| term == "dumb");
        Look { person, fit, colour: person && !plain }
    }

    /// A text in colour, where that may be.
    pub(super) fn toned(self, text: &str, tone: Option<Style>) -> String {
        match tone.filter(|_| self.colour) {
            Some(style) => format!("{style}{text}{style:#}"),
            None => text.to_owned(),
        }
    }
}

/// How many columns a terminal has.
fn columns_of(terminal: impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

fn unwritten(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::Closed,
        _ => Failure::Failed(format!("standard output: {error}")),
    }
}

/// Rows a second, once there is a second to speak of.
fn rate(rows: u64, elapsed: Duration) -> String {
    match elapsed.as_secs() {
        0 => String::new(),
        seconds => format!(", {} rows/s", rows / seconds),
    }
}

fn bar(part: f64) -> String {
    let part = part.clamp(0.0, 1.0);
    let filled = (0..BAR_WIDTH).filter(|cell| f64::from(*cell) < part * f64::from(BAR_WIDTH));
    let filled = filled.count();
    let rest = usize::from(BAR_WIDTH) - filled;
    format!("[{}{}] {:3.0}%  ", "#".repeat(filled), "-".repeat(rest), part * 100.0)
}

/// How many columns of a terminal a text takes.
pub(super) fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// A text that is no wider than so many columns, and shows that it goes on.
pub(super) fn elided(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let fits = |end: &usize| width(&text[..*end]) < columns;
    let ends = text.char_indices().map(|(place, _)| place);
    let end = ends.take_while(fits).last().unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_fits_its_columns_whatever_it_is_written_in() {
        for (text, columns, shown) in [
            ("plain", 5, "plain"),
            ("plainly", 5, "plai…"),
            ("日本語@例え.test", 16, "日本語@例え.test"),
            ("日本語@例え.test", 8, "日本語@…"),
            ("日本語@例え.test", 6, "日本…"),
            ("e\u{301}e\u{301}e\u{301}e\u{301}", 3, "e\u{301}e\u{301}…"),
            ("\u{1f600}\u{1f600}\u{1f600}", 4, "\u{1f600}…"),
            ("wide", 0, "…"),
        ] {
            assert_eq!(elided(text, columns), shown, "{text} in {columns}");
            assert!(width(&elided(text, columns)) <= columns.max(1));
        }
    }

    #[test]
    fn a_rate_needs_a_second() {
        assert_eq!(rate(500, Duration::from_millis(900)), "");
        assert_eq!(rate(500, Duration::from_millis(2_500)), ", 250 rows/s");
    }

    #[test]
    fn a_bar_fills_from_nothing_to_all() {
        assert_eq!(bar(0.0), format!("[{}]   0%  ", "-".repeat(24)));
        assert_eq!(bar(0.5), format!("[{}{}]  50%  ", "#".repeat(12), "-".repeat(12)));
        assert_eq!(bar(7.0), format!("[{}] 100%  ", "#".repeat(24)));
        assert_eq!(bar(f64::NAN), format!("[{}] NaN%  ", "-".repeat(24)));
    }
}
