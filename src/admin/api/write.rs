//! Suppressing and lifting over HTTP. Both can be repeated: what is so already stays so.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Answered;
use super::query::Query;
use crate::admin::lift::Target;
use crate::admin::suppressions::{Wanted, parse_address, parse_reason, parse_scope, parse_time};
use crate::admin::{Admin, Failure, ListFilter, rows};
use crate::clock;
use crate::model::bounds::check_note;
use crate::model::{Address, Element, Lifts, Reason, Scope, Time};
use crate::provider::{Instruction, instruction_element};

/// Most addresses of one request.
const ADDITIONS_MAX: usize = 1_000;

/// The body of a request that suppresses.
#[derive(Deserialize)]
#[serde(untagged)]
enum Body {
    One(Wire),
    Many(Vec<Wire>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with an address")]
struct Wire {
    address: String,
    scope: Option<String>,
    reason: Option<String>,
    until: Option<String>,
    note: Option<String>,
}

/// One address to suppress.
struct Addition {
    address: Address,
    scope: Scope,
    reason: Reason,
    until: Option<Time>,
    note: Option<String>,
}

impl Addition {
    fn parse(wire: Wire) -> Result<Addition, Failure> {
        let note = wire.note;
        check_note(note.as_deref().unwrap_or_default()).map_err(Failure::usage)?;
        let until = wire.until.as_deref().map(parse_time).transpose()?;
        let reason = wire.reason.as_deref().map(parse_reason).transpose()?;
        if reason == Some(Reason::SoftBounces) {
            let hint = "soft bounces are counted; use \"manual\" or \"hard_bounce\"";
            return Err(Failure::usage(hint));
        }
        Ok(Addition {
            address: parse_address(&wire.address)?,
            scope: parse_scope(wire.scope.as_deref().unwrap_or("global"))?,
            reason: reason.unwrap_or(Reason::Manual),
            until,
            note,
        })
    }

    fn instruction(&self, at: Time) -> Instruction {
        Instruction {
            add: true,
            address: self.address.received().to_owned(),
            scope: self.scope.clone(),
            at,
            until: self.until,
            note: self.note.clone(),
            lifts: Lifts { reason: Some(self.reason), source: None },
        }
    }
}

impl Admin {
    /// Suppresses the addresses of a body: all of them, or none.
    pub async fn suppress(&self, body: &[u8]) -> Answered {
        self.put(body).await.map(|value| value.to_string()).into()
    }

    async fn put(&self, body: &[u8]) -> Result<Value, Failure> {
        let now = clock::receipt();
        let hint = "send {\"address\": …}, with reason, scope, until, note if need be, \
                    or an array of them";
        let bad = |error| Failure::usage(format!("{error}; {hint}"));
        // An untagged form would hide which field is wrong.
        let starts_list = body.trim_ascii_start().starts_with(b"[");
        let body = if starts_list {
            Body::Many(serde_json::from_slice(body).map_err(bad)?)
        } else {
            Body::One(serde_json::from_slice(body).map_err(bad)?)
        };
        let (wires, is_list) = match body {
            Body::One(wire) => (vec![wire], false),
            Body::Many(wires) => (wires, true),
        };
        if wires.len() > ADDITIONS_MAX {
            let most = format!("one request has {ADDITIONS_MAX} addresses at most");
            return Err(Failure::usage(most));
        }
        let parse = |(index, wire)| {
            let numbered = |failure: Failure| {
                let place = if is_list { format!("row {}: ", index + 1) } else { String::new() };
                Failure { error: format!("{place}{}", failure.error), ..failure }
            };
            Addition::parse(wire).map_err(numbered)
        };
        let additions: Vec<Addition> =
            wires.into_iter().enumerate().map(parse).collect::<Result<_, _>>()?;
        // What has ended already adds nothing, and takes nothing from what suppresses.
        let adding = additions.iter().filter(|it| it.until.is_none_or(|until| until > now));
        let elements: Vec<Element> =
            adding.map(|addition| instruction_element(&addition.instruction(now))).collect();
        if !elements.is_empty() {
            self.instruct(elements, Vec::new()).await?;
        }
        let mut answers = Vec::new();
        for Addition { address, scope, .. } in &additions {
            let found = self.verdict(address, scope)?;
            let never = self.rules.never.entry(address.key());
            let (named, within) = (address.received(), scope.to_string());
            answers.push(rows::verdict(named, &within, found.as_ref(), never));
        }
        Ok(if is_list { json!({ "suppressions": answers }) } else { answers.remove(0) })
    }

    /// Lifts what suppresses an address, in one scope or in all, by the fields of a query.
    pub async fn unsuppress(&self, address: &str, fields: Vec<(String, String)>) -> Answered {
        match self.end(address, fields).await {
            Ok(None) => Answered::Clear,
            Ok(Some(lifted)) => Answered::Found(lifted.to_string()),
            Err(failure) => Answered::from(Err(failure)),
        }
    }

    async fn end(
        &self,
        address: &str,
        fields: Vec<(String, String)>,
    ) -> Result<Option<Value>, Failure> {
        let mut query = Query::new(fields)?;
        let (note, scope) = (query.take("note"), query.take("scope"));
        query.finish()?;
        check_note(note.as_deref().unwrap_or_default()).map_err(Failure::usage)?;
        let address = parse_address(address)?;
        let wanted = Wanted::parse(ListFilter { scope, ..ListFilter::default() })?;
        let mut targets = self.targets(std::slice::from_ref(&address), &wanted)?;
        targets.retain(|target| target.reason.is_some());
        if targets.is_empty() {
            return Ok(None);
        }
        let lifts = targets.iter().flat_map(|target| target.lifts(note.as_deref()));
        let elements = lifts.map(|lift| instruction_element(&lift)).collect();
        self.instruct(elements, Vec::new()).await?;
        let ended = |target: &Target| {
            json!({
                "scope": target.scope.to_string(),
                "reason": target.reason.map(Reason::as_str),
            })
        };
        let lifted: Vec<Value> = targets.iter().map(ended).collect();
        Ok(Some(json!({ "address": address.received(), "lifted": lifted })))
    }
}
