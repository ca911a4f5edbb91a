//! Any text as an address: its key is a fixed point, and no row of an export holds more than it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use suppressd::export::ALL;
use suppressd::model::{
    Address, EventId, EventKind, Filter, OCTETS_MAX, Origin, Scope, SourceName, Standing,
};
use suppressd::provider::{Faults, Stamp};
use suppressd::rules::Rules;
use suppressd_fuzz::now;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(address) = Address::parse(text) else { return };
    let key = address.key();
    assert_eq!(key, format!("{}@{}", address.local(), address.domain()));
    assert_eq!(address.received(), text);
    assert!(text.len() <= OCTETS_MAX);
    assert!(!key.chars().any(char::is_control), "a control character in a key");
    assert!(!address.domain().contains('@') && address.domain().is_ascii(), "a domain");
    assert_eq!(Address::parse(text).map(|again| again.key() == key), Ok(true));
    // Folding can make a key longer than an address may be; else it reads again, as itself.
    if key.len() <= OCTETS_MAX {
        let again = Address::parse(key).expect("a key reads again");
        assert_eq!(again.key(), key, "a key is its own key");
    }
    exported(&address);
});

/// Each format carries the address in whole lines, or says that it cannot.
fn exported(address: &Address) {
    let source = SourceName::parse("fuzz").expect("a name");
    let faults = Faults::default();
    let (origin, feed, received_at) = (Origin::Webhook, "", now());
    let stamp = Stamp { source: &source, origin, feed, received_at, faults: &faults };
    let kind = EventKind::HardBounce;
    let event = stamp.event("generic", kind, String::new(), address.clone(), now());
    let _: EventId = event.id();
    let mut standing = Standing::default();
    standing.merge(address.received(), event.fact().expect("a bounce is a fact"));
    let verdict = Rules::default().judge(&standing, &Scope::Global, &Filter::default(), now());
    let verdict = verdict.expect("a bounce suppresses");
    for format in ALL {
        let Ok(rows) = format.rows(address, &verdict, format.default_reply()) else { continue };
        assert!(!rows.is_empty(), "{}: neither rows nor a reason", format.name());
        for row in rows {
            let whole = format!("{}{}", row.key, row.value);
            assert!(!whole.contains(['\n', '\r', '\0']), "{}: two lines", format.name());
            assert!(!row.key.is_empty() && !row.key.starts_with('#'), "{}", format.name());
        }
    }
}
