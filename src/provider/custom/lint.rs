//! What of a description does nothing, or something else than it seems to: secrets that protect
//! nothing, handshakes that never come, knobs beside which others count.

use serde_json::Value;

use super::event::{At, Condition, Knobs as EventKnobs};
use super::poll::Knobs as FeedKnobs;
use super::proof::Proof;
use super::{Echo, Format, tree};
use super::{SettingError, SettingErrors, Settings};

/// Notes what of `ignore_when` cannot be used.
pub(super) fn conditions<'c>(
    conditions: impl Iterator<Item = &'c Condition>,
    settings: &Settings,
    errors: &mut SettingErrors,
) {
    for (number, condition) in (1..).zip(conditions) {
        let fault = condition.fault();
        errors.0.extend(
            fault.map(|(what, hint)| {
                settings.problem(&format!("ignore_when[{number}]"), what, hint)
            }),
        );
    }
}

/// Notes what of `echo` cannot be used.
pub(super) fn echo(echo: Option<&Echo>, settings: &Settings, errors: &mut SettingErrors) {
    if echo.is_some_and(|echo| !echo.when.starts_with('/')) {
        let what = "is no JSON pointer";
        errors.0.push(settings.problem("echo.when", what, "start it with a /"));
    }
}

/// Notes secrets that nothing checks, and a signature of what the format does not have.
pub(super) fn proof(
    proof: Option<&Proof>,
    format: Format,
    settings: &Settings,
    errors: &mut SettingErrors,
) {
    for key in ["secret", "public_key"] {
        if proof.is_none() && !settings.secrets(key).is_empty() {
            let hint = "add verify = { … }, which says what is signed, or remove it";
            errors.0.push(settings.problem(key, "is used by nothing: there is no verify", hint));
        }
    }
    if proof.is_some_and(Proof::signs_payload) && format != Format::Form {
        let hint = "sign {body}, or say format = \"form\"";
        let what = "has {payload}, which is what a form holds";
        errors.0.push(settings.problem("verify.signed", what, hint));
    }
}

/// Notes a time in a header that anybody could change who has a notification.
pub(super) fn time(
    event: Option<&EventKnobs>,
    proof: Option<&Proof>,
    settings: &Settings,
    errors: &mut SettingErrors,
) {
    let header = event.and_then(EventKnobs::header_of_time);
    if header.zip(proof).is_some_and(|(header, proof)| !proof.covers(header)) {
        let hint = "sign the header too, as the provider does, or leave the time out: an event \
            then counts from when it came";
        errors.0.push(settings.problem("event.time", "is a header that is not signed", hint));
    }
}

/// What is most times not meant; of the webhook only where there is no poll, since it was told
/// then.
pub(super) fn doubts(webhook: Option<&Settings>, poll: Option<&Settings>) -> Vec<SettingError> {
    match (webhook, poll) {
        (Some(webhook), None) => of_webhook(webhook),
        (webhook, Some(poll)) => of_poll(webhook, poll),
        (None, None) => Vec::new(),
    }
}

fn of_webhook(settings: &Settings) -> Vec<SettingError> {
    let mut doubts = Vec::new();
    if let Ok(proof) = tree::<Proof>(settings, "verify") {
        let told = proof.doubts(settings).into_iter();
        doubts.extend(told.map(|(key, what, hint)| settings.problem(key, what, hint)));
    }
    if let Ok(event) = tree::<EventKnobs>(settings, "event") {
        doubts.extend(event.doubts(At::Here, None, settings));
    }
    doubts
}

fn of_poll(webhook: Option<&Settings>, settings: &Settings) -> Vec<SettingError> {
    let told = webhook.and_then(|settings| settings.tree("event")).unwrap_or(&Value::Null);
    let event = settings.tree("event").unwrap_or(&Value::Null);
    let feeds = tree::<Vec<FeedKnobs>>(settings, "feed").unwrap_or_default();
    let doubts = (1..).zip(&feeds);
    let doubts = doubts.flat_map(|(number, feed)| feed.doubts(number, (told, event), settings));
    let mut known: Vec<SettingError> = Vec::new();
    for doubt in doubts {
        // What all feeds share is told once.
        if !known.contains(&doubt) {
            known.push(doubt);
        }
    }
    known
}
