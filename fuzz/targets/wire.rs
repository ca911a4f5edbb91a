//! The readings that providers share: what they find stands in what they were given.
#![no_main]

use libfuzzer_sys::fuzz_target;
use suppressd::model::{Scope, Time};
use suppressd::provider::wire;
use suppressd_fuzz::now;

fuzz_target!(|data: &[u8]| {
    for elements in [wire::split_json(data), wire::split_under("events", data)] {
        assert!(elements.len() <= data.len() + 1);
        let mut behind = data;
        for element in elements {
            // Each is a part of what was given, behind the one before.
            let length = element.body.len();
            let at = behind.windows(length.max(1)).position(|part| part == element.body);
            let at = at.or((length == 0).then_some(0)).expect("verbatim, and in order");
            behind = &behind[at + length..];
        }
    }
    if let Ok(fields) = wire::Fields::parse(data) {
        for (name, _) in fields.iter() {
            let found = fields.get(name);
            assert!(found.is_none_or(|value| !value.is_empty() && value.trim() == value));
        }
    }
    let _ = wire::object::<serde_json::Value>(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    times(text);
    codes(text);
    for address in wire::mailboxes(text).into_iter().chain([wire::mailbox(text)]).flatten() {
        assert!(text.contains(address.received()), "an address from nowhere");
    }
    if let Ok(Scope::Stream(name)) = wire::stream(text) {
        assert_eq!(&*name, text);
    }
    assert!(wire::bare_id(text).is_none_or(|id| !id.is_empty() && text.contains(&id)));
    assert!(text.ends_with(wire::reply(text)));
});

fn times(text: &str) {
    let read =
        [wire::utc_time(text, now()), wire::decimal_time(text, now()), wire::time(text, now())];
    let latest = now().plus(std::time::Duration::from_secs(24 * 60 * 60));
    for time in read.into_iter().flatten().chain(Time::parse(text)) {
        assert_eq!(
            Time::parse(&time.to_string()),
            Some(time),
            "a time that is written reads again"
        );
    }
    for time in [wire::utc_time(text, now()), wire::decimal_time(text, now())].into_iter().flatten()
    {
        assert!(time.nanos() <= latest.nanos(), "a time of the future");
    }
    // A float is good for microseconds; the reading must not be off by more.
    if let (Ok(time), Ok(number)) = (wire::decimal_time(text, now()), text.parse::<f64>())
        && time != now()
        && number <= 1e11
    {
        assert!((time.nanos() as f64 / 1e9 - number).abs() < 1e-5, "{time} of {number}");
    }
}

fn codes(text: &str) {
    for code in [wire::smtp_code(text), wire::said_code(text)].into_iter().flatten() {
        assert!((200..600).contains(&code) && text.contains(&code.to_string()), "{code}");
    }
    if let Some(code) = wire::enhanced_code(text) {
        assert!(text.contains(&code), "a code from nowhere");
        assert_eq!(wire::enhanced_code(&code).as_ref(), Some(&code));
    }
}
