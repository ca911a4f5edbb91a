//! A provider that is described in the configuration alone: how it proves itself, how its API is
//! asked, where its events stand, and what they mean.
//!
//! The description is read once; what cannot be used of it is a configuration error. Source of the
//! knobs: docs/providers/custom.md.

mod event;
mod link;
mod lint;
mod poll;
mod proof;
pub(super) mod push;
mod sample;
mod template;

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use url::Url;

use super::{
    Ask, Check, Feed, Key, KeyKind, Notification, Page, PageError, PageRequest, Provider, Query,
    Sample, Scheme, SettingError, SettingErrors, Settings, Stamp, Unreadable, verify, wire,
};
use crate::model::{Address, Element, Event, EventKind, Time};
use event::{Reader, Wanted};
use proof::Proof;

const NAME: &str = "custom";

const WEBHOOK_KEYS: &[Key] = &[
    Key::optional_secret("secret"),
    Key::optional_secret("public_key"),
    Key::optional_text("url"),
    Key::optional("verify", KeyKind::Tree),
    Key::optional("event", KeyKind::Tree),
    Key::optional_text("format"),
    Key::optional_text("items"),
    Key::optional("ignore_when", KeyKind::Tree),
    Key::optional("echo", KeyKind::Tree),
];

const POLL_KEYS: &[Key] = &[
    Key::optional_secret("secret"),
    Key::optional_text("auth"),
    Key::required("feed", KeyKind::Tree),
    Key::optional("event", KeyKind::Tree),
];

/// What verifies a webhook that describes no signature.
const CREDENTIALS: &str = "Basic credentials, a bearer token, or a header with a fixed value";

/// Where the knobs are explained.
const HINT: &str = "see docs/providers/custom.md";

/// The provider before it is described: it only knows its keys.
pub(super) struct Custom;

/// The provider as a source describes it: its webhook, its poll, or both.
struct Described {
    webhook: Option<Webhook>,
    auth: poll::Auth,
    feeds: Vec<Feed>,
    polled: Vec<poll::Described>,
}

/// The webhook as a source describes it.
struct Webhook {
    /// Where the events stand in the body; empty: the body is one, or an array of them.
    items: String,
    format: Format,
    ignore_when: Vec<event::Condition>,
    echo: Option<Echo>,
    once: Option<Scheme>,
    /// How it is verified, in a few words.
    proven: String,
    reader: Reader,
}

/// How a body holds its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    /// One object a line.
    Lines,
    /// In the one field of a form.
    Form,
}

/// A handshake that wants something back.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Echo {
    /// What it wants back, by pointer.
    when: String,
    /// The answer, in which `"$value"` stands for it.
    respond: Value,
}

impl Provider for Custom {
    fn name(&self) -> &'static str {
        NAME
    }

    fn times_differ(&self) -> bool {
        true
    }

    fn verification(&self) -> &'static str {
        "as the source describes it"
    }

    fn webhook_keys(&self) -> &'static [Key] {
        WEBHOOK_KEYS
    }

    fn checks(&self, settings: &Settings) -> Result<Vec<Check>, SettingError> {
        match settings.tree("verify") {
            None => Ok(Vec::new()),
            Some(_) => Ok(vec![tree::<Proof>(settings, "verify")?.check(settings)?]),
        }
    }

    fn poll_keys(&self) -> &'static [Key] {
        POLL_KEYS
    }

    fn configured(
        &self,
        webhook: Option<&Settings>,
        poll: Option<&Settings>,
    ) -> Result<Option<Box<dyn Provider>>, SettingErrors> {
        let mut errors = SettingErrors::default();
        let event = webhook.and_then(|settings| settings.tree("event"));
        let (auth, polled) = match poll {
            Some(settings) => (
                errors.take(poll::Auth::of(settings)),
                polled(settings, event.unwrap_or(&Value::Null), &mut errors),
            ),
            None => (Some(poll::Auth::Open), Vec::new()),
        };
        let asks_by_get = polled.iter().any(|polled| !polled.posts());
        if let (Some(poll::Auth::Body(_)), Some(settings), true) = (&auth, poll, asks_by_get) {
            let hint = "let every feed have method = \"POST\", or show the secret otherwise";
            errors.0.push(settings.problem("auth", "is for a body, which a GET has not", hint));
        }
        // With a poll, the webhook's problems have been told without it.
        let mut told = SettingErrors::default();
        let of_webhook = if poll.is_some() { &mut told } else { &mut errors };
        let webhook = webhook.and_then(|settings| Webhook::new(settings, of_webhook));
        match auth.filter(|_| errors.0.is_empty()) {
            Some(auth) => {
                let feeds = polled.iter().map(|polled| polled.feed.clone()).collect();
                Ok(Some(Box::new(Described { webhook, auth, feeds, polled })))
            }
            None => Err(errors),
        }
    }

    fn doubts(&self, webhook: Option<&Settings>, poll: Option<&Settings>) -> Vec<SettingError> {
        lint::doubts(webhook, poll)
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        wire::split_json(notification.body)
    }

    fn read(&self, _element: &Element, _stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        Err(Unreadable("what described it is no longer configured".to_owned()))
    }
}

impl Provider for Described {
    fn name(&self) -> &'static str {
        NAME
    }

    fn verification(&self) -> &'static str {
        Custom.verification()
    }

    fn webhook_keys(&self) -> &'static [Key] {
        WEBHOOK_KEYS
    }

    fn checks(&self, settings: &Settings) -> Result<Vec<Check>, SettingError> {
        Custom.checks(settings)
    }

    fn poll_keys(&self) -> &'static [Key] {
        POLL_KEYS
    }

    fn proven(&self) -> String {
        self.webhook.as_ref().map(|webhook| webhook.proven.clone()).unwrap_or_default()
    }

    fn kinds(&self) -> Vec<EventKind> {
        let of_webhook = self.webhook.iter().map(|webhook| &webhook.reader);
        let readers = of_webhook.chain(self.polled.iter().map(|polled| &polled.reader));
        let kinds: Vec<EventKind> = readers.flat_map(|reader| reader.kinds()).collect();
        EventKind::ALL.into_iter().filter(|kind| kinds.contains(kind)).collect()
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        match &self.webhook {
            Some(webhook) => webhook.split(notification),
            None => Custom.split(notification),
        }
    }

    fn asks(&self, notification: &Notification<'_>) -> Option<Ask> {
        let echo = self.webhook.as_ref()?.echo.as_ref()?;
        let payload = self.webhook.as_ref()?.payload(notification.body);
        let body: Value = serde_json::from_slice(&payload).ok()?;
        let value = body.pointer(&echo.when)?.clone();
        Some(Ask::Echo(substitute(&echo.respond, &value)))
    }

    fn once(&self, notification: &Notification<'_>) -> Option<String> {
        let message = self.webhook.as_ref()?.once.as_ref()?.message(notification)?;
        Some(String::from_utf8_lossy(&message).into_owned())
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        self.webhook.as_ref()?.sample(&Wanted { kind, address, now })
    }

    fn feeds(&self) -> &[Feed] {
        &self.feeds
    }

    fn page_request(&self, query: &Query<'_>) -> Result<PageRequest, SettingError> {
        match self.polled(query.feed) {
            Some(polled) => polled.request(query, &self.auth),
            None => Err(query.settings.problem("feed", "has no such feed", HINT)),
        }
    }

    fn page(&self, query: &Query<'_>, url: &Url, body: &[u8]) -> Result<Page, PageError> {
        self.linked_page(query, url, "", body)
    }

    fn linked_page(
        &self,
        query: &Query<'_>,
        url: &Url,
        links: &str,
        body: &[u8],
    ) -> Result<Page, PageError> {
        let polled = self.polled(query.feed);
        let polled = polled.ok_or_else(|| PageError("there is no such feed".to_owned()))?;
        polled.page(query, url, links, body)
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        let reader = match stamp.feed {
            "" => self.webhook.as_ref().map(|webhook| &webhook.reader),
            feed => self.polled(feed).map(|polled| &polled.reader),
        };
        match reader {
            Some(reader) => reader.read(element, stamp),
            None => Custom.read(element, stamp),
        }
    }
}

impl Described {
    fn polled(&self, feed: &str) -> Option<&poll::Described> {
        self.polled.iter().find(|polled| polled.feed.name == feed)
    }
}

impl Webhook {
    /// `None` where an error was noted.
    fn new(settings: &Settings, errors: &mut SettingErrors) -> Option<Webhook> {
        let format = match settings.text("format") {
            None | Some("json") => Format::Json,
            Some("ndjson") => Format::Lines,
            Some("form") => Format::Form,
            Some(_) => {
                let hint = "write \"json\", \"ndjson\" for one object a line, or \"form\" for JSON \
                    in the field of a form";
                errors.0.push(settings.problem("format", "is no format", hint));
                Format::Json
            }
        };
        let items = settings.text("items").unwrap_or("").to_owned();
        if !items.is_empty() && !items.starts_with('/') {
            errors.0.push(settings.problem("items", "is no JSON pointer", "start it with a /"));
        }
        let ignore_when: Option<Option<Vec<event::Condition>>> =
            optional(settings, "ignore_when", errors);
        let echo: Option<Option<Echo>> = optional(settings, "echo", errors);
        let proof: Option<Option<Proof>> = optional(settings, "verify", errors);
        lint::conditions(ignore_when.iter().flatten().flatten(), settings, errors);
        lint::echo(echo.as_ref().and_then(Option::as_ref), settings, errors);
        lint::proof(proof.as_ref().and_then(Option::as_ref), format, settings, errors);
        let event = match settings.tree("event") {
            Some(table) => event::Knobs::of(table, event::At::Here, settings, errors),
            None => errors.take(tree(settings, "event")),
        };
        lint::time(event.as_ref(), proof.iter().flatten().next(), settings, errors);
        let proven = proof.iter().flatten().next().map(Proof::words);
        let reader = event.and_then(|event| event.webhook_reader(settings, errors));
        Some(Webhook {
            items,
            format,
            ignore_when: ignore_when?.unwrap_or_default(),
            echo: echo?,
            proven: proven.unwrap_or_else(|| CREDENTIALS.to_owned()),
            once: proof?.and_then(|proof| proof.once()),
            reader: reader?,
        })
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        let body = &*self.payload(notification.body);
        let mut elements = if self.format == Format::Lines {
            let lines = body.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
            wire::elements(body, lines.filter(|line| !line.is_empty()))
        } else {
            wire::split_at(&self.items, body)
        };
        if !self.ignore_when.is_empty() {
            elements.retain(|element| !self.ignores(element));
        }
        let context = self.reader.context(notification.headers);
        for element in &mut elements {
            element.context.clone_from(&context);
        }
        elements
    }

    /// The JSON of a body.
    fn payload<'b>(&self, body: &'b [u8]) -> Cow<'b, [u8]> {
        if self.format == Format::Form { verify::payload(body) } else { Cow::Borrowed(body) }
    }

    fn ignores(&self, element: &Element) -> bool {
        let Ok(value) = serde_json::from_slice::<Value>(&element.body) else { return false };
        self.ignore_when.iter().any(|condition| condition.holds(&value))
    }
}

/// `respond` with every `"$value"` replaced.
fn substitute(respond: &Value, value: &Value) -> Value {
    match respond {
        Value::String(text) if text == "$value" => value.clone(),
        Value::Array(items) => items.iter().map(|item| substitute(item, value)).collect(),
        Value::Object(map) => {
            map.iter().map(|(key, item)| (key.clone(), substitute(item, value))).collect()
        }
        other => other.clone(),
    }
}

/// A part of the description, in the form that it must have.
fn tree<T: DeserializeOwned>(settings: &Settings, key: &str) -> Result<T, SettingError> {
    let Some(value) = settings.tree(key) else {
        return Err(settings.problem(key, "is missing: nothing says what an event is", HINT));
    };
    serde_json::from_value(value.clone())
        .map_err(|error| settings.problem(key, &format!("cannot be used: {error}"), HINT))
}

/// The same of a part that may be left out. `None`: it is there, and an error was noted.
fn optional<T: DeserializeOwned>(
    settings: &Settings,
    key: &str,
    errors: &mut SettingErrors,
) -> Option<Option<T>> {
    match settings.tree(key) {
        Some(_) => errors.take(tree(settings, key)).map(Some),
        None => Some(None),
    }
}

/// The feeds of a `poll` table. `event`: the webhook's, over which the table's own keys go.
fn polled(settings: &Settings, event: &Value, errors: &mut SettingErrors) -> Vec<poll::Described> {
    let own = settings.tree("event").unwrap_or(&Value::Null);
    let event = template::merged(event, own);
    let Some(feeds) = errors.take(tree::<Vec<Value>>(settings, "feed")) else { return Vec::new() };
    if feeds.is_empty() {
        let hint = "add a [[source.poll.feed]]";
        errors.0.push(settings.problem("feed", "names no feed", hint));
    }
    let mut polled: Vec<poll::Described> = Vec::new();
    for (number, feed) in (1..).zip(feeds) {
        let place = format!("feed[{number}]");
        let knobs = serde_json::from_value(feed)
            .map_err(|error| settings.problem(&place, &format!("cannot be used: {error}"), HINT));
        let Some(knobs) = errors.take(knobs) else { continue };
        let Some(described) = poll::Described::new(number, knobs, &event, settings, errors) else {
            continue;
        };
        if polled.iter().any(|other| other.feed.name == described.feed.name) {
            let hint = "give each feed a name of its own";
            errors.0.push(settings.problem(&place, "has the name of an earlier feed", hint));
            continue;
        }
        polled.push(described);
    }
    polled
}
