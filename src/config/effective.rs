//! What a configuration sets that is not so by default, and where. Shows no secret.

use serde_json::{Value as Json, json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use url::Url;

use super::dependent::Around;
use super::environment::Environment;
use super::manual::{default_of, unnumbered};
use super::section::{SHOWN_MAX, json_of};
use super::walk::line_of;
use super::{PROXY_VARIABLES, VARIABLE};
use crate::fetch::ProxyUrl;

/// What is shown in the place of a secret.
const HIDDEN: &str = "\"…\"";

/// What a source's tables have that is no secret. All else in them is one, or may be.
const OPEN: &[&str] = &[
    "apart",
    "auth",
    "backfill",
    "confirm",
    "cron",
    "domains",
    "every",
    "feeds",
    "header",
    "header_name",
    "max",
    "min",
    "name",
    "overlap",
    "provider",
    "reasons",
    "region",
    "scan",
    "silent",
    "tolerance",
    "topic_arns",
    "trust_removals",
];

/// Keys elsewhere that take a secret, or may hold one.
const SECRET: &[&str] = &["command", "credentials", "password", "proxy", "secret", "token"];

/// The ways to say where a secret is.
const PLACES: &[&str] = &["file", "env", "credential"];

/// One key that is not as by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its path, such as `source[2].webhook.secret`.
    pub path: String,
    /// The `name` of the table in a list that it is in.
    pub name: Option<String>,
    /// Its value as it is written, without secrets.
    pub value: String,
    /// What it would be, if it has a default that is shown.
    pub default: Option<String>,
    /// Where it is set: the line of the file, or a variable of the environment.
    pub from: From,
}

/// Where a key is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// In the file, on that line.
    Line(usize),
    /// By a variable.
    Variable(&'static str),
}

impl Setting {
    /// The same as JSON.
    pub fn to_json(&self) -> Json {
        let Setting { path, name, value, default, from } = self;
        let (from, line) = match from {
            From::Line(line) => (format!("line {line}"), Some(line)),
            From::Variable(name) => ((*name).to_owned(), None),
        };
        json!({
            "key": path, "name": name, "value": value, "default": default,
            "from": from, "line": line,
        })
    }
}

/// What the text of a configuration sets, and the environment where that counts, in the order of
/// the file. What is not TOML is left out.
pub fn settings(text: &str, environment: &Environment) -> Vec<Setting> {
    let (table, _) = DeTable::parse_recoverable(text);
    let (name, provider) = (None, None);
    let mut walk = Walk { text, environment, name, provider, found: Vec::new() };
    walk.table("", table.get_ref());
    let mut found = walk.found;
    found.sort_by_key(|(line, _)| *line);
    let mut found: Vec<Setting> = found.into_iter().map(|(_, setting)| setting).collect();
    let variable = |name: &&'static str| {
        let value = environment.text(name).filter(|value| !value.is_empty())?;
        Some((*name, value))
    };
    let mut add = |path: &str, (name, value): (&'static str, String)| {
        if found.iter().all(|setting| setting.path != path) {
            let (path, from) = (path.to_owned(), From::Variable(name));
            let default = shown_default(&path);
            found.push(Setting { path, name: None, value, default, from });
        }
    };
    if let Some((name, value)) = variable(&VARIABLE) {
        add("log.level", (name, format!("{value:?}")));
    }
    if let Some((name, value)) = PROXY_VARIABLES.iter().find_map(variable) {
        let shown = ProxyUrl::of_variable(&value).map(|proxy| format!("{:?}", proxy.shown()));
        add("fetch.proxy", (name, shown.unwrap_or_else(|| HIDDEN.to_owned())));
    }
    found
}

/// A walk over the file.
struct Walk<'a> {
    text: &'a str,
    environment: &'a Environment,
    /// The provider of the source that it is in.
    provider: Option<String>,
    /// That of the table in a list that it is in.
    name: Option<String>,
    found: Vec<(usize, Setting)>,
}

impl Walk<'_> {
    fn table(&mut self, above: &str, table: &DeTable<'_>) {
        for (key, value) in table.iter() {
            let dot = if above.is_empty() { "" } else { "." };
            let path = format!("{above}{dot}{}", key.get_ref());
            self.value(path, line_of(self.text, key.span().start), value, table);
        }
    }

    fn value(
        &mut self,
        path: String,
        line: usize,
        value: &Spanned<DeValue<'_>>,
        beside: &DeTable<'_>,
    ) {
        match value.get_ref() {
            DeValue::Table(table) if !is_place(table) => self.table(&path, table),
            DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {
                for (index, item) in items.iter().enumerate() {
                    let text = |key: &str| {
                        let found = item.get_ref().get(key)?.get_ref().as_str()?;
                        Some(found.to_owned())
                    };
                    let outer = (self.name.clone(), self.provider.clone());
                    self.name = text("name").or(outer.0.clone());
                    self.provider = text("provider").or(outer.1.clone());
                    let at = line_of(self.text, item.span().start);
                    self.value(format!("{path}[{}]", index + 1), at, item, beside);
                    (self.name, self.provider) = outer;
                }
            }
            leaf => {
                let written = self.text.get(value.span()).unwrap_or_default();
                self.leaf(path, line, (leaf, written), beside);
            }
        }
    }

    fn leaf(
        &mut self,
        path: String,
        line: usize,
        (value, written): (&DeValue<'_>, &str),
        beside: &DeTable<'_>,
    ) {
        let (key, provider) = (unnumbered(&path), self.provider.as_deref());
        let around = Around { beside, provider, environment: self.environment };
        let known = around.default_of(&key).or_else(|| default_as_json(&key));
        if known.as_ref() == Some(&json_of(value)) {
            return;
        }
        let value = if is_open(&key, value) { plain(written) } else { HIDDEN.to_owned() };
        let (name, from) = (self.name.clone(), From::Line(line));
        let default = known.as_ref().map(written_as);
        self.found.push((line, Setting { path, name, value, default, from }));
    }
}

fn default_as_json(key: &str) -> Option<Json> {
    serde_json::to_value(default_of(key)?).ok()
}

fn shown_default(key: &str) -> Option<String> {
    default_as_json(key).as_ref().map(written_as)
}

/// Whether a table says where a secret is.
fn is_place(table: &DeTable<'_>) -> bool {
    table.len() == 1 && table.keys().all(|key| PLACES.contains(&&**key.get_ref()))
}

/// Whether a value can be shown.
fn is_open(key: &str, value: &DeValue<'_>) -> bool {
    let text = value.as_str().unwrap_or_default();
    let last = key.rsplit('.').next().unwrap_or(key);
    if value.as_table().is_some_and(is_place) || value.is_bool() || value.is_integer() {
        return true;
    }
    if last.ends_with("url") {
        return Url::parse(text).is_ok_and(|url| {
            url.query().is_none() && url.username().is_empty() && url.password().is_none()
        });
    }
    match key {
        // The path of a file, unless it is the key itself.
        "http.tls.key" | "fleet.tls.key" => !text.trim_start().starts_with("-----BEGIN"),
        _ if SECRET.contains(&last) => false,
        _ => !key.starts_with("source.") || OPEN.contains(&last),
    }
}

/// A value as it would be written.
fn written_as(value: &Json) -> String {
    let Json::Object(members) = value else { return value.to_string() };
    let members: Vec<String> =
        members.iter().map(|(key, value)| format!("{key} = {}", written_as(value))).collect();
    format!("{{ {} }}", members.join(", "))
}

/// What is written, on one line.
fn plain(written: &str) -> String {
    let line = written.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[http]
listen = "0.0.0.0:8025"
body_max = "8MiB"
public_url = "https://user:hush@hooks.example.org"
tls = { certificate = "/c.pem", key = "-----BEGIN hush" }
[admin]
token = ["hush", { credential = "admin" }]
[rules]
soft_bounce = { count = 7, within = "14d", for = "30d" }
[[source]]
name = "acme"
provider = "generic"
webhook = { secret = "hush", header = "X-S" }
poll = { url = "https://a.example/?token=hush", bearer = { env = "T" }, every = "5m" }
[[export]]
name = "postfix"
command = ["/bin/x", "hush"]
"#;

    #[test]
    fn what_differs_is_told_with_its_place_and_without_secrets() {
        let variable = |name: &str| match name {
            "SUPPRESSD_LOG" => Some("debug".into()),
            "HTTPS_PROXY" => Some("http://u:hush@proxy:3128".into()),
            _ => None,
        };
        let found = settings(TEXT, &Environment::new(variable, None));
        let all: Vec<String> = found.iter().map(|s| format!("{} = {}", s.path, s.value)).collect();
        assert!(!all.join("\n").contains("hush"), "{all:#?}");
        for expected in [
            "http.listen = \"0.0.0.0:8025\"",
            "http.public_url = \"…\"",
            "http.tls.certificate = \"/c.pem\"",
            "http.tls.key = \"…\"",
            "admin.token[1] = \"…\"",
            "admin.token[2] = { credential = \"admin\" }",
            "rules.soft_bounce.count = 7",
            "source[1].provider = \"generic\"",
            "source[1].webhook.secret = \"…\"",
            "source[1].poll.bearer = { env = \"T\" }",
            "export[1].command = \"…\"",
            "log.level = \"debug\"",
        ] {
            assert!(all.iter().any(|line| line == expected), "{expected}: {all:#?}");
        }
        assert!(!all.iter().any(|line| line.contains("body_max") || line.contains("within")));
        let count = found.iter().find(|s| s.path == "rules.soft_bounce.count").unwrap();
        assert_eq!((count.default.as_deref(), &count.from), (Some("5"), &From::Line(10)));
        assert_eq!(
            found.iter().find(|s| s.path == "source[1].provider").unwrap().name,
            Some("acme".into())
        );
    }

    #[test]
    fn a_default_that_depends_on_another_key_is_told_as_it_is() {
        let text = r#"
[http]
body_max = "64MiB"
memory = "1GiB"
connections_max = 100
connections_per_address = 5
[log]
level = "trace"
[[source]]
name = "a"
provider = "generic"
poll = { url = "https://a.example/", overlap = "1h", feeds = ["events"] }
[[export]]
name = "map"
format = "postfix-access"
table = "lmdb"
min_interval = "1s"
[[export]]
name = "text"
format = "postfix-access"
min_interval = "5s"
reasons = ["manual"]
[[export]]
name = "usual"
format = "postfix-access"
min_interval = "1s"
"#;
        let variable = |name: &str| (name == "SUPPRESSD_LOG").then(|| "warn".into());
        let found = settings(text, &Environment::new(variable, None));
        let default_of = |path: &str| {
            let of = found.iter().find(|setting| setting.path == path);
            of.unwrap_or_else(|| panic!("{path}: {found:#?}")).default.clone().unwrap_or_default()
        };
        for (path, default) in [
            ("http.memory", "\"256MiB\""),
            ("http.connections_per_address", "25"),
            ("log.level", "\"warn\""),
            ("export[1].min_interval", "\"0s\""),
            ("export[2].min_interval", "\"1s\""),
        ] {
            assert_eq!(default_of(path), default, "{path}");
        }
        assert!(default_of("source[1].poll.feeds").contains("\"events\",\"suppressions\""));
        assert!(default_of("source[1].poll.overlap").contains("15m"));
        assert!(default_of("export[2].reasons").contains("hard_bounce"));
        assert!(found.iter().all(|setting| setting.path != "export[3].min_interval"));
    }
}
