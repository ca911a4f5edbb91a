//! Reads recipients: single addresses, headers of them, rows of a list.

use crate::model::Address;
use crate::provider::Unreadable;

/// Reads a recipient: a bare address, or one in angle brackets.
///
/// # Errors
/// When it is not one plausible mailbox.
pub fn mailbox(text: &str) -> Result<Address, Unreadable> {
    let text = text.trim_matches(' ');
    let bare = text.strip_prefix('<').and_then(|t| t.strip_suffix('>')).unwrap_or(text);
    Address::parse(bare).map_err(|error| Unreadable(format!("recipient: {error}")))
}

/// The recipients of a header such as `To` (RFC 5322, section 3.4), without their names.
pub fn mailboxes(header: &str) -> Vec<Result<Address, Unreadable>> {
    let (mut parts, mut quoted, mut escaped) = (vec![String::new()], false, false);
    for c in header.chars() {
        if c == ',' && !quoted {
            parts.push(String::new());
            continue;
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && quoted && !escaped;
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    parts.map(|part| mailbox(part.rfind('<').map_or(part, |at| &part[at..]))).collect()
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
