//! What is asked to change each provider's own list, and what the answers come to.
//!
//! A file is `tests/fixtures/push/<provider>.json`: settings, and cases with a verb, the
//! reason, and the answers in their order. With `FIXTURES=write` each case gets what is asked
//! and what comes of it written into it: then read every line of the difference.

use std::collections::VecDeque;
use std::path::Path;

use serde_json::{Value, json};
use suppressd::model::{PushVerb, Reason, Time};
use suppressd::provider::{ALL, Provider, Push, Pushing, Settings, outlet};

use crate::feeds::{settings_of, shown};

/// When everything is asked.
const NOW: &str = "2026-06-15T10:32:11Z";

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

#[test]
fn lists_are_written_to_as_expected() {
    let writes = std::env::var_os("FIXTURES").is_some_and(|value| value == "write");
    for provider in ALL.iter().filter(|provider| outlet(provider.name()).is_some()) {
        let name = provider.name();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/push");
        let path = folder.join(format!("{name}.json"));
        let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut file: Value = serde_json::from_slice(&text).unwrap();
        let keys = [provider.poll_keys(), outlet(name).unwrap().keys()].concat();
        let settings = settings_of(&keys, &file["settings"]);
        let mut verbs = Vec::new();
        for case in file["cases"].as_array_mut().unwrap() {
            let (asked, comes_to) = drive(*provider, &settings, case);
            verbs.push((case["verb"].clone(), comes_to));
            if writes {
                case["asked"] = asked.into();
                case["comes_to"] = comes_to.into();
                continue;
            }
            assert_eq!(case["asked"], json!(asked), "{name}: {case}");
            assert_eq!(case["comes_to"], comes_to, "{name}: {case}");
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
