//! Where a described provider's events have what, and what their types mean.

mod condition;
mod lint;
mod pointer;
mod sample;

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::HeaderName;
use serde::Deserialize;
use serde_json::Value;

use super::super::wire::{self, Flag, When};
use super::super::{SettingError, SettingErrors, Settings, Stamp, Unreadable};
use crate::model::{Address, Class, Element, Event, EventKind, Failure, Reason, Scope, Time};
use pointer::{everywhere, lookup, texts};

pub(super) use condition::Condition;
pub(super) use pointer::{found, text};
pub(super) use sample::Wanted;

/// Where an `event` table stands, so that each of its keys is told where it was written.
#[derive(Clone, Copy)]
pub(super) enum At<'a> {
    /// It is the table's own.
    Here,
    /// It is that of the feed of that number, from 1, with what differs in it.
    Feed(usize, &'a Value),
}

impl At<'_> {
    /// The path of the table.
    fn table(self) -> String {
        match self {
            At::Here => "event".to_owned(),
            At::Feed(number, _) => format!("feed[{number}]"),
        }
    }

    /// The path of a key within it, such as `map[2].kind`.
    fn key(self, key: &str) -> String {
        let first = key.split(['.', '[']).next().unwrap_or(key);
        match self {
            At::Feed(number, own) if own.get(first).is_some() => {
                format!("feed[{number}].event.{key}")
            }
            _ => format!("event.{key}"),
        }
    }
}

/// What stands before the name of a header, in the place of a pointer.
const HEADER: &str = "header:";

/// The `event` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Knobs {
    /// Left out in a feed whose rows are all alike: their type is then the feed's name.
    #[serde(rename = "type", default)]
    kind: Kind,
    recipient: List,
    /// Left out in a list without times, and where a webhook tells none: then it is when it came.
    #[serde(default)]
    time: List,
    #[serde(default)]
    event_id: List,
    #[serde(default)]
    message_id: List,
    #[serde(default)]
    smtp_code: List,
    #[serde(default)]
    enhanced: List,
    #[serde(default)]
    diagnostic: List,
    #[serde(default)]
    tags: List,
    #[serde(default)]
    metadata: List,
    #[serde(default)]
    stream: List,
    #[serde(default)]
    url: List,
    #[serde(default)]
    user_agent: List,
    #[serde(default)]
    machine: List,
    #[serde(default)]
    map: Vec<Row>,
}

/// One text, or several. Of JSON pointers the first that leads somewhere counts, and `header:NAME`
/// stands for a header of the notification.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(untagged, expecting = "it must be a text, or a list of texts")]
enum List {
    #[default]
    None,
    One(String),
    Several(Vec<String>),
}

/// Where the type stands: at a pointer, or at several whose values are joined.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "it must be a text, a list of texts, or { join = [\"/a\", \"/b\"], sep = \":\" }"
)]
enum Kind {
    At(List),
    Joined { join: Vec<String>, sep: String },
}

impl Default for Kind {
    fn default() -> Kind {
        Kind::At(List::None)
    }
}

/// A row of the map: the first that matches counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// One of these; empty: any.
    #[serde(rename = "type", default)]
    kind: List,
    #[serde(default)]
    when: Vec<Condition>,
    /// One of the kinds of events, or `ignore`.
    #[serde(rename = "kind")]
    means: String,
    reason: Option<String>,
    /// Whether what the server said has the last word.
    fault: Option<bool>,
    /// The class of failure that this type stands for.
    class: Option<String>,
    /// Whether it covers its stream only.
    stream: Option<bool>,
}

/// A row that was understood.
#[derive(Clone, Debug)]
struct Meaning {
    kind: List,
    when: Vec<Condition>,
    /// `None`: such events are of no interest.
    means: Option<EventKind>,
    reason: Option<Reason>,
    /// What the kind is called in the rules, if it is a failure.
    failure: Option<String>,
    in_stream: bool,
}

/// Reads events.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    knobs: Knobs,
    map: Vec<Meaning>,
}

impl Knobs {
    /// The reader of a webhook's events, which all say their type. `None` where an error was noted.
    pub(super) fn webhook_reader(
        self,
        settings: &Settings,
        errors: &mut SettingErrors,
    ) -> Option<Reader> {
        if !self.has_type() {
            errors.0.push(settings.problem("event.type", "is missing", super::HINT));
        }
        self.reader(At::Here, settings, errors)
    }

    /// Whether its events have a time in them, and not in a header at most.
    fn has_time(&self) -> bool {
        self.time.all().iter().any(|place| !place.starts_with(HEADER))
    }

    /// The header that the time may stand in.
    pub(super) fn header_of_time(&self) -> Option<&str> {
        self.time.all().iter().find_map(|place| place.strip_prefix(HEADER))
    }

    fn has_type(&self) -> bool {
        !matches!(&self.kind, Kind::At(pointers) if pointers.all().is_empty())
    }

    /// The reader. `None` where an error was noted.
    pub(super) fn reader(
        mut self,
        at: At<'_>,
        settings: &Settings,
        errors: &mut SettingErrors,
    ) -> Option<Reader> {
        let known = errors.0.len();
        let faults = self.faults().into_iter();
        errors
            .0
            .extend(faults.map(|(key, what, hint)| settings.problem(&at.key(&key), what, hint)));
        let mut map = Vec::new();
        for (number, row) in (1..).zip(std::mem::take(&mut self.map)) {
            let told = |SettingError { key, problem, hint }: SettingError| {
                let key = at.key(&format!("map[{number}].{key}"));
                SettingError { key, problem, hint }
            };
            map.extend(errors.take(row.meaning(settings).map_err(told)));
        }
        (errors.0.len() == known).then_some(Reader { knobs: self, map })
    }
}

impl Row {
    fn meaning(self, settings: &Settings) -> Result<Meaning, SettingError> {
        let means = EventKind::parse(&self.means);
        if means.is_none() && self.means != "ignore" {
            let hint = EventKind::ALL.map(EventKind::as_str).join(" ");
            let what = format!("{:?} is no kind of event", self.means);
            let hint = format!("use one of: {hint} ignore");
            return Err(settings.problem("kind", &what, &hint));
        }
        let reason = match self.reason.as_deref() {
            None => None,
            Some(text) => Some(Reason::parse(text).ok_or_else(|| {
                let hint = Reason::ALL.map(Reason::as_str).join(" ");
                let what = format!("{text:?} is no reason");
                settings.problem("reason", &what, &format!("use one of: {hint}"))
            })?),
        };
        let failure = failure(&self, means, settings)?;
        // Then the class decides, and what explains nothing may pass.
        let is_open = self.fault == Some(true) && means == Some(EventKind::Failed);
        let means = if is_open { Some(EventKind::SoftBounce) } else { means };
        // A dead address is dead in all streams.
        let of_stream = [Some(EventKind::Unsubscribed), Some(EventKind::Resubscribed)];
        let in_stream = self.stream.unwrap_or(of_stream.contains(&means));
        Ok(Meaning { kind: self.kind, when: self.when, means, reason, failure, in_stream })
    }
}

impl List {
    fn all(&self) -> &[String] {
        match self {
            List::None => &[],
            List::One(pointer) => std::slice::from_ref(pointer),
            List::Several(pointers) => pointers,
        }
    }

    fn find<'a>(&self, item: &'a Item) -> Option<&'a Value> {
        let mut found = self.all().iter().filter_map(|pointer| item.at(pointer));
        found.find(|value| !value.is_null())
    }

    /// What of the first text there `read` makes something of.
    fn first<T>(&self, item: &Item, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let texts = self.all().iter().filter_map(|pointer| item.at(pointer)).filter_map(text);
        texts.into_iter().find_map(|text| read(&text))
    }

    /// The first text there that is not empty.
    fn text(&self, item: &Item) -> Option<String> {
        self.first(item, |text| (!text.trim().is_empty()).then(|| text.to_owned()))
    }
}

/// One element: the JSON of the event, and the headers it came with.
struct Item {
    body: Value,
    headers: BTreeMap<String, Value>,
}

impl Item {
    fn at(&self, pointer: &str) -> Option<&Value> {
        match pointer.strip_prefix(HEADER) {
            Some(name) => self.headers.get(&name.to_ascii_lowercase()),
            None => lookup(&self.body, pointer),
        }
    }
}

impl Reader {
    /// The headers that the pointers name, for an element's context; empty if they name none.
    pub(super) fn context(&self, headers: &HeaderMap) -> String {
        let places = self.knobs.event_id.all().iter().chain(self.knobs.time.all());
        let named = places.filter_map(|place| place.strip_prefix(HEADER));
        let value = |name: &str| {
            let name = name.to_ascii_lowercase();
            let header = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, headers.get(header)?.to_str().ok()?.into()))
        };
        let found: serde_json::Map<String, Value> = named.filter_map(value).collect();
        if found.is_empty() { String::new() } else { Value::Object(found).to_string() }
    }

    pub(super) fn read(
        &self,
        element: &Element,
        stamp: &Stamp<'_>,
    ) -> Result<Vec<Event>, Unreadable> {
        let body: Value = wire::object(&element.body)
            .map_err(|error| Unreadable(format!("not an event as the source says: {error}")))?;
        let headers = serde_json::from_str(&element.context).unwrap_or_default();
        let item = Item { body, headers };
        let word = match self.knobs.has_type() {
            true => self.word(&item).ok_or_else(|| missing("type"))?,
            false => stamp.feed.to_owned(),
        };
        let meaning = self.meaning(&word, &item.body);
        if meaning.is_some_and(|meaning| meaning.means.is_none()) {
            return Ok(Vec::new());
        }
        let is_listed = meaning.and_then(|meaning| meaning.means) == Some(EventKind::Listed);
        let time = self.knobs.time.find(&item);
        let has_none = stamp.feed.is_empty() && !self.knobs.has_time();
        let at = match time {
            None if is_listed || has_none => stamp.received_at,
            _ => self.time(&item, stamp.received_at)?,
        };
        let recipients = self.recipients(&item)?;
        let one = |address: Address| {
            let event = self.event(&item, stamp, meaning, &word, address, at);
            if !is_listed {
                return event;
            }
            let given = time.and_then(text).unwrap_or_default();
            let identity = event.identity.or_else(|| Some(format!("{}:{given}", stamp.feed)));
            Event { identity, undated: time.is_none(), ..event }
        };
        Ok(recipients.into_iter().map(one).collect())
    }

    /// What its events can be.
    pub(super) fn kinds(&self) -> impl Iterator<Item = EventKind> {
        self.map.iter().filter_map(|meaning| meaning.means)
    }

    /// Whether a row is of before that time.
    pub(super) fn is_before(&self, element: &Element, since: Time) -> bool {
        let Ok(body) = wire::object(&element.body) else { return false };
        let item = Item { body, headers: BTreeMap::new() };
        self.time(&item, since).is_ok_and(|time| time.nanos() < since.nanos())
    }

    fn event(
        &self,
        item: &Item,
        stamp: &Stamp<'_>,
        meaning: Option<&Meaning>,
        word: &str,
        address: Address,
        at: Time,
    ) -> Event {
        let knobs = &self.knobs;
        let diagnostic = knobs.diagnostic.text(item);
        let said = diagnostic.as_deref().unwrap_or("");
        let smtp_code = knobs.smtp_code.first(item, wire::smtp_code);
        let smtp_code = smtp_code.or_else(|| wire::said_code(said));
        let enhanced_code = knobs.enhanced.first(item, wire::enhanced_code);
        let enhanced_code = enhanced_code.or_else(|| wire::enhanced_code(said));
        let kind = meaning.and_then(|meaning| meaning.means).unwrap_or(EventKind::Unknown);
        let failure = meaning.and_then(|meaning| meaning.failure.as_deref());
        let event_id = knobs.event_id.text(item);
        let in_stream = meaning.is_some_and(|meaning| meaning.in_stream);
        let stream = knobs.stream.text(item).filter(|_| in_stream);
        let stream = stream.and_then(|name| Scope::parse(&format!("stream:{name}")));
        Event {
            scope: stream.unwrap_or_default(),
            message_id: knobs.message_id.text(item).map(|id| bare(&id)),
            smtp_code,
            enhanced_code,
            diagnostic,
            tags: knobs.tags.find(item).map(texts).unwrap_or_default(),
            metadata: knobs.metadata.find(item).map(ToString::to_string),
            url: knobs.url.text(item),
            user_agent: knobs.user_agent.text(item),
            machine: knobs.machine.find(item).is_some_and(|value| Flag::from(value).is_on()),
            provider_event_id: event_id.clone(),
            identity: event_id,
            failure: failure.map(|word| Failure::of([word])),
            reason: meaning.and_then(|meaning| meaning.reason),
            ..stamp.event(super::NAME, kind, word.to_owned(), address, at)
        }
    }

    fn word(&self, item: &Item) -> Option<String> {
        match &self.knobs.kind {
            Kind::At(pointers) => pointers.text(item),
            Kind::Joined { join, sep } => {
                let parts = join.iter().filter_map(|pointer| item.at(pointer).and_then(text));
                let joined = parts.collect::<Vec<_>>().join(sep);
                Some(joined).filter(|joined| !joined.is_empty())
            }
        }
    }

    fn meaning(&self, word: &str, body: &Value) -> Option<&Meaning> {
        let fits = |row: &&Meaning| {
            let kinds = row.kind.all();
            (kinds.is_empty() || kinds.iter().any(|kind| kind.eq_ignore_ascii_case(word)))
                && row.when.iter().all(|condition| condition.holds(body))
        };
        self.map.iter().find(fits)
    }

    fn time(&self, item: &Item, received_at: Time) -> Result<Time, Unreadable> {
        let found = self.knobs.time.find(item).ok_or_else(|| missing("time"))?;
        When::from(found).read("time", |text| {
            wire::utc_time(text, received_at).or_else(|_| wire::mail_time(text, received_at))
        })
    }

    /// The recipients: a header such as `To`, or a list of them; display names are left away.
    fn recipients(&self, item: &Item) -> Result<Vec<Address>, Unreadable> {
        let mut places = self.knobs.recipient.all().iter().map(|at| everywhere(&item.body, at));
        let found = places.find(|found| !found.is_empty()).unwrap_or_default();
        let found: Vec<String> = found.into_iter().flat_map(texts).collect();
        let found: Vec<Address> =
            found.iter().flat_map(|text| wire::mailboxes(text)).collect::<Result<_, _>>()?;
        if found.is_empty() { Err(missing("recipient")) } else { Ok(found) }
    }
}

/// What the rules call a failure of that row: by its class; or by its kind, where what the server
/// said may have the last word. `None`: it is no failure, or is not judged.
fn failure(
    row: &Row,
    means: Option<EventKind>,
    settings: &Settings,
) -> Result<Option<String>, SettingError> {
    let kind = means.filter(|kind| {
        let judged = [EventKind::HardBounce, EventKind::SoftBounce, EventKind::Blocked];
        judged.contains(kind) || matches!(kind, EventKind::Failed | EventKind::Deferred)
    });
    for (is_there, key) in [(row.fault == Some(true), "fault"), (row.class.is_some(), "class")] {
        if is_there && kind.is_none() {
            let hint = "use it with hard_bounce, soft_bounce, blocked, deferred or failed";
            return Err(settings.problem(key, "is for failures only", hint));
        }
    }
    let Some(kind) = kind else { return Ok(None) };
    if let Some(class) = &row.class {
        let known = Class::parse(class).ok_or_else(|| {
            let hint = Class::ALL.map(|(_, name)| name).join(" ");
            let what = format!("{class:?} is no class of failure");
            settings.problem("class", &what, &format!("use one of: {hint}"))
        })?;
        return Ok(Some(format!("class {known}")));
    }
    Ok(match row.fault {
        None => Some(kind.to_string()),
        Some(true) => Some(format!("open {kind}")),
        Some(false) => Some(format!("own {kind}")),
    })
}

fn missing(what: &str) -> Unreadable {
    Unreadable(format!("the {what} is not where the source says"))
}

fn bare(id: &str) -> String {
    id.trim().trim_start_matches('<').trim_end_matches('>').to_owned()
}
