//! What is asked to change each provider's own list, and what the answers come to.
//!
//! A file is `tests/fixtures/push/<provider>.json`, or `<provider>.<which>.json` for others:
//! it has settings, and cases with a verb, the reason, and the answers in their order. With
//! `FIXTURES=write` each case gets what is asked and what comes of it written into it: then read
//! every line of the difference.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use suppressd::model::{PushVerb, Reason, Time};
use suppressd::provider::{ALL, Provider, Push, Pushing, Settings, by_name, outlet};

use crate::custom::load;
use crate::feeds::{settings_of, shown};

/// When everything is asked.
const NOW: &str = "2026-06-15T10:32:11Z";

/// What a description can say all of: the others sign their requests, or remove by an id that is
/// looked up first.
const DESCRIBED: &[&str] = &[
    "elastic-email",
    "generic",
    "mailgun",
    "mandrill",
    "postmark",
    "resend",
    "sendgrid",
    "smtp2go",
    "sparkpost",
    "unisender-go",
];

/// Most requests of a case.
const REQUESTS_MAX: usize = 500;

/// What a case asks, and what it comes to.
fn drive(provider: &dyn Provider, settings: &Settings, case: &Value) -> (Vec<Value>, &'static str) {
    let outlet = outlet(provider.name()).unwrap();
    let push = Push {
        provider,
        settings,
        verb: if case["verb"] == "add" { PushVerb::Add } else { PushVerb::Remove },
        address: case["address"].as_str().unwrap_or("user+tag@example.com"),
        reason: case["reason"].as_str().and_then(Reason::parse),
        now: Time::parse(NOW).unwrap(),
    };
    let mut answers = case["answers"].as_array().unwrap().iter();
    let mut asked = Vec::new();
    let mut requests: VecDeque<_> = outlet.requests(&push).unwrap().into();
    while let Some(request) = requests.pop_front() {
        asked.push(shown(&request));
        assert!(asked.len() <= REQUESTS_MAX, "it does not end");
        let Some(answer) = answers.next() else { return (asked, "unanswered") };
        let status = answer["status"].as_u64().unwrap() as u16;
        let body =
            if answer["body"].is_null() { String::new() } else { answer["body"].to_string() };
        match outlet.answer(&push, &request, status, body.as_bytes()) {
            Pushing::Done => {}
            Pushing::Next(more) => more.into_iter().rev().for_each(|r| requests.push_front(r)),
            Pushing::Refused => return (asked, "refused"),
            Pushing::Denied => return (asked, "denied"),
            Pushing::Later => return (asked, "later"),
        }
    }
    assert!(answers.next().is_none(), "an answer is left: {asked:?}");
    (asked, "done")
}

fn fixture(name: &str) -> (PathBuf, Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/push");
    let path = folder.join(format!("{name}.json"));
    let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    (path, serde_json::from_slice(&text).unwrap())
}

/// The stems of all files, each with the provider that it is about.
fn files() -> Vec<(&'static dyn Provider, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/push");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut stems: Vec<String> =
        entries.map(|e| e.unwrap().path().file_stem().unwrap().to_str().unwrap().into()).collect();
    stems.sort();
    let names = ALL.iter().map(|provider| provider.name());
    for name in names.filter(|name| outlet(name).is_some()) {
        assert!(stems.iter().any(|stem| stem == name), "{name} has no file");
    }
    let provider = |stem: &String| by_name(stem.split('.').next().unwrap()).unwrap();
    stems.into_iter().map(|stem| (provider(&stem), stem)).collect()
}

#[test]
fn lists_are_written_to_as_expected() {
    let writes = std::env::var_os("FIXTURES").is_some_and(|value| value == "write");
    for (provider, stem) in files() {
        let name = provider.name();
        let (path, mut file) = fixture(&stem);
        let keys = [provider.poll_keys(), outlet(name).unwrap().keys()].concat();
        let settings = settings_of(&keys, &file["settings"]);
        let mut verbs = Vec::new();
        for case in file["cases"].as_array_mut().unwrap() {
            let (asked, comes_to) = drive(provider, &settings, case);
            verbs.push((case["verb"].clone(), comes_to));
            if writes {
                case["asked"] = asked.into();
                case["comes_to"] = comes_to.into();
                continue;
            }
            assert_eq!(case["asked"], json!(asked), "{stem}: {case}");
            assert_eq!(case["comes_to"], comes_to, "{stem}: {case}");
        }
        for verb in ["add", "remove"] {
            assert!(verbs.contains(&(verb.into(), "done")), "{name}: {verb}");
        }
        if writes {
            let text = serde_json::to_string_pretty(&file).unwrap() + "\n";
            std::fs::write(&path, text).unwrap();
        }
    }
}

#[test]
fn a_description_pushes_as_the_adapter_does() {
    let polls = load("pushes").polls;
    let names: Vec<&str> = polls.iter().map(|poll| poll.source.as_str()).collect();
    assert_eq!(names, DESCRIBED);
    for poll in &polls {
        let name = poll.source.as_str();
        assert_eq!(poll.provider.name(), "custom");
        let settings = &poll.push.as_ref().unwrap().settings;
        for case in fixture(name).1["cases"].as_array().unwrap() {
            let (asked, comes_to) = drive(&*poll.provider, settings, case);
            assert_eq!((&json!(asked), &json!(comes_to)), (&case["asked"], &case["comes_to"]));
        }
    }
}

#[test]
fn no_address_breaks_out_of_its_place() {
    let (_, file) = fixture("custom");
    let keys = [by_name("custom").unwrap().poll_keys(), outlet("custom").unwrap().keys()].concat();
    let settings = settings_of(&keys, &file["settings"]);
    for address in [
        "\"a/../../b\"@example.org",
        "\"..\\\\..\"@example.org",
        "a?x=1&y#z@example.org",
        "a%2e%2e%2f@example.org",
        "//evil.example@example.org",
        "{each}{reason}{address}@example.org",
        "a+b@[IPv6:::1]",
        "\"a b\"@ex\u{e4}mple.org",
    ] {
        let push = Push {
            provider: by_name("custom").unwrap(),
            settings: &settings,
            verb: PushVerb::Add,
            address,
            reason: Some(Reason::Complaint),
            now: Time::parse(NOW).unwrap(),
        };
        let request = outlet("custom").unwrap().requests(&push).unwrap().remove(0);
        assert_eq!(request.url.host_str(), Some("api.example.com"), "{address}");
        let path: Vec<&str> = request.url.path_segments().unwrap().collect();
        let [list, each, last] = path[..] else { panic!("{address}: {path:?}") };
        let last = last.replace('+', " ");
        let last = url::form_urlencoded::parse(last.as_bytes()).next().unwrap().0.into_owned();
        assert_eq!((list, each, &*last), ("lists", "a%2Fb", address));
        assert_eq!(request.url.query(), Some("why=spam%21&key=k"), "{address}");
        assert_eq!(shown(&request)["body"]["email"][0], address);
        assert_eq!(shown(&request)["body"]["note"], format!("spam!: {address}"));
    }
}
