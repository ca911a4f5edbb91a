//! The guard before an export's file: how much may vanish from it without a reason.

/// What must hold before fewer rows replace more.
#[derive(Clone, Copy)]
pub struct Guard {
    /// The largest unexplained loss, in percent of the rows of the present file.
    pub max_shrink: u8,
    /// Whether to write whatever is lost.
    pub force: bool,
    /// How many rows are known to be gone on purpose.
    pub explained: u64,
}

impl Guard {
    /// Whether `new` rows may replace `old`.
    pub(super) fn allows(&self, old: u64, new: u64) -> bool {
        let lost = old.saturating_sub(new);
        if self.force || lost == 0 {
            return true;
        }
        let unexplained = lost.saturating_sub(self.explained);
        let most = u64::from(self.max_shrink).saturating_mul(old);
        let too_many = unexplained.saturating_mul(100) > most;
        let emptied = new == 0 && unexplained > 0;
        !too_many && !emptied
    }
}
