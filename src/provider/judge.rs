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
        let (smtp, enhanced) = (event.smtp_code, event.enhanced_code.as_deref());
        let reply = Reply { smtp, enhanced, text };
        let teller = Teller { provider: Some(&event.provider), source: Some(&event.source) };
        let by_us = own::judge(&self.own, teller, &reply);
        let own_row = by_us.is_some();
        let (judgement, kind) = by_us.unwrap_or_else(|| {
            let words = failure.words.iter().map(String::as_str);
            let judgement = BOOK.judge_told(&event.provider, words, &reply);
            let kind = judgement.class.kind();
            (judgement, kind)
        });
        // What the provider calls soft counts as such, explained or not.
        let unexplained = judgement.class == Class::Unexplained && !own_row;
        let unexplained = unexplained && event.kind != EventKind::SoftBounce;
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
    use crate::provider::Stamp;
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
