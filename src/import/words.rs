//! Words that say why an address is suppressed, or that it is not, as services write them.

use super::cells::plain;
use crate::model::Reason;

/// What a row says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It is suppressed, and why.
    Reason(Reason),
    /// It is of a kind that suppresses nobody, unless a reason is given for all.
    Soft(&'static str),
    /// It is not suppressed.
    Clear,
    /// A word that is not known.
    Unknown(String),
}

/// Words that say why, as they are compared: without case, blanks and marks.
const WORDS: &[(Reason, &str)] = &[
    (
        Reason::HardBounce,
        "hardbounce hardbounces hardbounced hard bounce bounces bounced permanent cleaned \
         unreachable undeliverable bouncerule",
    ),
    (
        Reason::Complaint,
        "complaint complaints complained spam spamcomplaint spamreport spamnotification abuse fbl \
         contactflaggedasspam",
    ),
    (
        Reason::Unsubscribe,
        "unsubscribe unsubscribes unsubscribed unsubscription unsub optout optedout \
         listunsubscribe unsubscribelink unsubscribedviaemail unsubscribedviama unsubscribedviaapi",
    ),
    (Reason::Invalid, "invalid invalidemail invalidaddress bademailaddress"),
    (
        Reason::Manual,
        "manual custom admin adminblocked manuallyadded manualimport manualsuppression \
         manuallydeactivated blocklisted blacklisted",
    ),
    (Reason::ProviderListed, "providerlisted compliance suppressed"),
    (Reason::SoftBounces, "softbounces"),
];

/// Words for what suppresses nobody.
const SOFT: &[(&str, &str)] = &[
    ("a soft bounce", "soft softbounce softbounced transient deferred onhold"),
    ("a block, which is the sender's affair", "block blocks blocked policy"),
];

/// Words for who is mailed.
const CLEAR: &str = "active subscribed enabled disabled confirmed unconfirmed pending valid ok \
    allow allowed allowlisted whitelisted deliverable delivered sent opened clicked resubscribed";

/// What a word says.
pub(super) fn word(text: &str) -> Said {
    let plain = plain(text);
    let is_of = |words: &str| words.split_whitespace().any(|word| word == plain);
    if let Some((reason, _)) = WORDS.iter().find(|(_, words)| is_of(words)) {
        return Said::Reason(*reason);
    }
    if let Some((what, _)) = SOFT.iter().find(|(_, words)| is_of(words)) {
        return Said::Soft(what);
    }
    if is_of(CLEAR) { Said::Clear } else { Said::Unknown(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_our_reasons_is_its_own_word() {
        for reason in Reason::ALL {
            assert_eq!(word(reason.as_str()), Said::Reason(reason));
        }
        assert_eq!(word("Soft-Bounce"), Said::Soft("a soft bounce"));
        assert_eq!(word("Because"), Said::Unknown("Because".to_owned()));
    }
}
