//! What verdicts need of a standing, borrowed from it.

use super::{Reason, Standing, Time, Until};

/// All that verdicts need of a standing: the verdict on it is the one on the standing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gist<'a> {
    /// Nearly all are so.
    Sole(Sole<'a>),
    /// Any other.
    Whole(&'a Standing),
}

/// A standing in which there is one ground, and nothing that takes anything from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        standing.sole().map_or(Gist::Whole(standing), Gist::Sole)
    }

    /// The address as received.
    pub fn spelling(&self) -> &'a str {
        match self {
            Gist::Sole(sole) => sole.spelling,
            Gist::Whole(standing) => standing.spelling(),
        }
    }
}
