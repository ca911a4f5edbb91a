//! A page of suppressions for programs, in the form that a `generic` source's `list_url` reads.
//!
//! It looks at so many rows and no more, however few of them match: `next` goes on from there.

use super::query::{AFTER, Next, Query};
use super::{Answered, page};
use crate::admin::suppressions::Wanted;
use crate::admin::{Admin, Failure, ListFilter, rows};
use crate::clock;
use crate::model::Scope;
use crate::store::StandingRows;

/// Where pages are.
const PATH: &str = "/v1/suppressions";

/// Most standings that are looked at for one page, and most bytes that it is filled to.
const LOOKS_MAX: usize = 20_000;
const BYTES_MAX: usize = 1 << 20;

/// What a page is about.
struct Question {
    wanted: Wanted,
    after: Place,
    limit: usize,
    next: Next,
}

/// Where a page begins: behind an address, or behind one of its scopes.
struct Place {
    address: String,
    scope: Option<Scope>,
}

impl Place {
    /// As it stands in a query. No address has a line break.
    fn parse(text: &str) -> Result<Place, Failure> {
        let Some((address, scope)) = text.split_once('\n') else {
            return Ok(Place { address: text.to_owned(), scope: None });
        };
        let strange = || Failure::usage("after is not from the `next` of a page");
        let scope = Scope::parse(scope).ok_or_else(strange)?;
        Ok(Place { address: address.to_owned(), scope: Some(scope) })
    }

    fn shown(address: &str, scope: &Scope) -> String {
        format!("{address}\n{scope}")
    }
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
        let after = Place::parse(&query.take(AFTER).unwrap_or_default())?;
        let limit = query.limit()?;
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
        let (mut last, mut behind) = (None::<String>, None);
        for standing in self.standings(after) {
            let (key, scope, standing) = standing?;
            let full = found.len() >= *limit || looked >= LOOKS_MAX || bytes >= BYTES_MAX;
            if let Some(last) = last.take().filter(|_| full) {
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
            last = Some(Place::shown(&key, &scope));
        }
        Ok(page("suppressions", &found, behind))
    }

    fn standings(&self, after: &Place) -> StandingRows {
        match &after.scope {
            Some(scope) => self.reader.standings_behind(&after.address, scope),
            None => self.reader.standings_after(&after.address),
        }
    }
}
