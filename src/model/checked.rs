//! What `verify` says of one part of a state directory.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// One part that was looked at, or one problem with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Which part: `journal`, `checkpoint`, `base`, `index`, `mark`, `store`, `forgotten`,
    /// `quarantine` or `export`.
    pub component: &'static str,
    /// The file or folder.
    pub file: PathBuf,
    /// Where in it, if it is one place.
    pub place: Option<String>,
    /// What was found, in words.
    pub detail: String,
    /// What is wrong. `None`: nothing.
    pub problem: Option<String>,
    /// What follows from the problem.
    pub consequence: Option<&'static str>,
    /// What to do about it.
    pub hint: Option<&'static str>,
}

impl Checked {
    /// A part in which nothing was found wrong, or that was not looked at.
    pub fn well(component: &'static str, file: &Path, detail: impl Into<String>) -> Checked {
        Checked {
            component,
            file: file.to_owned(),
            place: None,
            detail: detail.into(),
            problem: None,
            consequence: None,
            hint: None,
        }
    }

    /// Something wrong.
    pub fn ill(
        component: &'static str,
        file: &Path,
        problem: impl Into<String>,
        consequence: &'static str,
        hint: &'static str,
    ) -> Checked {
        Checked {
            problem: Some(problem.into()),
            consequence: Some(consequence),
            hint: Some(hint),
            ..Checked::well(component, file, "")
        }
    }

    /// The same, at a place.
    #[must_use]
    pub fn at(self, place: impl ToString) -> Checked {
        Checked { place: Some(place.to_string()), ..self }
    }
}
