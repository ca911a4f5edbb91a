//! How long an entry on a provider's own list lasts, where neither the entry nor a row of the list
//! tells: as long as the provider keeps it, and not for ever.
//!
//! An entry that a list still has beyond that lasts while it is there: it is told with every look.

use std::time::Duration;

use crate::model::{Event, EventKind, Origin, Reason, Time};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Providers, a word of what they tell of the entry (empty: any), for how many days they keep it
/// (none: until somebody removes it), and where that is documented. The first row that fits counts.
/// Of any other provider an entry lasts as long as `rules.provider_listed` says.
const KEPT: &[(&str, &str, Option<u32>, &str)] = &[
    ("postal", "", Some(30), "Postal's suppression list (`app/models/suppression.rb`)"),
    ("scaleway-tem", "", Some(31), "Manage blocklists: one week, the next time one month"),
    ("smtp2go", "spam", None, "Understanding hard bounces: complaints stay"),
    ("smtp2go", "complain", None, "the same"),
    ("smtp2go", "unsubscri", None, "Understanding hard bounces: unsubscriptions stay"),
    ("smtp2go", "", Some(7), "Understanding hard bounces: seven days"),
    ("unisender-go", "err_unsubscribed", None, "UniOne, suppression list"),
    ("unisender-go", "ok_spam_folder", None, "counted as a complaint"),
    ("unisender-go", "temporary_unavailable", Some(3), "UniOne, suppression list: three days"),
    ("unisender-go", "err_skip_letter", Some(3), "out of reach for now"),
    ("unisender-go", "err_not_available", Some(3), "out of reach for now"),
    ("unisender-go", "skip_dup_temp_unreachable", Some(3), "out of reach for now"),
    ("unisender-go", "skip_dup_mailbox_full", Some(3), "out of reach for now"),
    ("unisender-go", "", Some(183), "UniOne, suppression list: up to six months"),
];

/// How long an entry that a list still had is believed without another look: lists are read daily.
const SEEN: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// Gives an event that tells of a provider's list the end of the entry, unless it has one.
pub(super) fn end(event: &mut Event) {
    let of_a_list = matches!(event.kind, EventKind::Listed | EventKind::Rejected);
    let is_listing = of_a_list && event.reason.is_none_or(|why| why == Reason::ProviderListed);
    if !is_listing || event.until.is_some() || event.origin == Origin::Operator {
        return;
    }
    let told = format!("{} {}", event.provider_kind, event.diagnostic.as_deref().unwrap_or(""));
    let told = told.to_lowercase();
    let kept = KEPT
        .iter()
        .find(|(provider, word, ..)| *event.provider == **provider && told.contains(word));
    let Some((_, _, Some(days), _)) = kept else { return };
    let by_term = event.at.plus(*days * DAY);
    // By the day, so that a row that stays is not another each time.
    let day = event.received_at.second().div_euclid(86_400) * 86_400;
    let still = Time::from_seconds(day).plus(SEEN + DAY);
    let is_row = event.kind == EventKind::Listed && event.origin == Origin::Poll;
    event.until = Some(if is_row && still.nanos() > by_term.nanos() { still } else { by_term });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Address, SourceName};
    use crate::provider::Stamp;

    fn days(provider: &'static str, kind: EventKind, origin: Origin, age: u32) -> Option<u64> {
        days_told(provider, "", kind, origin, age)
    }

    fn days_told(
        provider: &'static str,
        word: &str,
        kind: EventKind,
        origin: Origin,
        age: u32,
    ) -> Option<u64> {
        let source = SourceName::parse("acme").unwrap();
        let received_at = Time::from_seconds(20_000 * 86_400);
        let stamp = Stamp { source: &source, origin, feed: "", received_at };
        let address = Address::parse("a@x.test").unwrap();
        let at = received_at.minus(age * DAY);
        let mut event = stamp.event(provider, kind, word.to_owned(), address, at);
        end(&mut event);
        event.until.map(|until| until.since(received_at).as_secs() / 86_400)
    }

    #[test]
    fn an_entry_lasts_as_long_as_the_provider_keeps_it() {
        use EventKind::{HardBounce, Listed, Rejected};
        for (provider, kind, origin, age, left) in [
            ("smtp2go", Rejected, Origin::Webhook, 0, Some(7)),
            ("smtp2go", Rejected, Origin::Webhook, 3, Some(4)),
            ("smtp2go", Listed, Origin::Poll, 0, Some(7)),
            // It is there for longer: then it stays while it is seen.
            ("smtp2go", Listed, Origin::Poll, 100, Some(3)),
            ("smtp2go", Rejected, Origin::Webhook, 100, Some(0)),
            ("smtp2go", HardBounce, Origin::Webhook, 0, None),
            ("sendgrid", Rejected, Origin::Webhook, 0, None),
            ("postal", Rejected, Origin::Webhook, 0, Some(30)),
        ] {
            assert_eq!(days(provider, kind, origin, age), left, "{provider} {kind} {age}");
        }
        for (word, kind, left) in [
            ("hard_bounced:err_unsubscribed", Rejected, None),
            ("spam:ok_spam_folder", Listed, None),
            ("hard_bounced:skip_dup_other", Rejected, Some(183)),
            ("hard_bounced:skip_dup_mailbox_full", Rejected, Some(3)),
            ("temporary_unavailable", Listed, Some(3)),
        ] {
            let days = days_told("unisender-go", word, kind, Origin::Webhook, 0);
            assert_eq!(days, left, "{word}");
        }
        let word = "reject: Recipient has made a spam complaint";
        let days = days_told("smtp2go", word, Rejected, Origin::Webhook, 0);
        assert_eq!(days, None, "SMTP2GO keeps who has complained");
    }
}
