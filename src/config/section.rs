//! Typed getters over the parsed file, which note problems instead of failing.
//!
//! A getter answers `None` when there is nothing that can be used; if that is an error, it has
//! been noted. A value is shown in a problem only by getters that are not for secrets.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeString, DeTable, DeValue};

use super::environment::Environment;
use super::near::{listed, meant, nearest};
use super::walk::{Place, Walk};
use crate::units;

/// Most characters of a value that a problem shows.
pub(super) const SHOWN_MAX: usize = 60;

/// One table of the file.
pub(super) struct Section<'a> {
    pub(super) walk: &'a Walk<'a>,
    pub(super) table: &'a DeTable<'a>,
    pub(super) place: Place,
    pub(super) known: RefCell<Vec<&'static str>>,
}

/// One value of the file.
pub(super) struct Field<'a> {
    pub(super) walk: &'a Walk<'a>,
    pub(super) place: Place,
    pub(super) value: &'a DeValue<'a>,
}

impl<'a> Section<'a> {
    /// The value of a key, if it is there. From now on the key is known.
    pub(super) fn take(&self, key: &'static str) -> Option<Field<'a>> {
        self.known.borrow_mut().push(key);
        let (word, value) = self.table.get_key_value(key)?;
        let line = self.walk.line(&word.span());
        Some(Field { walk: self.walk, place: self.at(key, Some(line)), value: value.get_ref() })
    }

    /// The value of a key as JSON. Whether the key is known stays as it was.
    pub(super) fn tree_of(&self, key: &str) -> serde_json::Value {
        self.table.get(key).map(|value| json_of(value.get_ref())).unwrap_or_default()
    }

    /// The value of a key that must be there.
    pub(super) fn need(&self, key: &'static str, hint: &str) -> Option<Field<'a>> {
        let field = self.take(key);
        if field.is_none() {
            self.missing(key, hint);
        }
        field
    }

    /// A table; where it is absent, an empty one.
    pub(super) fn table_or_empty(&self, key: &'static str) -> Option<Section<'a>> {
        match self.take(key) {
            Some(field) => field.table(),
            None => Some(Section {
                walk: self.walk,
                table: self.walk.empty(),
                place: self.at(key, self.place.line),
                known: RefCell::default(),
            }),
        }
    }

    /// The tables of a `[[key]]`.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Section<'a>> {
        let Some(field) = self.take(key) else { return Vec::new() };
        match field.value {
            DeValue::Array(_) => {
                field.list().iter().filter_map(Field::table).map(Section::with_name).collect()
            }
            _ => {
                field.problem(field.is_not("a list of tables"), format!("write it as [[{key}]]"));
                Vec::new()
            }
        }
    }

    /// Notes a problem with a key of this section, present or not.
    pub(super) fn problem(&self, key: &str, what: impl Into<String>, hint: impl Into<String>) {
        self.walk.problem(&self.place_of(key), what, hint);
    }

    /// Notes that a key of this section, present or not, can be meant as it is, and is wrong most
    /// times.
    pub(super) fn warn(&self, key: &str, what: impl Into<String>, hint: impl Into<String>) {
        self.walk.warn(&self.place_of(key), what, hint);
    }

    /// Notes a problem with this section as a whole.
    pub(super) fn problem_here(&self, what: impl Into<String>, hint: impl Into<String>) {
        self.walk.problem(&self.place, what, hint);
    }

    /// Notes that this section can be meant as it is, and is wrong most times.
    pub(super) fn warn_here(&self, what: impl Into<String>, hint: impl Into<String>) {
        self.walk.warn(&self.place, what, hint);
    }

    /// Notes a problem with a key of a table of this section, present or not.
    pub(super) fn problem_in(&self, table: &str, key: &str, what: String, hint: &str) {
        let Place { path, name, line } = self.place_of(table);
        let inner = self.table.get(table).and_then(|value| value.get_ref().as_table());
        let word = inner.and_then(|inner| inner.get_key_value(key));
        let line = word.map(|(word, _)| self.walk.line(&word.span())).or(line);
        self.walk.problem(&Place { path: format!("{path}.{key}"), name, line }, what, hint);
    }

    /// Notes that a key is missing.
    pub(super) fn missing(&self, key: &str, hint: &str) {
        self.problem(key, "is missing", hint);
    }

    /// What the file may refer to outside it.
    pub(super) fn environment(&self) -> &'a Environment {
        self.walk.environment
    }

    /// Whether the key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether a problem was noted with this key.
    pub(super) fn is_bad(&self, key: &str) -> bool {
        self.walk.is_bad(&self.place_of(key))
    }

    /// Whether a fault was noted within this section.
    pub(super) fn has_problems(&self) -> bool {
        self.walk.has_faults(&self.place)
    }

    /// Whether this section refers to something that cannot be looked at here.
    pub(super) fn has_unchecked(&self) -> bool {
        self.walk.has_unchecked(&self.place)
    }

    /// Notes every key that nobody took.
    pub(super) fn finish(&self) {
        let known = self.known.borrow();
        for (word, _) in self.table.iter() {
            let key: &str = word.get_ref();
            if known.contains(&key) {
                continue;
            }
            let near = nearest(key, known.iter().copied());
            let hint = match near.or_else(|| meant(key, &known)) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => format!("the keys here are: {}", listed(known.iter().copied())),
            };
            self.problem(key, "is not a key of this version", hint);
        }
    }

    /// From here on problems tell the section's `name`, if it has one that can be shown.
    fn with_name(mut self) -> Section<'a> {
        let name = self.table.get("name").and_then(|value| value.get_ref().as_str());
        let shows = |name: &&str| !name.is_empty() && name.len() <= SHOWN_MAX;
        let name = name.filter(shows).map(|name| name.escape_debug().to_string());
        self.place.name = name;
        self
    }

    /// Where a key is, present or not: one of this section, or one below it, such as
    /// `event.map[2].kind`. The line is that of as much of it as is there.
    fn place_of(&self, key: &str) -> Place {
        let word = self.table.get_key_value(key).map(|(word, _)| self.walk.line(&word.span()));
        if word.is_some() || !key.contains(['.', '[']) {
            return self.at(key, word.or(self.place.line));
        }
        let Place { path, name, mut line } = self.place.clone();
        let mut table = Some(self.table);
        for part in key.split('.') {
            let (word, number) = part.split_once('[').unwrap_or((part, ""));
            let Some((word, value)) = table.and_then(|table| table.get_key_value(word)) else {
                break;
            };
            line = Some(self.walk.line(&word.span()));
            let number = number.trim_end_matches(']').parse::<usize>().ok();
            let member = number.and_then(|number| {
                value.get_ref().as_array().and_then(|list| list.get(number.checked_sub(1)?))
            });
            line = member.map(|member| self.walk.line(&member.span())).or(line);
            table = member.unwrap_or(value).get_ref().as_table();
        }
        Place { path: format!("{path}.{key}"), name, line }
    }

    fn at(&self, key: &str, line: Option<usize>) -> Place {
        let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let plain = !key.is_empty() && key.chars().all(bare);
        let key = if plain { key.to_owned() } else { shown(key) };
        let dot = if self.place.path.is_empty() { "" } else { "." };
        Place {
            path: format!("{}{dot}{key}", self.place.path),
            name: self.place.name.clone(),
            line,
        }
    }
}

impl<'a> Field<'a> {
    /// Notes a problem with this value.
    pub(super) fn problem(&self, what: impl Into<String>, hint: impl Into<String>) {
        self.walk.problem(&self.place, what, hint);
    }

    /// Notes that this value can be meant as it is, and is wrong most times.
    pub(super) fn warn(&self, what: impl Into<String>, hint: impl Into<String>) {
        self.walk.warn(&self.place, what, hint);
    }

    /// A text of one line or many. Not empty.
    pub(super) fn lines(&self) -> Option<&'a str> {
        let Some(text) = self.value.as_str() else {
            let is_list = self.value.is_array();
            let hint =
                if is_list { "write one text, without brackets" } else { "write it in quotes" };
            self.problem(self.is_not("a string"), hint);
            return None;
        };
        if text.is_empty() {
            self.problem("is empty", "give it a value, or remove the key");
            return None;
        }
        Some(text)
    }

    /// A text. Not empty, without control characters.
    pub(super) fn text(&self) -> Option<&'a str> {
        let text = self.lines()?;
        if text.chars().any(char::is_control) {
            self.problem("contains a control character", "remove the character");
            return None;
        }
        Some(text)
    }

    /// The path of a file to read, relative to the working directory unless it is absolute.
    pub(super) fn path(&self) -> Option<PathBuf> {
        let path = self.text().map(PathBuf::from)?;
        if self.walk.installed {
            self.told_if_relative(&path);
        }
        Some(path)
    }

    /// The path of what will be made.
    pub(super) fn place(&self) -> Option<PathBuf> {
        let path = self.text().map(PathBuf::from)?;
        self.told_if_relative(&path);
        Some(path)
    }

    /// Says that a path is relative, where that is wrong most times.
    pub(super) fn told_if_relative(&self, path: &Path) {
        // What begins with a dot is meant to be relative, but not where the unit has its file.
        if path.is_relative() && (self.walk.installed || !path.starts_with(".")) {
            let hint = match self.walk.installed {
                true => "under the unit it would be below /: write the whole path",
                false => "it depends on where suppressd is started: write the whole path, or ./",
            };
            self.warn(format!("{} is a relative path", shown(&path.to_string_lossy())), hint);
        }
    }

    /// The path of a directory, which is there or can be made, as far as that can be told here.
    pub(super) fn directory(&self) -> Option<PathBuf> {
        let path = self.place()?;
        self.is_open_to(&path).then_some(path)
    }

    /// Whether no file stands where a directory is to be.
    pub(super) fn is_open_to(&self, directory: &Path) -> bool {
        let found = obstacle(directory);
        let is_open = found.is_none();
        found.into_iter().for_each(|what| self.problem(what, "choose another path"));
        is_open
    }

    /// A whole number within limits.
    pub(super) fn integer(&self, limits: RangeInclusive<u64>) -> Option<u64> {
        let DeValue::Integer(digits) = self.value else {
            self.problem(self.is_not("a number"), "write a whole number without quotes");
            return None;
        };
        let number = i128::from_str_radix(digits.as_str(), digits.radix()).ok();
        let number = number.and_then(|number| u64::try_from(number).ok());
        match number.filter(|number| limits.contains(number)) {
            Some(number) => Some(number),
            None => {
                let hint = format!("use a number from {} to {}", limits.start(), limits.end());
                self.problem(format!("is {digits}, which is out of range"), hint);
                None
            }
        }
    }

    /// A duration within limits.
    pub(super) fn duration(&self, limits: RangeInclusive<Duration>) -> Option<Duration> {
        let example = "write it with ms, s, m, h or d, such as \"30s\" or \"14d\"";
        let span = self.measure("a duration", example, units::duration)?;
        let show = |span: &Duration| units::show_duration(*span);
        self.within(span, limits, show)
    }

    /// A size in bytes within limits.
    pub(super) fn size(&self, limits: RangeInclusive<u64>) -> Option<u64> {
        let example = "write it with B, KiB, MiB or GiB, such as \"8MiB\"";
        let size = self.measure("a size", example, units::size)?;
        let show = |size: &u64| {
            let unit = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
            let whole = unit.iter().find(|(_, bits)| *size >= 1 << bits);
            whole.map_or(format!("{size}B"), |(unit, bits)| format!("{}{unit}", size >> bits))
        };
        self.within(size, limits, show)
    }

    /// One of some words.
    pub(super) fn choice(&self, what: &str, choices: &[&'static str]) -> Option<&'static str> {
        let text = self.text()?;
        let found = choices.iter().find(|choice| **choice == text).copied();
        if found.is_none() {
            let problem = format!("{} is not {what}", shown(text));
            let near = nearest(text, choices.iter().copied());
            let meant = near.or_else(|| meant(text, choices));
            let meant = meant.map_or(String::new(), |m| format!("did you mean {m:?}? "));
            let hint = format!("{meant}this version has: {}", listed(choices.iter().copied()));
            self.problem(problem, hint);
        }
        found
    }

    /// Yes or no.
    pub(super) fn flag(&self) -> Option<bool> {
        let flag = self.value.as_bool();
        if flag.is_none() {
            self.problem(self.is_not("yes or no"), "write it as true or false, without quotes");
        }
        flag
    }

    /// Any value, as the JSON of the same shape.
    pub(super) fn tree(&self) -> serde_json::Value {
        json_of(self.value)
    }

    /// The members of a list.
    pub(super) fn list(&self) -> Vec<Field<'a>> {
        let DeValue::Array(items) = self.value else {
            self.problem(self.is_not("a list"), "write it in brackets, such as [\"…\", \"…\"]");
            return Vec::new();
        };
        let member = |(index, item): (usize, &'a toml::Spanned<DeValue<'a>>)| {
            let mut place = self.place.clone();
            place.path = format!("{}[{}]", place.path, index + 1);
            place.line = Some(self.walk.line(&item.span()));
            Field { walk: self.walk, place, value: item.get_ref() }
        };
        items.iter().enumerate().map(member).collect()
    }

    /// A list of texts, each read by `read`, which says what it must be. Never empty.
    pub(super) fn list_of<T>(
        &self,
        read: impl Fn(&str) -> Result<T, (String, String)>,
    ) -> Option<Vec<T>> {
        let items = self.list();
        if items.is_empty() && self.value.is_array() {
            self.problem("is an empty list", "name at least one, or remove the key");
        }
        let one = |item: &Field<'a>| match read(item.text()?) {
            Ok(value) => Some(value),
            Err((what, hint)) => {
                item.problem(what, hint);
                None
            }
        };
        let values: Vec<T> = items.iter().filter_map(one).collect();
        (!values.is_empty()).then_some(values)
    }

    /// A table.
    pub(super) fn table(&self) -> Option<Section<'a>> {
        let Some(table) = self.value.as_table() else {
            self.problem(self.is_not("a table"), "write it as { key = … }");
            return None;
        };
        let (walk, place) = (self.walk, self.place.clone());
        Some(Section { walk, table, place, known: RefCell::default() })
    }

    /// Says that the value is of another type than wanted, without showing it.
    pub(super) fn is_not(&self, wanted: &str) -> String {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        format!("is {found}, not {wanted}")
    }

    fn measure<T>(&self, what: &str, example: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let Some(text) = self.value.as_str() else {
            self.problem(self.is_not(what), example);
            return None;
        };
        let value = read(text);
        if value.is_none() {
            self.problem(format!("{} is not {what}", shown(text)), example);
        }
        value
    }

    fn within<T: PartialOrd>(
        &self,
        value: T,
        limits: RangeInclusive<T>,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        if limits.contains(&value) {
            return Some(value);
        }
        let hint = format!("use {} to {}", show(limits.start()), show(limits.end()));
        self.problem(format!("is {}, which is out of range", show(&value)), hint);
        None
    }
}

/// The JSON of the same shape: what an adapter reads that takes a tree.
pub(super) fn json_of(value: &DeValue<'_>) -> serde_json::Value {
    match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => {
            let radix = number.radix();
            i64::from_str_radix(number.as_str(), radix).map_or(serde_json::Value::Null, Into::into)
        }
        DeValue::Float(number) => {
            number.as_str().parse::<f64>().map_or(serde_json::Value::Null, Into::into)
        }
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Datetime(date) => date.to_string().into(),
        DeValue::Array(items) => items.iter().map(|item| json_of(item.get_ref())).collect(),
        DeValue::Table(table) => {
            let pair =
                |(key, value): (&toml::Spanned<DeString<'_>>, &toml::Spanned<DeValue<'_>>)| {
                    (key.get_ref().to_string(), json_of(value.get_ref()))
                };
            serde_json::Value::Object(table.iter().map(pair).collect())
        }
    }
}

/// What stands where a directory is to be, if a file does.
pub(super) fn obstacle(directory: &Path) -> Option<String> {
    let (there, meta) = directory.ancestors().find_map(|at| Some((at, at.metadata().ok()?)))?;
    let what = || format!("{} is a file, and no directory", shown(&there.to_string_lossy()));
    (!meta.is_dir()).then(what)
}

/// A value or key as a problem shows it: quoted, and cut if it is long.
pub(super) fn shown(text: &str) -> String {
    if text.chars().count() <= SHOWN_MAX {
        return format!("{text:?}");
    }
    let head: String = text.chars().take(SHOWN_MAX).collect();
    format!("{:?}", head + "…")
}

/// Keeps the value, or notes what is wrong with it.
pub(super) fn checked<T, E: Display>(
    field: &Field<'_>,
    result: Result<T, E>,
    hint: &str,
) -> Option<T> {
    result.map_err(|error| field.problem(error.to_string(), hint)).ok()
}
