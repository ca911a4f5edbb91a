//! The rules held against their own examples, and the laws of reading.

use proptest::prelude::*;

use super::*;

fn book() -> Rulebook {
    Rulebook::built_in().unwrap()
}

fn text(text: &str) -> Reply<'_> {
    Reply { smtp: None, enhanced: None, text }
}

#[test]
fn every_row_decides_its_example() {
    let book = book();
    let mut wrong = Vec::new();
    for rule in book.rules() {
        let judged = book.judge(&text(&rule.example), Told::Mirrors);
        if judged.class != rule.class {
            let Judgement { class, rule: by, evidence, .. } = judged;
            let Rule { family, phrase, class: own, .. } = rule;
            wrong.push(format!(
                "{family}: {phrase:?} is {own}, decided {class} by {by}: {evidence}"
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// A phrase with groups is a thousand phrases: none of them may blame somebody else.
#[test]
fn every_way_to_say_a_phrase_blames_the_same() {
    let book = book();
    let plain = |rule: &&Rule| {
        let grouped = rule.phrase.contains('{') && !rule.phrase.contains('*');
        grouped && !rule.weak && !rule.whole && !rule.named && rule.with.is_empty()
    };
    let groups = groups();
    let mut wrong = Vec::new();
    for rule in book.rules().iter().filter(plain) {
        let ways = ways(&rule.phrase, &groups);
        for words in ways.iter().step_by(1 + ways.len() / WAYS_TRIED) {
            let judged = book.judge(&text(words), Told::Mirrors);
            let known = [Some(rule.class), rule.soft].into_iter().flatten();
            if known.map(Class::fault).all(|fault| judged.class.fault() != fault) {
                let Judgement { class, evidence, .. } = judged;
                wrong.push(format!("{words:?} is {}, decided {class} by {evidence}", rule.class));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// A tongue in which an address can be dead has the sender's words too: where they stand in front,
/// they decide.
#[test]
fn every_tongue_with_a_dead_address_knows_the_sender() {
    let (book, groups) = (book(), groups());
    let dead = |rule: &&Rule| rule.family == "tongues" && rule.class == Class::NoMailbox;
    let mut wrong = Vec::new();
    for tongue in groups.keys().filter_map(|name| name.strip_suffix("_box")) {
        let ends = |rule: &&&Rule| rule.phrase.contains(&format!("{{{tongue}_box}}"));
        let rules: Vec<&Rule> = book.rules().iter().filter(dead).collect();
        let phrase = rules.iter().find(ends).map_or("", |rule| &rule.example);
        let space = if matches!(tongue, "zh" | "ja") { "" } else { " " };
        for sender in &groups[&format!("{tongue}_sender")] {
            for refused in &groups[&format!("{tongue}_forbidden")] {
                let said = format!("{sender}{space}{refused}: {phrase}");
                let judged = book.judge(&text(&said), Told::Mirrors);
                if phrase.is_empty() || judged.class.fault() != Fault::Sender {
                    wrong.push(format!("{said:?} is {} by {}", judged.class, judged.evidence));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

type Groups = std::collections::BTreeMap<String, Vec<String>>;

fn groups() -> Groups {
    rulebook::FILES
        .iter()
        .filter_map(|(_, text)| toml::from_str::<toml::Table>(text).unwrap().remove("group"))
        .flat_map(|table| table.try_into::<toml::Table>().unwrap())
        .map(|(name, words)| (name, words.try_into().unwrap()))
        .collect()
}

/// Most ways to say a phrase that are tried.
const WAYS_TRIED: usize = 40;

/// A phrase with one word of each of its groups, in every way.
fn ways(phrase: &str, groups: &Groups) -> Vec<String> {
    let Some((before, rest)) = phrase.split_once('{') else { return vec![phrase.to_owned()] };
    let (name, after) = rest.split_once('}').unwrap();
    let behind = ways(after, groups);
    let with = |word: &String| -> Vec<String> {
        behind.iter().map(|after| format!("{before}{word}{after}")).collect()
    };
    groups[name].iter().flat_map(with).collect()
}

/// What is said of a dead address, of a mailbox or a way in trouble, and of a sender, in words of
/// no server and of many: H, S or B, and the text.
#[test]
fn statements_are_read_in_any_words_and_tongue() {
    let book = book();
    let files = [
        include_str!("../../tests/fixtures/verdict/statements.tsv"),
        include_str!("../../tests/fixtures/verdict/replies.tsv"),
        include_str!("../../tests/fixtures/verdict/wordings.tsv"),
        include_str!("../../tests/fixtures/verdict/carried.tsv"),
        include_str!("../../tests/fixtures/verdict/kinds.tsv"),
    ];
    let mut wrong = Vec::new();
    for row in files.iter().flat_map(|rows| rows.lines()).filter(|row| !row.starts_with('#')) {
        let columns: Vec<&str> = row.split('\t').collect();
        let &[truth, smtp, enhanced, said] = &*columns else { panic!("{row}") };
        let (smtp, enhanced) = (smtp.parse().ok(), Some(enhanced).filter(|code| !code.is_empty()));
        let judged = book.judge(&Reply { smtp, enhanced, text: said }, Told::Mirrors);
        let letter = match judged.class.fault() {
            Fault::Recipient => "H",
            Fault::Passing => "S",
            Fault::Sender => "B",
            Fault::Unknown => "U",
        };
        if !truth.contains(letter) {
            wrong.push(format!("{truth}: {said:?} is {}: {}", judged.class, judged.evidence));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_file_of_rules_is_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/verdict/rules");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut there: Vec<String> = files
        .filter_map(|name| Some(name.to_str()?.strip_suffix(".toml")?.to_owned()))
        .filter(|name| name != "providers")
        .collect();
    there.sort();
    let read: Vec<&str> = rulebook::FILES.iter().map(|(name, _)| *name).collect();
    assert_eq!(there, read);
}

#[test]
fn no_phrase_stands_twice() {
    let book = book();
    let mut seen = std::collections::HashMap::new();
    for rule in book.rules() {
        let words = Reading::plain(&rule.phrase);
        let key = (words, rule.weak, rule.rank, rule.conditions());
        if let Some(other) = seen.insert(key, rule.family) {
            panic!("{:?} stands in {other} and in {}", rule.phrase, rule.family);
        }
    }
}

#[test]
fn the_order_is_this() {
    let book = book();
    let own = Told::Own;
    let sorts = Told::Sorts;
    for (told, smtp, enhanced, said, class) in [
        // Words decide over codes that say something else.
        (Told::Mirrors, 550, "5.7.1", "User unknown", Class::NoMailbox),
        (Told::Mirrors, 550, "5.1.1", "sender is blacklisted", Class::Policy),
        (
            Told::Mirrors,
            550,
            "5.2.1",
            "is receiving mail at a rate that prevents",
            Class::RecipientRate,
        ),
        // A strong code decides over words that only hint; the most exact one counts.
        (Told::Mirrors, 550, "5.2.2", "denied", Class::Full),
        (Told::Mirrors, 550, "5.0.0", "550 5.7.27 Policy code only", Class::SenderAddress),
        (Told::Mirrors, 550, "5.7.17", "", Class::Moved),
        // Codes of the sender's address, whatever the words speak of.
        (
            Told::Mirrors,
            553,
            "5.1.8",
            "Domain of sender address does not exist",
            Class::SenderAddress,
        ),
        (Told::Mirrors, 550, "5.1.7", "No such domain", Class::SenderAddress),
        // A server that says 4 kills nobody by its code alone.
        (Told::Mirrors, 450, "4.1.1", "", Class::Expired),
        (Told::Mirrors, 421, "", "", Class::System),
        (Told::Mirrors, 550, "", "", Class::Unexplained),
        (Told::Mirrors, 550, "5.7.1", "", Class::Policy),
        // The provider's own knowledge; its bins, unless the words blame the sender.
        (own(Class::Expired), 550, "5.1.1", "User unknown", Class::Expired),
        (sorts(Class::NoMailbox), 550, "5.7.1", "rejected", Class::NoMailbox),
        (
            sorts(Class::NoMailbox),
            550,
            "5.7.1",
            "blocked using zen.spamhaus.org",
            Class::Reputation,
        ),
        (sorts(Class::Reputation), 550, "", "", Class::Reputation),
        // How it is dead, the words tell more exactly.
        (sorts(Class::NoMailbox), 0, "", "Host or domain name not found", Class::NoDomain),
        (sorts(Class::NoMailbox), 550, "", "account disabled", Class::Disabled),
        (sorts(Class::NoMailbox), 450, "", "Host or domain name not found", Class::Dns),
        (sorts(Class::NoMailbox), 552, "5.2.2", "", Class::Full),
        (sorts(Class::NoMailbox), 450, "4.2.0", "", Class::System),
        (sorts(Class::System), 550, "5.7.1", "poor reputation", Class::Reputation),
        (sorts(Class::Full), 550, "5.1.1", "User unknown", Class::Full),
        // What the teller says itself, where it quotes nothing, and where it draws the line.
        (Told::Alone(Class::NoMailbox), 550, "", "", Class::NoMailbox),
        (Told::Alone(Class::NoMailbox), 452, "", "", Class::Full),
        (Told::Alone(Class::NoMailbox), 550, "", "refused", Class::Unexplained),
        // What says more proves no less.
        (Told::Alone(Class::NoMailbox), 0, "", "550", Class::NoMailbox),
        (Told::Alone(Class::NoMailbox), 0, "", "550 5.0.0", Class::NoMailbox),
        (Told::Alone(Class::NoMailbox), 550, "", "hard bounce", Class::NoMailbox),
        (Told::Alone(Class::NoMailbox), 0, "", "Permanent failure", Class::NoMailbox),
        (Told::Alone(Class::NoMailbox), 0, "", "action: failed", Class::NoMailbox),
        (Told::Alone(Class::NoMailbox), 0, "", "undeliverable", Class::NoMailbox),
        (Told::Alone(Class::NoMailbox), 0, "", "450", Class::System),
        (Told::Alone(Class::NoMailbox), 0, "", "550 5.7.1", Class::Policy),
        (Told::Mirrors, 0, "", "550 5.0.0", Class::Unexplained),
        // Of a class, where the reply explains nothing.
        (Told::Otherwise(Class::NoMailbox), 550, "", "rejected", Class::NoMailbox),
        (Told::Otherwise(Class::NoMailbox), 550, "", "", Class::NoMailbox),
        (Told::Otherwise(Class::NoMailbox), 550, "5.7.1", "rejected", Class::Policy),
        (Told::Otherwise(Class::NoMailbox), 550, "", "blocked", Class::Reputation),
        (Told::Otherwise(Class::NoMailbox), 451, "", "rejected", Class::System),
        (Told::Within(Class::Expired), 550, "5.1.1", "User unknown", Class::Unexplained),
        (Told::Within(Class::Expired), 550, "", "refused", Class::Expired),
        (Told::Within(Class::Expired), 552, "5.2.2", "", Class::Full),
        (Told::Within(Class::Policy), 550, "5.1.1", "User unknown", Class::Policy),
        (sorts(Class::Unexplained), 550, "5.1.1", "", Class::NoMailbox),
    ] {
        let enhanced = Some(enhanced).filter(|code| !code.is_empty());
        let smtp = Some(smtp).filter(|code| *code > 0);
        let judged = book.judge(&Reply { smtp, enhanced, text: said }, told);
        assert_eq!(judged.class, class, "{told:?} {smtp:?} {enhanced:?} {said:?}: {judged:?}");
    }
}

/// A code, or a bin, that calls the address dead: what outweighs it.
#[test]
fn what_little_else_is_said_of_outweighs_a_dead_code() {
    let book = book();
    let long =
        "Nobody of that description is in the book of this company, nor was ever; server busy";
    for (told, smtp, enhanced, said, class) in [
        (Told::Mirrors, 550, "5.1.1", "permission denied", Class::Policy),
        (Told::Mirrors, 550, "5.1.1", "Server busy", Class::System),
        (Told::Mirrors, 550, "5.1.1", long, Class::NoMailbox),
        (Told::Mirrors, 450, "4.1.1", "Access denied", Class::Expired),
        (Told::Sorts(Class::NoMailbox), 552, "", "", Class::Full),
        (Told::Sorts(Class::NoMailbox), 552, "", "User unknown", Class::NoMailbox),
        (Told::Sorts(Class::NoMailbox), 550, "5.6.0", "", Class::Content),
        (Told::Sorts(Class::NoMailbox), 550, "5.7.1", "", Class::NoMailbox),
    ] {
        let enhanced = Some(enhanced).filter(|code| !code.is_empty());
        let judged = book.judge(&Reply { smtp: Some(smtp), enhanced, text: said }, told);
        assert_eq!(judged.class, class, "{told:?} {smtp} {enhanced:?} {said:?}: {judged:?}");
    }
}

#[test]
fn a_bin_yields_to_552_that_only_the_text_has() {
    let judged = book().judge(&text("552 refused"), Told::Sorts(Class::NoMailbox));
    assert_eq!(judged.class, Class::Full, "{judged:?}");
}

#[test]
fn no_phrase_goes_over_the_end_of_a_sentence() {
    let book = book();
    for (said, class) in [
        ("550 Invalid recipient", Class::NoMailbox),
        ("550 SPF record invalid. Recipient policy requires SPF", Class::Authentication),
        ("550 DKIM signature invalid, recipient domain requires it", Class::Authentication),
        ("550 User unknown: mailbox", Class::NoMailbox),
        ("550 User unknown. The sender can contact support", Class::NoMailbox),
        ("550 No such user. The message size limit is 20 MB", Class::NoMailbox),
        ("550 User unknown. Your message was rejected as spam", Class::Content),
        ("550 Mailbox disabled. Your IP is blocked", Class::Reputation),
        ("550 user@example.com has been deprovisioned", Class::Disabled),
        ("550 用户不存在。发件人请联系管理员", Class::NoMailbox),
    ] {
        assert_eq!(book.judge(&text(said), Told::Mirrors).class, class, "{said}");
    }
}

/// Words that call an address dead, where no address is called so.
#[test]
fn what_is_asked_denied_or_another_thing_kills_nobody() {
    let book = book();
    for (said, class) in [
        ("550 Is the user unknown? See the help page", Class::Unexplained),
        ("550 (user unknown?)", Class::Unexplained),
        ("550 User unknown. Questions? Write to the postmaster", Class::NoMailbox),
        ("550 ??? user unknown ???", Class::NoMailbox),
        ("550 5.1.1 Is the user unknown?", Class::NoMailbox),
        ("550 The user is not unknown", Class::Unexplained),
        ("550 User unknown, not blocked", Class::NoMailbox),
        ("550 Not a question of spam: user unknown", Class::NoMailbox),
        ("550 no such user events on this host", Class::Unexplained),
        ("550 User unknown: lists are public", Class::NoMailbox),
        ("550 5.1.1 Recipient server unavailable or busy", Class::System),
        ("550 Spamtrap: the address does not exist", Class::Reputation),
        ("250 2.1.5 Recipient OK; user unknown", Class::Unexplained),
        ("252 Cannot verify the user; user unknown", Class::Unexplained),
        ("250 ok; then 550 5.1.1 user unknown", Class::NoMailbox),
    ] {
        let judged = book.judge(&text(said), Told::Mirrors);
        assert_eq!(judged.class, class, "{said}: {judged:?}");
    }
    let agreed = Reply { smtp: Some(250), enhanced: None, text: "user unknown" };
    for (told, class) in [
        (Told::Mirrors, Class::Unexplained),
        (Told::Sorts(Class::NoMailbox), Class::NoMailbox),
        (Told::Own(Class::Expired), Class::Expired),
    ] {
        assert_eq!(book.judge(&agreed, told).class, class, "{told:?}");
    }
    let coded = Reply { enhanced: Some("5.1.1"), ..agreed };
    assert_eq!(book.judge(&coded, Told::Mirrors).class, Class::NoMailbox);
}

#[test]
fn what_a_text_echoes_is_not_read() {
    let book = book();
    for (said, class) in [
        (
            "550 5.1.1 <user@dmarcian.com>: Recipient address rejected: User unknown",
            Class::NoMailbox,
        ),
        (
            "550 5.1.1 <spam.filter@spamcop.net>: Recipient address rejected: User unknown",
            Class::NoMailbox,
        ),
        ("host mx1.spamcop.net said: 550 5.1.1 User unknown", Class::NoMailbox),
        (
            "550 5.1.1 Recipient rejected. No such user. See https://x.test/content-policy-spam",
            Class::NoMailbox,
        ),
        (
            "550 User dkim@example.org does not exist (dmarc.example.net [2001:db8::25])",
            Class::NoMailbox,
        ),
        (
            "550-5.1.1 The email account that you tried to reach\n550 5.1.1 does not exist.",
            Class::NoMailbox,
        ),
        ("550 5.1.0 - Unknown address error 550-'5.7.1 relaying denied'", Class::Relay),
        ("550\u{a0}5.1.1\u{2003}User\u{a0}unknown", Class::NoMailbox),
        ("552 5.2.2 \"full house\"@example.com: mailbox is full", Class::Full),
    ] {
        assert_eq!(book.judge(&text(said), Told::Mirrors).class, class, "{said}");
    }
}

#[test]
fn every_word_of_the_providers_has_a_class() {
    let book = book();
    for (provider, word, told) in [
        ("sendgrid", "Invalid Address", Some(Told::Sorts(Class::NoMailbox))),
        ("amazon-ses", "Permanent/General", Some(Told::Mirrors)),
        ("postmark", "SpamNotification", Some(Told::Sorts(Class::Content))),
        ("sparkpost", "10", Some(Told::Sorts(Class::NoMailbox))),
        ("sparkpost", "nonsense", None),
        ("nobody", "bounce", None),
    ] {
        assert_eq!(book.told(provider, word), told, "{provider} {word}");
    }
    // Those that can say why something failed are all there.
    let without = ["custom", "standard-webhooks"];
    let missing: Vec<&str> = crate::provider::ALL
        .iter()
        .map(|provider| provider.name())
        .filter(|name| !without.contains(name) && !book.providers().any(|known| known == *name))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

/// Texts in which an address and a host are put in the places of `@` and `%`.
const FRAMES: &[&str] = &[
    "550 5.1.1 <@>: Recipient address rejected: User unknown",
    "550 @ unknown user account",
    "host %[192.0.2.1] said: 550 No such user (@)",
    "554 5.7.1 Service unavailable; Client host [%] blocked using %; https://%/query?ip=192.0.2.1",
    "452 4.2.2 <@> Mailbox full",
    "550 5.4.4 @... Host %: Name server: host not found",
    "421 % Service not available for @",
    "550 refused",
    "550 % @",
];

proptest! {
    #[test]
    fn no_address_and_no_host_changes_a_verdict(
        frame in proptest::sample::select(FRAMES),
        local in "[a-zA-Z0-9][a-zA-Z0-9.+_-]{0,20}[a-zA-Z0-9]\
                  |4[0-9]{2}([-_.][a-z0-9.]{0,6}[a-z0-9])?",
        host in "([a-z][a-z0-9-]{0,10}[a-z0-9]\\.){1,3}(com|net|org|de|example|museum)",
    ) {
        let put = |local: &str, host: &str| {
            frame.replace('@', &format!("{local}@{host}")).replace('%', host)
        };
        let book = BOOK.with(std::rc::Rc::clone);
        let (one, other) = (put(&local, &host), put("user", "mx.example.com"));
        let class = |said: &str| book.judge(&text(said), Told::Mirrors).class;
        prop_assert_eq!(class(&one), class(&other), "{} and {}", one, other);
    }

    #[test]
    fn any_text_is_read(said in "\\PC{0,400}", smtp in proptest::option::of(0_u16..1_000)) {
        let book = BOOK.with(std::rc::Rc::clone);
        let judged = book.judge(&Reply { smtp, enhanced: Some(&said), text: &said }, Told::Mirrors);
        prop_assert!(Class::parse(judged.class.as_str()) == Some(judged.class));
    }
}

thread_local! {
    static BOOK: std::rc::Rc<Rulebook> = std::rc::Rc::new(book());
}

#[test]
fn what_was_judged_of_late_is_judged_as_if_for_the_first_time() {
    let book = book();
    let replies = book.rules().iter().flat_map(|rule| {
        let text = &rule.example;
        [None, Some(450), Some(550)].map(|smtp| Reply { smtp, enhanced: None, text })
    });
    let replies: Vec<Reply<'_>> = replies.collect();
    assert!(replies.len() > 1_000, "more than are kept");
    for _ in 0..2 {
        for reply in &replies {
            for word in ["", "hard_bounce"] {
                let judged = book.judge_told("generic", [word].into_iter(), reply);
                let told = book.told("generic", word).unwrap_or_default();
                assert_eq!(judged.class, book.judge(reply, told).class, "{reply:?}");
            }
        }
    }
}
