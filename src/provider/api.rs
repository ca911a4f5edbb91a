//! What the poller and an adapter say to each other: feeds, windows, requests, pages.
//!
//! Data only. An adapter never sends anything, and never waits: it says what to send, and how long
//! to wait before it.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::{SettingError, Settings};
use crate::model::{Element, Time};
use crate::secret::Secret;

/// Read again behind the cursor, where a provider's page asks for no more.
const OVERLAP: Duration = Duration::from_secs(15 * 60);

/// How long a provider may take to show a row, where its page does not say.
const SETTLE: Duration = Duration::from_secs(2 * 60);

/// The part of a counted page that the following one has again.
const SHARED_PART: usize = 10;

/// Most pieces of a window. What is left then is one longer piece.
const PIECES_MAX: usize = 10_000;

/// One listing that a source can be polled for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Its name in the configuration.
    pub name: Cow<'static, str>,
    /// What its rows are.
    pub rows: Rows,
    /// Whether the API can be asked for a span of time. A feed without that is read in whole.
    pub by_time: bool,
    /// Read again behind the cursor, unless the source says otherwise: as long as a row can appear
    /// with a time that has been read already.
    pub overlap: Duration,
    /// How long a row may take to appear. The span before the present that is read, but never
    /// taken for complete.
    pub settle: Duration,
    /// How long the provider keeps rows; it is not asked for older ones. `None`: for good.
    pub kept: Option<Duration>,
    /// Whether the API can be told where a span ends. Long spans are then read in pieces.
    pub bounded: bool,
}

/// What the rows of a feed are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// What became of messages.
    Events,
    /// The provider's own suppressions, as they stand now.
    Suppressions,
}

impl Feed {
    /// What became of messages, by time.
    pub const fn events(name: &'static str) -> Feed {
        Feed {
            name: Cow::Borrowed(name),
            rows: Rows::Events,
            by_time: true,
            overlap: OVERLAP,
            settle: SETTLE,
            kept: None,
            bounded: true,
        }
    }

    /// The provider's own suppressions, by the time they were made.
    pub const fn suppressions(name: &'static str) -> Feed {
        let mut feed = Feed::events(name);
        feed.rows = Rows::Suppressions;
        feed
    }

    /// The same, of an API that cannot be asked for a span of time.
    #[must_use]
    pub const fn whole(mut self) -> Feed {
        self.by_time = false;
        self.bounded = false;
        self
    }

    /// The same, of an API that always answers up to the present.
    #[must_use]
    pub const fn unbounded(mut self) -> Feed {
        self.bounded = false;
        self
    }

    /// The same, with that overlap.
    #[must_use]
    pub const fn overlap(mut self, overlap: Duration) -> Feed {
        self.overlap = overlap;
        self
    }

    /// The same, with rows that may take so long to appear.
    #[must_use]
    pub const fn settle(mut self, settle: Duration) -> Feed {
        self.settle = settle;
        self
    }

    /// The same, with rows that are kept so long.
    #[must_use]
    pub const fn kept(mut self, kept: Duration) -> Feed {
        self.kept = Some(kept);
        self
    }
}

/// The span that a poll reads: from `since`, inclusive, to `until`, exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first instant.
    pub since: Time,
    /// The first instant that is not read.
    pub until: Time,
}

impl Window {
    /// Its two halves, the earlier first. `None` where it is too short: times in requests are often
    /// whole seconds.
    pub fn halves(&self) -> Option<[Window; 2]> {
        let middle = self.since.plus(self.until.since(self.since) / 2).floor_second();
        let halves = [Window { until: middle, ..*self }, Window { since: middle, ..*self }];
        (self.since < middle && middle < self.until).then_some(halves)
    }

    /// It in pieces of at most that length, the earliest first. One piece at least.
    pub fn pieces(&self, most: Duration) -> Vec<Window> {
        let mut pieces = Vec::new();
        let mut since = self.since;
        while pieces.len() < PIECES_MAX && self.until.since(since) > most {
            let until = since.plus(most);
            pieces.push(Window { since, until });
            since = until;
        }
        pieces.push(Window { since, ..*self });
        pieces
    }
}

/// What a page is asked with.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// The source's settings for its API.
    pub settings: &'a Settings,
    /// The feed.
    pub feed: &'a str,
    /// The span to read. Of a feed that is read in whole, the adapter ignores it.
    pub window: Window,
    /// What an earlier page led to: its `next`, or one of its `details`. `None`: the first page.
    pub next: Option<&'a str>,
    /// The present, for signatures that hold a date.
    pub now: Time,
}

impl Query<'_> {
    /// The URL under a key of the settings, or the provider's own.
    ///
    /// # Errors
    /// When it is missing, or no URL that paths can be joined to.
    pub fn url(&self, key: &str, usual: Option<&str>) -> Result<Url, SettingError> {
        let text = self.settings.text(key).or(usual).unwrap_or("");
        let url = Url::parse(text).ok().filter(|url| !url.cannot_be_a_base());
        url.ok_or_else(|| {
            self.settings.problem(key, "is not a URL", "write it as \"https://host/path\"")
        })
    }

    /// The provider's API at that path: below `base_url` if the source names one, else below
    /// `usual`. Neither needs a slash at its end, and `path` has none at its start.
    ///
    /// # Errors
    /// When `base_url` is no URL.
    pub fn api(&self, usual: &str, path: &str) -> Result<Url, SettingError> {
        let mut base = self.url("base_url", Some(usual))?;
        let folder = format!("{}/", base.path().trim_end_matches('/'));
        base.set_path(&folder);
        let bad = |_| self.settings.problem("base_url", "is not a URL", "check its path");
        base.join(path).map_err(bad)
    }

    /// The base of the provider's API by the setting `region`; without it, the first of these.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn region<'t>(&self, regions: &[(&str, &'t str)]) -> Result<&'t str, SettingError> {
        let named = self.settings.text("region");
        let found = regions.iter().find(|(name, _)| named.is_none_or(|named| named == *name));
        found.map(|(_, base)| *base).ok_or_else(|| {
            let names: Vec<&str> = regions.iter().map(|(name, _)| *name).collect();
            let hint = format!("write one of: {}", names.join(" "));
            self.settings.problem("region", "is no region of this provider", &hint)
        })
    }

    /// `next` as the number of rows before the page: 0 on the first.
    ///
    /// # Errors
    /// When it is no number.
    pub fn offset(&self) -> Result<u64, SettingError> {
        self.next.map_or(Ok(0), str::parse).map_err(|_| {
            let hint = "the window is read anew";
            self.settings.problem("poll", "the stored place is of another version", hint)
        })
    }

    /// The first secret under a key that the configuration has made sure of.
    ///
    /// # Errors
    /// When there is none.
    pub fn secret(&self, key: &str) -> Result<&Secret, SettingError> {
        let first = self.settings.secrets(key).first();
        first.ok_or_else(|| self.settings.problem(key, "is missing", "name a secret"))
    }

    /// What is wrong where `next` is none of this adapter's tokens, or not one any more.
    pub fn misplaced(&self) -> SettingError {
        let hint = "the window is read anew";
        self.settings.problem("poll", "the stored place is of another version", hint)
    }

    /// `next` as a URL: on the origin of `base`, or the credentials would leak.
    ///
    /// # Errors
    /// When it leads elsewhere.
    pub fn next_url(&self, base: &Url) -> Result<Url, SettingError> {
        match base.join(self.next.unwrap_or("")) {
            Ok(url) if url.origin() == base.origin() => Ok(url),
            _ => Err(self.settings.problem(
                "url",
                "the feed's `next` leads to another host",
                "the API must page on its own host; use the URL it redirects to",
            )),
        }
    }
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Reads.
    Get,
    /// Asks by a body, or adds.
    Post,
    /// Puts in place.
    Put,
    /// Changes in place.
    Patch,
    /// Removes.
    Delete,
}

impl Method {
    /// Its name in HTTP.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

/// A request to a provider's API, as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// What it does.
    pub method: Method,
    /// Where.
    pub url: Url,
    /// Headers that authenticate, and others that the API wants.
    pub headers: Vec<(Cow<'static, str>, Secret)>,
    /// The body, with its media type.
    pub body: Option<(&'static str, Secret)>,
}

impl PageRequest {
    /// Reads what is there.
    pub fn get(url: Url) -> PageRequest {
        PageRequest { method: Method::Get, url, headers: Vec::new(), body: None }
    }

    /// Asks by a JSON body. It is kept like a secret, since some APIs want their key in it.
    pub fn post_json(url: Url, body: &serde_json::Value) -> PageRequest {
        PageRequest::get(url).with_json(Method::Post, body)
    }

    /// The same with that method and a JSON body.
    #[must_use]
    pub fn with_json(mut self, method: Method, body: &serde_json::Value) -> PageRequest {
        self.method = method;
        self.body = Some(("application/json", Secret::new(body.to_string().into_bytes())));
        self
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: Secret) -> PageRequest {
        self.headers.push((name.into(), value));
        self
    }

    /// The same with `Authorization: Bearer …`.
    #[must_use]
    pub fn bearer(self, token: &Secret) -> PageRequest {
        let value = [b"Bearer ", token.reveal()].concat();
        self.header("authorization", Secret::new(value))
    }

    /// The same with `Authorization: Basic …` (RFC 7617).
    #[must_use]
    pub fn basic(self, user: &[u8], password: &[u8]) -> PageRequest {
        let pair = data_encoding::BASE64.encode(&[user, b":", password].concat());
        self.header("authorization", Secret::new(format!("Basic {pair}").into_bytes()))
    }
}

/// One page of a feed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Its rows, verbatim, each to be read as an element.
    pub rows: Vec<Element>,
    /// What leads to the following page; `None` on the last.
    pub next: Option<String>,
    /// What leads to further rows of this very page, where a listing does not say all of a row.
    pub details: Vec<String>,
    /// Whether what a detail leads to stays as it is for as long as the listing has the same token.
    pub settled: bool,
    /// Whether the window holds more rows than the API lists: it is read in halves instead.
    pub overfull: bool,
    /// How long to wait before `next`, where the provider is still preparing it.
    pub wait: Option<Duration>,
    /// How the page joins the following one; `None` where `next` is a cursor of the provider's.
    pub seam: Option<Seam>,
}

/// How a page of a list that is counted from its start joins the following one. A row that is
/// removed meanwhile moves all that follow, so a page must be seen to share rows with the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seam {
    /// The keys of the page's rows, as [`row_key`] makes them, in their order.
    pub rows: Vec<u64>,
    /// What `next` leads to.
    pub leads: Leads,
}

/// What the `next` of a counted page leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leads {
    /// The start of another list.
    Apart,
    /// A page that begins with some of the same rows.
    Back,
    /// A page that begins behind the last row: only another reading shows what was skipped.
    Blind,
}

/// The key of a row, or of what leads to its details, by its very bytes. Stable within a release:
/// after another's a list that was cut is read from its start.
pub fn row_key(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// The page that has the row behind the first `from`, where pages are asked for by their number:
/// the number, from 1, and the length, between half of `most` and `most`, that reads the furthest.
pub fn numbered(from: u64, most: u64) -> (u64, u64) {
    let end = |size: &u64| (from / size + 1) * size;
    let size = (most.div_ceil(2).max(1)..=most.max(1)).max_by_key(end).unwrap_or(1);
    (from / size + 1, size)
}

impl Page {
    /// A page that leads on to `next`.
    pub fn new(rows: Vec<Element>, next: Option<String>) -> Page {
        Page { rows, next, ..Page::default() }
    }

    /// Whether it says nothing but its rows and what follows, so that the same page with a part of
    /// its rows says the same of those.
    pub fn is_plain(&self) -> bool {
        let Page { details, overfull, wait, seam, .. } = self;
        details.is_empty() && !overfull && wait.is_none() && seam.is_none()
    }

    /// A page of a list that is counted, with `from` rows before it. Where there are `more`, it
    /// leads back by some rows, to the `token` of so many before the next page.
    pub fn counted(
        rows: Vec<Element>,
        from: u64,
        more: bool,
        token: impl FnOnce(u64) -> String,
    ) -> Page {
        let back = (rows.len() / SHARED_PART).max(1).min(rows.len().saturating_sub(1));
        let next = more.then(|| token(from + (rows.len() - back) as u64));
        let leads = match (more, back) {
            (false, _) => Leads::Apart,
            (true, 0) => Leads::Blind,
            (true, _) => Leads::Back,
        };
        let seam = Some(Seam { rows: rows.iter().map(|row| row_key(&row.body)).collect(), leads });
        Page { seam, ..Page::new(rows, next) }
    }

    /// The same of a page that was asked for by its number and length. A provider that gives fewer
    /// rows than it was asked for, though there are more, counts in pages of its own.
    pub fn of_number(
        rows: Vec<Element>,
        (number, size): (u64, u64),
        more: bool,
        token: impl Fn(u64) -> String,
    ) -> Page {
        let is_short = more && (rows.len() as u64) < size;
        let mut page = Page::counted(rows, (number - 1) * size, more, &token);
        if is_short {
            page.next = Some(token(number * size));
            page.seam = page.seam.map(|seam| Seam { leads: Leads::Blind, ..seam });
        }
        page
    }
}

/// A page cannot be understood: the run fails, and the cursor stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PageError(pub String);

/// How often an API may be asked: so many requests in each span, at once or spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests.
    pub requests: u32,
    /// The span that they may fill.
    pub per: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(since: i64, until: i64) -> Window {
        Window { since: Time::from_seconds(since), until: Time::from_seconds(until) }
    }

    #[test]
    fn a_window_is_halved_down_to_a_second() {
        assert_eq!(window(10, 20).halves(), Some([window(10, 15), window(15, 20)]));
        assert_eq!(window(10, 13).halves(), Some([window(10, 11), window(11, 13)]));
        assert_eq!(window(10, 12).halves(), Some([window(10, 11), window(11, 12)]));
        assert_eq!(window(10, 11).halves(), None);
        assert_eq!(window(10, 10).halves(), None);
        let odd = Window { since: Time::from_nanos(10_900_000_000, 1), ..window(0, 12) };
        let [first, second] = odd.halves().unwrap();
        assert_eq!((first.since, first.until, second.until), (odd.since, second.since, odd.until));
    }

    #[test]
    fn pages_by_number_reach_any_row_and_read_far_beyond_it() {
        for most in [1, 2, 10, 100] {
            for from in 0..1_000 {
                let (number, size) = numbered(from, most);
                let rows = (number - 1) * size..number * size;
                assert!(rows.contains(&from) && size <= most && size * 2 >= most, "{from} {most}");
                let read = rows.end - from;
                assert!(from < 90 || most < 100 || read >= 60, "{read} of {most} from {from}");
            }
        }
        assert_eq!(numbered(90, 100), (2, 90));
    }

    #[test]
    fn a_counted_page_leads_back_by_a_tenth_and_always_on() {
        let page = |count: usize, more| {
            let rows = vec![Element { context: String::new(), body: b"{}".to_vec() }; count];
            let page = Page::counted(rows, 1_000, more, |from| from.to_string());
            (page.next, page.seam.unwrap().leads)
        };
        assert_eq!(page(500, true), (Some("1450".to_owned()), Leads::Back));
        assert_eq!(page(2, true), (Some("1001".to_owned()), Leads::Back));
        assert_eq!(page(1, true), (Some("1001".to_owned()), Leads::Blind));
        assert_eq!(page(3, false), (None, Leads::Apart));
        assert_eq!(page(0, false), (None, Leads::Apart));
    }

    #[test]
    fn pieces_cover_a_window_without_a_gap() {
        let most = Duration::from_secs(10);
        assert_eq!(window(0, 25).pieces(most), [window(0, 10), window(10, 20), window(20, 25)]);
        assert_eq!(window(0, 20).pieces(most), [window(0, 10), window(10, 20)]);
        assert_eq!(window(0, 0).pieces(most), [window(0, 0)]);
    }

    #[test]
    fn paths_are_joined_below_the_base_and_pages_stay_on_their_host() {
        let mut settings = Settings::default();
        let now = Time::from_seconds(0);
        let feed = "events";
        let usual = "https://api.test/v3";
        let query = Query { settings: &settings, feed, window: window(0, 1), next: None, now };
        assert_eq!(query.api(usual, "a/b?c=1").unwrap().as_str(), "https://api.test/v3/a/b?c=1");
        let text = "http://127.0.0.1:1/x/".to_owned();
        settings.set("base_url", crate::provider::Setting::Text(text));
        let query =
            Query { settings: &settings, feed, window: window(0, 1), next: Some("/y?z"), now };
        let base = query.api(usual, "a").unwrap();
        assert_eq!(base.as_str(), "http://127.0.0.1:1/x/a");
        assert_eq!(query.next_url(&base).unwrap().as_str(), "http://127.0.0.1:1/y?z");
        for next in ["http://127.0.0.1:2/y", "https://127.0.0.1:1/y", "//evil.test/y"] {
            assert!(Query { next: Some(next), ..query }.next_url(&base).is_err(), "{next}");
        }
    }
}
