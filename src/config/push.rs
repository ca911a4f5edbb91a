//! A source's `push` table: which of our suppressions go to its provider's own list.

use super::near::listed;
use super::poll::Poll;
use super::polls::PushSettings;
use super::section::{Section, shown};
use super::source::{note, settings};
use crate::model::{PushVerb, Reason, Time};
use crate::provider::{Provider, Push, outlet};

/// The `push` table of a source. `None` where a problem was noted.
pub(super) fn push(
    section: &Section<'_>,
    provider: &dyn Provider,
    poll: Option<&Poll>,
) -> Option<PushSettings> {
    let Some(outlet) = outlet(provider.name()) else {
        let what = format!("{} has no list that can be added to", provider.name());
        section.problem_here(what, "remove push");
        return None;
    };
    let known = || listed(Reason::ALL.map(Reason::as_str).iter().copied());
    let reason = |text: &str| {
        Reason::parse(text).ok_or_else(|| (format!("{} is no reason", shown(text)), known()))
    };
    let hint = "name the reasons whose suppressions are pushed, as [\"complaint\", \"manual\"]";
    let field = section.need("reasons", hint);
    let reasons = field.and_then(|field| field.list_of(reason)).unwrap_or_default();
    let own = settings(section, &[outlet.keys()]);
    section.finish();
    let poll = poll.filter(|_| !section.has_problems())?;
    let settings = poll.settings().with(own);
    let now = Time::from_seconds(0);
    for verb in [PushVerb::Add, PushVerb::Remove] {
        let (settings, address) = (&settings, "user@example.org");
        let push = Push { provider, settings, verb, address, reason: None, now };
        if let Err(error) = outlet.requests(&push) {
            note(section, &error);
            return None;
        }
    }
    Some(PushSettings { reasons, settings })
}
