//! Any text as a configuration: it loads into something whole, or every problem has its place.
#![no_main]

use std::collections::BTreeSet;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use suppressd::config::{Environment, parse, report, report_json};

/// A secret that stands outside the text, so that it can be looked for in what is said.
const SECRET: &str = "never-to-be-shown";

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.contains(SECRET) {
        return;
    }
    let environment = Environment::new(|_| Some(SECRET.into()), None);
    let said = match parse(Path::new("fuzz.toml"), text, &environment) {
        Ok(config) => {
            let names: BTreeSet<&str> = config.sources.iter().map(|s| s.name.as_str()).collect();
            assert_eq!(names.len(), config.sources.len(), "names are unique");
            for hook in &config.webhooks {
                assert!(names.contains(hook.source.as_str()));
                let is_open = hook.checks.is_empty();
                assert!(!is_open || config.http.is_local(), "open to the world");
            }
            format!("{}{}", report(&config), report_json(&config))
        }
        Err(problems) => {
            assert!(!problems.problems.is_empty(), "refused without a reason");
            let lines = text.lines().count() + 1;
            for problem in &problems.problems {
                assert!(!problem.what.is_empty() && !problem.hint.is_empty(), "{problem:?}");
                assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)), "{problem:?}");
            }
            format!("{problems}{}", problems.to_json())
        }
    };
    assert!(!said.contains(SECRET), "a secret is shown");
});
