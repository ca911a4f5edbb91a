//! The names that an administrator gives: to sources, exports and forwards.

use super::section::{Field, shown};
use crate::model::SourceName;

/// A name: what stands in a path, on a command line and in a metric's label as it is.
pub(super) fn name(field: &Field<'_>) -> Option<SourceName> {
    let text = field.text()?;
    if text.starts_with('-') {
        let hint = "begin it with a letter or a digit";
        let what = format!("{} looks like an option of the command line", shown(text));
        field.problem(what, hint);
        return None;
    }
    let name = SourceName::parse(text).ok();
    if name.is_none() {
        let hint = "use 1 to 64 of the characters a-z, 0-9 and -";
        field.problem(format!("{} is not a name", shown(text)), hint);
    }
    name
}
