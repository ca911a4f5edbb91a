//! What each key of the configuration means, as `config.example.toml` tells it.

use std::net::SocketAddr;

use toml::{Table, Value};

use super::STORE_PATH;
use super::listeners::{ADMIN_LISTEN, CONTROL_SOCKET, HTTP_LISTEN, SOCKET_MODE};

/// Every key is in it, with what it means; a key that is commented out shows its default, or an
/// example.
const EXAMPLE: &str = include_str!("../../config.example.toml");

/// The keys that show what holds where they are not set, whatever else is. The others that are
/// commented out show an example, or what holds in most cases.
const DEFAULTS: &[&str] = &[
    "store.retention",
    "http.body_max",
    "http.body_timeout",
    "http.connections_max",
    "http.tls.acme.directory",
    "http.header_timeout",
    "http.mode",
    "http.trusted_proxies",
    "log.level",
    "control.mode",
    "rules.blocked",
    "rules.complaint",
    "rules.hard_bounce",
    "rules.invalid",
    "rules.soft_bounce",
    "rules.unexplained",
    "rules.unsubscribe",
    "source.poll.backfill",
    "source.poll.every",
    "source.poll.scan",
    "source.poll.trust_removals",
    "source.webhook.header",
    "export.hash",
    "export.max_shrink",
    "export.reply.complaint",
    "export.reply.hard_bounce",
    "export.reply.invalid",
    "export.reply.manual",
    "export.reply.provider_listed",
    "export.reply.soft_bounces",
    "export.reply.unsubscribe",
    "export.scopes",
    "export.table",
    "fleet.alone_after",
    "fleet.poll",
    "fleet.replicas",
    "fleet.stream",
    "forward.events",
    "hold.by",
    "hold.new",
    "lookup.connections_max",
    "lookup.idle_timeout",
    "lookup.mode",
    "lookup.on_error",
    "lookup.reply.complaint",
    "lookup.reply.hard_bounce",
    "lookup.reply.invalid",
    "lookup.reply.manual",
    "lookup.reply.provider_listed",
    "lookup.reply.soft_bounces",
    "lookup.reply.unsubscribe",
    "lookup.scopes",
];

/// What holds where a key is not set that the example sets to something else, for a checkout, or
/// does not show.
fn elsewhere(key: &str) -> Option<Value> {
    let text = match key {
        "store.path" => STORE_PATH.to_owned(),
        "http.listen" => SocketAddr::from(HTTP_LISTEN).to_string(),
        "admin.listen" => SocketAddr::from(ADMIN_LISTEN).to_string(),
        "admin.mode" => format!("{SOCKET_MODE:04o}"),
        "control.socket" => CONTROL_SOCKET.to_owned(),
        _ => return None,
    };
    Some(Value::String(text))
}

/// Blanks behind a `#` that go on with what stands beside the key above.
const CONTINUED: usize = 8;

/// What is told of a key or of a table.
#[derive(Debug)]
pub struct Entry {
    /// Its path without numbers, such as `source.webhook.secret`.
    pub key: String,
    /// What it is for, and the line that sets it, or begins it.
    pub text: String,
    /// The value that it shows. `None`: it is a table.
    value: Option<Value>,
}

impl Entry {
    /// Whether the key stands within the table that this one is set to, on its line.
    fn shows(&self, key: &str) -> bool {
        let within = key.rsplit_once('.').filter(|(table, _)| *table == self.key);
        let table = self.value.as_ref().and_then(Value::as_table);
        within.is_some_and(|(_, last)| table.is_some_and(|table| table.contains_key(last)))
    }
}

/// What is told of a key, named as in the file (`source[2].poll.every`), without numbers, or by its
/// last word; of all keys of a table, if it is one.
pub fn about(key: &str) -> Vec<Entry> {
    let key = unnumbered(key);
    let (all, within) = (entries(), format!("{key}."));
    let mut found: Vec<Entry> =
        all.into_iter().filter(|e| e.key == key || e.key.starts_with(&within)).collect();
    if found.is_empty() {
        let last = format!(".{key}");
        found = entries().into_iter().filter(|entry| entry.key.ends_with(&last)).collect();
    }
    if found.is_empty() {
        found = entries().into_iter().filter(|entry| entry.shows(&key)).collect();
    }
    found
}

/// Every key and table of which something is told.
pub fn keys() -> Vec<String> {
    entries().into_iter().map(|entry| entry.key).collect()
}

/// Whether a path of the file is that key, or within it.
pub fn is_within(path: &str, key: &str) -> bool {
    let path = unnumbered(path);
    path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A path without the numbers of what is in a list.
pub(super) fn unnumbered(key: &str) -> String {
    let mut inside = false;
    let keep = |c: &char| {
        inside = (inside || *c == '[') && *c != ']';
        !inside && *c != ']'
    };
    key.chars().filter(keep).collect()
}

/// The value of a key where none is set, if that is told.
pub(super) fn default_of(key: &str) -> Option<Value> {
    let shown = entries().into_iter().filter(|entry| DEFAULTS.contains(&&*entry.key));
    elsewhere(key).or_else(|| {
        shown.into_iter().find_map(|entry| {
            let rest = key.strip_prefix(&entry.key)?;
            let mut value = entry.value?;
            for part in rest.split('.').filter(|part| !part.is_empty()) {
                value = value.as_table_mut()?.remove(part)?;
            }
            (rest.is_empty() || rest.starts_with('.')).then_some(value)
        })
    })
}

/// All that is told, in the order of the example, each key once.
fn entries() -> Vec<Entry> {
    let (mut found, mut table, mut before) = (Vec::<Entry>::new(), String::new(), Vec::new());
    for line in EXAMPLE.lines() {
        let is_comment = line.starts_with('#');
        let body = line.strip_prefix('#').unwrap_or(line);
        let blanks = body.len() - body.trim_start().len();
        let body = body.trim_start();
        if body.is_empty() {
            before.clear();
            continue;
        }
        if is_comment && blanks >= CONTINUED {
            if let Some(last) = found.last_mut() {
                last.text.push_str(&format!("\n  {body}"));
            }
            continue;
        }
        let (key, value) = match (header(body), setting(body)) {
            (Some(name), _) => {
                table = name.to_owned();
                (table.clone(), None)
            }
            (None, Some((key, value))) => (format!("{table}.{key}"), Some(value)),
            (None, None) => {
                before.push(body);
                continue;
            }
        };
        before.push(body);
        let text = before.join("\n");
        if found.iter().all(|entry| entry.key != key) {
            found.push(Entry { key, text, value });
            before.clear();
        }
    }
    found
}

/// The name of a table that a line begins.
fn header(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix('[')?.trim_start_matches('[').split_once(']')?;
    let is_name = |c: char| c.is_ascii_lowercase() || matches!(c, '_' | '.');
    (!name.is_empty() && name.chars().all(is_name)).then_some(name)
}

/// The key and the value that a line sets.
fn setting(line: &str) -> Option<(String, Value)> {
    let mut parts: Table = line.parse().ok()?;
    let mut path = String::new();
    loop {
        let key = parts.keys().next()?.clone();
        path.push_str(&key);
        match parts.remove(&key)? {
            // What is written with dots is a table in a table.
            Value::Table(inner) if line.starts_with(&format!("{path}.")) => {
                path.push('.');
                parts = inner;
            }
            value => return Some((path, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reason;
    use crate::model::reply::usual;

    #[test]
    fn a_key_that_stands_on_its_tables_line_is_told_with_it() {
        let told = |key| about(key).into_iter().map(|entry| entry.key).collect::<Vec<_>>();
        assert_eq!(told("http.tls.certificate"), ["http.tls"]);
        assert_eq!(told("source[2].webhook.topic_arns"), ["source.webhook.topic_arns"]);
        assert_eq!(told("http.tls.nonsense"), [""; 0]);
    }

    #[test]
    fn every_table_and_key_of_the_example_is_told_once() {
        let entries = entries();
        for key in [
            "store.path",
            "http.listen",
            "http.group",
            "http.tls",
            "log.level",
            "fetch.proxy",
            "admin.token",
            "control.mode",
            "rules.never",
            "rules.reply.text",
            "hold.by",
            "source.webhook.secret",
            "source.poll.every",
            "source.push.reasons",
            "export.command",
            "export.reply.manual",
            "lookup.scopes_by_sender",
        ] {
            let entry = entries.iter().find(|entry| entry.key == key);
            assert!(entry.is_some_and(|entry| entry.value.is_some()), "{key}");
        }
        let mut keys: Vec<&str> = entries.iter().map(|entry| &*entry.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), entries.len());
        assert_eq!(default_of("rules.soft_bounce.count"), Some(Value::Integer(5)));
        assert_eq!(default_of("http.public_url"), None, "it is an example");
        for key in DEFAULTS {
            assert!(default_of(key).is_some(), "{key}");
        }
        let text = |key: &str| default_of(key).and_then(|value| value.as_str().map(str::to_owned));
        assert_eq!(text("control.socket").as_deref(), Some("/run/suppressd/control.sock"));
        assert_eq!(text("admin.mode").as_deref(), Some("0660"));
        for reason in Reason::ALL {
            for table in ["export", "lookup"] {
                let reply = text(&format!("{table}.reply.{reason}"));
                assert_eq!(reply.as_deref(), Some(usual(reason)), "{table} {reason}");
            }
        }
        assert_eq!(unnumbered("source[2].poll.every"), "source.poll.every");
        assert_eq!(about("body_max").len(), 1);
        assert!(about("http").len() > 10 && about("nonsense").is_empty());
        assert!(about("export[1].command")[0].text.ends_with("the name and the file"));
    }
}
