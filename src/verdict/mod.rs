//! The verdict on a failure: from what a server said, and what the provider knows, to a class.
//!
//! The order is this, and the first that speaks decides:
//! 1. what the provider knows itself: its DNS, its queue, its own refusals;
//! 2. a bin into which the provider has sorted the reply, where that names the cause; but where
//!    the reply clearly says otherwise, no bin holds against the recipient;
//! 3. codes of the sender's address and of its proofs, whatever the words say, and codes of its
//!    login (530, 534, 535, 538; X.7.8, X.7.11, X.7.12), where words may only tell for what else it
//!    is to blame; 4. words of the reply that name the cause;
//! 5. an enhanced code that is strong by itself (RFC 3463, IANA's registry), the most exact one;
//!    but where it calls the address dead and a hint at something else is nearly all that is said,
//!    the hint;
//! 6. words that hint; 7. a weak code; 8. the provider's word where it quotes no server; 9. the
//!    reply code. What is left is unexplained. An administrator's rows come before all of it.
//!
//! Pure: no I/O, no clock. Never looks at the address: what a text echoes is cut out before.

mod codes;
mod echo;
mod fill;
mod letters;
pub mod own;
mod providers;
mod quoted;
mod recent;
mod rows;
mod rulebook;
mod sentences;
mod text;
mod tree;

pub use codes::{Enhanced, Weight};
pub use rulebook::{CodeRow, Found, Known, Rule, RuleError, Rulebook};
pub use text::Reading;

use crate::model::{Class, EventKind, Fault, Judgement};

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

/// What the provider's own word for a failure is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Told {
    /// It decided by itself, without a receiver: its list, its DNS, its queue, its rules.
    Own(Class),
    /// It has sorted the receiver's words into a bin that names the cause.
    Sorts(Class),
    /// It repeats that a server refused; but where it quotes none, or nothing but a code, this is
    /// its own word. Where it blames the sender, it is so too where the reply explains nothing.
    Alone(Class),
    /// It has judged the receiver's words, but files under it whatever looks final: so it is where
    /// the reply explains nothing.
    Otherwise(Class),
    /// It says itself whose fault it was; the reply only tells the class more exactly.
    Within(Class),
    /// It repeats that a server refused, or says nothing.
    #[default]
    Mirrors,
}

/// What a reply says by its words and codes.
struct Said<'r> {
    /// The row that decides about its words.
    word: Option<Found<'r>>,
    /// The enhanced code that says most.
    code: Option<(Enhanced, &'r CodeRow)>,
    /// The reply code.
    smtp: Option<u16>,
    /// What codes say of the sender's login.
    login: Option<Judgement>,
    /// The server said 4.
    transient: bool,
    /// The server said 4, or that another attempt may succeed.
    passing: bool,
}

impl<'r> Said<'r> {
    /// The row that decides about its words, if it does more than hint.
    fn clear(&self) -> Option<&Found<'r>> {
        self.word.as_ref().filter(|found| !found.rule.weak)
    }
}

impl Rulebook {
    /// The providers whose words are known, by name.
    pub fn providers(&self) -> impl Iterator<Item = &str> {
        self.providers.names()
    }

    /// What a provider's own word for a failure is worth. `None`: it documents no such word.
    pub fn told(&self, provider: &str, word: &str) -> Option<Told> {
        self.providers.word(provider, word).map(|word| word.told)
    }

    /// Whether the provider calls a failure passing by one of its words.
    pub fn calls_soft<'w>(&self, provider: &str, mut words: impl Iterator<Item = &'w str>) -> bool {
        words.any(|word| self.providers.word(provider, word).is_some_and(|word| word.is_soft))
    }

    /// The kind of a failure of that class. What failed at the provider itself is `failed`: no
    /// receiver has refused it.
    pub fn kind<'w>(
        &self,
        provider: &str,
        mut words: impl Iterator<Item = &'w str>,
        class: Class,
    ) -> EventKind {
        let is_failed = |word| self.providers.word(provider, word).is_some_and(|w| w.is_failed);
        if words.any(is_failed) { EventKind::Failed } else { class.kind() }
    }

    /// Judges a failure by what the provider calls it and by what it quotes. Of several words of
    /// the provider the first decides that is more than an echo of the reply.
    pub fn judge_told<'w>(
        &self,
        provider: &str,
        words: impl Iterator<Item = &'w str>,
        reply: &Reply<'_>,
    ) -> Judgement {
        let known = words.filter_map(|word| Some((word, self.told(provider, word)?)));
        let decides = |(_, told): &(&str, Told)| *told != Told::Mirrors;
        let (word, told) = { known }.find(decides).unwrap_or_default();
        let judge = |reading: &Reading| self.judge_read(reply, reading, told);
        let mut judgement = self.recent.judge(reply, Reading::of(reply.text), told, judge);
        if judgement.rule == PROVIDERS {
            judgement.evidence = format!("{provider}: {word}");
        }
        judgement
    }

    /// Judges a failure by what an event shows as the provider's kind, such as
    /// `Bounce/Permanent/NoEmail`: the provider's words for it stand there, and others beside them.
    pub fn judge_shown(
        &self,
        provider: &str,
        kind: &str,
        reply: &Reply<'_>,
    ) -> (Judgement, EventKind) {
        let words = providers::words_in(kind);
        let words = || words.iter().map(String::as_str);
        let judgement = self.judge_told(provider, words(), reply);
        let kind = self.kind(provider, words(), judgement.class);
        (judgement, kind)
    }

    /// Judges a failure.
    pub fn judge(&self, reply: &Reply<'_>, told: Told) -> Judgement {
        self.judge_read(reply, &Reading::of(reply.text), told)
    }

    /// Judges a failure whose text is read.
    fn judge_read(&self, reply: &Reply<'_>, reading: &Reading, told: Told) -> Judgement {
        let judgement = self.judge_in_order(reply, reading, told);
        match told {
            // What it calls passing and the reply calls dead is neither, for all that is known.
            Told::Within(class) if !narrows(judgement.class, class) => {
                let contradicts = is_dead(judgement.class) && class.fault() == Fault::Passing;
                Judgement::of_provider(if contradicts { Class::Unexplained } else { class })
            }
            _ => judgement,
        }
    }

    fn judge_in_order(&self, reply: &Reply<'_>, reading: &Reading, told: Told) -> Judgement {
        if let Told::Own(class) = told
            && class != Class::Unexplained
        {
            return Judgement::of_provider(class);
        }
        let said = self.said(reply, reading);
        let Said { code, transient, passing, .. } = said;
        if let Told::Sorts(class) = told
            && class != Class::Unexplained
            && let Some(judgement) = self.judge_by_bin(class, &said)
        {
            return judgement;
        }
        if reply.agrees(reading) {
            return self.judge_by_reply(reply, &[], reading.tells_nothing(), told);
        }
        if let Some(code) = code.filter(|code| code.1.weight == Weight::Final) {
            return Judgement::by_code(code, transient || reading.says_later());
        }
        let is_sender = |found: &&Found<'_>| found.class(passing).fault() == Fault::Sender;
        if let Some(login) = said.login.clone() {
            let blamed = said.clear().filter(is_sender);
            return blamed.map_or(login, |found| Judgement::by(found, passing));
        }
        if let Some(found) = said.clear() {
            return Judgement::by(found, passing);
        }
        // A hint that tells nothing says less than a code does.
        let hint = said.word.as_ref().filter(|found| found.rule.class != Class::Unexplained);
        let outspoken = |row: &CodeRow| {
            let few = reading.word_count() <= OUTSPOKEN_WORDS_MAX;
            let hint = hint.filter(|_| few && !passing && is_dead(row.class));
            hint.is_some_and(|found| !is_dead(found.rule.class))
        };
        let strong = code.filter(|code| code.1.weight == Weight::Strong);
        if let Some(code) = strong.filter(|code| !outspoken(code.1)) {
            return Judgement::by_code(code, transient || reading.says_later());
        }
        if let Some(found) = hint {
            return Judgement::by(found, passing);
        }
        if let Some(code) = code.filter(|code| code.1.weight == Weight::Weak) {
            return Judgement::by_code(code, transient || reading.says_later());
        }
        match &said.word {
            Some(found) => Judgement::by(found, passing),
            None => self.judge_by_reply(reply, &reading.replies, reading.tells_nothing(), told),
        }
    }

    /// What a reply says by its words and codes.
    fn said(&self, reply: &Reply<'_>, reading: &Reading) -> Said<'_> {
        let codes = self.codes_of(reply, reading);
        let word = self.word(reply, reading, &codes);
        let transient = reply.is_transient(reading);
        let passing = transient || reading.ends_transient() || reading.says_later();
        let code = self.best_code(&codes);
        let smtp = reply.smtp.or(reading.replies.first().copied());
        let login = self.of_the_login(smtp, code);
        Said { word, code, smtp, login, transient, passing }
    }

    /// By a bin into which the provider has sorted the reply, unless that says clearly otherwise.
    fn judge_by_bin(&self, class: Class, said: &Said<'_>) -> Option<Judgement> {
        let Said { code, smtp, transient, passing, .. } = *said;
        let coded = |least| code.filter(|(_, row)| row.weight >= least).map(|(_, row)| row.class);
        let worded = said.clear().map(|found| found.class(passing));
        let hinted = said.word.as_ref().map(|found| found.class(passing));
        let aside = || self.of_the_letter_or_room(smtp, code);
        let blamed = said.login.as_ref().map(|judgement| judgement.class);
        let other = coded(Weight::Final).or(blamed).or(worded).or(coded(Weight::Strong));
        let other = other.or_else(|| aside().filter(|_| !hinted.is_some_and(is_dead)));
        let contradicts = match (class.fault(), other.map(Class::fault)) {
            (Fault::Recipient, Some(Fault::Sender | Fault::Passing)) => true,
            (Fault::Recipient, _) => transient,
            (Fault::Passing, Some(fault)) => fault == Fault::Sender,
            _ => false,
        };
        // How it is dead, the words may tell more exactly.
        let exact = said.clear().filter(|_| is_dead(class) && worded.is_some_and(is_dead));
        let by_words = |found| Judgement::by(found, passing);
        let judgement = || exact.map_or_else(|| Judgement::of_provider(class), by_words);
        (!contradicts).then(judgement)
    }

    /// What codes say of the sender's own login (RFC 4954): no account that is unknown or shut then
    /// is the recipient's.
    fn of_the_login(
        &self,
        smtp: Option<u16>,
        code: Option<(Enhanced, &CodeRow)>,
    ) -> Option<Judgement> {
        let row = || self.reply(smtp?).filter(|row| row.weight == Weight::Blame);
        let code = code.filter(|(_, row)| row.weight == Weight::Blame);
        code.map(|code| Judgement::by_code(code, false)).or_else(|| row().map(Judgement::by_reply))
    }

    /// What codes say that are too weak to speak for themselves, and that no dead address has:
    /// those of what the letter is like (X.6), and 552, which is about room.
    fn of_the_letter_or_room(
        &self,
        smtp: Option<u16>,
        code: Option<(Enhanced, &CodeRow)>,
    ) -> Option<Class> {
        let letter = code.filter(|(code, _)| code.subject == 6).map(|(_, row)| row.class);
        let room = || self.reply(smtp.filter(|code| *code == 552)?).map(|row| row.class);
        letter.or_else(room)
    }

    /// By the reply code, or by the provider's own word where it stands alone: no server is quoted,
    /// or no more of it than a code. That word yields to a code that tells of a mailbox which may
    /// take the next message.
    fn judge_by_reply(
        &self,
        reply: &Reply<'_>,
        said: &[u16],
        is_alone: bool,
        told: Told,
    ) -> Judgement {
        let replies = reply.smtp.into_iter().chain(said.iter().copied());
        let row = replies.filter_map(|reply| self.reply(reply)).max_by_key(|row| row.weight);
        let row = row.filter(|row| row.weight > Weight::None);
        let passing = row.is_some_and(|row| row.class.fault() == Fault::Passing);
        match (told, row) {
            (Told::Alone(class), _) if is_alone && !passing || class.fault() == Fault::Sender => {
                Judgement::of_provider(class)
            }
            (_, Some(row)) => Judgement::by_reply(row),
            (Told::Otherwise(class), None) => Judgement::of_provider(class),
            (_, None) => Judgement::new(Class::Unexplained, "", String::new(), ""),
        }
    }

    /// The enhanced codes: the provider's, and those in the text.
    fn codes_of(&self, reply: &Reply<'_>, reading: &Reading) -> Vec<Enhanced> {
        let given = reply.enhanced.and_then(|text| Enhanced::parse(text.trim()));
        reading.codes.iter().copied().chain(given).collect()
    }

    fn word(&self, reply: &Reply<'_>, reading: &Reading, codes: &[Enhanced]) -> Option<Found<'_>> {
        let replies: Vec<u16> =
            reply.smtp.into_iter().chain(reading.replies.iter().copied()).collect();
        self.decide(&reading.words, &Known { replies: &replies, codes })
    }

    /// The code that says most: a strong one before a weak one, one that is final before one that
    /// is not.
    fn best_code(&self, codes: &[Enhanced]) -> Option<(Enhanced, &CodeRow)> {
        let rows = codes.iter().filter_map(|code| self.code(*code).map(|row| (*code, row)));
        // The first of the strongest; but the general one of a subject says least.
        rows.rev().max_by_key(|(code, row)| (row.weight, code.detail > 0))
    }
}

/// The rule of a judgement by the provider's own word.
const PROVIDERS: &str = "providers";

/// Most words of a text that says little else than a hint. Where all that is said is "server busy",
/// it is no slip that another code stands beside it; in a long text a hint may speak of anything.
const OUTSPOKEN_WORDS_MAX: usize = 10;

fn is_dead(class: Class) -> bool {
    class.fault() == Fault::Recipient
}

/// Whether a class says more exactly what another one says.
fn narrows(class: Class, other: Class) -> bool {
    class.fault() == other.fault()
        || class.fault() == Fault::Sender && other.fault() == Fault::Passing
}

impl Reply<'_> {
    /// Whether the server has agreed, for all that it said: no word of it tells then why it failed.
    fn agrees(&self, reading: &Reading) -> bool {
        let given = self.enhanced.and_then(|text| Enhanced::parse(text.trim()));
        let by_code = self.smtp.is_some_and(|code| (200..300).contains(&code));
        let refuses = self.smtp.is_some_and(|code| code >= 400)
            || given.is_some_and(|code| code.class != 2)
            || !reading.replies.is_empty();
        !refuses && (by_code || reading.agrees())
    }

    /// Whether the server said 4, which asks to try again.
    fn is_transient(&self, reading: &Reading) -> bool {
        let given = self.enhanced.and_then(|text| Enhanced::parse(text.trim()));
        let smtp = self.smtp.or(reading.replies.first().copied());
        match smtp {
            Some(code) => (400..500).contains(&code),
            None => given.or(reading.codes.first().copied()).is_some_and(|code| code.class == 4),
        }
    }
}

impl Judgement {
    fn new(class: Class, rule: &str, evidence: String, source: &str) -> Judgement {
        Judgement { class, rule: rule.to_owned(), evidence, source: source.to_owned() }
    }

    fn of_provider(class: Class) -> Judgement {
        Judgement::new(class, PROVIDERS, "the provider's own word".to_owned(), "")
    }

    fn by(found: &Found<'_>, passing: bool) -> Judgement {
        let rule = found.rule;
        Judgement::new(found.class(passing), rule.family, found.evidence(), &rule.source)
    }

    fn by_reply(row: &CodeRow) -> Judgement {
        Judgement::new(row.class, "replies", row.code.clone(), &row.source)
    }

    fn by_code((code, row): (Enhanced, &CodeRow), passing: bool) -> Judgement {
        // A server that says 4, or "later", may take the next message: nothing is dead by that.
        let class = match row.class.fault() {
            Fault::Recipient if code.class == 4 || passing => Class::Expired,
            _ => row.class,
        };
        let Enhanced { class: first, subject, detail } = code;
        Judgement::new(class, "codes", format!("{first}.{subject}.{detail}"), &row.source)
    }
}

#[cfg(test)]
mod tests;
