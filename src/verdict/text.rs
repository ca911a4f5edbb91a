//! A reply's text, cut into words and codes.
//!
//! What the text echoes is taken out first: mailboxes, host names, IP numbers, links, queue ids. So
//! no address and no host can change a verdict. Case, punctuation and line breaks go as well; but
//! where a sentence ends, or a comma or colon stands, a mark is kept.

use std::borrow::Cow;

use super::codes::Enhanced;
use super::echo::{echoed, is_echo, is_name, link_word, token_length};
use super::fill::{long_form, says_nothing};
use super::letters::{composed, ends_sentence, has_no_width, is_dash, pauses, without_accent};
use super::quoted::{Next, QUOTES, agrees, leading_reply};

/// What is left of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reading {
    /// The words, in lower case, and marks between them, each with a space before and behind it.
    pub words: String,
    /// Reply codes, in order.
    pub replies: Vec<u16>,
    /// Enhanced codes, in order.
    pub codes: Vec<Enhanced>,
    /// Where the words begin that stand behind the last reply code.
    said: usize,
    /// A server has agreed: `250 2.1.5`, `said: 250`.
    agrees: bool,
    /// A host was cut out behind the last word.
    after_host: bool,
    /// The last reply code was one of a line that another one follows: `550-`.
    goes_on: bool,
    /// What follows the word that is read begins with an enhanced code, or with a unit: `421 days`.
    next: Next,
    /// There is a word with which a text says that another attempt may succeed.
    may_say_later: bool,
}

/// A sentence ends here.
pub(super) const END: char = '.';
/// A question does.
pub(super) const ASK: char = '?';
/// A comma, a colon, or what else parts a sentence.
pub(super) const PAUSE: char = ',';
/// A mailbox was cut out here.
pub(super) const MAILBOX: char = '@';
/// A host was cut out here, and a reply code stands behind it: another one speaks.
pub(super) const CUT: char = '|';

/// A link was cut out here: what it leads to may say why.
pub(super) const LINK: char = '^';

/// Words behind which a quoted word is somebody's name: `unknown local-part "policy"`.
const NAMED: &[&str] = &[
    "account",
    "address",
    "alias",
    "mailbox",
    "name",
    "part",
    "rcpt",
    "recipient",
    "user",
    "username",
];

/// Words of a text that says no more than that a message has failed for good.
const FAILED: &[&str] = &[
    "action",
    "bounce",
    "bounced",
    "could",
    "delivered",
    "delivery",
    "email",
    "error",
    "failed",
    "failure",
    "fatal",
    "hard",
    "mail",
    "message",
    "not",
    "permanent",
    "undeliverable",
    "undelivered",
];

/// Longest text that is read, in bytes; what is behind it is not looked at.
const TEXT_MAX: usize = 8 << 10;

impl Reading {
    /// Reads a text.
    pub fn of(text: &str) -> Reading {
        let mut reading = Reading { words: " ".to_owned(), ..Reading::default() };
        let mut end = text.len().min(TEXT_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let whole = composed(&text[..end]);
        let spaced = without_underscores(&whole);
        let mut rest = spaced.trim_start();
        // What a DSN has before a reply (RFC 3464, section 2.3.6).
        if rest.get(..5).is_some_and(|kind| kind.eq_ignore_ascii_case("smtp;")) {
            rest = &rest[5..];
        }
        while let Some(start) = rest.find(|c: char| !c.is_whitespace() && !has_no_width(c)) {
            rest = &rest[start..];
            // Most are words and nothing else.
            let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            if letters > 0 && rest.as_bytes().get(letters).is_none_or(|b| *b == b' ') {
                reading.next = Next::Other;
                reading.push_plain(&rest[..letters]);
                rest = &rest[letters..];
                continue;
            }
            let echo = echoed(rest);
            let (token, behind) = rest.split_at(echo.unwrap_or_else(|| token_length(rest)));
            match echo {
                Some(_) if token.contains("://") => reading.mark(LINK),
                Some(_) if token.contains('@') => reading.mark(MAILBOX),
                Some(_) => {
                    if is_name(token) {
                        reading.mark(MAILBOX);
                    }
                    reading.after_host = true;
                }
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
            let mark = tokens.peek().and_then(|next| mark_behind(token, next));
            if matches!(mark, Some(END | ASK)) {
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
        let mut words = self.words.split_ascii_whitespace().filter(|word| !is_mark(word));
        self.may_say_later
            && words.any(|word| {
                let [first, second] = before;
                before = [second, word];
                match (second, word) {
                    (_, "temporarily" | "temporary") | ("will", "retry") => true,
                    ("try" | "retry" | "again", "later" | "tomorrow") => true,
                    // To correct the address "and try again" is another thing.
                    ("try", "again") => first != "and",
                    _ => false,
                }
            })
    }

    /// Whether it says no more than that there was a failure for good: codes, and words such as
    /// "hard bounce", which are no server's.
    pub fn tells_nothing(&self) -> bool {
        let mut words = self.words.split_ascii_whitespace().filter(|word| !is_mark(word));
        words.all(|word| FAILED.contains(&word))
    }

    /// How many words the last server that is quoted has said, without those of who quotes it.
    pub fn word_count(&self) -> usize {
        let said = &self.words[self.said..];
        let said = said.split_once(" in reply to ").map_or(said, |(said, _)| said);
        said.split(' ').filter(|word| !word.is_empty() && !is_mark(word)).count()
    }

    /// Whether a server has agreed, and none has refused.
    pub fn agrees(&self) -> bool {
        self.agrees && self.replies.is_empty()
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
        if token.starts_with('"') && self.is_quoted_name(token, behind) {
            self.mark(MAILBOX);
            return;
        }
        // Only a passing reply code asks for it.
        self.next = if token.contains('4') { Next::of(behind) } else { Next::Other };
        self.token(token);
        if let Some(mark) = mark_behind(token, behind) {
            self.mark(mark);
        }
    }

    /// Whether a word in quotes names somebody: behind a word for a mailbox, or in front of all.
    fn is_quoted_name(&self, token: &str, behind: &str) -> bool {
        let Some((name, end)) = token.strip_prefix('"').and_then(|rest| rest.split_once('"'))
        else {
            return false;
        };
        let is_word = !name.is_empty() && end.chars().all(|c| c.is_ascii_punctuation());
        let is_first = || self.words.trim().is_empty() && !behind.trim().is_empty();
        is_word && (is_first() || self.last_word().is_some_and(|word| NAMED.contains(&word)))
    }

    fn token(&mut self, token: &str) {
        let bare = token.trim_matches(|c: char| !c.is_alphanumeric());
        if bare.bytes().all(|b| b.is_ascii_alphabetic()) {
            self.push_plain(bare);
            return;
        }
        if let Some(code) = Enhanced::parse(bare) {
            self.codes.push(code);
            return;
        }
        if let Some((reply, rest)) = leading_reply(bare) {
            self.reply(token, reply, rest);
            return;
        }
        if agrees(bare) && (self.after_host || self.is_blank() || self.is_behind_quote()) {
            self.agrees = true;
            return;
        }
        if let Some(value) = link_word(token) {
            self.push(&value);
            return;
        }
        // `denied...7d39d5299584f4be`: a word, and what comes behind it.
        // But `a..b@x.example` is a mailbox.
        let dots = || bare.contains('.').then(|| bare.split_once("..")).flatten();
        let parts = dots().filter(|(_, rest)| !rest.contains('@'));
        if let Some((word, rest)) = parts {
            self.token(word);
            self.mark(END);
            self.token(rest);
            return;
        }
        if is_echo(bare) {
            match bare.contains('@') && !bare.contains("://") {
                true => self.mark(MAILBOX),
                false => self.after_host = true,
            }
            if bare.contains("://") {
                self.mark(LINK);
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

    /// Reads a reply code and what stands behind it: `550-5.1.1`, and the codes of a reply that
    /// another one quotes: `550-'5.1.1`.
    fn reply(&mut self, token: &str, reply: u16, rest: &str) {
        if !self.quotes(token, reply, rest) {
            return;
        }
        let goes_on = self.goes_on && self.replies.last() == Some(&reply);
        if self.after_host && !goes_on {
            self.mark(CUT);
        }
        // Another reply is another sentence.
        if !self.replies.is_empty() && !goes_on {
            self.mark(END);
        }
        if self.replies.last() != Some(&reply) {
            self.said = self.words.len();
        }
        self.replies.push(reply);
        self.goes_on = rest.starts_with('-');
        let rest = rest.trim_start_matches(|c: char| !c.is_alphanumeric());
        if !rest.is_empty() {
            self.token(rest);
        }
    }

    /// Whether a number that may be a passing reply code is one that a server gave, and not that of
    /// a host or a policy: `on node 450`, `[418]`. It would make all before it passing.
    fn quotes(&self, token: &str, reply: u16, rest: &str) -> bool {
        // `450-'Mailbox busy'`: so Cisco quotes what a server has said.
        let is_cited = rest.starts_with("-'");
        if reply >= 500 || self.after_host || self.next == Next::Code || self.is_blank() || is_cited
        {
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
        match self.last_word() {
            Some(mark) if is_mark(mark) => true,
            Some(word) => QUOTES.contains(&word),
            None => true,
        }
    }

    fn last_word(&self) -> Option<&str> {
        self.words.split(' ').rev().find(|word| !word.is_empty())
    }

    /// Whether a reply is quoted here: `said: 250`.
    fn is_behind_quote(&self) -> bool {
        let mut words = self.words.split(' ').rev().filter(|word| !word.is_empty());
        let word = words.find(|word| *word != ",");
        word.is_some_and(|word| QUOTES.contains(&word))
    }

    /// Whether nothing was read yet.
    fn is_blank(&self) -> bool {
        self.words.trim().is_empty() && self.replies.is_empty() && self.codes.is_empty()
    }

    /// Adds a word of ASCII letters.
    fn push_plain(&mut self, word: &str) {
        let start = self.words.len();
        self.words.push_str(word);
        self.words[start..].make_ascii_lowercase();
        self.close(start);
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
            c if has_no_width(c) => start,
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
        self.may_say_later |=
            matches!(word, "temporarily" | "temporary" | "retry" | "again" | "later" | "tomorrow");
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
    if marks.is_empty() {
        return None;
    }
    // Of signs that got lost on the way, `????` is left.
    let asks = |c| matches!(c, '?' | '？');
    if marks.contains(asks) && marks.matches(asks).count() == 1 {
        return Some(ASK);
    }
    if marks.contains(ends_sentence) || marks.contains('.') && dot_ends() {
        return Some(END);
    }
    // A dash that stands by itself parts what is said, too.
    let parts = marks.contains(pauses) || bare.is_empty() && marks.chars().all(is_dash);
    parts.then_some(PAUSE)
}

/// Whether this is no word but a mark between words.
pub(super) fn is_mark(word: &str) -> bool {
    matches!(word, "." | "?" | "," | "@" | "|" | "^")
}
