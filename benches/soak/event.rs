//! Events of a ring of addresses, told now: each address bounces, is no more suppressed after some
//! minutes, and bounces again.

use std::fmt::Write;

use jiff::{Timestamp, Unit};

/// Addresses of the ring.
pub(crate) const ADDRESSES: u64 = 1_000_000;

/// Appends the event of that number, about a message of its own.
pub(crate) fn put(out: &mut String, number: u64) {
    let now = Timestamp::now();
    let now = now.round(Unit::Second).unwrap_or(now);
    let kind = ["hard_bounce", "delivered", "soft_bounce", "opened"][(number % 4) as usize];
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "{{\"event\":\"{kind}\",\"timestamp\":\"{now}\",\
         \"message_id\":\"{number:016x}.soak@mail.example.com\",\"recipient\":\"{}\",\
         \"smtp_code\":550,\"reason\":\"550 5.1.1 no such user here\"}}",
        address(number)
    );
}

/// Whom the event of that number is about: a delivery is another's.
pub(crate) fn address(number: u64) -> String {
    let spread = (number % ADDRESSES).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("user-{spread:016x}@example-{:04}.test", number % 1000)
}
