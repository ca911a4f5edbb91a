//! Whether the pages of a list that is counted from its start join without a gap.
//!
//! A row that is removed at the provider moves all that follow, past the place where the next page
//! is asked for. So each page begins with some rows of the last one, and where none of them is seen
//! the last one is asked for again. Where pages cannot overlap, the list is read until two readings
//! are the same. Rows that were handed on are not handed on again.

use std::collections::{HashSet, VecDeque};

use super::problem::RunError;
use crate::provider::{Leads, Page, Seam, row_key};

/// Pages that can be stepped back over, one by one. Beyond, the list is read from its start.
const PAGES_KEPT: usize = 8;

/// Of so many rows at a page's start one must be known: a single one may be new, or have changed.
const FIRST_ROWS: usize = 8;

/// Most steps back in one window.
const STEPS_MAX: u32 = 200;

/// Most readings of a list whose pages cannot overlap.
const PASSES_MAX: u32 = 5;

/// Most rows of a window that are remembered, of 8 bytes each, so as not to be told twice.
const TOLD_MAX: usize = 1_000_000;

/// Rows of a page's end that a stored place carries.
pub(super) const TAIL_ROWS: usize = 32;

/// The pages of a window so far.
#[derive(Default)]
pub(super) struct Seams {
    read: VecDeque<Read>,
    /// What the last page leads to; `None` at a list's start.
    leads: Option<Leads>,
    told: HashSet<u64>,
    steps: u32,
    /// Whether a part of the list was read by an earlier run.
    resumed: bool,
    /// Whether only another reading shows what was skipped.
    blind: bool,
    pass: Pass,
    before: Option<Pass>,
    passes: u32,
}

/// A page that was read.
struct Read {
    /// What led to it, and whether that was a page that it shares rows with.
    token: Option<String>,
    led: Option<Leads>,
    rows: Vec<u64>,
}

/// What one reading has shown, whatever its order.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Pass {
    rows: u64,
    sum: u64,
}

/// What comes of a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Crossing {
    /// It joins the last one.
    Joined,
    /// Rows may have been skipped: this page is to be asked for instead.
    Back(Option<String>),
}

impl Seams {
    /// Of a window that an earlier run left behind a page that ended with these rows; `None`: it
    /// did not say.
    pub(super) fn resumed(tail: Option<&[u64]>) -> Seams {
        let read = Read { token: None, led: None, rows: tail.unwrap_or_default().to_vec() };
        let leads = if read.rows.is_empty() && tail.is_some() { Leads::Apart } else { Leads::Back };
        Seams { read: [read].into(), leads: Some(leads), resumed: true, ..Seams::default() }
    }

    /// Judges the page that a token has led to, and takes out what was handed on before.
    pub(super) fn cross(
        &mut self,
        token: Option<&str>,
        page: &mut Page,
    ) -> Result<Crossing, RunError> {
        let Some(Seam { rows, leads }) = page.seam.take() else { return Ok(Crossing::Joined) };
        if self.leads == Some(Leads::Back) && !self.shares(&rows) {
            return self.step_back().map(Crossing::Back);
        }
        let leads_on = page.next.is_some() || self.resumed;
        self.blind |= leads == Leads::Blind && leads_on;
        self.pass.rows += rows.len() as u64;
        self.pass.sum = rows.iter().fold(self.pass.sum, |sum, row| sum.wrapping_add(*row));
        if self.told.len() + rows.len() + page.details.len() > TOLD_MAX {
            self.told.clear();
        }
        page.rows.retain(|row| !self.told.contains(&row_key(&row.body)));
        page.details.retain(|detail| !self.told.contains(&row_key(detail.as_bytes())));
        self.told.extend(rows.iter());
        self.told.extend(page.details.iter().map(|detail| row_key(detail.as_bytes())));
        let led = self.leads.replace(leads);
        self.read.push_back(Read { token: token.map(str::to_owned), led, rows });
        if self.read.len() > PAGES_KEPT {
            self.read.pop_front();
        }
        Ok(Crossing::Joined)
    }

    fn shares(&self, rows: &[u64]) -> bool {
        let last = self.read.back().map_or(&[][..], |read| &read.rows);
        rows.iter().take(FIRST_ROWS).any(|row| last.contains(row))
    }

    /// Leads to the last page again, which is compared with the one before it in turn.
    fn step_back(&mut self) -> Result<Option<String>, RunError> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(RunError::Shifting);
        }
        let last = self.read.pop_back();
        match last {
            Some(Read { token, led, .. }) if led == Some(Leads::Apart) || !self.read.is_empty() => {
                self.leads = led;
                Ok(token)
            }
            _ => {
                self.start();
                Ok(None)
            }
        }
    }

    fn start(&mut self) {
        self.read.clear();
        (self.leads, self.pass, self.resumed) = (None, Pass::default(), false);
    }

    /// Whether the list, now that its end is reached, must be read again from its start.
    pub(super) fn again(&mut self) -> Result<bool, RunError> {
        let whole = Some(self.pass).filter(|_| !self.resumed);
        if !self.blind || (whole.is_some() && whole == self.before) {
            return Ok(false);
        }
        self.passes += 1;
        if self.passes >= PASSES_MAX {
            return Err(RunError::Shifting);
        }
        self.before = whole;
        self.start();
        Ok(true)
    }

    /// What a later run must know of the last page to join the next one; `None` where nothing.
    pub(super) fn tail(&self) -> Option<Vec<u64>> {
        let last = self.read.back()?;
        let first = last.rows.len().saturating_sub(TAIL_ROWS);
        let shares = self.leads == Some(Leads::Back);
        Some(if shares { last.rows[first..].to_vec() } else { Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Element;

    fn page(rows: &[&str], from: u64, more: bool) -> Page {
        let element =
            |row: &&str| Element { context: String::new(), body: row.as_bytes().to_vec() };
        Page::counted(rows.iter().map(element).collect(), from, more, |from| from.to_string())
    }

    fn left(page: &Page) -> Vec<&str> {
        page.rows.iter().map(|row| std::str::from_utf8(&row.body).unwrap()).collect()
    }

    #[test]
    fn a_page_that_joins_gives_its_new_rows_and_another_leads_back() {
        let mut seams = Seams::default();
        assert_eq!(seams.cross(None, &mut page(&["a", "b", "c"], 0, true)), Ok(Crossing::Joined));
        let mut second = page(&["c", "d", "e"], 2, true);
        assert_eq!(seams.cross(Some("2"), &mut second), Ok(Crossing::Joined));
        assert_eq!(left(&second), ["d", "e"]);
        // "a" and "b" are removed: "e" now stands before the third page, and "f" would be skipped.
        let mut third = page(&["g", "h"], 4, false);
        assert_eq!(seams.cross(Some("4"), &mut third), Ok(Crossing::Back(Some("2".to_owned()))));
        let mut second = page(&["e", "f", "g"], 2, true);
        let back = Ok(Crossing::Back(None));
        assert_eq!(seams.cross(Some("2"), &mut second), back, "it shares none with the first");
        let mut first = page(&["c", "d", "e"], 0, true);
        assert_eq!(seams.cross(None, &mut first), Ok(Crossing::Joined));
        assert!(left(&first).is_empty(), "all of it was handed on");
        let mut second = page(&["e", "f", "g"], 2, true);
        assert_eq!(seams.cross(Some("2"), &mut second), Ok(Crossing::Joined));
        assert_eq!(left(&second), ["f", "g"]);
        assert_eq!(seams.again(), Ok(false));
    }

    #[test]
    fn a_list_without_overlap_is_read_until_two_readings_agree() {
        let mut seams = Seams::default();
        let mut read = |lists: &[&[&str]]| {
            for (at, rows) in lists.iter().enumerate() {
                let mut page = page(rows, at as u64, at + 1 < lists.len());
                assert_eq!(seams.cross(None, &mut page), Ok(Crossing::Joined));
            }
            seams.again()
        };
        assert_eq!(read(&[&["a"], &["c"]]), Ok(true));
        assert_eq!(read(&[&["b"], &["c"]]), Ok(true));
        assert_eq!(read(&[&["b"], &["c"]]), Ok(false));
    }

    #[test]
    fn a_list_that_never_stands_still_fails() {
        let mut seams = Seams::default();
        let texts: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let failed = texts.iter().find_map(|text| {
            seams.cross(None, &mut page(&[text], 0, true)).unwrap();
            seams.again().err()
        });
        assert_eq!(failed, Some(RunError::Shifting));
        let mut seams = Seams::default();
        let failed = (0..=STEPS_MAX as usize * 2).find_map(|n| {
            let text = n.to_string();
            seams.cross(None, &mut page(&[&text, "x", "y"], 0, true)).err().or_else(|| {
                let other = format!("{n}'");
                seams.cross(Some("2"), &mut page(&[&other], 2, true)).err()
            })
        });
        assert_eq!(failed, Some(RunError::Shifting));
    }

    #[test]
    fn a_place_that_was_stored_carries_what_the_next_page_begins_with() {
        let mut seams = Seams::default();
        seams.cross(None, &mut page(&["a", "b", "c"], 0, true)).unwrap();
        let tail = seams.tail().unwrap();
        let cross = |tail: Option<&[u64]>, rows: &[&str]| {
            Seams::resumed(tail).cross(Some("2"), &mut page(rows, 2, false))
        };
        assert_eq!(cross(Some(&tail), &["c", "d"]), Ok(Crossing::Joined));
        assert_eq!(cross(Some(&tail), &["e"]), Ok(Crossing::Back(None)));
        assert_eq!(cross(Some(&[]), &["e"]), Ok(Crossing::Joined), "another list begins");
        assert_eq!(cross(None, &["c"]), Ok(Crossing::Back(None)), "another release's place");
        let mut cursor = Page::new(Vec::new(), None);
        assert_eq!(Seams::resumed(None).cross(Some("x"), &mut cursor), Ok(Crossing::Joined));
    }
}
