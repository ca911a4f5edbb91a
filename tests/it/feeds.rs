//! Every feed of every provider: what is asked, in which form, and what the answers mean.
//!
//! A case is a file, `tests/fixtures/feed/<provider>/<case>.json`: the feed, the settings of
//! `poll`, the window, the exchanges in their order, and the events that they come to. A request's
//! `headers` and `body` are compared where the file has them. An answer is JSON, or
//! `{"$text": "…"}`, or `{"$base64": "…"}`; `link` is its header. A row may stand for many,
//! `{"$times": 999, "$row": …}`, whose events are then told once. With `FIXTURES=write` a case gets
//! what is asked and what comes of it written into it: then read every line of the difference.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::BASE64;
use serde_json::{Value, json};
use suppressd::clock;
use suppressd::model::{Element, Event, Origin, Reason, SourceName, Time};
use suppressd::provider::{
    ALL, Adapter, Judge, Key, KeyKind, Page, PageRequest, Provider, Query, Setting, Settings,
    Stamp, Unreadable, Window, by_name, read_judged,
};
use suppressd::secret::Secret;
use url::Url;

use crate::providers::row;
use crate::support::api::{Api, Exchange};
use crate::support::daemon::{Daemon, Home, PATIENCE};
use crate::support::random::Random;
use crate::support::wait_for;

/// When all rows were read.
const READ: &str = "2026-06-15T12:00:00Z";

/// Most requests of a case: a `next` that never ends is a failure.
const REQUESTS_MAX: usize = 50;

/// Most bytes of an answer times the places where it is damaged: long answers in fewer places.
const DAMAGED_MAX: usize = 5_000_000;

/// One file.
pub(crate) struct Case {
    pub(crate) provider: Adapter,
    pub(crate) settings: Settings,
    pub(crate) name: String,
    path: PathBuf,
    file: Value,
}

pub(crate) fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/feed");
    let mut cases = Vec::new();
    for folder in std::fs::read_dir(root).unwrap() {
        let folder = folder.unwrap().path();
        let provider = by_name(folder.file_name().unwrap().to_str().unwrap()).unwrap();
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let file = serde_json::from_slice(&std::fs::read(&path).unwrap())
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let settings = settings(provider, &file);
            let described = provider.configured(None, Some(&settings)).unwrap();
            let provider = described.map_or(provider, |described| &*Box::leak(described));
            cases.push(Case { provider: provider.into(), settings, name, path, file });
        }
    }
    cases.sort_by(|a, b| a.path.cmp(&b.path));
    cases
}

/// The settings of a case.
fn settings(provider: &dyn Provider, file: &Value) -> Settings {
    settings_of(provider.poll_keys(), &file["poll"])
}

/// Settings as a fixture has them.
pub(crate) fn settings_of(keys: &[Key], table: &Value) -> Settings {
    let mut settings = Settings::default();
    for (key, value) in table.as_object().unwrap() {
        let known = keys.iter().find(|known| known.name == key);
        let kind = known.unwrap_or_else(|| panic!("{key}")).kind;
        let texts = || -> Vec<String> {
            let one = |v: &Value| v.as_str().unwrap().to_owned();
            value.as_array().map_or_else(|| vec![one(value)], |a| a.iter().map(one).collect())
        };
        let secrets = || texts().into_iter().map(Secret::new).collect();
        settings.set(
            key,
            match kind {
                KeyKind::Secret => Setting::Secrets(secrets()),
                KeyKind::Text => Setting::Text(texts().remove(0)),
                KeyKind::Texts => Setting::Texts(texts()),
                KeyKind::Flag => Setting::Flag(value.as_bool().unwrap()),
                KeyKind::Span => panic!("{key}: no case has a span yet"),
                KeyKind::Tree => Setting::Tree(value.clone()),
            },
        );
    }
    settings
}

impl Case {
    pub(crate) fn feed(&self) -> &str {
        self.file["feed"].as_str().unwrap()
    }

    fn answers(&self) -> Vec<Vec<u8>> {
        self.answers_by(many)
    }

    /// The answers, with what `many` makes of each row.
    fn answers_by(&self, many: fn(&Value) -> Vec<Value>) -> Vec<Vec<u8>> {
        let body = |exchange: &Value| {
            let answer = &exchange["answer"];
            match (answer["$text"].as_str(), answer["$base64"].as_str()) {
                (Some(text), _) => text.as_bytes().to_vec(),
                (_, Some(text)) => BASE64.decode(text.as_bytes()).unwrap(),
                _ => repeated(answer, many).to_string().into_bytes(),
            }
        };
        self.file["exchanges"].as_array().unwrap().iter().map(body).collect()
    }

    fn time(&self, key: &str) -> Time {
        Time::parse(self.file[key].as_str().unwrap()).unwrap()
    }

    /// The requests that are made when the answers are these, and the events that come of them.
    pub(crate) fn drive(&self) -> (Vec<Value>, Vec<Value>) {
        let (mut asked, mut events) = (Vec::new(), Vec::new());
        self.walk(|request, page| {
            let rows = page.rows.iter().flat_map(|element| match self.read(element) {
                Some(events) => events.iter().map(brief).collect(),
                None => vec![json!({ "unreadable": true })],
            });
            let mut rows: Vec<Value> = rows.collect();
            if self.file["exchanges"][asked.len()].to_string().contains("$times") {
                rows.dedup();
            }
            asked.push(shown(request));
            events.extend(rows);
            if page.overfull {
                events.push(json!({ "overfull": true }));
            }
        });
        (asked, events)
    }

    /// The rows that the answers have; of many that are the same, one.
    pub(crate) fn elements(&self) -> Vec<Element> {
        let mut elements = Vec::new();
        self.walk(|_, page| elements.extend(page.rows.iter().cloned()));
        elements.dedup();
        elements
    }

    /// Asks as a poll does, and tells each request with the page that its answer is.
    fn walk(&self, mut tell: impl FnMut(&PageRequest, &Page)) {
        let settings = &self.settings;
        let window = Window { since: self.time("since"), until: self.time("until") };
        let mut answers = self.answers().into_iter();
        let mut asked = 0;
        let mut one = |next: Option<&str>| -> Page {
            let now = Time::parse(READ).unwrap();
            let query = Query { settings, feed: self.feed(), window, next, now };
            let request = self.provider.page_request(&query).unwrap();
            let name = self.path.display();
            let place = format!("{name}, request {}: {}", asked + 1, request.url);
            assert!(asked < REQUESTS_MAX, "{place}: it does not end");
            let answer = answers.next().unwrap_or_else(|| panic!("{place}: no answer"));
            let links = self.file["exchanges"][asked]["link"].as_str().unwrap_or("");
            let page = self.provider.linked_page(&query, &request.url, links, &answer);
            let page = page.unwrap_or_else(|error| panic!("{place}: {error}"));
            tell(&request, &page);
            asked += 1;
            page
        };
        let mut next: Option<String> = None;
        loop {
            let page = one(next.as_deref());
            if page.overfull {
                break;
            }
            for detail in &page.details {
                one(Some(detail));
            }
            next = page.next;
            if next.is_none() {
                break;
            }
        }
    }

    fn read(&self, element: &Element) -> Option<Vec<Event>> {
        self.read_or_say(element).ok()
    }

    /// Reads a row, or says why it cannot be read.
    pub(crate) fn read_or_say(&self, element: &Element) -> Result<Vec<Event>, Unreadable> {
        let source = SourceName::parse("fixture").unwrap();
        let stamp = Stamp {
            source: &source,
            origin: Origin::Poll,
            feed: self.feed(),
            received_at: Time::parse(READ).unwrap(),
        };
        read_judged(&*self.provider, element, &stamp, &Judge::default())
    }
}

/// The answer with each row as often as it says.
fn repeated(answer: &Value, many: fn(&Value) -> Vec<Value>) -> Value {
    match answer {
        Value::Array(items) => items.iter().flat_map(many).collect(),
        Value::Object(members) => {
            members.iter().map(|(key, value)| (key.clone(), repeated(value, many))).collect()
        }
        other => other.clone(),
    }
}

fn many(item: &Value) -> Vec<Value> {
    match item["$times"].as_u64() {
        Some(times) => vec![item["$row"].clone(); usize::try_from(times).unwrap()],
        None => vec![item.clone()],
    }
}

/// Each row once: what is damaged byte by byte must be short.
fn once(item: &Value) -> Vec<Value> {
    vec![item.get("$row").unwrap_or(item).clone()]
}

/// An event as a case has it: what is not there is not shown.
fn brief(event: &Event) -> Value {
    let mut row = row(event);
    row["reason"] = event.reason.map(Reason::as_str).into();
    row["until"] = event.until.map(|until| until.to_string()).into();
    row["undated"] = event.undated.into();
    let empty = [Value::Null, json!([]), json!(false)];
    row.as_object_mut().unwrap().retain(|_, value| !empty.contains(value));
    row
}

/// A request as a case has it.
pub(crate) fn shown(request: &PageRequest) -> Value {
    let method = request.method.as_str();
    let text = |secret: &Secret| secret.reveal_text().unwrap().to_owned();
    let headers: BTreeMap<&str, String> =
        request.headers.iter().map(|(name, value)| (&**name, text(value))).collect();
    let mut shown = json!({ "request": format!("{method} {}", request.url), "headers": headers });
    if let Some((media, body)) = &request.body {
        let body = text(body);
        shown["media"] = (*media).into();
        shown["body"] = serde_json::from_str(&body).unwrap_or(Value::String(body));
    }
    shown
}

#[test]
fn feeds_are_asked_and_read_as_expected() {
    let writes = std::env::var_os("FIXTURES").is_some_and(|value| value == "write");
    for mut case in cases() {
        let (asked, events) = case.drive();
        let name = case.path.display().to_string();
        if writes {
            for (exchange, asked) in
                case.file["exchanges"].as_array_mut().unwrap().iter_mut().zip(&asked)
            {
                for (key, value) in asked.as_object().unwrap() {
                    exchange[key] = value.clone();
                }
            }
            case.file["events"] = events.into();
            let text = serde_json::to_string_pretty(&case.file).unwrap() + "\n";
            std::fs::write(&case.path, text).unwrap();
            continue;
        }
        let exchanges = case.file["exchanges"].as_array().unwrap();
        for (index, (asked, exchange)) in asked.iter().zip(exchanges).enumerate() {
            for key in ["request", "headers", "media", "body"] {
                let wanted = &exchange[key];
                assert!(key != "request" || !wanted.is_null(), "{name}: has no requests yet");
                assert!(
                    wanted.is_null() || *wanted == asked[key],
                    "{name}, exchange {}: {key} is {}",
                    index + 1,
                    asked[key]
                );
            }
        }
        assert_eq!(asked.len(), exchanges.len(), "{name}: the number of requests");
        for (index, (found, wanted)) in
            events.iter().zip(case.file["events"].as_array().unwrap()).enumerate()
        {
            assert_eq!(found, wanted, "{name}, event {}", index + 1);
        }
        assert_eq!(
            Value::from(events).as_array().map(Vec::len),
            case.file["events"].as_array().map(Vec::len),
            "{name}"
        );
    }
}

#[test]
fn every_feed_has_a_case() {
    let cases = cases();
    let covered = |provider: &dyn Provider, feed: &str| {
        cases.iter().any(|case| case.provider.name() == provider.name() && case.feed() == feed)
    };
    for provider in ALL {
        for feed in provider.feeds() {
            assert!(covered(*provider, &feed.name), "{} {}", provider.name(), feed.name);
        }
    }
}

/// No answer makes an adapter panic, and none that is cut is taken for a page.
#[test]
fn damaged_pages_are_survived() {
    for case in cases() {
        let settings = &case.settings;
        let window = Window { since: case.time("since"), until: case.time("until") };
        let now = Time::parse(READ).unwrap();
        let query = Query { settings, feed: case.feed(), window, next: None, now };
        let request = case.provider.page_request(&query).unwrap();
        let page = |body: &[u8]| case.provider.page(&query, &request.url, body);
        for answer in case.answers_by(once) {
            let is_json = serde_json::from_slice::<Value>(&answer).is_ok();
            let places = answer.len().min(2_000).min(DAMAGED_MAX / answer.len().max(1));
            for end in 0..places {
                let cut = page(&answer[..end]);
                let name = case.path.display();
                assert!(cut.is_err() || !is_json, "{name}, cut at {end}, is a page");
            }
            for place in 0..places {
                for byte in [0, b'"', b'9', b'}', 0xff] {
                    let mut damaged = answer.clone();
                    damaged[place] = byte;
                    if let Ok(page) = page(&damaged) {
                        page.rows.iter().for_each(|row| drop(case.read(row)));
                    }
                }
            }
        }
        for body in ["", " ", "null", "true", "0", "\"\"", "<html></html>", "{\"error\":\"no\"}"] {
            assert!(page(body.as_bytes()).is_err(), "{}: {body}", case.path.display());
        }
    }
}

/// The value of a setting in TOML, with the API in place of the provider's own.
fn toml_of(value: &Value, origin: &str) -> String {
    match value {
        Value::Object(members) => {
            let pairs = members.iter().map(|(k, v)| format!("{k:?} = {}", toml_of(v, origin)));
            format!("{{ {} }}", pairs.collect::<Vec<String>>().join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| toml_of(item, origin)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::String(text) => match Url::parse(text).ok().filter(|url| url.has_host()) {
            Some(url) => format!("{:?}", format!("{origin}{}", &url[url::Position::BeforePath..])),
            None => format!("{text:?}"),
        },
        other => other.to_string(),
    }
}

/// A source that polls one case's feed from the API.
fn source(case: &Case, name: &str, origin: &str) -> String {
    let mut poll = case.file["poll"].clone();
    let base = case.file["exchanges"][0]["request"].as_str().unwrap();
    if ["url", "base_url", "feed"].iter().all(|key| poll[*key].is_null()) {
        // What the provider's own base has before the path of each feed is the same here.
        let own =
            case.file["base"].as_str().unwrap_or_else(|| panic!("{name} needs \"base\": {base}"));
        poll["base_url"] = own.into();
    }
    let mut keys: Vec<String> = poll
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| format!("{key} = {}", toml_of(value, origin)))
        .collect();
    keys.push(format!("feeds = [{:?}]", case.feed()));
    keys.push("cron = \"0 0 0 29 2 *\"".to_owned());
    keys.push("backfill = \"1000d\"".to_owned());
    let provider = case.provider.name();
    format!(
        "[[source]]\nname = {name:?}\nprovider = {provider:?}\npoll = {{ {} }}\n",
        keys.join(", ")
    )
}

/// The cases as sources of one daemon, each with its name and its API.
fn apis(api: impl Fn(Vec<Exchange>) -> Api) -> Vec<(Case, String, Api)> {
    let mut running = Vec::new();
    for case in cases() {
        if case.file["only_pure"] == true {
            continue;
        }
        let exchanges = case.file["exchanges"].as_array().unwrap();
        let exchange = |(exchange, answer): (&Value, Vec<u8>)| {
            let (method, url) = exchange["request"].as_str().unwrap().split_once(' ').unwrap();
            let (method, url) = (method.to_owned(), Url::parse(url).unwrap());
            let link = exchange["link"].as_str().map(str::to_owned);
            Exchange { method, url, body: exchange["body"].clone(), link, answer }
        };
        let api = api(exchanges.iter().zip(case.answers()).map(exchange).collect());
        let name = format!("{}-{}", case.provider.name(), case.name);
        running.push((case, name, api));
    }
    running
}

fn sources(running: &[(Case, String, Api)]) -> String {
    running.iter().map(|(case, name, api)| source(case, name, &api.origin())).collect()
}

/// Each case over real HTTP, by the real daemon: it asks for the same in the same order, and
/// `events` shows the same.
#[test]
fn the_daemon_reads_every_feed() {
    let running = apis(Api::in_order);
    let home = Home::bare(&sources(&running));
    let daemon = home.start();
    for (case, name, api) in &running {
        wait_for(name, PATIENCE, || {
            let row = daemon.source(name);
            (!row["last_success"].is_null() || !row["last_error"].is_null()).then_some(())
        });
        assert_eq!(api.problems(), Vec::<String>::new(), "{name}: {}", daemon.source(name));
        assert_eq!(told(&daemon, name), wanted(case), "{name}");
    }
}

/// Each case again, with cut connections, 500s, 429s, web pages and garbage in the way: runs fail,
/// and when they no longer do, nothing is missing.
#[test]
fn the_daemon_reads_every_feed_behind_any_fault() {
    let random = RefCell::new(Random::new());
    let running = apis(|exchanges| Api::with_faults(exchanges, random.borrow_mut().fork()));
    let home = Home::bare(&sources(&running));
    let daemon = home.start();
    for (_, name, _) in &running {
        wait_for(name, 4 * PATIENCE, || {
            let row = daemon.source(name);
            let is_read = !row["last_success"].is_null() && row["last_error"].is_null();
            (is_read || daemon.cli(&["poll", name]).status.success()).then_some(())
        });
    }
    for (case, name, _) in &running {
        assert_eq!(told(&daemon, name), wanted(case), "{name}");
    }
}

/// Kind, address and time of a source's events, ascending.
fn told(daemon: &Daemon, name: &str) -> Vec<String> {
    let mut told: Vec<String> =
        daemon.rows(&["events", "--source", name]).iter().map(three).collect();
    told.sort();
    told
}

/// The same of what a case expects.
fn wanted(case: &Case) -> Vec<String> {
    // One event told twice is one.
    let same = |event: &Value| {
        let [kind, address, scope] = ["kind", "address", "scope"].map(|key| event[key].clone());
        let told = match &event["identity"] {
            Value::Null => json!([event["message_id"], event["at"].as_str().map(|at| &at[..19])]),
            identity => identity.clone(),
        };
        json!([kind, address, scope, told]).to_string()
    };
    let events = case.file["events"].as_array().unwrap().iter();
    let events: BTreeMap<String, &Value> =
        events.filter(|event| !event["kind"].is_null()).map(|e| (same(e), e)).collect();
    let mut wanted: Vec<String> = events.into_values().map(three).collect();
    wanted.sort();
    wanted
}

/// A row without a time is taken to be of when it was read: in a case at one time, by the daemon
/// at another.
fn three(event: &Value) -> String {
    let at = event["at"].as_str().unwrap();
    let hour_ago = clock::now().minus(Duration::from_secs(3_600));
    let is_reading = at == READ || Time::parse(at).is_some_and(|at| at > hour_ago);
    let at = if is_reading { "when it was read" } else { at };
    format!("{} {} {at}", event["kind"], event["address"])
}
