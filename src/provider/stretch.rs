//! How the journal says that the clock was wrong for a while: an element of our own.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Element, Position, Stretch, Time};

#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(flatten)]
    by: By,
    segment: u32,
    offset: u32,
    since: String,
    until: String,
}

/// By how much it was wrong. An earlier version knows only the first, and takes the second for
/// nothing else.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum By {
    Behind { behind_seconds: u64, behind_nanos: u32 },
    Ahead { ahead_seconds: u64, ahead_nanos: u32 },
}

/// The element that tells of a stretch.
pub fn stretch_element(stretch: &Stretch) -> Element {
    let (seconds, nanos) = (stretch.by.as_secs(), stretch.by.subsec_nanos());
    let by = match stretch.was_ahead {
        true => By::Ahead { ahead_seconds: seconds, ahead_nanos: nanos },
        false => By::Behind { behind_seconds: seconds, behind_nanos: nanos },
    };
    let wire = Wire {
        by,
        segment: stretch.from.segment,
        offset: stretch.from.offset,
        since: stretch.since.to_string(),
        until: stretch.until.to_string(),
    };
    #[expect(clippy::expect_used, reason = "a struct of numbers and texts has a JSON form")]
    let body = serde_json::to_vec(&wire).expect("numbers and texts have a JSON form");
    Element { context: String::new(), body }
}

/// The stretch that an element of ours tells of, if it does.
pub fn read_stretch(element: &Element) -> Option<Stretch> {
    let wire: Wire = serde_json::from_slice(&element.body).ok()?;
    let (was_ahead, seconds, nanos) = match wire.by {
        By::Behind { behind_seconds, behind_nanos } => (false, behind_seconds, behind_nanos),
        By::Ahead { ahead_seconds, ahead_nanos } => (true, ahead_seconds, ahead_nanos),
    };
    // A second that has more nanoseconds than there are would panic in `Duration::new`.
    let nanos = Duration::from_nanos(nanos.into());
    Some(Stretch {
        from: Position { segment: wire.segment, offset: wire.offset },
        since: Time::parse(&wire.since)?,
        until: Time::parse(&wire.until)?,
        by: Duration::from_secs(seconds).checked_add(nanos)?,
        was_ahead,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_is_read_as_it_was_written_and_nothing_else_is_one() {
        for was_ahead in [false, true] {
            let stretch = Stretch {
                from: Position { segment: 3, offset: 88 },
                since: Time::from_nanos(1_700_000_000_123_456_789, 9),
                until: Time::from_nanos(1_700_000_900_000_000_001, 9),
                by: Duration::new(31_536_000, 7),
                was_ahead,
            };
            assert_eq!(read_stretch(&stretch_element(&stretch)), Some(stretch));
        }
        for body in ["", "{}", "{\"do\":\"lift\"}", "[1]"] {
            let element = Element { context: String::new(), body: body.into() };
            assert_eq!(read_stretch(&element), None, "{body}");
        }
    }
}
