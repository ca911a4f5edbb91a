//! This host's part in a fleet, from when it joins until it leaves.

use crate::fleet::{self, Handle, Settings, Shared};
use crate::ingest::Running;
use crate::stop::Part;
use crate::turns::{Tellers, Turns};
use crate::webhook::Tokens;

/// A host that has joined.
pub(super) struct Member {
    settings: Settings,
    /// What an operator asks.
    pub(super) handle: Handle,
    /// Who polls.
    pub(super) turns: Turns,
    /// Who forwards.
    pub(super) tellers: Tellers,
}

impl Member {
    /// Joins it.
    pub(super) fn join(settings: Settings, running: &Running, tokens: Tokens) -> (Member, Part) {
        let (turns, tellers) = (fleet::turns(&settings), Tellers::elected());
        let shared = Shared { tokens, turns: turns.clone(), tellers: tellers.clone() };
        let (handle, part) = fleet::start(settings.clone(), running, shared);
        (Member { settings, handle, turns, tellers }, part)
    }

    /// Stays with other settings, if they differ in nothing but what all hosts should agree on.
    pub(super) fn stays_with(&self, settings: &Settings) -> bool {
        let agreed = self.settings.agreed;
        let stays = self.settings == Settings { agreed, ..settings.clone() };
        if stays {
            self.handle.agree(settings.agreed);
        }
        stays
    }
}
