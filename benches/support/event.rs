//! Unique events of the generic format, 429 bytes each, as a provider would send them.

use std::fmt::Write;

/// The bytes of one event.
pub(crate) const EVENT_BYTES: usize = 429;

/// Appends the event of that number. Each is about an address and a message of its own.
pub(crate) fn put(out: &mut String, number: u64) {
    let start = out.len();
    let (minute, second) = (number / 60 % 60, number % 60);
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "{{\"event\":\"hard_bounce\",\"timestamp\":\"2026-06-15T10:{minute:02}:{second:02}Z\",\
         \"message_id\":\"{number:016x}.bench@mail.example.com\",\"recipient\":\"{}\",\
         \"smtp_code\":550,\"reason\":\"550 5.1.1 no such user here",
        address(number)
    );
    let room = (start + EVENT_BYTES).saturating_sub(out.len() + 2);
    out.extend(std::iter::repeat_n('.', room));
    out.push_str("\"}");
}

/// Whom the event of that number is about.
pub(crate) fn address(number: u64) -> String {
    // Spread over the store's keys, as real addresses are.
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("user-{spread:016x}@example-{:04}.test", number % 1000)
}
