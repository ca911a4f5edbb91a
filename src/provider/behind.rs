//! How the journal says that the clock was behind for a while: an element of our own.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Behind, Element, Position, Time};

#[derive(Serialize, Deserialize)]
struct Wire {
    behind_seconds: u64,
    behind_nanos: u32,
    segment: u32,
    offset: u32,
    since: String,
    until: String,
}

/// The element that tells of a stretch.
pub fn behind_element(behind: &Behind) -> Element {
    let wire = Wire {
        behind_seconds: behind.by.as_secs(),
        behind_nanos: behind.by.subsec_nanos(),
        segment: behind.from.segment,
        offset: behind.from.offset,
        since: behind.since.to_string(),
        until: behind.until.to_string(),
    };
    #[expect(clippy::expect_used, reason = "a struct of numbers and texts has a JSON form")]
    let body = serde_json::to_vec(&wire).expect("numbers and texts have a JSON form");
    Element { context: String::new(), body }
}

/// The stretch that an element of ours tells of, if it does.
pub fn behind_stretch(element: &Element) -> Option<Behind> {
    let wire: Wire = serde_json::from_slice(&element.body).ok()?;
    // A second that has more nanoseconds than there are would panic in `Duration::new`.
    let nanos = Duration::from_nanos(wire.behind_nanos.into());
    Some(Behind {
        from: Position { segment: wire.segment, offset: wire.offset },
        since: Time::parse(&wire.since)?,
        until: Time::parse(&wire.until)?,
        by: Duration::from_secs(wire.behind_seconds).checked_add(nanos)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_is_read_as_it_was_written_and_nothing_else_is_one() {
        let behind = Behind {
            from: Position { segment: 3, offset: 88 },
            since: Time::from_nanos(1_700_000_000_123_456_789, 9),
            until: Time::from_nanos(1_700_000_900_000_000_001, 9),
            by: Duration::new(31_536_000, 7),
        };
        assert_eq!(behind_stretch(&behind_element(&behind)), Some(behind));
        for body in ["", "{}", "{\"do\":\"lift\"}", "[1]"] {
            let element = Element { context: String::new(), body: body.into() };
            assert_eq!(behind_stretch(&element), None, "{body}");
        }
    }
}
