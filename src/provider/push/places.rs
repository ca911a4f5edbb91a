//! The places of a list that is kept in several: by domain, by stream. One that is new lacks what
//! was pushed before.

use serde_json::Value;

use super::{Outlet, Push, outlets};
use crate::model::{PushStage, PushVerb, Pushed, Time};
use crate::provider::{PageRequest, SettingError};

/// The setting that names them, by provider.
const NAMED: &[(&str, &str)] = &[
    ("custom", "each"),
    ("mailersend", "domains"),
    ("mailgun", "domains"),
    ("mailtrap", "domain_ids"),
    (ASKED, "streams"),
    ("scaleway-tem", "domain_ids"),
];

/// The provider that is asked for them where none is named.
const ASKED: &str = "postmark";

/// What stands before a place's name where an address's key would: no key has a bare space.
const MARK: &str = "place ";

/// Where the places of a list are known from.
pub enum Places {
    /// They are these. None: the list is one.
    Named(Vec<String>),
    /// The answer to this tells them.
    Asked(PageRequest),
}

impl Outlet {
    /// Where the places of the list are known from.
    ///
    /// # Errors
    /// When a setting is missing or cannot be used.
    pub fn places(&self, push: &Push<'_>) -> Result<Places, SettingError> {
        let Some((_, key)) = NAMED.iter().find(|(name, _)| *name == self.provider) else {
            return Ok(Places::Named(Vec::new()));
        };
        let named: Vec<String> = push.values(key).into_iter().map(str::to_owned).collect();
        if named.is_empty() && self.provider == ASKED {
            return Ok(Places::Asked(outlets::postmark_listing(push, self)?));
        }
        Ok(Places::Named(named))
    }

    /// The places that an answer tells. `None`: it tells none.
    pub fn places_told(&self, body: &[u8]) -> Option<Vec<String>> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let ids: Vec<String> = outlets::postmark_ids(&body)?.map(str::to_owned).collect();
        (!ids.is_empty()).then_some(ids)
    }
}

/// What a step is noted under that is about a place, as others are under an address.
pub fn place_key(place: &str) -> String {
    format!("{MARK}{place}")
}

/// The place that a step is about, by what it is noted under.
pub fn place_of(key: &str) -> Option<&str> {
    key.strip_prefix(MARK)
}

/// The step that notes a place as there from `since` on, or as gone. As that of an address it
/// would ask for nothing.
pub fn place_step(since: Option<Time>, now: Time) -> Pushed {
    let stage = if since.is_some() { PushStage::Done } else { PushStage::Refused };
    Pushed { verb: PushVerb::Remove, stage, began: since.unwrap_or(now), added: None, at: now }
}

/// Since when a place is there, by its step; `None`: it is gone.
pub fn place_since(step: &Pushed) -> Option<Time> {
    (step.stage == PushStage::Done).then_some(step.began)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Address;
    use crate::provider::{Setting, Settings, by_name, outlet};
    use crate::secret::Secret;

    /// The places of a provider's list with these settings, or where they are asked for.
    fn places(provider: &str, set: &[(&'static str, &[&str])]) -> Result<Vec<String>, String> {
        let mut settings = Settings::default();
        settings.set("server_token", Setting::Secrets(vec![Secret::new("t")]));
        for (key, texts) in set {
            let texts = texts.iter().map(|text| (*text).to_owned()).collect();
            settings.set(key, Setting::Texts(texts));
        }
        let push = Push {
            provider: by_name(provider).unwrap(),
            settings: &settings,
            verb: PushVerb::Add,
            address: "",
            reason: None,
            now: Time::from_seconds(1_780_000_000),
        };
        match outlet(provider).unwrap().places(&push).unwrap() {
            Places::Named(places) => Ok(places),
            Places::Asked(request) => Err(request.url.to_string()),
        }
    }

    #[test]
    fn every_place_is_named_or_told() {
        assert_eq!(places("mailgun", &[("domains", &["a", "b"])]).unwrap(), ["a", "b"]);
        assert_eq!(places("scaleway-tem", &[("domain_ids", &["1"])]).unwrap(), ["1"]);
        assert_eq!(places("custom", &[("each", &["x"])]).unwrap(), ["x"]);
        assert_eq!(places("postmark", &[("streams", &["outbound"])]).unwrap(), ["outbound"]);
        for provider in ["sendgrid", "custom"] {
            assert_eq!(places(provider, &[]), Ok(Vec::new()), "{provider}: one list");
        }
        let asked = places("postmark", &[]).unwrap_err();
        assert_eq!(asked, "https://api.postmarkapp.com/message-streams?MessageStreamType=All");
        let told = |body: &str| outlet("postmark").unwrap().places_told(body.as_bytes());
        let streams = r#"{"MessageStreams":[{"ID":"outbound","MessageStreamType":"Transactional"},
            {"ID":"in","MessageStreamType":"Inbound"},
            {"ID":"news","MessageStreamType":"Broadcasts"}]}"#;
        assert_eq!(told(streams).unwrap(), ["outbound", "news"]);
        for none in ["", "{}", r#"{"MessageStreams":[]}"#] {
            assert_eq!(told(none), None, "{none}");
        }
    }

    #[test]
    fn a_place_is_no_address() {
        for place in ["outbound", "a@b.example", ""] {
            let key = place_key(place);
            assert_eq!(place_of(&key), Some(place));
            assert!(Address::parse(&key).is_err(), "{key}");
        }
        let quoted = Address::parse("\"place a\"@b.example").unwrap();
        assert_eq!(place_of(quoted.key()), None);
    }
}
