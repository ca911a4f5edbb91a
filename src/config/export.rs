//! The `[[export]]` tables: which suppressions go into which file, and how it is kept.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::{Group, User};
use toml::de::DeValue;

use super::exports::{self, Format, Hash, READ, Style, Table};
use super::near::listed;
use super::places::{IN_THE_WAY, Places};
use super::reply::refusals;
use super::section::{Field, Section, shown};
use super::{DAY, scope};
use crate::model::reply::Refusals;
use crate::model::{Filter, Reason, Scope, SourceName};

const INTERVALS: RangeInclusive<Duration> = Duration::ZERO..=DAY;

/// Between two writings of a whole file. An LMDB map is changed in place, and need not wait.
const INTERVAL: Duration = Duration::from_secs(1);

const MAX_SHRINK: u8 = 50;

/// Permissions that a file of rows can have: no set-id, no sticky bit.
const MODE_MAX: u32 = 0o777;

/// All `[[export]]` tables. `sources`: the names of the configured sources.
pub(super) fn exports(
    sections: Vec<Section<'_>>,
    sources: &BTreeSet<SourceName>,
    places: &mut Places,
) -> Vec<exports::Settings> {
    let mut names = BTreeSet::new();
    let each = |section| export(section, sources, &mut names, places);
    sections.into_iter().filter_map(each).collect()
}

fn export(
    section: Section<'_>,
    sources: &BTreeSet<SourceName>,
    names: &mut BTreeSet<String>,
    places: &mut Places,
) -> Option<exports::Settings> {
    let name = name(&section, names);
    let format = chosen_format(&section);
    let table = section.take("table").and_then(|field| chosen_table(&field, format));
    let hash = section.take("hash").and_then(|field| chosen_hash(&field, format));
    let ending = format.zip(table.or(format.map(|format| format.tables()[0])));
    let ending = ending.map_or("", |(format, table)| format.ending(table));
    let path = path(&section, name.as_deref(), ending, places);
    let usual = format.map_or(&[][..], |format| format.reasons());
    let filter = filter(&section, sources, usual);
    let replies = section.take("reply").and_then(|field| replies(&field, format));
    let interval = section.take("min_interval").and_then(|field| field.duration(INTERVALS));
    let max_shrink = section.take("max_shrink").and_then(|field| percent(&field));
    let command = section.take("command").map(|field| command(&field));
    let owner = section.take("owner").and_then(|field| user(&field));
    let group = section.take("group").and_then(|field| group(&field));
    let mode = section.take("mode").and_then(|field| {
        let mode = mode(&field)?;
        if mode & READ == 0 {
            field.problem("lets nobody read the file", "let the MTA read it, such as \"0640\"");
        }
        Some(mode)
    });
    section.finish();
    let format = format?;
    let replies = replies.unwrap_or_default();
    let table = table.unwrap_or(format.tables()[0]);
    Some(exports::Settings {
        name: name?,
        format,
        style: Style::new(format, table, hash.unwrap_or(Hash::Sha256), &replies),
        path: path?,
        filter,
        min_interval: interval.unwrap_or_else(|| usual_interval(table)),
        max_shrink: max_shrink.unwrap_or(MAX_SHRINK),
        command: command.unwrap_or_default(),
        owner,
        group,
        mode,
    })
}

/// The least time between two writings, unless that is set.
pub(super) fn usual_interval(table: Table) -> Duration {
    if table == Table::Lmdb { Duration::ZERO } else { INTERVAL }
}

fn name(section: &Section<'_>, taken: &mut BTreeSet<String>) -> Option<String> {
    let field = section.need("name", "give the export a name, such as \"postfix\"")?;
    let name = super::name::name(&field)?.to_string();
    if !taken.insert(name.clone()) {
        field.problem(format!("{name:?} is the name of an earlier export"), "choose another");
        return None;
    }
    Some(name)
}

fn chosen_format(section: &Section<'_>) -> Option<&'static dyn Format> {
    let names: Vec<&'static str> = exports::ALL.iter().map(|format| format.name()).collect();
    let hint = format!("this version has: {}", listed(names.iter().copied()));
    let chosen = section.need("format", &hint)?.choice("a format", &names)?;
    exports::ALL.iter().copied().find(|format| format.name() == chosen)
}

/// A table that the format has.
fn chosen_table(field: &Field<'_>, format: Option<&'static dyn Format>) -> Option<Table> {
    let tables = format?.tables();
    let names: Vec<&'static str> = tables.iter().map(|table| table.as_str()).collect();
    let what = format!("a table of {}", format?.name());
    let chosen = field.choice(&what, &names)?;
    tables.iter().copied().find(|table| table.as_str() == chosen)
}

fn chosen_hash(field: &Field<'_>, format: Option<&'static dyn Format>) -> Option<Hash> {
    if !format?.hashes() {
        field.problem("is of no use: the format has no hashes", "remove it, or use \"hashed\"");
        return None;
    }
    match field.choice("a hash", &["sha256", "md5"])? {
        "md5" => Some(Hash::Md5),
        _ => Some(Hash::Sha256),
    }
}

fn path(
    section: &Section<'_>,
    name: Option<&str>,
    ending: &str,
    places: &mut Places,
) -> Option<PathBuf> {
    let field = section.need("path", "name the file that the MTA reads")?;
    let path = field.place()?;
    let text = path.to_string_lossy();
    if text.ends_with('/') || path.file_name().is_none() {
        field.problem(format!("{} is a directory", shown(&text)), "name a file in it");
        return None;
    }
    if !text.ends_with(ending) {
        let what = format!("{} does not end in {ending}", shown(&text));
        field.problem(what, "the MTA adds that to the name of a table");
        return None;
    }
    let what = format!("written by export {:?} already", name.unwrap_or("?"));
    if !places.take(&field, &path, what, "replaced") {
        return None;
    }
    match path.metadata() {
        Ok(meta) if meta.is_dir() => {
            let hint = "name a file in it, or remove it if nothing needs it";
            field.warn(format!("{} is a directory", shown(&text)), hint);
        }
        Ok(meta) if !meta.is_file() => {
            field.warn(format!("{} is a pipe, a device or a socket", shown(&text)), IN_THE_WAY);
        }
        _ => {}
    }
    Some(path)
}

/// The reasons, sources and scopes that an export or a lookup is about. `usual`: the reasons where
/// none are named.
pub(super) fn filter(
    section: &Section<'_>,
    sources: &BTreeSet<SourceName>,
    usual: &[Reason],
) -> Filter {
    let reason = |text: &str| {
        let known = listed(Reason::ALL.into_iter().map(Reason::as_str));
        let unknown = || (format!("{} is not a reason", shown(text)), format!("use: {known}"));
        Reason::parse(text).ok_or_else(unknown)
    };
    let source = |text: &str| {
        let ours = [SourceName::operator(), SourceName::import()];
        let mut known = sources.iter().chain(&ours);
        let hint = || listed(sources.iter().chain(&ours).map(SourceName::as_str));
        let unknown =
            || (format!("{} is not a source", shown(text)), format!("the sources are: {}", hint()));
        known.find(|name| name.as_str() == text).cloned().ok_or_else(unknown)
    };
    let reasons = section.take("reasons").and_then(|field| field.list_of(reason));
    let named = section.take("sources").and_then(|field| field.list_of(source));
    let scopes = section.take("scopes").and_then(|field| field.list_of(scope));
    Filter {
        reasons: reasons.unwrap_or_else(|| usual.to_vec()),
        sources: named.unwrap_or_default(),
        scopes: scopes.unwrap_or_else(|| vec![Scope::Global]),
    }
}

fn replies(field: &Field<'_>, format: Option<&'static dyn Format>) -> Option<Refusals> {
    let format = format?;
    if format.has_replies() {
        return refusals(field, |text| format.check_reply(text));
    }
    let what = format!("is of no use: a file of {} holds no reply", format.name());
    field.problem(what, "remove the key");
    None
}

fn percent(field: &Field<'_>) -> Option<u8> {
    let hint = "write \"0%\" to \"100%\", in quotes";
    let Some(text) = field.value.as_str() else {
        field.problem(field.is_not("a percentage"), hint);
        return None;
    };
    let number = text.strip_suffix('%').and_then(|digits| digits.trim().parse().ok());
    let number = number.filter(|number| *number <= 100);
    if number.is_none() {
        field.problem(format!("{} is not a percentage", shown(text)), hint);
    }
    number
}

/// The words of a command may hold secrets: none is shown.
fn command(field: &Field<'_>) -> Vec<String> {
    let mut words = Vec::new();
    let items = field.list();
    if items.is_empty() && field.value.is_array() {
        field.problem("is an empty list", "name the program to run, or remove the key");
    }
    for (index, item) in items.iter().enumerate() {
        match item.value.as_str() {
            Some("") if index == 0 => item.problem("is empty", "name the program to run"),
            Some(word) if word.contains('\0') => {
                item.problem("contains a null character", "remove the character");
            }
            Some(word) => words.push(word.to_owned()),
            None => item.problem(item.is_not("a string"), "write each word in quotes"),
        }
    }
    if let Some(program) = words.first() {
        doubtful_program(field, program, words.len());
    }
    words
}

/// The command runs without a shell: its first word is a program.
fn doubtful_program(field: &Field<'_>, program: &str, words: usize) {
    if exports::find_program(program).is_some() {
        return;
    }
    if words == 1 && program.contains(char::is_whitespace) {
        let hint = "there is no shell: write each word in quotes of its own, [\"/bin/x\", \"y\"]";
        return field.problem("is one text with blanks", hint);
    }
    let hint = "name a program of this host by its whole path";
    field.warn("names no program that can be run here", hint);
}

fn user(field: &Field<'_>) -> Option<u32> {
    let find = |name: &str| User::from_name(name).map(|user| user.map(|user| user.uid.as_raw()));
    account(field, "user", find)
}

pub(super) fn group(field: &Field<'_>) -> Option<u32> {
    let find =
        |name: &str| Group::from_name(name).map(|group| group.map(|group| group.gid.as_raw()));
    account(field, "group", find)
}

/// A name that the host knows, or a number.
fn account<E: Display>(
    field: &Field<'_>,
    kind: &str,
    find: impl Fn(&str) -> Result<Option<u32>, E>,
) -> Option<u32> {
    // The highest number means "unchanged" to chown(2).
    let most = u64::from(u32::MAX) - 1;
    if matches!(field.value, DeValue::Integer(_)) {
        return field.integer(0..=most).and_then(|id| u32::try_from(id).ok());
    }
    let text = field.text()?;
    let hint = format!("name a {kind} of this host, or write its number");
    match find(text) {
        Ok(Some(id)) => return Some(id),
        Ok(None) => match text.parse::<u32>() {
            Ok(id) if u64::from(id) <= most => return Some(id),
            _ => field.problem(format!("this host has no {kind} {}", shown(text)), hint),
        },
        Err(error) => field.problem(format!("cannot look up the {kind}: {error}"), hint),
    }
    None
}

pub(super) fn mode(field: &Field<'_>) -> Option<u32> {
    let hint = "write it in octal and in quotes, such as \"0640\"";
    let Some(text) = field.value.as_str() else {
        field.problem(field.is_not("a string"), hint);
        return None;
    };
    let octal = !text.is_empty() && text.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= MODE_MAX);
    if mode.is_none() {
        field.problem(format!("{} is not a file's mode", shown(text)), hint);
    }
    mode
}
