//! What a `Link` header leads to (RFC 8288): the target of one relation.
//!
//! Takes any text: what is no link leads nowhere.

/// Where the first link of that relation leads. `links`: the values of all such headers, with
/// commas between them.
pub(super) fn target<'l>(links: &'l str, relation: &str) -> Option<&'l str> {
    let mut rest = links;
    loop {
        let (target, behind) = rest.split_once('<')?.1.split_once('>')?;
        let (parameters, further) = cut(behind, ',');
        let mut relations = relations(parameters).split_ascii_whitespace();
        if relations.any(|known| known.eq_ignore_ascii_case(relation)) {
            return Some(target.trim());
        }
        rest = further;
    }
}

/// The first `rel` of a link; a second one does not count.
fn relations(parameters: &str) -> &str {
    let mut rest = parameters;
    while !rest.is_empty() {
        let (parameter, further) = cut(rest, ';');
        match parameter.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("rel") => {
                return value.trim().trim_matches('"');
            }
            _ => rest = further,
        }
    }
    ""
}

/// What is before the first such mark outside of quotes, and what is behind it.
fn cut(text: &str, mark: char) -> (&str, &str) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, found) in text.char_indices() {
        match found {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if found == mark && !quoted => return (&text[..at], &text[at + mark.len_utf8()..]),
            _ => {}
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relation_leads_to_its_target() {
        for (links, expected) in [
            ("<https://a.test/?page=2>; rel=\"next\"", Some("https://a.test/?page=2")),
            ("</x?a=1,2;b>;rel=next", Some("/x?a=1,2;b")),
            ("</1>; rel=\"first\", </2>; rel=\"next\", </9>; rel=\"last\"", Some("/2")),
            (
                "</1>; title=\"a, <b>; rel=\\\"next\\\"\"; rel=prev,</2> ; REL = \"last Next\"",
                Some("/2"),
            ),
            ("</1>; rel=prev; rel=next", None),
            ("</1>; rel=nextish", None),
            ("</1>", None),
            ("</1; rel=next", None),
            ("", None),
            ("rel=next", None),
            ("<>; rel=next", Some("")),
            ("</1>; rel=\"next", Some("/1")),
            ("</1>; title=\"\\", None),
        ] {
            assert_eq!(target(links, "next"), expected, "{links}");
        }
    }
}
