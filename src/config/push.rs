//! A source's `push` table: which of our suppressions go to its provider's own list.

use super::near::listed;
use super::poll::{IN_CLEAR, PRIVATE, Poll, is_private};
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
    let own = settings(section, provider.name(), &[outlet.keys()]);
    section.finish();
    let poll = poll.filter(|_| !section.has_problems())?;
    let settings = poll.settings().with(own);
    let now = Time::from_seconds(0);
    // Every form that a request can take, so that none fails later.
    let adds = reasons.iter().map(|reason| (PushVerb::Add, Some(*reason)));
    for (verb, reason) in adds.chain([(PushVerb::Remove, None)]) {
        let (settings, address) = (&settings, "user@example.org");
        let push = Push { provider, settings, verb, address, reason, now };
        let problem = match outlet.requests(&push) {
            Err(error) => Some(error),
            Ok(requests) => {
                let exposed = requests.iter().any(|request| !is_private(&request.url));
                exposed.then(|| settings.problem(verb.as_str(), IN_CLEAR, PRIVATE))
            }
        };
        if let Some(error) = problem {
            note(section, &error);
        }
    }
    (!section.has_problems()).then_some(PushSettings { reasons, settings })
}
