//! Which suppressions an export, a lookup or a listing is about.

use super::{Lifts, Reason, Scope, SourceName};

/// Narrows a verdict to some reasons and sources, and a view to some scopes. Empty means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Reasons that count; empty: every one.
    pub reasons: Vec<Reason>,
    /// Sources that count; empty: every one.
    pub sources: Vec<SourceName>,
    /// Scopes that count; empty: every one.
    pub scopes: Vec<Scope>,
}

impl Filter {
    /// The grounds that a lift is about, in any scope.
    pub fn of(lifts: &Lifts) -> Filter {
        Filter {
            reasons: lifts.reason.into_iter().collect(),
            sources: lifts.source.iter().cloned().collect(),
            scopes: Vec::new(),
        }
    }

    /// Whether a ground of this reason and source counts.
    pub fn admits(&self, reason: Reason, source: &str) -> bool {
        (self.reasons.is_empty() || self.reasons.contains(&reason))
            && (self.sources.is_empty() || self.sources.iter().any(|s| s.as_str() == source))
    }

    /// Whether a standing of this scope counts.
    pub fn admits_scope(&self, scope: &Scope) -> bool {
        self.scopes.is_empty() || self.scopes.contains(scope)
    }
}
