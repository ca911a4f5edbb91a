//! The rows of answers, with the field names of the contract. Absent fields are `null`.

use serde_json::{Value, json};

use crate::model::{Class, Suppression, Time, Until};
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
    let event = &told.event;
    let metadata = event.metadata.as_deref();
    let metadata = metadata.and_then(|text| serde_json::from_str::<Value>(text).ok());
    json!({
        "id": told.id.to_string(),
        "source": event.source.as_str(),
        "provider": event.provider,
        "kind": event.kind.as_str(),
        "class": event.class().map(Class::as_str),
        "address": event.address.received(),
        "scope": event.scope.to_string(),
        "at": event.at.to_string(),
        "received_at": event.received_at.to_string(),
        "origin": event.origin.as_str(),
        "origins": told.origins.iter().map(|origin| origin.as_str()).collect::<Vec<_>>(),
        "message_id": event.message_id,
        "smtp_code": event.smtp_code,
        "enhanced_code": event.enhanced_code,
        "diagnostic": event.diagnostic,
        "tags": event.tags,
        "url": event.url,
        "user_agent": event.user_agent,
        "provider_kind": event.provider_kind,
        "provider_event_id": event.provider_event_id,
        "machine": event.machine,
        "metadata": metadata,
    })
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
