//! Events as SES would publish them, for samples.

use serde_json::{Value, json};

use crate::model::EventKind;

/// The event of that kind as SES publishes it. `None`: it has none.
pub(super) fn message(kind: EventKind, address: &str, at: &str) -> Option<Value> {
    let one = json!([{ "emailAddress": address }]);
    let bounce = |kind: &str, sub_type: &str, status: &str, said: &str| {
        let bounced = json!([{ "emailAddress": address, "action": "failed", "status": status,
            "diagnosticCode": said }]);
        let part = json!({ "bounceType": kind, "bounceSubType": sub_type, "timestamp": at,
            "feedbackId": format!("sample-{at}"), "bouncedRecipients": bounced });
        ("Bounce", "bounce", part)
    };
    let (word, field, part) = match kind {
        EventKind::HardBounce => {
            bounce("Permanent", "General", "5.1.1", "smtp; 550 5.1.1 user unknown")
        }
        EventKind::SoftBounce => {
            bounce("Transient", "MailboxFull", "4.2.2", "smtp; 452 4.2.2 mailbox full")
        }
        EventKind::Blocked => {
            bounce("Transient", "ContentRejected", "5.6.0", "smtp; 550 5.6.0 rejected")
        }
        EventKind::Rejected => bounce("Permanent", "OnAccountSuppressionList", "5.1.1", ""),
        EventKind::Complaint => {
            let feedback = format!("sample-{at}");
            let part = json!({ "complainedRecipients": one, "timestamp": at,
                "feedbackId": feedback, "complaintFeedbackType": "abuse" });
            ("Complaint", "complaint", part)
        }
        EventKind::Delivered => {
            let part = json!({ "recipients": [address], "timestamp": at,
                "smtpResponse": "250 2.0.0 OK" });
            ("Delivery", "delivery", part)
        }
        EventKind::Unsubscribed => {
            let part = json!({ "timestamp": at,
                "newTopicPreferences": { "unsubscribeAll": true } });
            ("Subscription", "subscription", part)
        }
        EventKind::Resubscribed => {
            let part = json!({ "timestamp": at,
                "oldTopicPreferences": { "unsubscribeAll": true },
                "newTopicPreferences": { "unsubscribeAll": false } });
            ("Subscription", "subscription", part)
        }
        EventKind::Accepted => ("Send", "send", json!({})),
        EventKind::Deferred => {
            let delayed = json!([{ "emailAddress": address, "status": "4.2.2",
                "diagnosticCode": "smtp; 452 4.2.2 mailbox full" }]);
            let part = json!({ "timestamp": at, "delayType": "MailboxFull",
                "delayedRecipients": delayed });
            ("DeliveryDelay", "deliveryDelay", part)
        }
        EventKind::Failed => ("Reject", "reject", json!({ "reason": "Bad content" })),
        EventKind::Opened => ("Open", "open", json!({ "timestamp": at, "userAgent": "sample" })),
        EventKind::Clicked => {
            let part = json!({ "timestamp": at, "link": "https://example.com/",
                "userAgent": "sample" });
            ("Click", "click", part)
        }
        EventKind::Listed | EventKind::Unlisted | EventKind::Unknown => return None,
    };
    let mail = json!({ "timestamp": at, "messageId": format!("sample-{at}"),
        "source": "sender@example.com", "destination": [address] });
    let mut message = json!({ "eventType": word, "mail": mail });
    message[field] = part;
    Some(message)
}
