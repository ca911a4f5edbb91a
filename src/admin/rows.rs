//! The rows of answers, with the field names of the contract. Absent fields are `null`.

use serde_json::{Value, json};

use crate::forgotten::{KeptGround, Person};
use crate::model::{Suppression, Time, Until, row};
use crate::rules::Finding;
use crate::store::Told;

/// A time, or `null`.
pub(super) fn time(time: Option<Time>) -> Value {
    time.map_or(Value::Null, |time| time.to_string().into())
}

/// An end, `null` when there is none.
pub(super) fn until(until: Until) -> Value {
    time(until.time())
}

/// A row of `list`.
pub(super) fn suppression(suppression: &Suppression) -> Value {
    json!({
        "address": suppression.address,
        "scope": suppression.scope.to_string(),
        "reason": suppression.reason.as_str(),
        "since": suppression.since.to_string(),
        "until": until(suppression.until),
        "sources": names(&suppression.sources),
        "note": suppression.note,
    })
}

/// Why somebody is suppressed who was forgotten.
pub(super) fn ground(ground: &KeptGround) -> Value {
    json!({
        "scope": ground.scope.to_string(),
        "reason": ground.reason.as_str(),
        "since": ground.since.to_string(),
        "until": until(ground.until),
    })
}

/// What is known of somebody who was forgotten.
pub(super) fn forgotten(person: &Person) -> Value {
    json!({
        "since": person.since.to_string(),
        "grounds": person.grounds.iter().map(ground).collect::<Vec<_>>(),
        "told": person.told,
        "last_told": time(person.last),
    })
}

/// A row of `lookup`: the verdict on an address as it was asked for. `never`: the entry of the
/// rules by which it is never suppressed.
pub(super) fn verdict(
    address: &str,
    scope: &str,
    found: Option<&Suppression>,
    never: Option<&str>,
) -> Value {
    let mut row = found.map_or_else(
        || json!({ "reason": null, "since": null, "until": null, "sources": [], "note": null }),
        suppression,
    );
    row["address"] = address.into();
    row["suppressed"] = found.is_some().into();
    row["never"] = never.into();
    row["scope"] = found.map_or(scope.to_owned(), |s| s.scope.to_string()).into();
    row
}

/// A row of `events`.
pub(super) fn event(told: &Told) -> Value {
    row::event(&told.id.to_string(), &told.event, &told.origins)
}

/// A row of `explain`: an event, and what says of which class it is.
pub(super) fn explained(told: &Told) -> Value {
    let failure = told.event.failure.as_ref();
    let judgement = failure.and_then(|failure| failure.judgement.as_ref());
    let mut row = event(told);
    row["rule"] = judgement.map_or(Value::Null, |judgement| judgement.rule.clone().into());
    row["evidence"] = judgement.map_or(Value::Null, |judgement| judgement.evidence.clone().into());
    row
}

/// A finding of `explain`.
pub(super) fn finding(finding: &Finding, now: Time) -> Value {
    json!({
        "reason": finding.reason.as_str(),
        "sources": names(&finding.sources),
        "since": finding.since.to_string(),
        "until": until(finding.until),
        "live": finding.is_live(now),
        "lifted": time(finding.lifted),
        "exempt": finding.exempt,
        "held": finding.held.map(|mass| mass.0),
        "note": finding.note,
    })
}

fn names(sources: &[crate::model::SourceName]) -> Vec<&str> {
    sources.iter().map(|source| source.as_str()).collect()
}
