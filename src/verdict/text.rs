//! A reply's text, cut into words and codes.
//!
//! What the text echoes is taken out first: mailboxes, host names, IP numbers, links, queue ids. So
//! no address and no host can change a verdict. Case, punctuation and line breaks go as well; but
//! where a sentence ends, or a comma or colon stands, a mark is kept.

use std::borrow::Cow;

use super::codes::Enhanced;
use super::fill::{long_form, says_nothing};
use super::quoted::{Next, QUOTES, leading_reply};

/// What is left of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reading {
    /// The words, in lower case, and marks between them, each with a space before and behind it.
    pub words: String,
    /// Reply codes, in order.
    pub replies: Vec<u16>,
    /// Enhanced codes, in order.
    pub codes: Vec<Enhanced>,
    /// A host was cut out behind the last word.
    after_host: bool,
    /// The last reply code was one of a line that another one follows: `550-`.
    goes_on: bool,
    /// What follows the word that is read begins with an enhanced code, or with a unit: `421 days`.
    next: Next,
}

/// A sentence ends here.
pub(super) const END: char = '.';
/// A comma, a colon, or what else parts a sentence.
pub(super) const PAUSE: char = ',';
/// A mailbox was cut out here.
pub(super) const MAILBOX: char = '@';
/// A host was cut out here, and a reply code stands behind it: another one speaks.
pub(super) const CUT: char = '|';

/// Longest text that is read, in bytes; what is behind it is not looked at.
const TEXT_MAX: usize = 8 << 10;

/// Begins of names that look like hosts or ids, and are a program's words for a cause.
const CAUSES: &[&str] = &[
    "resolver.adr.",
    "resolver.rst.",
    "resolver.fwd.",
    "resolver.grp.",
    "storedrv.",
    "smtpsend.",
    "queue.expired",
    "transport.rules.",
    "routing.",
    "xgemail_",
    "rfc5321.",
    "rfc5322.",
];

impl Reading {
    /// Reads a text.
    pub fn of(text: &str) -> Reading {
        let mut reading = Reading { words: " ".to_owned(), ..Reading::default() };
        let mut end = text.len().min(TEXT_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let spaced = without_underscores(&text[..end]);
        let mut rest = spaced.trim_start();
        // What a DSN has before a reply (RFC 3464, section 2.3.6).
        if rest.get(..5).is_some_and(|kind| kind.eq_ignore_ascii_case("smtp;")) {
            rest = &rest[5..];
        }
        while let Some(start) = rest.find(|c: char| !c.is_whitespace()) {
            rest = &rest[start..];
            let echo = echoed(rest);
            let (token, behind) = rest.split_at(echo.unwrap_or_else(|| token_length(rest)));
            match echo {
                Some(_) if token.contains('@') => reading.mark(MAILBOX),
                Some(_) => reading.after_host = true,
                None => reading.part(token, behind),
            }
            rest = behind;
        }
        reading
    }

    /// The words of a text in which nothing is echoed, such as a row's phrase, and where its
    /// sentences end.
    pub fn plain(text: &str) -> String {
        let mut reading = Reading { words: " ".to_owned(), ..Reading::default() };
        let mut tokens = text.split_whitespace().peekable();
        while let Some(token) = tokens.next() {
            reading.push(token);
            if tokens.peek().is_some_and(|next| mark_behind(token, next) == Some(END)) {
                reading.mark(END);
            }
        }
        let mut words: Vec<&str> = reading.words.split(' ').collect();
        words.retain(|word| *word == "." || !is_mark(word));
        words.dedup_by(|word, before| is_mark(word) && is_mark(before));
        words.join(" ")
    }

    /// Whether the text itself says that another attempt may succeed.
    pub fn says_later(&self) -> bool {
        let mut before = ["", ""];
        self.words.split(' ').filter(|word| !is_mark(word)).any(|word| {
            let [first, second] = before;
            before = [second, word];
            match (second, word) {
                (_, "temporarily" | "temporary") | ("will", "retry") => true,
                ("try" | "retry" | "again", "later") => true,
                // To correct the address "and try again" is another thing.
                ("try", "again") => first != "and",
                _ => false,
            }
        })
    }

    /// How many words there are.
    pub fn word_count(&self) -> usize {
        self.words.split(' ').filter(|word| !word.is_empty() && !is_mark(word)).count()
    }

    /// Whether the last server that is quoted said 4, whatever became of the message by then.
    pub fn ends_transient(&self) -> bool {
        self.replies.last().is_some_and(|reply| (400..500).contains(reply))
    }

    fn mark(&mut self, mark: char) {
        self.words.push(mark);
        self.words.push(' ');
    }

    /// Reads what stands between two spaces, and what its marks say; `behind` is the text behind.
    fn part(&mut self, token: &str, behind: &str) {
        if token.starts_with('(') {
            self.mark(PAUSE);
        }
        // Only a passing reply code asks for it.
        self.next = if token.contains('4') { Next::of(behind) } else { Next::Other };
        self.token(token);
        if let Some(mark) = mark_behind(token, behind) {
            self.mark(mark);
        }
    }

    fn token(&mut self, token: &str) {
        let bare = token.trim_matches(|c: char| !c.is_alphanumeric());
        if let Some(code) = Enhanced::parse(bare) {
            self.codes.push(code);
            return;
        }
        // `550-5.1.1`, and the codes of a reply that another one quotes: `550-'5.1.1`.
        if let Some((reply, rest)) = leading_reply(bare) {
            if !self.quotes(token, reply, rest) {
                return;
            }
            if self.after_host && !(self.goes_on && self.replies.last() == Some(&reply)) {
                self.mark(CUT);
            }
            self.replies.push(reply);
            self.goes_on = rest.starts_with('-');
            let rest = rest.trim_start_matches(|c: char| !c.is_alphanumeric());
            if !rest.is_empty() {
                self.token(rest);
            }
            return;
        }
        if let Some(value) = link_word(token) {
            self.push(&value);
            return;
        }
        // `denied...7d39d5299584f4be`: a word, and what comes behind it.
        // But `a..b@x.example` is a mailbox.
        let parts = bare.split_once("..").filter(|(_, rest)| !rest.contains('@'));
        if let Some((word, rest)) = parts {
            self.token(word);
            self.mark(END);
            self.token(rest);
            return;
        }
        if is_echo(bare) {
            match bare.contains('@') {
                true => self.mark(MAILBOX),
                false => self.after_host = true,
            }
            return;
        }
        // `key=value` and `a/b`: the parts may be echoes for themselves.
        if let Some(at) = bare.find(['=', '[', '(', '<', ',', ';', ':', '"']) {
            let (name, value) = bare.split_at(at);
            self.token(name);
            match value.as_bytes()[0] {
                b';' => self.mark(END),
                b'(' | b',' | b':' => self.mark(PAUSE),
                _ => (),
            }
            self.token(&value[1..]);
            return;
        }
        self.push(bare);
    }

    /// Whether a number that may be a passing reply code is one that a server gave, and not that of
    /// a host or a policy: `on node 450`, `[418]`. It would make all before it passing.
    fn quotes(&self, token: &str, reply: u16, rest: &str) -> bool {
        if reply >= 500 || self.after_host || self.next == Next::Code || self.is_blank() {
            return true;
        }
        let rest = rest.trim_start_matches(|c: char| !c.is_alphanumeric());
        let coded = rest.split([' ', ':', ',']).next().and_then(Enhanced::parse).is_some();
        if coded || self.replies.last() == Some(&reply) {
            return true;
        }
        if token.starts_with('#') || token.ends_with([')', ']']) || self.next == Next::Unit {
            return false;
        }
        let mut words = self.words.split(' ').rev().filter(|word| !word.is_empty());
        match words.next() {
            Some(mark) if is_mark(mark) => true,
            Some(word) => QUOTES.contains(&word),
            None => true,
        }
    }

    /// Whether nothing was read yet.
    fn is_blank(&self) -> bool {
        self.words.trim().is_empty() && self.replies.is_empty() && self.codes.is_empty()
    }

    fn push(&mut self, token: &str) {
        let mut start = self.words.len();
        for c in token.chars() {
            if c.is_ascii() {
                start = self.push_letter(c.to_ascii_lowercase(), start);
            } else {
                start = c.to_lowercase().fold(start, |start, c| self.push_letter(c, start));
            }
        }
        self.close(start);
    }

    /// Adds to the word that begins at `start`, and returns where the word begins that goes on.
    fn push_letter(&mut self, c: char, start: usize) -> usize {
        match c {
            // What is left out in French and Italian: `l'utilisateur`, `n'existe`.
            '\'' | '\u{2019}'
                if matches!(&self.words[start..], "l" | "d" | "n" | "un" | "dell") =>
            {
                self.close(start)
            }
            '\'' | '\u{2019}' | '`' | '\u{300}'..='\u{36f}' => start,
            // Scripts without spaces between words: each sign is one.
            c if c >= '\u{2e80}' && c.is_alphanumeric() => {
                let start = self.close(start);
                self.words.push(c);
                self.close(start)
            }
            c if c.is_alphanumeric() || c == '#' => {
                self.words.push(without_accent(c));
                start
            }
            // Between signs that stand without spaces.
            c if ends_sentence(c) || pauses(c) => {
                self.close(start);
                self.mark(if pauses(c) { PAUSE } else { END });
                self.words.len()
            }
            _ => self.close(start),
        }
    }

    /// Ends the word that begins at `start`, takes it away if it says nothing, and returns where
    /// the next one begins.
    fn close(&mut self, start: usize) -> usize {
        if let Some(long) = long_form(&self.words[start..]) {
            self.words.replace_range(start.., long);
        }
        let word = &self.words[start..];
        if word.is_empty() || says_nothing(word) {
            self.words.truncate(start);
            return start;
        }
        if word == "mail" && self.words[..start].ends_with(" e ") {
            self.words.replace_range(start - 2.., "email");
        }
        self.words.push(' ');
        self.after_host = false;
        self.words.len()
    }
}

/// A text in which qmail has written `_` for spaces and `/` for the ends of lines, as it does in
/// its log, with those again (qmail-send.c, report).
fn without_underscores(text: &str) -> Cow<'_, str> {
    let is_logged =
        |token: &str| token.ends_with('/') && token.matches('_').count() > 1 && !is_link(token);
    if !text.contains('_') || !text.split_whitespace().any(is_logged) {
        return Cow::Borrowed(text);
    }
    let mut before = ' ';
    let spaced = text.char_indices().map(|(at, c)| {
        let line = || text[at + 1..].chars().next().is_none_or(|c| c.is_uppercase());
        let spaced = match c {
            '_' => ' ',
            '/' if !matches!(before, '/' | ':') && line() => '\n',
            c => c,
        };
        before = c;
        spaced
    });
    Cow::Owned(spaced.collect())
}

fn is_link(token: &str) -> bool {
    token.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("http"))
}

/// What the marks at the end of a token say, in front of the text behind it.
fn mark_behind(token: &str, behind: &str) -> Option<char> {
    let bare = token.trim_end_matches(|c: char| !c.is_alphanumeric());
    // The dot of `e.g.` and of `example.com.` ends no sentence.
    let goes_on = || behind.trim_start().starts_with(char::is_lowercase);
    let dot_ends = || !((bare.is_empty() || bare.contains('.')) && goes_on());
    let marks = &token[bare.len()..];
    if marks.contains(ends_sentence) || marks.contains('.') && dot_ends() {
        return Some(END);
    }
    marks.contains(pauses).then_some(PAUSE)
}

/// Whether this is no word but a mark between words.
pub(super) fn is_mark(word: &str) -> bool {
    matches!(word, "." | "," | "@" | "|")
}

fn ends_sentence(c: char) -> bool {
    matches!(c, ';' | '!' | '?' | '。' | '！' | '？' | '；')
}

fn pauses(c: char) -> bool {
    matches!(c, ',' | ':' | '(' | '，' | '、' | '：')
}

/// A Latin letter without its accent, and Cyrillic `ё` as it is usually written.
fn without_accent(c: char) -> char {
    match c {
        '\u{e0}'..='\u{e5}' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'ď' => 'd',
        '\u{e8}'..='\u{eb}' | 'ē' | 'ę' | 'ě' => 'e',
        'ğ' => 'g',
        '\u{ec}'..='\u{ef}' | 'ī' | 'ı' => 'i',
        'ĺ' | 'ľ' | 'ł' => 'l',
        'ñ' | 'ń' | 'ň' => 'n',
        '\u{f2}'..='\u{f6}' | 'ø' | 'ő' => 'o',
        'ŕ' | 'ř' => 'r',
        'ś' | 'š' | 'ş' => 's',
        'ť' | 'ţ' => 't',
        '\u{f9}'..='\u{fc}' | 'ū' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        'ё' => 'е',
        c => c,
    }
}

/// The length of the word that starts here: up to a space, or to a mailbox that is echoed in
/// brackets or quotes, as in `TO:<"a b"@x>`.
fn token_length(text: &str) -> usize {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let marks = text[..end].char_indices().skip(1).filter(|(_, c)| matches!(c, '<' | '"'));
    let mailbox = |at: &usize| echoed(&text[*at..]).is_some_and(|n| text[*at..][..n].contains('@'));
    marks.map(|(at, _)| at).find(mailbox).unwrap_or(end)
}

/// The length of what starts here and is echoed in brackets, spaces included: `<"a b"@x>`.
fn echoed(text: &str) -> Option<usize> {
    let (open, close) = match text.chars().next()? {
        '<' => ('<', '>'),
        '"' => ('"', '"'),
        _ => return None,
    };
    let end = text[1..].find(close)? + 2;
    let inside = &text[1..end - 1];
    // A quoted sentence is to be read; a quoted local part is followed by its domain.
    let local = open == '"' && text[end..].starts_with('@');
    let whole = open == '<' && (inside.contains('@') || !inside.contains(char::is_whitespace));
    if local {
        let rest = &text[end..];
        return Some(end + rest.find(char::is_whitespace).unwrap_or(rest.len()));
    }
    (whole && inside.len() <= 330).then_some(end)
}

/// The word in Google's links that names the cause; all else of a link says nothing.
fn link_word(token: &str) -> Option<String> {
    let at = token.find('/').and_then(|_| token.find("support.google.com/mail/"))?;
    let value = token[at..].split_once("p=")?.1;
    let end = value.find(|c: char| !c.is_alphanumeric()).unwrap_or(value.len());
    Some(format!("p {}", &value[..end]))
}

fn is_echo(token: &str) -> bool {
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
