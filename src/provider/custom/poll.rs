//! A described provider's API: what is asked for a feed, and where its pages have their rows.
//!
//! Requests are templates. What can be asked by time, and until when, shows in what they use.

mod lint;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use http::header::HeaderName;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use url::Url;

use super::super::{
    Feed, Leads, Method, Page, PageError, PageRequest, Query, Rows as ListRows, Seam, SettingError,
    SettingErrors, Settings, row_key, wire,
};
use super::event::{At, Condition, Knobs as EventKnobs, Reader, found, text};
use super::link;
use super::template::{Blanks, Texts, filled, merged, shown};
use crate::model::bounds::FEED_BYTES_MAX;
use crate::model::{Element, Time};
use crate::secret::Secret;
use crate::units;

/// What a token starts with that leads to a page, and one that leads to a row's details.
const NEXT: &str = "next ";
const DETAIL: &str = "detail ";

/// The table of a feed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Knobs {
    name: String,
    #[serde(default)]
    rows: Rows,
    #[serde(default)]
    method: Verb,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    query: BTreeMap<String, Texts>,
    body: Option<Value>,
    #[serde(default = "rfc3339")]
    time_format: String,
    items: String,
    #[serde(default)]
    paging: Paging,
    #[serde(default)]
    newest_first: bool,
    split_on_full: Option<usize>,
    ok_when: Option<Condition>,
    detail: Option<Detail>,
    overlap: Option<String>,
    settle: Option<String>,
    kept: Option<String>,
    /// What differs of the `event` table.
    #[serde(default)]
    pub(super) event: Value,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Rows {
    #[default]
    Events,
    Suppressions,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Verb {
    #[default]
    Get,
    Post,
}

/// What leads from a page to the following one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Paging {
    #[default]
    None,
    /// `{offset}`: rows before the page. A page of fewer rows than `size` is the last.
    Offset { size: usize },
    /// `{page}`: its number. Without a size an empty page is the last.
    Page { size: Option<usize>, first: Option<u64> },
    /// `{cursor}`: what a page has at `next`. What holds it is left out of the first request,
    /// unless that has an `initial` one.
    Cursor { next: String, initial: Option<String> },
    /// `{cursor}`: what the last row has at `ptr`.
    LastId { ptr: String, size: Option<usize> },
    /// The URL that a page has at `ptr`, on the same host.
    NextUrl { ptr: String },
    /// The URL to which a page's `Link` header leads by that relation, on the same host.
    LinkHeader { rel: String },
}

impl Paging {
    /// Whether a page leads to a URL.
    fn is_by_url(&self) -> bool {
        matches!(self, Paging::NextUrl { .. } | Paging::LinkHeader { .. })
    }
}

/// A second request for each row.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Detail {
    /// In it `{/POINTER}` stands for what the row has there.
    url: String,
    items: String,
}

/// Where the secret goes.
#[derive(Clone, Debug)]
pub(super) enum Auth {
    Open,
    Bearer,
    Basic,
    Header(String),
    Query(String),
    Body(String),
}

/// A feed that was understood.
pub(super) struct Described {
    pub(super) feed: Feed,
    pub(super) reader: Reader,
    knobs: Knobs,
    headers: Vec<(String, Secret)>,
}

fn rfc3339() -> String {
    "rfc3339".to_owned()
}

impl Auth {
    pub(super) fn of(settings: &Settings) -> Result<Auth, SettingError> {
        let hint = "write bearer, basic, header:NAME, query:NAME or body:KEY, with a secret";
        let bad = |what: &str| Err(settings.problem("auth", what, hint));
        let given = settings.text("auth");
        match (given, settings.secrets("secret").is_empty()) {
            (None, true) => return Ok(Auth::Open),
            (None, false) => return bad("is missing: nothing says where the secret goes"),
            (Some(_), true) => return bad("stands without a secret"),
            _ => {}
        }
        let is_plain = |secret: &Secret| {
            secret.reveal_text().is_some_and(|text| !text.chars().any(char::is_control))
        };
        if !settings.secrets("secret").iter().all(is_plain) {
            let hint = "it goes into a request: use one line of UTF-8 text";
            return Err(settings.problem("secret", "is a secret that is not plain text", hint));
        }
        match given.map(|text| text.split_once(':').unwrap_or((text, ""))) {
            Some(("bearer", "")) => Ok(Auth::Bearer),
            Some(("basic", "")) => Ok(Auth::Basic),
            Some(("header", name)) => match header(name) {
                Some(name) => Ok(Auth::Header(name)),
                None => bad("names no header"),
            },
            Some(("query", name)) if !name.is_empty() => Ok(Auth::Query(name.to_owned())),
            Some(("body", key)) if !key.is_empty() => Ok(Auth::Body(key.to_owned())),
            _ => bad("is none of the ways to show a secret"),
        }
    }

    /// The request with the secret, unless that stands in a body.
    pub(super) fn apply(&self, mut request: PageRequest, settings: &Settings) -> PageRequest {
        let Some(secret) = settings.secrets("secret").first() else { return request };
        match self {
            Auth::Open | Auth::Body(_) => request,
            Auth::Bearer => request.bearer(secret),
            Auth::Basic => {
                let pair = data_encoding::BASE64.encode(secret.reveal());
                let value = Secret::new(format!("Basic {pair}").into_bytes());
                request.header("authorization", value)
            }
            Auth::Header(name) => request.header(name.clone(), secret.clone()),
            Auth::Query(name) => {
                // The URL that a page leads to may have it already.
                if !request.url.query_pairs().any(|(known, _)| known == name.as_str()) {
                    let value = secret.reveal_text().unwrap_or("");
                    request.url.query_pairs_mut().append_pair(name, value);
                }
                request
            }
        }
    }

    /// A body: its template filled, with the secret, if that is its place.
    pub(super) fn body(&self, template: Option<&Value>, blanks: &Blanks, of: &Settings) -> Value {
        let empty = Value::Object(Map::new());
        let mut body = blanks.fill_tree(template.unwrap_or(&empty)).unwrap_or_default();
        let secret = of.secrets("secret").first().and_then(Secret::reveal_text);
        if let (Auth::Body(key), Some(members), Some(secret)) = (self, body.as_object_mut(), secret)
        {
            members.insert(key.clone(), secret.into());
        }
        body
    }
}

/// Headers as a table has them, with their names in small letters; `None` if one is no name.
pub(super) fn headers(table: &BTreeMap<String, String>) -> Option<Vec<(String, Secret)>> {
    let one = |(name, value): (&String, &String)| {
        Some((header(name)?, Secret::new(value.clone().into_bytes())))
    };
    table.iter().map(one).collect()
}

fn header(name: &str) -> Option<String> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    Some(name.as_str().to_owned())
}

/// One row, which alone is read as a tree.
fn tree(row: &RawValue) -> Option<Value> {
    serde_json::from_str(row.get()).ok()
}

/// A row as it is kept: without what only differs in how it is written, where it can be read.
fn element(row: &RawValue) -> Element {
    match tree(row) {
        Some(row) => wire::element(row.to_string().as_bytes()),
        None => wire::element(row.get().as_bytes()),
    }
}

/// A token that is a number.
fn number(next: Option<&str>, usual: u64) -> u64 {
    next.and_then(|next| next.parse().ok()).unwrap_or(usual)
}

impl Described {
    /// The feed of that number, from 1, as its table says. `event`: where the rows have what,
    /// unless the feed says otherwise. `None` where an error was noted.
    pub(super) fn new(
        number: usize,
        knobs: Knobs,
        event: &Value,
        settings: &Settings,
        errors: &mut SettingErrors,
    ) -> Option<Described> {
        let name = knobs.name.clone();
        let place = format!("feed[{number}]");
        let bad =
            |what: &str, hint: &str| settings.problem(&place, &format!("{name:?}: {what}"), hint);
        if let Some((what, hint)) = knobs.problem() {
            errors.0.push(bad(what, hint));
        }
        if name.len() > FEED_BYTES_MAX {
            let what = format!("the name is longer than {FEED_BYTES_MAX} bytes");
            errors.0.push(bad(&what, "choose a shorter one"));
        }
        let at = At::Feed(number, &knobs.event);
        let none = || bad("nothing says where a row has what", "add an event table");
        let event = match merged(event, &knobs.event) {
            Value::Null => errors.take(Err(none())),
            event => EventKnobs::of(&event, at, settings, errors),
        };
        let reader = event.and_then(|event| event.reader(at, settings, errors));
        let mut span = |text: &Option<String>, usual: Option<Duration>| match text {
            None => usual,
            Some(text) => units::duration(text).or_else(|| {
                errors.0.push(bad("overlap, settle and kept are durations", "write \"15m\" or so"));
                None
            }),
        };
        let usual = match knobs.rows {
            Rows::Events => Feed::events("events"),
            Rows::Suppressions => Feed::suppressions("suppressions"),
        };
        let by_time = knobs.uses("{since}") || knobs.newest_first;
        let feed = Feed {
            overlap: span(&knobs.overlap, Some(usual.overlap)).unwrap_or_default(),
            settle: span(&knobs.settle, Some(usual.settle)).unwrap_or_default(),
            kept: span(&knobs.kept, None),
            name: Cow::Owned(name.clone()),
            by_time,
            bounded: by_time && knobs.uses("{until}"),
            ..usual
        };
        let headers = headers(&knobs.headers);
        let headers = headers.ok_or_else(|| bad("headers has no header's name", super::HINT));
        let headers = errors.take(headers);
        Some(Described { feed, reader: reader?, knobs, headers: headers? })
    }

    pub(super) fn request(
        &self,
        query: &Query<'_>,
        auth: &Auth,
    ) -> Result<PageRequest, SettingError> {
        let bad = |what: &str| {
            let what = format!("{:?}: {what}", self.knobs.name);
            query.settings.problem("feed", &what, "write url as \"https://host/path\"")
        };
        let base = Url::parse(&self.knobs.url).ok().filter(|url| url.has_host());
        let base = base.ok_or_else(|| bad("url is no URL"))?;
        let token = query.next.unwrap_or("");
        let mut request = match (token.strip_prefix(DETAIL), token.strip_prefix(NEXT)) {
            (Some(url), _) => {
                PageRequest::get(Query { next: Some(url), ..*query }.next_url(&base)?)
            }
            (None, Some(url)) if self.knobs.paging.is_by_url() => {
                let url = Query { next: Some(url), ..*query }.next_url(&base)?;
                self.bodied(url, query, auth, &self.blanks(query, None))
            }
            (None, next) => {
                let blanks = self.blanks(query, next);
                let mut url = base;
                self.put_query(&mut url, &blanks);
                self.bodied(url, query, auth, &blanks)
            }
        };
        for (name, value) in &self.headers {
            request = request.header(name.clone(), value.clone());
        }
        Ok(auth.apply(request, query.settings))
    }

    /// The request with its body, if it is a POST.
    fn bodied(&self, url: Url, query: &Query<'_>, auth: &Auth, blanks: &Blanks) -> PageRequest {
        let request = PageRequest::get(url);
        if !self.posts() {
            return request;
        }
        let body = auth.body(self.knobs.body.as_ref(), blanks, query.settings);
        request.with_json(Method::Post, &body)
    }

    /// Whether it is asked by POST.
    pub(super) fn posts(&self) -> bool {
        matches!(self.knobs.method, Verb::Post)
    }

    fn put_query(&self, url: &mut Url, blanks: &Blanks) {
        for (name, texts) in &self.knobs.query {
            for text in texts.all() {
                if let Some(value) = blanks.fill(text) {
                    url.query_pairs_mut().append_pair(name, &value);
                }
            }
        }
    }

    fn blanks(&self, query: &Query<'_>, next: Option<&str>) -> Blanks {
        let time = |time| shown(&self.knobs.time_format, time);
        let initial = match &self.knobs.paging {
            Paging::Cursor { initial, .. } => initial.as_deref(),
            _ => None,
        };
        Blanks(vec![
            ("{since}", time(query.window.since.floor_second())),
            ("{until}", time(query.window.until.ceil_second())),
            ("{offset}", Some(number(next, 0).into())),
            ("{page}", Some(number(next, self.first_page()).into())),
            ("{cursor}", next.or(initial).map(Value::from)),
        ])
    }

    fn first_page(&self) -> u64 {
        match self.knobs.paging {
            Paging::Page { first: Some(first), .. } => first,
            _ => 1,
        }
    }

    pub(super) fn page(
        &self,
        query: &Query<'_>,
        url: &Url,
        links: &str,
        body: &[u8],
    ) -> Result<Page, PageError> {
        let document = &*String::from_utf8_lossy(body);
        serde_json::from_str::<&RawValue>(document)
            .map_err(|error| PageError(format!("it is not JSON: {error}")))?;
        if self.knobs.ok_when.as_ref().is_some_and(|ok| !ok.holds_in(document)) {
            return Err(PageError("the API says that it failed".to_owned()));
        }
        let is_detail = query.next.is_some_and(|next| next.starts_with(DETAIL));
        let detail = self.knobs.detail.as_ref();
        let pointer = match detail.filter(|_| is_detail) {
            Some(detail) => &detail.items,
            None => &self.knobs.items,
        };
        let rows = wire::at(document, pointer);
        let rows = rows.and_then(|rows| serde_json::from_str::<Vec<&RawValue>>(rows.get()).ok());
        let rows = rows.ok_or_else(|| PageError(format!("there is no list at {pointer:?}")))?;
        let elements: Vec<Element> = rows.iter().map(|row| element(row)).collect();
        if is_detail {
            return Ok(Page::new(elements, None));
        }
        let is_past = self.knobs.newest_first
            && elements.last().is_some_and(|row| self.reader.is_before(row, query.window.since));
        let next = if is_past { None } else { self.next(query, (url, links), document, &rows)? };
        let overfull =
            query.next.is_none() && self.knobs.split_on_full.is_some_and(|most| rows.len() >= most);
        let mut page = Page { overfull, ..self.page_of(query, elements, next) };
        if let Some(detail) = detail {
            let all = std::mem::take(&mut page.rows);
            for (row, element) in rows.iter().zip(all) {
                match tree(row).and_then(|row| filled(&detail.url, &row)) {
                    Some(url) => page.details.push(format!("{DETAIL}{url}")),
                    // Without what leads to it, nobody can read it.
                    None => page.rows.push(element),
                }
            }
        }
        Ok(page)
    }

    /// A page that leads to `next`. Where pages are counted, it says how it joins the next one:
    /// events are only ever added to what is asked for by number.
    fn page_of(&self, query: &Query<'_>, rows: Vec<Element>, next: Option<String>) -> Page {
        let from = || number(query.next.and_then(|next| next.strip_prefix(NEXT)), 0);
        match &self.knobs.paging {
            Paging::Offset { .. } => {
                Page::counted(rows, from(), next.is_some(), |from| format!("{NEXT}{from}"))
            }
            Paging::Page { .. } if self.feed.rows == ListRows::Suppressions => {
                let rows_keys = rows.iter().map(|row| row_key(&row.body)).collect();
                let seam = Some(Seam { rows: rows_keys, leads: Leads::Blind });
                Page { seam, ..Page::new(rows, next) }
            }
            _ => Page::new(rows, next),
        }
    }

    fn next(
        &self,
        query: &Query<'_>,
        (url, links): (&Url, &str),
        document: &str,
        rows: &[&RawValue],
    ) -> Result<Option<String>, PageError> {
        let given = query.next.and_then(|next| next.strip_prefix(NEXT));
        let is_full = |size: Option<usize>| size.is_none_or(|size| rows.len() >= size);
        let at = |pointer: &String| found(document, pointer).as_ref().and_then(text);
        let next = match &self.knobs.paging {
            _ if rows.is_empty() => None,
            Paging::None => None,
            // Where it starts, the page itself says.
            Paging::Offset { size } => is_full(Some(*size)).then(|| "0".to_owned()),
            Paging::Page { size, .. } => {
                is_full(*size).then(|| (number(given, self.first_page()) + 1).to_string())
            }
            Paging::Cursor { next, .. } => at(next),
            Paging::LastId { ptr, size } => {
                let last = rows.last().filter(|_| is_full(*size));
                last.and_then(|row| found(row.get(), ptr)).as_ref().and_then(text)
            }
            Paging::NextUrl { ptr } => at(ptr),
            Paging::LinkHeader { rel } => link::target(links, rel).map(str::to_owned),
        };
        let next = next.filter(|next| !next.is_empty());
        let next = match next {
            Some(next) if self.knobs.paging.is_by_url() => {
                let bad = |_| PageError("what leads on is no URL".to_owned());
                Some(url.join(&next).map_err(bad)?.to_string())
            }
            next => next,
        };
        Ok(next.map(|next| format!("{NEXT}{next}")))
    }
}

impl Knobs {
    /// What of its plain values cannot be used, and what to write.
    fn problem(&self) -> Option<(&'static str, &'static str)> {
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
        if self.name.is_empty() || !self.name.bytes().all(is_plain) {
            return Some(("is no name of a feed", "use a-z, 0-9, - and _"));
        }
        let pointers = [Some(&self.items), self.detail.as_ref().map(|detail| &detail.items)];
        let is_none = |text: &&String| !(text.is_empty() || text.starts_with('/'));
        if pointers.iter().flatten().any(is_none) {
            return Some(("items is no JSON pointer", "start it with a /"));
        }
        if shown(&self.time_format, Time::from_seconds(0)).is_none() {
            let hint = "write rfc3339, rfc2822, unix_s, unix_ms, date, or a pattern as %Y-%m-%d";
            return Some(("time_format is no form of a time", hint));
        }
        None
    }

    /// Whether a template has that blank.
    fn uses(&self, blank: &str) -> bool {
        let in_body = || self.body.as_ref().is_some_and(|body| body.to_string().contains(blank));
        let mut texts = self.query.values().flat_map(Texts::all);
        texts.any(|text| text.contains(blank)) || in_body()
    }
}
