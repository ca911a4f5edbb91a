//! Any description of a provider, and any request to it: what is read by it is sane.
//!
//! The input is the `webhook` table in TOML, a NUL byte, and a request.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use suppressd::provider::{KeyKind, Setting, Settings, by_name};
use suppressd::secret::Secret;
use suppressd_fuzz::{Request, cut_and_read};

/// A value as the configuration would hand it over; `None` where it would not.
fn setting(kind: KeyKind, value: &toml::Value) -> Option<Setting> {
    let text = |value: &toml::Value| value.as_str().map(str::to_owned);
    let texts = |value: &toml::Value| -> Option<Vec<String>> {
        value.as_array()?.iter().map(text).collect()
    };
    Some(match kind {
        KeyKind::Secret => Setting::Secrets(vec![Secret::new(value.as_str()?)]),
        KeyKind::Text => Setting::Text(text(value)?),
        KeyKind::Texts => Setting::Texts(texts(value)?),
        KeyKind::Flag => Setting::Flag(value.as_bool()?),
        KeyKind::Span => Setting::Span(Duration::from_secs(value.as_integer()?.unsigned_abs())),
        KeyKind::Tree => Setting::Tree(serde_json::to_value(value).ok()?),
    })
}

fuzz_target!(|data: &[u8]| {
    let Some(end) = data.iter().position(|byte| *byte == 0) else { return };
    let Ok(text) = std::str::from_utf8(&data[..end]) else { return };
    let Ok(table) = toml::from_str::<toml::Table>(text) else { return };
    let custom = by_name("custom").expect("it is registered");
    let mut settings = Settings::default();
    for key in custom.webhook_keys() {
        let value = table.get(key.name).and_then(|value| setting(key.kind, value));
        if let Some(value) = value {
            settings.set(key.name, value);
        }
    }
    let request = Request::of(&data[end + 1..]);
    let sent = request.notification();
    let checks = custom.checks(&settings);
    if let Err(error) = &checks {
        assert!(!error.hint.is_empty() && !error.problem.is_empty());
    }
    for check in checks.iter().flatten() {
        let _ = check.verify(&sent, None);
    }
    match custom.configured(Some(&settings), None) {
        Ok(Some(described)) => {
            described.asks(&sent);
            described.is_probe(&sent);
            described.once(&sent);
            cut_and_read(&*described, &sent);
        }
        Ok(None) => unreachable!("it is always described"),
        Err(errors) => {
            assert!(!errors.0.is_empty());
            let is_told =
                |e: &suppressd::provider::SettingError| !e.hint.is_empty() && !e.problem.is_empty();
            assert!(errors.0.iter().all(is_told));
        }
    }
});
