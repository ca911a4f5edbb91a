//! An address a line and nothing else: quotes as they must be, domains in A-labels and U-labels.

use super::key::each_spelling;
use super::{Entry, Format, Rows, Unfit};

/// `plain`.
pub(super) struct Plain;

impl Format for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn rows(&self, entry: &Entry<'_>, rows: &mut Rows) -> Result<(), Unfit> {
        each_spelling(entry, |local, domain| rows.add(&[local, "@", domain], &[]));
        Ok(())
    }
}
