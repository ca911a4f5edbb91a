//! `reply` of an export and of a lookup: one text for every reason, or a table with one for some.

use super::section::Field;
use crate::model::Reason;
use crate::model::reply::{Refusals, usual};

/// The replies. `check` says what is wrong with a text.
pub(super) fn refusals(
    field: &Field<'_>,
    check: impl Fn(&str) -> Result<(), String>,
) -> Option<Refusals> {
    let checked = |field: &Field<'_>, reason: Reason| {
        let text = field.text()?;
        let usual = usual(reason);
        match check(text) {
            Ok(()) => return Some(text.to_owned()),
            Err(what) => field.problem(what, format!("the default is {usual:?}")),
        }
        None
    };
    if field.value.as_table().is_none() {
        return checked(field, Reason::HardBounce).map(|text| Refusals::same(&text));
    }
    let section = field.table()?;
    let mut refusals = Refusals::default();
    for reason in Reason::ALL {
        if let Some(field) = section.take(reason.as_str())
            && let Some(text) = checked(&field, reason)
        {
            refusals.set(reason, &text);
        }
    }
    section.finish();
    Some(refusals)
}
