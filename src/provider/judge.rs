//! Why a message failed: judged here once, for every provider, for webhooks, polls and lists alike.
//!
//! Adapters say what they know (`Failure`) and by which kind the provider calls it; none of them
//! decides. An administrator's rows come before the rules of the program.

use std::sync::LazyLock;

use crate::model::{Class, Event, EventKind, Reason};
use crate::verdict::own::{self, OwnRow, Teller};
use crate::verdict::{Reply, Rulebook};

/// The rules of the program, read once.
static BOOK: LazyLock<Rulebook> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "a test reads the same files")]
    Rulebook::built_in().expect("the rules of the program can be used")
});

/// What judges failures: the rules of the program, and an administrator's rows.
#[derive(Clone, Debug, Default)]
pub struct Judge {
    /// An administrator's rows, which are looked at first.
    pub own: Vec<OwnRow>,
    /// The rules say how long an entry on a provider's list counts, whatever the provider does.
    pub listed_by_rule: bool,
}

impl Judge {
    /// Judges an event that tells of a failure, and leaves any other as it is.
    ///
    /// The class decides between `hard_bounce`, `soft_bounce` and `blocked`, whichever of them the
    /// provider calls it. What is still tried, what failed at the provider, and what it lists has a
    /// class too and keeps its kind; but a list of bounces proves nothing where the reply says that
    /// the address is not dead. What was not sent for what is on the provider's list has failed
    /// nowhere, and has no class, whatever that list's own text is about.
    pub fn judge(&self, event: &mut Event) {
        if event.kind == EventKind::Rejected {
            event.failure = None;
        }
        let Some(failure) = &event.failure else { return };
        let text = failure.said.as_deref().or(event.diagnostic.as_deref()).unwrap_or("");
        // Where no server is quoted, no code is one that a server gave.
        let is_quoted = failure.said.as_deref() != Some("");
        let smtp = event.smtp_code.filter(|_| is_quoted);
        let enhanced = event.enhanced_code.as_deref().filter(|_| is_quoted);
        let reply = Reply { smtp, enhanced, text };
        let teller = Teller { provider: Some(&event.provider), source: Some(&event.source) };
        let by_us = own::judge(&self.own, teller, &reply);
        let own_row = by_us.is_some();
        let words = || failure.words.iter().map(String::as_str);
        let (judgement, kind) = by_us.unwrap_or_else(|| {
            let judgement = BOOK.judge_told(&event.provider, words(), &reply);
            let kind = BOOK.kind(&event.provider, words(), judgement.class);
            (judgement, kind)
        });
        // What the provider calls soft counts as such, explained or not. Which kind an adapter
        // gives a failure that is to be judged, says nothing of that.
        let unexplained =
            judgement.class == Class::Unexplained && !BOOK.calls_soft(&event.provider, words());
        match event.kind {
            EventKind::HardBounce | EventKind::SoftBounce | EventKind::Blocked => event.kind = kind,
            EventKind::Failed if own_row => event.kind = kind,
            EventKind::Listed if event.reason == Some(Reason::HardBounce) => {
                let dead = kind == EventKind::HardBounce || judgement.class == Class::Unexplained;
                event.reason = event.reason.filter(|_| dead);
            }
            _ => {}
        }
        if let Some(failure) = &mut event.failure {
            failure.unexplained = unexplained;
            failure.judgement = Some(judgement);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Address, Failure, Origin, SourceName, Time};
    use crate::provider::{Notification, Stamp};
    use crate::verdict::own::Words;

    fn event(kind: EventKind, smtp: u16, enhanced: &str, text: &str) -> Event {
        let source = SourceName::parse("acme").unwrap();
        let at = Time::from_seconds(1);
        let stamp = Stamp { source: &source, origin: Origin::Webhook, feed: "", received_at: at };
        let address = Address::parse("a@x.test").unwrap();
        Event {
            smtp_code: Some(smtp).filter(|code| *code > 0),
            enhanced_code: Some(enhanced.to_owned()).filter(|code| !code.is_empty()),
            diagnostic: Some(text.to_owned()).filter(|text| !text.is_empty()),
            failure: Some(Failure::of([kind.as_str()])),
            ..stamp.event("generic", kind, kind.as_str().to_owned(), address, at)
        }
    }

    #[test]
    fn the_class_decides_between_the_kinds_of_failure_and_no_others() {
        use EventKind::{Blocked, Deferred, Failed, HardBounce, Listed, SoftBounce};
        for (told, smtp, enhanced, text, kind, class) in [
            (HardBounce, 550, "5.1.1", "no such user", HardBounce, Class::NoMailbox),
            // Soft by its word and dead by the reply: neither is proven.
            (SoftBounce, 550, "5.1.1", "no such user", SoftBounce, Class::Unexplained),
            (SoftBounce, 554, "", "message considered spam", Blocked, Class::Content),
            (Blocked, 550, "5.1.1", "no such user", Blocked, Class::Policy),
            (HardBounce, 550, "5.7.26", "", Blocked, Class::Authentication),
            (HardBounce, 552, "5.2.2", "over quota", SoftBounce, Class::Full),
            (HardBounce, 550, "", "550 refused", SoftBounce, Class::Unexplained),
            // No server is quoted: the sender of the event says so by itself.
            (HardBounce, 550, "", "", HardBounce, Class::NoMailbox),
            (HardBounce, 0, "", "", HardBounce, Class::NoMailbox),
            (HardBounce, 452, "4.2.2", "", SoftBounce, Class::Full),
            (SoftBounce, 0, "", "", SoftBounce, Class::Expired),
            (Deferred, 550, "5.1.1", "no such user", Deferred, Class::NoMailbox),
            (Failed, 550, "5.1.1", "no such user", Failed, Class::NoMailbox),
            (Listed, 550, "5.7.1", "blocked using zen.spamhaus.org", Listed, Class::Reputation),
        ] {
            let mut event = event(told, smtp, enhanced, text);
            Judge::default().judge(&mut event);
            assert_eq!((event.kind, event.class()), (kind, Some(class)), "{told} {smtp} {text:?}");
        }
    }

    /// A failure as a provider tells it, in its words, and what is said.
    fn told(provider: &str, words: &[&str], text: &str) -> Event {
        let failure = Some(Failure::of(words.iter().copied()));
        let event = event(EventKind::SoftBounce, 0, "", text);
        let mut event = Event { provider: provider.into(), failure, ..event };
        Judge::default().judge(&mut event);
        event
    }

    fn is_unexplained(event: &Event) -> bool {
        event.failure.as_ref().is_some_and(|failure| failure.unexplained)
    }

    /// Whatever kind an adapter gives what is to be judged.
    #[test]
    fn what_nothing_explains_is_a_soft_bounce_only_where_the_provider_calls_it_so() {
        for (provider, words, soft) in [
            ("sendgrid", &["bounce"][..], false),
            ("sendgrid", &["Unclassified", "blocked"], true),
            ("mailgun", &["generic"], false),
            ("mailgun", &["bounce", "hard"], false),
            ("mailgun", &["bounce", "soft"], true),
            ("amazon-ses", &["Permanent/General", "Permanent"], false),
            ("amazon-ses", &["Transient/General", "Transient"], true),
            ("amazon-ses", &["Transient/New", "Transient"], true),
            ("postmark", &["HardBounce/", "HardBounce"], false),
            ("brevo", &["hard_bounce"], false),
            ("brevo", &["softBounces"], true),
            ("sparkpost", &["1"], false),
            ("sparkpost", &["30"], false),
            ("sparkpost", &["70"], true),
            ("mailjet", &[], false),
            ("mailjet", &["recipient", "soft_bounce"], true),
            ("mandrill", &["hard_bounce/general", "general", "hard_bounce"], false),
            ("mandrill", &["soft_bounce/general", "general", "soft_bounce"], true),
            ("resend", &["Permanent/General", "Permanent"], false),
            ("resend", &["Undetermined/", "Undetermined"], true),
            ("mailersend", &["soft_bounced"], true),
            ("mailtrap", &["other"], false),
            ("mailtrap", &["transientfail"], true),
            ("postal", &["HardFail"], false),
            ("smtp2go", &["soft"], true),
            ("unisender-go", &["err_delivery_failed"], false),
            ("unisender-go", &["err_unknown"], false),
            ("scaleway-tem", &["email_dropped"], false),
            ("forward-email", &["reject/other", "other", "reject"], false),
            ("forward-email", &["defer/other", "other", "defer"], true),
            ("generic", &["hard_bounce"], false),
            ("generic", &["soft_bounce"], true),
            ("custom", &["open hard_bounce"], false),
            ("custom", &["open soft_bounce"], true),
        ] {
            let event = told(provider, words, "550 rejected");
            let counted = (event.kind, is_unexplained(&event));
            assert_eq!(counted, (EventKind::SoftBounce, !soft), "{provider} {words:?}");
        }
    }

    #[test]
    fn what_the_provider_would_try_again_is_no_proof() {
        for (word, text, kind, class) in [
            ("reject/recipient", "550 nope", EventKind::HardBounce, Class::NoMailbox),
            ("defer/recipient", "550 nope", EventKind::SoftBounce, Class::Expired),
            ("slowdown/recipient", "550 5.1.1 nope", EventKind::SoftBounce, Class::Unexplained),
            ("defer/recipient", "550 listed by spamhaus", EventKind::Blocked, Class::Reputation),
            ("defer/capacity", "452 nope", EventKind::SoftBounce, Class::Full),
            ("slowdown/rate", "421 nope", EventKind::Blocked, Class::Rate),
        ] {
            let (action, category) = word.split_once('/').unwrap();
            let event = told("forward-email", &[word, category, action], text);
            assert_eq!((event.kind, event.class()), (kind, Some(class)), "{word} {text}");
            assert!(!is_unexplained(&event), "{word} {text}");
        }
    }

    /// No receiver has refused it, so it counts nowhere, and `classify` says so too.
    #[test]
    fn what_failed_at_the_provider_has_failed() {
        for (provider, word) in [
            ("mailjet", "system issue"),
            ("mailjet", "protocol issue"),
            ("mailjet", "connection issue"),
            ("mailgun", "internal"),
            ("brevo", "error"),
            ("postmark", "InboundError"),
            ("unisender-go", "err_lost"),
            ("elastic-email", "CodeError"),
        ] {
            let event = told(provider, &[word], "");
            assert_eq!((event.kind, event.fact()), (EventKind::Failed, None), "{provider} {word}");
        }
        let now = Time::from_seconds(1_781_519_531);
        let address = Address::parse("user@example.com").unwrap();
        let source = SourceName::parse("acme").unwrap();
        let stamp = Stamp { source: &source, origin: Origin::Webhook, feed: "", received_at: now };
        let mut wrong = Vec::new();
        for provider in crate::provider::ALL {
            let Some(sample) = provider.sample(EventKind::Failed, &address, now) else { continue };
            let (headers, body) = (http::HeaderMap::new(), sample.body.as_slice());
            let sent = Notification { headers: &headers, query: "", body, url: None, now };
            for element in provider.split(&sent) {
                for event in provider.read(&element, &stamp).unwrap() {
                    let words = event.failure.unwrap_or_default().words;
                    let words = words.iter().map(String::as_str);
                    let kind = BOOK.kind(provider.name(), words.clone(), Class::System);
                    if kind != EventKind::Failed {
                        wrong.push((provider.name(), words.collect::<Vec<_>>().join(" ")));
                    }
                }
            }
        }
        assert_eq!(wrong, Vec::<(&str, String)>::new());
    }

    #[test]
    fn a_row_of_ones_own_that_explains_nothing_counts_as_nothing_does() {
        let words = Some(Words::text("nope"));
        let name = "rules.reply[1]".to_owned();
        let own = vec![OwnRow { words, ..OwnRow::of_class(name, Class::Unexplained) }];
        for (told, unexplained) in [(EventKind::HardBounce, true), (EventKind::SoftBounce, false)] {
            let mut event = event(told, 550, "", "550 nope");
            Judge { own: own.clone(), ..Judge::default() }.judge(&mut event);
            assert_eq!((event.kind, is_unexplained(&event)), (EventKind::SoftBounce, unexplained));
        }
    }

    #[test]
    fn what_is_not_sent_for_the_providers_list_has_no_class() {
        let words = Some(Words::text("bounced"));
        let own = OwnRow { words, ..OwnRow::of_class("rules.reply[1]".to_owned(), Class::Full) };
        for own in [vec![], vec![own]] {
            let text = "Not delivering to previously bounced address: 550 5.1.1 no such user";
            let mut event = event(EventKind::Rejected, 550, "5.1.1", text);
            Judge { own, ..Judge::default() }.judge(&mut event);
            assert_eq!((event.kind, event.class()), (EventKind::Rejected, None));
        }
    }

    #[test]
    fn a_list_of_bounces_proves_nothing_against_the_reply() {
        for (text, dead) in [
            ("550 5.1.1 User unknown", true),
            ("550 bounced", true),
            ("", true),
            ("552 5.2.2 Mailbox full", false),
            ("550 5.7.1 blocked using zen.spamhaus.org", false),
        ] {
            let listed = event(EventKind::Listed, 0, "", text);
            let mut listed = Event { reason: Some(Reason::HardBounce), ..listed };
            Judge::default().judge(&mut listed);
            assert_eq!(listed.reason.is_some(), dead, "{text}");
        }
    }

    #[test]
    fn an_administrators_rows_come_first() {
        let row = |text: &str, kind| {
            let words = Some(Words::text(text));
            OwnRow { words, ..OwnRow::of_kind("rules.diagnostics[1]".to_owned(), kind) }
        };
        let own = vec![
            row("over quota", EventKind::HardBounce),
            row("no such user", EventKind::SoftBounce),
        ];
        for (told, text, kind) in [
            (EventKind::SoftBounce, "550 Over Quota", EventKind::HardBounce),
            (EventKind::Blocked, "550 over quota", EventKind::HardBounce),
            (EventKind::Failed, "550 over quota", EventKind::HardBounce),
            (EventKind::HardBounce, "550 5.1.1 No such user", EventKind::SoftBounce),
            (EventKind::Deferred, "450 over quota", EventKind::Deferred),
        ] {
            let mut event = event(told, 550, "", text);
            Judge { own: own.clone(), ..Judge::default() }.judge(&mut event);
            assert_eq!(event.kind, kind, "{told} {text}");
        }
    }
}
