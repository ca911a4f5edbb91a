//! One walk over the file: what was found so far, and where.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;

use toml::de::DeTable;

use super::environment::Environment;
use super::problem::{Problem, Weight};
use super::section::Section;

/// One walk: the text, the environment, and what was found so far.
pub(super) struct Walk<'a> {
    pub(super) file: &'a Path,
    text: &'a str,
    empty: DeTable<'a>,
    problems: RefCell<Vec<Problem>>,
    pub(super) environment: &'a Environment,
    /// Whether the file is where the unit has it, so that relative paths are from `/`.
    pub(super) installed: bool,
}

/// Where something stands.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) path: String,
    pub(super) name: Option<String>,
    pub(super) line: Option<usize>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str, environment: &'a Environment) -> Walk<'a> {
        let (empty, problems) = (DeTable::new(), RefCell::default());
        Walk { file, text, empty, problems, environment, installed: file.starts_with("/etc") }
    }

    /// The whole file as a section.
    pub(super) fn root(&'a self, table: &'a DeTable<'a>) -> Section<'a> {
        let place = Place { path: String::new(), name: None, line: None };
        Section { walk: self, table, place, known: RefCell::default() }
    }

    /// What stands for a table that is absent.
    pub(super) fn empty(&'a self) -> &'a DeTable<'a> {
        &self.empty
    }

    /// Notes a fault.
    pub(super) fn problem(&self, place: &Place, what: impl Into<String>, hint: impl Into<String>) {
        self.note(Weight::Fault, place, what.into(), hint.into());
    }

    /// Notes what can be meant as it is, and is wrong most times.
    pub(super) fn warn(&self, place: &Place, what: impl Into<String>, hint: impl Into<String>) {
        self.note(Weight::Warning, place, what.into(), hint.into());
    }

    /// Notes what cannot be looked at here.
    pub(super) fn unchecked(&self, place: &Place, what: String, hint: String) {
        self.note(Weight::Unchecked, place, what, hint);
    }

    fn note(&self, weight: Weight, place: &Place, what: String, hint: String) {
        let Place { path, name, line } = place.clone();
        self.problems.borrow_mut().push(Problem { weight, path, name, line, what, hint });
    }

    /// Whether nothing can be said of this place: a fault was noted at it or within it, or it could
    /// not be looked at.
    pub(super) fn is_bad(&self, place: &Place) -> bool {
        self.has_faults(place) || self.has_unchecked(place)
    }

    /// Whether a fault was noted at this place or within it.
    pub(super) fn has_faults(&self, place: &Place) -> bool {
        self.has(Weight::Fault, place)
    }

    /// Whether something at this place or within it could not be looked at.
    pub(super) fn has_unchecked(&self, place: &Place) -> bool {
        self.has(Weight::Unchecked, place)
    }

    fn has(&self, weight: Weight, place: &Place) -> bool {
        let within = |p: &Problem| {
            let rest = p.path.strip_prefix(&place.path).filter(|_| p.weight == weight);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.problems.borrow().iter().any(within)
    }

    /// What was found, in the order of the lines.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.line);
        problems
    }

    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        line_of(self.text, span.start)
    }
}

/// The line, from 1, that a byte of the text is on.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count()
}
