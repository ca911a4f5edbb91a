//! Every provider that is registered: its fixtures, and what all of them must hold to unasked.
//!
//! A fixture is a body, `<case>.json` (or another ending), beside `<case>.expected.jsonl`: one line
//! per event, or `{"unreadable": true}` for an element that nobody can read. `<case>.headers` may
//! have headers, one a line, and `<case>.query` what stands behind the `?`. To write the expected
//! files anew, run with `FIXTURES=write`, and read every line of the difference.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::{Value, json};
use suppressd::model::{Address, Element, Event, EventKind, Origin, SourceName, Time};
use suppressd::provider::{
    ALL, Check, Draft, Judge, Notification, Provider, Refusal, Setting, Settings, Stamp,
    checks_of_credentials, read_judged,
};
use suppressd::secret::Secret;

use crate::feeds;

/// When all fixtures were received.
const RECEIVED: &str = "2026-06-15T12:00:00Z";

/// The known vectors: the secret, the body, and its HMAC-SHA256 in hex, made by another program.
const SECRET: &str = "suppressd-test-secret";
const BODY: &str = concat!(
    r#"{"event":"hard_bounce","timestamp":"2026-06-15T10:32:11Z","message_id":"msg_01HZX3V9","#,
    r#""recipient":"nobody@example.com","reason":"550 5.1.1 User unknown","smtp_code":550}"#,
);
const TAG: &str = "c29f2ee2ad90af5ade4a36df835f20db17247600df6494e00a0df1a8096e2610";

pub(crate) fn received() -> Time {
    Time::parse(RECEIVED).unwrap()
}

/// Reads an element as the applier does.
fn read(provider: &dyn Provider, element: &Element) -> Option<Vec<Event>> {
    let source = SourceName::parse("fixture").unwrap();
    let stamp =
        Stamp { source: &source, origin: Origin::Webhook, feed: "", received_at: received() };
    read_judged(provider, element, &stamp, &Judge::default()).ok()
}

/// An event as `events --json` shows it, less what only the daemon knows; and, where there are any,
/// the class, the reason, the end and the identity that its adapter gives it.
pub(crate) fn row(event: &Event) -> Value {
    let mut row = json!({
        "kind": event.kind.as_str(),
        "address": event.address.received(),
        "scope": event.scope.to_string(),
        "at": event.at.to_string(),
        "message_id": event.message_id,
        "smtp_code": event.smtp_code,
        "enhanced_code": event.enhanced_code,
        "diagnostic": event.diagnostic,
        "url": event.url,
        "user_agent": event.user_agent,
        "tags": event.tags,
        "metadata": event.metadata.as_deref().map(|m| serde_json::from_str::<Value>(m).unwrap()),
        "machine": event.machine,
        "provider_kind": event.provider_kind,
        "provider_event_id": event.provider_event_id,
    });
    for (key, value) in [
        ("class", event.class().map(|class| class.as_str().to_owned())),
        ("reason", event.reason.map(|reason| reason.as_str().to_owned())),
        ("until", event.until.map(|until| until.to_string())),
        ("identity", event.identity.clone()),
    ] {
        row.as_object_mut().unwrap().extend(value.map(|value| (key.to_owned(), json!(value))));
    }
    row
}

/// A notification with these headers and this body, of the time of the fixtures.
fn notification<'a>(headers: &'a HeaderMap, body: &'a [u8]) -> Notification<'a> {
    Notification { headers, query: "", body, url: None, now: received() }
}

fn split(provider: &dyn Provider, body: &[u8]) -> Vec<Element> {
    provider.split(&notification(&HeaderMap::new(), body))
}

/// A signed sample: its headers, if the check can sign.
fn signed(check: &Check, body: &[u8]) -> Result<HeaderMap, String> {
    let body = body.to_vec();
    let mut draft = Draft::new(HeaderMap::new(), body, None, received());
    check.sign(&mut draft).map(|()| draft.headers)
}

pub(crate) fn rows(provider: &dyn Provider, sent: &Notification<'_>) -> Vec<Value> {
    let element_rows = |element: &Element| match read(provider, element) {
        Some(events) => events.iter().map(row).collect(),
        None => vec![json!({ "unreadable": true })],
    };
    provider.split(sent).iter().flat_map(element_rows).collect()
}

/// A fixture, as it was sent.
pub(crate) struct Sent {
    pub(crate) headers: HeaderMap,
    pub(crate) query: String,
    pub(crate) body: Vec<u8>,
}

impl Sent {
    pub(crate) fn of(payload: &Path) -> Sent {
        let beside = |ending: &str| {
            std::fs::read_to_string(payload.with_extension(ending)).unwrap_or_default()
        };
        let headers = header_lines(&beside("headers"));
        let query = beside("query").trim_end().to_owned();
        Sent { headers, query, body: std::fs::read(payload).unwrap() }
    }

    pub(crate) fn notification(&self) -> Notification<'_> {
        Notification { query: &self.query, ..notification(&self.headers, &self.body) }
    }
}

/// Headers as they are written in fixtures, one a line.
pub(crate) fn header_lines(text: &str) -> HeaderMap {
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap())
    };
    text.lines().map(header).collect()
}

/// The rows of a fixture.
pub(crate) fn fixture_rows(provider: &dyn Provider, payload: &Path) -> Vec<Value> {
    rows(provider, &Sent::of(payload).notification())
}

/// The payloads of a provider's fixtures.
pub(crate) fn payloads(provider: &dyn Provider) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/provider");
    let entries = std::fs::read_dir(root.join(provider.name())).unwrap();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    let beside = [".expected.jsonl", ".headers", ".query"];
    found.retain(|path| !beside.iter().any(|end| path.to_string_lossy().ends_with(end)));
    found.sort();
    found
}

#[track_caller]
fn check(provider: &dyn Provider, payload: &Path) {
    let found = fixture_rows(provider, payload);
    let expected_path = payload.with_extension("expected.jsonl");
    if std::env::var_os("FIXTURES").is_some_and(|value| value == "write") {
        let lines: String = found.iter().map(|row| format!("{row}\n")).collect();
        std::fs::write(&expected_path, lines).unwrap();
    }
    let name = payload.display();
    let text = std::fs::read_to_string(&expected_path)
        .unwrap_or_else(|error| panic!("{name} has no expected file: {error}"));
    let expected: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found, expected, "{name}, row {}", index + 1);
    }
    assert_eq!(found.len(), expected.len(), "{name}: the number of rows");
}

#[test]
fn fixtures_read_as_expected() {
    for provider in ALL {
        for payload in payloads(*provider) {
            check(*provider, &payload);
        }
    }
}

#[test]
fn each_kind_with_a_sample_has_a_fixture_and_reads_as_itself() {
    let address = Address::parse("User+tag@Example.com").unwrap();
    for provider in ALL {
        let fixtures = payloads(*provider).into_iter();
        let seen: Vec<Value> =
            fixtures.flat_map(|payload| fixture_rows(*provider, &payload)).collect();
        for kind in EventKind::ALL {
            let Some(sample) = provider.sample(kind, &address, received()) else { continue };
            let name = provider.name();
            let events: Vec<Event> = split(*provider, &sample.body)
                .iter()
                .flat_map(|element| read(*provider, element).expect("a sample is readable"))
                .collect();
            let told: Vec<(EventKind, &str)> =
                events.iter().map(|e| (e.kind, e.address.key())).collect();
            assert_eq!(told, [(kind, address.key())], "{name}'s sample");
            // Its fraction may have any number of digits: some formats have milliseconds.
            assert_eq!(events[0].at.nanos(), received().nanos(), "{name}'s sample of {kind}");
            let known = seen.iter().any(|row| row["kind"] == kind.as_str());
            assert!(known, "{name} has no fixture with a {kind}");
        }
    }
}

#[test]
fn a_provider_says_of_itself_each_kind_that_it_reads_and_no_other() {
    let known = |row: &Value| EventKind::parse(row["kind"].as_str()?);
    for provider in ALL.iter().filter(|provider| provider.name() != "custom") {
        let files = payloads(*provider).into_iter();
        let told = files.flat_map(|payload| fixture_rows(*provider, &payload));
        let mut seen: BTreeSet<EventKind> = told.filter_map(|row| known(&row)).collect();
        for case in
            feeds::cases().into_iter().filter(|case| case.provider.name() == provider.name())
        {
            let read = case.elements().into_iter().map(|element| case.read_or_say(&element));
            seen.extend(read.flatten().flatten().map(|event| event.kind));
        }
        seen.remove(&EventKind::Unknown);
        let says: BTreeSet<EventKind> = provider.kinds().into_iter().collect();
        assert_eq!(says, seen, "{}", provider.name());
    }
}

/// Splits and reads a body as any could come; gives what came of it.
fn survive(provider: &dyn Provider, body: &[u8]) {
    let elements = split(provider, body);
    assert_eq!(elements, split(provider, body), "splitting is deterministic");
    for element in &elements {
        assert_eq!(read(provider, element), read(provider, element), "reading is deterministic");
    }
    if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_err() && elements.len() == 1 {
        let given = &elements[0].body;
        let holds = |value: &Vec<u8>| {
            value == given || value.windows(given.len().max(1)).any(|part| part == given)
        };
        let kept = given == body || form_values(body).iter().any(holds);
        assert!(kept, "what cannot be cut is kept whole");
    }
    let holds_nothing = |value: &[u8]| value.trim_ascii() == b"[]";
    let nothing = holds_nothing(body) || form_values(body).iter().any(|v| holds_nothing(v));
    assert!(!elements.is_empty() || nothing, "something was lost");
}

/// The values of a form, as some providers send their events.
fn form_values(body: &[u8]) -> Vec<Vec<u8>> {
    let fields = url::form_urlencoded::parse(body);
    fields.map(|(_, value)| value.into_owned().into_bytes()).collect()
}

#[test]
fn no_body_makes_a_provider_panic_or_lose_anything() {
    let nest = |open: &str, close: &str, depth: usize| {
        format!("{}{}", open.repeat(depth), close.repeat(depth)).into_bytes()
    };
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b" \r\n".to_vec(),
        b"\0\0\0\0".to_vec(),
        b"\xff\xfe[\0".to_vec(),
        b"[\xff]".to_vec(),
        b"null".to_vec(),
        b"[null,true,0,\"\",[],{}]".to_vec(),
        b"1e999999".to_vec(),
        b"[-9223372036854775808,18446744073709551616]".to_vec(),
        vec![b'9'; 100_000],
        nest("[", "]", 100_000),
        nest("{\"event\":", "}", 100_000),
        nest("[{\"event\":", "}]", 10_000),
        vec![b'['; 100_000],
        b"[{},".to_vec(),
        b"{\"event\":\"\\ud800\"}".to_vec(),
        b"a=b&c=%ff".to_vec(),
        b"--x\r\nContent-Disposition: form-data\r\n\r\n--x--".to_vec(),
    ];
    for provider in ALL {
        for body in &bodies {
            survive(*provider, body);
        }
    }
}

#[test]
fn no_query_makes_a_provider_panic_or_lose_anything() {
    let headers = HeaderMap::new();
    for provider in ALL.iter().filter(|provider| provider.by_query()) {
        for query in ["", "&", "=", "a", "%", "%ff=%00", "a=b&a=c", "[]", "{", "{}", "null"] {
            let sent = Notification { query, ..notification(&headers, b"") };
            let elements = provider.split(&sent);
            assert_eq!(elements.len(), 1, "{}: {query}", provider.name());
            assert_eq!(elements[0].body, query.as_bytes(), "the query is kept verbatim");
            assert_eq!(read(*provider, &elements[0]), None, "{}: {query}", provider.name());
        }
    }
}

#[test]
fn an_array_of_any_length_is_cut() {
    let count = 300_000;
    // Each of them may name an address.
    let array = format!("[{}\"@\"]", "\"@\",".repeat(count - 1));
    for provider in ALL {
        let name = provider.name();
        let elements = split(*provider, array.as_bytes());
        let takes_arrays = split(*provider, b"[0,0]").len() == 2;
        assert_eq!(elements.len(), if takes_arrays { count } else { 1 }, "{name}");
    }
    let mailtrap = suppressd::provider::by_name("mailtrap").unwrap();
    let under = format!("{{\"events\":{array}}}");
    let lines = "{\"@\":0}\n".repeat(count);
    for body in [under, lines] {
        assert_eq!(split(mailtrap, body.as_bytes()).len(), count);
    }
    let unisender = suppressd::provider::by_name("unisender-go").unwrap();
    let users = format!("{{\"events_by_user\":[{{\"events\":{array}}}]}}");
    assert_eq!(split(unisender, users.as_bytes()).len(), count);
}

#[test]
fn every_damage_to_a_fixture_is_survived() {
    for provider in ALL {
        for payload in payloads(*provider) {
            let body = std::fs::read(payload).unwrap();
            let body = &body[..body.len().min(600)];
            for end in 0..body.len() {
                survive(*provider, &body[..end]);
            }
            for place in 0..body.len() {
                for byte in [0, b'"', b'9', b'}', 0xff] {
                    let mut damaged = body.to_vec();
                    damaged[place] = byte;
                    survive(*provider, &damaged);
                }
            }
        }
    }
}

#[test]
fn cut_elements_are_the_array_verbatim() {
    for provider in ALL {
        for payload in payloads(*provider) {
            let body = std::fs::read(payload).unwrap();
            let Ok(Value::Array(members)) = serde_json::from_slice::<Value>(&body) else {
                continue;
            };
            let elements = split(*provider, &body);
            let texts: Vec<Value> =
                elements.iter().filter_map(|e| serde_json::from_slice(&e.body).ok()).collect();
            assert!(texts == members || elements.len() == 1, "{}", provider.name());
            for element in &elements {
                let verbatim = body.windows(element.body.len().max(1));
                assert!(verbatim.into_iter().any(|part| part == element.body));
            }
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_are_survived(body in prop::collection::vec(any::<u8>(), 0..300)) {
        for provider in ALL {
            survive(*provider, &body);
        }
    }

    #[test]
    fn random_json_is_survived(body in any_json(), array in any::<bool>()) {
        let body = if array { json!([body]) } else { body };
        for provider in ALL {
            survive(*provider, body.to_string().as_bytes());
        }
    }
}

/// JSON objects with the keys that the generic form has, and values of every type.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!("bounce")),
        Just(json!("user@example.com")),
        Just(json!(RECEIVED)),
    ];
    let keys = ["event", "timestamp", "recipient", "message_id", "event_id", "reason", "smtp_code"];
    let keyed = prop::collection::hash_map(prop::sample::select(keys.to_vec()), leaf, 0..8);
    keyed.prop_map(|map| map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
}

fn secrets(texts: &[&str]) -> Vec<Secret> {
    texts.iter().map(|text| Secret::new(*text)).collect()
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    map
}

fn verify(check: &Check, pairs: &[(&'static str, &str)], body: &[u8]) -> Result<(), Refusal> {
    check.verify(&notification(&headers(pairs), body), None)
}

/// The name of the header, as refusals have it.
fn authorization() -> String {
    format!("header {AUTHORIZATION}")
}

const SIGNATURE: &str = "x-webhook-signature";

fn hmac(texts: &[&str]) -> Check {
    Check::hmac_of_body(HeaderName::from_static(SIGNATURE), "sha256=", secrets(texts))
}

/// The checks of a table of settings, through the generic provider and the common credentials.
fn checks(pairs: &[(&str, &str)]) -> Vec<Check> {
    let mut settings = Settings::default();
    for (key, value) in pairs {
        let value = match *key {
            "header" | "header_name" => Setting::Text((*value).to_owned()),
            _ => Setting::Secrets(secrets(&[value])),
        };
        settings.set(key, value);
    }
    let generic = suppressd::provider::by_name("generic").unwrap();
    let own = generic.checks(&settings).unwrap();
    own.into_iter().chain(checks_of_credentials(&settings).unwrap()).collect()
}

#[test]
fn the_known_signature_is_accepted_in_every_spelling() {
    let upper = TAG.to_ascii_uppercase();
    for given in [TAG, &upper, &format!("sha256={TAG}"), &format!("sha256={upper}")] {
        assert_eq!(verify(&hmac(&[SECRET]), &[(SIGNATURE, given)], BODY.as_bytes()), Ok(()));
    }
    let by_settings = &checks(&[("secret", SECRET)])[0];
    assert_eq!(verify(by_settings, &[(SIGNATURE, TAG)], BODY.as_bytes()), Ok(()));
    let renamed = &checks(&[("secret", SECRET), ("header", "X-Acme-Signature")])[0];
    assert_eq!(verify(renamed, &[("x-acme-signature", TAG)], BODY.as_bytes()), Ok(()));
    assert!(verify(renamed, &[(SIGNATURE, TAG)], BODY.as_bytes()).is_err());
    assert_eq!(signed(&hmac(&[SECRET]), BODY.as_bytes()).unwrap()[SIGNATURE], TAG);
}

#[test]
fn a_wrong_signature_is_refused() {
    let name = || format!("header {SIGNATURE}");
    let (mismatch, malformed) = (Refusal::Mismatch(name()), Refusal::Malformed(name()));
    let sent = |given: &[(&'static str, &str)]| verify(&hmac(&[SECRET]), given, BODY.as_bytes());
    assert_eq!(sent(&[]), Err(Refusal::Missing(name())));
    assert_eq!(
        sent(&[(SIGNATURE, TAG), (SIGNATURE, TAG)]),
        Err(Refusal::Repeated(HeaderName::from_static(SIGNATURE)))
    );
    for bad in [
        &TAG[1..],
        &format!("{TAG}0"),
        &TAG.replace('c', "g"),
        &format!("sha1={TAG}"),
        &format!("SHA256={TAG}"),
        &format!("{} {}", &TAG[..32], &TAG[32..]),
    ] {
        assert_eq!(sent(&[(SIGNATURE, bad)]), Err(malformed.clone()), "{bad}");
    }
    for other in ["", "sha256=", &TAG[2..], &format!("{TAG}00"), &"0".repeat(64)] {
        assert_eq!(sent(&[(SIGNATURE, other)]), Err(mismatch.clone()), "{other}");
    }
    let wrong_key = verify(&hmac(&["other"]), &[(SIGNATURE, TAG)], BODY.as_bytes());
    assert_eq!(wrong_key, Err(mismatch.clone()));
    assert_eq!(verify(&hmac(&[]), &[(SIGNATURE, TAG)], BODY.as_bytes()), Err(mismatch.clone()));
    assert_eq!(verify(&hmac(&[SECRET]), &[(SIGNATURE, TAG)], b""), Err(mismatch.clone()));
    for bit in 0..BODY.len() * 8 {
        let mut body = BODY.as_bytes().to_vec();
        body[bit / 8] ^= 1 << (bit % 8);
        let found = verify(&hmac(&[SECRET]), &[(SIGNATURE, TAG)], &body);
        assert_eq!(found, Err(mismatch.clone()), "bit {bit}");
    }
    for longer in [format!("{BODY}\n"), format!(" {BODY}")] {
        let found = verify(&hmac(&[SECRET]), &[(SIGNATURE, TAG)], longer.as_bytes());
        assert_eq!(found, Err(mismatch.clone()));
    }
}

#[test]
fn any_of_several_secrets_is_accepted() {
    let three = ["old:1", "new:2", "newest:3"];
    let all = |texts: &[&str]| {
        let fixed = Check::Header(HeaderName::from_static("x-token"), secrets(texts));
        [hmac(texts), Check::Basic(secrets(texts)), Check::Bearer(secrets(texts)), fixed]
    };
    for one in three {
        for (signer, verifier) in all(&[one]).iter().zip(&all(&three)) {
            let headers = signed(signer, BODY.as_bytes()).unwrap();
            let sent = notification(&headers, BODY.as_bytes());
            assert_eq!(signer.verify(&sent, None), Ok(()), "{one}: signed and verified");
            assert_eq!(verifier.verify(&sent, None), Ok(()), "{one} of three");
        }
        for (signer, verifier) in all(&[one]).iter().zip(&all(&["else:4"])) {
            let headers = signed(signer, BODY.as_bytes()).unwrap();
            let sent = notification(&headers, BODY.as_bytes());
            assert!(verifier.verify(&sent, None).is_err(), "{one} is not the secret");
        }
    }
    for check in all(&[]) {
        assert!(signed(&check, b"").is_err(), "no secret to sign with");
    }
}

#[test]
fn basic_credentials_are_asked_for_and_compared_whole() {
    let check = &checks(&[("basic", "user:pass:word")])[0];
    let sent = |value: &str| verify(check, &[("authorization", value)], b"");
    let right = BASE64.encode(b"user:pass:word");
    for scheme in ["Basic", "basic", "BASIC", "bAsIc"] {
        assert_eq!(sent(&format!("{scheme} {right}")), Ok(()), "{scheme}");
    }
    assert_eq!(sent(&format!("Basic   {right}")), Ok(()), "more than one space");
    let wrong = [
        format!("Bearer {right}"),
        format!("Basic{right}"),
        right.clone(),
        "Basic".to_owned(),
        "Basic ".to_owned(),
        "Basic %%%".to_owned(),
        format!("Basic {}", BASE64.encode(b"user:pass")),
        format!("Basic {}", BASE64.encode(b"user:pass:word\0")),
        format!("Basic {}", BASE64.encode(b"USER:pass:word")),
    ];
    for value in wrong {
        assert_eq!(sent(&value), Err(Refusal::BasicWanted), "{value}");
    }
    assert_eq!(verify(check, &[], b""), Err(Refusal::BasicWanted));
    let value = format!("Basic {right}");
    let twice = [("authorization", value.as_str()), ("authorization", value.as_str())];
    assert_eq!(verify(check, &twice, b""), Err(Refusal::BasicWanted));
}

#[test]
fn tokens_are_compared_whole() {
    let bearer = &checks(&[("bearer", "abc123")])[0];
    let sent = |value: &str| verify(bearer, &[("authorization", value)], b"");
    for scheme in ["Bearer", "bearer", "BEARER"] {
        assert_eq!(sent(&format!("{scheme} abc123")), Ok(()));
    }
    for wrong in ["Bearer abc12", "Bearer abc1234", "Bearer ABC123", "Bearer x"] {
        assert_eq!(sent(wrong), Err(Refusal::Mismatch(authorization())), "{wrong}");
    }
    for odd in ["abc123", "Bearerabc123", "Basic abc123", ""] {
        assert_eq!(sent(odd), Err(Refusal::Malformed(authorization())), "{odd}");
    }
    let twice = [("authorization", "Bearer abc123"), ("authorization", "Bearer abc123")];
    assert_eq!(verify(bearer, &twice, b""), Err(Refusal::Repeated(AUTHORIZATION)));
    assert_eq!(verify(bearer, &[], b""), Err(Refusal::Missing(authorization())));

    let fixed = &checks(&[("header_name", "X-Token"), ("header_value", "abc123")])[0];
    let name = || HeaderName::from_static("x-token");
    let sent = |values: &[(&'static str, &str)]| verify(fixed, values, b"");
    assert_eq!(sent(&[("x-token", "abc123")]), Ok(()));
    for wrong in ["abc12", "abc1234", "ABC123", ""] {
        assert_eq!(
            sent(&[("x-token", wrong)]),
            Err(Refusal::Mismatch("header x-token".to_owned())),
            "{wrong}"
        );
    }
    assert_eq!(sent(&[]), Err(Refusal::Missing("header x-token".to_owned())));
    let twice = [("x-token", "abc123"), ("x-token", "abc123")];
    assert_eq!(sent(&twice), Err(Refusal::Repeated(name())));
}

#[test]
fn credentials_add_to_the_providers_own_check() {
    let both = checks(&[("secret", SECRET), ("bearer", "abc123")]);
    assert_eq!(both.len(), 2, "both must hold");
    assert!(checks(&[]).is_empty());
    for (key, value) in [("basic", "no-colon"), ("header_value", "x"), ("header_name", "x")] {
        let mut settings = Settings::default();
        let text = key == "header_name";
        let value = if text {
            Setting::Text(value.to_owned())
        } else {
            Setting::Secrets(secrets(&[value]))
        };
        settings.set(key, value);
        assert!(checks_of_credentials(&settings).is_err(), "{key} alone");
    }
}
