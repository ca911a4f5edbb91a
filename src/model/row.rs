//! Events and classes as rows of JSON, with the field names that every output has.

use serde_json::{Value, json};

use super::{Class, Event, Origin};

/// A row of `events`. Absent fields are `null`.
pub fn event(id: &str, event: &Event, origins: &[Origin]) -> Value {
    let metadata = event.metadata.as_deref();
    let metadata = metadata.and_then(|text| serde_json::from_str::<Value>(text).ok());
    json!({
        "id": id,
        "source": event.source.as_str(),
        "provider": event.provider,
        "kind": event.kind.as_str(),
        "class": event.class().map(Class::as_str),
        "address": event.address.received(),
        "scope": event.scope.to_string(),
        "at": event.at.to_string(),
        "received_at": event.received_at.to_string(),
        "origin": event.origin.as_str(),
        "origins": origins.iter().map(|origin| origin.as_str()).collect::<Vec<_>>(),
        "message_id": event.message_id,
        "smtp_code": event.smtp_code,
        "enhanced_code": event.enhanced_code,
        "diagnostic": event.diagnostic,
        "tags": event.tags,
        "url": event.url,
        "user_agent": event.user_agent,
        "provider_kind": event.provider_kind,
        "provider_event_id": event.provider_event_id,
        "machine": event.machine,
        "metadata": metadata,
    })
}
