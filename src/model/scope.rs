//! What a suppression covers: all mail, or one stream of it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a suppression covers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// All mail to the address.
    #[default]
    Global,
    /// One list, group or stream of a provider.
    Stream(Box<str>),
}

/// Longest name of a stream, in bytes.
const STREAM_BYTES_MAX: usize = 256;

impl Scope {
    /// From `global` or `stream:<name>`; a name is 1 to 256 bytes without control characters.
    pub fn parse(text: &str) -> Option<Scope> {
        if text == "global" {
            return Some(Scope::Global);
        }
        let name = text.strip_prefix("stream:")?;
        let fits = !name.is_empty() && name.len() <= STREAM_BYTES_MAX;
        (fits && !name.chars().any(char::is_control)).then(|| Scope::Stream(name.into()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Global => f.write_str("global"),
            Scope::Stream(name) => write!(f, "stream:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for text in ["global", "stream:news", "stream:a:b"] {
            assert_eq!(Scope::parse(text).map(|s| s.to_string()).as_deref(), Some(text));
        }
        for bad in ["", "stream:", "news", "stream:a\nb"] {
            assert_eq!(Scope::parse(bad), None, "{bad:?}");
        }
    }
}
