//! Where a described provider's events have what, and what their types mean.

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::HeaderName;
use serde::Deserialize;
use serde_json::Value;

use super::super::wire::{self, TimeForm};
use super::super::{Class, Said, SettingError, Settings, Stamp, Unreadable};
use crate::model::{Element, Event, EventKind, Reason, Scope, Time};

/// The `event` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Knobs {
    #[serde(rename = "type")]
    kind: Kind,
    recipient: Pointers,
    time: Pointers,
    #[serde(default)]
    event_id: Pointers,
    #[serde(default)]
    message_id: Pointers,
    #[serde(default)]
    smtp_code: Pointers,
    #[serde(default)]
    enhanced: Pointers,
    #[serde(default)]
    diagnostic: Pointers,
    #[serde(default)]
    tags: Pointers,
    #[serde(default)]
    metadata: Pointers,
    #[serde(default)]
    stream: Pointers,
    #[serde(default)]
    url: Pointers,
    #[serde(default)]
    user_agent: Pointers,
    #[serde(default)]
    machine: Pointers,
    #[serde(default)]
    map: Vec<Row>,
}

/// One JSON pointer, or several of which the first that leads somewhere counts. `header:NAME`
/// stands for a header of the notification.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(untagged)]
enum Pointers {
    #[default]
    None,
    One(String),
    Several(Vec<String>),
}

/// Where the type stands: at a pointer, or at several whose values are joined.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Kind {
    At(Pointers),
    Joined { join: Vec<String>, sep: String },
}

/// A row of the map: the first that matches counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    when: Vec<Condition>,
    /// One of the kinds of events, or `ignore`.
    #[serde(rename = "kind")]
    means: String,
    reason: Option<String>,
}

/// Something that must hold of an event.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Condition {
    ptr: String,
    eq: Option<Value>,
    #[serde(rename = "in")]
    among: Option<Vec<Value>>,
    prefix: Option<String>,
    contains: Option<String>,
    exists: Option<bool>,
}

/// A row that was understood.
#[derive(Clone, Debug)]
struct Meaning {
    kind: Option<String>,
    when: Vec<Condition>,
    /// `None`: such events are of no interest.
    means: Option<EventKind>,
    reason: Option<Reason>,
}

/// Reads events.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    knobs: Knobs,
    map: Vec<Meaning>,
}

impl Knobs {
    pub(super) fn reader(mut self, settings: &Settings) -> Result<Reader, SettingError> {
        let meaning = |row: Row| {
            let ignore = row.means == "ignore";
            let means = EventKind::parse(&row.means);
            if means.is_none() && !ignore {
                let hint = EventKind::ALL.map(EventKind::as_str).join(" ");
                let what = format!("{:?} is no kind of event", row.means);
                let hint = format!("use one of: {hint} ignore");
                return Err(settings.problem("event.map.kind", &what, &hint));
            }
            let reason = match row.reason.as_deref() {
                None => None,
                Some(text) => Some(Reason::parse(text).ok_or_else(|| {
                    let hint = Reason::ALL.map(Reason::as_str).join(" ");
                    let what = format!("{text:?} is no reason");
                    settings.problem("event.map.reason", &what, &format!("use one of: {hint}"))
                })?),
            };
            Ok(Meaning { kind: row.kind, when: row.when, means, reason })
        };
        let map = std::mem::take(&mut self.map);
        let map = map.into_iter().map(meaning).collect::<Result<_, _>>()?;
        Ok(Reader { knobs: self, map })
    }
}

impl Pointers {
    fn all(&self) -> &[String] {
        match self {
            Pointers::None => &[],
            Pointers::One(pointer) => std::slice::from_ref(pointer),
            Pointers::Several(pointers) => pointers,
        }
    }

    fn find<'a>(&self, item: &'a Item) -> Option<&'a Value> {
        let mut found = self.all().iter().filter_map(|pointer| item.at(pointer));
        found.find(|value| !value.is_null())
    }

    fn text(&self, item: &Item) -> Option<String> {
        self.find(item).and_then(text).filter(|text| !text.is_empty())
    }
}

/// One element: the JSON of the event, and the headers it came with.
struct Item {
    body: Value,
    headers: BTreeMap<String, Value>,
}

impl Item {
    fn at(&self, pointer: &str) -> Option<&Value> {
        match pointer.strip_prefix("header:") {
            Some(name) => self.headers.get(&name.to_ascii_lowercase()),
            None => self.body.pointer(pointer),
        }
    }
}

impl Condition {
    /// Whether it holds. Several in one table must all hold.
    pub(super) fn holds(&self, value: &Value) -> bool {
        let found = value.pointer(&self.ptr).filter(|value| !value.is_null());
        let is_text = |test: &dyn Fn(&str) -> bool| found.and_then(text).is_some_and(|t| test(&t));
        self.exists.is_none_or(|exists| exists == found.is_some())
            && self.eq.as_ref().is_none_or(|eq| found == Some(eq))
            && self.among.as_ref().is_none_or(|list| found.is_some_and(|v| list.contains(v)))
            && self.prefix.as_deref().is_none_or(|p| is_text(&|t| t.starts_with(p)))
            && self.contains.as_deref().is_none_or(|p| is_text(&|t| t.contains(p)))
    }
}

impl Reader {
    /// The headers that the pointers name, for an element's context; empty if they name none.
    pub(super) fn context(&self, headers: &HeaderMap) -> String {
        let named = self.knobs.event_id.all().iter().filter_map(|p| p.strip_prefix("header:"));
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
        let word = self.word(&item).ok_or_else(|| missing("type"))?;
        let meaning = self.meaning(&word, &item.body);
        let (means, reason) = match meaning {
            Some(Meaning { means: None, .. }) => return Ok(Vec::new()),
            Some(Meaning { means: Some(kind), reason, .. }) => (*kind, *reason),
            None => (EventKind::Unknown, None),
        };
        let at = self.time(&item, stamp.received_at)?;
        let recipients = self.recipients(&item)?;
        let one =
            |recipient: &String| self.event(&item, stamp, (means, reason), &word, recipient, at);
        recipients.iter().map(one).collect()
    }

    fn event(
        &self,
        item: &Item,
        stamp: &Stamp<'_>,
        (means, reason): (EventKind, Option<Reason>),
        word: &str,
        recipient: &str,
        at: Time,
    ) -> Result<Event, Unreadable> {
        let knobs = &self.knobs;
        let diagnostic = knobs.diagnostic.text(item);
        let said = diagnostic.as_deref().unwrap_or("");
        let code = knobs.smtp_code.text(item);
        let smtp_code = code.as_deref().and_then(wire::smtp_code).or_else(|| wire::smtp_code(said));
        let enhanced = knobs.enhanced.text(item);
        let enhanced_code =
            enhanced.as_deref().and_then(wire::enhanced_code).or_else(|| wire::enhanced_code(said));
        let kind = if means == EventKind::HardBounce {
            let said = Said { smtp: None, enhanced: enhanced_code.as_deref(), text: said };
            stamp.faults.kind(Class::Hard, &said)
        } else {
            means
        };
        let event_id = knobs.event_id.text(item);
        let stream = knobs.stream.text(item).and_then(|s| Scope::parse(&format!("stream:{s}")));
        Ok(Event {
            scope: stream.unwrap_or_default(),
            message_id: knobs.message_id.text(item).map(|id| bare(&id)),
            smtp_code,
            enhanced_code,
            diagnostic,
            tags: knobs.tags.find(item).map(texts).unwrap_or_default(),
            metadata: knobs.metadata.find(item).map(ToString::to_string),
            url: knobs.url.text(item),
            user_agent: knobs.user_agent.text(item),
            machine: knobs.machine.find(item) == Some(&Value::Bool(true)),
            provider_event_id: event_id.clone(),
            identity: event_id,
            reason,
            ..stamp.event(super::NAME, kind, word.to_owned(), wire::mailbox(recipient)?, at)
        })
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
            row.kind.as_deref().is_none_or(|kind| kind == word)
                && row.when.iter().all(|condition| condition.holds(body))
        };
        self.map.iter().find(fits)
    }

    fn time(&self, item: &Item, received_at: Time) -> Result<Time, Unreadable> {
        let form = match self.knobs.time.find(item) {
            Some(Value::Number(number)) => match number.as_i64() {
                Some(whole) => TimeForm::Number(whole),
                None => TimeForm::Text(number.to_string()),
            },
            Some(Value::String(text)) => match text.parse() {
                Ok(number) => TimeForm::Number(number),
                Err(_) => TimeForm::Text(text.clone()),
            },
            _ => return Err(missing("time")),
        };
        wire::time(&form, received_at)
    }

    /// The recipients: one address, or a list of them; a display name is left away.
    fn recipients(&self, item: &Item) -> Result<Vec<String>, Unreadable> {
        let found = self.knobs.recipient.find(item).ok_or_else(|| missing("recipient"))?;
        let found = match found {
            Value::Array(items) => items.iter().filter_map(text).collect(),
            one => vec![text(one).ok_or_else(|| missing("recipient"))?],
        };
        Ok(found.iter().map(|entry| address_of(entry).to_owned()).collect())
    }
}

fn missing(what: &str) -> Unreadable {
    Unreadable(format!("the {what} is not where the source says"))
}

/// A text, or a number or flag as text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// A list of texts, or a single one.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().filter_map(text).collect(),
        one => text(one).into_iter().collect(),
    }
}

/// What stands in angle brackets, where there are any.
fn address_of(entry: &str) -> &str {
    let inside = entry.rsplit_once('<').and_then(|(_, rest)| rest.trim_end().strip_suffix('>'));
    inside.unwrap_or(entry)
}

fn bare(id: &str) -> String {
    id.trim().trim_start_matches('<').trim_end_matches('>').to_owned()
}
