//! What lies in the journal and the store, damaged in any way: it is refused, or means one thing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use suppressd::model::{EventKind, Payload, QuarantineId, Scope, SourceName, Submission, Time};
use suppressd::poll::Mark;

fuzz_target!(|data: &[u8]| {
    if let Ok(submission) = Submission::decode(data) {
        let mut payload = Payload::open(data.to_vec()).unwrap();
        let elements = std::iter::from_fn(|| payload.advance()).map(|(_, element)| element);
        assert_eq!(elements.collect::<Vec<_>>(), submission.elements, "read piece by piece");
        assert_eq!(Submission::decode(&submission.encode()), Ok(submission));
    } else {
        assert!(Payload::open(data.to_vec()).is_err());
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(mark) = Mark::decode(text) {
        assert_eq!(Mark::decode(&mark.encode()), Ok(mark));
    }
    if let Ok(id) = text.parse::<QuarantineId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    if let Ok(name) = SourceName::parse(text) {
        assert_eq!(name.as_str(), text);
        assert!(!text.contains(['/', '\n', '?', '#']), "a path of its own");
    }
    if let Some(scope) = Scope::parse(text) {
        assert_eq!(scope.to_string(), text);
    }
    if let Some(time) = Time::parse(text) {
        assert_eq!(Time::parse(&time.to_string()), Some(time));
    }
    assert!(EventKind::parse(text).is_none_or(|kind| kind.as_str() == text));
});
