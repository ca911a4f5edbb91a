//! Any answer to a described feed, with any `Link` header, is cut into rows or refused, and leads
//! nowhere else.
//!
//! The first line is the header, the rest is the body.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use suppressd::config::{Environment, parse};
use suppressd::poll::Settings;
use suppressd::provider::{Query, Window};
use suppressd_fuzz::now;

const CONFIGURATION: &str = r#"
[[source]]
name = "described"
provider = "custom"
[source.poll]
[[source.poll.feed]]
name = "events"
url = "https://api.example.com/v1/events?since={since}"
items = "/events"
paging = { kind = "link_header", rel = "next" }
event = { type = "/type", recipient = "/to", time = "/at", map = [{ kind = "hard_bounce" }] }
"#;

fn settings() -> &'static Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        let environment = Environment::new(|_| None, None);
        let config = parse(Path::new("described.toml"), CONFIGURATION, &environment);
        config.unwrap_or_else(|problems| panic!("{problems}")).polls.remove(0)
    })
}

fuzz_target!(|data: &[u8]| {
    let (links, body) = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[][..]),
    };
    let links = String::from_utf8_lossy(links);
    let Settings { provider, settings, feeds, .. } = settings();
    let window =
        Window { since: now().minus(std::time::Duration::from_secs(86_400)), until: now() };
    let feed = &*feeds[0].name;
    let query = Query { settings, feed, window, next: None, now: now() };
    let request = provider.page_request(&query).expect("a first page can be asked for");
    let Ok(page) = provider.linked_page(&query, &request.url, &links, body) else { return };
    if let Some(next) = &page.next {
        let query = Query { next: Some(next), ..query };
        if let Ok(following) = provider.page_request(&query) {
            assert_eq!(following.url.origin(), request.url.origin(), "it stays on its host");
        }
    }
});
