//! Why a run ended before its end, in classes that the runner tells apart.
//!
//! None of them shows a body or an address: what a provider sent is reduced to its kind.

use std::time::Duration;

use crate::fetch::{FetchError, Fetched};
use crate::provider::{PageError, SettingError};
use crate::store::StoreError;

/// Why a run ended before its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RunError {
    /// The daemon stops.
    #[error("the daemon is stopping")]
    Stopping,
    /// Whoever asked for the run has gone.
    #[error("nobody waits for it any more")]
    Abandoned,
    /// It took too long.
    #[error("the run took longer than an hour; the next one goes on from there")]
    Deadline,
    /// The provider refuses our credentials.
    #[error("the provider answered {status}: the credentials are refused")]
    Authentication {
        /// 401 or 403.
        status: u16,
    },
    /// The provider has had enough of us for now.
    #[error("the provider answered {status}: too many requests, or busy")]
    Throttled {
        /// 429 or 503.
        status: u16,
        /// How long it wants to be left alone, if it said so.
        retry_after: Option<Duration>,
    },
    /// The provider does not have what we ask for.
    #[error("the provider answered {status}; check the URL and the settings of `poll`")]
    Rejected {
        /// Another 4xx.
        status: u16,
    },
    /// The provider is broken.
    #[error("the provider answered {status}: it has a fault")]
    Faulty {
        /// Another 5xx.
        status: u16,
    },
    /// The provider answered with something that is no page.
    #[error("the provider answered {status}, which is not a page")]
    Odd {
        /// Any other status but 200.
        status: u16,
    },
    /// Something between us and the provider answered, such as a portal or a login page.
    #[error("the answer is a web page and not data; check the URL")]
    WebPage,
    /// There is no whole answer.
    #[error("{0}")]
    Fetch(FetchError),
    /// The answer is not a page of this feed.
    #[error("the answer cannot be read: {}", without_quotes(&.0.0))]
    Page(PageError),
    /// The request cannot be made.
    #[error("{0}")]
    Request(SettingError),
    /// A page leads to one that was read before.
    #[error("the feed goes in circles: a page leads to one that was read before")]
    Repeated,
    /// A page leads on by what no request can hold.
    #[error("what leads to the next page has {bytes} bytes, more than 16384; it is not followed")]
    LongToken {
        /// Its length.
        bytes: usize,
    },
    /// The rows of a list move faster than it can be read.
    #[error("the list changes faster than it can be read; the next run reads it again")]
    Shifting,
    /// The feed does not end.
    #[error("the window has more than 10000 pages; the next run goes on from there")]
    TooManyPages,
    /// A list that must be known in whole cannot be.
    #[error("a second has more rows than the provider lists, so the list cannot be read in whole")]
    TooFull,
    /// A list has more rows than can be compared.
    #[error("the list has more rows than can be compared")]
    TooManyRows,
    /// A row that cannot be read may be any that seems to be gone.
    #[error("a row of the list cannot be read, so nobody knows what is gone; nothing is lifted")]
    Doubtful,
    /// More has gone from a list than is believed.
    #[error(
        "{gone} of {held} rows are gone from the list, too many to be believed; nothing is \
             lifted. If it is right, use `suppressd lift` with --source and --reason"
    )]
    Shrunk {
        /// Rows that are gone.
        gone: usize,
        /// Rows that the list had told.
        held: usize,
    },
    /// One row alone is too large for the journal.
    #[error("a row is too large to be kept")]
    TooLarge,
    /// The store cannot tell the cursor.
    #[error("{0}")]
    Store(StoreError),
}

impl RunError {
    /// Whether an answer can be a page at all.
    pub(super) fn check(fetched: &Fetched) -> Result<(), RunError> {
        let status = fetched.status;
        match status {
            200 if is_web_page(fetched) => Err(RunError::WebPage),
            200 => Ok(()),
            401 | 403 => Err(RunError::Authentication { status }),
            429 | 503 => Err(RunError::Throttled { status, retry_after: fetched.retry_after }),
            400..=499 => Err(RunError::Rejected { status }),
            500..=599 => Err(RunError::Faulty { status }),
            _ => Err(RunError::Odd { status }),
        }
    }

    /// Whether the source's other feeds would only meet the same.
    pub(super) fn ends_the_run(&self) -> bool {
        matches!(
            self,
            RunError::Stopping
                | RunError::Abandoned
                | RunError::Deadline
                | RunError::Authentication { .. }
                | RunError::Throttled { .. }
        )
    }

    /// Whether it is about what a list has, and not about how it was asked for.
    pub(super) fn is_of_the_list(&self) -> bool {
        matches!(
            self,
            RunError::TooFull
                | RunError::TooManyRows
                | RunError::Doubtful
                | RunError::Shrunk { .. }
        )
    }

    /// Whether it can be the fault of the token that a resumed run was left with.
    pub(super) fn is_of_the_token(&self) -> bool {
        let refused = matches!(
            self,
            RunError::Rejected { .. }
                | RunError::Request(_)
                | RunError::Fetch(FetchError::Unsendable(_) | FetchError::Insecure)
        );
        // A signed link that has expired answers so, too. Refused credentials are met again.
        refused || matches!(self, RunError::Authentication { status: 403 })
    }
}

fn is_web_page(fetched: &Fetched) -> bool {
    let html = fetched.content_type.as_deref().is_some_and(|media| {
        media.as_bytes().get(..9).is_some_and(|start| start.eq_ignore_ascii_case(b"text/html"))
    });
    html || fetched.body.trim_ascii_start().first() == Some(&b'<')
}

/// A parser's complaint quotes what it found, which may be an address: that part is left out.
fn without_quotes(text: &str) -> String {
    let quote = ['"', '`'];
    match (text.find(quote), text.rfind(quote)) {
        (Some(first), Some(last)) if first < last => {
            format!("{}…{}", &text[..=first], &text[last..])
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, content_type: &str, body: &str) -> Fetched {
        Fetched {
            status,
            retry_after: None,
            spent: None,
            content_type: Some(content_type.to_owned()),
            links: String::new(),
            body: body.into(),
            long: None,
        }
    }

    #[test]
    fn every_answer_has_its_class() {
        let json = "application/json";
        let throttled = |status| RunError::Throttled { status, retry_after: None };
        for (status, content_type, body, class) in [
            (200, json, "{}", Ok(())),
            (200, "text/plain", " {}", Ok(())),
            (200, "Text/HTML; charset=utf-8", "{}", Err(RunError::WebPage)),
            (200, json, "\r\n <!DOCTYPE html>", Err(RunError::WebPage)),
            (204, json, "", Err(RunError::Odd { status: 204 })),
            (401, json, "", Err(RunError::Authentication { status: 401 })),
            (403, json, "", Err(RunError::Authentication { status: 403 })),
            (404, json, "", Err(RunError::Rejected { status: 404 })),
            (410, json, "", Err(RunError::Rejected { status: 410 })),
            (429, json, "", Err(throttled(429))),
            (500, "text/html", "", Err(RunError::Faulty { status: 500 })),
            (503, json, "", Err(throttled(503))),
        ] {
            assert_eq!(RunError::check(&answer(status, content_type, body)), class, "{status}");
        }
    }

    #[test]
    fn no_error_quotes_what_was_sent() {
        let said = r#"invalid type: string "a\"b@c.test", expected a sequence"#;
        let shown = RunError::Page(PageError(said.to_owned())).to_string();
        assert!(shown.ends_with(r#"invalid type: string "…", expected a sequence"#), "{shown}");
    }
}
