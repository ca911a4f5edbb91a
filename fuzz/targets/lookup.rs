//! Any bytes from an MTA are answered or refused, and no split of them changes an answer.
//!
//! The first byte picks the protocol, the second where the bytes are split.
#![no_main]

use libfuzzer_sys::fuzz_target;
use suppressd::lookup::{ALL, Answer, Protocol, Query, answer_all};

/// The answers to bytes that come in these parts, and whether they end in garbage.
fn answers(protocol: &dyn Protocol, parts: &[&[u8]]) -> (Vec<u8>, bool) {
    let (mut inbox, mut out) = (Vec::new(), Vec::new());
    let judge = |query: &Query<'_>| match query.recipient.contains('b') {
        true => Answer::Suppressed("550 5.1.1 no"),
        false => Answer::Clear,
    };
    for part in parts {
        inbox.extend_from_slice(part);
        loop {
            let mut some = Vec::new();
            let judged = answer_all(protocol, &inbox, &mut some, judge);
            out.append(&mut some);
            let Ok((used, more)) = judged else { return (out, true) };
            assert!(used <= inbox.len(), "more was taken than came");
            inbox.drain(..used);
            if !more {
                break;
            }
        }
    }
    (out, false)
}

fuzz_target!(|data: &[u8]| {
    let [protocol, at, bytes @ ..] = data else { return };
    let protocol = ALL[usize::from(*protocol) % ALL.len()];
    let (first, second) = bytes.split_at(usize::from(*at).min(bytes.len()));
    let whole = answers(protocol, &[bytes]);
    let (split, garbage) = answers(protocol, &[first, second]);
    assert_eq!((split, garbage), whole, "a split changes an answer");
});
