//! What is told, as JSON; and its signature, by Standard Webhooks.
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::Subjects;
use crate::model::{Time, Turn, row};
use crate::secret::Secret;
use crate::store::{Told, TurnPlace};

/// One thing to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// What it is recognised by: the same each time that it is told.
    pub(super) id: String,
    /// The key of the address that it is about.
    pub(super) about: Box<str>,
    /// When it came or turned, by our clock.
    pub(super) at: Time,
    /// The body.
    pub(super) body: String,
}

impl Message {
    pub(super) fn of_event(told: &Told) -> Message {
        let event = &told.event;
        let data = row::event(&told.id.to_string(), event, &told.origins);
        let name = format!("event.{}", event.kind);
        let id = format!("evt_{}", told.id);
        Message::new(id, event.address.key(), event.received_at, &name, event.at, &data)
    }

    pub(super) fn of_turn(place: TurnPlace, turn: &Turn) -> Message {
        let TurnPlace { record, element, number } = place;
        let place = [&record.as_u64().to_be_bytes()[..], &element.to_be_bytes()];
        let id = format!("sup_{}{number:08x}", HEXLOWER.encode(&place.concat()));
        let sources: Vec<&str> = turn.sources.iter().map(|source| source.as_str()).collect();
        let data = json!({
            "address": turn.address,
            "scope": turn.scope.to_string(),
            "reason": turn.reason.as_str(),
            "since": turn.since.map(|time| time.to_string()),
            "until": turn.until.time().filter(|_| turn.added).map(|time| time.to_string()),
            "sources": sources,
            "note": turn.note,
        });
        let name = if turn.added { Subjects::ADDED } else { Subjects::LIFTED };
        let about = turn.address.to_lowercase();
        Message::new(id, &about, turn.at, name, turn.at, &data)
    }

    fn new(
        id: String,
        about: &str,
        at: Time,
        name: &str,
        timestamp: Time,
        data: &Value,
    ) -> Message {
        let timestamp = timestamp.to_string();
        let body = json!({ "type": name, "timestamp": timestamp, "data": data }).to_string();
        Message { id, about: about.into(), at, body }
    }

    /// As a line of a file.
    pub(super) fn line(&self) -> String {
        // The body is an object that is not empty.
        let rest = self.body.strip_prefix('{').unwrap_or_default();
        format!("{{\"id\":\"{}\",{rest}\n", self.id)
    }

    /// The signatures of a telling at a second, one for each key.
    pub(super) fn signature(&self, keys: &[Secret], second: i64) -> String {
        let signed = format!("{}.{second}.{}", self.id, self.body);
        let one = |key: &Secret| {
            #[expect(clippy::expect_used, reason = "RFC 2104 takes a key of any length")]
            let mut mac = Hmac::<Sha256>::new_from_slice(key.reveal()).expect("any key length");
            mac.update(signed.as_bytes());
            format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()))
        };
        keys.iter().map(one).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Position, Reason, Scope, Until};

    #[test]
    fn a_turn_is_told_and_signed_as_the_standard_has_it() {
        let at = Time::parse("2026-06-15T10:32:11Z").unwrap();
        let turn = Turn {
            address: "User@example.com".into(),
            scope: Scope::Global,
            added: true,
            reason: Reason::HardBounce,
            sources: Vec::new(),
            since: Some(at),
            until: Until::Forever,
            note: None,
            at,
        };
        let place =
            TurnPlace { record: Position { segment: 1, offset: 16 }, element: 1, number: 7 };
        let message = Message::of_turn(place, &turn);
        assert_eq!(message.id, "sup_00000001000000100000000100000007");
        let body: Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!(body["type"], "suppression.added");
        assert_eq!(body["data"]["address"], "User@example.com");
        let line: Value = serde_json::from_str(&message.line()).unwrap();
        assert_eq!((&line["id"], &line["type"]), (&message.id.clone().into(), &body["type"]));
        // The specification's own example.
        let key = BASE64.decode(b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let message = Message {
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned(),
            body: "{\"test\": 2432232314}".to_owned(),
            ..message
        };
        let signature =
            message.signature(&[Secret::new(key), Secret::new(*b"next")], 1_614_265_330);
        let first = signature.split(' ').next();
        assert_eq!(first, Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
        assert_eq!(signature.split(' ').count(), 2);
    }
}
