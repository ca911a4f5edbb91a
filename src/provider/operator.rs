//! An operator's own commands, written and read as elements like any provider's.
//!
//! So `add` and `lift` take the one way in, are merged by the one set of rules, and survive as
//! every other fact does. No source can name this provider.

use serde::{Deserialize, Serialize};

use super::{
    Notification, Provider, Stamp, Unreadable, hold_rule, push_step, reached, read_stretch, told,
    turned, wire,
};
use crate::model::{
    Correction, Element, Event, EventKind, Lifts, MassId, Reason, Scope, SourceName, Time,
};

/// The name that it has in the journal.
pub const OPERATOR: &str = "operator";

/// The name in the journal of what suppressd itself concludes for a source: what is gone from its
/// list is told in the same form.
pub const OWN: &str = "suppressd";

/// One of the two who write instructions, by name.
pub(super) struct Operator(pub(super) &'static str);

/// One command about one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// True: suppress it. False: lift what suppresses it.
    pub add: bool,
    /// The address, as typed or as stored.
    pub address: String,
    /// What it covers.
    pub scope: Scope,
    /// When it takes effect; a lift covers what happened at or before it.
    pub at: Time,
    /// When an addition ends by itself.
    pub until: Option<Time>,
    /// Why.
    pub note: Option<String>,
    /// What a lift is limited to; of an addition, the reason that it gives, else `manual`.
    pub lifts: Lifts,
}

/// A step about a mass of suppressions that is held back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MassStep {
    /// What still comes of it is not held.
    Pass(MassId),
    /// An address, by its key, and a scope are held no longer.
    Free(MassId, String, Scope),
    /// It is no more, if it holds nobody.
    End(MassId),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireStep {
    mass: MassStep,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireCorrection {
    correction: Correction,
}

/// The element that carries a step about a mass.
pub fn mass_element(step: &MassStep) -> Element {
    element(&WireStep { mass: step.clone() })
}

/// The step that an element carries, if it does.
pub fn mass_step(element: &Element) -> Option<MassStep> {
    serde_json::from_slice(&element.body).ok().map(|wire: WireStep| wire.mass)
}

/// The element that carries a correction.
pub fn correction_element(correction: &Correction) -> Element {
    element(&WireCorrection { correction: correction.clone() })
}

/// The correction that an element carries, if it does.
pub fn correction(element: &Element) -> Option<Correction> {
    serde_json::from_slice(&element.body).ok().map(|wire: WireCorrection| wire.correction)
}

fn element(wire: &impl Serialize) -> Element {
    let body = serde_json::to_vec(wire);
    #[expect(clippy::expect_used, reason = "texts, numbers and lists always have a JSON form")]
    Element { context: String::new(), body: body.expect("these have a JSON form") }
}

#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(rename = "do")]
    verb: String,
    address: String,
    scope: String,
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

/// The element that carries an instruction.
pub fn instruction_element(instruction: &Instruction) -> Element {
    let wire = Wire {
        verb: if instruction.add { "add" } else { "lift" }.to_owned(),
        address: instruction.address.clone(),
        scope: instruction.scope.to_string(),
        at: instruction.at.to_string(),
        until: instruction.until.map(|until| until.to_string()),
        note: instruction.note.clone(),
        reason: instruction.lifts.reason.map(|reason| reason.to_string()),
        source: instruction.lifts.source.as_ref().map(ToString::to_string),
    };
    element(&wire)
}

impl Provider for Operator {
    fn name(&self) -> &'static str {
        self.0
    }

    fn verification(&self) -> &'static str {
        "the control socket's permissions"
    }

    fn split(&self, notification: &Notification<'_>) -> Vec<Element> {
        wire::split_json(notification.body)
    }

    fn read(&self, element: &Element, stamp: &Stamp<'_>) -> Result<Vec<Event>, Unreadable> {
        // A step of ours, of the clock or of the configuration, is no event, nor looks like one.
        let is_step = match self.0 {
            OWN => {
                push_step(element).is_some()
                    || read_stretch(element).is_some()
                    || hold_rule(element).is_some()
                    || told(element).is_some()
                    || turned(element).is_some()
                    || reached(element).is_some()
            }
            _ => mass_step(element).is_some() || correction(element).is_some(),
        };
        if is_step {
            return Ok(Vec::new());
        }
        let wire: Wire = serde_json::from_slice(&element.body)
            .map_err(|error| Unreadable(format!("not an instruction: {error}")))?;
        let unreadable = |what: &str| Unreadable(format!("{what} is not valid"));
        let time = |text: &str| Time::parse(text).ok_or_else(|| unreadable("the time"));
        let at = time(&wire.at)?;
        let lifts = Lifts {
            reason: known(wire.reason.as_deref(), Reason::parse)
                .ok_or_else(|| unreadable("the reason"))?,
            source: known(wire.source.as_deref(), |name| SourceName::parse(name).ok())
                .ok_or_else(|| unreadable("the source"))?,
        };
        let kind = match wire.verb.as_str() {
            "add" => EventKind::Listed,
            "lift" => EventKind::Unlisted,
            _ => return Err(unreadable("the verb")),
        };
        // Two commands in one second are two: each has its own nanosecond, and its limits.
        let identity = format!("{}{:?}", at.nanos(), lifts);
        let address = wire::mailbox(&wire.address)?;
        let event = Event {
            scope: Scope::parse(&wire.scope).ok_or_else(|| unreadable("the scope"))?,
            diagnostic: wire.note,
            identity: Some(identity),
            until: wire.until.as_deref().map(time).transpose()?,
            reason: lifts.reason.filter(|_| kind == EventKind::Listed),
            lifts: (kind == EventKind::Unlisted).then_some(lifts),
            ..stamp.event(self.name(), kind, wire.verb, address, at)
        };
        Ok(vec![event])
    }
}

/// An absent limit is none; one that cannot be read must not widen the lift.
fn known<T>(text: Option<&str>, parse: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    match text {
        None => Some(None),
        Some(text) => parse(text).map(Some),
    }
}
