//! Adapters: one file per provider, webhook and poll together.
//!
//! An adapter is pure. It cuts a body into elements, reads elements as events, builds requests and
//! cuts pages. It never sees a socket, a clock or the store: times and keys are arguments.

mod adapter;
mod amazon_ses;
mod api;
mod brevo;
mod custom;
mod elastic_email;
mod fleet;
mod forward_email;
mod generic;
mod guides;
mod held;
mod imported;
mod judge;
mod listing;
mod mailersend;
mod mailgun;
mod mailjet;
mod mailtrap;
mod mandrill;
mod operator;
mod packed;
mod postal;
mod postmark;
mod push;
mod resend;
mod scaleway_tem;
mod sendgrid;
mod settings;
#[cfg(test)]
mod signed;
mod smtp2go;
mod sparkpost;
mod standard_webhooks;
mod stretch;
mod turned;
mod unisender_go;
mod verify;
pub mod wire;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use url::Url;

pub use adapter::Adapter;
pub use api::{
    Feed, Leads, Method, Page, PageError, PageRequest, Query, Rate, Rows, Seam, Window, numbered,
    row_key,
};
pub use fleet::{Reached, Told, reached, reached_element, told, told_element};
pub use guides::{GUIDES, Guide};
pub use held::{hold_element, hold_rule};
pub use imported::{IMPORT, Imported};
pub use judge::Judge;
pub use operator::{
    Instruction, MassStep, OPERATOR, OWN, correction, correction_element, instruction_element,
    mass_element, mass_step,
};
pub use packed::{UNPACKED_MAX, gunzip, is_packed};
pub use push::{
    Outlet, Places, Push, Pushing, outlet, place_key, place_of, place_since, place_step,
    push_element, push_step,
};
pub use settings::{Key, KeyKind, Setting, SettingError, SettingErrors, Settings};
pub use standard_webhooks::signing_key;
pub use stretch::{read_stretch, stretch_element};
pub use turned::{TURNED, turned, turned_element};
pub use verify::{
    Algorithm, BASIC_CHALLENGE, CREDENTIAL_KEYS, Check, Draft, Encoding, Envelope, Form, Hash, Mac,
    Notification, PLACEHOLDER, Piece, Place, PublicKey, PublicKeyBytes, Refusal, SNS_KEYS, Scheme,
    Sns, SnsService, Stamp as SignedStamp, Substitute, checks_of_credentials,
};

use verify::text_at;

use crate::model::{
    Address, Element, Event, EventKind, Origin, Reason, Scope, SourceName, Submission, Time,
};

/// Every provider that a source can name. README's table is checked against this list.
pub static ALL: &[&dyn Provider] = &[
    &generic::Generic,
    &amazon_ses::AmazonSes,
    &brevo::Brevo,
    &custom::Custom,
    &elastic_email::ElasticEmail,
    &forward_email::ForwardEmail,
    &mailersend::MailerSend,
    &mailgun::Mailgun,
    &mailjet::Mailjet,
    &mailtrap::Mailtrap,
    &mandrill::Mandrill,
    &postal::Postal,
    &postmark::Postmark,
    &resend::Resend,
    &scaleway_tem::ScalewayTem,
    &sendgrid::SendGrid,
    &smtp2go::Smtp2go,
    &sparkpost::SparkPost,
    &standard_webhooks::StandardWebhooks,
    &unisender_go::UnisenderGo,
];

/// The provider of that name, among those that a source can name, the operator's, our own and that
/// of imported files.
pub fn by_name(name: &str) -> Option<&'static dyn Provider> {
    let internal: [&'static dyn Provider; 3] =
        [&operator::Operator(OPERATOR), &operator::Operator(OWN), &imported::Import];
    ALL.iter().copied().chain(internal).find(|provider| provider.name() == name)
}

/// What is known of an element beside its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// Who told it.
    pub source: &'a SourceName,
    /// How.
    pub origin: Origin,
    /// The feed, for a polled row; else empty.
    pub feed: &'a str,
    /// When.
    pub received_at: Time,
}

/// What reading needs of the configuration.
#[derive(Clone, Default)]
pub struct Reading {
    /// What judges failures.
    pub judge: Judge,
    /// The providers that sources describe.
    pub described: HashMap<SourceName, Adapter>,
}

impl Stamp<'_> {
    /// An event of which no more is known.
    pub fn event(
        &self,
        provider: &'static str,
        kind: EventKind,
        provider_kind: String,
        address: Address,
        at: Time,
    ) -> Event {
        Event {
            source: self.source.clone(),
            provider: provider.into(),
            kind,
            address,
            scope: Scope::Global,
            at,
            told_at: None,
            received_at: self.received_at,
            origin: self.origin,
            failure: None,
            message_id: None,
            smtp_code: None,
            enhanced_code: None,
            diagnostic: None,
            tags: Vec::new(),
            url: None,
            user_agent: None,
            provider_kind,
            provider_event_id: None,
            identity: None,
            machine: false,
            metadata: None,
            reason: None,
            until: None,
            loose: false,
            undated: false,
            lifts: None,
        }
    }

    /// A row of the provider's own list, with the time that it bears. Read again it is the same
    /// event; with a later time it is another.
    pub fn listed(
        &self,
        provider: &'static str,
        reason: Option<Reason>,
        address: Address,
        time: Option<(&str, Time)>,
    ) -> Event {
        let (given, at) = time.unwrap_or(("", self.received_at));
        Event {
            reason,
            identity: Some(format!("{}:{given}", self.feed)),
            undated: time.is_none(),
            ..self.event(provider, EventKind::Listed, self.feed.to_owned(), address, at)
        }
    }
}

/// The events of one element of a submission, as its provider reads them.
///
/// # Errors
/// When it cannot be understood, or this version has no such provider.
pub fn read_element(
    reading: &Reading,
    submission: &Submission,
    element: &Element,
) -> Result<Vec<Event>, Unreadable> {
    if element.is_blank() {
        return Ok(Vec::new());
    }
    let described = reading.described.get(&submission.source).map(|provider| &**provider);
    let described = described.filter(|provider| provider.name() == &*submission.provider);
    let provider = described.or_else(|| by_name(&submission.provider)).ok_or_else(|| {
        Unreadable(format!("this version has no provider {:?}", submission.provider))
    })?;
    let stamp = Stamp {
        source: &submission.source,
        origin: submission.origin,
        feed: &submission.feed,
        received_at: submission.received_at,
    };
    // A defect of an adapter costs one element, not the daemon: the journal would bring the same
    // bytes again at every start.
    let read = || -> Result<Vec<Event>, Unreadable> {
        let mut events = read_judged(provider, element, &stamp, &reading.judge)?;
        if events.iter().any(|event| event.at == stamp.received_at) {
            // At the end of time, every time that was told is believed.
            let told = provider.read(element, &Stamp { received_at: Time::END, ..stamp })?;
            know_by_what_was_told(&mut events, &told, &stamp, element);
        }
        Ok(events)
    };
    let mut events = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        let name = provider.name();
        Err(Unreadable(format!("a defect of the adapter {name} kept it from being read")))
    })?;
    // Of somebody who was forgotten, nothing is told.
    events.retain(|event| !event.address.is_blank());
    let loose = provider.times_differ();
    for event in &mut events {
        event.loose = loose && event.identity.is_none();
        if !reading.judge.listed_by_rule {
            listing::end(event);
        }
    }
    Ok(events)
}

/// The events of one element, as that provider reads them, each failure judged.
///
/// # Errors
/// When it cannot be understood.
pub fn read_judged(
    provider: &dyn Provider,
    element: &Element,
    stamp: &Stamp<'_>,
    judge: &Judge,
) -> Result<Vec<Event>, Unreadable> {
    let mut events = provider.read(element, stamp)?;
    events.iter_mut().for_each(|event| judge.judge(event));
    Ok(events)
}

/// Gives events that have our time, since theirs is not believed or not there, what makes them the
/// same whenever they are told.
fn know_by_what_was_told(
    events: &mut [Event],
    told: &[Event],
    stamp: &Stamp<'_>,
    element: &Element,
) {
    for (number, (event, told)) in events.iter_mut().zip(told).enumerate() {
        if event.at != stamp.received_at || told.at == event.at {
            continue;
        }
        event.told_at = Some(told.at);
        if told.at == Time::END && event.identity.is_none() {
            let hash = Sha256::new().chain_update(&element.context).chain_update(&element.body);
            event.identity = Some(format!("{number} of {}", HEXLOWER.encode(&hash.finalize())));
        }
    }
}

/// An element cannot be understood: it goes to quarantine, with this as the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// A sample notification, before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The body's media type.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// What an authentic notification asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Fetch this, to confirm a subscription.
    Confirm(Url),
    /// Answer with this JSON, to show that the endpoint is ours.
    Echo(serde_json::Value),
}

/// One e-mail service: how it authenticates, what its events mean, how its API is asked.
pub trait Provider: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &'static str;

    /// How its webhook is verified, in a few words, for README's table.
    fn verification(&self) -> &'static str;

    /// The same of this source: it may be one that the source describes.
    fn proven(&self) -> String {
        self.verification().to_owned()
    }

    /// The settings that its `webhook` table takes, beside the credentials that all take.
    fn webhook_keys(&self) -> &'static [Key] {
        &[]
    }

    /// The checks that these settings ask for. All of them must hold. None: the provider has no
    /// scheme of its own, and the credentials that all take must do.
    ///
    /// # Errors
    /// When a setting is missing or cannot be used.
    fn checks(&self, _settings: &Settings) -> Result<Vec<Check>, SettingError> {
        Ok(Vec::new())
    }

    /// The provider as a source describes it, where the settings of its two tables say what its
    /// events mean.
    ///
    /// # Errors
    /// When the description cannot be used; it is about `poll` where that is there.
    fn configured(
        &self,
        _webhook: Option<&Settings>,
        _poll: Option<&Settings>,
    ) -> Result<Option<Box<dyn Provider>>, SettingErrors> {
        Ok(None)
    }

    /// What the settings of the two tables can be meant to say, and most times are not. They can be
    /// used; of `webhook` only where there is no `poll`.
    fn doubts(&self, _webhook: Option<&Settings>, _poll: Option<&Settings>) -> Vec<SettingError> {
        Vec::new()
    }

    /// The kinds of events that it tells: those of which it has a sample, those that only its API
    /// tells, and what is on its lists.
    fn kinds(&self) -> Vec<EventKind> {
        let address = Address::parse("user@example.com").ok();
        let has = |kind: &EventKind| {
            let sample = |address| self.sample(*kind, address, Time::from_seconds(0));
            address.as_ref().and_then(sample).is_some() || self.kinds_polled().contains(kind)
        };
        let is_listed = |kind: &EventKind| {
            let mut feeds = self.feeds().iter();
            *kind == EventKind::Listed && feeds.any(|feed| feed.rows == Rows::Suppressions)
        };
        EventKind::ALL.into_iter().filter(|kind| has(kind) || is_listed(kind)).collect()
    }

    /// The kinds that only its API tells, beside those of its lists.
    fn kinds_polled(&self) -> &'static [EventKind] {
        &[]
    }

    /// Cuts a notification into elements, one per event. What it cannot cut is one element.
    fn split(&self, notification: &Notification<'_>) -> Vec<Element>;

    /// What an authentic notification asks for instead of, or beside, being kept.
    fn asks(&self, _notification: &Notification<'_>) -> Option<Ask> {
        None
    }

    /// The event types to tick at the provider, for `suppressd check`. Empty: there is no choice.
    fn event_types(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether an unauthentic notification is a harmless probe, to be answered 200 and forgotten.
    fn is_probe(&self, _notification: &Notification<'_>) -> bool {
        false
    }

    /// Whether there are such probes: only then is a body read that cannot be authentic.
    fn has_probes(&self) -> bool {
        false
    }

    /// What is signed, where that does not cover the body: another notification with the same is
    /// believed only if its body is the same too.
    fn once(&self, _notification: &Notification<'_>) -> Option<String> {
        None
    }

    /// Whether bodies may come packed with gzip. What is signed and read is then what they hold.
    fn takes_gzip(&self) -> bool {
        false
    }

    /// Whether events come by GET, in the query of the URL.
    fn by_query(&self) -> bool {
        false
    }

    /// Reads one element: one event per recipient. A failure is of the kind that the provider calls
    /// it, and says in [`Event::failure`] what is known of it; [`Judge`] gives it its class.
    ///
    /// # Errors
    /// When it cannot be understood.
    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable>;

    /// The feeds it can be polled for, in the order they are asked. Empty: it has no poll.
    fn feeds(&self) -> &[Feed] {
        &[]
    }

    /// Whether these settings say where that feed is. A feed that an API may not have is asked only
    /// then, unless the source names it.
    fn has_feed(&self, _feed: &str, _settings: &Settings) -> bool {
        true
    }

    /// Whether its webhook and its API give the same event times that differ by up to two seconds,
    /// and no id that both have.
    fn times_differ(&self) -> bool {
        false
    }

    /// The settings that its `poll` table takes, beside those of the schedule.
    fn poll_keys(&self) -> &'static [Key] {
        &[]
    }

    /// How often its API may be asked, where its headers do not tell. `None`: as answers allow.
    fn rate(&self) -> Option<Rate> {
        None
    }

    /// The request for the page that the query leads to.
    ///
    /// # Errors
    /// When a setting cannot be used, or `next` leads to another host.
    fn page_request(&self, query: &Query<'_>) -> Result<PageRequest, SettingError> {
        let hint = "remove `poll`";
        Err(query.settings.problem("poll", "this provider has no API to poll", hint))
    }

    /// Cuts the answer to [`Provider::page_request`] into rows. `url` is where it came from.
    ///
    /// # Errors
    /// When it is not a page of this feed.
    fn page(&self, _query: &Query<'_>, _url: &Url, _body: &[u8]) -> Result<Page, PageError> {
        Err(PageError("this provider has no API to poll".to_owned()))
    }

    /// The same of an answer with `Link` headers (RFC 8288), all of them with commas between.
    ///
    /// # Errors
    /// When it is not a page of this feed.
    fn linked_page(
        &self,
        query: &Query<'_>,
        url: &Url,
        _links: &str,
        body: &[u8],
    ) -> Result<Page, PageError> {
        self.page(query, url, body)
    }

    /// Whether an answer that is no 200 says that our credentials are refused, where its status
    /// (401, 403) does not.
    fn is_unauthorised(&self, _status: u16, _body: &[u8]) -> bool {
        false
    }

    /// A sample notification of that kind. `None`: the provider has no such event.
    fn sample(&self, _kind: EventKind, _address: &Address, _now: Time) -> Option<Sample> {
        None
    }
}
