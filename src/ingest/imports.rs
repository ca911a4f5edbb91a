//! What becomes of rows that are imported: whether they were known, and whether a lift outweighs
//! them.

use super::apply::Merge;
use crate::model::{Event, Filter, Origin};
use crate::store::StoreError;

impl Merge<'_> {
    /// Notes what becomes of an imported row, once an event of it was merged. The first event tells
    /// whether the row was known, the last whether its address stays lifted.
    pub(super) fn note_row(
        &mut self,
        event: &Event,
        is_new: bool,
        is_last: bool,
    ) -> Result<(), StoreError> {
        if event.origin != Origin::Import || self.is_copy {
            return Ok(());
        }
        if std::mem::take(&mut self.fresh) {
            self.passed.row(&event.source, is_new);
        }
        if !is_last {
            return Ok(());
        }
        let address = event.address.key();
        let standing = self.writer.standing(&mut self.batch, address, &event.scope)?;
        if standing.lifts().next().is_some() {
            let found = self.rules.findings(address, &standing, &Filter::default());
            let is_live = found.iter().any(|finding| finding.is_live(self.now));
            if !is_live && found.iter().any(|finding| finding.lifted.is_some()) {
                self.passed.lifted_row(&event.source);
            }
        }
        Ok(())
    }
}
