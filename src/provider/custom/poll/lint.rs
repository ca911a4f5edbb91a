//! What of a feed's table is most times not meant.

use serde_json::Value;
use url::Url;

use super::super::event::{At, Knobs as EventKnobs};
use super::super::template::{Texts, merged};
use super::{Knobs, Paging, SettingError, Settings, rfc3339};

/// All blanks of a feed's requests.
const BLANKS: &[&str] = &["{since}", "{until}", "{offset}", "{page}", "{cursor}"];

impl Knobs {
    /// What is most times not meant of the feed of that number. `event`: what the poll's own table
    /// says of all feeds; `told`: the webhook's, of which all has been said.
    pub(in super::super) fn doubts(
        &self,
        number: usize,
        (told, event): (&Value, &Value),
        settings: &Settings,
    ) -> Vec<SettingError> {
        let place = format!("feed[{number}]");
        let own = |key: &str| {
            let first = key.strip_prefix("event.").and_then(|rest| rest.split(['.', '[']).next());
            first.is_none_or(|first| event.get(first).is_some())
        };
        let whole = merged(&merged(told, event), &self.event);
        let knobs = serde_json::from_value::<EventKnobs>(whole);
        let of_event = knobs
            .map(|knobs| knobs.doubts(At::Feed(number, &self.event), Some(&self.name), settings));
        let of_event = of_event.unwrap_or_default().into_iter().filter(|doubt| own(&doubt.key));
        let of_itself = [self.of_url(), self.of_blanks(), self.of_paging(), self.of_times()];
        let told = of_itself.into_iter().flatten().map(|(key, what, hint)| {
            let what = format!("{:?}: {what}", self.name);
            settings.problem(&format!("{place}.{key}"), &what, hint)
        });
        told.chain(of_event).collect()
    }

    /// A parameter that the URL has already.
    fn of_url(&self) -> Option<(&'static str, &'static str, &'static str)> {
        let url = Url::parse(&self.url).ok()?;
        let is_twice = url.query_pairs().any(|(name, _)| self.query.contains_key(&*name));
        is_twice.then_some((
            "url",
            "has a parameter that query has too: it would be sent twice",
            "keep it in one of the two",
        ))
    }

    /// A text of the query that looks like a blank, and is none.
    fn of_blanks(&self) -> Option<(&'static str, &'static str, &'static str)> {
        let is_odd = |text: &String| {
            let blank = text.find('{').zip(text.find('}'));
            blank.is_some_and(|(from, to)| from < to && !BLANKS.contains(&&text[from..=to]))
        };
        let mut texts = self.query.values().flat_map(Texts::all);
        texts.any(is_odd).then_some((
            "query",
            "has a blank for which nothing stands: it is sent as it is",
            "use {since} {until} {offset} {page} {cursor}",
        ))
    }

    /// A way to page that asks for the same page again.
    fn of_paging(&self) -> Option<(&'static str, &'static str, &'static str)> {
        let blank = match &self.paging {
            Paging::Offset { .. } => "{offset}",
            Paging::Page { .. } => "{page}",
            Paging::Cursor { .. } | Paging::LastId { .. } => "{cursor}",
            Paging::None | Paging::NextUrl { .. } | Paging::LinkHeader { .. } => return None,
        };
        let what = "leads on, and the request says nowhere which page: it is the first each time";
        let hint = "put {offset}, {page} or {cursor}, as its kind is, into query or body";
        (!self.uses(blank)).then_some(("paging", what, hint))
    }

    /// A form for times that are asked nowhere.
    fn of_times(&self) -> Option<(&'static str, &'static str, &'static str)> {
        let unused = !self.uses("{since}") && !self.uses("{until}");
        let what = "is the form of no time: neither {since} nor {until} is in the request";
        (unused && self.time_format != rfc3339()).then_some((
            "time_format",
            what,
            "put {since} into query or body, or remove it",
        ))
    }
}
