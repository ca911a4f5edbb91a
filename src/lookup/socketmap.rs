//! Sendmail's socketmap protocol, as Postfix and Sendmail speak it: netstrings both ways.
//!
//! A request is `NAME KEY`, where NAME is what the client calls the table. Postfix asks for whole
//! addresses only; Sendmail asks for parts of them too, which are nobody's.

use super::{Answer, Garbage, Protocol, Query};

/// Longest request, in bytes: as long as Postfix 3.12 sends.
const REQUEST_BYTES_MAX: usize = 10_000;

/// Longest length of a netstring, in digits: that of [`REQUEST_BYTES_MAX`].
const LENGTH_DIGITS_MAX: usize = 5;

/// What Sendmail puts before a recipient, and never before a sender or a client.
const RECIPIENT_TAG: &[u8] = b"to:";

/// `socketmap`.
pub(super) struct Socketmap;

impl Protocol for Socketmap {
    fn name(&self) -> &'static str {
        "socketmap"
    }

    fn names_sender(&self) -> bool {
        false
    }

    fn query<'a>(&self, bytes: &'a [u8]) -> Result<Option<(Query<'a>, usize)>, Garbage> {
        let Some((request, length)) = netstring(bytes)? else { return Ok(None) };
        let space = request.iter().position(|byte| *byte == b' ').unwrap_or(request.len());
        let (table, rest) = request.split_at(space);
        let key = rest.get(1..).unwrap_or_default();
        let tagged = key.get(..RECIPIENT_TAG.len());
        let tagged = tagged.is_some_and(|tag| tag.eq_ignore_ascii_case(RECIPIENT_TAG));
        let recipient = if tagged { &key[RECIPIENT_TAG.len()..] } else { key };
        let query = Query {
            recipient: String::from_utf8_lossy(recipient),
            table: String::from_utf8_lossy(table),
            ..Query::default()
        };
        Ok(Some((query, length)))
    }

    fn answer(&self, answer: Answer<'_>, out: &mut Vec<u8>) {
        let (word, text) = match answer {
            Answer::Suppressed(value) => ("OK ", value),
            // The space must be there.
            Answer::Clear => ("NOTFOUND ", ""),
            Answer::Unavailable => ("TEMP ", "suppressions cannot be looked up now"),
        };
        out.extend_from_slice((word.len() + text.len()).to_string().as_bytes());
        for piece in [":", word, text, ","] {
            out.extend_from_slice(piece.as_bytes());
        }
    }
}

/// The content of the netstring at the front, and the length of the whole.
fn netstring(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Garbage> {
    let digits = bytes.iter().take(LENGTH_DIGITS_MAX + 1).take_while(|b| b.is_ascii_digit());
    let digits = digits.count();
    let number = std::str::from_utf8(&bytes[..digits]).unwrap_or_default();
    if digits > LENGTH_DIGITS_MAX || (digits > 1 && number.starts_with('0')) {
        return Err(Garbage);
    }
    match bytes.get(digits) {
        Some(b':') => {}
        Some(_) => return Err(Garbage),
        None => return Ok(None),
    }
    let length: usize = number.parse().map_err(|_| Garbage)?;
    if length > REQUEST_BYTES_MAX {
        return Err(Garbage);
    }
    let (start, end) = (digits + 1, digits + 1 + length);
    match bytes.get(end) {
        Some(b',') => Ok(Some((&bytes[start..end], end + 1))),
        Some(_) => Err(Garbage),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::test::{answers, asks, is_garbage, is_part};
    use super::*;

    #[test]
    fn a_request_names_a_table_and_a_key() {
        for (request, table, recipient) in [
            ("supp bounced@example.com", "supp", "bounced@example.com"),
            ("access User@X.Test.,", "access", "User@X.Test.,"),
            ("access \"john  smith\"@x.test", "access", "\"john  smith\"@x.test"),
            ("access jos\u{e9}@example", "access", "jos\u{e9}@example"),
            ("access to:user@x.yz", "access", "user@x.yz"),
            ("access TO:user@x.yz", "access", "user@x.yz"),
            ("access from:user@x.yz", "access", "from:user@x.yz"),
            ("access to:x.test", "access", "x.test"),
            ("access to:", "access", ""),
            ("access to", "access", "to"),
            ("access ", "access", ""),
            ("access", "access", ""),
            (" a", "", "a"),
            ("", "", ""),
        ] {
            let bytes = format!("{}:{request},", request.len());
            let query = asks(&Socketmap, bytes.as_bytes());
            assert_eq!((&*query.table, &*query.recipient), (table, recipient), "{request:?}");
        }
        let query = asks(&Socketmap, b"6:a \xff@xy,");
        assert_eq!(query.recipient, "\u{fffd}@xy", "which is no address");
        let long = format!("10000:a {},", "b".repeat(9998));
        assert_eq!(asks(&Socketmap, long.as_bytes()).recipient.len(), 9998);
    }

    #[test]
    fn what_is_not_whole_may_become_a_request_and_garbage_never_does() {
        for part in ["", "1", "24", "10000", "24:", "24:supp", "24:supp bounced@example.com", "0:"]
        {
            assert!(is_part(&Socketmap, part.as_bytes()), "{part:?}");
        }
        for garbage in [
            ":,",
            "x",
            "-1:",
            " 1:",
            "01:a,",
            "00:,",
            "10001:",
            "999999",
            "1;a,",
            "1:ab",
            "0:x",
            "24:supp bounced@example.com\n",
            "GET / HTTP/1.1\r\n",
            "get user@example.com\n",
            "\n",
            "\0",
        ] {
            assert!(is_garbage(&Socketmap, garbage.as_bytes()), "{garbage:?}");
        }
    }

    #[test]
    fn answers_are_netstrings() {
        let told = answers(&Socketmap);
        assert_eq!(told[0], "9:NOTFOUND ,");
        assert_eq!(told[1], "17:OK 550 5.1.1 gone,");
        assert_eq!(told[2], "41:TEMP suppressions cannot be looked up now,");
    }
}
