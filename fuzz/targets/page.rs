//! Any answer to a poll is cut into rows or refused, and what is read of its rows is sane.
//!
//! The first line is `provider feed next`, as far as it goes; the rest is the answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use suppressd::provider::{Query, Window};
use suppressd_fuzz::{now, polled, provider, read_row};

fuzz_target!(|data: &[u8]| {
    let (first, body) = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[][..]),
    };
    let first = String::from_utf8_lossy(first);
    let mut words = first.splitn(3, ' ');
    let provider = provider(words.next().unwrap_or("").as_bytes());
    let wanted = words.next().unwrap_or("");
    let feeds = provider.feeds();
    let feed = feeds.iter().find(|feed| feed.name == wanted).or(feeds.first());
    let Some(feed) = feed else { return };
    let settings = polled();
    let window =
        Window { since: now().minus(std::time::Duration::from_secs(86_400)), until: now() };
    let next = words.next();
    let query = Query { settings: &settings, feed: &feed.name, window, next, now: now() };
    // A token that is none leads nowhere; then there is nothing to cut.
    let Ok(request) = provider.page_request(&query) else { return };
    assert!(request.url.has_host(), "a request leads to a host");
    let page = provider.page(&query, &request.url, body);
    assert_eq!(page, provider.page(&query, &request.url, body), "cutting is deterministic");
    let Ok(page) = page else { return };
    for row in &page.rows {
        read_row(provider, row, &feed.name);
    }
    for token in page.next.iter().chain(&page.details) {
        let query = Query { next: Some(token), ..query };
        // It leads to the same API, or is refused.
        let _ = provider.page_request(&query);
    }
});
