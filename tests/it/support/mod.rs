//! What several tests share.

pub(crate) mod postfix;

/// Whether a test may run. Where something it needs is missing, it says so and is skipped, unless
/// `SUPPRESSD_REQUIRE_ALL` is set: then it fails.
pub(crate) fn available(test: &str, missing: Option<String>) -> bool {
    let Some(missing) = missing else { return true };
    let required = std::env::var_os("SUPPRESSD_REQUIRE_ALL").is_some();
    assert!(!required, "{test} cannot run: {missing}");
    // Not by a macro: those are captured, and a skipped test must be seen.
    let line = format!("SKIPPED: {test}: {missing}\n");
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    false
}
