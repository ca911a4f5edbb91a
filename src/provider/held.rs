//! How the journal says by which rule masses are held from here on: an element of our own.
//!
//! So what was held stays so when the store is made again, whatever the configuration says by then.

use serde::{Deserialize, Serialize};

use crate::model::{Element, Hold};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    /// `None`, which must be written: nothing is held.
    #[serde(deserialize_with = "Option::deserialize")]
    hold: Option<Hold>,
}

/// The element that tells of a rule.
pub fn hold_element(hold: Option<Hold>) -> Element {
    #[expect(clippy::expect_used, reason = "a struct of numbers has a JSON form")]
    let body = serde_json::to_vec(&Wire { hold }).expect("numbers have a JSON form");
    Element { context: String::new(), body }
}

/// The rule that an element of ours tells of, if it does.
pub fn hold_rule(element: &Element) -> Option<Option<Hold>> {
    serde_json::from_slice(&element.body).ok().map(|wire: Wire| wire.hold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_as_it_was_written_and_nothing_else_is_one() {
        for hold in [None, Some(Hold { count: 7, by_domain: false, ..Hold::default() })] {
            assert_eq!(hold_rule(&hold_element(hold)), Some(hold));
        }
        for body in ["", "{}", "{\"do\":\"lift\"}", "[1]", "{\"hold\":3}"] {
            let element = Element { context: String::new(), body: body.into() };
            assert_eq!(hold_rule(&element), None, "{body}");
        }
    }
}
