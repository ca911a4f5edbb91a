//! What the intake is told: where the state is, when what is due, and what may be exchanged.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::MEMORY;
use crate::current::Current;
use crate::model::{Hold, Time};
use crate::provider::Reading;
use crate::rules::Rules;
use crate::store::Paths;

/// What decides what is concluded, and what is kept: each may be exchanged while the intake runs.
/// Cheap to clone.
#[derive(Clone)]
pub struct Policy {
    /// What a change of a verdict is.
    pub rules: Arc<Current<Rules>>,
    /// What reading elements needs.
    pub reading: Arc<Current<Reading>>,
    /// How long received payloads are kept.
    pub retention: Arc<Current<Duration>>,
    /// What a mass is that is held back. `None`: nothing is held.
    pub hold: Arc<Current<Option<Hold>>>,
    /// What those know who are told of each verdict that turns. `None`: nobody is told.
    pub turns: Arc<Current<Option<Known>>>,
}

/// What somebody knows who was told of each verdict that turned: all verdicts, by these rules and
/// as of this instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// By which rules.
    pub rules: Arc<Rules>,
    /// As of when.
    pub at: Time,
}

/// What intake needs to know.
#[derive(Clone)]
pub struct Settings {
    /// The state directory.
    pub state: PathBuf,
    /// Most bytes that are received and not yet durable. Reading the large ones may take as many
    /// again.
    pub memory: usize,
    /// What may be exchanged while it runs.
    pub policy: Policy,
    /// A checkpoint is written after so many bytes of journal.
    pub checkpoint_bytes: u64,
    /// A run of the base is made of so many changed keys.
    pub base_keys: usize,
    /// A checkpoint is written after this time, if there is anything new.
    pub checkpoint_every: Duration,
    /// The store is synced at this interval: so much must be applied again after a crash.
    pub sync_every: Duration,
}

impl Settings {
    /// The usual ones.
    pub fn new(
        state: PathBuf,
        retention: Duration,
        rules: Arc<Rules>,
        reading: Arc<Reading>,
    ) -> Settings {
        let policy = Policy {
            rules: Arc::new(Current::new(rules)),
            reading: Arc::new(Current::new(reading)),
            retention: Arc::new(Current::new(retention)),
            hold: Arc::default(),
            turns: Arc::default(),
        };
        Settings {
            state,
            memory: MEMORY,
            policy,
            checkpoint_bytes: 256 << 20,
            base_keys: 1 << 16,
            checkpoint_every: Duration::from_secs(24 * 60 * 60),
            sync_every: Duration::from_secs(10),
        }
    }

    /// Where what cannot be read is kept.
    pub fn quarantine(&self) -> PathBuf {
        self.state.join("quarantine")
    }

    pub(super) fn store(&self) -> Paths {
        Paths::of(&self.state)
    }
}
