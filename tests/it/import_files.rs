//! The files in `tests/fixtures/import`, each read as `suppressd import FILE` would, against what
//! must come of it. With `BLESS=1` the `.expected` files are written anew.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use suppressd::import::{self, Count, FORMATS, Format, Refusal, Row, Told, Wanted};
use suppressd::model::{Reason, Time};

fn wanted(name: &str) -> Wanted {
    Wanted {
        format: Format::Auto,
        reason: None,
        scope: None,
        dates: None,
        name: name.to_lowercase(),
        now: Time::parse("2026-06-15T12:00:00Z").unwrap(),
    }
}

fn shown(row: &Row) -> String {
    let time = |time: Option<Time>| time.map_or("-".to_owned(), |time| time.to_string());
    let Row { address, scope, reason, since, until, note } = row;
    let (since, until, note) = (time(*since), time(*until), note.as_deref().unwrap_or("-"));
    format!("{address} {scope} {reason} {since} {until} {note}")
}

/// What is told of a file, a line each.
fn read(file: &[u8], wanted: &Wanted) -> (Vec<String>, Count) {
    let (mut lines, mut count) = (Vec::new(), Count::default());
    let outcome = import::read(file, wanted, &mut |told| {
        count.note(&told);
        match &told {
            Told::Recognised(r) => lines.push(format!("{} ({}) by {}", r.format, r.list, r.by)),
            Told::Rows(line, rows, _) => {
                lines.extend(rows.iter().map(|row| format!("{line}: {}", shown(row))));
            }
            Told::Passed(line, why) => lines.push(format!("{line}: passed: {why}")),
            Told::Bad(line, why) => lines.push(format!("{line}: bad: {why}")),
            Told::Lost(line, why) => lines.push(format!("{line}: lost: {why}")),
            Told::Part(sign) => lines.push(format!("a part, by {sign}")),
        }
        ControlFlow::Continue(())
    });
    match outcome {
        Ok(()) => lines.extend(count.refusal().map(|why| format!("refused: {why}"))),
        Err(Refusal::Unfit(why)) => lines.push(format!("refused: {why}")),
        Err(Refusal::Io(error)) => panic!("{error}"),
    }
    (lines, count)
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_none_or(|e| e != "expected")).collect();
    cases.sort();
    cases
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

#[test]
fn every_file_is_read_as_it_must_be() {
    for case in cases() {
        let name = name(&case);
        let (lines, _) = read(&std::fs::read(&case).unwrap(), &wanted(name));
        let text = lines.join("\n") + "\n";
        let expected = case.with_file_name(format!("{name}.expected"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&expected, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&expected).unwrap(), "{name}");
    }
}

#[test]
fn every_format_of_the_contract_has_a_file_that_it_reads() {
    let mut read_by: BTreeMap<&str, usize> = BTreeMap::new();
    for case in cases() {
        let file = std::fs::read(&case).unwrap();
        for (format, of) in FORMATS {
            let wanted = Wanted { format: *of, ..wanted(name(&case)) };
            let (_, count) = read(&file, &wanted);
            let is_of = match (of, &count.recognised) {
                (Format::Of(name), Some(recognised)) => recognised.format == *name,
                (_, recognised) => recognised.is_some(),
            };
            let is_read = is_of && count.suppressing() > 0 && count.refusal().is_none();
            *read_by.entry(format).or_default() += usize::from(is_read);
        }
    }
    let missing: Vec<_> = read_by.iter().filter(|(_, files)| **files == 0).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_reason_that_is_given_takes_what_does_not_say_one() {
    for (file, name, taken) in [
        ("status,reason,email,created\n4.7.0,x,a@x.test,1767322627\n", "blocks.csv", 1),
        ("status,reason,email,created\n4.7.0,x,a@x.test,1767322627\n", "list.csv", 1),
        ("email,firstname\na@x.test,A\nb@x.test,B\n", "contacts.csv", 2),
        ("a@x.test\nb@x.test\n", "list.txt", 2),
        ("a@x.test\t550 5.7.1 no, thanks\n\"b c\"@x.test\tREJECT\n", "access", 2),
        ("a@x.test\terror:5.1.1 no, thanks\n\"b c\"@x.test\tretry:4.7.1 no\n", "transport", 2),
        ("email,reason\na@x.test,soft bounce\nb@x.test,because\n", "list.csv", 2),
        // What says that it is mailed, and those who are to be, stay out.
        ("email,status\na@x.test,active\nb@x.test,bounced\n", "list.csv", 1),
        ("address,domain\na@x.test,x.test\n", "allowlist.csv", 0),
    ] {
        let wanted = Wanted { reason: Some(Reason::Complaint), ..wanted(name) };
        let (lines, count) = read(file.as_bytes(), &wanted);
        assert_eq!(count.suppressing(), taken, "{file}: {lines:?}");
    }
    // What says its own reason keeps it.
    let wanted = Wanted { reason: Some(Reason::Complaint), ..wanted("x") };
    let (_, count) = read(b"email,status\nb@x.test,bounced\n", &wanted);
    assert_eq!(count.reasons.get(&Reason::HardBounce), Some(&1));
}

#[test]
fn plain_means_that_all_of_it_is_to_be_suppressed() {
    let wanted = Wanted { format: Format::Plain, ..wanted("x") };
    let (lines, count) = read(b"email\na@x.test\nb@x.test, c@x.test\n", &wanted);
    assert_eq!(count.reasons.get(&Reason::Manual), Some(&1), "{lines:?}");
    assert_eq!(count.bad, 1, "{lines:?}");
}

#[test]
fn no_file_cut_or_changed_anywhere_stops_the_reading() {
    for case in cases() {
        let file = std::fs::read(&case).unwrap();
        for at in (0..file.len()).step_by(7) {
            read(&file[..at], &wanted(name(&case)));
            for byte in [b'"', b',', b'{', 0xff, 0] {
                let mut changed = file.clone();
                changed[at] = byte;
                read(&changed, &wanted(name(&case)));
            }
        }
    }
}

#[test]
fn a_file_that_names_columns_is_no_plain_list() {
    let wanted = Wanted { format: Format::Plain, ..wanted("allow.csv") };
    for (text, is_plain) in [
        ("address,domain\na@x.test,one.test\n", false),
        ("# ours, and more\nEmail;Reason\na@x.test;spam\n", false),
        ("address\na@x.test\n", true),
        ("\"a,b\"@x.test\n", true),
    ] {
        let read = import::read(text.as_bytes(), &wanted, &mut |_| ControlFlow::Continue(()));
        let why = read.err().map(|why| why.to_string());
        assert_eq!(why.is_none(), is_plain, "{text}: {why:?}");
        assert!(why.is_none_or(|why| why.contains("leave `--format` out")), "{text}");
    }
}
