//! Rows as a table: for a person aligned columns, as wide as what is in them and the terminal; for
//! a program a tab between fields. Where the terminal is too narrow, ages stand in place of times,
//! then texts are cut, and then columns left out, of which a word tells. No time is cut, and no
//! word of few. A single row for which there is no room stands upright, and so do those of a small
//! table.
//!
//! The widths come from the first rows, so that a list of millions is printed in little memory.

use anstyle::{AnsiColor, Style};
use serde_json::Value;

use super::context::is_troubled;
use super::failure::Failure;
use super::output::{Look, Output, elided, width};
use super::row;
use crate::clock;
use crate::model::Time;
use crate::units::show_age;

/// Rows that are measured before the first is printed.
const MEASURED_ROWS_MAX: usize = 1_000;

/// Widest that a column is padded to, in columns of the terminal; a longer text pushes its own line
/// only.
const WIDTH_MAX: usize = 60;

/// Narrowest that a column is made where the terminal is too narrow.
const WIDTH_MIN: usize = 6;

/// Narrowest that the column is made that says what a row is about, as long as there are others.
const MAIN_MIN: usize = 16;

/// Narrowest that a text is made that goes on in the next line.
const WRAP_MIN: usize = 30;

/// What stands between two columns.
const GAP: usize = 2;

/// One column: its head, and its text for a row.
pub(super) enum Column {
    /// The field of that name.
    Field(&'static str, &'static str),
    /// The same, and it has one of few words: it is never cut.
    Word(&'static str, &'static str),
    /// What a function makes of the row.
    Made(&'static str, fn(&Value) -> String),
}

impl Column {
    fn head(&self) -> &'static str {
        match self {
            Column::Field(head, _) | Column::Word(head, _) | Column::Made(head, _) => head,
        }
    }

    fn text(&self, row: &Value) -> String {
        match self {
            Column::Field(_, key) | Column::Word(_, key) => row::text(row, key),
            Column::Made(_, text) => text(row),
        }
    }
}

/// A table that is printed as its rows come: aligned for a person, else with a tab between fields.
pub(super) struct Table {
    columns: Vec<&'static Column>,
    widths: Vec<usize>,
    /// The columns whose texts are never cut.
    whole: Vec<bool>,
    waiting: Vec<Line>,
    measured: usize,
    begun: bool,
    ages: Ages,
    /// Whether texts of the last column go on in the next line.
    wraps: bool,
    /// The columns for which there was no room, until somebody is told.
    left_out: Vec<&'static str>,
}

/// Where the age of a time is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ages {
    /// Nowhere: the rows come as they happen.
    Nowhere,
    Beside,
    /// In its place: there is no room for both.
    Alone,
}

/// The cells of a row, and its colour.
struct Line {
    cells: Vec<String>,
    tone: Option<Style>,
}

impl Table {
    /// A table whose widths come from its first thousand rows.
    pub(super) fn new(columns: &'static [Column]) -> Table {
        Table::of(columns.iter().collect())
    }

    fn of(columns: Vec<&'static Column>) -> Table {
        let widths = columns.iter().map(|column| column.head().len()).collect();
        let whole = columns.iter().map(|column| matches!(column, Column::Word(..))).collect();
        let (waiting, measured) = (Vec::new(), MEASURED_ROWS_MAX);
        let (begun, ages, wraps) = (false, Ages::Beside, false);
        let left_out = Vec::new();
        Table { columns, widths, whole, waiting, measured, begun, ages, wraps, left_out }
    }

    /// A table whose rows are printed at once, at least this wide.
    pub(super) fn live(columns: &'static [Column], widths: &[usize]) -> Table {
        let mut table = Table { measured: 1, ages: Ages::Nowhere, ..Table::new(columns) };
        for (width, least) in table.widths.iter_mut().zip(widths) {
            *width = (*width).max(*least);
        }
        table
    }

    /// Adds a row, and prints what can be.
    pub(super) fn row(&mut self, out: &mut Output, row: &Value) -> Result<(), Failure> {
        self.add(row);
        if self.begun || self.waiting.len() >= self.measured { self.print(out) } else { Ok(()) }
    }

    /// Prints what is left, and tells whether there was any row.
    pub(super) fn end(&mut self, out: &mut Output) -> Result<bool, Failure> {
        if !self.waiting.is_empty() {
            self.print(out)?;
        }
        Ok(self.begun)
    }

    fn add(&mut self, row: &Value) {
        let cells = self.columns.iter().map(|column| column.text(row)).collect();
        self.waiting.push(Line { cells, tone: tone(row) });
    }

    fn print(&mut self, out: &mut Output) -> Result<(), Failure> {
        let look = out.look();
        let lines = if look.person { self.take_aligned(look) } else { self.take_plain() };
        let missing = std::mem::take(&mut self.left_out);
        if !missing.is_empty() {
            out.note(&format!("No room for {}; -w shows them.", missing.join(", ")));
        }
        lines.iter().try_for_each(|line| out.line(line))
    }

    fn take(&mut self) -> Vec<Line> {
        let mut rows = std::mem::take(&mut self.waiting);
        if !self.begun {
            let cells = self.columns.iter().map(|column| column.head().to_owned()).collect();
            rows.insert(0, Line { cells, tone: None });
        }
        rows
    }

    /// No cell has a tab: what is shown of a field has no control characters.
    fn take_plain(&mut self) -> Vec<String> {
        let rows = self.take();
        self.begun = true;
        rows.iter().map(|row| row.cells.join("\t")).collect()
    }

    fn take_aligned(&mut self, look: Look) -> Vec<String> {
        let mut rows = self.take();
        let is_first = !std::mem::replace(&mut self.begun, true);
        let fit = look.fit.unwrap_or(usize::MAX);
        let is_alone = is_first && rows.len() == 2 && self.ages == Ages::Beside && !self.wraps;
        if look.person && is_alone && self.measure(&rows, Ages::Alone) > fit {
            return upright(&rows, look);
        }
        self.keep_times(&rows);
        if look.person {
            if is_first && self.ages == Ages::Beside && self.measure(&rows, Ages::Beside) > fit {
                self.ages = Ages::Alone;
            }
            if is_first && self.wraps && self.least(&self.shown(&rows)) > fit {
                return upright(&rows, look);
            }
            rows = self.shown(&rows);
        }
        if is_first {
            if !self.wraps {
                self.narrow(&mut rows, fit);
            }
            self.widen(&rows, fit);
        }
        let aligned = |row: &Line| -> Vec<String> {
            let mut lines = self.aligned(&row.cells, look.fit.is_some());
            lines.iter_mut().for_each(|line| *line = look.toned(line, row.tone));
            lines
        };
        rows.iter().flat_map(aligned).collect()
    }

    /// Whatever has times is never cut.
    fn keep_times(&mut self, rows: &[Line]) {
        for (place, whole) in self.whole.iter_mut().enumerate() {
            *whole |= rows.iter().any(|row| time(&row.cells[place]).is_some());
        }
    }

    /// These rows with the ages of their times.
    fn shown(&self, rows: &[Line]) -> Vec<Line> {
        let now = clock::now();
        let cells = |row: &Line| row.cells.iter().map(|cell| self.ages.show(cell, now)).collect();
        rows.iter().map(|row| Line { cells: cells(row), tone: row.tone }).collect()
    }

    /// How wide these rows are at least.
    fn least(&self, rows: &[Line]) -> usize {
        let leasts = (0..self.columns.len()).map(|place| self.least_of(place, rows) + GAP);
        leasts.sum::<usize>().saturating_sub(GAP)
    }

    /// Narrowest that a column is made.
    fn least_of(&self, place: usize, rows: &[Line]) -> usize {
        let cells = rows.iter().map(|row| width(&row.cells[place]));
        let widest = cells.max().unwrap_or(0).max(self.widths[place]);
        let is_last = place + 1 == self.columns.len();
        widest.min(match () {
            () if self.whole[place] => WIDTH_MAX,
            () if self.wraps && is_last => WRAP_MIN,
            () if !self.wraps && place == self.main() => MAIN_MIN,
            () => WIDTH_MIN,
        })
    }

    /// How wide these rows are as they stand, with the ages of their times.
    fn measure(&self, rows: &[Line], ages: Ages) -> usize {
        let now = clock::now();
        let widest = |(place, least): (usize, &usize)| {
            let cells = rows.iter().map(|row| width(&ages.show(&row.cells[place], now)));
            cells.max().unwrap_or(0).min(WIDTH_MAX).max(*least) + GAP
        };
        self.widths.iter().enumerate().map(widest).sum::<usize>() - GAP
    }

    /// The column that says what a row is about.
    fn main(&self) -> usize {
        self.columns.iter().position(|column| column.head() == "ADDRESS").unwrap_or(0)
    }

    /// Leaves columns out for which there is no room: first those in which nothing stands, then
    /// the later ones but for the last, which explains; what is never cut at the end, and never
    /// that of the address.
    fn narrow(&mut self, rows: &mut [Line], fit: usize) {
        while self.least(rows) > fit {
            let (main, last) = (self.main(), self.columns.len() - 1);
            let others = || (0..=last).rev().filter(|place| *place != main);
            let says = |place: usize| {
                let mut cells = rows.iter().skip(1).map(|row| &*row.cells[place]);
                self.ages == Ages::Nowhere || cells.any(|cell| !matches!(cell, "" | row::ABSENT))
            };
            let order = |place: &usize| (self.whole[*place], *place == last);
            let empty = others().find(|place| !says(*place));
            let Some(place) = empty.or_else(|| others().min_by_key(order)) else { return };
            self.left_out.push(self.columns.remove(place).head());
            self.widths.remove(place);
            self.whole.remove(place);
            rows.iter_mut().for_each(|row| drop(row.cells.remove(place)));
        }
    }

    /// Makes columns as wide as their texts, and no wider than the terminal has room.
    fn widen(&mut self, rows: &[Line], fit: usize) {
        let least: Vec<usize> =
            (0..self.columns.len()).map(|place| self.least_of(place, rows)).collect();
        for row in rows {
            for (widest, text) in self.widths.iter_mut().zip(&row.cells) {
                *widest = (*widest).max(width(text).min(WIDTH_MAX));
            }
        }
        if !self.wraps {
            let main = self.main();
            shrink(&mut self.widths, &least, fit);
            let others: usize = self.widths.iter().map(|width| width + GAP).sum();
            let others = others - self.widths[main] - GAP;
            // It has what the others leave, where they can give no more.
            self.widths[main] = self.widths[main].min(fit.saturating_sub(others).max(1));
            return;
        }
        if let (Some((last, others)), Some((least_of_last, least))) =
            (self.widths.split_last_mut(), least.split_last())
        {
            shrink(others, least, fit.saturating_sub(least_of_last + GAP));
            let taken = others.iter().map(|width| width + GAP).sum();
            *last = fit.saturating_sub(taken).max(*least_of_last);
        }
    }

    /// The lines of a row: more than one where the last text goes on.
    fn aligned(&self, cells: &[String], is_bounded: bool) -> Vec<String> {
        let mut line = String::new();
        let mut rest = Vec::new();
        for (place, (cell, columns)) in cells.iter().zip(&self.widths).enumerate() {
            let is_last = place + 1 == cells.len();
            let text = match is_bounded {
                true if is_last && self.wraps => {
                    let indent = " ".repeat(width(&line));
                    let mut parts = wrapped(cell, *columns).into_iter();
                    let first = parts.next().unwrap_or_default();
                    rest = parts.map(|part| indent.clone() + &part).collect();
                    first
                }
                true => elided(cell, *columns),
                false => cell.clone(),
            };
            let padding = columns.saturating_sub(width(&text)) + GAP;
            line.push_str(&text);
            line.extend(std::iter::repeat_n(' ', padding.min(WIDTH_MAX + GAP)));
        }
        line.truncate(line.trim_end().len());
        rest.insert(0, line);
        rest
    }
}

impl Ages {
    /// A time to the second, with its age or in its place. Any other text as it is.
    fn show(self, cell: &str, now: Time) -> String {
        let Some(time) = time(cell) else { return cell.to_owned() };
        let age = show_age(now.second() - time.second());
        match self {
            Ages::Nowhere => time.floor_second().to_string(),
            Ages::Alone => age,
            Ages::Beside => format!("{} ({age})", time.floor_second()),
        }
    }
}

/// The time that a cell has.
fn time(cell: &str) -> Option<Time> {
    Time::parse(cell).filter(|_| cell.ends_with('Z'))
}

/// The colour of a state, where it needs a hand.
pub(super) fn tone_of(state: &str) -> Option<Style> {
    match state {
        "degraded" => Some(AnsiColor::Yellow.on_default()),
        "not ready" | "not_ready" => Some(AnsiColor::Red.on_default().bold()),
        _ => None,
    }
}

/// The colour of a row, where it tells of what needs a hand.
fn tone(row: &Value) -> Option<Style> {
    let failed = is_troubled(row) || row::given(row, "last_error").is_some();
    let state = row.get("state").and_then(Value::as_str).and_then(tone_of);
    state.or_else(|| failed.then(|| AnsiColor::Yellow.on_default()))
}

/// The rows of a table that is too wide, the first being its heads: below each other what each row
/// says, and nothing cut.
fn upright(rows: &[Line], look: Look) -> Vec<String> {
    let Some((heads, rows)) = rows.split_first() else { return Vec::new() };
    let widest = heads.cells.iter().map(|head| width(head)).max().unwrap_or(0) + GAP;
    let room = look.fit.unwrap_or(usize::MAX).saturating_sub(widest).max(WIDTH_MIN);
    let now = clock::now();
    let mut lines = Vec::new();
    for row in rows {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        for (head, cell) in heads.cells.iter().zip(&row.cells) {
            if matches!(&**cell, "" | row::ABSENT) {
                continue;
            }
            let mut head = head.as_str();
            for part in wrapped(&Ages::Beside.show(cell, now), room) {
                lines.push(look.toned(&format!("{head:<widest$}{part}"), row.tone));
                head = "";
            }
        }
    }
    lines
}

/// Takes from the widest columns until a line fits, or no column can give any more.
fn shrink(widths: &mut [usize], least: &[usize], fit: usize) {
    let gaps = GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > fit {
        let some = widths.iter_mut().zip(least).filter(|(width, least)| **width > **least);
        let Some((widest, _)) = some.max_by_key(|(width, _)| **width) else { return };
        *widest -= 1;
    }
}

/// A text in lines of a width, broken between words, and where one is longer than a line.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= columns => {
                line.push(' ');
                line.push_str(word);
                continue;
            }
            _ => lines.push(String::new()),
        }
        for character in word.chars() {
            let mut alone = [0; 4];
            let more = width(character.encode_utf8(&mut alone));
            match lines.last_mut() {
                Some(line) if line.is_empty() || width(line) + more <= columns => {
                    line.push(character);
                }
                _ => lines.push(character.to_string()),
            }
        }
    }
    lines
}

/// The lines of a small table, aligned: its head and its rows; none without rows. A person is not
/// shown columns in which nothing stands, and reads the last one to its end.
pub(super) fn lines(columns: &'static [Column], rows: &[Value], look: Look) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let says = |column: &&Column| {
        !look.person || rows.iter().any(|row| !matches!(&*column.text(row), "" | row::ABSENT))
    };
    let columns = columns.iter().filter(says).collect();
    let mut table = Table { wraps: true, ..Table::of(columns) };
    rows.iter().for_each(|row| table.add(row));
    table.take_aligned(look)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::{events, list};
    use super::*;

    const COLUMNS: &[Column] = &[
        Column::Field("NAME", "name"),
        Column::Made("UNTIL", row::until),
        Column::Field("N", "n"),
    ];

    #[test]
    fn columns_are_as_wide_as_their_texts() {
        let long = "x".repeat(WIDTH_MAX + 5);
        let rows =
            [json!({"name": "a-long-name", "n": 1}), json!({"name": "ä", "reason": "manual"})];
        assert_eq!(
            lines(COLUMNS, &rows, Look::default()),
            ["NAME         UNTIL    N", "a-long-name  -        1", "ä            forever  -"]
        );
        let pushed = lines(COLUMNS, &[json!({"name": long})], Look::default());
        assert_eq!(pushed[1], format!("{long}  -      -"));
        assert!(lines(COLUMNS, &[], Look::default()).is_empty());
    }

    #[test]
    fn a_narrow_terminal_shortens_the_widest_texts() {
        let rows = [json!({"name": "a-very-long-name-indeed", "n": 1}), json!({"name": "b"})];
        let shown = lines(COLUMNS, &rows, Look { fit: Some(24), ..Look::default() });
        assert_eq!(
            shown,
            ["NAME            UNTIL  N", "a-very-long-n…  -      1", "b               -      -",]
        );
    }

    #[test]
    fn a_table_fits_the_terminal_and_shortens_the_address_last() {
        let ago = clock::now().minus(Duration::from_secs(185)).to_string();
        let address = "somebody.with-a-name@mail.example.com";
        let row = json!({
            "address": address, "scope": "stream:newsletter", "reason": "provider_listed",
            "since": ago, "at": ago, "kind": "hard_bounce", "class": "no_mailbox", "id": 12,
            "source": "acme-sendgrid", "sources": ["acme-sendgrid"], "origin": "webhook",
            "message_id": "m-0123456789", "diagnostic": "550 5.1.1 no such user here",
        });
        for columns in [list::COLUMNS, events::COLUMNS] {
            for fit in 10..200 {
                let mut table = Table::new(columns);
                table.add(&row);
                table.add(&json!({ "address": "b@x.test" }));
                let look = Look { person: true, fit: Some(fit), colour: false };
                let shown = table.take_aligned(look);
                assert!(shown.iter().all(|line| width(line) <= fit), "{fit}: {shown:#?}");
                let least = address.get(..fit.min(MAIN_MIN) - 1).unwrap();
                assert!(shown[1].contains(least), "{fit}: {shown:#?}");
                let says_whole = |text: &str| shown.iter().any(|line| line.contains(text));
                let word =
                    if shown[0].contains("KIND") { "hard_bounce" } else { "provider_listed" };
                assert!(fit < 60 || says_whole("3 min ago"), "{fit}: {shown:#?}");
                assert!(fit < 60 || says_whole(word), "{fit}: {shown:#?}");
                assert!(fit < 90 || table.left_out.is_empty(), "{fit}: {shown:#?}");
                assert!(fit > 40 || !table.left_out.is_empty(), "{fit}: {shown:#?}");
            }
        }
    }

    #[test]
    fn one_row_that_is_too_wide_is_shown_in_full() {
        let ago = clock::now().minus(Duration::from_secs(185));
        let row = json!({
            "address": "somebody.with-a-name@mail.example.com", "scope": "stream:newsletter",
            "reason": "provider_listed", "since": ago.to_string(), "sources": ["acme-sendgrid"],
        });
        let mut table = Table::new(list::COLUMNS);
        table.add(&row);
        let look = Look { person: true, fit: Some(80), colour: false };
        assert_eq!(
            table.take_aligned(look),
            [
                "ADDRESS  somebody.with-a-name@mail.example.com".to_owned(),
                "SCOPE    stream:newsletter".to_owned(),
                "REASON   provider_listed".to_owned(),
                format!("SINCE    {} (3 min ago)", ago.floor_second()),
                "UNTIL    forever".to_owned(),
                "SOURCES  acme-sendgrid".to_owned(),
            ]
        );
    }

    #[test]
    fn columns_stand_below_each_other_whatever_is_written_in_them() {
        let names = ["日本語@例え.test", "e\u{301}le\u{301}ve@x.test", "\u{1f600}@x.test", "plain"];
        let rows = names.map(|name| json!({"name": name, "n": 1}));
        for fit in [None, Some(24)] {
            let shown = lines(COLUMNS, &rows, Look { fit, ..Look::default() });
            let places = shown[1..].iter().map(|line| width(line.strip_suffix('1').unwrap()));
            let places: Vec<usize> = places.collect();
            assert_eq!(places, [places[0]; 4], "{shown:#?}");
        }
    }

    #[test]
    fn a_person_sees_ages_and_what_needs_a_hand() {
        let ago = clock::now().minus(Duration::from_secs(185));
        let rows = [json!({"name": "a", "n": ago.to_string()}), json!({"name": "b", "error": "x"})];
        let look = Look { person: true, fit: None, colour: true };
        let shown = lines(COLUMNS, &rows, look);
        assert!(shown[1].ends_with(&format!("{} (3 min ago)", ago.floor_second())), "{shown:?}");
        assert_eq!(shown[2], "\u{1b}[33mb     -\u{1b}[0m");
        assert!(!lines(COLUMNS, &rows, Look { colour: false, ..look })[2].contains('\u{1b}'));
    }

    #[test]
    fn where_there_is_no_room_ages_stand_alone_and_the_last_text_goes_on() {
        const CHECKS: &[Column] = &[
            Column::Field("SINCE", "since"),
            Column::Field("NOTHING", "nothing"),
            Column::Field("DETAIL", "detail"),
        ];
        let ago = clock::now().minus(Duration::from_secs(185)).to_string();
        let rows = [json!({"since": ago, "detail": "held: 12 rows would go; write it by hand"})];
        let look = Look { person: true, fit: Some(45), colour: false };
        assert_eq!(
            lines(CHECKS, &rows, look),
            [
                "SINCE      DETAIL",
                "3 min ago  held: 12 rows would go; write it",
                "           by hand"
            ]
        );
    }

    #[test]
    fn a_small_table_without_room_stands_upright_and_nothing_is_cut() {
        let ago = clock::now().minus(Duration::from_secs(185));
        let row = |name: &str| {
            json!({
                "at": ago.to_string(), "kind": "unsubscribed", "class": "no_mailbox",
                "scope": name, "source": "acme-sendgrid", "origin": "webhook",
                "message_id": "m-0123456789", "diagnostic": "/a/path/without/an/end/".repeat(4),
            })
        };
        let rows = [row("stream:newsletter"), row("global")];
        for fit in 24..200 {
            let shown =
                lines(events::COLUMNS, &rows, Look { person: true, fit: Some(fit), colour: false });
            assert!(shown.iter().all(|line| width(line) <= fit), "{fit}: {shown:#?}");
            let text: String = shown.concat();
            for whole in ["unsubscribed", "3 min ago"].iter().take(if fit < 45 { 1 } else { 2 }) {
                assert_eq!(text.matches(whole).count(), 2, "{fit}: {shown:#?}");
            }
        }
    }

    #[test]
    fn programs_get_a_tab_between_fields() {
        let mut table = Table::new(COLUMNS);
        table.add(&json!({"name": "a\tb", "n": 1}));
        assert_eq!(table.take_plain(), ["NAME\tUNTIL\tN", "a b\t-\t1"]);
        table.add(&json!({"name": "c", "error": "x"}));
        assert_eq!(table.take_plain(), ["c\t-\t-"]);
    }
}
