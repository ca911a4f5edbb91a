//! What a text echoes: mailboxes, host names, IP numbers, links, queue ids.

/// Begins of names that look like hosts or ids, and are a program's words for a cause.
const CAUSES: &[&str] = &[
    "resolver.adr.",
    "resolver.rst.",
    "resolver.fwd.",
    "resolver.grp.",
    "storedrv.",
    "storagetransientexception.",
    "storagepermanentexception.",
    "quotaexceededexception.",
    "mapiexception",
    "smtpsend.",
    "queue.expired",
    "transport.rules.",
    "routing.",
    "xgemail_",
    "rfc5321.",
    "rfc5322.",
];

/// The length of the word that starts here: up to a space, or to a mailbox that is echoed in
/// brackets or quotes, as in `TO:<"a b"@x>`.
pub(super) fn token_length(text: &str) -> usize {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let marks =
        text.bytes().take(end).enumerate().skip(1).filter(|(_, b)| matches!(b, b'<' | b'"'));
    let mailbox = |at: &usize| echoed(&text[*at..]).is_some_and(|n| text[*at..][..n].contains('@'));
    marks.map(|(at, _)| at).find(mailbox).unwrap_or(end)
}

/// The length of what starts here and is echoed in brackets, spaces included: `<"a b"@x>`.
pub(super) fn echoed(text: &str) -> Option<usize> {
    let (open, close) = match text.chars().next()? {
        '<' => ('<', '>'),
        '"' => ('"', '"'),
        _ => return None,
    };
    let end = text[1..].find(close)? + 2;
    let inside = &text[1..end - 1];
    // A quoted sentence is to be read; a quoted local part is followed by its domain.
    let local = open == '"' && text[end..].starts_with('@');
    // Sendmail shows what a server has said behind `<<<`.
    let is_whole = |inside: &str| {
        !inside.contains('<') && (inside.contains('@') || !inside.contains(char::is_whitespace))
    };
    let whole = open == '<' && is_whole(inside);
    if local {
        let rest = &text[end..];
        return Some(end + rest.find(char::is_whitespace).unwrap_or(rest.len()));
    }
    (whole && inside.len() <= 330).then_some(end)
}

/// What stands in brackets and is no mailbox.
const SIGNS: &[&str] = &["cr", "crlf", "html", "lf", "nul", "null"];

/// Whether what is echoed in brackets is a mailbox without its domain: `<anna>`, but not `<CRLF>`.
pub(super) fn is_name(token: &str) -> bool {
    let name = token.trim_matches(['<', '>']);
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_sign = || SIGNS.iter().any(|sign| sign.eq_ignore_ascii_case(name));
    begins && name.chars().all(fits) && !is_echo(name) && !is_sign()
}

/// The word in Google's links that names the cause; all else of a link says nothing.
pub(super) fn link_word(token: &str) -> Option<String> {
    let at = token.find('/').and_then(|_| token.find("support.google.com/mail/"))?;
    let value = token[at..].split_once("p=")?.1;
    let end = value.find(|c: char| !c.is_alphanumeric()).unwrap_or(value.len());
    Some(format!("p {}", &value[..end]))
}

pub(super) fn is_echo(token: &str) -> bool {
    if token.bytes().all(|b| b.is_ascii_alphabetic()) {
        return false;
    }
    let starts = |start: &&str| {
        token.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
    };
    if CAUSES.iter().any(starts) {
        return false;
    }
    token.contains('@') || token.contains("://") || is_host(token) || is_ip(token) || is_id(token)
}

/// `mx.example.com`, with or without a port or a path, but not `unknown.Please`.
fn is_host(token: &str) -> bool {
    if !token.contains('.') {
        return false;
    }
    let name = token.split(['/', ':', '[', '?']).next().unwrap_or(token);
    let mut labels = name.split('.').peekable();
    let mut count = 0;
    let mut last = "";
    while let Some(label) = labels.next() {
        let fits = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
        if label.is_empty() || !label.chars().all(fits) {
            return false;
        }
        if let Some(next) = labels.peek() {
            let begins = |l: &str| {
                let mut chars = l.chars();
                chars.next().is_some_and(char::is_uppercase)
                    && chars.next().is_some_and(char::is_lowercase)
            };
            let lower = |l: &str| l.chars().all(|c| c.is_lowercase());
            if lower(label) && begins(next) {
                return false;
            }
        }
        // `QuotaExceededException.MapiException`: a program's name for a cause.
        if label
            .as_bytes()
            .windows(2)
            .any(|w| w[0].is_ascii_lowercase() && w[1].is_ascii_uppercase())
        {
            return false;
        }
        last = label;
        count += 1;
    }
    count > 1 && last.chars().count() > 1 && !last.chars().all(|c| c.is_ascii_digit())
}

fn is_ip(token: &str) -> bool {
    if !token.contains(['.', ':']) {
        return false;
    }
    let token = token.trim_matches(|c: char| !c.is_ascii_hexdigit() && c != ':');
    let token = token.split('/').next().unwrap_or(token);
    if token.parse::<std::net::IpAddr>().is_ok() {
        return true;
    }
    let head = token.split(['[', ']', ':']).next().unwrap_or(token);
    head.parse::<std::net::Ipv4Addr>().is_ok()
}

/// A queue id or the like: long, without a vowel's help, with digits among its letters.
fn is_id(token: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '=');
    let digits = token.chars().filter(char::is_ascii_digit).count();
    token.len() >= 12 && digits >= 2 && digits < token.len() && token.chars().all(plain)
}
