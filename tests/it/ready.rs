//! The pages of the providers: each block on them is one that loads, and a description reads what
//! its service sends, and believes nobody else.
//!
//! The bodies are signed by another program, as the services' documents say. `FIXTURES=write`
//! writes what is read of them, to be looked at before it is kept.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use http::HeaderMap;
use serde_json::{Value, json};
use suppressd::config::{self, Config, Environment};
use suppressd::model::{Address, EventKind};
use suppressd::provider::{self, Ask, Check, Draft, GUIDES, Guide, Notification, Refusal};
use suppressd::webhook;

use crate::providers::{Sent, received, rows};

const FIXTURES: &str = "tests/fixtures/ready";

/// The pages that describe a provider.
fn ready() -> impl Iterator<Item = &'static Guide> {
    GUIDES.iter().filter(|page| !page.is_built_in())
}

fn loaded(page: &Guide, block: &str) -> Config {
    let credentials = Path::new(FIXTURES).join("credentials");
    let environment = Environment::new(|_| None, Some(credentials));
    config::parse(Path::new(page.name), block, &environment).unwrap_or_else(|problems| {
        panic!("docs/providers/{}.md:\n{problems}", page.name);
    })
}

/// The bodies that a service sends, in the order of their names.
fn bodies(page: &Guide) -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(FIXTURES).join(page.name)).unwrap();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|ending| ending == "body"));
    found.sort();
    assert!(!found.is_empty(), "{} has no fixtures", page.name);
    found
}

/// Whether a notification passes, by its head and as a whole.
fn verify(checks: &[Check], sent: &Notification<'_>) -> Result<(), Refusal> {
    let head = |check: &Check| check.verify_head(sent.headers, sent.query, sent.now);
    checks.iter().try_for_each(head)?;
    checks.iter().try_for_each(|check| check.verify(sent, None))
}

#[test]
fn each_ready_description_reads_what_its_service_sends() {
    for page in ready() {
        let config = loaded(page, &page.block());
        assert!(config.remarks.is_empty(), "{}: {:?}", page.name, config.remarks);
        let hook = &config.webhooks[0];
        for body in bodies(page) {
            let sent = Sent::of(&body);
            let sent = sent.notification();
            assert_eq!(verify(&hook.checks, &sent), Ok(()), "{}", body.display());
            let found = rows(&*hook.provider, &sent);
            let found: String = found.iter().map(|row| format!("{row}\n")).collect();
            let expected = body.with_extension("expected.jsonl");
            if std::env::var_os("FIXTURES").is_some_and(|value| value == "write") {
                fs::write(&expected, &found).unwrap();
            }
            let known = fs::read_to_string(&expected).unwrap_or_default();
            assert_eq!(found, known, "{}", body.display());
        }
    }
}

#[test]
fn no_ready_description_believes_what_another_has_made() {
    for page in ready() {
        let hook = loaded(page, &page.block()).webhooks.remove(0);
        let body = bodies(page).remove(0);
        let sent = Sent::of(&body);
        let known = rows(&*hook.provider, &sent.notification());
        let bare =
            Sent { headers: Default::default(), query: String::new(), body: sent.body.clone() };
        assert!(verify(&hook.checks, &bare.notification()).is_err(), "{}", page.name);
        // A secret in the URL says nothing of the body.
        let in_query = !sent.query.is_empty();
        let places = if in_query { sent.query.len() } else { sent.body.len() };
        for place in 0..places {
            let Sent { headers, mut query, mut body } = Sent::of(&body);
            if in_query {
                query.replace_range(place..=place, "~");
            } else {
                body[place] ^= 1;
            }
            let other = Sent { headers, query, body };
            let other = other.notification();
            let believed = verify(&hook.checks, &other).is_ok();
            assert!(
                !believed || rows(&*hook.provider, &other) == known,
                "{}: byte {place} is another, and what is read too",
                page.name
            );
        }
    }
}

/// What comes of a sample of that kind: the refusal of its signature, if only the service can sign,
/// or what is read of it once it passes.
pub(crate) fn triggered(
    hook: &webhook::Settings,
    kind: EventKind,
) -> Result<Vec<(String, String)>, String> {
    let address = Address::parse("user@example.com").unwrap();
    let sample = hook.provider.sample(kind, &address, received());
    let sample = sample.ok_or_else(|| format!("{kind} has no sample"))?;
    let mut draft = Draft::new(HeaderMap::new(), sample.body, hook.url.clone(), received());
    hook.checks.iter().try_for_each(|check| check.sign(&mut draft))?;
    assert_eq!(verify(&hook.checks, &draft.notification()), Ok(()));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rows = rows(&*hook.provider, &draft.notification());
    let row = |row: &Value| (text(&row["kind"]), text(&row["address"]));
    Ok(rows.iter().map(row).collect())
}

#[test]
fn each_kind_of_a_ready_description_has_a_sample_that_passes() {
    for page in ready() {
        let hook = loaded(page, &page.block()).webhooks.remove(0);
        for kind in hook.provider.kinds() {
            let told = triggered(&hook, kind);
            // Only MailPace has the private key.
            if page.name == "mailpace" {
                assert!(told.unwrap_err().contains("sign"), "{kind}");
                continue;
            }
            let expected = (kind.to_string(), "user@example.com".to_owned());
            assert_eq!(told, Ok(vec![expected]), "{}: {kind}", page.name);
        }
    }
}

#[test]
fn event_grid_is_answered_when_it_asks_whose_the_endpoint_is() {
    let page = Guide::named("azure-communication").unwrap();
    let hook = loaded(page, &page.block()).webhooks.remove(0);
    let code = "512d38b6-c7b8-40c8-89fe-f46f9e9622b6";
    let body = json!([{
        "id": "2d1781af-3a4c-4d7c-bd0c-e34b19da4e66",
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "data": { "validationCode": code },
        "eventTime": "2026-06-15T11:59:59Z",
    }]);
    let body = body.to_string();
    let headers = http::HeaderMap::new();
    let asked = |query| Notification {
        headers: &headers,
        query,
        body: body.as_bytes(),
        url: None,
        now: received(),
    };
    let sent = asked("code=azure-test-code-0123456789abcdef");
    assert_eq!(verify(&hook.checks, &sent), Ok(()));
    assert_eq!(hook.provider.asks(&sent), Some(Ask::Echo(json!({ "validationResponse": code }))));
    assert!(rows(&*hook.provider, &sent).is_empty());
    for query in ["", "code=", "code=x", "Code=azure-test-code-0123456789abcdef"] {
        assert!(verify(&hook.checks, &asked(query)).is_err(), "{query}");
    }
    let twice = "code=azure-test-code-0123456789abcdef&code=azure-test-code-0123456789abcdef";
    assert!(verify(&hook.checks, &asked(twice)).is_err(), "which of two counts is open");
}

#[test]
fn each_provider_has_a_page_whose_block_loads() {
    let entries = fs::read_dir("docs/providers").unwrap();
    let files = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<String> = files.collect();
    let pages = GUIDES.iter().map(|page| format!("{}.md", page.name));
    assert_eq!(pages.collect::<BTreeSet<String>>(), files);
    for known in provider::ALL {
        let page = Guide::named(known.name()).unwrap();
        // What a file holds here, a credential does that nobody need have for a look.
        let block = page.block().replace("file = \"/etc/suppressd/", "credential = \"");
        let environment = Environment::new(|_| None, None).for_a_look();
        let config = config::parse(Path::new(page.name), &block, &environment);
        let config = config.unwrap_or_else(|problems| panic!("{}: {problems}", page.name));
        assert_eq!(config.sources[0].provider.name(), known.name());
        assert_eq!(config.polls.is_empty(), known.feeds().is_empty() && known.name() != "custom");
    }
}
