//! Providers of our own, described in a configuration alone: the description reads what the
//! built-in adapter reads, and believes what it believes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use http::HeaderMap;
use serde_json::Value;
use suppressd::config::{self, Environment};
use suppressd::model::{Address, EventKind};
use suppressd::provider::{Check, Draft, Setting, Settings, by_name};
use suppressd::secret::Secret;
use suppressd::webhook;
use url::Url;

use crate::feeds;
use crate::providers::{Sent, fixture_rows, header_lines, payloads, received, rows};
use crate::ready::triggered;

/// The secret in all descriptions that have one.
const SECRET: &str = "custom-test-secret";

/// What is described, and whether its notifications are signed.
pub(crate) const DESCRIBED: &[(&str, bool)] = &[
    ("brevo", false),
    ("forward-email", true),
    ("mailersend", true),
    ("mailgun", true),
    ("mailjet", false),
    ("mailtrap", true),
    ("postmark", false),
    ("sparkpost", false),
];

/// What must be the same.
const FIELDS: &[&str] =
    &["kind", "address", "scope", "at", "message_id", "smtp_code", "enhanced_code"];

/// What a description cannot express: the provider, the payload, its rows, and why.
const BEYOND: &[(&str, &str, &[usize], &str)] = &[
    ("mailgun", "failed_permanent_499", &[0], "a code of Mailgun's own counts as one of SMTP"),
    ("mailgun", "failed_permanent_old_no_mx", &[0], "a code of Mailgun's own, as before"),
    ("mailgun", "novel_type_without_recipient", &[0], "To is looked at for any type"),
    ("mailjet", "sent", &[0], "the code stands in brackets: sent (250 …"),
    ("mailtrap", "lines", &[0, 1, 2], "a source has one format: this one is in lines"),
    ("postmark", "mailed_requests", &[2], "there is no time: ours is not taken for it"),
    ("postmark", "subscription_change", &[9], "it names no stream: ours knows of no default"),
    ("sparkpost", "other", &[4], "an odd first address: there is no second try"),
];

/// What is described of an API: the provider, the cases of its feeds, and of each the rows whose
/// events differ, with why.
const POLLED: &[(&str, &str, &[usize], &str)] = &[
    ("mailgun", "events", &[9], "To is not looked at where there is no recipient"),
    ("mailgun", "complaints", &[], ""),
    ("sendgrid", "events", &[3, 4], "part of an id is told; the message tells the recipient"),
    ("sendgrid", "complaints", &[], ""),
    ("sendgrid", "unsubscribes-in-pages", &[], ""),
    ("sendgrid", "overfull", &[], ""),
    ("sparkpost", "events", &[], ""),
];

pub(crate) fn load(name: &str) -> config::Config {
    let path = Path::new("tests/fixtures/custom").join(name).with_extension("toml");
    let environment = Environment::new(|_| None, None);
    config::load(&path, &environment).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn described(name: &str) -> webhook::Settings {
    load(name).webhooks.remove(0)
}

/// A request without the order of what is behind the `?`, and without headers that say no more.
fn asked(mut request: Value) -> Value {
    let mut url = Url::parse(request["request"].as_str().unwrap().split_once(' ').unwrap().1);
    let url = url.as_mut().unwrap();
    let mut pairs: Vec<String> =
        url.query_pairs().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.sort();
    url.set_query(None);
    request["url"] = url.as_str().into();
    request["query"] = pairs.into();
    request
}

#[test]
fn a_description_polls_as_the_adapter_does() {
    let (mut wrong, mut driven) = (Vec::new(), 0);
    for mut case in feeds::cases() {
        let name = case.provider.name();
        let Some((.., beyond, _)) =
            POLLED.iter().find(|(provider, of, ..)| *provider == name && *of == case.name)
        else {
            continue;
        };
        driven += 1;
        let (their_requests, their_events) = case.drive();
        let ours = load(name).polls.remove(0);
        assert_eq!(ours.provider.name(), "custom");
        (case.provider, case.settings) = (ours.provider, ours.settings);
        let (our_requests, our_events) = case.drive();
        assert_eq!(our_requests.len(), their_requests.len(), "{name} {}", case.name);
        for (ours, theirs) in our_requests.into_iter().zip(their_requests) {
            let (ours, theirs) = (asked(ours), asked(theirs));
            for key in ["url", "query", "headers", "body"] {
                assert_eq!(ours[key], theirs[key], "{name} {}: {key}", case.name);
            }
        }
        let known = |event: &Value| {
            let fields = ["kind", "address", "scope", "at", "reason", "unreadable", "overfull"];
            let more = ["message_id", "smtp_code", "enhanced_code", "provider_event_id"];
            fields.iter().chain(&more).map(|field| event[*field].clone()).collect::<Vec<Value>>()
        };
        let (ours, theirs): (Vec<_>, Vec<_>) =
            (our_events.iter().map(known).collect(), their_events.iter().map(known).collect());
        let rows = 0..ours.len().max(theirs.len());
        let unlike: Vec<usize> = rows.filter(|row| ours.get(*row) != theirs.get(*row)).collect();
        if unlike != *beyond {
            let row = |row: &usize| (*row, ours.get(*row), theirs.get(*row));
            let rows: Vec<_> = unlike.iter().map(row).collect();
            wrong.push(format!("{name} {}: {rows:?}", case.name));
        }
    }
    assert!(wrong.is_empty(), "described, and built in:\n{}", wrong.join("\n"));
    assert_eq!(driven, POLLED.len(), "a case is missing");
}

/// What counts of an event, or of an element that nobody can read.
fn reduced(rows: &[Value]) -> Vec<Vec<Value>> {
    let row = |row: &Value| {
        let fields = FIELDS.iter().map(|field| row[*field].clone());
        fields.chain([row["unreadable"].clone()]).collect()
    };
    rows.iter().map(row).collect()
}

#[test]
fn a_description_reads_what_the_adapter_reads() {
    let mut wrong = Vec::new();
    for (name, _) in DESCRIBED {
        let (described, known) = (described(name), by_name(name).unwrap());
        for payload in payloads(known) {
            let case = payload.file_stem().unwrap().to_string_lossy().into_owned();
            let ours = reduced(&fixture_rows(&*described.provider, &payload));
            let theirs = reduced(&fixture_rows(known, &payload));
            let unlike = |row: &usize| ours.get(*row) != theirs.get(*row);
            let unlike: Vec<usize> = (0..ours.len().max(theirs.len())).filter(unlike).collect();
            let beyond = BEYOND.iter().find(|(p, c, ..)| p == name && *c == case);
            if beyond.map_or(&[][..], |(_, _, rows, _)| rows) != unlike {
                let row = |row: &usize| (*row, ours.get(*row), theirs.get(*row));
                let rows: Vec<_> = unlike.iter().map(row).collect();
                wrong.push(format!("{name} {case}: {rows:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "described, and built in:\n{}", wrong.join("\n"));
}

#[test]
fn the_example_in_the_documentation_is_the_one_that_is_tested() {
    let document = std::fs::read_to_string("docs/providers/custom.md").unwrap();
    let example = std::fs::read_to_string("tests/fixtures/custom/postmark.toml").unwrap();
    assert!(document.contains(&example.replace("custom:test-password", "user:password")));
    let pushes = std::fs::read_to_string("tests/fixtures/custom/pushes.toml").unwrap();
    let postmark = pushes.split("[[source]]").find(|s| s.contains("\"postmark\"")).unwrap();
    let (_, push) = postmark.split_once("[source.push]").unwrap();
    assert!(document.contains(push.trim()), "{push}");
}

#[test]
fn what_is_beyond_a_description_exists() {
    for (name, case, ..) in BEYOND {
        let mut known = payloads(by_name(name).unwrap()).into_iter();
        assert!(known.any(|path| path.file_stem().is_some_and(|stem| stem == *case)), "{case}");
    }
}

/// The checks of the built-in adapter with the same secret.
fn built_in(name: &str) -> Vec<Check> {
    let mut settings = Settings::default();
    settings.set("secret", Setting::Secrets(vec![Secret::new(SECRET)]));
    by_name(name).unwrap().checks(&settings).unwrap()
}

/// A sample that a check has signed.
fn draft(name: &str, signer: &Check) -> Draft {
    let address = Address::parse("user@example.com").unwrap();
    let sample = by_name(name).unwrap().sample(EventKind::HardBounce, &address, received());
    let body = sample.unwrap().body;
    let mut draft = Draft::new(HeaderMap::new(), body, None, received());
    signer.sign(&mut draft).unwrap();
    draft
}

#[test]
fn a_description_believes_what_the_adapter_believes() {
    for (name, signed) in DESCRIBED {
        let ours = described(name).checks;
        assert_eq!(ours.len(), 1, "{name}");
        let theirs = if *signed { built_in(name) } else { described(name).checks };
        for (signer, verifier) in [(&theirs[0], &ours[0]), (&ours[0], &theirs[0])] {
            let draft = draft(name, signer);
            assert_eq!(verifier.verify(&draft.notification(), None), Ok(()), "{name}");
            let other = Draft { headers: HeaderMap::new(), ..draft.clone() };
            let in_body = draft.headers.is_empty();
            assert_eq!(verifier.verify(&other.notification(), None).is_ok(), in_body, "{name}");
            if *signed {
                refuses_flips(name, verifier, &draft);
            }
        }
    }
}

#[test]
fn each_kind_that_is_described_has_a_sample_that_passes() {
    for (name, _) in DESCRIBED {
        let hook = described(name);
        // A list is polled.
        for kind in hook.provider.kinds().into_iter().filter(|kind| *kind != EventKind::Listed) {
            let expected = (kind.to_string(), "user@example.com".to_owned());
            assert_eq!(triggered(&hook, kind), Ok(vec![expected]), "{name}: {kind}");
        }
    }
}

/// As Emailit signs and sends: the time is in a header only. The vector is another program's.
#[test]
fn a_time_that_is_signed_in_a_header_is_that_of_the_event() {
    let block = |time: &str| {
        format!(
            r#"
            [[source]]
            name = "acme"
            provider = "custom"
            [source.webhook]
            secret = "whsec_emailitTestSecret"
            [source.webhook.verify]
            type = "hmac"
            header = "X-Emailit-Signature"
            signed = "{{timestamp}}.{{body}}"
            timestamp = "header:X-Emailit-Timestamp"
            [source.webhook.event]
            type = "/type"
            recipient = "/object/to"
            {time}
            event_id = "/event_id"
            map = [{{ type = "email.bounced", kind = "hard_bounce" }}]
            "#
        )
    };
    let parse =
        |time: &str| config::parse(Path::new("x"), &block(time), &Environment::new(|_| None, None));
    let headers = concat!(
        "X-Emailit-Timestamp: 1781519531\nX-Emailit-Signature: ",
        "9b3613303dc2f4b15bf690ab443ff9437b9b0bdb6ab7063275b32984e99351bf"
    );
    let body = concat!(
        r#"[{"event_id":"evt_2xLc9Rr4Tn6Wb1Qm8Ks3Vf0Hd7a","type":"email.bounced","#,
        r#""object":{"id":"em_1","to":"nobody@example.com"}}]"#
    );
    let sent = Sent {
        headers: header_lines(headers),
        query: String::new(),
        body: body.as_bytes().to_vec(),
    };
    for (time, at) in [
        (r#"time = "header:x-emailit-timestamp""#, "2026-06-15T10:32:11Z"),
        (r#"time = ["/object/at", "header:X-Emailit-Timestamp"]"#, "2026-06-15T10:32:11Z"),
        ("", "2026-06-15T12:00:00Z"),
    ] {
        let hook = parse(time).unwrap().webhooks.remove(0);
        assert_eq!(hook.checks[0].verify(&sent.notification(), None), Ok(()), "{time}");
        let told = rows(&*hook.provider, &sent.notification());
        assert_eq!((&told[0]["kind"], &told[0]["at"]), (&"hard_bounce".into(), &at.into()));
        let expected = ("hard_bounce".to_owned(), "user@example.com".to_owned());
        assert_eq!(triggered(&hook, EventKind::HardBounce), Ok(vec![expected]), "{time}");
    }
    let Err(problems) = parse(r#"time = "header:X-Sent""#) else { panic!("it is not signed") };
    assert!(problems.to_string().contains("is a header that is not signed"), "{problems}");
}

#[test]
fn numbers_are_compared_as_numbers_whatever_their_form() {
    let block = r#"
        [[source]]
        name = "acme"
        provider = "custom"
        [source.webhook]
        bearer = "a-long-random-word"
        [source.webhook.event]
        type = "/type"
        recipient = "/to"
        time = "/at"
        event_id = "/id"
        map = [
          { when = [{ ptr = "/code", ge = 500, lt = 600 }], kind = "hard_bounce", fault = false },
          { when = [{ ptr = "/code", lt = 500 }], kind = "deferred" },
        ]
    "#;
    let config = config::parse(Path::new("x"), block, &Environment::new(|_| None, None)).unwrap();
    assert!(config.remarks.is_empty(), "{:?}", config.remarks);
    let hook = &config.webhooks[0];
    for (code, kind) in [
        ("550", "hard_bounce"),
        ("\"550\"", "hard_bounce"),
        ("500", "hard_bounce"),
        ("499.9", "deferred"),
        ("600", "unknown"),
        ("\"none\"", "unknown"),
        ("null", "unknown"),
    ] {
        let body = format!(
            r#"{{"id":"1","type":"x","to":"a@example.com","at":1781519531,"code":{code}}}"#
        );
        let sent = Sent { headers: HeaderMap::new(), query: String::new(), body: body.into() };
        let told = rows(&*hook.provider, &sent.notification());
        assert_eq!(told[0]["kind"], kind, "{code}");
    }
    for kind in [EventKind::HardBounce, EventKind::Deferred] {
        let expected = (kind.to_string(), "user@example.com".to_owned());
        assert_eq!(triggered(hook, kind), Ok(vec![expected]));
    }
}

#[test]
fn what_is_signed_counts_once_where_it_says_so() {
    let [ours, theirs] = [described("mailgun").provider, by_name("mailgun").unwrap().into()];
    let draft = draft("mailgun", &built_in("mailgun")[0]);
    let token = ours.once(&draft.notification());
    assert!(token.is_some());
    assert_eq!(token, theirs.once(&draft.notification()));
    assert_eq!(described("mailtrap").provider.once(&draft.notification()), None);
}

/// One bit of what is signed, or of a signature in the body, is another.
fn refuses_flips(name: &str, verifier: &Check, draft: &Draft) {
    let (from, to) = if draft.headers.is_empty() {
        let text = String::from_utf8(draft.body.clone()).unwrap();
        let body: Value = serde_json::from_str(&text).unwrap();
        let tag = body["signature"]["signature"].as_str().unwrap();
        let from = text.find(tag).unwrap();
        (from, from + tag.len())
    } else {
        (0, draft.body.len())
    };
    for place in from..to {
        let mut flipped = draft.clone();
        flipped.body[place] ^= 1;
        assert!(verifier.verify(&flipped.notification(), None).is_err(), "{name}, byte {place}");
    }
}
