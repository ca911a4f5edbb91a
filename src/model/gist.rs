//! What verdicts need of a standing, in a form that is read without copying anything.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Reason, Standing, Time, Until};

/// All that verdicts need of a standing: the verdict on it is the one on the standing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gist<'a> {
    /// Nearly all are so.
    #[serde(borrow)]
    Sole(Sole<'a>),
    /// Any other.
    Whole(Cow<'a, Standing>),
}

/// A standing in which there is one ground, and nothing that takes anything from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sole<'a> {
    /// The address as received.
    pub spelling: &'a str,
    /// The reason.
    pub reason: Reason,
    /// Who told it.
    pub source: &'a str,
    /// When it was first so.
    pub first: Time,
    /// When it was last so.
    pub at: Time,
    /// When it ends by itself, where the teller said so.
    pub until: Until,
}

impl<'a> Gist<'a> {
    /// Of a standing.
    pub fn of(standing: &'a Standing) -> Gist<'a> {
        standing.sole().map_or(Gist::Whole(Cow::Borrowed(standing)), Gist::Sole)
    }

    /// The address as received.
    pub fn spelling(&self) -> &str {
        match self {
            Gist::Sole(sole) => sole.spelling,
            Gist::Whole(standing) => standing.spelling(),
        }
    }
}
