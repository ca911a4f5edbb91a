//! The pages in `docs/mta/`, without their MTAs.

use crate::support::daemon::Home;
use crate::support::page::{block, lines};

/// The pages that are named as their format and their export.
const PAGES: &[&str] = &["exim", "haraka", "kumomta", "opensmtpd", "rspamd", "sendmail"];

#[test]
fn what_the_pages_tell_to_paste_is_what_is_printed() {
    for page in PAGES {
        let home = Home::new(&block(page, "toml"));
        assert_eq!(lines(page, &home.config()), block(page, "conf"), "docs/mta/{page}.md");
    }
}
