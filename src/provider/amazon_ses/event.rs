//! Events as SES writes them, whatever envelope they came in. Never an envelope itself.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::wire::{self, Flag, Id, Part, Parts, Text, Texts, Told, When};
use super::super::{Stamp, Unreadable};
use crate::model::{Event, EventKind, Failure, Scope};

/// Sub-types of bounces that say that SES did not send, since the address is on a list. Page
/// "Notification contents", "Bounce types". All other bounces are judged.
const LISTED: &[&str] = &["Suppressed", "OnAccountSuppressionList", "OnTenantSuppressionList"];

/// Types of feedback (RFC 5965, RFC 6591) that are no complaint of a recipient: a report about
/// authentication, one of a virus, and one that takes the message out of the spam folder.
const NO_COMPLAINTS: &[&str] = &["auth-failure", "virus", "not-spam"];

/// Events about a message as a whole.
const OF_MESSAGE: &[(&str, EventKind)] = &[
    ("Send", EventKind::Accepted),
    ("Reject", EventKind::Failed),
    ("Rendering Failure", EventKind::Failed),
];

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wire {
    event_type: Text,
    notification_type: Text,
    mail: Part<Mail>,
    bounce: Part<Bounce>,
    complaint: Part<Complaint>,
    delivery: Part<Delivery>,
    delivery_delay: Part<Delay>,
    reject: Part<Fault>,
    failure: Part<Fault>,
    open: Part<Tracked>,
    click: Part<Tracked>,
    subscription: Part<Subscription>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Mail {
    timestamp: When,
    message_id: Text,
    destination: Texts,
    tags: Part<BTreeMap<String, Texts>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Bounce {
    bounce_type: Text,
    bounce_sub_type: Text,
    bounced_recipients: Parts<Recipient>,
    timestamp: When,
    feedback_id: Id,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Complaint {
    complained_recipients: Parts<Recipient>,
    complaint_sub_type: Text,
    complaint_feedback_type: Text,
    timestamp: When,
    feedback_id: Id,
    user_agent: Text,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Delivery {
    recipients: Texts,
    timestamp: When,
    smtp_response: Text,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Delay {
    delay_type: Text,
    delayed_recipients: Parts<Recipient>,
    timestamp: When,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Recipient {
    email_address: Told,
    status: Text,
    diagnostic_code: Text,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Fault {
    reason: Text,
    error_message: Text,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Tracked {
    timestamp: When,
    user_agent: Text,
    link: Text,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Subscription {
    timestamp: When,
    new_topic_preferences: Part<Preferences>,
    old_topic_preferences: Part<Preferences>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preferences {
    unsubscribe_all: Flag,
    topic_subscription_status: Parts<Topic>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Topic {
    topic_name: Text,
    subscription_status: Text,
}

/// Reads an event: one of ours for each recipient.
///
/// # Errors
/// When it is none of SES, or says nothing of whom.
pub(super) fn read(message: &[u8], stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
    let wire: Wire = wire::object(message)
        .map_err(|error| Unreadable(format!("not an event of SES: {error}")))?;
    let none = Mail::default();
    Reader { wire: &wire, mail: wire.mail.as_ref().unwrap_or(&none), stamp }.events()
}

/// One event of SES that is being read.
struct Reader<'a> {
    wire: &'a Wire,
    mail: &'a Mail,
    stamp: &'a Stamp<'a>,
}

impl Reader<'_> {
    fn events(&self) -> Result<Vec<Event>, Unreadable> {
        let wire = self.wire;
        let word = wire.event_type.as_deref().or(wire.notification_type.as_deref());
        let word = word.ok_or_else(|| Unreadable("the event has no type".to_owned()))?;
        match word {
            "Bounce" => self.bounce(need(&wire.bounce, word)?),
            "Complaint" => self.complaint(need(&wire.complaint, word)?),
            "Delivery" => self.delivery(need(&wire.delivery, word)?),
            "DeliveryDelay" => self.delay(need(&wire.delivery_delay, word)?),
            "Open" => self.tracked(need(&wire.open, word)?, word, EventKind::Opened),
            "Click" => self.tracked(need(&wire.click, word)?, word, EventKind::Clicked),
            "Subscription" => self.subscription(need(&wire.subscription, word)?),
            _ => self.of_message(word),
        }
    }

    fn bounce(&self, bounce: &Bounce) -> Result<Vec<Event>, Unreadable> {
        let class = bounce.bounce_type.as_deref().unwrap_or("");
        let sub_type = bounce.bounce_sub_type.as_deref().unwrap_or("");
        let word = joined(&["Bounce", class, sub_type]);
        // SES has given up by then: a transient bounce is the end of that message.
        let kind = match LISTED.contains(&sub_type) {
            true => EventKind::Rejected,
            false => EventKind::SoftBounce,
        };
        let name = format!("{class}/{sub_type}");
        let failure = (kind == EventKind::SoftBounce).then(|| Failure::of([name.as_str(), class]));
        let event = |recipient: &Recipient| {
            let event = self.event(kind, &word, self.whose(recipient)?, &bounce.timestamp)?;
            let event = Event { failure: failure.clone(), ..event };
            Ok(recipient.add_to(event).of_feedback(&bounce.feedback_id))
        };
        self.each_of(&bounce.bounced_recipients, event)
    }

    fn complaint(&self, complaint: &Complaint) -> Result<Vec<Event>, Unreadable> {
        let sub_type = complaint.complaint_sub_type.as_deref().unwrap_or("");
        let feedback = complaint.complaint_feedback_type.as_deref().unwrap_or("");
        let kind = match (sub_type, feedback) {
            (sub_type, _) if LISTED.contains(&sub_type) => EventKind::Rejected,
            (_, feedback) if NO_COMPLAINTS.contains(&feedback) => EventKind::Unknown,
            // Of several it is everyone at that domain who may have complained.
            _ if complaint.complained_recipients.len() > 1 => EventKind::Unknown,
            _ => EventKind::Complaint,
        };
        let word = joined(&["Complaint", sub_type, feedback]);
        let event = |recipient: &Recipient| {
            let event = self.event(kind, &word, self.whose(recipient)?, &complaint.timestamp)?;
            let user_agent = complaint.user_agent.clone();
            Ok(Event { user_agent, ..event.of_feedback(&complaint.feedback_id) })
        };
        self.each_of(&complaint.complained_recipients, event)
    }

    fn delivery(&self, delivery: &Delivery) -> Result<Vec<Event>, Unreadable> {
        each(&delivery.recipients, |address: &String| {
            let said = delivery.smtp_response.clone();
            let event =
                self.event(EventKind::Delivered, "Delivery", address, &delivery.timestamp)?;
            Ok(Event {
                smtp_code: said.as_deref().and_then(wire::smtp_code),
                enhanced_code: said.as_deref().and_then(wire::enhanced_code),
                diagnostic: said,
                ..event
            })
        })
    }

    fn delay(&self, delay: &Delay) -> Result<Vec<Event>, Unreadable> {
        let kind_of_delay = delay.delay_type.as_deref().unwrap_or("");
        let word = joined(&["DeliveryDelay", kind_of_delay]);
        self.each_of(&delay.delayed_recipients, |recipient: &Recipient| {
            let kind = EventKind::Deferred;
            let event = self.event(kind, &word, self.whose(recipient)?, &delay.timestamp)?;
            let failure = Some(Failure::of([word.as_str()]));
            Ok(recipient.add_to(Event { failure, ..event }))
        })
    }

    /// An open or a click. Of a message to several recipients it does not say whose it was.
    fn tracked(
        &self,
        tracked: &Tracked,
        word: &str,
        kind: EventKind,
    ) -> Result<Vec<Event>, Unreadable> {
        let [address] = self.mail.destination.as_slice() else { return Ok(Vec::new()) };
        let event = self.event(kind, word, address, &tracked.timestamp)?;
        Ok(vec![Event {
            url: tracked.link.clone(),
            user_agent: tracked.user_agent.clone(),
            ..event
        }])
    }

    /// The contact's choices, as they are after the change. SES takes mail that has subscriptions
    /// for one recipient only.
    fn subscription(&self, subscription: &Subscription) -> Result<Vec<Event>, Unreadable> {
        let [address] = self.mail.destination.as_slice() else {
            return Err(Unreadable("it does not say who of several has unsubscribed".to_owned()));
        };
        let event = |kind, scope| {
            let event = self.event(kind, "Subscription", address, &subscription.timestamp)?;
            Ok(Event { scope, ..event })
        };
        let (new, old) = (&subscription.new_topic_preferences, &subscription.old_topic_preferences);
        let Some(new) = new.as_ref() else {
            return Ok(vec![event(EventKind::Unknown, Scope::Global)?]);
        };
        if new.unsubscribe_all.is_on() {
            return Ok(vec![event(EventKind::Unsubscribed, Scope::Global)?]);
        }
        let mut events = Vec::new();
        if old.as_ref().is_some_and(|old| old.unsubscribe_all.is_on()) {
            events.push(event(EventKind::Resubscribed, Scope::Global)?);
        }
        for topic in new.topic_subscription_status.iter() {
            let kind = match topic.subscription_status.as_deref().unwrap_or("") {
                "OptOut" | "OPT_OUT" => EventKind::Unsubscribed,
                "OptIn" | "OPT_IN" => EventKind::Resubscribed,
                _ => EventKind::Unknown,
            };
            let scope = wire::stream(topic.topic_name.as_deref().unwrap_or(""))?;
            events.push(event(kind, scope)?);
        }
        Ok(events)
    }

    fn of_message(&self, word: &str) -> Result<Vec<Event>, Unreadable> {
        let kind = OF_MESSAGE.iter().find(|(known, _)| *known == word).map(|(_, kind)| *kind);
        let fault = self.wire.reject.as_ref().or(self.wire.failure.as_ref());
        let said = fault.and_then(|fault| fault.reason.clone().or(fault.error_message.clone()));
        each(&self.mail.destination, |address: &String| {
            let time = &self.mail.timestamp;
            let event = self.event(kind.unwrap_or(EventKind::Unknown), word, address, time)?;
            let is_failure = event.kind == EventKind::Failed;
            let failure = is_failure.then(|| Failure::of([word]));
            Ok(Event { diagnostic: said.clone(), failure, ..event })
        })
    }

    /// The events of the recipients that are named. Where none is, as of a message that was not
    /// sent for the list, it is that of the message's only one.
    fn each_of(
        &self,
        recipients: &[Recipient],
        event: impl Fn(&Recipient) -> Result<Event, Unreadable>,
    ) -> Result<Vec<Event>, Unreadable> {
        match (recipients, self.mail.destination.as_slice()) {
            ([], [_]) => each(&[Recipient::default()], event),
            _ => each(recipients, event),
        }
    }

    /// The address of a recipient: where it is left out, that of the message's only one.
    fn whose<'r>(&'r self, recipient: &'r Recipient) -> Result<&'r str, Unreadable> {
        match self.mail.destination.as_slice() {
            [address] if recipient.email_address.is_absent() => Ok(address),
            _ => recipient.email_address.need("emailAddress"),
        }
    }

    /// An event of which the message is known.
    fn event(
        &self,
        kind: EventKind,
        word: &str,
        address: &str,
        time: &When,
    ) -> Result<Event, Unreadable> {
        let mail = self.mail;
        let address = wire::mailbox(address)?;
        let time = time.some().unwrap_or(&mail.timestamp);
        let at = time.at("timestamp", self.stamp.received_at)?;
        Ok(Event {
            message_id: mail.message_id.clone(),
            tags: mail.tags.as_ref().map(tags).unwrap_or_default(),
            ..self.stamp.event("amazon-ses", kind, word.to_owned(), address, at)
        })
    }
}

impl Recipient {
    fn add_to(&self, event: Event) -> Event {
        let text = self.diagnostic_code.as_deref().unwrap_or("");
        let status = self.status.as_deref().and_then(wire::enhanced_code);
        Event {
            smtp_code: wire::smtp_code(wire::reply(text)),
            enhanced_code: status.or_else(|| wire::enhanced_code(text)),
            diagnostic: self.diagnostic_code.clone(),
            ..event
        }
    }
}

impl Event {
    /// With the id that an identity's notification and a published event have in common.
    fn of_feedback(self, id: &Id) -> Event {
        let id: Option<String> = (**id).clone();
        Event { provider_event_id: id.clone(), identity: id, ..self }
    }
}

/// The events of several recipients. One that is no address must not cost the others.
fn each<T>(
    recipients: &[T],
    event: impl Fn(&T) -> Result<Event, Unreadable>,
) -> Result<Vec<Event>, Unreadable> {
    let (mut events, mut refused) = (Vec::new(), None);
    for recipient in recipients {
        match event(recipient) {
            Ok(event) => events.push(event),
            Err(error) => refused = Some(error),
        }
    }
    if events.is_empty() {
        let none = || Unreadable("the event names no recipient".to_owned());
        return Err(refused.unwrap_or_else(none));
    }
    Ok(events)
}

fn need<'a, T>(part: &'a Option<T>, word: &str) -> Result<&'a T, Unreadable> {
    part.as_ref().ok_or_else(|| Unreadable(format!("a {word} without its details")))
}

/// The words that are there, as `a/b`.
fn joined(words: &[&str]) -> String {
    let words: Vec<&str> = words.iter().copied().filter(|word| !word.is_empty()).collect();
    words.join("/")
}

/// The sender's own tags, as `name:value`; those that begin with `ses:` are Amazon's.
fn tags(tags: &BTreeMap<String, Texts>) -> Vec<String> {
    let own = tags.iter().filter(|(name, _)| !name.starts_with("ses:"));
    own.flat_map(|(name, values)| values.iter().map(move |value| format!("{name}:{value}")))
        .collect()
}
