//! What the targets share: a request written as text, and what must hold of whatever is read.
//!
//! A request is a line `provider?query`, lines `Header: value`, an empty line, and the body. A
//! first line that names no provider chooses one by its first byte, so every input is a request.

use http::{HeaderMap, HeaderName, HeaderValue};
use suppressd::model::{
    Address, Element, Event, EventKind, Filter, Origin, Scope, SourceName, Standing, Telling, Time,
};
use suppressd::provider::{ALL, Notification, Provider, Setting, Settings, Stamp};
use suppressd::rules::Rules;
use suppressd::secret::Secret;

/// A request to a webhook.
#[derive(Clone)]
pub struct Request<'a> {
    /// Whose webhook.
    pub provider: &'static dyn Provider,
    /// Its query.
    pub query: &'a str,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// Reads one. What is no header is left out, as the server does.
    pub fn of(data: &'a [u8]) -> Request<'a> {
        let (first, mut rest) = line(data);
        let (name, query) = match first.iter().position(|byte| *byte == b'?') {
            Some(at) => (&first[..at], &first[at + 1..]),
            None => (first, &[][..]),
        };
        let mut headers = HeaderMap::new();
        while !rest.is_empty() {
            let (header, behind) = line(rest);
            rest = behind;
            if header.is_empty() {
                break;
            }
            let Some(colon) = header.iter().position(|byte| *byte == b':') else { continue };
            let name = HeaderName::from_bytes(&header[..colon]);
            let value = HeaderValue::from_bytes(header[colon + 1..].trim_ascii());
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        let provider = provider(name);
        Request { provider, query: std::str::from_utf8(query).unwrap_or(""), headers, body: rest }
    }

    /// As the checks and adapters see it.
    pub fn notification(&self) -> Notification<'_> {
        let Request { query, headers, body, .. } = self;
        Notification { headers, query, body, url: Some(URL), now: now() }
    }
}

/// The URL that providers are told to call.
pub const URL: &str = "https://hooks.example.org/hooks/fuzz";

/// When everything happens.
pub fn now() -> Time {
    Time::parse("2026-06-15T12:00:00Z").expect("a time")
}

fn line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[]),
    }
}

/// The provider of that name; without one of that name, the one that its first byte picks.
pub fn provider(name: &[u8]) -> &'static dyn Provider {
    let named = ALL.iter().find(|provider| provider.name().as_bytes() == name);
    let first = usize::from(name.first().copied().unwrap_or(0));
    *named.unwrap_or(&ALL[first % ALL.len()])
}

/// Cuts a notification and reads what it is cut into; asserts all that must hold of any.
pub fn cut_and_read(provider: &dyn Provider, sent: &Notification<'_>) {
    let elements = provider.split(sent);
    assert_eq!(elements, provider.split(sent), "cutting is deterministic");
    // A byte that is not UTF-8 may become a replacement of three.
    let given = sent.body.len() + sent.query.len();
    assert!(elements.len() <= given + 1, "too many elements");
    let cut: usize = elements.iter().map(|element| element.body.len()).sum();
    assert!(cut <= 3 * given, "{cut} bytes of elements from {given}");
    let whole = given + sent.headers.values().map(HeaderValue::len).sum::<usize>();
    for element in &elements {
        assert!(element.context.len() <= 3 * whole + 64, "a context larger than what came");
        read(provider, element);
    }
}

/// Settings with which every provider's API can be asked.
pub fn polled() -> Settings {
    let mut settings = Settings::default();
    for key in ["api_key", "secret_key", "server_token", "access_key"] {
        settings.set(key, Setting::Secrets(vec![Secret::new("s3cret")]));
    }
    for key in ["domains", "domain_ids", "streams"] {
        settings.set(key, Setting::Texts(vec!["a.example".to_owned(), "b.example".to_owned()]));
    }
    settings.set("url", Setting::Text("https://relay.example/events".to_owned()));
    settings.set("list_url", Setting::Text("https://relay.example/list".to_owned()));
    settings
}

/// Reads an element of a notification as the applier does, but lets a panic through.
pub fn read(provider: &dyn Provider, element: &Element) {
    read_as(provider, element, Origin::Webhook, "");
}

/// Reads a row of a feed.
pub fn read_row(provider: &dyn Provider, row: &Element, feed: &str) {
    read_as(provider, row, Origin::Poll, feed);
}

fn read_as(provider: &dyn Provider, element: &Element, origin: Origin, feed: &str) {
    let source = SourceName::parse("fuzz").expect("a name");
    let received_at = now();
    let stamp = Stamp { source: &source, origin, feed, received_at };
    let events = provider.read(element, &stamp);
    assert_eq!(events, provider.read(element, &stamp), "reading is deterministic");
    let Ok(events) = events else { return };
    assert!(events.len() <= element.body.len() + element.context.len(), "events from nothing");
    for event in &events {
        sane(event, &stamp);
        merges(event);
    }
}

/// What must hold of every event that a provider tells.
fn sane(event: &Event, stamp: &Stamp<'_>) {
    assert_eq!((&event.source, event.origin), (stamp.source, stamp.origin));
    assert_eq!(event.received_at, stamp.received_at);
    let again = Address::parse(event.address.received()).expect("an address reads again");
    assert_eq!(again.key(), event.address.key());
    assert_eq!(EventKind::parse(event.kind.as_str()), Some(event.kind));
    assert_eq!(event.lifts, None, "only an operator lifts");
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    assert!(event.at.nanos() <= stamp.received_at.plus(day).nanos(), "an event of the future");
    assert_eq!(Time::parse(&event.at.to_string()), Some(event.at), "its time reads again");
    assert_eq!(Scope::parse(&event.scope.to_string()).as_ref(), Some(&event.scope));
    assert!(event.smtp_code.is_none_or(|code| (200..600).contains(&code)), "an SMTP code");
    if let Some(code) = &event.enhanced_code {
        assert_eq!(suppressd::provider::wire::enhanced_code(code).as_ref(), Some(code));
    }
    if let Some(data) = &event.metadata {
        serde_json::from_str::<serde_json::Value>(data).expect("metadata is JSON");
    }
}

/// A fact counts once, and whatever it is, there is a verdict.
fn merges(event: &Event) {
    let Some(fact) = event.fact() else { return };
    let mut standing = Standing::default();
    standing.merge(event.address.received(), fact.clone(), &Telling::BY_DATE);
    let once = standing.clone();
    standing.merge(event.address.received(), fact, &Telling::BY_DATE);
    assert_eq!(standing, once, "the same fact twice is the same standing");
    let rules = Rules::default();
    let filter = Filter::default();
    rules.judge(event.address.key(), &standing, &event.scope, &filter, now());
    rules.findings(event.address.key(), &standing, &filter);
}
