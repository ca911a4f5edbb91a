//! The `rules` table: what suppresses for how long.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::EVER;
use super::near::nearest;
use super::section::{Field, Section, shown};
use crate::model::{Class, EventKind, Fault, Never, SourceName, TALLY_MAX, Term};
use crate::provider::{self, Judge};
use crate::rules::{Rules, Threshold};
use crate::units;
use crate::verdict::own::{Codes, OwnRow, Words};

const TERMS: RangeInclusive<Duration> = Duration::from_secs(1)..=EVER;
const GAPS: RangeInclusive<Duration> = Duration::ZERO..=EVER;

/// The `[rules]` table: what suppresses, the administrator's own rows in their order, and whom
/// nothing suppresses, as it is written.
pub(super) fn rules(
    section: Section<'_>,
    names: &BTreeSet<SourceName>,
) -> (Rules, Judge, Vec<Box<str>>) {
    let default = Rules::default();
    let of = |key: &'static str, default: Term| {
        let table = section.take(key).and_then(|field| rule_table(&field, "{ for = \"forever\" }"));
        table.and_then(only_term).unwrap_or(default)
    };
    let never = section.take("never").map(|field| never(&field)).unwrap_or_default();
    let rules = Rules {
        hard_bounce: of("hard_bounce", default.hard_bounce),
        complaint: of("complaint", default.complaint),
        unsubscribe: of("unsubscribe", default.unsubscribe),
        invalid: of("invalid", default.invalid),
        provider_listed: of("provider_listed", default.provider_listed),
        soft_bounce: section
            .take("soft_bounce")
            .and_then(|field| threshold(&field, default.soft_bounce))
            .unwrap_or(default.soft_bounce),
        blocked: section.take("blocked").and_then(|field| or_never(&field, Threshold::default())),
        unexplained: match section.take("unexplained") {
            Some(field) => or_never(&field, Threshold::UNEXPLAINED),
            None => default.unexplained,
        },
        never: never.0,
    };
    let replies = section.tables("reply");
    let replies = replies.iter().enumerate();
    let mut own: Vec<OwnRow> =
        replies.filter_map(|(index, row)| reply(row, index + 1, names)).collect();
    let short = section.take("diagnostics").map(|field| field.list()).unwrap_or_default();
    let short = short.iter().enumerate();
    own.extend(short.filter_map(|(index, row)| diagnostic(row, index + 1)));
    section.finish();
    (rules, Judge { own, listed_by_rule: section.has("provider_listed") }, never.1)
}

/// Who is never suppressed.
fn never(field: &Field<'_>) -> (Never, Vec<Box<str>>) {
    let (mut never, mut written) = (Never::default(), Vec::new());
    for item in field.list() {
        let Some(text) = item.text() else { continue };
        if never.add(text).is_err() {
            let hint = "write \"postmaster@example.com\", or \"@example.com\" for a domain";
            let what = format!("{} is neither an address nor a domain behind @", shown(text));
            item.problem(what, hint);
        }
        written.push(text.into());
    }
    (never, written)
}

/// What a row can mean, by kind.
const KINDS: [&str; 3] = ["hard_bounce", "soft_bounce", "blocked"];

/// A row of `[[rules.reply]]`.
fn reply(section: &Section<'_>, number: usize, names: &BTreeSet<SourceName>) -> Option<OwnRow> {
    let text = section.take("text");
    let pattern = section.take("pattern");
    let words = match (text, pattern) {
        (Some(_), Some(pattern)) => {
            pattern.problem("stands beside text", "keep one of them");
            return None;
        }
        (Some(text), None) => words_of(&text),
        (None, Some(pattern)) => pattern.text().and_then(|text| {
            let hint = "write it as Rust's regex crate reads it, in '…' so that \\ needs no other";
            let words = Words::pattern(text).map_err(|what| pattern.problem(what, hint)).ok()?;
            telling(&pattern, words)
        }),
        (None, None) => None,
    };
    let code = section.take("code").and_then(|field| field.integer(400..=599));
    let enhanced = section.take("enhanced").and_then(|field| {
        let text = field.text()?;
        let hint = "write it as \"5.7.1\" or \"4.2.2\", or \"x.7.1\" for any first digit";
        let codes = Codes::parse(text);
        if codes.is_none() {
            field.problem(format!("{} is no enhanced code of a failure", shown(text)), hint);
        }
        codes
    });
    let providers: Vec<&str> = provider::ALL.iter().map(|provider| provider.name()).collect();
    let of = section.take("provider").and_then(|field| field.choice("a provider", &providers));
    let source = section.take("source").and_then(|field| {
        let text = field.text()?;
        let found = names.iter().find(|name| name.as_str() == text).cloned();
        if found.is_none() {
            let hint = "name one of the [[source]] tables";
            field.problem(format!("{} is not a source", shown(text)), hint);
        }
        found
    });
    let meaning = meant(section, number);
    section.finish();
    let reads = ["text", "pattern", "code", "enhanced"].iter().any(|key| section.has(key));
    if !reads {
        let hint = "give it a text or a pattern to look for, or a code or enhanced code";
        section.problem_here("would hold of every failure", hint);
    }
    if section.has_problems() {
        return None;
    }
    let meaning = meaning?;
    let is_code_alone = code.is_some() && words.is_none() && enhanced.is_none();
    if is_code_alone && meaning.class.fault() == Fault::Recipient {
        let hint = "give it a text or an enhanced code, unless no server says it of anything else";
        section.warn("code", "alone calls every address dead that is refused so", hint);
    }
    Some(OwnRow {
        words,
        code: code.and_then(|code| u16::try_from(code).ok()),
        enhanced,
        provider: of.map(str::to_owned),
        source,
        ..meaning
    })
}

/// Shortest text that tells one reply from another, in signs of an alphabet.
const TEXT_MIN: usize = 3;

/// The words of a `text`.
fn words_of(field: &Field<'_>) -> Option<Words> {
    let words = field.text().map(Words::text).and_then(|words| telling(field, words))?;
    if words.as_str().is_ascii() && words.as_str().len() < TEXT_MIN {
        field.warn("stands in nearly every reply", "give it words that only such a reply has");
    }
    Some(words)
}

/// Words that tell a reply from another.
fn telling(field: &Field<'_>, words: Words) -> Option<Words> {
    if !words.hold_of_all() {
        return Some(words);
    }
    field.problem("would hold of every failure", "give it words that only such a reply has");
    None
}

/// What a row says that a failure is: a class, or a kind.
fn meant(section: &Section<'_>, number: usize) -> Option<OwnRow> {
    let classes = Class::ALL.map(|(_, name)| name);
    let class = section.take("class");
    let kind = section.take("kind");
    if let (Some(_), Some(kind)) = (&class, &kind) {
        kind.problem("stands beside class", "keep class: the kind follows from it");
        return None;
    }
    if class.is_none() && kind.is_none() {
        section.missing("class", "write what such a failure is, such as class = \"full\"");
    }
    let class = class.and_then(|field| field.choice("a class of failure", &classes));
    let kind = kind.and_then(|field| field.choice("a kind of failure", &KINDS));
    let name = format!("rules.reply[{number}]");
    match (class.and_then(Class::parse), kind.and_then(EventKind::parse)) {
        (Some(class), _) => Some(OwnRow::of_class(name, class)),
        (None, kind) => Some(OwnRow::of_kind(name, kind?)),
    }
}

/// A row of `rules.diagnostics`, the short form.
fn diagnostic(field: &Field<'_>, number: usize) -> Option<OwnRow> {
    let section = rule_table(field, "{ text = \"over quota\", kind = \"soft_bounce\" }")?;
    let hint = "give the words to look for in what a server says";
    let words = section.need("text", hint).and_then(|field| words_of(&field));
    let hint = "write hard_bounce, soft_bounce or blocked";
    let kind = section.need("kind", hint).and_then(|f| f.choice("a kind of failure", &KINDS));
    section.finish();
    let row = OwnRow::of_kind(format!("rules.diagnostics[{number}]"), EventKind::parse(kind?)?);
    Some(OwnRow { words: Some(words?), ..row })
}

fn rule_table<'a>(field: &Field<'a>, example: &str) -> Option<Section<'a>> {
    if field.value.as_str() == Some("never") {
        let hint =
            "leave it out of `reasons` in the [[export]] or [[lookup]]; facts are always kept";
        field.problem("cannot be turned off here", hint);
        return None;
    }
    if !field.value.is_table() {
        field.problem(field.is_not("a table"), format!("write it as {example}"));
        return None;
    }
    field.table()
}

fn only_term(section: Section<'_>) -> Option<Term> {
    let term = section.take("for").and_then(|field| term(&field));
    section.finish();
    term
}

fn or_never(field: &Field<'_>, default: Threshold) -> Option<Threshold> {
    match field.value.as_str() {
        Some("never") => None,
        Some(word) => {
            let meant = match nearest(word, ["never"]) {
                Some(_) => "did you mean \"never\"?",
                None => "write \"never\", or { count = 5, within = \"14d\", for = \"30d\" }",
            };
            field.problem(format!("{} is neither \"never\" nor a table", shown(word)), meant);
            None
        }
        None => threshold(field, default),
    }
}

/// What a threshold does not say is as in the default.
fn threshold(field: &Field<'_>, default: Threshold) -> Option<Threshold> {
    let section = rule_table(field, "{ count = 5, within = \"14d\", for = \"30d\" }")?;
    let most = TALLY_MAX as u64;
    let count = section.take("count").and_then(|field| field.integer(1..=most));
    let within = section.take("within").and_then(|field| field.duration(TERMS));
    let apart = section.take("apart").and_then(|field| field.duration(GAPS));
    let term = section.take("for").and_then(|field| term(&field));
    section.finish();
    let threshold = Threshold {
        count: count.and_then(|n| usize::try_from(n).ok()).unwrap_or(default.count),
        within: within.unwrap_or(default.within),
        apart: apart.unwrap_or(default.apart),
        term: term.unwrap_or(default.term),
    };
    let gaps = u32::try_from(threshold.count - 1).unwrap_or(u32::MAX);
    if !section.has_problems() && threshold.apart.saturating_mul(gaps) > threshold.within {
        let Threshold { count, apart, within, .. } = &threshold;
        let (apart, within) = (units::show_duration(*apart), units::show_duration(*within));
        let what = format!("never comes to {count}, each {apart} apart, within {within}");
        field.problem(what, "raise within, or lower count or apart");
    }
    Some(threshold)
}

fn term(field: &Field<'_>) -> Option<Term> {
    match field.value.as_str() {
        Some("forever") => Some(Term::Forever),
        Some(text) if units::duration(text).is_none() => {
            let hint = "write \"forever\", or a duration such as \"30d\"";
            field.problem(format!("{} is not a duration", shown(text)), hint);
            None
        }
        _ => field.duration(TERMS).map(Term::For),
    }
}
