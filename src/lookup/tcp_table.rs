//! Postfix's tcp_table(5) protocol: a line asks for a key, a line answers, both percent-encoded.
//!
//! Only looks up: nothing but `get` is a query.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};

use super::{Answer, Garbage, Protocol, Query};

/// Longest line, in bytes: a key of the longest command line that Postfix takes, all encoded.
const LINE_BYTES_MAX: usize = 8 << 10;

/// What is encoded beside all that is not ASCII (tcp_table(5)).
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// `tcp-table`.
pub(super) struct TcpTable;

impl Protocol for TcpTable {
    fn name(&self) -> &'static str {
        "tcp-table"
    }

    fn names_sender(&self) -> bool {
        false
    }

    fn query<'a>(&self, bytes: &'a [u8]) -> Result<Option<(Query<'a>, usize)>, Garbage> {
        const VERB: &[u8] = b"get ";
        let known = bytes.len().min(VERB.len());
        if bytes[..known] != VERB[..known] {
            return Err(Garbage);
        }
        match bytes.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\n') {
            Some(end) => {
                let key = &bytes[VERB.len()..end];
                let key = key.strip_suffix(b"\r").unwrap_or(key);
                let recipient = percent_decode(key).decode_utf8_lossy();
                Ok(Some((Query { recipient, ..Query::default() }, end + 1)))
            }
            None if bytes.len() >= LINE_BYTES_MAX => Err(Garbage),
            None => Ok(None),
        }
    }

    fn answer(&self, answer: Answer<'_>, out: &mut Vec<u8>) {
        let (code, text) = match answer {
            Answer::Suppressed(value) => ("200 ", value),
            Answer::Clear => ("500 ", "not found"),
            Answer::Unavailable => ("400 ", "suppressions cannot be looked up now"),
        };
        out.extend_from_slice(code.as_bytes());
        utf8_percent_encode(text, ENCODED)
            .for_each(|piece| out.extend_from_slice(piece.as_bytes()));
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::super::test::{answers, asks, is_garbage, is_part};
    use super::*;

    #[test]
    fn a_line_asks_for_a_key() {
        for (line, key) in [
            ("get bounced@example.com\n", "bounced@example.com"),
            ("get \"john%20smith\"@example.com\n", "\"john smith\"@example.com"),
            ("get jos%C3%A9@example.com\n", "jos\u{e9}@example.com"),
            ("get jos%c3%a9@example.com\r\n", "jos\u{e9}@example.com"),
            ("get 50%25@example.com\n", "50%@example.com"),
            ("get 50%@example.com\n", "50%@example.com"),
            ("get a%0Aget%20b@x.test\n", "a\nget b@x.test"),
            ("get to:a@x.test\n", "to:a@x.test"),
            ("get a b\n", "a b"),
            ("get %FF@x.test\n", "\u{fffd}@x.test"),
            ("get \n", ""),
        ] {
            let query = asks(&TcpTable, line.as_bytes());
            assert_eq!((&*query.table, &*query.recipient), ("", key), "{line:?}");
        }
    }

    #[test]
    fn what_is_not_whole_may_become_a_request_and_garbage_never_does() {
        for part in ["", "g", "get", "get ", "get user@example.com", "get user@example.com\r"] {
            assert!(is_part(&TcpTable, part.as_bytes()), "{part:?}");
        }
        let long = format!("get {}", "a".repeat(LINE_BYTES_MAX));
        for garbage in
            ["\n", "get\n", "GET a\n", "put a b\n", "x", "gee", " get a\n", "24:a b,", "\0", &long]
        {
            assert!(is_garbage(&TcpTable, garbage.as_bytes()), "{garbage:?}");
        }
        assert!(is_garbage(&TcpTable, format!("{long}\n").as_bytes()), "too long though whole");
    }

    #[test]
    fn answers_are_encoded_lines() {
        let told = answers(&TcpTable);
        assert_eq!(told[0], "500 not%20found\n");
        assert_eq!(told[1], "200 550%205.1.1%20gone\n");
        assert_eq!(told[2], "400 suppressions%20cannot%20be%20looked%20up%20now\n");
        let mut out = Vec::new();
        TcpTable.answer(Answer::Suppressed("100%\u{e9}\n\u{7f}x"), &mut out);
        assert_eq!(out, b"200 100%25%C3%A9%0A%7Fx\n");
    }
}
