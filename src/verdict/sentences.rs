//! The words of a text with its sentences: what parts words, and what is said by the way.

use super::text::{ASK, CUT, END, LINK, MAILBOX, PAUSE, is_mark};

/// Words that name the sender or the message: who blames them means this very message.
const ADDRESSED: &[&str] =
    &["client", "email", "ip", "mail", "message", "messages", "sender", "senders", "you", "your"];

/// Words of a sentence about what might be, what to do, or how things are in general.
const ASIDE: &[&str] = &[
    "can",
    "check",
    "contact",
    "could",
    "fine",
    "good",
    "if",
    "limit",
    "limits",
    "many",
    "may",
    "must",
    "no",
    "not",
    "nowhere",
    "ok",
    "passed",
    "please",
    "see",
    "should",
    "skipped",
    "successful",
    "uses",
    "visit",
    "we",
    "when",
    "will",
    "would",
];

/// Adjectives that say of a mailbox that it is none, and of many other things that they are none.
const ADJECTIVES: &[&str] = &["invalid", "unknown", "unrecognised", "unrecognized"];

/// Words that an adjective does not describe.
const LINKS: &[&str] = &[
    "and", "any", "as", "at", "because", "but", "by", "due", "for", "from", "here", "in",
    "locally", "on", "or", "please", "since", "so", "to", "try", "with", "within",
];

/// Things that bear the name of what is said of mailboxes: in "user unknown cache" no user is.
const THINGS: &[&str] = &[
    "agent",
    "agents",
    "attempt",
    "attempts",
    "cache",
    "check",
    "checks",
    "count",
    "counter",
    "daemon",
    "database",
    "errors",
    "event",
    "events",
    "handler",
    "handlers",
    "handling",
    "key",
    "keys",
    "limit",
    "limits",
    "list",
    "lists",
    "lookup",
    "lookups",
    "page",
    "pages",
    "policies",
    "policy",
    "process",
    "processing",
    "rate",
    "rates",
    "ratio",
    "report",
    "reports",
    "rule",
    "rules",
    "senders",
    "server",
    "servers",
    "state",
    "states",
    "statistics",
    "test",
    "tests",
    "threshold",
    "traffic",
];

/// Words that are nobody's name, beside those links and things.
const NO_NAMES: &[&str] = &[
    "address",
    "auth",
    "authentication",
    "certificate",
    "class",
    "domain",
    "domains",
    "error",
    "group",
    "host",
    "hosts",
    "ip",
    "language",
    "login",
    "mail",
    "name",
    "never",
    "no",
    "not",
    "of",
    "part",
    "password",
    "quota",
    "reputation",
    "session",
    "size",
    "status",
    "temporarily",
    "temporary",
    "that",
    "type",
    "which",
    "you",
    "your",
];

/// Whether a word may be somebody's name, such as the local part of a mailbox.
pub(super) fn may_be_name(word: &str) -> bool {
    THINGS.binary_search(&word).is_err() && !LINKS.contains(&word) && !NO_NAMES.contains(&word)
}

/// What stands in front of a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Break {
    /// The end of a sentence.
    pub(super) ends: bool,
    /// The end of a question.
    asks: bool,
    /// A comma, a colon or the like.
    pub(super) pauses: bool,
    /// A mailbox that was cut out.
    pub(super) mailbox: bool,
    /// A host that was cut out, and a reply code behind it: another one speaks.
    pub(super) cut: bool,
    /// How many sentences have ended before the word.
    sentence: u32,
}

/// The words of a text.
pub(super) struct Words<'t> {
    pub(super) words: Vec<&'t str>,
    /// What stands in front of each.
    pub(super) breaks: Vec<Break>,
    /// Of each word, and of the end, whether what goes on there ends as a question; empty where
    /// nothing is asked.
    asked: Vec<bool>,
    /// A link was cut out, and what it leads to is not read.
    pub(super) links: bool,
}

impl<'t> Words<'t> {
    /// From words and marks, with spaces between.
    pub(super) fn of(text: &'t str) -> Words<'t> {
        let room = text.len() / 6;
        let (words, breaks) = (Vec::with_capacity(room), Vec::with_capacity(room));
        let mut read = Words { words, breaks, asked: Vec::new(), links: false };
        let mut asks = false;
        let mut before = Break::default();
        for word in text.split_ascii_whitespace() {
            if !is_mark(word) {
                before.sentence += u32::from(before.ends);
                read.words.push(word);
                read.breaks.push(before);
                before = Break { sentence: before.sentence, ..Break::default() };
                continue;
            }
            let mark = word.chars().next();
            before.mailbox |= mark == Some(MAILBOX);
            read.links |= mark == Some(LINK);
            before.cut |= mark == Some(CUT);
            before.ends |= matches!(mark, Some(END | ASK));
            before.asks |= mark == Some(ASK);
            before.pauses |= matches!(mark, Some(END | ASK | PAUSE));
            asks |= before.asks;
        }
        if asks {
            read.asked = asked(&read.breaks, before);
        }
        read
    }

    /// Whether a sentence ends between one word and a later one.
    pub(super) fn parts(&self, first: usize, later: usize) -> bool {
        self.breaks[first].sentence != self.breaks[later].sentence
    }

    /// Whether the word `at` stands by itself before another, and describes that one: in
    /// "user@example.com: unknown error" nobody is unknown.
    pub(super) fn describes(&self, at: usize) -> bool {
        let parted = |at: usize| {
            let before = self.breaks[at];
            before.ends || before.pauses || before.mailbox || before.cut
        };
        let next = self.words.get(at + 1).filter(|_| !parted(at + 1));
        ADJECTIVES.contains(&self.words[at])
            && parted(at)
            && next.is_some_and(|next| !LINKS.contains(next))
    }

    /// Whether the words from `start` to `end` state nothing: they are denied, left open or asked.
    pub(super) fn are_no_statement(&self, start: usize, end: usize) -> bool {
        let is_denied = || {
            start > 0
                && matches!(self.words[start - 1], "not" | "never" | "if" | "whether")
                && !self.breaks[start..end].iter().any(|before| before.pauses)
        };
        self.asked.get(end).is_some_and(|asked| *asked) || is_denied()
    }

    /// Whether the words before the word `end` belong to the name of a thing, which it ends.
    pub(super) fn name_a_thing(&self, end: usize) -> bool {
        let Some(thing) = self.words.get(end) else { return false };
        let Break { pauses, mailbox, cut, .. } = self.breaks[end];
        let last = self.words[end - 1];
        !(pauses || mailbox || cut)
            && THINGS.binary_search(thing).is_ok()
            && !(last == "of" || LINKS.contains(&last))
    }

    /// Whether what the sentence about the word `at` says is said of this very message.
    pub(super) fn is_meant(&self, at: usize) -> bool {
        let sentence = self.breaks[at].sentence;
        let start = self.breaks.partition_point(|before| before.sentence < sentence);
        let end = self.breaks.partition_point(|before| before.sentence <= sentence);
        let has = |set: &[&str]| {
            self.words[start..end].iter().any(|word| set.binary_search(word).is_ok())
        };
        has(ADDRESSED) && !has(ASIDE)
    }
}

/// Of each word, and of the end, whether the clause that goes on there ends as a question.
fn asked(breaks: &[Break], behind: Break) -> Vec<bool> {
    let mut asked = vec![behind.asks; breaks.len() + 1];
    for at in (0..breaks.len()).rev() {
        asked[at] = if breaks[at].pauses { breaks[at].asks } else { asked[at + 1] };
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_up_by_halves_is_sorted() {
        assert!(ADDRESSED.is_sorted() && ASIDE.is_sorted() && THINGS.is_sorted());
    }

    #[test]
    fn what_is_asked_denied_or_names_a_thing_is_not_stated() {
        for (text, stated) in [
            (" user unknown ", true),
            (" user unknown ? no ", false),
            (" user unknown ? ", false),
            (" user unknown , questions ? ", true),
            (" questions ? user unknown ", true),
            (" not user unknown ", false),
            (" found not , user unknown ", true),
            (" user unknown cache ", false),
            (" user unknown , cache ", true),
            (" user unknown @ list ", true),
            (" whether user unknown ", false),
            (" user of list ", true),
        ] {
            let read = Words::of(text);
            let start = read.words.iter().position(|word| *word == "user").unwrap();
            let end = start + 2;
            let is_stated = !read.are_no_statement(start, end) && !read.name_a_thing(end);
            assert_eq!(is_stated, stated, "{text}");
        }
    }

    #[test]
    fn marks_stand_in_front_of_words() {
        let text = Words::of(" , user @ . unknown , sorry . ");
        assert_eq!(text.words, ["user", "unknown", "sorry"]);
        let [first, second, third] = text.breaks[..] else { panic!("{:?}", text.breaks) };
        assert!(first.pauses && !first.ends && second.ends && second.mailbox && third.pauses);
        assert!(text.parts(0, 1) && text.parts(0, 2) && !text.parts(1, 2));
    }
}
