//! The verdict on a failure: from what a server said, and what the provider knows, to a class.
//!
//! The order is this, and the first that speaks decides:
//! 1. the administrator's own rows;
//! 2. what the provider knows itself: its lists, its own refusals;
//! 3. words of the reply that name the cause;
//! 4. a bin into which the provider has sorted the reply, where that names the cause;
//! 5. an enhanced code that is strong by itself (RFC 3463, IANA's registry), the most exact one;
//! 6. words that hint; 7. a weak code; 8. the reply code. What is left is unexplained.
//!
//! Pure: no I/O, no clock. Never looks at the address: what a text echoes is cut out before.

mod class;
mod codes;
mod providers;
mod rulebook;
mod text;
mod tree;

pub use class::{Class, Fault};
pub use codes::{Enhanced, Weight};
pub use rulebook::{CodeRow, Known, Rule, RuleError, Rulebook};
pub use text::Reading;

/// What is known of a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The SMTP reply code.
    pub smtp: Option<u16>,
    /// The enhanced status code.
    pub enhanced: Option<&'a str>,
    /// What the server or the provider said.
    pub text: &'a str,
}

/// What the provider makes of a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Told {
    /// It decided by itself, without a receiver: its list, its DNS, its queue, its rules.
    Own(Class),
    /// It has sorted the receiver's words into a bin that names the cause.
    Sorts(Class),
    /// It repeats that a server refused, or says nothing.
    #[default]
    Mirrors,
}

/// A class, and what says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The class.
    pub class: Class,
    /// The row, the code or the bin that decided: the file below `verdict/rules`, and what in it.
    pub rule: String,
    /// What of the failure it was decided by.
    pub evidence: String,
    /// Where that is documented.
    pub source: String,
}

impl Rulebook {
    /// The providers whose words are known, by name.
    pub fn providers(&self) -> impl Iterator<Item = &str> {
        self.providers.names()
    }

    /// What a provider's own word for a failure is worth. `None`: it documents no such word.
    pub fn told(&self, provider: &str, word: &str) -> Option<Told> {
        self.providers.told(provider, word)
    }

    /// Judges a failure.
    pub fn judge(&self, reply: &Reply<'_>, told: Told) -> Judgement {
        if let Told::Own(class) = told
            && class != Class::Unexplained
        {
            return Judgement::of_provider(class);
        }
        let reading = Reading::of(reply.text);
        let codes = self.codes_of(reply, &reading);
        let word = self.word(reply, &reading, &codes);
        let clear = word.filter(|rule| !rule.weak);
        if let Told::Sorts(class) = told
            && class != Class::Unexplained
            && clear.is_none_or(|rule| !overrules(rule.class, class))
        {
            return Judgement::of_provider(class);
        }
        let code = self.best_code(&codes);
        if let Some(code) = code.filter(|code| code.1.weight == Weight::Final) {
            return Judgement::by_code(code);
        }
        if let Some(rule) = clear {
            return Judgement::by(rule);
        }
        if let Some(code) = code.filter(|code| code.1.weight == Weight::Strong) {
            return Judgement::by_code(code);
        }
        if let Some(rule) = word {
            return Judgement::by(rule);
        }
        if let Some(code) = code.filter(|code| code.1.weight == Weight::Weak) {
            return Judgement::by_code(code);
        }
        let replies = reply.smtp.into_iter().chain(reading.replies);
        let row = replies.filter_map(|reply| self.reply(reply)).max_by_key(|row| row.weight);
        match row.filter(|row| row.weight > Weight::None) {
            Some(row) => Judgement::new(row.class, "replies", row.code.clone(), &row.source),
            None => Judgement::new(Class::Unexplained, "", String::new(), ""),
        }
    }

    /// The enhanced codes: the provider's, and those in the text.
    fn codes_of(&self, reply: &Reply<'_>, reading: &Reading) -> Vec<Enhanced> {
        let given = reply.enhanced.and_then(|text| Enhanced::parse(text.trim()));
        let mut codes: Vec<Enhanced> = reading.codes.clone();
        codes.extend(given);
        codes
    }

    fn word(&self, reply: &Reply<'_>, reading: &Reading, codes: &[Enhanced]) -> Option<&Rule> {
        let replies: Vec<u16> = reply.smtp.into_iter().chain(reading.replies.clone()).collect();
        self.decide(&reading.words, &Known { replies: &replies, codes })
    }

    /// The code that says most: a strong one before a weak one, one that is final before one that
    /// is not.
    fn best_code(&self, codes: &[Enhanced]) -> Option<(Enhanced, &CodeRow)> {
        let rows = codes.iter().filter_map(|code| self.code(*code).map(|row| (*code, row)));
        // The first of the strongest.
        rows.rev().max_by_key(|(_, row)| row.weight)
    }
}

/// Whether words decide against a provider's bin: only where they blame the sender for what the bin
/// takes for a dead address, or the other way round.
fn overrules(words: Class, bin: Class) -> bool {
    words.fault() == Fault::Sender && bin.fault() == Fault::Recipient
}

impl Judgement {
    fn new(class: Class, rule: &str, evidence: String, source: &str) -> Judgement {
        Judgement { class, rule: rule.to_owned(), evidence, source: source.to_owned() }
    }

    fn of_provider(class: Class) -> Judgement {
        Judgement::new(class, "providers", "the provider's own word".to_owned(), "")
    }

    fn by(rule: &Rule) -> Judgement {
        Judgement::new(rule.class, rule.family, rule.phrase.clone(), &rule.source)
    }

    fn by_code((code, row): (Enhanced, &CodeRow)) -> Judgement {
        // A server that says 4 may take the next message: nothing is dead by that alone.
        let class = match row.class.fault() {
            Fault::Recipient if code.class == 4 => Class::Expired,
            _ => row.class,
        };
        let Enhanced { class: first, subject, detail } = code;
        Judgement::new(class, "codes", format!("{first}.{subject}.{detail}"), &row.source)
    }
}

#[cfg(test)]
mod tests;
