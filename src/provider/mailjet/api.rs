//! Mailjet's API: messages by when they came in, the history of each, and contacts.
//!
//! A message has the address but not its events, a history has the events but no address: the row
//! of a history carries what it needs of its message. Source: dev.mailjet.com/email/reference,
//! "Messages", "Message Events" and "Contacts".

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::wire::{self, Count, Flag, Id, Text, Told, When};
use super::super::{
    Feed, Key, Page, PageError, PageRequest, Provider, Query, SettingError, Stamp, Unreadable,
};
use super::{Mailjet, Wire, not_an_event};
use crate::model::{Element, Event, EventKind, Reason, Scope, Time};

/// The API, by region.
const APIS: &[(&str, &str)] =
    &[("eu", "https://api.mailjet.com/v3/REST"), ("us", "https://api.us.mailjet.com/v3/REST")];

pub(super) const KEYS: &[Key] = &[
    Key::secret("api_key"),
    Key::secret("secret_key"),
    Key::optional_text("region"),
    Key::optional_text("base_url"),
];

/// A message is listed by when it came in: what becomes of it is found by reading again.
pub(super) const FEEDS: &[Feed] = &[
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

/// One event in the history of a message.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Past {
    event_at: When,
    event_type: Told,
    comment: Text,
    state: Text,
    useragent: Text,
}

/// The message of a history.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Message {
    #[serde(rename = "ID")]
    id: Id,
    contact_alt: Told,
    #[serde(rename = "StateID")]
    state: Count,
    state_permanent: Flag,
    #[serde(rename = "CampaignID")]
    campaign: Id,
}

/// A contact: not a list of suppressions, but it says who wants no campaigns and who complained.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Contact {
    email: Told,
    is_excluded_from_campaigns: Flag,
    exclusion_from_campaigns_updated_at: When,
    is_spam_complaining: Flag,
}

pub(super) fn request(query: &Query<'_>) -> Result<PageRequest, SettingError> {
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

pub(super) fn page(query: &Query<'_>, body: &[u8]) -> Result<Page, PageError> {
    let mut rows = wire::rows_under("Data", body)?;
    if let Some(message) = query.next.filter(|next| message_of(next).is_some()) {
        rows.iter_mut().for_each(|row| message.clone_into(&mut row.context));
        return Ok(Page::new(rows, None));
    }
    let (status, offset) = place(query.next);
    let more = rows.len() >= PAGE_ROWS;
    let mut page = Page::counted(rows, offset, more, |from| format!("{status} {from}"));
    if query.feed == "contacts" {
        page.rows.retain(is_told_by);
        return Ok(page);
    }
    // A message whose status changes leaves the listing of the one that it had.
    let following = STATUSES.iter().find(|known| **known > status);
    page.next = page.next.or_else(|| following.map(|status| format!("{status} 0")));
    for row in std::mem::take(&mut page.rows) {
        match message(&row) {
            Some(message) => page.details.push(message),
            None => page.rows.push(row),
        }
    }
    Ok(page)
}

/// An event of a message's history in the form of a webhook's, and what an unsubscription covers:
/// the campaign, as the API does not tell its list.
pub(super) fn polled(element: &Element) -> Result<(Wire, Option<Scope>), Unreadable> {
    let past: Past = wire::object(&element.body).map_err(not_an_event)?;
    let message: Message = wire::object(element.context.as_bytes()).map_err(not_an_event)?;
    let name = past.event_type.need("EventType")?.to_lowercase();
    let known = HISTORY.iter().find(|(known, ..)| *known == name);
    let (event, hard) = known.map_or((name.as_str(), None), |(_, event, hard)| (*event, *hard));
    let said = past.state.as_deref().unwrap_or("").to_lowercase();
    let of_message = |row: &&(u64, &str, &str)| Some(row.0) == *message.state;
    let by_words = STATES.iter().find(|(_, _, error)| *error == said);
    let state = by_words.or_else(|| STATES.iter().find(of_message));
    // The message's own state is that of how it ended, and says nothing of what went well.
    let state = state.filter(|_| matches!(event, "bounce" | "blocked"));
    let campaign = message.campaign.as_deref().filter(|id| *id != "0");
    let wire = Wire {
        event: event.into(),
        time: past.event_at,
        email: message.contact_alt,
        message_id: message.id,
        hard_bounce: hard.or(*message.state_permanent).into(),
        error_related_to: state.map(|(_, about, _)| (*about).to_owned()).into(),
        error: state.map(|(.., error)| (*error).to_owned()).into(),
        comment: past.comment,
        agent: past.useragent,
        ..Wire::default()
    };
    let scope = campaign.map(|id| wire::stream(&format!("campaign-{id}"))).transpose()?;
    Ok((wire, scope))
}

/// What is known of a contact, if anything is held against mailing it.
pub(super) fn contact(element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
    let row: Contact = wire::object(&element.body)
        .map_err(|error| Unreadable(format!("not a contact of Mailjet's: {error}")))?;
    let address = row.email.address("Email")?;
    let name = "ExclusionFromCampaignsUpdatedAt";
    let excluded = row.exclusion_from_campaigns_updated_at.some();
    let at = excluded.map(|time| time.utc(name, stamp.received_at)).transpose()?;
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
    if row.is_spam_complaining.is_on() {
        events.push(listed("IsSpamComplaining", Reason::Complaint, None));
    }
    if row.is_excluded_from_campaigns.is_on() {
        let event = listed("IsExcludedFromCampaigns", Reason::Unsubscribe, at);
        events.push(Event { scope: wire::stream("campaigns")?, ..event });
    }
    Ok(events)
}

/// Whether a contact, or what cannot be read as one, is kept.
fn is_told_by(row: &Element) -> bool {
    match wire::object(&row.body) {
        Ok(Contact { email, is_spam_complaining, is_excluded_from_campaigns, .. }) => {
            let is_held = is_spam_complaining.is_on() || is_excluded_from_campaigns.is_on();
            is_held || email.text().is_none()
        }
        Err(_) => true,
    }
}

/// What leads to the history of a message: what an event needs of it, as JSON.
fn message(row: &Element) -> Option<String> {
    let read: Message = wire::object(&row.body).ok()?;
    read.contact_alt.text()?;
    let mut message: Map<String, Value> = wire::object(&row.body).ok()?;
    message.retain(|key, _| MESSAGE.contains(&key.as_str()));
    let text = Value::Object(message).to_string();
    message_of(&text).is_some().then_some(text)
}

/// The id of the message that a token is of, if it is of one.
fn message_of(token: &str) -> Option<String> {
    let Message { id, .. } = wire::object(token.as_bytes()).ok()?;
    (*id).clone().filter(|id| id.bytes().all(|b| b.is_ascii_digit()))
}

/// The status and the offset that a token leads to.
fn place(next: Option<&str>) -> (u8, u64) {
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
