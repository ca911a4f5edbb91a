//! The `rules` table: what suppresses for how long.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::EVER;
use super::section::{Field, Section, shown};
use crate::model::{EventKind, Never, TALLY_MAX, Term};
use crate::provider::{Diagnostic, Judge};
use crate::rules::{Rules, Threshold};
use crate::units;

const TERMS: RangeInclusive<Duration> = Duration::from_secs(1)..=EVER;

/// The `[rules]` table.
pub(super) fn rules(section: Section<'_>) -> (Rules, Judge) {
    let default = Rules::default();
    let of = |key: &'static str, default: Term| {
        let table = section.take(key).and_then(|field| rule_table(&field, "{ for = \"forever\" }"));
        table.and_then(only_term).unwrap_or(default)
    };
    let rules = Rules {
        hard_bounce: of("hard_bounce", default.hard_bounce),
        complaint: of("complaint", default.complaint),
        unsubscribe: of("unsubscribe", default.unsubscribe),
        invalid: of("invalid", default.invalid),
        provider_listed: of("provider_listed", default.provider_listed),
        soft_bounce: section
            .take("soft_bounce")
            .and_then(|field| threshold(&field))
            .unwrap_or(default.soft_bounce),
        blocked: section.take("blocked").and_then(|field| match field.value.as_str() {
            Some("never") => None,
            _ => threshold(&field),
        }),
        never: section.take("never").map(|field| never(&field)).unwrap_or_default(),
    };
    let judge = section.take("diagnostics").map(|field| judge(&field)).unwrap_or_default();
    section.finish();
    (rules, judge)
}

/// Who is never suppressed.
fn never(field: &Field<'_>) -> Never {
    let mut never = Never::default();
    for item in field.list() {
        let Some(text) = item.text() else { continue };
        if never.add(text).is_err() {
            let hint = "write \"postmaster@example.com\", or \"@example.com\" for a domain";
            let what = format!("{} is neither an address nor a domain behind @", shown(text));
            item.problem(what, hint);
        }
    }
    never
}

/// The administrator's own rows of diagnostics.
fn judge(field: &Field<'_>) -> Judge {
    Judge { own: field.list().iter().filter_map(diagnostic).collect() }
}

fn diagnostic(field: &Field<'_>) -> Option<Diagnostic> {
    let section = rule_table(field, "{ text = \"over quota\", kind = \"soft_bounce\" }")?;
    let hint = "give the words to look for in what a server says";
    let text = section.need("text", hint).and_then(|field| field.text());
    let hint = "write hard_bounce, soft_bounce or blocked";
    let kinds = ["hard_bounce", "soft_bounce", "blocked"];
    let kind = section.need("kind", hint).and_then(|f| f.choice("a kind of failure", &kinds));
    section.finish();
    Some(Diagnostic { text: text?.to_lowercase(), kind: EventKind::parse(kind?)? })
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

/// What a threshold does not say is as in the default.
fn threshold(field: &Field<'_>) -> Option<Threshold> {
    let section = rule_table(field, "{ count = 5, within = \"14d\", for = \"30d\" }")?;
    let default = Threshold::default();
    let most = TALLY_MAX as u64;
    let count = section.take("count").and_then(|field| field.integer(1..=most));
    let within = section.take("within").and_then(|field| field.duration(TERMS));
    let term = section.take("for").and_then(|field| term(&field));
    section.finish();
    Some(Threshold {
        count: count.and_then(|n| usize::try_from(n).ok()).unwrap_or(default.count),
        within: within.unwrap_or(default.within),
        term: term.unwrap_or(default.term),
    })
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
