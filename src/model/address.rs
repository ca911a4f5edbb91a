//! Mail addresses: kept as received, compared as mailboxes.
//!
//! What is not one plausible mailbox never becomes an `Address`, so it can never reach an export.
//! `Debug` shows no address: they are personal data.

use std::fmt;

use unicase::UniCase;

/// Longest address, in octets (RFC 5321 section 4.5.3.1: 64 + 1 + 255).
pub const OCTETS_MAX: usize = 320;

/// Longest domain in A-label form, in octets (RFC 1035 section 2.3.4, without the final dot).
const DOMAIN_MAX: usize = 253;
/// Longest label of a domain, in octets (RFC 1035 section 2.3.4).
const LABEL_MAX: usize = 63;

/// One mailbox. Two are equal when their keys are, however they were spelled.
#[derive(Clone)]
pub struct Address {
    received: Box<str>,
    key: Box<str>,
    at: usize,
}

/// Why a text is not one plausible mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing, or nothing on one side of the `@`.
    #[error("a part of the address is empty")]
    Empty,
    /// More than [`OCTETS_MAX`] octets.
    #[error("the address is longer than 320 octets")]
    TooLong,
    /// A control character or a line break.
    #[error("the address contains a control character")]
    Control,
    /// No `@`, or more than one outside quotes.
    #[error("the address does not have exactly one @ outside quotes")]
    At,
    /// The part before the `@` needs quotes, or its quotes do not end.
    #[error("the local part is not valid")]
    Local,
    /// The part behind the `@` is no domain name or address literal.
    #[error("the domain is not valid")]
    Domain,
    /// A whole domain, where one mailbox is wanted.
    #[error(
        "that names a whole domain, and only single addresses can be suppressed; \
         `list` and `lift` take --domain, and the MTA can refuse a domain by itself"
    )]
    WholeDomain,
}

impl Address {
    /// Reads a bare address (no display name, no angle brackets).
    ///
    /// The key has the local part case-folded, with quotes only where they are needed, and the
    /// domain lower-cased in A-label form without a trailing dot.
    ///
    /// # Errors
    /// When the text is not one plausible mailbox.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        if text.len() > OCTETS_MAX {
            return Err(AddressError::TooLong);
        }
        if text.chars().any(is_break) {
            return Err(AddressError::Control);
        }
        let (local, domain) = split(text)?;
        let local = canonical_local(local)?;
        let domain = canonical_domain(domain)?;
        Ok(Address {
            received: text.into(),
            at: local.len(),
            key: format!("{local}@{domain}").into_boxed_str(),
        })
    }

    /// Reads an address that a person names. `*@example.com` is a mailbox too, but nobody means it.
    ///
    /// # Errors
    /// When the text is not one plausible mailbox, or names a domain.
    pub fn named(text: &str) -> Result<Address, AddressError> {
        let domain = text.strip_prefix('*').unwrap_or(text).strip_prefix('@');
        if domain.is_some_and(|domain| Address::parse(&format!("x@{domain}")).is_ok()) {
            return Err(AddressError::WholeDomain);
        }
        Address::parse(text)
    }

    /// The mailboxes that a program may mean which names an address with or without its quotes:
    /// the text as it stands; and, where it has quotes or lacks them, its local part as it is.
    ///
    /// Both count, since an MTA that names a mailbox without quotes may leave some that belong to
    /// its local part. None where the text is no mailbox in any reading.
    pub fn readings(text: &str) -> impl Iterator<Item = Address> {
        let standing = Address::parse(text).ok();
        let settled = standing.is_some() && !text.starts_with('"');
        let literal = if settled { None } else { Address::literal(text) };
        standing.into_iter().chain(literal)
    }

    /// Reads an address whose local part has no quotes, whatever it is made of.
    fn literal(text: &str) -> Option<Address> {
        let (local, domain) = text.rsplit_once('@')?;
        Address::parse(&format!("{}@{domain}", quote(local))).ok()
    }

    /// The same mailbox without its extension: what its local part has from the first of the
    /// delimiters on. `None` where it has none. No delimiter may be a quote or a backslash.
    pub fn without_extension(&self, delimiters: &str) -> Option<Address> {
        let local = self.local();
        let (mark, inside) = match local.strip_prefix('"').and_then(|l| l.strip_suffix('"')) {
            Some(inside) => ("\"", inside),
            None => ("", local),
        };
        let delimiter = |(_, c): &(usize, char)| delimiters.contains(*c);
        let (end, _) = inside.char_indices().skip(1).find(delimiter)?;
        Address::parse(&format!("{mark}{}{mark}@{}", &inside[..end], self.domain())).ok()
    }

    /// The address as it was received.
    pub fn received(&self) -> &str {
        &self.received
    }

    /// The form that addresses are compared by.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The domain of the key: lower case, A-labels.
    pub fn domain(&self) -> &str {
        &self.key[self.at + 1..]
    }

    /// The local part of the key: case-folded, quoted only if it must be.
    pub fn local(&self) -> &str {
        &self.key[..self.at]
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Address) -> bool {
        self.key == other.key
    }
}

impl Eq for Address {}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(…)")
    }
}

/// Control characters, everything that some program takes for the end of a line, and what stands
/// where bytes could not be read.
fn is_break(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | char::REPLACEMENT_CHARACTER)
}

/// Splits at the one `@` outside quotes. The local part keeps its quotes.
fn split(text: &str) -> Result<(&str, &str), AddressError> {
    let at = if text.starts_with('"') {
        let end = closing_quote(text).ok_or(AddressError::Local)?;
        if !text[end + 1..].starts_with('@') {
            return Err(AddressError::Local);
        }
        end + 1
    } else {
        text.find('@').ok_or(AddressError::At)?
    };
    let (local, domain) = (&text[..at], &text[at + 1..]);
    if domain.contains('@') {
        return Err(AddressError::At);
    }
    Ok((local, domain))
}

/// Where the quoted string at the start of `text` ends.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(index),
            _ => {}
        }
    }
    None
}

fn canonical_local(local: &str) -> Result<String, AddressError> {
    let Some(inner) = local.strip_prefix('"') else {
        if local.is_empty() {
            return Err(AddressError::Empty);
        }
        return if is_plain(local) { Ok(fold(local)) } else { Err(AddressError::Local) };
    };
    let content = unescape(&inner[..inner.len() - 1]);
    if content.is_empty() {
        return Err(AddressError::Empty);
    }
    let folded = fold(&content);
    if is_plain(&folded) {
        return Ok(folded);
    }
    Ok(quote(&folded))
}

fn quote(content: &str) -> String {
    format!("\"{}\"", content.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Whether a local part can stand without quotes. Stray dots are allowed: such mailboxes exist.
fn is_plain(local: &str) -> bool {
    let special = |c: char| c.is_whitespace() || "\"(),:;<>@[\\]".contains(c);
    !local.is_empty() && !local.chars().any(special)
}

fn unescape(quoted: &str) -> String {
    let mut content = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        let next = if c == '\\' { chars.next() } else { Some(c) };
        content.extend(next);
    }
    content
}

/// Full Unicode case folding, as Postfix compares local parts.
fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    UniCase::unicode(text).to_folded_case()
}

fn canonical_domain(domain: &str) -> Result<String, AddressError> {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    if domain.is_empty() {
        return Err(AddressError::Empty);
    }
    if let Some(literal) = domain.strip_prefix('[') {
        let inside = literal.strip_suffix(']').ok_or(AddressError::Domain)?;
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b':';
        let plausible = !inside.is_empty() && inside.bytes().all(fits);
        return if plausible { Ok(domain.to_ascii_lowercase()) } else { Err(AddressError::Domain) };
    }
    let ascii = idna::domain_to_ascii(domain).map_err(|_| AddressError::Domain)?;
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    let label = |l: &str| !l.is_empty() && l.len() <= LABEL_MAX && l.bytes().all(fits);
    if ascii.len() <= DOMAIN_MAX && ascii.split('.').all(label) {
        Ok(ascii)
    } else {
        Err(AddressError::Domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> String {
        Address::parse(text).map_or_else(|e| format!("{e:?}"), |a| a.key().to_owned())
    }

    #[test]
    fn spellings_of_one_mailbox_share_a_key() {
        for (given, expected) in [
            ("User@Example.COM", "user@example.com"),
            ("user@example.com.", "user@example.com"),
            ("\"a.b\"@x.test", "a.b@x.test"),
            ("\"John Smith\"@x.test", "\"john smith\"@x.test"),
            ("\"a\\@b\"@x.test", "\"a@b\"@x.test"),
            ("\"a\\\"q\"@x.test", "\"a\\\"q\"@x.test"),
            ("JOSÉ@x.test", "josé@x.test"),
            ("straße@x.test", "strasse@x.test"),
            ("a@BÜCHER.example", "a@xn--bcher-kva.example"),
            ("a@xn--BCHER-kva.example", "a@xn--bcher-kva.example"),
            ("user+tag@x.test", "user+tag@x.test"),
            ("user..x.@x.test", "user..x.@x.test"),
            ("#x@d.test", "#x@d.test"),
            ("a@[127.0.0.1]", "a@[127.0.0.1]"),
            ("a@[IPv6:::1]", "a@[ipv6:::1]"),
            ("a@localhost", "a@localhost"),
            ("a@under_score.test", "a@under_score.test"),
        ] {
            assert_eq!(key(given), expected, "{given:?}");
        }
    }

    #[test]
    fn what_is_no_mailbox_is_refused() {
        use AddressError::*;
        for (given, expected) in [
            ("", Empty),
            ("@x.test", Empty),
            ("a@", Empty),
            ("\"\"@x.test", Empty),
            ("a.x.test", At),
            ("a@b@x.test", At),
            ("a\n@x.test", Control),
            ("a@x.test\r\nb@y.test", Control),
            ("a\u{85}@x.test", Control),
            ("a\u{2028}@x.test", Control),
            ("a\0@x.test", Control),
            ("a b@x.test", Local),
            ("a\u{a0}b@x.test", Local),
            ("A <a@x.test>", Local),
            ("a,b@x.test", Local),
            ("\"a@x.test", Local),
            ("\"a\"b@x.test", Local),
            ("a@x..test", Domain),
            ("a@x.test b", Domain),
            ("a@x,y", Domain),
            ("a@[1", Domain),
            ("a@[]", Domain),
            (&format!("{}@x.test", "a".repeat(320)), TooLong),
            (&format!("a@{}.test", "b".repeat(64)), Domain),
        ] {
            assert_eq!(key(given), format!("{expected:?}"), "{given:?}");
        }
    }

    #[test]
    fn an_address_without_its_quotes_is_read_too() {
        for (given, expected) in [
            ("User@X.test.", &["user@x.test"][..]),
            ("john smith@x.test", &["\"john smith\"@x.test"]),
            (" user@x.test", &["\" user\"@x.test"]),
            ("a@b@x.test", &["\"a@b\"@x.test"]),
            ("a\\b@x.test", &["\"a\\\\b\"@x.test"]),
            ("\"john smith\"@x.test", &["\"john smith\"@x.test", r#""\"john smith\""@x.test"#]),
            ("\"user\"@x.test", &["user@x.test", r#""\"user\""@x.test"#]),
            ("\"a@x.test", &[r#""\"a"@x.test"#]),
            ("x.test", &[]),
            ("@x.test", &[]),
            ("user@", &[]),
            ("", &[]),
            ("a\nb@x.test", &[]),
            ("a@x.test b", &[]),
        ] {
            let keys: Vec<String> = Address::readings(given).map(|a| a.key().to_owned()).collect();
            assert_eq!(keys, expected, "{given:?}");
        }
    }

    #[test]
    fn an_extension_is_taken_off() {
        for (given, delimiters, expected) in [
            ("user+tag@x.test", "+", Some("user@x.test")),
            ("user+a+b@x.test", "+", Some("user@x.test")),
            ("user-a+b@x.test", "+-", Some("user@x.test")),
            ("user+@x.test", "+", Some("user@x.test")),
            ("\"john smith+tag\"@x.test", "+", Some("\"john smith\"@x.test")),
            ("\"john+a smith\"@x.test", "+", Some("john@x.test")),
            (r#""a\\+b"@x.test"#, "+", Some(r#""a\\"@x.test"#)),
            ("user@x.test", "+", None),
            ("+tag@x.test", "+", None),
            ("user+tag@x.test", "", None),
            ("user@x+y.test", "+", None),
        ] {
            let stripped = Address::parse(given).ok().and_then(|a| a.without_extension(delimiters));
            assert_eq!(stripped.as_ref().map(Address::key), expected, "{given:?}");
        }
    }

    #[test]
    fn debug_tells_no_address() {
        let address = Address::parse("secret@x.test").unwrap();
        assert!(!format!("{address:?}").contains("secret"));
    }
}
