//! Blanking an address where it stands in bytes: each way it may be spelled there, over the same
//! number of bytes, so that no length and no offset changes.
//!
//! What takes its place is an address too, that nobody can have: `~~~@zzzzzzz.zzz`. So whatever was
//! told with it is read as before, and what is told of the blank itself is passed over.

use unicase::UniCase;

use super::Address;

/// What each character of a local part becomes, and each of a domain.
const LOCAL: u8 = b'~';
const DOMAIN: u8 = b'z';
/// Most backslashes before one character: JSON in JSON in JSON.
const BACKSLASHES_MAX: usize = 7;

/// The ways an address may be spelled.
#[derive(Clone, Debug)]
pub struct Spellings {
    patterns: Vec<Vec<char>>,
    /// The bytes that an occurrence may begin with.
    first: Box<[bool; 256]>,
}

/// A character in the bytes, as it is or as an escape of it.
#[derive(Clone, Copy)]
struct Unit {
    c: char,
    length: usize,
    escape: Escape,
}

#[derive(Clone, Copy, PartialEq)]
enum Escape {
    None,
    /// `\"`, `\\`, `\/`, in any depth.
    Backslash,
    /// `\u0040`, in any depth; the digits are the last four of each.
    Unicode,
    /// `%40`.
    Percent,
}

impl Spellings {
    /// Those of an address.
    pub fn of(address: &Address) -> Spellings {
        let (local, domain) = (address.local(), address.domain());
        let inside = local.strip_prefix('"').and_then(|local| local.strip_suffix('"'));
        let plain = inside.map(|inside| inside.replace("\\\"", "\"").replace("\\\\", "\\"));
        let quoted = inside.is_none().then(|| format!("\"{local}\""));
        let locals = [Some(local.to_owned()), quoted, plain];
        let unicode = folded(&idna::domain_to_unicode(domain).0);
        let mut domains = vec![domain.to_owned()];
        domains.extend((unicode != domain).then_some(unicode));
        let mut patterns = Vec::new();
        for local in locals.into_iter().flatten() {
            for domain in &domains {
                patterns.push(format!("{local}@{domain}").chars().collect::<Vec<_>>());
            }
        }
        // The longest first: what it leaves none of the others finds.
        patterns.sort_by_key(|pattern| std::cmp::Reverse(pattern.len()));
        let mut first = Box::new([false; 256]);
        first[0x80..].fill(true);
        for byte in [b'%', b'\\'] {
            first[usize::from(byte)] = true;
        }
        for c in patterns.iter().filter_map(|pattern| pattern.first()).filter(|c| c.is_ascii()) {
            for c in [c.to_ascii_lowercase(), c.to_ascii_uppercase()] {
                first[c as usize] = true;
            }
        }
        Spellings { patterns, first }
    }

    /// Whether the address may stand there. Quick, and right where it says no, whatever is around
    /// the bytes in which it would.
    pub fn may_be_in(&self, bytes: &[u8]) -> bool {
        let is_here = |at: usize| {
            let begins = |pattern: &Vec<char>| matches(bytes, at, pattern, &mut Vec::new());
            self.first[usize::from(bytes[at])] && self.patterns.iter().any(begins)
        };
        (0..bytes.len()).any(is_here)
    }

    /// Blanks it wherever it stands; says how often it did.
    pub fn blank(&self, bytes: &mut [u8]) -> usize {
        let (mut at, mut times) = (0, 0);
        while at < bytes.len() {
            let Some(units) = self.found(bytes, at) else {
                at += 1;
                continue;
            };
            let mut in_domain = false;
            // The last one: there may be others in quotes.
            let sign = units.iter().rposition(|unit| unit.c == '@' || unit.c == '=');
            for (number, unit) in units.iter().enumerate() {
                in_domain |= sign == Some(number);
                let keeps = in_domain && (sign == Some(number) || unit.c == '.');
                if !keeps {
                    fill(&mut bytes[at..at + unit.length], *unit, in_domain);
                }
                at += unit.length;
            }
            times += 1;
        }
        times
    }

    /// The address that starts here, by its characters.
    fn found(&self, bytes: &[u8], at: usize) -> Option<Vec<Unit>> {
        if !self.first[usize::from(bytes[at])] {
            return None;
        }
        self.patterns.iter().find_map(|pattern| {
            let mut units = Vec::with_capacity(pattern.len());
            let is_here = matches(bytes, at, pattern, &mut units) && is_alone(bytes, at, &units);
            is_here.then_some(units)
        })
    }
}

/// Whether the pattern stands here; its characters are added to `units`.
fn matches(bytes: &[u8], at: usize, pattern: &[char], units: &mut Vec<Unit>) -> bool {
    let Some((wanted, _)) = pattern.split_first() else { return true };
    for unit in candidates(bytes, at) {
        let rest = match unit.c {
            c if c.is_ascii() && c.to_ascii_lowercase() == *wanted => &pattern[1..],
            // As mail servers write whom a message was for into its return path.
            '=' if *wanted == '@' => &pattern[1..],
            c if !c.is_ascii() => {
                let folded: Vec<char> = folded(&c.to_string()).chars().collect();
                match pattern.strip_prefix(&folded[..]) {
                    Some(rest) => rest,
                    None => continue,
                }
            }
            _ => continue,
        };
        units.push(unit);
        if matches(bytes, at + unit.length, rest, units) {
            return true;
        }
        units.pop();
    }
    false
}

/// Whether what starts at `at` is an address of its own, and no part of a longer one.
fn is_alone(bytes: &[u8], at: usize, units: &[Unit]) -> bool {
    let end = at + units.iter().map(|unit| unit.length).sum::<usize>();
    let is_verp = units.iter().any(|unit| unit.c == '=') && !units.iter().any(|u| u.c == '@');
    let percent = units.iter().any(|unit| unit.c == '@' && unit.escape == Escape::Percent);
    let before = &bytes[..at];
    let is_raw = units.first().is_some_and(|unit| unit.escape == Escape::None);
    is_begun(before, is_raw, is_verp, percent, &bytes[at..]) && is_ended(&bytes[end..])
}

fn is_begun(before: &[u8], is_raw: bool, is_verp: bool, percent: bool, here: &[u8]) -> bool {
    let Some(&last) = before.last() else { return true };
    let slashes = |bytes: &[u8]| bytes.iter().rev().take_while(|byte| **byte == b'\\').count();
    if slashes(before) % 2 == 1 {
        // An escape: of which what starts here is the tail, unless it is one itself.
        return !is_raw;
    }
    if is_raw && cuts_unicode(before, here) {
        return false;
    }
    if is_raw && percent && cuts_percent(before, here) {
        return false;
    }
    // The character before, if it is an escape.
    let tail = before.len().saturating_sub(6);
    for start in tail..before.len() {
        let whole = candidates(before, start)
            .find(|unit| unit.escape != Escape::None && start + unit.length == before.len());
        if let Some(unit) = whole {
            return !goes_on(unit.c, is_verp);
        }
    }
    let ends_escape = matches!(last, b'n' | b'r' | b't' | b'b' | b'f')
        && slashes(&before[..before.len() - 1]) % 2 == 1;
    ends_escape || (last < 0x80 && !goes_on(char::from(last), is_verp))
}

/// Whether a character before an address makes it the end of a longer local part.
fn goes_on(c: char, is_verp: bool) -> bool {
    let part = c.is_alphanumeric() || c == '~';
    part || (!is_verp && matches!(c, '.' | '_' | '-' | '+'))
}

fn cuts_unicode(before: &[u8], here: &[u8]) -> bool {
    (0..4).any(|digits| {
        let Some(head) = before.len().checked_sub(digits).map(|end| &before[..end]) else {
            return false;
        };
        let part = &before[before.len() - digits..];
        let rest = here.iter().take(4 - digits);
        head.ends_with(b"\\u") && part.iter().chain(rest).all(u8::is_ascii_hexdigit)
    })
}

fn cuts_percent(before: &[u8], here: &[u8]) -> bool {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    match before {
        [.., b'%'] => is_digit(here.first()) && is_digit(here.get(1)),
        [.., b'%', digit] => digit.is_ascii_hexdigit() && is_digit(here.first()),
        _ => false,
    }
}

fn is_ended(behind: &[u8]) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte >= 0x80;
    match behind {
        [] => true,
        [b'.', next, ..] => !is_part(*next),
        [next, ..] => !is_part(*next) && *next != b'_',
    }
}

/// The characters that may start here: as the byte stands, and as an escape.
fn candidates(bytes: &[u8], at: usize) -> impl Iterator<Item = Unit> + use<> {
    let rest = bytes.get(at..).unwrap_or_default();
    let escaped = match rest.first() {
        Some(b'\\') => backslashed(rest),
        Some(b'%') => percent(rest),
        _ => None,
    };
    raw(rest).into_iter().chain(escaped)
}

fn raw(rest: &[u8]) -> Option<Unit> {
    let head = &rest[..rest.len().min(4)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default(),
    };
    let c = text.chars().next()?;
    Some(Unit { c, length: c.len_utf8(), escape: Escape::None })
}

fn backslashed(rest: &[u8]) -> Option<Unit> {
    let slashes = rest.iter().take_while(|byte| **byte == b'\\').count();
    if slashes > BACKSLASHES_MAX {
        return None;
    }
    match rest.get(slashes) {
        Some(b'u') => {
            let (high, length) = (code_unit(rest, slashes + 1)?, slashes + 5);
            if let Some(c) = char::from_u32(u32::from(high)) {
                return Some(Unit { c, length, escape: Escape::Unicode });
            }
            let low = code_unit(rest, length + slashes + 1)?;
            let c = char::decode_utf16([high, low]).next()?.ok()?;
            Some(Unit { c, length: 2 * length, escape: Escape::Unicode })
        }
        Some(c @ (b'"' | b'/')) => {
            let length = slashes + 1;
            Some(Unit { c: char::from(*c), length, escape: Escape::Backslash })
        }
        _ if slashes % 2 == 0 => Some(Unit { c: '\\', length: slashes, escape: Escape::Backslash }),
        _ => None,
    }
}

fn code_unit(rest: &[u8], at: usize) -> Option<u16> {
    let digits = rest.get(at..at + 4).filter(|d| d.iter().all(u8::is_ascii_hexdigit))?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn percent(rest: &[u8]) -> Option<Unit> {
    let mut decoded = Vec::new();
    for part in rest.chunks(3).take(4) {
        let [b'%', high, low] = part else { break };
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let (Some(high), Some(low)) = (digit(high), digit(low)) else { break };
        decoded.push((high << 4 | low) as u8);
    }
    let Unit { c, length, .. } = raw(&decoded)?;
    Some(Unit { c, length: 3 * length, escape: Escape::Percent })
}

/// Puts the blank's character in the place of another, in the same way it was written.
fn fill(place: &mut [u8], unit: Unit, in_domain: bool) {
    let blank = if in_domain { DOMAIN } else { LOCAL };
    match unit.escape {
        Escape::None | Escape::Backslash => place.fill(blank),
        Escape::Percent => {
            let code = if in_domain { b"%7A" } else { b"%7E" };
            place.chunks_mut(3).for_each(|part| part.copy_from_slice(code));
        }
        Escape::Unicode => {
            let code = if in_domain { b"007a" } else { b"007e" };
            let parts = if unit.c.len_utf16() == 2 { 2 } else { 1 };
            let length = place.len() / parts;
            for part in place.chunks_mut(length) {
                let digits = part.len() - 4;
                part[digits..].copy_from_slice(code);
            }
        }
    }
}

impl Address {
    /// Whether it is what blanking leaves: nobody's.
    pub fn is_blank(&self) -> bool {
        self.local().bytes().all(|byte| byte == LOCAL)
            && self.domain().bytes().all(|byte| byte == DOMAIN || byte == b'.')
    }
}

fn folded(text: &str) -> String {
    UniCase::unicode(text).to_folded_case()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blanked(address: &str, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        Spellings::of(&Address::parse(address).unwrap()).blank(&mut bytes);
        assert_eq!(bytes.len(), text.len());
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_address_is_blanked_however_it_is_spelled() {
        let cases = [
            ("a@b.c", "a@b.c", "~@z.z"),
            ("ann@one.test", "to: <Ann@ONE.test>,", "to: <~~~@zzz.zzzz>,"),
            ("ann@one.test", r#"{"to":"ann\u0040one.test"}"#, r#"{"to":"~~~\u0040zzz.zzzz"}"#),
            ("ann@one.test", r#""\u0041nn@one.test""#, r#""\u007e~~@zzz.zzzz""#),
            ("ann@one.test", "to=ann%40one.test&x", "to=~~~%40zzz.zzzz&x"),
            ("cann@one.test", "to=%3Ccann%40one.test%3E", "to=%3C~~~~%40zzz.zzzz%3E"),
            ("nan@one.test", r"\nnan@one.test\n", r"\n~~~@zzz.zzzz\n"),
            ("ann@one.test", "b-12-ann=one.test@p.test", "b-12-~~~=zzz.zzzz@p.test"),
            ("ann@one.test", r#""ann"@one.test"#, r#"~~~~~@zzz.zzzz"#),
            ("\"a b\"@one.test", r#"{"to":"\"A b\"@one.test"}"#, r#"{"to":"~~~~~~~@zzz.zzzz"}"#),
            ("jos\u{e9}@one.test", r"JOS\u00C9@one.test", r"~~~\u007e@zzz.zzzz"),
            ("jos\u{e9}@one.test", "jos%C3%A9%40one.test", "~~~%7E%7E%40zzz.zzzz"),
            ("a@b\u{fc}cher.test", "a@b\u{fc}cher.test.", "~@zzzzzzz.zzzz."),
            ("a@b\u{fc}cher.test", "a@xn--bcher-kva.test", "~@zzzzzzzzzzzzz.zzzz"),
            ("strasse@x.test", "stra\u{df}e@x.test", "~~~~~~~@z.zzzz"),
        ];
        for (address, text, expected) in cases {
            assert_eq!(blanked(address, text), expected, "{address} in {text}");
            // Whatever is around it.
            let spellings = Spellings::of(&Address::parse(address).unwrap());
            assert!(spellings.may_be_in(format!("x{text}x").as_bytes()), "{address} in {text}");
            assert!(!spellings.may_be_in(expected.as_bytes()), "{expected}");
        }
    }

    #[test]
    fn nobody_else_is_blanked() {
        let others = [
            "joann@one.test jo.ann@one.test jo-ann@one.test jo+ann@one.test jo_ann@one.test",
            "ann@one.test.example ann@one.tester ann@one.test-x ann+x@one.test ann@two.test",
            r"\u00e4ann@one.test %C3%A4ann%40one.test",
        ];
        for text in others {
            assert_eq!(blanked("ann@one.test", text), text);
        }
        // Tails of escapes are no letters.
        assert_eq!(blanked("nann@one.test", r"\nann@one.test"), r"\nann@one.test");
        assert_eq!(blanked("cann@one.test", r"\u003cann@one.test"), r"\u003cann@one.test");
    }

    #[test]
    fn a_blank_is_an_address_of_nobody() {
        for address in ["a@b", "ann@one.test", "x@xn--bcher-kva.example", "\"a b\"@one.test"] {
            let blank = blanked(address, address);
            assert!(Address::parse(&blank).unwrap().is_blank(), "{blank}");
            assert!(!Address::parse(address).unwrap().is_blank());
        }
        assert!(!Address::parse("~@x.test").unwrap().is_blank());
    }
}
