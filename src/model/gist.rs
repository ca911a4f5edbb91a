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
    /// The address as received; where it is stored beside its key, empty if it is the same.
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

    /// The address with that key as received.
    pub fn spelling<'s>(&'s self, key: &'s str) -> &'s str {
        match self {
            Gist::Sole(Sole { spelling: "", .. }) => key,
            Gist::Sole(sole) => sole.spelling,
            Gist::Whole(standing) => standing.spelling(),
        }
    }

    /// Leaves the spelling out, if it is the key.
    #[must_use]
    pub fn beside(self, key: &str) -> Gist<'a> {
        match self {
            Gist::Sole(sole) if sole.spelling == key => Gist::Sole(Sole { spelling: "", ..sole }),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EventId, Fact, Latest, Reason, SourceName, Telling};

    #[test]
    fn a_spelling_is_left_out_only_where_its_key_says_it() {
        for (spelling, key, stored) in [
            ("user@x.test", "user@x.test", ""),
            ("User@x.test", "user@x.test", "User@x.test"),
            ("ß@x.test", "ss@x.test", "ß@x.test"),
        ] {
            let mut standing = Standing::default();
            let (at, until, note) = (Time::from_seconds(1), Until::Forever, None);
            let (evidence, class) = (EventId::from_bytes([7; 16]), None);
            let latest = Latest { at, until, evidence, class, note };
            let (reason, source) = (Reason::Manual, SourceName::operator());
            let fact = Fact::Ground { reason, source, latest };
            standing.merge(spelling, fact, &Telling::BY_DATE);
            let gist = Gist::of(&standing).beside(key);
            assert!(matches!(&gist, Gist::Sole(sole) if sole.spelling == stored), "{gist:?}");
            assert_eq!(gist.spelling(key), spelling);
            let whole = Gist::Whole(Cow::Borrowed(&standing)).beside(key);
            assert_eq!(whole.spelling(key), spelling);
        }
    }
}
