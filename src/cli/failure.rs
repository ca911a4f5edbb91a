//! How a verb ends when it does not succeed, and the exit status of each such end.

use std::fmt;

use crate::control::client::CallError;

/// The exit status of a verb, or why it has none of its own.
pub(super) type Outcome = Result<u8, Failure>;

/// Exit status: carried out, but not wholly, or not at all.
pub(super) const FAILED: u8 = 1;
/// Exit status of sysexits.h, `EX_USAGE`.
const USAGE: u8 = 64;
/// Exit status of sysexits.h, `EX_CONFIG`.
const CONFIGURATION: u8 = 78;

/// Why a verb ends early.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was not carried out, or not wholly.
    Failed(String),
    /// The command line makes no sense.
    Usage(String),
    /// The same, as clap says it: with its own prefix and hints.
    Clap(String),
    /// The configuration is wrong or cannot be read; already with everything there is to say.
    Configuration(String),
    /// Whoever read our output has stopped, as `head` does. Nothing is wrong.
    Closed,
}

impl Failure {
    /// The exit status.
    pub(super) fn code(&self) -> u8 {
        match self {
            Failure::Failed(_) => FAILED,
            Failure::Usage(_) | Failure::Clap(_) => USAGE,
            Failure::Configuration(_) => CONFIGURATION,
            Failure::Closed => 0,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Failed(why) | Failure::Usage(why) | Failure::Configuration(why) => {
                write!(f, "suppressd: {}", why.trim_end())
            }
            Failure::Clap(why) => f.write_str(why.trim_end()),
            Failure::Closed => Ok(()),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Failure {
        match error {
            CallError::Failed { error, usage: true } => Failure::Usage(error),
            error => Failure::Failed(error.to_string()),
        }
    }
}
