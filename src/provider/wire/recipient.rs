//! Reads recipients: single addresses, headers of them, rows of a list.

use crate::model::Address;
use crate::provider::Unreadable;

/// What stands for bytes or escapes that are no character. Nobody's address has it: it would be
/// another's.
const REPLACED: char = '\u{fffd}';

/// Reads a recipient: an address, bare or in angle brackets, with or without a name before it
/// (RFC 5322, section 3.4).
///
/// # Errors
/// When it is not one plausible mailbox.
pub fn mailbox(text: &str) -> Result<Address, Unreadable> {
    match parts(text).as_slice() {
        [] => bare(""),
        [one] => named(one),
        _ => Err(Unreadable("recipient: there are several in one text".to_owned())),
    }
}

/// The recipients of a header such as `To` (RFC 5322, section 3.4), without their names.
pub fn mailboxes(header: &str) -> Vec<Result<Address, Unreadable>> {
    parts(header).into_iter().map(named).collect()
}

/// What stands between commas, as far as these are not quoted; nothing that is blank.
fn parts(header: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    for at in unquoted(header, ',').into_iter().chain([header.len()]) {
        parts.push(header[start..at].trim());
        start = at + 1;
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// Where a character stands outside quotes.
fn unquoted(text: &str, wanted: char) -> Vec<usize> {
    let (mut quoted, mut escaped, mut places) = (false, false, Vec::new());
    for (at, c) in text.char_indices() {
        if c == wanted && !quoted {
            places.push(at);
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && quoted && !escaped;
    }
    places
}

/// Reads one address with or without a name before it. A name that is another address leaves open
/// whom it is about.
fn named(text: &str) -> Result<Address, Unreadable> {
    let text = text.trim();
    let start = unquoted(text, '<').last().copied();
    let (Some(inner), Some(start)) = (text.strip_suffix('>'), start) else { return bare(text) };
    let name = text[..start].trim();
    if !unquoted(name, '>').is_empty() {
        return Err(Unreadable("recipient: there are several in one text".to_owned()));
    }
    let address = bare(inner[start + 1..].trim())?;
    match Address::parse(name) {
        Ok(name) if name != address => {
            Err(Unreadable("recipient: its name is another address".to_owned()))
        }
        _ => Ok(address),
    }
}

fn bare(text: &str) -> Result<Address, Unreadable> {
    if text.contains(REPLACED) {
        return Err(Unreadable("recipient: a character of it is broken".to_owned()));
    }
    Address::parse(text).map_err(|error| Unreadable(format!("recipient: {error}")))
}

/// Reads an address of a provider's list.
///
/// # Errors
/// When it is not one plausible mailbox: some lists hold whole domains too.
pub fn listed(text: &str) -> Result<Address, Unreadable> {
    let domain = "a whole domain is listed: let the MTA refuse it, since only addresses are kept";
    let text = text.trim();
    match text.rsplit_once('@') {
        None | Some(("" | "*", _)) if !text.is_empty() => Err(Unreadable(domain.to_owned())),
        _ => mailbox(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_taken_apart() {
        let known = |header: &str| -> Vec<String> {
            let text = |a: Result<Address, Unreadable>| {
                a.map_or("bad".to_owned(), |address| address.received().to_owned())
            };
            mailboxes(header).into_iter().map(text).collect()
        };
        assert_eq!(known("a@b.example"), ["a@b.example"]);
        assert_eq!(known("A <a@b.example>, c@d.example ,"), ["a@b.example", "c@d.example"]);
        assert_eq!(known("\"Doe, \\\"J\\\"\" <j@b.example>"), ["j@b.example"]);
        assert_eq!(known("undisclosed-recipients:;"), ["bad"]);
        assert_eq!(known(" "), Vec::<String>::new());
        assert_eq!(known(", <a@b.example>,"), ["a@b.example"]);
    }

    #[test]
    fn one_recipient_is_read_in_every_spelling() {
        for text in [
            "a@b.example",
            " a@b.example\n",
            "\r\n\ta@b.example",
            "<a@b.example>",
            "< a@b.example >",
            "Ann <a@b.example>",
            "\"Doe, \\\"J\\\" <x@y.example>\" <a@b.example>\n",
            "a@b.example <a@b.example>",
            "A@B.example <a@b.example>",
            "a@b.example,",
        ] {
            let read = mailbox(text).map(|address| address.key().to_owned());
            assert_eq!(read.as_deref(), Ok("a@b.example"), "{text:?}");
        }
        for text in [
            "",
            "<>",
            "Ann",
            "Ann <>",
            "a@b.example, c@d.example",
            "Ann <a@b.example>, Ben <c@d.example>",
            "Ann <a@b.example> <c@d.example>",
            "x@y.example <a@b.example>",
            "<a@b.example> Ann",
            "a@b.example>",
            "<a@b.example",
            "a\u{fffd}@b.example",
            "a@b.example c@d.example",
            "a\n@b.example",
            "mailto:a@b.example",
        ] {
            let error = mailbox(text).map(|address| address.received().to_owned()).unwrap_err();
            assert!(error.0.starts_with("recipient: ") && !error.0.contains("example"), "{error}");
        }
    }

    #[test]
    fn a_listed_domain_is_told_from_an_address() {
        assert_eq!(listed("a@example.com").unwrap().received(), "a@example.com");
        for domain in ["example.com", "@example.com", "*@example.com"] {
            let error = listed(domain).unwrap_err();
            assert!(error.0.starts_with("a whole domain is listed"), "{domain}");
            assert!(!error.0.contains(domain), "{error}");
        }
        assert!(listed("a b@example.com").is_err_and(|error| error.0.starts_with("recipient")));
    }
}
