//! No request passes a check whose key its sender does not have; a signed one passes until it is
//! changed.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use http::header::AUTHORIZATION;
use libfuzzer_sys::fuzz_target;
use percent_encoding::percent_decode;
use suppressd::config::{Environment, parse};
use suppressd::provider::{Check, Draft, Notification};
use suppressd::webhook::Settings;
use suppressd_fuzz::{Request, URL, now};

/// Each provider with a scheme of its own, and the credentials that all can have.
const CONFIGURATION: &str = include_str!("../../tests/fixtures/every-source.toml");

fn sources() -> &'static [Settings] {
    static SOURCES: OnceLock<Vec<Settings>> = OnceLock::new();
    SOURCES.get_or_init(|| {
        let environment = Environment::new(|_| None, None);
        let config = parse(Path::new("every-source.toml"), CONFIGURATION, &environment);
        config.unwrap_or_else(|problems| panic!("{problems}")).webhooks
    })
}

fn passes(checks: &[Check], sent: &Notification<'_>, fetched: &[u8]) -> bool {
    checks
        .iter()
        .all(|check| check.wanted(sent).is_ok() && check.verify(sent, Some(fetched)).is_ok())
}

/// What a form says, however its bytes are spelled.
fn said(form: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = form.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    percent_decode(&spaced).collect()
}

/// Whether the checks cover the body as a whole.
fn cover_the_body(source: &Settings, sent: &Notification<'_>) -> bool {
    let is_fixed =
        |check: &Check| matches!(check, Check::Basic(_) | Check::Bearer(_) | Check::Header(..));
    !source.checks.iter().all(is_fixed) && source.provider.once(sent).is_none()
}

fuzz_target!(|data: &[u8]| {
    let request = Request::of(data);
    for source in sources().iter().filter(|s| s.provider.name() == request.provider.name()) {
        let name = &source.source;
        // The certificate, too, is the sender's to choose.
        assert!(!passes(&source.checks, &request.notification(), request.body), "{name}: forged");
        let (headers, body) = (request.headers.clone(), request.body.to_vec());
        let mut draft = Draft::new(headers, body, Some(URL.to_owned()), now());
        if !source.checks.iter().all(|check| check.sign(&mut draft).is_ok()) {
            continue;
        }
        assert!(passes(&source.checks, &draft.notification(), &[]), "{name}: signed");
        if !cover_the_body(source, &draft.notification()) || draft.body.is_empty() {
            continue;
        }
        let at = data.len() * 31 % (draft.body.len() * 8);
        let whole = draft.body.clone();
        draft.body[at / 8] ^= 1 << (at % 8);
        let (changed, provider) = (draft.notification(), &source.provider);
        let says_the_same = || {
            // A form has several spellings; what counts is what is read.
            let before = Notification { body: &whole, ..changed };
            let is_form = provider.name() == "mandrill";
            provider.split(&before) == provider.split(&changed)
                || is_form && said(before.body) == said(changed.body)
        };
        assert!(!passes(&source.checks, &changed, &[]) || says_the_same(), "{name}: bit {at}");
        draft.body = whole;
        draft.headers.remove(AUTHORIZATION);
        let names: Vec<_> = draft.headers.keys().cloned().collect();
        for name in names.iter().filter(|name| !request.headers.contains_key(*name)) {
            let mut without = draft.clone();
            without.headers.remove(name);
            assert!(!passes(&source.checks, &without.notification(), &[]), "without {name}");
        }
    }
});
