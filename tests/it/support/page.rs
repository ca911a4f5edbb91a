//! The pages in `docs/mta/`: what they tell people to paste is what the tests use.

use std::path::Path;

/// The fenced blocks of a page that begin with ```` ```language ````, in order.
pub(crate) fn blocks(page: &str, language: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/mta/{page}.md"));
    let text = std::fs::read_to_string(&path).unwrap();
    let start = format!("\n```{language}\n");
    let found = text.split(&start).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    found.collect()
}

/// The only such block of a page.
pub(crate) fn block(page: &str, language: &str) -> String {
    let found = blocks(page, language);
    let [only] = found.as_slice() else {
        panic!("docs/mta/{page}.md has {} {language} blocks", found.len());
    };
    only.clone()
}

/// The parts of a block, each below a comment that says where it goes.
pub(crate) fn parts(block: &str) -> Vec<String> {
    let mut parts: Vec<String> = vec![];
    for line in block.lines() {
        match parts.last_mut() {
            Some(part) if !line.starts_with("# ") => part.push_str(&format!("{line}\n")),
            _ => parts.push(String::new()),
        }
    }
    parts
}
