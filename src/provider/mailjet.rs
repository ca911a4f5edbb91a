//! Mailjet's Event API: one event, or the events of a second in an array, without a signature.
//!
//! Source: dev.mailjet.com/email/guides/webhooks, "Event Types" and "Possible values for errors";
//! dev.mailjet.com/email/reference, "Messages", "Message Events" and "Contacts". The API lists
//! messages by when they came in; the history of each has its events, without the address.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::wire::{self, TimeForm};
use super::{
    Class, Feed, Key, Notification, Page, PageError, PageRequest, Provider, Query, Said, Sample,
    SettingError, Stamp, Unreadable,
};
use crate::model::{Address, Element, Event, EventKind, Reason, Scope, Time};

/// The API, by region.
const APIS: &[(&str, &str)] =
    &[("eu", "https://api.mailjet.com/v3/REST"), ("us", "https://api.us.mailjet.com/v3/REST")];

const POLL_KEYS: &[Key] = &[
    Key::secret("api_key"),
    Key::secret("secret_key"),
    Key::optional_text("region"),
    Key::optional_text("base_url"),
];

/// A message is listed by when it came in: what becomes of it is found by reading again.
const FEEDS: &[Feed] = &[
    Feed::events("events").overlap(Duration::from_secs(72 * 3_600)),
    Feed::suppressions("contacts").whole(),
];

/// Rows of a full page, the most that there can be.
const PAGE_ROWS: usize = 1_000;

/// What a message must have come to, to be asked about (`MessageStatus`): bounce, spam, unsub,
/// blocked, softbounce, hardbounce, deferred. A delivery would cost a request for each message.
const STATUSES: &[u8] = &[5, 6, 7, 8, 9, 10, 11];

/// What the history of a message needs of the message.
const MESSAGE: &[&str] = &["ID", "ContactAlt", "StateID", "StatePermanent", "CampaignID"];

/// The names that a message's history has for events, and whether a bounce was a hard one.
const HISTORY: &[(&str, &str, Option<bool>)] = &[
    ("sent", "sent", None),
    ("opened", "open", None),
    ("clicked", "click", None),
    ("bounced", "bounce", None),
    ("hardbounce", "bounce", Some(true)),
    ("hardbounced", "bounce", Some(true)),
    ("softbounce", "bounce", Some(false)),
    ("softbounced", "bounce", Some(false)),
    ("deferred", "deferred", None),
];

/// What `StateID` stands for ("Message Events", `StateID`): `error_related_to` and `error`.
const STATES: &[(u64, &str, &str)] = &[
    (1, "recipient", "user unknown"),
    (2, "recipient", "mailbox inactive"),
    (3, "recipient", "quota exceeded"),
    (4, "domain", "invalid domain"),
    (5, "domain", "no mail host"),
    (6, "domain", "relay/access denied"),
    (7, "spam", "sender blocked"),
    (8, "spam", "content blocked"),
    (9, "spam", "policy issue"),
    (10, "system", "system issue"),
    (11, "system", "protocol issue"),
    (12, "system", "connection issue"),
    (13, "domain", "greylisted"),
    (14, "mailjet", "preblocked"),
    (15, "mailjet", "duplicate in campaign"),
    (16, "mailjet", "spam preblocked"),
    (17, "content", "bad or empty template"),
    (18, "content", "error in template language"),
    (19, "domain", "typofix"),
    (20, "recipient", "blacklisted"),
    (21, "recipient", "spam reporter"),
];

/// The event types. `sent` is what the recipient's server accepted.
const TYPES: &[(&str, EventKind)] = &[
    ("sent", EventKind::Delivered),
    ("open", EventKind::Opened),
    ("click", EventKind::Clicked),
    ("bounce", EventKind::HardBounce),
    ("blocked", EventKind::Rejected),
    ("spam", EventKind::Complaint),
    ("unsub", EventKind::Unsubscribed),
    // Of the API only.
    ("deferred", EventKind::Deferred),
];

/// What `blocked` means, by `error_related_to` and `error`; an empty word is any. The first row
/// that fits counts. A message that was twice in a campaign is no fault of its recipient's.
const BLOCKED: &[(&str, &str, EventKind, Option<Reason>)] = &[
    ("mailjet", "duplicate in campaign", EventKind::Failed, None),
    ("mailjet", "", EventKind::Rejected, None),
    ("", "spam reporter", EventKind::Rejected, None),
    ("", "blacklisted", EventKind::Rejected, None),
    ("", "user unknown", EventKind::Rejected, None),
    ("", "mailbox inactive", EventKind::Rejected, None),
    ("", "quota exceeded", EventKind::SoftBounce, None),
    ("spam", "", EventKind::Blocked, None),
    ("domain", "invalid domain", EventKind::Rejected, Some(Reason::Invalid)),
    ("domain", "no mail host", EventKind::Rejected, Some(Reason::Invalid)),
    ("domain", "typofix", EventKind::Rejected, Some(Reason::Invalid)),
    ("", "", EventKind::Failed, None),
];

/// What a bounce means before its code is looked at. Nothing else is decided by a table.
const BOUNCED: &[(&str, &str, EventKind)] = &[
    ("mailjet", "duplicate in campaign", EventKind::Failed),
    ("mailjet", "", EventKind::Rejected),
    ("", "spam reporter", EventKind::Rejected),
    ("", "blacklisted", EventKind::Rejected),
    ("spam", "", EventKind::Blocked),
    ("", "quota exceeded", EventKind::SoftBounce),
];

pub(super) struct Mailjet;

/// One event.
#[derive(Default, Deserialize)]
struct Wire {
    event: String,
    time: Option<TimeForm>,
    email: Option<String>,
    /// Beyond what a double holds.
    #[serde(rename = "MessageID", default, deserialize_with = "wire::loose_text")]
    message_id: Option<String>,
    hard_bounce: Option<bool>,
    #[serde(default, deserialize_with = "wire::loose_text")]
    error_related_to: Option<String>,
    #[serde(default, deserialize_with = "wire::loose_text")]
    error: Option<String>,
    #[serde(default, deserialize_with = "wire::loose_text")]
    comment: Option<String>,
    #[serde(default, deserialize_with = "wire::loose_text")]
    smtp_reply: Option<String>,
    #[serde(default, deserialize_with = "wire::loose_text")]
    source: Option<String>,
    #[serde(default, deserialize_with = "wire::loose_text")]
    mj_list_id: Option<String>,
    #[serde(default, deserialize_with = "wire::loose_text")]
    customcampaign: Option<String>,
    #[serde(rename = "CustomID", default, deserialize_with = "wire::loose_text")]
    custom_id: Option<String>,
    #[serde(rename = "Payload", default, deserialize_with = "wire::loose_text")]
    payload: Option<String>,
    url: Option<String>,
    agent: Option<String>,
}

/// One event in the history of a message.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Past {
    event_at: TimeForm,
    event_type: String,
    #[serde(default, deserialize_with = "wire::loose_text")]
    comment: Option<String>,
    #[serde(default, deserialize_with = "wire::loose_text")]
    state: Option<String>,
    useragent: Option<String>,
}

/// The message of a history.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Message {
    #[serde(rename = "ID", deserialize_with = "wire::loose_text")]
    id: Option<String>,
    contact_alt: String,
    #[serde(rename = "StateID")]
    state: Option<u64>,
    state_permanent: Option<bool>,
    #[serde(rename = "CampaignID", default, deserialize_with = "wire::loose_text")]
    campaign: Option<String>,
}

/// A contact: not a list of suppressions, but it says who wants no campaigns and who complained.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contact {
    email: String,
    #[serde(default)]
    is_excluded_from_campaigns: bool,
    exclusion_from_campaigns_updated_at: Option<String>,
    #[serde(default)]
    is_spam_complaining: bool,
}

impl Provider for Mailjet {
    fn name(&self) -> &'static str {
        "mailjet"
    }

    fn verification(&self) -> &'static str {
        "HTTP Basic credentials in the URL"
    }

    fn event_types(&self) -> &'static [&'static str] {
        &["sent", "bounce", "blocked", "spam", "unsub"]
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        wire::split_json(notification.body)
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        let (wire, campaign) = match stamp.feed {
            "contacts" => return contact(element, stamp),
            "events" => polled(element)?,
            _ => (wire::object(&element.body).map_err(not_an_event)?, None),
        };
        let known = TYPES.iter().find(|(known, _)| *known == wire.event).map(|(_, kind)| *kind);
        if known.is_none() && wire.email.is_none() {
            return Ok(Vec::new());
        }
        let address = wire::mailbox(wire.email.as_deref().unwrap_or(""))?;
        let form = wire.time.as_ref();
        let form = form.ok_or_else(|| Unreadable("the time is missing".to_owned()))?;
        let at = wire::time(form, stamp.received_at)?;
        let words = filled(&wire.comment).or(filled(&wire.smtp_reply));
        // The reply to a delivery stands in brackets: "sent (250 2.0.0 OK …)".
        let text = words.map_or("", |words| words.strip_prefix("sent (").unwrap_or(words));
        let (smtp_code, enhanced_code) = (wire::smtp_code(text), wire::enhanced_code(text));
        // What Mailjet calls the error is no server's words, and is not searched for faults.
        let said = Said { smtp: smtp_code, enhanced: enhanced_code.as_deref(), text };
        let (kind, reason) = wire.kind(known.unwrap_or(EventKind::Unknown), &said, stamp);
        let diagnostic = words.or(filled(&wire.error)).or(filled(&wire.source));
        let event = Event {
            scope: campaign.filter(|_| kind == EventKind::Unsubscribed).unwrap_or(wire.scope(kind)),
            message_id: filled(&wire.message_id).filter(|id| *id != "0").map(str::to_owned),
            smtp_code,
            diagnostic: diagnostic.map(str::to_owned),
            tags: filled(&wire.customcampaign).into_iter().map(str::to_owned).collect(),
            metadata: wire.metadata(),
            reason,
            enhanced_code,
            ..stamp.event(self.name(), kind, wire.provider_kind(), address, at)
        };
        Ok(vec![Event { url: wire.url, user_agent: wire.agent, ..event }])
    }

    fn feeds(&self) -> &[Feed] {
        FEEDS
    }

    fn poll_keys(&self) -> &'static [Key] {
        POLL_KEYS
    }

    fn page_request(&self, query: &Query<'_>) -> Result<PageRequest, SettingError> {
        let api = api(query)?;
        let mut url = match query.next.and_then(message_of) {
            Some(id) => query.api(api, &format!("messagehistory/{id}"))?,
            None if query.feed == "contacts" => query.api(api, "contact")?,
            None => query.api(api, "message")?,
        };
        let (status, offset) = place(query.next);
        if query.next.and_then(message_of).is_none() {
            let mut pairs = url.query_pairs_mut();
            if query.feed == "events" {
                let until = wire::ceil_second(query.window.until);
                pairs.append_pair("FromTS", &query.window.since.second().to_string());
                pairs.append_pair("ToTS", &until.to_string());
                pairs.append_pair("MessageStatus", &status.to_string());
                pairs.append_pair("ShowContactAlt", "true");
            }
            pairs.append_pair("Limit", &PAGE_ROWS.to_string());
            pairs.append_pair("Offset", &offset.to_string());
        }
        let (user, password) = (query.secret("api_key")?, query.secret("secret_key")?);
        Ok(PageRequest::get(url).basic(user.reveal(), password.reveal()))
    }

    fn page(&self, query: &Query<'_>, _url: &Url, body: &[u8]) -> Result<Page, PageError> {
        let mut rows = wire::rows_under("Data", body)?;
        if let Some(message) = query.next.filter(|next| message_of(next).is_some()) {
            rows.iter_mut().for_each(|row| message.clone_into(&mut row.context));
            return Ok(Page::new(rows, None));
        }
        let (status, offset) = place(query.next);
        let end = offset + rows.len();
        let more = (rows.len() >= PAGE_ROWS).then(|| format!("{status} {end}"));
        if query.feed == "contacts" {
            rows.retain(is_told_by);
            return Ok(Page::new(rows, more));
        }
        let following = STATUSES.iter().skip_while(|known| **known <= status).next();
        let next = more.or_else(|| following.map(|status| format!("{status} 0")));
        let (mut details, mut unreadable) = (Vec::new(), Vec::new());
        for row in rows {
            match message(&row) {
                Some(message) => details.push(message),
                None => unreadable.push(row),
            }
        }
        Ok(Page { details, ..Page::new(unreadable, next) })
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let wanted = match kind {
            EventKind::SoftBounce | EventKind::Blocked | EventKind::Deferred => {
                EventKind::HardBounce
            }
            EventKind::Failed => EventKind::Rejected,
            kind => kind,
        };
        let (name, _) = TYPES.iter().find(|(_, known)| *known == wanted)?;
        let mut event = json!({
            "event": name,
            "time": now.second(),
            // As large as real ones; the nanoseconds keep samples apart.
            "MessageID": now.nanos(),
            "email": address.received(),
            "mj_campaign_id": 0,
            "customcampaign": "",
            "CustomID": "",
            "Payload": "",
        });
        let failure = match kind {
            EventKind::HardBounce => Some((true, "recipient", "user unknown")),
            EventKind::SoftBounce => Some((false, "recipient", "quota exceeded")),
            EventKind::Deferred => Some((false, "domain", "greylisted")),
            EventKind::Blocked => Some((true, "spam", "content blocked")),
            EventKind::Rejected => Some((false, "mailjet", "preblocked")),
            EventKind::Failed => Some((false, "system", "system issue")),
            _ => None,
        };
        if let Some((hard, related, error)) = failure {
            event["hard_bounce"] = hard.into();
            event["blocked"] = hard.into();
            event["error_related_to"] = related.into();
            event["error"] = error.into();
        }
        match kind {
            EventKind::Delivered => event["smtp_reply"] = "250 2.0.0 OK".into(),
            EventKind::Clicked => event["url"] = "https://example.com/".into(),
            EventKind::Complaint => event["source"] = "sample".into(),
            _ => {}
        }
        let body = json!([event]);
        Some(Sample { content_type: "application/json", body: body.to_string().into_bytes() })
    }
}

impl Wire {
    /// What happened, and the reason where it is not the usual one of the kind.
    fn kind(
        &self,
        named: EventKind,
        said: &Said<'_>,
        stamp: &Stamp<'_>,
    ) -> (EventKind, Option<Reason>) {
        let related = self.error_related_to.as_deref().unwrap_or("");
        let error = self.error.as_deref().unwrap_or("");
        let fits = |about: &str, word: &str| {
            (about.is_empty() || about == related) && (word.is_empty() || word == error)
        };
        match named {
            EventKind::Rejected => {
                let row = BLOCKED.iter().find(|(about, word, ..)| fits(about, word));
                row.map_or((EventKind::Failed, None), |(_, _, kind, reason)| (*kind, *reason))
            }
            EventKind::HardBounce => {
                let row = BOUNCED.iter().find(|(about, word, _)| fits(about, word));
                let kind = row.map(|(_, _, kind)| *kind);
                (kind.unwrap_or_else(|| self.bounce(related, error, said, stamp)), None)
            }
            kind => (kind, None),
        }
    }

    /// A bounce that no table decides.
    fn bounce(&self, related: &str, error: &str, said: &Said<'_>, stamp: &Stamp<'_>) -> EventKind {
        let class = match (self.hard_bounce, related) {
            (Some(true), "content" | "system") => Class::Unclear,
            (Some(true), _) => Class::Hard,
            _ if error == "greylisted" => return EventKind::Deferred,
            _ => Class::Soft,
        };
        stamp.faults.kind(class, said)
    }

    /// The type, and what went wrong in Mailjet's words: `bounce:domain:invalid domain`.
    fn provider_kind(&self) -> String {
        let words =
            [Some(self.event.as_str()), filled(&self.error_related_to), filled(&self.error)];
        words.into_iter().flatten().collect::<Vec<&str>>().join(":")
    }

    /// An unsubscription covers the list that the message went to, if it went to one.
    fn scope(&self, kind: EventKind) -> Scope {
        let list = filled(&self.mj_list_id).filter(|id| *id != "0");
        let list = list.filter(|_| kind == EventKind::Unsubscribed);
        list.and_then(|id| Scope::parse(&format!("stream:{id}"))).unwrap_or_default()
    }

    /// The sender's own data on the message.
    fn metadata(&self) -> Option<String> {
        let mut data = Map::new();
        if let Some(id) = filled(&self.custom_id) {
            data.insert("CustomID".to_owned(), Value::from(id));
        }
        if let Some(text) = filled(&self.payload) {
            // Often JSON, but any text may stand there.
            let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
            data.insert("Payload".to_owned(), value);
        }
        (!data.is_empty()).then(|| Value::Object(data).to_string())
    }
}

fn not_an_event(error: serde_json::Error) -> Unreadable {
    Unreadable(format!("not an event of Mailjet's: {error}"))
}

/// An event of a message's history in the form of a webhook's, and what an unsubscription covers:
/// the campaign, as the API does not tell its list.
fn polled(element: &Element) -> Result<(Wire, Option<Scope>), Unreadable> {
    let past: Past = wire::object(&element.body).map_err(not_an_event)?;
    let message: Message = wire::object(element.context.as_bytes()).map_err(not_an_event)?;
    let name = past.event_type.to_lowercase();
    let known = HISTORY.iter().find(|(known, ..)| *known == name);
    let (event, hard) = known.map_or((name.as_str(), None), |(_, event, hard)| (*event, *hard));
    let said = past.state.as_deref().unwrap_or("").to_lowercase();
    let of_message = |row: &&(u64, &str, &str)| Some(row.0) == message.state;
    let by_words = STATES.iter().find(|(_, _, error)| *error == said);
    let state = by_words.or_else(|| STATES.iter().find(of_message));
    // The message's own state is that of how it ended, and says nothing of what went well.
    let state = state.filter(|_| matches!(event, "bounce" | "blocked"));
    let campaign = message.campaign.filter(|id| id != "0");
    let wire = Wire {
        event: event.to_owned(),
        time: Some(past.event_at),
        email: Some(message.contact_alt),
        message_id: message.id,
        hard_bounce: hard.or(message.state_permanent),
        error_related_to: state.map(|(_, about, _)| (*about).to_owned()),
        error: state.map(|(.., error)| (*error).to_owned()),
        comment: past.comment,
        agent: wire::filled(past.useragent),
        ..Wire::default()
    };
    let scope = campaign.map(|id| wire::stream(&format!("campaign-{id}"))).transpose()?;
    Ok((wire, scope))
}

/// What is known of a contact, if anything is held against mailing it.
fn contact(element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
    let row: Contact = wire::object(&element.body)
        .map_err(|error| Unreadable(format!("not a contact of Mailjet's: {error}")))?;
    let address = wire::mailbox(&row.email)?;
    let excluded = wire::filled(row.exclusion_from_campaigns_updated_at);
    let at = excluded.as_deref().map(|text| wire::utc_time(text, stamp.received_at)).transpose()?;
    let listed = |name: &str, reason, at: Option<Time>| Event {
        reason: Some(reason),
        undated: at.is_none(),
        identity: Some(format!("contacts:{name}:{}", at.map_or(0, Time::second))),
        ..stamp.event(
            Mailjet.name(),
            EventKind::Listed,
            name.to_owned(),
            address.clone(),
            at.unwrap_or(stamp.received_at),
        )
    };
    let mut events = Vec::new();
    if row.is_spam_complaining {
        events.push(listed("IsSpamComplaining", Reason::Complaint, None));
    }
    if row.is_excluded_from_campaigns {
        let event = listed("IsExcludedFromCampaigns", Reason::Unsubscribe, at);
        events.push(Event { scope: wire::stream("campaigns")?, ..event });
    }
    Ok(events)
}

/// Whether a contact, or what cannot be read as one, is worth to be kept.
fn is_told_by(row: &Element) -> bool {
    let contact: Result<Contact, _> = wire::object(&row.body);
    contact.map_or(true, |row| row.is_spam_complaining || row.is_excluded_from_campaigns)
}

/// What leads to the history of a message: what an event needs of it, as JSON.
fn message(row: &Element) -> Option<String> {
    let _: Message = wire::object(&row.body).ok()?;
    let mut message: Map<String, Value> = wire::object(&row.body).ok()?;
    message.retain(|key, _| MESSAGE.contains(&key.as_str()));
    let text = Value::Object(message).to_string();
    message_of(&text).is_some().then_some(text)
}

/// The id of the message that a token is of, if it is of one.
fn message_of(token: &str) -> Option<String> {
    let Message { id, .. } = wire::object(token.as_bytes()).ok()?;
    id.filter(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()))
}

/// The status and the offset that a token leads to.
fn place(next: Option<&str>) -> (u8, usize) {
    let parsed = next.and_then(|next| next.split_once(' '));
    let parsed = parsed.and_then(|(status, at)| Some((status.parse().ok()?, at.parse().ok()?)));
    parsed.unwrap_or((STATUSES[0], 0))
}

/// The API of the account's region.
fn api(query: &Query<'_>) -> Result<&'static str, SettingError> {
    let region = query.settings.text("region").unwrap_or("eu");
    let found = APIS.iter().find(|(name, _)| *name == region).map(|(_, api)| *api);
    found.ok_or_else(|| {
        query.settings.problem("region", "is not one of Mailjet's", "choose \"eu\" or \"us\"")
    })
}

/// A text that is there and not empty.
fn filled(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::signed::Sent;
    use super::super::{Faults, Setting, checks_of_credentials};
    use super::*;
    use crate::model::{Origin, SourceName};
    use crate::provider::Settings;
    use crate::secret::Secret;

    #[test]
    fn the_common_credentials_do_it() {
        let mut settings = Settings::default();
        assert!(Mailjet.checks(&settings).unwrap().is_empty());
        let secrets = ["new:pass", "user:pass"].map(Secret::new);
        settings.set("basic", Setting::Secrets(secrets.to_vec()));
        let checks = checks_of_credentials(&settings).unwrap();
        let sent = |value: &str| Sent::new(0, &[("authorization", value)], "{}").verify(&checks);
        assert_eq!(sent("Basic dXNlcjpwYXNz"), Ok(()));
        assert!(sent("Basic dXNlcjpwYXNzCg==").is_err());
    }

    #[test]
    fn an_address_that_cannot_be_is_invalid_and_not_just_listed() {
        let source = SourceName::parse("a").unwrap();
        let stamp = Stamp {
            source: &source,
            origin: Origin::Webhook,
            feed: "",
            received_at: Time::from_seconds(1_500_000_000),
            faults: &Faults::default(),
        };
        let told = |related: &str, error: &str| {
            let body = json!({
                "event": "blocked", "time": 1_498_093_527, "email": "a@example.com",
                "error_related_to": related, "error": error,
            });
            let read = Mailjet.read(&wire::element(body.to_string().as_bytes()), &stamp).unwrap();
            (read[0].kind, read[0].reason)
        };
        assert_eq!(told("domain", "typofix"), (EventKind::Rejected, Some(Reason::Invalid)));
        assert_eq!(told("domain", "invalid domain"), (EventKind::Rejected, Some(Reason::Invalid)));
        assert_eq!(told("domain", "relay/access denied"), (EventKind::Failed, None));
        assert_eq!(told("mailjet", "preblocked"), (EventKind::Rejected, None));
        assert_eq!(told("mailjet", "duplicate in campaign"), (EventKind::Failed, None));
        assert_eq!(told("novel", "novel"), (EventKind::Failed, None));
    }
}
