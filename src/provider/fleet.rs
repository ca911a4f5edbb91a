//! What a host is told of a fleet that is no event: how much is known by now, and what a peer knows
//! of an address for which the journals have no records any more. Elements of our own.

use serde::{Deserialize, Serialize};

use crate::model::{Element, Fact, Known, Scope, Standing, StreamPlace};

/// How much is known of the hosts' lives, however that came, and how far the stream is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reached {
    /// Of each life, up to where.
    pub reached: Vec<Known>,
    /// Where the stream is read up to.
    pub place: Option<StreamPlace>,
}

/// What a peer knows of one address in one scope: facts, to be merged as any others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// The key of the address.
    pub address: Box<str>,
    /// As it was received.
    pub spelling: Box<str>,
    /// The scope.
    pub scope: Scope,
    /// The facts.
    pub told: Vec<Fact>,
}

impl Told {
    /// What a standing says.
    pub fn of(address: &str, scope: Scope, standing: &Standing) -> Told {
        let (spelling, told) = (standing.spelling().into(), standing.facts());
        Told { address: address.into(), spelling, scope, told }
    }
}

/// The element that says how much is known.
pub fn reached_element(reached: &Reached) -> Element {
    element(reached)
}

/// What such an element says, if it is one.
pub fn reached(element: &Element) -> Option<Reached> {
    serde_json::from_slice(&element.body).ok()
}

/// The element that says what a peer knows of an address.
pub fn told_element(told: &Told) -> Element {
    element(told)
}

/// What such an element says, if it is one.
pub fn told(element: &Element) -> Option<Told> {
    serde_json::from_slice(&element.body).ok()
}

fn element(wire: &impl Serialize) -> Element {
    let body = serde_json::to_vec(wire);
    #[expect(clippy::expect_used, reason = "texts, numbers and lists always have a JSON form")]
    Element { context: String::new(), body: body.expect("these have a JSON form") }
}
