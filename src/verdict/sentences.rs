//! The words of a text with its sentences: what parts words, and what is said by the way.

use super::text::{CUT, END, MAILBOX, PAUSE, is_mark};

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

/// What stands in front of a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Break {
    /// The end of a sentence.
    pub(super) ends: bool,
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
}

impl<'t> Words<'t> {
    /// From words and marks, with spaces between.
    pub(super) fn of(text: &'t str) -> Words<'t> {
        let mut read = Words { words: Vec::new(), breaks: Vec::new() };
        let mut before = Break::default();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            if !is_mark(word) {
                before.sentence += u32::from(before.ends);
                read.words.push(word);
                read.breaks.push(before);
                before = Break { sentence: before.sentence, ..Break::default() };
                continue;
            }
            let mark = word.chars().next();
            before.mailbox |= mark == Some(MAILBOX);
            before.cut |= mark == Some(CUT);
            before.ends |= mark == Some(END);
            before.pauses |= matches!(mark, Some(END | PAUSE));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_up_by_halves_is_sorted() {
        assert!(ADDRESSED.is_sorted() && ASIDE.is_sorted());
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
