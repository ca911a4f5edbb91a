//! Postfix's policy delegation protocol (SMTPD_POLICY_README), for `check_policy_service`.
//!
//! A request is lines `name=value` and an empty line. Only a recipient at RCPT is judged; at every
//! other state, and about anything else, the answer is DUNNO. Names without quotes.

use super::{Answer, Garbage, Protocol, Query};

/// Longest request, in bytes. Postfix 3.12 sends some forty attributes, of which those of a
/// client's certificate can be long.
const REQUEST_BYTES_MAX: usize = 32 << 10;

/// The one request that there is.
const REQUEST: &[u8] = b"smtpd_access_policy";

/// `policy`.
pub(super) struct Policy;

impl Protocol for Policy {
    fn name(&self) -> &'static str {
        "policy"
    }

    fn names_sender(&self) -> bool {
        true
    }

    fn query<'a>(&self, bytes: &'a [u8]) -> Result<Option<(Query<'a>, usize)>, Garbage> {
        let mut attributes = Attributes::default();
        let mut start = 0;
        loop {
            let line = bytes[start..].iter().position(|byte| *byte == b'\n');
            let Some(end) = line.map(|length| start + length) else {
                return if bytes.len() < REQUEST_BYTES_MAX { Ok(None) } else { Err(Garbage) };
            };
            if end >= REQUEST_BYTES_MAX {
                return Err(Garbage);
            }
            if end == start {
                return attributes.query().map(|query| Some((query, end + 1)));
            }
            attributes.take(&bytes[start..end])?;
            start = end + 1;
        }
    }

    fn answer(&self, answer: Answer<'_>, out: &mut Vec<u8>) {
        let action = match answer {
            Answer::Suppressed(action) => action,
            Answer::Clear => "DUNNO",
            Answer::Unavailable => "451 4.3.0 suppressions cannot be looked up now",
        };
        for piece in ["action=", action, "\n\n"] {
            out.extend_from_slice(piece.as_bytes());
        }
    }
}

/// What is read of a request.
#[derive(Default)]
struct Attributes<'a> {
    request: Option<&'a [u8]>,
    state: Option<&'a [u8]>,
    recipient: Option<&'a [u8]>,
    sender: Option<&'a [u8]>,
}

impl<'a> Attributes<'a> {
    /// Reads one line. An attribute that comes twice would mean that one is not Postfix's.
    fn take(&mut self, line: &'a [u8]) -> Result<(), Garbage> {
        let equals = line.iter().position(|byte| *byte == b'=').ok_or(Garbage)?;
        let (name, value) = (&line[..equals], &line[equals + 1..]);
        let place = match name {
            b"request" => &mut self.request,
            b"protocol_state" => &mut self.state,
            b"recipient" => &mut self.recipient,
            b"sender" => &mut self.sender,
            _ => return Ok(()),
        };
        if place.replace(value).is_some() { Err(Garbage) } else { Ok(()) }
    }

    fn query(self) -> Result<Query<'a>, Garbage> {
        if self.request != Some(REQUEST) {
            return Err(Garbage);
        }
        // Other clients than Postfix may leave the state out.
        let at_recipient = self.state.is_none_or(|state| state == b"RCPT");
        let text = |value: Option<&'a [u8]>| String::from_utf8_lossy(value.unwrap_or_default());
        let recipient = text(self.recipient.filter(|_| at_recipient));
        Ok(Query { recipient, sender: text(self.sender), ..Query::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::test::{answers, asks, is_garbage, is_part};
    use super::*;

    /// What Postfix 3.7 sends, but for the client's part.
    const RCPT: &str = "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\n\
        helo_name=mail.example.net\nqueue_id=\nsender=News@example.com\n\
        recipient=john smith@example.org\nrecipient_count=0\n\n";

    #[test]
    fn a_request_names_recipient_and_sender() {
        let query = asks(&Policy, RCPT.as_bytes());
        assert_eq!(query.recipient, "john smith@example.org");
        assert_eq!(query.sender, "News@example.com");
        assert_eq!(query.table, "");
        let query = asks(&Policy, b"recipient=a=b@x.test\nrequest=smtpd_access_policy\n\n");
        assert_eq!((&*query.recipient, &*query.sender), ("a=b@x.test", ""));
        for state in ["CONNECT", "EHLO", "MAIL", "DATA", "END-OF-MESSAGE", "VRFY", "rcpt", ""] {
            let other = RCPT.replace("=RCPT", &format!("={state}"));
            assert_eq!(asks(&Policy, other.as_bytes()).recipient, "", "{state:?}");
        }
        let none = RCPT.replace("recipient=john", "nobody=john");
        assert_eq!(asks(&Policy, none.as_bytes()).recipient, "");
        let bytes = [&b"request=smtpd_access_policy\nrecipient=\xff@x.test\n\n"[..]].concat();
        assert_eq!(asks(&Policy, &bytes).recipient, "\u{fffd}@x.test", "which is no address");
    }

    #[test]
    fn what_is_not_whole_may_become_a_request_and_garbage_never_does() {
        for part in ["", "r", "request=smtpd_access_policy", &RCPT[..RCPT.len() - 1]] {
            assert!(is_part(&Policy, part.as_bytes()), "{part:?}");
        }
        let twice = |name: &str| RCPT.replace("queue_id=", &format!("{name}=x\nqueue_id="));
        let long = format!("helo_name={}", "x".repeat(REQUEST_BYTES_MAX));
        for garbage in [
            "\n",
            "x\n",
            "recipient=a@x.test\n\n",
            "request=junk_mail_policy\nrecipient=a@x.test\n\n",
            "GET / HTTP/1.1\r\n",
            "get a@x.test\n",
            "\0\n",
            &twice("recipient"),
            &twice("sender"),
            &twice("protocol_state"),
            &twice("request"),
            &long,
            &format!("{long}\n"),
            &RCPT.replace("queue_id=", &format!("{long}\nqueue_id=")),
            &"a=b\n".repeat(REQUEST_BYTES_MAX / 4),
        ] {
            assert!(
                is_garbage(&Policy, garbage.as_bytes()),
                "{:?}",
                &garbage[..20.min(garbage.len())]
            );
        }
    }

    #[test]
    fn an_answer_is_an_action() {
        let told = answers(&Policy);
        assert_eq!(told[0], "action=DUNNO\n\n");
        assert_eq!(told[1], "action=550 5.1.1 gone\n\n");
        assert_eq!(told[2], "action=451 4.3.0 suppressions cannot be looked up now\n\n");
    }
}
