//! The pages in `docs/mta/`: what they tell people to paste is what suppressd prints, and what the
//! tests use.

use std::path::Path;

use super::daemon::cli;

/// The only fenced block of a page that begins with ```` ```language ````.
pub(crate) fn block(page: &str, language: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/mta/{page}.md"));
    let text = std::fs::read_to_string(&path).unwrap();
    let start = format!("\n```{language}\n");
    let mut found = text.split(&start).skip(1).map(|rest| rest.split("```").next().unwrap());
    let block = found.next().unwrap_or_else(|| panic!("{path:?} has no {language}"));
    assert_eq!(found.next(), None, "{path:?} has more than one {language}");
    block.to_owned()
}

/// The MTA's lines: those that `export --print-config` prints for the page's own export.
pub(crate) fn lines(page: &str, config: &Path) -> String {
    let output = cli(config, &["export", page, "--print-config"]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The parts of such lines, without the comments that say where they go.
pub(crate) fn parts(lines: &str) -> Vec<String> {
    let text = |part: &str| {
        let lines = part.lines().filter(|line| !line.starts_with("# "));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    lines.split("\n\n").map(text).collect()
}
