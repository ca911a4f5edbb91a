//! How long a reply takes to be judged, and how often the judgement is right.
//!
//!     cargo bench --bench classify [-- FILE…]
//!
//! A FILE has a reply a line: truth, reply code, enhanced code, text, parted by tabs. The truth is
//! H (the address is dead), S (its mailbox or the way there is in trouble) or B (the sender's fault);
//! two letters: either is right. The rows' own examples and the fixtures are judged always, and the
//! files that `SUPPRESSD_REPLIES` names, with `:` between.

#![expect(clippy::print_stdout, reason = "a bench reports on standard output")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result};
use suppressd::model::Fault;
use suppressd::verdict::{Reply, Rulebook, Told};

/// Statements in words of no server, and replies of many.
const FIXTURES: [&str; 5] = [
    "tests/fixtures/verdict/statements.tsv",
    "tests/fixtures/verdict/replies.tsv",
    "tests/fixtures/verdict/wordings.tsv",
    "tests/fixtures/verdict/carried.tsv",
    "tests/fixtures/verdict/kinds.tsv",
];

/// How often each reply is judged for the time.
const ROUNDS: u32 = 200;

struct Row {
    truth: String,
    smtp: Option<u16>,
    enhanced: Option<String>,
    text: String,
}

fn main() -> Result<()> {
    let named = std::env::var("SUPPRESSD_REPLIES").unwrap_or_default();
    let named = named.split(':').filter(|file| !file.is_empty()).map(str::to_owned);
    let given = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let fixtures = FIXTURES.map(str::to_owned).into_iter();
    let files: Vec<String> = fixtures.chain(named).chain(given).collect();
    let book = Rulebook::built_in()?;
    let rows = book.rules().iter().map(|rule| Row {
        truth: letter(rule.class.fault()).to_owned(),
        smtp: None,
        enhanced: None,
        text: rule.example.clone(),
    });
    judge("the rows' own examples", &book, &rows.collect::<Vec<_>>());
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| file.clone())?;
        let rows: Vec<Row> = text.lines().filter(|line| !line.starts_with('#')).map(row).collect();
        judge(&file, &book, &rows);
    }
    Ok(())
}

fn row(line: &str) -> Row {
    let mut parts = line.split('\t');
    let mut next = || parts.next().unwrap_or_default().to_owned();
    let (truth, smtp, enhanced, text) = (next(), next(), next(), next());
    Row { truth, smtp: smtp.parse().ok(), enhanced: Some(enhanced).filter(|e| !e.is_empty()), text }
}

fn letter(fault: Fault) -> &'static str {
    match fault {
        Fault::Recipient => "H",
        Fault::Passing => "S",
        Fault::Sender => "B",
        Fault::Unknown => "U",
    }
}

fn judge(name: &str, book: &Rulebook, rows: &[Row]) {
    let reply = |row: &'_ Row| -> &'static str {
        let Row { smtp, enhanced, text, .. } = row;
        let reply = Reply { smtp: *smtp, enhanced: enhanced.as_deref(), text };
        letter(book.judge(&reply, Told::Mirrors).class.fault())
    };
    let mut matrix: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for row in rows {
        *matrix.entry((&row.truth, reply(row))).or_default() += 1;
    }
    println!(
        "{name}: {} replies; truth, judged as H dead, S in trouble, B sender, U unexplained",
        rows.len()
    );
    let truths: std::collections::BTreeSet<&str> = rows.iter().map(|row| &*row.truth).collect();
    for truth in truths {
        let count = |judged: &'static str| matrix.get(&(truth, judged)).copied().unwrap_or(0);
        let [h, s, b, u] = ["H", "S", "B", "U"].map(count);
        println!("  {truth:<3} H {h:>4}  S {s:>4}  B {b:>4}  U {u:>4}");
    }
    let started = Instant::now();
    for _ in 0..ROUNDS {
        for row in rows {
            black_box(reply(row));
        }
    }
    let bytes: usize = rows.iter().map(|row| row.text.len()).sum();
    let each = started.elapsed() / (ROUNDS * rows.len().max(1) as u32);
    println!("  {each:?} a reply of {} bytes", bytes / rows.len().max(1));
}
