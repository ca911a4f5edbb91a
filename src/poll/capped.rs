//! A provider for tests, whose API lists at most three rows of a window, and has details of each.

use serde_json::{Value, json};
use url::Url;

use crate::model::{Element, Event, Time};
use crate::provider::{
    Feed, Notification, Page, PageError, PageRequest, Provider, Query, SettingError, Stamp,
    Unreadable, Window,
};

/// Most rows of a window that it lists.
const ROWS_MAX: usize = 3;

const FEEDS: &[Feed] = &[Feed::events("events")];

pub(super) static CAPPED: Capped = Capped;

pub(super) struct Capped;

impl Provider for Capped {
    fn name(&self) -> &'static str {
        "capped"
    }

    fn verification(&self) -> &'static str {
        "none"
    }

    fn split(&self, _notification: &Notification<'_>) -> Vec<Element> {
        Vec::new()
    }

    fn read(&self, _element: &Element, _stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        Ok(Vec::new())
    }

    fn feeds(&self) -> &[Feed] {
        FEEDS
    }

    fn page_request(&self, query: &Query<'_>) -> Result<PageRequest, SettingError> {
        let mut url = query.url("base_url", Some("http://localhost/capped"))?;
        match query.next {
            Some(detail) => url.query_pairs_mut().append_pair("detail", detail),
            None => url
                .query_pairs_mut()
                .append_pair("since", &query.window.since.to_string())
                .append_pair("until", &query.window.until.to_string()),
        };
        Ok(PageRequest::get(url))
    }

    fn page(&self, _query: &Query<'_>, _url: &Url, body: &[u8]) -> Result<Page, PageError> {
        let found: Value = serde_json::from_slice(body).map_err(|e| PageError(e.to_string()))?;
        if let Some(detail) = found["detail"].as_str() {
            let row = Element { context: String::new(), body: detail.as_bytes().to_vec() };
            return Ok(Page::new(vec![row], None));
        }
        let details: Vec<String> =
            found["times"].as_array().into_iter().flatten().map(Value::to_string).collect();
        let overfull = details.len() >= ROWS_MAX;
        Ok(Page { details, overfull, ..Page::default() })
    }
}

/// The window that a URL asks for, if it asks for one.
pub(super) fn window(url: &str) -> Option<Window> {
    let url = Url::parse(url).ok()?;
    let time = |name| {
        let (_, value) = url.query_pairs().find(|(key, _)| key == name)?;
        Time::parse(&value)
    };
    Some(Window { since: time("since")?, until: time("until")? })
}

/// What the API answers, when things have happened at these seconds.
pub(super) fn answer(url: &str, times: &[i64]) -> String {
    let Some(window) = window(url) else {
        let detail = Url::parse(url).ok().and_then(|url| Some(url.query_pairs().next()?.1.into()));
        let detail: Option<String> = detail;
        return json!({ "detail": detail }).to_string();
    };
    let within = |second: &&i64| {
        let at = Time::from_seconds(**second);
        window.since.floor_second() <= at && at < window.until
    };
    let found: Vec<i64> = times.iter().filter(within).copied().take(ROWS_MAX).collect();
    json!({ "times": found }).to_string()
}
