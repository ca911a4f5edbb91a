//! What a daemon has its LMDB maps written by: this program, in a process of its own. No verb for
//! people.

use std::env;

use crate::export;

/// How such a process is called.
pub(super) const VERB: &str = "write-maps";

/// Writes maps until the daemon has ended, if it is a daemon that calls.
pub(super) fn served() -> bool {
    env::args_os().nth(1).is_some_and(|verb| verb == VERB) && export::serve_maps().is_ok()
}
