//! Forms that standings had in earlier versions, as the store may still hold them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::standing::{Despite, Ground};
use super::{
    Bounce, Cuts, EventId, Latest, Lifts, MessageKey, Reason, SourceName, Standing, Tally, Time,
    Until,
};

/// The first form: an end was its date alone.
#[derive(Debug, Serialize, Deserialize)]
pub struct Standing1 {
    spelling: Box<str>,
    grounds: Vec<((Reason, SourceName), Ground1)>,
    soft: BTreeMap<MessageKey, Bounce1>,
    blocked: BTreeMap<MessageKey, Bounce1>,
    delivered: Option<Time>,
    lifts: BTreeMap<Lifts, Time>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Ground1 {
    first: Time,
    latest: Latest2,
}

#[derive(Debug, Serialize, Deserialize)]
struct Bounce1 {
    at: Time,
    source: SourceName,
}

/// The second form: nothing had a class.
#[derive(Debug, Serialize, Deserialize)]
pub struct Standing2 {
    spelling: Box<str>,
    grounds: Vec<((Reason, SourceName), Ground2)>,
    soft: BTreeMap<MessageKey, Bounce2>,
    blocked: BTreeMap<MessageKey, Bounce2>,
    delivered: Cuts,
    lifts: BTreeMap<Lifts, Cuts>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Ground2 {
    first: Time,
    latest: Latest2,
    despite: Option<Box<Despite2>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Despite2 {
    record: u64,
    latest: Latest2,
}

#[derive(Debug, Serialize, Deserialize)]
struct Latest2 {
    at: Time,
    until: Until,
    evidence: EventId,
    note: Option<Box<str>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Bounce2 {
    despite: Option<u64>,
    at: Time,
    source: SourceName,
}

impl From<Latest2> for Latest {
    fn from(Latest2 { at, until, evidence, note }: Latest2) -> Latest {
        Latest { at, until, evidence, class: None, note }
    }
}

impl From<Ground1> for Ground {
    fn from(Ground1 { first, latest }: Ground1) -> Ground {
        Ground { first, latest: latest.into(), despite: None }
    }
}

impl From<Ground2> for Ground {
    fn from(Ground2 { first, latest, despite }: Ground2) -> Ground {
        let whole = |old: Box<Despite2>| {
            Box::new(Despite { record: old.record, latest: old.latest.into() })
        };
        Ground { first, latest: latest.into(), despite: despite.map(whole) }
    }
}

impl From<Bounce1> for Bounce {
    fn from(Bounce1 { at, source }: Bounce1) -> Bounce {
        Bounce::at(at, source)
    }
}

impl From<Bounce2> for Bounce {
    fn from(Bounce2 { despite, at, source }: Bounce2) -> Bounce {
        Bounce { despite, ..Bounce::at(at, source) }
    }
}

impl From<Standing1> for Standing {
    fn from(old: Standing1) -> Standing {
        Standing {
            spelling: old.spelling,
            grounds: grounds(old.grounds),
            soft: tally(old.soft),
            blocked: tally(old.blocked),
            delivered: old.delivered.map_or_else(Cuts::default, Cuts::of),
            lifts: old.lifts.into_iter().map(|(covers, at)| (covers, Cuts::of(at))).collect(),
            ..Standing::default()
        }
    }
}

impl From<Standing2> for Standing {
    fn from(old: Standing2) -> Standing {
        Standing {
            spelling: old.spelling,
            grounds: grounds(old.grounds),
            soft: tally(old.soft),
            blocked: tally(old.blocked),
            delivered: old.delivered,
            lifts: old.lifts,
            ..Standing::default()
        }
    }
}

fn grounds<K, G: Into<Ground>>(old: Vec<(K, G)>) -> Vec<(K, Ground)> {
    old.into_iter().map(|(key, ground)| (key, ground.into())).collect()
}

fn tally<B: Into<Bounce>>(old: BTreeMap<MessageKey, B>) -> Tally {
    Tally::from_parts(old.into_iter().map(|(message, bounce)| (message, bounce.into())))
}
