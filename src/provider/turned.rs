//! How the journal says that a verdict has turned by itself: at the end of a term, or by other
//! rules. An element of our own; it tells of no fact.

use serde::{Deserialize, Serialize};

use crate::model::{Element, Turn};

/// What the body of such an element begins with.
pub const TURNED: &[u8] = b"{\"turned\":";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    turned: Turn,
}

/// The element that tells of a turn.
pub fn turned_element(turn: &Turn) -> Element {
    let body = serde_json::to_vec(&Wire { turned: turn.clone() });
    #[expect(clippy::expect_used, reason = "texts, numbers and lists always have a JSON form")]
    Element { context: String::new(), body: body.expect("these have a JSON form") }
}

/// The turn that an element of ours tells of, if it does.
pub fn turned(element: &Element) -> Option<Turn> {
    serde_json::from_slice(&element.body).ok().map(|wire: Wire| wire.turned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Reason, Scope, SourceName, Time, Until};

    #[test]
    fn a_turn_is_read_as_it_was_written_and_nothing_else_is_one() {
        let at = Time::from_nanos(1_700_000_000_123_456_789, 9);
        let turn = Turn {
            address: "J\u{f6}rg@x.test".into(),
            scope: Scope::Stream("news".into()),
            added: true,
            reason: Reason::SoftBounces,
            sources: vec![SourceName::parse("app").unwrap()],
            since: Some(at),
            until: Until::At(at),
            note: Some("by phone".into()),
            at,
        };
        let gone = Turn { added: false, since: None, note: None, ..turn.clone() };
        for turn in [turn, gone] {
            let element = turned_element(&turn);
            assert!(element.body.starts_with(TURNED));
            assert_eq!(turned(&element), Some(turn));
        }
        for body in ["", "{}", "{\"do\":\"lift\"}", "[1]", "{\"turned\":3}"] {
            let element = Element { context: String::new(), body: body.into() };
            assert_eq!(turned(&element), None, "{body}");
        }
    }
}
