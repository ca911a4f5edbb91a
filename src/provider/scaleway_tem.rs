//! Scaleway Transactional Email, by way of a topic of Topics and Events: SNS envelopes with an
//! event as JSON text in each. Its API lists what a webhook was told, with the same ids; without a
//! webhook its e-mails, with what became of each; and the blocklists of the sending domains.
//!
//! Source: Scaleway, "Understanding Webhook event payloads" and the descriptions of event types in
//! the API's `WebhookEvent`; its Transactional Email API, v1alpha1. It reports no complaints,
//! opens, clicks or unsubscriptions.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use url::Url;

use super::verify::{Envelope, SNS_KEYS, SnsService};
use super::wire::{self, Id, Parts, Text, Texts, Told, When};
use super::{
    Ask, Check, Feed, Key, KeyKind, Notification, Page, PageError, PageRequest, Provider, Query,
    Sample, SettingError, Settings, Stamp, Unreadable, numbered,
};
use crate::model::{Address, Element, Event, EventKind, Failure, Origin, Reason, Time};

/// The types. `email_spam` is the verdict of Scaleway or of the recipient's server on the message:
/// no complaint of the recipient.
const TYPES: &[(&str, EventKind)] = &[
    ("email_queued", EventKind::Accepted),
    ("email_delivered", EventKind::Delivered),
    ("email_deferred", EventKind::Deferred),
    ("email_dropped", EventKind::SoftBounce),
    ("email_mailbox_not_found", EventKind::SoftBounce),
    ("email_spam", EventKind::Blocked),
    ("email_blocklisted", EventKind::Rejected),
    ("blocklist_created", EventKind::Listed),
];

/// The API, of the only region that the service has.
const API: &str = "https://api.scaleway.com/transactional-email/v1alpha1/regions/fr-par";

/// The setting with the webhooks whose events are read, one for each sending domain.
const WEBHOOKS: &str = "webhook_ids";

/// The setting with the sending domains whose blocklists are read.
const DOMAINS: &str = "domain_ids";

const POLL_KEYS: &[Key] = &[
    Key::secret("secret_key"),
    Key::optional(WEBHOOKS, KeyKind::Texts),
    Key::optional(DOMAINS, KeyKind::Texts),
    Key::optional_text("base_url"),
];

const EVENTS: &str = "events";

/// E-mails are found by when they were made, and may fail days later.
const FEEDS: &[Feed] = &[
    Feed::events(EVENTS).overlap(Duration::from_secs(72 * 3_600)).unbounded(),
    Feed::suppressions("blocklists").whole(),
];

/// Most rows of a page.
const PAGE_ROWS: u64 = 100;

/// What failed e-mails are flagged with, the first row that fits first.
const FLAGS: &[(&str, EventKind)] = &[
    ("blocklisted", EventKind::Rejected),
    ("spam", EventKind::Blocked),
    ("mailbox_not_found", EventKind::SoftBounce),
    ("hard_bounce", EventKind::SoftBounce),
    ("mailbox_full", EventKind::SoftBounce),
    ("soft_bounce", EventKind::SoftBounce),
    ("greylisted", EventKind::SoftBounce),
    ("send_before_expiration", EventKind::SoftBounce),
];

/// The type of entries of a blocklist whose mailbox does not exist.
const NOT_FOUND: &str = "mailbox_not_found";

pub(super) struct ScalewayTem;

/// A page of any of the lists; which one it is, the name of its rows tells.
#[derive(Deserialize)]
struct WirePage {
    total_count: u64,
    webhook_events: Option<Vec<Box<RawValue>>>,
    emails: Option<Vec<Box<RawValue>>>,
    blocklists: Option<Vec<Box<RawValue>>>,
}

/// What was told to a webhook.
#[derive(Deserialize)]
struct Replayed {
    id: String,
    data: String,
}

/// An e-mail, with what became of it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Email {
    id: Id,
    mail_rcpt: Told,
    created_at: When,
    updated_at: When,
    status: Told,
    status_details: Text,
    last_tries: Parts<Try>,
    flags: Texts,
}

/// A try to deliver it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Try {
    tried_at: When,
    code: Text,
    message: Text,
}

/// An entry of a blocklist.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Blocked {
    id: Id,
    email: Told,
    created_at: When,
    updated_at: When,
    ends_at: When,
    #[serde(rename = "type")]
    kind: Text,
    reason: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    id: Id,
    #[serde(rename = "type")]
    kind: Told,
    created_at: When,
    blocklist_type: Text,
    blocklist_reason: Text,
    email_id: Id,
    email_to: Told,
    /// Of a new entry of a blocklist, if it has the form that the API gives it.
    email: Told,
    email_response_code: Text,
    email_response_message: Text,
    /// The older name of the message.
    email_error: Text,
    reason: Text,
    ends_at: When,
}

impl Provider for ScalewayTem {
    fn name(&self) -> &'static str {
        "scaleway-tem"
    }

    fn verification(&self) -> &'static str {
        "SNS signature (RSA), from your topics only"
    }

    fn webhook_keys(&self) -> &'static [Key] {
        SNS_KEYS
    }

    fn checks(&self, settings: &Settings) -> Result<Vec<Check>, SettingError> {
        Ok(vec![SnsService::Scaleway.check(settings)?])
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        vec![wire::element(notification.body)]
    }

    fn asks(&self, notification: &Notification<'_>) -> Option<Ask> {
        Envelope::parse(notification.body)?.ask(SnsService::Scaleway)
    }

    fn event_types(&self) -> &'static [&'static str] {
        &[
            "email_delivered",
            "email_deferred",
            "email_dropped",
            "email_mailbox_not_found",
            "email_spam",
            "email_blocklisted",
            "blocklist_created",
        ]
    }

    fn feeds(&self) -> &[Feed] {
        FEEDS
    }

    fn poll_keys(&self) -> &'static [Key] {
        POLL_KEYS
    }

    fn page_request(&self, query: &Query<'_>) -> Result<PageRequest, SettingError> {
        let place = Place::of(query)?;
        let list = *lists(query)?.get(place.list).ok_or_else(|| query.misplaced())?;
        let mut url = match (query.feed, list) {
            (EVENTS, Some(webhook)) => {
                let mut url = query.api(API, &format!("webhooks/{}/events", segment(webhook)))?;
                url.query_pairs_mut().append_pair("order_by", "created_at_desc");
                url
            }
            (EVENTS, None) => {
                let mut url = query.api(API, "emails")?;
                url.query_pairs_mut()
                    .append_pair("since", &query.window.since.floor_second().to_string())
                    .append_pair("until", &query.window.until.ceil_second().to_string())
                    .append_pair("order_by", "created_at_desc");
                url
            }
            (_, domain) => {
                let mut url = query.api(API, "blocklists")?;
                url.query_pairs_mut().append_pair("domain_id", domain.unwrap_or_default());
                url
            }
        };
        url.query_pairs_mut()
            .append_pair("page", &place.page().0.to_string())
            .append_pair("page_size", &place.page().1.to_string());
        let key = query.secret("secret_key")?.clone();
        Ok(PageRequest::get(url).header("x-auth-token", key))
    }

    fn page(&self, query: &Query<'_>, _url: &Url, body: &[u8]) -> Result<Page, PageError> {
        let unfit = |error: SettingError| PageError(error.to_string());
        let place = Place::of(query).map_err(unfit)?;
        let page: WirePage = wire::page(body, query.feed)?;
        let lists = lists(query).map_err(unfit)?;
        let is_replay = query.feed == EVENTS && lists != [None];
        let rows = match query.feed {
            EVENTS if is_replay => page.webhook_events,
            EVENTS => page.emails,
            _ => page.blocklists,
        };
        let rows = rows.ok_or_else(|| PageError(format!("there are no {}", query.feed)))?;
        let rows = wire::rows(&rows);
        let (number, size) = place.page();
        let before = (number - 1) * size;
        let ends = rows.is_empty() || before + rows.len() as u64 >= page.total_count;
        let ends = ends || is_replay && is_past(&rows, query);
        let token = |from: u64| Place { from, ..place }.token();
        let mut page = Page::of_number(rows, place.page(), !ends, token);
        if ends {
            let list = place.list + 1;
            page.next = (list < lists.len()).then(|| Place { list, from: 0 }.token());
        }
        Ok(page)
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        match (stamp.origin, stamp.feed) {
            (Origin::Poll, EVENTS) => return polled(element, stamp),
            (Origin::Poll, _) => return blocked(element, stamp).map(|event| vec![event]),
            _ => {}
        }
        let Some(message) = Envelope::message_of(element)? else { return Ok(Vec::new()) };
        told(&message, stamp).map(|event| vec![event])
    }

    fn kinds_polled(&self) -> &'static [EventKind] {
        &[EventKind::Failed]
    }

    fn sample(&self, kind: EventKind, address: &Address, now: Time) -> Option<Sample> {
        let (word, code, said) = match kind {
            EventKind::Accepted => ("email_queued", None, ""),
            EventKind::Delivered => ("email_delivered", Some(250), "2.0.0 OK"),
            EventKind::Deferred => ("email_deferred", Some(452), "4.2.2 mailbox full"),
            EventKind::HardBounce => ("email_dropped", Some(550), "5.1.1 user unknown"),
            EventKind::SoftBounce => ("email_dropped", Some(452), "4.2.2 mailbox full"),
            EventKind::Blocked => ("email_spam", Some(550), "5.7.1 message is spam"),
            EventKind::Rejected => ("email_blocklisted", None, "recipient is blocklisted"),
            _ => return None,
        };
        let at = now.floor_second().to_string();
        let message: Value = json!({
            "id": format!("sample-{}", now.nanos()),
            "type": word,
            "domain_name": "example.com",
            "created_at": at,
            "email_queued_at": at,
            "email_id": format!("sample-{}", now.second()),
            "email_from": "sender@example.com",
            "email_to": address.received(),
            "email_headers": [],
            "email_response_code": code,
            "email_response_message": said,
        });
        Some(SnsService::Scaleway.sample(&message, now))
    }
}

/// Where a page is: the list it is of, and a number of the list's rows that it starts behind, or
/// shortly before.
#[derive(Clone, Copy)]
struct Place {
    list: usize,
    from: u64,
}

impl Place {
    fn of(query: &Query<'_>) -> Result<Place, SettingError> {
        let Some(next) = query.next else { return Ok(Place { list: 0, from: 0 }) };
        let numbers: Vec<u64> = next.split(' ').filter_map(|part| part.parse().ok()).collect();
        match numbers[..] {
            [list, from] => {
                let list = usize::try_from(list).map_err(|_| query.misplaced())?;
                Ok(Place { list, from })
            }
            _ => Err(query.misplaced()),
        }
    }

    /// The number and the length of the page.
    fn page(self) -> (u64, u64) {
        numbered(self.from, PAGE_ROWS)
    }

    fn token(self) -> String {
        format!("{} {}", self.list, self.from)
    }
}

/// What a feed is read of, one after the other: webhooks, or else all e-mails (`None`); domains.
fn lists<'a>(query: &Query<'a>) -> Result<Vec<Option<&'a str>>, SettingError> {
    let key = if query.feed == EVENTS { WEBHOOKS } else { DOMAINS };
    let named = query.settings.texts(key);
    if named.is_empty() && key == DOMAINS {
        let hint = "name the ids of your sending domains, or leave blocklists out of feeds";
        return Err(query.settings.problem(DOMAINS, "is missing", hint));
    }
    if named.is_empty() {
        return Ok(vec![None]);
    }
    Ok(named.iter().map(|id| Some(id.as_str())).collect())
}

/// A text as one segment of a path.
fn segment(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Whether what follows a page is older than the window.
fn is_past(rows: &[Element], query: &Query<'_>) -> bool {
    #[derive(Deserialize)]
    struct Made {
        created_at: When,
    }
    let made = rows.iter().rev().find_map(|row| wire::object::<Made>(&row.body).ok());
    let made = made.and_then(|made| made.created_at.at("created_at", query.now).ok());
    made.is_some_and(|made| made < query.window.since)
}

/// An event as a webhook is told it.
fn told(message: &str, stamp: &Stamp<'_>) -> Result<Event, Unreadable> {
    let wire: Wire = wire::object(message.as_bytes())
        .map_err(|error| Unreadable(format!("not an event of Scaleway: {error}")))?;
    let word = wire.kind.need("type")?;
    let recipient = if wire.email_to.is_absent() { &wire.email } else { &wire.email_to };
    let said = [wire.email_response_message, wire.email_error, wire.blocklist_reason, wire.reason];
    let said = said.into_iter().find_map(Option::<String>::from);
    let known = TYPES.iter().find(|(known, _)| *known == word).map(|(_, kind)| *kind);
    let kind = known.unwrap_or(EventKind::Unknown);
    let address = recipient.address("email_to")?;
    let at = wire.created_at.at("created_at", stamp.received_at)?;
    let id: Option<String> = wire.id.into();
    let event = stamp.event(ScalewayTem.name(), kind, word.to_owned(), address, at);
    let ends = wire.ends_at.given().and_then(Time::parse);
    // A mailbox that does not exist is dead for good ("Manage blocklists").
    let is_entry = matches!(kind, EventKind::Listed | EventKind::Rejected);
    let is_dead = is_entry && wire.blocklist_type.as_deref() == Some(NOT_FOUND);
    let event = Event {
        message_id: wire.email_id.into(),
        provider_event_id: id.clone(),
        identity: id,
        reason: is_dead.then_some(Reason::HardBounce),
        until: ends,
        ..event
    };
    Ok(answered(event, word, wire.email_response_code.as_deref(), said))
}

/// An event with what the server said, and what Scaleway calls it if it is a failure.
fn answered(event: Event, word: &str, code: Option<&str>, said: Option<String>) -> Event {
    let text = said.as_deref().unwrap_or("");
    let smtp_code = code.and_then(wire::smtp_code).or_else(|| wire::smtp_code(text));
    let enhanced_code = wire::enhanced_code(text);
    let is_failure = matches!(event.kind, EventKind::SoftBounce | EventKind::Blocked)
        || matches!(event.kind, EventKind::Deferred | EventKind::Failed);
    let failure = is_failure.then(|| Failure::of([word]));
    Event { failure, smtp_code, enhanced_code, diagnostic: said, ..event }
}

/// A row of the feed of events: what a webhook was told, or an e-mail.
fn polled(element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
    if let Ok(row) = wire::object::<Replayed>(&element.body) {
        let event = told(&row.data, stamp)?;
        let id = event.identity.clone().or(Some(row.id));
        return Ok(vec![Event { provider_event_id: id.clone(), identity: id, ..event }]);
    }
    email(element, stamp).map(|event| event.into_iter().collect())
}

/// What became of an e-mail, if anything did yet.
fn email(element: &Element, stamp: &Stamp<'_>) -> Result<Option<Event>, Unreadable> {
    let row: Email = wire::object(&element.body)
        .map_err(|error| Unreadable(format!("not an event or e-mail of Scaleway: {error}")))?;
    let flag = FLAGS.iter().find(|(flag, _)| row.flags.iter().any(|given| given == flag));
    let status = row.status.need("status")?;
    let kind = match (status, flag) {
        ("sent", _) => EventKind::Delivered,
        ("failed", Some((_, kind))) => *kind,
        ("failed", None) => EventKind::SoftBounce,
        ("canceled", _) => EventKind::Failed,
        // It is still on its way, with failures or without.
        (_, Some(_)) => EventKind::Deferred,
        (_, None) => return Ok(None),
    };
    let tried = |one: &Try| one.tried_at.at("tried_at", stamp.received_at).ok();
    let last = row.last_tries.iter().filter_map(|one| Some((tried(one)?, one)));
    let last = last.max_by_key(|(tried, _)| *tried);
    let updated = || row.updated_at.at("updated_at", stamp.received_at).ok();
    let at = match last.map(|(tried, _)| tried).or_else(updated) {
        Some(at) => at,
        None => row.created_at.at("created_at", stamp.received_at)?,
    };
    let address = row.mail_rcpt.address("mail_rcpt")?;
    let said = last.and_then(|(_, one)| one.message.clone());
    let said = said.or(row.status_details.into());
    let code = last.and_then(|(_, one)| one.code.as_deref());
    let words = [status].into_iter().chain(flag.map(|(flag, _)| *flag));
    let word = words.collect::<Vec<&str>>().join(":");
    let event = stamp.event(ScalewayTem.name(), kind, word, address, at);
    let event = Event { message_id: row.id.into(), ..event };
    Ok(Some(answered(event, flag.map_or("", |(flag, _)| *flag), code, said)))
}

/// An entry of a blocklist.
fn blocked(element: &Element, stamp: &Stamp<'_>) -> Result<Event, Unreadable> {
    let row: Blocked = wire::object(&element.body)
        .map_err(|error| Unreadable(format!("not an entry of a blocklist: {error}")))?;
    let address = wire::listed(row.email.need("email")?)?;
    // One whose end was moved is a new listing.
    let time = row.updated_at.some().unwrap_or(&row.created_at);
    let at = time.some().map(|time| time.at("updated_at", stamp.received_at)).transpose()?;
    let id = row.id.as_deref().unwrap_or("");
    let given = time.given().map(|given| format!("{id}:{given}"));
    let kind: Option<String> = row.kind.into();
    let reason = kind.as_deref().filter(|kind| *kind == NOT_FOUND).map(|_| Reason::HardBounce);
    let listed = stamp.listed(ScalewayTem.name(), reason, address, given.as_deref().zip(at));
    Ok(Event {
        diagnostic: row.reason.into(),
        until: row.ends_at.given().and_then(Time::parse),
        provider_kind: kind.unwrap_or(listed.provider_kind),
        ..listed
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::provider::{Refusal, Setting};
    use crate::secret::Secret;

    const SIGNED: &str = include_str!("../../tests/fixtures/sns/notification_subject_v1.json");
    const TOPIC: &str = "arn:scw:sns:fr-par:project-6867048b-fe12-4e96-835e-41c79a39604b:tem";

    fn check(pinned: bool) -> Check {
        let mut settings = Settings::default();
        settings.set("topic_arns", Setting::Texts(vec![TOPIC.to_owned()]));
        if pinned {
            let pem = include_bytes!("../../tests/fixtures/sns/test_cert.pem");
            settings.set("certificate", Setting::Secrets(vec![Secret::new(*pem)]));
        }
        ScalewayTem.checks(&settings).unwrap().remove(0)
    }

    #[test]
    fn hosts_are_scaleways_and_the_form_is_that_of_sns() {
        let headers = HeaderMap::new();
        let wanted = |check: &Check, url: &str| {
            let mut envelope: Value = serde_json::from_str(SIGNED).unwrap();
            envelope["SigningCertURL"] = url.into();
            envelope["TopicArn"] = TOPIC.into();
            let body = envelope.to_string().into_bytes();
            let now = Time::from_seconds(1_781_519_600);
            let sent = Notification { headers: &headers, query: "", body: &body, url: None, now };
            check.wanted(&sent).map(|url| url.is_some())
        };
        let place = "https://messaging.s3.fr-par.scw.cloud/fr-par/sns/sns_certificate_";
        assert_eq!(wanted(&check(false), &format!("{place}1.crt")), Ok(true));
        for url in [
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem".to_owned(),
            format!("{place}1.pem"),
            // Another region's than the topic's.
            place.replace("fr-par", "nl-ams") + "1.crt",
            format!("{place}/../../../bucket/1.crt"),
            place.replace("scw.cloud", "scw.cloud.evil.example") + "1.crt",
            place.replace("https", "http") + "1.crt",
        ] {
            assert_eq!(wanted(&check(false), &url), Err(Refusal::CertificateUrl), "{url}");
        }
        assert_eq!(wanted(&check(true), "anything"), Ok(false));
    }

    #[test]
    fn only_scaleways_confirmations_are_fetched() {
        let headers = HeaderMap::new();
        let text = include_str!("../../tests/fixtures/sns/subscription_confirmation_v1.json");
        for (url, good) in [
            ("https://sns.mnq.fr-par.scaleway.com/?Action=ConfirmSubscription", true),
            ("https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription", false),
        ] {
            let mut envelope: Value = serde_json::from_str(text).unwrap();
            envelope["SubscribeURL"] = url.into();
            envelope["TopicArn"] = TOPIC.into();
            let body = envelope.to_string().into_bytes();
            let now = Time::from_seconds(1_781_519_600);
            let sent = Notification { headers: &headers, query: "", body: &body, url: None, now };
            assert_eq!(ScalewayTem.asks(&sent).is_some(), good, "{url}");
        }
    }
}
