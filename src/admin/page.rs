//! A page of suppressions for programs, in the form that a `generic` source's `list_url` reads.
//!
//! It looks at so many rows and no more, however few of them match: `next` goes on from there.

use url::form_urlencoded::Serializer;

use super::suppressions::Wanted;
use super::{Admin, Answered, Failure, ListFilter, rows};
use crate::clock;

/// Where pages are.
const PATH: &str = "/v1/suppressions";

/// Rows of a page, unless the question says how many; and the most that it can ask for.
const ROWS: usize = 100;
const ROWS_MAX: usize = 10_000;
/// Most standings that are looked at for one page, and most bytes that it is filled to.
const LOOKS_MAX: usize = 20_000;
const BYTES_MAX: usize = 1 << 20;

/// What a page is about.
struct Question {
    filter: ListFilter,
    after: String,
    limit: usize,
    /// The fields that the next page has too.
    kept: Vec<(String, String)>,
}

impl Question {
    /// By the fields of a query.
    fn parse(fields: Vec<(String, String)>) -> Result<Question, Failure> {
        let (mut filter, mut after, mut limit) = (ListFilter::default(), String::new(), ROWS);
        for (name, value) in &fields {
            let value = || value.clone();
            match name.as_str() {
                "after" => after = value(),
                "limit" => match value().parse() {
                    Ok(number @ 1..=ROWS_MAX) => limit = number,
                    _ => return Err(Failure::usage("limit is 1 to 10000")),
                },
                "reason" => filter.reason = Some(value()),
                "source" => filter.source = Some(value()),
                "domain" => filter.domain = Some(value()),
                "scope" => filter.scope = Some(value()),
                "since" => filter.since = Some(value()),
                _ => return Err(Failure::usage(format!("there is no field {name:?}"))),
            }
        }
        let kept = fields.into_iter().filter(|(name, _)| name != "after").collect();
        Ok(Question { filter, after, limit, kept })
    }

    /// Where the page behind an address is.
    fn next(&self, after: &str) -> String {
        let mut query = Serializer::new(String::new());
        query.append_pair("after", after).extend_pairs(&self.kept);
        format!("{PATH}?{}", query.finish())
    }
}

impl Admin {
    /// A page of suppressions, by the fields of a query: `after`, `limit`, and the filters. `next`
    /// is the URL of the page behind it; `null` on the last. It blocks on the store.
    pub fn page(&self, fields: Vec<(String, String)>) -> Answered {
        match Question::parse(fields).and_then(|question| self.read_page(question)) {
            Ok(page) => Answered::Page(page),
            Err(failure) if failure.usage => Answered::BadRequest(failure.error),
            Err(failure) => Answered::Unavailable(failure.error),
        }
    }

    fn read_page(&self, mut question: Question) -> Result<String, Failure> {
        let wanted = Wanted::parse(std::mem::take(&mut question.filter))?;
        let now = clock::now();
        let mut page = String::from("{\"suppressions\":[");
        let (mut found, mut looked) = (0, 0);
        let mut last = question.after.clone();
        let mut next = None;
        for standing in self.reader.standings_after(&question.after) {
            let (key, scope, standing) = standing?;
            // The scopes of one address stay together: a page is asked for by address.
            let full = found >= question.limit || looked >= LOOKS_MAX || page.len() >= BYTES_MAX;
            if full && key != last {
                next = Some(question.next(&last));
                break;
            }
            looked += 1;
            let live = wanted
                .admits_key(&key)
                .then(|| self.rules.judge(&key, &standing, &scope, &wanted.filter, now));
            if let Some(live) = live.flatten().filter(|live| wanted.admits(live)) {
                let comma = if found == 0 { "" } else { "," };
                page.push_str(&format!("{comma}{}", rows::suppression(&live)));
                found += 1;
            }
            last = key;
        }
        page.push_str(&format!("],\"next\":{}}}", serde_json::json!(next)));
        Ok(page)
    }
}
