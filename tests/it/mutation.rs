//! What an odd type in one field may do, for every field of every fixture: never a panic, never a
//! loss, never a word of the payload in the reason, and, where nothing rests on the field, nothing.
//!
//! [`MATTERS`] has the fields on which kind, address, scope or identity rest; all others may hold
//! anything. A path is that of the field in its element: `/a/*/b` for members of a list. Before
//! a `:` stands the feed, for rows of a poll.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use suppressd::model::{Element, Event, Origin, SourceName};
use suppressd::provider::{ALL, Faults, Provider, Stamp, Unreadable};

use crate::feeds;
use crate::providers::{Sent, payloads, received};

/// What stands in a field's place. Nothing at all comes in addition.
fn replacements() -> [Value; 7] {
    [json!(null), json!(""), json!("x"), json!(7), json!([]), json!({}), json!(true)]
}

/// A word that no fixture has: it must be in no reason.
const SECRET: &str = "qzxv-secret-word";

/// The fields on which kind, address, scope or identity rest.
const MATTERS: &[(&str, &[&str])] = &[];

/// Whether something of an event rests on that field.
fn matters(provider: &str, feed: &str, path: &str) -> bool {
    let rows = MATTERS.iter().filter(|(name, _)| *name == provider).flat_map(|(_, rows)| *rows);
    rows.copied().any(|row| {
        let (of, field) = row.split_once(':').unwrap_or(("", row));
        of == feed && (path == field || path.starts_with(&format!("{field}/")))
    })
}

/// What must stay of an event.
fn facts(read: &Result<Vec<Event>, Unreadable>) -> Vec<String> {
    let Ok(events) = read else { return vec!["unreadable".to_owned()] };
    let fact = |event: &Event| {
        let (kind, address, scope) = (event.kind.as_str(), event.address.key(), &event.scope);
        format!("{kind} {address} {scope} {}", event.id())
    };
    events.iter().map(fact).collect()
}

/// One element and how it is read.
struct Subject<'a> {
    provider: &'static str,
    name: String,
    feed: &'a str,
    element: Element,
    read: &'a dyn Fn(&Element) -> Result<Vec<Event>, Unreadable>,
}

impl Subject<'_> {
    /// Puts everything into each field, and tells the fields on which something rests.
    fn mutate(&self, found: &mut BTreeSet<String>) {
        let Some(value) = object(&self.element.body) else { return };
        let before = facts(&(self.read)(&self.element));
        if before == ["unreadable"] {
            return;
        }
        for path in paths(&value, String::new()) {
            let generic = generic(&path);
            for with in replacements().map(Some).into_iter().chain([None, Some(json!(SECRET))]) {
                let body = with_field(&value, &path, with.clone()).to_string().into_bytes();
                let element = Element { body, ..self.element.clone() };
                let read = (self.read)(&element);
                if let Err(reason) = &read {
                    let place = format!("{} {generic}: {reason}", self.name);
                    assert!(!reason.0.contains(SECRET), "a payload is quoted: {place}");
                    assert!(!reason.0.contains("expected"), "serde's own words: {place}");
                }
                let is_same = facts(&read) == before;
                if !is_same && !matters(self.provider, self.feed, &generic) {
                    found.insert(format!("{} {}:{generic}", self.provider, self.feed));
                }
            }
        }
    }
}

fn object(body: &[u8]) -> Option<Value> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    serde_json::from_slice(body).ok().filter(Value::is_object).or_else(|| {
        // A form: adapters that take it take the same as JSON.
        let pairs = url::form_urlencoded::parse(body);
        let pairs: Map<String, Value> =
            pairs.map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect();
        (!pairs.is_empty() && !body.starts_with(b"{")).then_some(Value::Object(pairs))
    })
}

/// The paths of all fields; those of JSON in a text, too.
fn paths(value: &Value, at: String) -> Vec<String> {
    let below = |key: &str, member: &Value| {
        let path = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        [vec![path.clone()], paths(member, path)].concat()
    };
    match value {
        Value::Object(members) => members.iter().flat_map(|(k, v)| below(k, v)).collect(),
        Value::Array(members) => {
            members.iter().enumerate().flat_map(|(n, v)| below(&n.to_string(), v)).collect()
        }
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner @ Value::Object(_)) => paths(&inner, format!("{at}/$json")),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// A path with `*` in place of the numbers of members.
fn generic(path: &str) -> String {
    let part =
        |part: &str| if part.parse::<usize>().is_ok() { "*".into() } else { part.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// The same with something else, or nothing, in one field.
fn with_field(value: &Value, path: &str, with: Option<Value>) -> Value {
    if let Some((outer, inner)) = path.split_once("/$json") {
        let text = value.pointer(outer).and_then(Value::as_str).unwrap();
        let changed = with_field(&serde_json::from_str(text).unwrap(), inner, with).to_string();
        return with_field(value, outer, Some(changed.into()));
    }
    let mut value = value.clone();
    let (parent, key) = path.rsplit_once('/').unwrap();
    let key = key.replace("~1", "/").replace("~0", "~");
    match (value.pointer_mut(parent).unwrap(), with) {
        (Value::Object(members), Some(with)) => drop(members.insert(key, with)),
        (Value::Object(members), None) => drop(members.remove(&key)),
        (Value::Array(members), Some(with)) => members[key.parse::<usize>().unwrap()] = with,
        (Value::Array(members), None) => drop(members.remove(key.parse().unwrap())),
        _ => unreachable!("{path} leads into no container"),
    }
    value
}

fn told(provider: &dyn Provider, element: &Element) -> Result<Vec<Event>, Unreadable> {
    let stamp = Stamp {
        source: &SourceName::parse("fixture").unwrap(),
        origin: Origin::Webhook,
        feed: "",
        received_at: received(),
        faults: &Faults::default(),
    };
    provider.read(element, &stamp)
}

#[test]
fn only_what_an_event_rests_on_may_change_it() {
    let mut found = BTreeSet::new();
    for provider in ALL {
        for payload in payloads(*provider) {
            let name = payload.display().to_string();
            for element in provider.split(&Sent::of(&payload).notification()) {
                let read = |element: &Element| told(*provider, element);
                let (name, provider) = (name.clone(), provider.name());
                Subject { provider, name, feed: "", element, read: &read }.mutate(&mut found);
            }
        }
    }
    for case in feeds::cases() {
        for element in case.elements() {
            let read = |element: &Element| case.read_or_say(element);
            let (name, provider) = (case.name.clone(), case.provider.name());
            Subject { provider, name, feed: case.feed(), element, read: &read }.mutate(&mut found);
        }
    }
    let found = found.into_iter().collect::<Vec<_>>().join("\n");
    assert!(found.is_empty(), "an event changes with:\n{found}");
}
