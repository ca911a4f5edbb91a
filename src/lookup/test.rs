//! What the tests of the protocols share, and the laws that hold for each of them.

use proptest::prelude::*;

use super::{ALL, Answer, Garbage, Protocol, Query, answer_all};

/// The query that some bytes are, and no more than that.
pub(super) fn asks<'a>(protocol: &dyn Protocol, bytes: &'a [u8]) -> Query<'a> {
    match protocol.query(bytes) {
        Ok(Some((query, length))) if length == bytes.len() => query,
        Ok(Some((_, length))) => panic!("{length} of {} bytes", bytes.len()),
        Ok(None) => panic!("not whole"),
        Err(Garbage) => panic!("garbage"),
    }
}

pub(super) fn is_part(protocol: &dyn Protocol, bytes: &[u8]) -> bool {
    matches!(protocol.query(bytes), Ok(None))
}

pub(super) fn is_garbage(protocol: &dyn Protocol, bytes: &[u8]) -> bool {
    matches!(protocol.query(bytes), Err(Garbage))
}

/// The answers for a clear address, a suppressed one, and a store that cannot answer.
pub(super) fn answers(protocol: &dyn Protocol) -> [String; 3] {
    [Answer::Clear, Answer::Suppressed("550 5.1.1 gone"), Answer::Unavailable].map(|answer| {
        let mut out = Vec::new();
        protocol.answer(answer, &mut out);
        String::from_utf8(out).unwrap()
    })
}

/// What a connection answers to bytes that come in these reads, what is left, and whether it
/// ended in garbage. Each query is answered with what was understood of it.
fn converse<'b>(
    protocol: &dyn Protocol,
    reads: impl Iterator<Item = &'b [u8]>,
) -> (Vec<u8>, Vec<u8>, bool) {
    let (mut inbox, mut out, mut heard) = (Vec::new(), Vec::new(), Vec::new());
    for read in reads {
        inbox.extend_from_slice(read);
        loop {
            let mut part = Vec::new();
            let judged = answer_all(protocol, &inbox, &mut part, |query| {
                let Query { recipient, sender, table } = query;
                heard.extend_from_slice(format!("{recipient}\0{sender}\0{table}\0").as_bytes());
                Answer::Suppressed("550 5.1.1 gone")
            });
            out.append(&mut part);
            match judged {
                Err(Garbage) => return ([out, heard].concat(), Vec::new(), true),
                Ok((used, more)) => {
                    inbox.drain(..used);
                    if !more {
                        break;
                    }
                }
            }
        }
    }
    ([out, heard].concat(), inbox, false)
}

/// Pieces of which requests and what looks like them are made.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "24:supp bounced@example.com,",
        "13:access a@x.y,",
        "0:,",
        "9:a \u{e9}@x.yz,",
        "get user@example.com\n",
        "get jos%C3%A9@x.test\r\n",
        "request=smtpd_access_policy\nprotocol_state=RCPT\nsender=a@b.c\nrecipient=u@x.test\n\n",
        "request=smtpd_access_policy\n\n",
        "recipient=victim@x.test\n",
        "\n",
        ",",
    ]);
    prop_oneof![
        8 => known.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ]
}

proptest! {
    #[test]
    fn any_split_into_reads_gives_the_same_answers(
        pieces in prop::collection::vec(piece(), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let bytes = pieces.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        for protocol in ALL {
            let whole = converse(*protocol, [&bytes[..]].into_iter());
            let split = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
            prop_assert_eq!(&converse(*protocol, split), &whole, "{}", protocol.name());
            let single = bytes.chunks(1);
            prop_assert_eq!(&converse(*protocol, single), &whole, "{}", protocol.name());
        }
    }

    #[test]
    fn no_bytes_make_a_protocol_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        for protocol in ALL {
            // Garbage is one outcome among others: what counts is that there is one.
            let _ = converse(*protocol, [&bytes[..]].into_iter());
        }
    }
}

#[test]
fn many_answers_are_written_in_portions() {
    for protocol in ALL {
        let request: &[u8] = match protocol.name() {
            "socketmap" => b"5:a b@c,",
            "tcp-table" => b"get b@c\n",
            _ => b"request=smtpd_access_policy\nrecipient=b@c\n\n",
        };
        let bytes = request.repeat(20_000);
        let mut out = Vec::new();
        let judge = |_: &Query<'_>| Answer::Suppressed("550 5.1.1 gone");
        let (used, more) = answer_all(*protocol, &bytes, &mut out, judge).unwrap();
        assert!(more && used < bytes.len() && out.len() < 65 << 10, "{}", protocol.name());
        let answer = answers(*protocol)[1].clone();
        assert_eq!(out, answer.repeat(used / request.len()).as_bytes());
    }
}
