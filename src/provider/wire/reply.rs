//! Finds the codes of an SMTP reply in what a provider passes on of it.

/// A diagnostic without the type that may stand before it, as in `smtp; 550 5.1.1 no such user`
/// (RFC 3464, section 2.3.6).
pub fn reply(text: &str) -> &str {
    match text.split_once(';') {
        Some((kind, rest)) if kind.trim().eq_ignore_ascii_case("smtp") => rest.trim_start(),
        _ => text,
    }
}

/// The SMTP reply code (RFC 5321 section 4.2) that a text is or starts with.
pub fn smtp_code(text: &str) -> Option<u16> {
    let digits = text.trim_start().split(|c: char| !c.is_ascii_digit()).next()?;
    if digits.len() != 3 {
        return None;
    }
    digits.parse().ok().filter(|code| (200..600).contains(code))
}

/// The SMTP reply code that a text starts with, or that follows a colon or semicolon in it, as in
/// `RecipientError: 550 …` and `smtp; 550 …` (RFC 3464, section 2.3.6).
pub fn said_code(text: &str) -> Option<u16> {
    let reply = |part: &str| {
        let part = part.trim_start();
        // Not the end of an IPv6 address or of a time.
        let is_reply = matches!(part.as_bytes().get(3), Some(b' ' | b'-'));
        smtp_code(part).filter(|_| is_reply)
    };
    smtp_code(text).or_else(|| text.split([':', ';']).skip(1).find_map(reply))
}

/// The first enhanced status code (RFC 3463 section 2) in a text.
pub fn enhanced_code(text: &str) -> Option<String> {
    let boundary = |c: char| !(c.is_ascii_alphanumeric() || c == '.');
    let word = text.split(boundary).map(|word| word.trim_end_matches('.'));
    word.filter(|word| is_enhanced(word)).map(str::to_owned).next()
}

fn is_enhanced(word: &str) -> bool {
    let mut parts = word.split('.');
    let class = matches!(parts.next(), Some("2" | "4" | "5"));
    let detail = |part: Option<&str>| {
        part.is_some_and(|p| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))
    };
    class && detail(parts.next()) && detail(parts.next()) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_where_they_stand() {
        for (text, code, enhanced) in [
            ("550 5.1.1 User unknown", Some(550), Some("5.1.1")),
            ("550-5.7.26 blocked", Some(550), Some("5.7.26")),
            ("smtp; 550 #5.1.0 Address rejected.", None, Some("5.1.0")),
            ("(5.1.1).", None, Some("5.1.1")),
            ("seen from 5.1.1.9", None, None),
            ("1550 x", None, None),
            ("452 4.2.2 full", Some(452), Some("4.2.2")),
            ("999 nothing", None, None),
            ("", None, None),
        ] {
            assert_eq!(smtp_code(text), code, "{text:?}");
            assert_eq!(enhanced_code(text).as_deref(), enhanced, "{text:?}");
        }
    }

    #[test]
    fn a_reply_is_found_behind_what_introduces_it() {
        for (text, code) in [
            ("550 5.1.1 no such user", Some(550)),
            ("smtp;550 5.1.1 no such user", Some(550)),
            (" RecipientError: 550 5.5.0 not taken", Some(550)),
            ("Status: 5.7.1\r\nDiagnostic-Code: smtp; 554-denied", Some(554)),
            ("connect to mx[2001:db8::250]: timed out", None),
            ("after 12:400", None),
            ("Blocked : due to 550 things", None),
        ] {
            assert_eq!(said_code(text), code, "{text:?}");
        }
    }

    #[test]
    fn a_diagnostic_loses_its_type() {
        assert_eq!(reply("smtp; 550 5.1.1 x; y"), "550 5.1.1 x; y");
        assert_eq!(reply("SMTP;550 x"), "550 x");
        assert_eq!(reply("550 a; b"), "550 a; b");
    }
}
