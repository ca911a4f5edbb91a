//! Adding to the providers' own suppression lists, and taking off them: what is asked, and what the
//! answers mean.
//!
//! Everything here may be asked again with no harm. The origin and the credentials are those of the
//! provider's feeds.

mod outlets;
mod places;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

pub use places::{Places, place_key, place_of, place_since, place_step};

use super::amazon_ses;
use super::{Key, Method, PageRequest, Provider, Query, Rows, SettingError, Settings, Window};
use crate::model::{Element, PushStage, PushVerb, Pushed, Reason, Time};

/// One address, to be put on a list or taken off it.
#[derive(Clone, Copy)]
pub struct Push<'a> {
    /// The provider.
    pub provider: &'a dyn Provider,
    /// The source's settings for its API.
    pub settings: &'a Settings,
    /// What is to be done.
    pub verb: PushVerb,
    /// The address's key.
    pub address: &'a str,
    /// Why it is suppressed. `None`: it no longer is.
    pub reason: Option<Reason>,
    /// The present, for signatures that hold a date.
    pub now: Time,
}

/// What an answer comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushing {
    /// It is done, or was so already.
    Done,
    /// These are to be asked first.
    Next(Vec<PageRequest>),
    /// The provider will not do it.
    Refused,
    /// Our credentials do not allow it.
    Denied,
    /// It is to be asked again later.
    Later,
}

type Requests = Result<Vec<PageRequest>, SettingError>;

/// How one provider's list is written to.
pub struct Outlet {
    /// The provider's name.
    provider: &'static str,
    /// The part of the feeds' path with which the API's own paths begin.
    below: &'static str,
    /// What it needs beside the settings of the feeds.
    keys: &'static [Key],
    requests: fn(&Push<'_>, &Outlet) -> Requests,
    /// What an answer means; `None`: what its status says.
    answer: fn(&Push<'_>, &PageRequest, u16, &Value) -> Option<Pushing>,
}

/// How a provider's list is written to; `None`: it cannot be.
pub fn outlet(provider: &str) -> Option<&'static Outlet> {
    outlets::OUTLETS.iter().find(|outlet| outlet.provider == provider)
}

impl Outlet {
    /// The settings that `push` takes beside its own.
    pub fn keys(&self) -> &'static [Key] {
        self.keys
    }

    /// What is to be asked, in this order.
    ///
    /// # Errors
    /// When a setting is missing or cannot be used.
    pub fn requests(&self, push: &Push<'_>) -> Requests {
        (self.requests)(push, self)
    }

    /// What an answer to one of them means.
    pub fn answer(
        &self,
        push: &Push<'_>,
        asked: &PageRequest,
        status: u16,
        body: &[u8],
    ) -> Pushing {
        let value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let said = (self.answer)(push, asked, status, &value);
        said.unwrap_or(match status {
            200..=299 => Pushing::Done,
            404 | 410 if push.verb == PushVerb::Remove => Pushing::Done,
            409 if push.verb == PushVerb::Add => Pushing::Done,
            401 | 403 => Pushing::Denied,
            408 | 425 | 429 => Pushing::Later,
            400..=499 => Pushing::Refused,
            _ => Pushing::Later,
        })
    }
}

impl Push<'_> {
    fn is_add(&self) -> bool {
        self.verb == PushVerb::Add
    }

    /// What asks for the first page of the provider's list: it shows where the API is.
    fn query(&self) -> Query<'_> {
        let feeds = self.provider.feeds();
        let list = feeds.iter().find(|feed| feed.rows == Rows::Suppressions);
        let feed = list.map_or("", |feed| &feed.name);
        let window = Window { since: self.now, until: self.now };
        Query { settings: self.settings, feed, window, next: None, now: self.now }
    }

    /// A request to the API at that path, with the credentials of the provider's feeds.
    fn call(
        &self,
        outlet: &Outlet,
        method: Method,
        path: &[&str],
    ) -> Result<PageRequest, SettingError> {
        let sample = self.provider.page_request(&self.query())?;
        let mut url = self.base(outlet, &sample.url)?;
        // Some servers take a bare `+` for a space, in a path too.
        let path: Vec<String> = path.iter().map(|part| amazon_ses::encode(part)).collect();
        url.set_path(&format!("{}/{}", url.path().trim_end_matches('/'), path.join("/")));
        Ok(PageRequest { method, url, headers: sample.headers, body: None })
    }

    /// The API's own root: what stands in a feed's URL before its path.
    fn base(&self, outlet: &Outlet, feed: &Url) -> Result<Url, SettingError> {
        let strange = || {
            let hint = "it is the API's root, such as \"https://host/v1\"";
            self.settings.problem("base_url", "does not lead to the API's lists", hint)
        };
        let end = feed.path().rfind(&format!("/{}", outlet.below)).ok_or_else(strange)?;
        let mut url = feed.clone();
        url.set_path(&feed.path()[..end]);
        url.set_query(None);
        Ok(url)
    }

    /// The values under a key.
    fn values(&self, key: &str) -> Vec<&str> {
        let named = self.settings.texts(key).iter().map(String::as_str);
        named.chain(self.settings.text(key)).collect()
    }

    /// The same request for each of the values under a key.
    fn each(&self, key: &str, request: impl Fn(&str) -> Requests) -> Requests {
        let values = self.values(key);
        if values.is_empty() {
            let hint = "the provider's list is kept for each of them";
            return Err(self.settings.problem(key, "is needed to push", hint));
        }
        let mut all = Vec::new();
        for value in values {
            all.extend(request(value)?);
        }
        Ok(all)
    }
}

/// A step that was made about an address, as the journal has it.
#[derive(Serialize, Deserialize)]
struct WireStep {
    push: PushVerb,
    stage: PushStage,
    address: String,
    began: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    added: Option<String>,
    at: String,
}

/// The element that notes a step about the address of that key.
pub fn push_element(address: &str, step: &Pushed) -> Element {
    let wire = WireStep {
        push: step.verb,
        stage: step.stage,
        address: address.to_owned(),
        began: step.began.to_string(),
        added: step.added.map(|added| added.to_string()),
        at: step.at.to_string(),
    };
    #[expect(clippy::expect_used, reason = "a struct of texts always has a JSON form")]
    let body = serde_json::to_vec(&wire).expect("texts have a JSON form");
    Element { context: String::new(), body }
}

/// The address's key and the step that an element of ours notes, if it does.
pub fn push_step(element: &Element) -> Option<(String, Pushed)> {
    let wire: WireStep = serde_json::from_slice(&element.body).ok()?;
    let added = match &wire.added {
        None => None,
        Some(text) => Some(Time::parse(text)?),
    };
    let (began, at) = (Time::parse(&wire.began)?, Time::parse(&wire.at)?);
    Some((wire.address, Pushed { verb: wire.push, stage: wire.stage, began, added, at }))
}
