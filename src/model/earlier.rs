//! Forms that standings had in earlier versions, as the store may still hold them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::standing::Ground;
use super::{Bounce, Cuts, Latest, Lifts, MessageKey, Reason, SourceName, Standing, Tally, Time};

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
    latest: Latest,
}

#[derive(Debug, Serialize, Deserialize)]
struct Bounce1 {
    at: Time,
    source: SourceName,
}

impl From<Standing1> for Standing {
    fn from(old: Standing1) -> Standing {
        let ground =
            |(key, Ground1 { first, latest })| (key, Ground { first, latest, despite: None });
        let tally = |bounces: BTreeMap<MessageKey, Bounce1>| {
            let bounce = |(message, Bounce1 { at, source })| (message, Bounce::at(at, source));
            Tally::from_parts(bounces.into_iter().map(bounce))
        };
        Standing {
            spelling: old.spelling,
            grounds: old.grounds.into_iter().map(ground).collect(),
            soft: tally(old.soft),
            blocked: tally(old.blocked),
            delivered: old.delivered.map_or_else(Cuts::default, Cuts::of),
            lifts: old.lifts.into_iter().map(|(covers, at)| (covers, Cuts::of(at))).collect(),
        }
    }
}
