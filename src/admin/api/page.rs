//! A page of suppressions for programs, in the form that a `generic` source's `list_url` reads.
//!
//! It looks at so many rows and no more, however few of them match: `next` goes on from there.

use super::query::{AFTER, Next, Query};
use super::{Answered, page};
use crate::admin::suppressions::Wanted;
use crate::admin::{Admin, Failure, ListFilter, rows};
use crate::clock;

/// Where pages are.
const PATH: &str = "/v1/suppressions";

/// Most standings that are looked at for one page, and most bytes that it is filled to.
const LOOKS_MAX: usize = 20_000;
const BYTES_MAX: usize = 1 << 20;

/// What a page is about.
struct Question {
    wanted: Wanted,
    after: String,
    limit: usize,
    next: Next,
}

impl Question {
    fn parse(fields: Vec<(String, String)>) -> Result<Question, Failure> {
        let mut query = Query::new(fields)?;
        let wanted = Wanted::parse(ListFilter {
            reason: query.take("reason"),
            source: query.take("source"),
            domain: query.take("domain"),
            scope: query.take("scope"),
            since: query.take("since"),
            until: query.take("until"),
            ..ListFilter::default()
        })?;
        let (after, limit) = (query.take(AFTER).unwrap_or_default(), query.limit()?);
        Ok(Question { wanted, after, limit, next: query.finish()? })
    }
}

impl Admin {
    /// A page of suppressions, by the fields of a query: `after`, `limit`, and the filters. `next`
    /// is the URL of the page behind it; `null` on the last.
    pub fn page(&self, fields: Vec<(String, String)>) -> Answered {
        Question::parse(fields).and_then(|question| self.suppressions(&question)).into()
    }

    fn suppressions(&self, question: &Question) -> Result<String, Failure> {
        let Question { wanted, after, limit, next } = question;
        let now = clock::now();
        let (mut found, mut looked, mut bytes) = (Vec::new(), 0, 0);
        let (mut last, mut behind) = (after.clone(), None);
        for standing in self.reader.standings_after(after) {
            let (key, scope, standing) = standing?;
            // The scopes of one address stay together: a page is asked for by address.
            let full = found.len() >= *limit || looked >= LOOKS_MAX || bytes >= BYTES_MAX;
            if full && key != last {
                behind = Some(next.url(PATH, &last));
                break;
            }
            looked += 1;
            let live = wanted
                .admits_key(&key)
                .then(|| self.rules.judge(&key, &standing, &scope, &wanted.filter, now));
            if let Some(live) = live.flatten().filter(|live| wanted.admits(live)) {
                let row = rows::suppression(&live).to_string();
                bytes += row.len();
                found.push(row);
            }
            last = key;
        }
        Ok(page("suppressions", &found, behind))
    }
}
