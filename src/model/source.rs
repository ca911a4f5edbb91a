//! The name of a source: one configured account at a provider.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest name of a source, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// A source's name: 1 to 64 of `a-z`, `0-9` and `-`. It is part of the webhook's path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SourceName(Arc<str>);

/// The text is not a source's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a source's name is 1 to 64 of the characters a-z, 0-9 and -")]
pub struct SourceNameError;

impl SourceName {
    /// Checks and keeps a name.
    ///
    /// # Errors
    /// When it is empty, too long, or has other characters than `a-z0-9-`.
    pub fn parse(text: &str) -> Result<SourceName, SourceNameError> {
        let fits = !text.is_empty() && text.len() <= NAME_BYTES_MAX;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if fits && text.bytes().all(plain) {
            Ok(SourceName(text.into()))
        } else {
            Err(SourceNameError)
        }
    }

    /// The source that an operator's own commands are attributed to; no configured one has it.
    pub fn operator() -> SourceName {
        SourceName("operator".into())
    }

    /// The source of what is imported without another's name; no configured one has it.
    pub fn import() -> SourceName {
        SourceName("import".into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        assert!(SourceName::parse("acme-sendgrid-2").is_ok());
        for bad in ["", "Acme", "a b", "a/b", "a_b", "ä", &"a".repeat(65)] {
            assert_eq!(SourceName::parse(bad), Err(SourceNameError), "{bad:?}");
        }
    }
}
