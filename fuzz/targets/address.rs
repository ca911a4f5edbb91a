//! Any text as an address: its key is a fixed point, and no row of an export holds more than it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use suppressd::export::{ALL, Entry, Hash, Rows, Style, Table};
use suppressd::model::reply::Refusals;
use suppressd::model::{Address, OCTETS_MAX, Reason, Scope, Until};
use suppressd_fuzz::now;

/// Formats whose readers take a line for a comment that begins with `#`.
const COMMENTED: &[&str] =
    &["postfix-access", "postfix-transport", "exim", "opensmtpd", "haraka", "rspamd"];

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
    for format in ALL {
        for table in format.tables() {
            let style = Style::new(*format, *table, Hash::Sha256, &Refusals::default());
            let entry = Entry {
                scope: &Scope::Global,
                local: address.local(),
                domain: address.domain(),
                spelling: address.received(),
                reason: Reason::HardBounce,
                since: now(),
                until: Until::Forever,
                style: &style,
            };
            let mut rows = Rows::default();
            let Ok(()) = format.rows(&entry, &mut rows) else { continue };
            assert!(rows.iter().next().is_some(), "{}: neither rows nor a reason", format.name());
            for row in rows.iter() {
                let whole = format!("{}{}", row.key, row.value);
                assert!(!whole.contains(['\n', '\r', '\0']), "{}: two lines", format.name());
                assert!(!row.key.is_empty(), "{}: no key", format.name());
                let commented = *table == Table::Text && COMMENTED.contains(&format.name());
                assert!(!commented || !row.key.starts_with('#'), "{}: a comment", format.name());
            }
        }
    }
}
