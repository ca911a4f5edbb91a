//! The spellings of an address that a reader may look up, and what it must be to have them.

use std::borrow::Cow;

use super::{Entry, Unfit};

/// The domain in U-labels, if it has another form in them.
pub(super) fn u_label(domain: &str) -> Option<String> {
    // Only a name with an A-label has another form; most have none, and this is asked per row.
    let has_a_label = domain.as_bytes().windows(4).any(|bytes| bytes == b"xn--");
    if !has_a_label || domain.starts_with('[') {
        return None;
    }
    let (unicode, result) = idna::domain_to_unicode(domain);
    (result.is_ok() && unicode != domain).then_some(unicode)
}

/// The domain in U-labels as a reader that folds the case of all letters knows it, if it can tell
/// it from other domains then: `faß.example` becomes `fass.example`, which is somebody else's.
pub(super) fn folded_u_label(domain: &str) -> Option<String> {
    let folded = unicase::UniCase::unicode(u_label(domain)?).to_folded_case();
    let back = idna::domain_to_ascii(&folded).ok()?;
    (back == domain).then_some(folded)
}

/// The local part without the quotes that it has in its key.
pub(super) fn unquoted(local: &str) -> Cow<'_, str> {
    match local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        None => local.into(),
        Some(inside) if !inside.contains('\\') => inside.into(),
        // In a key, a backslash stands before a quote or another backslash only.
        Some(inside) => inside.replace("\\\"", "\"").replace("\\\\", "\\").into(),
    }
}

/// Calls `add` with each local part and domain under which a reader may look the address up that
/// lower-cases, but does not fold as keys do: `ß` stays `ß` there.
pub(super) fn each_spelling(entry: &Entry<'_>, mut add: impl FnMut(&str, &str)) {
    let wide = u_label(entry.domain);
    let domains = [Some(entry.domain), wide.as_deref()];
    let spelled = spelled_locals(entry);
    let locals = [Some(entry.local), spelled.0.as_deref(), spelled.1.as_deref()];
    for domain in domains.into_iter().flatten() {
        for local in locals.into_iter().flatten() {
            add(local, domain);
        }
    }
}

/// The local part in lower case as it was spelled, of ASCII letters and of all, where it differs
/// from the key's.
fn spelled_locals(entry: &Entry<'_>) -> (Option<String>, Option<String>) {
    let Some(local) = wide_local(entry) else { return (None, None) };
    let (ascii, all) = (local.to_ascii_lowercase(), local.to_lowercase());
    let new = |text: &String| text != entry.local;
    (Some(ascii.clone()).filter(new), Some(all).filter(|all| new(all) && *all != ascii))
}

/// The local part as it was spelled, if folding may have changed its letters. One in quotes is
/// left at its key.
fn wide_local<'a>(entry: &Entry<'a>) -> Option<&'a str> {
    if entry.spelling.is_ascii() {
        return None;
    }
    let (local, _) = entry.spelling.rsplit_once('@').filter(|(local, _)| !local.is_ascii())?;
    (!local.starts_with('"')).then_some(local)
}

/// The address for other programs: lower case, with the letters that it was spelled with.
pub(super) fn mailbox(entry: &Entry<'_>) -> String {
    let spelled = wide_local(entry).map(str::to_lowercase);
    [spelled.as_deref().unwrap_or(entry.local), "@", entry.domain].concat()
}

/// Refuses a local part that is not of plain ASCII.
///
/// # Errors
/// When it has quotes, or letters beyond ASCII.
pub(super) fn require_plain_ascii(local: &str) -> Result<(), Unfit> {
    if local.starts_with('"') {
        return Err(Unfit("the local part needs quotes"));
    }
    if local.is_ascii() { Ok(()) } else { Err(Unfit("the local part is not ASCII")) }
}

/// Refuses an address literal, such as `[127.0.0.1]`.
///
/// # Errors
/// When the domain is one.
pub(super) fn require_name(domain: &str) -> Result<(), Unfit> {
    if domain.starts_with('[') { Err(Unfit("the domain is an address literal")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::test;
    use super::*;

    #[test]
    fn every_spelling_folds_to_the_key() {
        for (address, expected) in [
            ("User@Example.com", &["user@example.com"][..]),
            ("STRA\u{df}E@x.test", &["strasse@x.test", "stra\u{df}e@x.test"]),
            ("JOS\u{c9}@x.test", &["jos\u{e9}@x.test", "jos\u{c9}@x.test"]),
            ("a@B\u{dc}CHER.test", &["a@xn--bcher-kva.test", "a@b\u{fc}cher.test"]),
            ("a@fa\u{df}.test", &["a@xn--fa-hia.test", "a@fa\u{df}.test"]),
        ] {
            let mut found = Vec::new();
            test::with_entry(address, |entry| {
                each_spelling(entry, |local, domain| found.push(format!("{local}@{domain}")));
            });
            assert_eq!(found, expected, "{address}");
        }
    }

    #[test]
    fn quotes_are_taken_off() {
        for (local, expected) in
            [("a", "a"), ("\"a b\"", "a b"), (r#""a\\\"b""#, "a\\\"b"), (r#""\\\\""#, "\\\\")]
        {
            assert_eq!(unquoted(local), expected);
        }
    }
}
