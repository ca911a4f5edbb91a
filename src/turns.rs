//! Whose turn it is to ask a provider, or to tell a receiver: of several hosts that know the same,
//! one polls a source, and one forwards.
//!
//! A host that has no others always has it. Where there are some, whoever elects says until when.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Position, SourceName};

/// How often it is looked whether a turn has ended.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The turns of this host. Cheap to clone.
#[derive(Clone)]
pub struct Turns(Kind);

#[derive(Clone)]
enum Kind {
    Always,
    Never,
    Elected(Arc<Mutex<HashMap<SourceName, Instant>>>),
}

impl Turns {
    /// It is always this host's turn.
    pub fn always() -> Turns {
        Turns(Kind::Always)
    }

    /// It never is.
    pub fn never() -> Turns {
        Turns(Kind::Never)
    }

    /// It is as long as [`Turns::until`] says.
    pub fn elected() -> Turns {
        Turns(Kind::Elected(Arc::default()))
    }

    /// Gives the turn for a source until then.
    pub fn until(&self, source: &SourceName, end: Instant) {
        if let Kind::Elected(ends) = &self.0 {
            open(ends).insert(source.clone(), end);
        }
    }

    /// Whether it is this host's turn for a source.
    pub fn is_ours(&self, source: &SourceName) -> bool {
        match &self.0 {
            Kind::Always => true,
            Kind::Never => false,
            Kind::Elected(ends) => open(ends).get(source).is_some_and(|end| Instant::now() < *end),
        }
    }

    /// Waits until it is this host's turn no longer.
    pub async fn ended(&self, source: &SourceName) {
        while self.is_ours(source) {
            match &self.0 {
                Kind::Always | Kind::Never => std::future::pending().await,
                Kind::Elected(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }
}

/// Of several hosts that would tell a receiver the same, who does, and how far that has come, as
/// positions of this host's journal. Cheap to clone.
#[derive(Clone)]
pub struct Tellers {
    /// Whose turn it is, by the forward's name.
    pub turns: Turns,
    told: Arc<Mutex<HashMap<SourceName, Told>>>,
}

/// How far one has come.
#[derive(Clone, Copy, Default)]
struct Told {
    here: Position,
    elsewhere: Position,
}

impl Tellers {
    /// This host tells everything.
    pub fn alone() -> Tellers {
        Tellers { turns: Turns::always(), told: Arc::default() }
    }

    /// Whoever has the turn does.
    pub fn elected() -> Tellers {
        Tellers { turns: Turns::elected(), ..Tellers::alone() }
    }

    /// Notes that this host has told all before there.
    pub fn has_told(&self, name: &SourceName, before: Position) {
        self.raise(name, before, |told| &mut told.here);
    }

    /// All before there was told by this host.
    pub fn told_here(&self, name: &SourceName) -> Position {
        self.told_of(name).here
    }

    /// Notes that another host has told all before there.
    pub fn others_have_told(&self, name: &SourceName, before: Position) {
        self.raise(name, before, |told| &mut told.elsewhere);
    }

    /// All before there was told by another host.
    pub fn told_elsewhere(&self, name: &SourceName) -> Position {
        self.told_of(name).elsewhere
    }

    fn raise(&self, name: &SourceName, to: Position, which: impl Fn(&mut Told) -> &mut Position) {
        let mut told = self.told();
        let place = which(told.entry(name.clone()).or_default());
        *place = to.max(*place);
    }

    fn told_of(&self, name: &SourceName) -> Told {
        self.told().get(name).copied().unwrap_or_default()
    }

    fn told(&self) -> MutexGuard<'_, HashMap<SourceName, Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(
    ends: &Mutex<HashMap<SourceName, Instant>>,
) -> MutexGuard<'_, HashMap<SourceName, Instant>> {
    ends.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_turn_lasts_until_its_end() {
        let (a, b) = (SourceName::parse("a").unwrap(), SourceName::parse("b").unwrap());
        let turns = Turns::elected();
        assert!(!turns.is_ours(&a));
        turns.until(&a, Instant::now() + Duration::from_secs(5));
        assert!(turns.is_ours(&a) && !turns.is_ours(&b));
        let started = Instant::now();
        turns.ended(&a).await;
        let took = started.elapsed();
        assert!((5..6).contains(&took.as_secs()), "{took:?}");
        assert!(Turns::always().is_ours(&a) && !Turns::never().is_ours(&a));
    }
}
