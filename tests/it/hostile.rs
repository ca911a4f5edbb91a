//! Thousands of addresses made to become a line, a key, a comment or a second field: through every
//! format, into a model of its reader, and for Postfix into Postfix's own tools.
//!
//! The law: what a reader finds in a file is what its own reading of the exported addresses asks
//! for, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use suppressd::export::guard::Guard;
use suppressd::export::publish::Publication;
use suppressd::export::{self, Entry, Format, Hash, Rows, Settings, Style, Table};
use suppressd::model::reply::Refusals;
use suppressd::model::{Address, AddressError, Filter, Reason, Time, Until};

use crate::support::available;
use crate::support::postfix::Postfix;

/// What some reader takes for more than a letter.
const PIECES: &[&str] = &[
    "a",
    "#",
    "//",
    "/*",
    ";",
    ",",
    ":",
    ": ",
    "\"",
    "\\",
    "\\n",
    "\\\"",
    "{",
    "}",
    "[",
    "]",
    "$",
    "${run{/bin/true}}",
    "$(id)",
    "`id`",
    "'",
    "|",
    "&",
    "<",
    ">",
    "(",
    ")",
    "!",
    "%",
    "%1",
    "*",
    "?",
    "+",
    "+*",
    "+tag",
    "=",
    "=1+1",
    "@",
    "@example.net",
    ".",
    "..",
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\0",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "\u{2003}",
    "\u{2028}",
    "\u{feff}",
    "\u{e9}",
    "E\u{301}",
    "\u{df}",
    "\u{130}",
    "\u{212a}",
    "\u{3c2}",
    "OK",
    "REJECT",
    "DISCARD",
    "To:",
    "error:5.1.1",
    "victim@example.com",
    "victim@example.com 550 x",
    "/^.*$/",
    "!include",
    "~",
    "^",
    "\u{1f4e7}",
    "\u{202e}",
    "null",
    "true",
    "0",
    "-",
    "_",
];

const DOMAINS: &[&str] = &[
    "example.com",
    "b\u{fc}cher.example",
    "xn--bcher-kva.example",
    "fa\u{df}.example",
    "gmail.com",
    "x_y.example",
    "a.b.c.d.example",
    "[127.0.0.1]",
    "[IPv6:2001:db8::1]",
    "-a.example",
    "1.2.3.4",
    "localhost",
];

/// Those of which nobody has ever told us anything.
const BYSTANDERS: &[&str] = &[
    "victim@example.com",
    "user@example.com",
    "id@example.com",
    "run@example.com",
    "user@example.net",
    "user@fass.example",
    "null@example.org",
];

/// Every address that can be made of up to two pieces, bare and quoted, by its key; and the texts
/// that are none.
fn corpus() -> (BTreeMap<String, Address>, usize) {
    let pairs = PIECES.iter().flat_map(|a| PIECES.iter().map(move |b| format!("{a}{b}")));
    let words: Vec<String> = PIECES.iter().map(|a| (*a).to_owned()).chain(pairs).collect();
    let (mut addresses, mut refused) = (BTreeMap::new(), 0);
    let mut add = |text: &str| match Address::parse(text) {
        Ok(address) => {
            addresses.insert(address.key().to_owned(), address);
        }
        Err(_) => refused += 1,
    };
    for (number, word) in words.iter().enumerate() {
        let domain = DOMAINS[number % DOMAINS.len()];
        let quoted = word.replace('\\', "\\\\").replace('"', "\\\"");
        add(&format!("{word}@{domain}"));
        add(&format!("\"{quoted}\"@{domain}"));
        add(&format!("u{word}x@{domain}"));
        add(&format!("\"u{quoted}x\"@{domain}"));
        add(&format!("user@{domain}{word}"));
    }
    let long = "\u{390}".repeat(150);
    add(&format!("{long}@example.com"));
    add(&format!("{}@{}.example", "l".repeat(64), "d".repeat(60)));
    BYSTANDERS.iter().for_each(|address| _ = addresses.remove(*address));
    (addresses, refused)
}

fn settings(format: &'static dyn Format, table: Table, path: &Path) -> Settings {
    Settings {
        name: "hostile".to_owned(),
        format,
        style: Style::new(format, table, Hash::Sha256, &Refusals::default()),
        path: path.to_owned(),
        filter: Filter::default(),
        min_interval: Duration::ZERO,
        max_shrink: 100,
        command: vec![],
        owner: None,
        group: None,
        mode: None,
    }
}

/// Publishes all that fit; gives their addresses.
fn publish<'a>(
    settings: &Settings,
    addresses: impl Iterator<Item = &'a Address>,
) -> Vec<&'a Address> {
    let mut publication = Publication::begin(settings).unwrap();
    let mut fit = Vec::new();
    for address in addresses {
        let entry = Entry {
            scope: &suppressd::model::Scope::Global,
            local: address.local(),
            domain: address.domain(),
            spelling: address.received(),
            reason: Reason::HardBounce,
            since: Time::from_seconds(1),
            until: Until::Forever,
            style: &settings.style,
        };
        let mut rows = Rows::default();
        if settings.format.rows(&entry, &mut rows).is_ok() {
            rows.iter().for_each(|row| publication.add(row).unwrap());
            fit.push(address);
        }
    }
    publication.finish(&Guard::new(50)).unwrap();
    fit
}

/// Whose mailbox a key is, as the reader spells addresses.
fn owner(format: &str, key: &str) -> Option<String> {
    let parsed = |text: &str| match Address::parse(text) {
        // Folding makes some letters longer, and a key longer than an address may be.
        Err(AddressError::TooLong) => Some(text.trim_matches('"').replace("\"@", "@")),
        parsed => parsed.ok().map(|address| address.key().to_owned()),
    };
    let key = if format == "sendmail" { key.strip_prefix("To:")? } else { key };
    match format {
        // Without the quotes of the local part, wherever it would need them.
        "exim" | "sendmail" | "postfix-access" | "postfix-transport" | "postfix-regexp"
            if matches!(format, "exim" | "sendmail") || !key.starts_with('"') =>
        {
            let (local, domain) = key.rsplit_once('@')?;
            let escaped = local.replace('\\', "\\\\").replace('"', "\\\"");
            parsed(&format!("\"{escaped}\"@{domain}"))
        }
        _ => parsed(key),
    }
}

/// What a reader of that format finds in a file: each key with its value.
fn read(format: &str, text: &str) -> Vec<(String, String)> {
    let lines = || text.split('\n').filter(|line| !line.is_empty());
    let bare = |line: &str| (line.to_owned(), String::new());
    match format {
        "postfix-access" | "postfix-transport" => lines().filter_map(postmap_line).collect(),
        "postfix-regexp" => lines().map(|line| expression_line(line, "/ ")).collect(),
        "rspamd-regexp" => lines().map(|line| expression_line(line, "/i")).collect(),
        "exim" => lines().filter_map(lsearch_line).collect(),
        "sendmail" => {
            let pair = |line: &str| line.split_once('\t').map(|(a, b)| (a.into(), b.into()));
            lines().filter(|line| !line.starts_with('#')).filter_map(pair).collect()
        }
        "opensmtpd" => {
            // A colon or white space makes a mapping, which rcpt-to does not look into.
            let plain = |line: &&str| !line.starts_with('#') && !line.contains([' ', '\t', ':']);
            // The first row names nobody.
            lines().skip(1).filter(plain).map(bare).collect()
        }
        "haraka" => {
            let trim =
                |line| str::trim_matches(line, |c: char| c.is_whitespace() || c == '\u{feff}');
            lines().map(trim).filter(|l| !l.starts_with(['#', ';'])).map(bare).collect()
        }
        "rspamd" => {
            let key = |line: &str| line.split('#').next()?.split_whitespace().next().map(bare);
            lines().filter(|line| !line.starts_with('"')).filter_map(key).collect()
        }
        "plain" | "hashed" => lines().map(bare).collect(),
        "csv-guarded" => {
            let bare = |address: &str| address.strip_prefix('\'').unwrap_or(address).to_owned();
            let rows = csv(text).into_iter().skip(1);
            rows.map(|mut record| (bare(&record.remove(0)), record.join("|"))).collect()
        }
        "csv" | "brevo" | "mailgun-bounces" | "mailgun-complaints" | "mailgun-unsubscribes" => {
            csv(text)
                .into_iter()
                .skip(1)
                .map(|mut record| (record.remove(0), record.join("|")))
                .collect()
        }
        "json-lines" => json_lines(text, "address", "reason"),
        "ses" => json_lines(text, "emailAddress", "reason"),
        "kumomta" => {
            let map: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(text).unwrap();
            map.into_iter().map(|(key, value)| (key, value.as_str().unwrap().to_owned())).collect()
        }
        "postmark" => json_list(text, "Suppressions", |row| &row["EmailAddress"]),
        "sendgrid" => json_list(text, "recipient_emails", |row| row),
        other => panic!("{other} has no model"),
    }
}

/// A line of an expression and what follows from it. The expression must be anchored, and mean
/// nothing but one text, but for letters in both cases.
fn expression_line(line: &str, end: &str) -> (String, String) {
    let (expression, value) = line.rsplit_once(end).unwrap();
    let inside = expression.strip_prefix("/^").and_then(|rest| rest.strip_suffix('$')).unwrap();
    let (mut key, mut chars) = (String::new(), inside.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => key.extend(chars.next()),
            '(' => {
                let both: String = chars.by_ref().take_while(|c| *c != ')').collect();
                let (lower, upper) = both.split_once('|').unwrap();
                assert_eq!(lower.to_uppercase(), upper, "{line:?}");
                key.push_str(lower);
            }
            c => {
                assert!(!"^$.[]|)*+?{}/".contains(c), "{line:?} has a {c} that is not escaped");
                key.push(c);
            }
        }
    }
    (key, value.to_owned())
}

/// A line as postmap reads it: white space first goes on the line before, a key ends at white
/// space outside quotes.
fn postmap_line(line: &str) -> Option<(String, String)> {
    assert!(!line.starts_with([' ', '\t']), "{line:?} goes on the line before");
    if line.starts_with('#') {
        return None;
    }
    let (mut quoted, mut escaped) = (false, false);
    let end = line.char_indices().find(|(_, c)| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c => return !quoted && c.is_ascii_whitespace(),
        }
        false
    });
    let (key, value) = line.split_at(end?.0);
    Some((key.to_owned(), value.trim().to_owned()))
}

/// A line as Exim's lsearch reads it: a key in quotes as a whole, or up to a colon or white space.
fn lsearch_line(line: &str) -> Option<(String, String)> {
    assert!(!line.starts_with([' ', '\t']), "{line:?} goes on the line before");
    if line.starts_with('#') {
        return None;
    }
    let (key, rest) = if let Some(inside) = line.strip_prefix('"') {
        let (mut key, mut chars) = (String::new(), inside.chars());
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => key.push(chars.next()?),
                c => key.push(c),
            }
        }
        (key, chars.as_str())
    } else {
        let (key, rest) = line.split_at(line.find([':', ' ', '\t'])?);
        (key.to_owned(), rest)
    };
    Some((key, rest.trim_start_matches(':').trim().to_owned()))
}

/// The records of a file of comma-separated values (RFC 4180).
fn csv(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut chars) = (false, text.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\r' if !quoted => {
                assert_eq!(chars.next(), Some('\n'));
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            c => field.push(c),
        }
    }
    assert!(!quoted && field.is_empty() && record.is_empty());
    records
}

fn json_lines(text: &str, key: &str, value: &str) -> Vec<(String, String)> {
    let row = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        (row[key].as_str().unwrap().to_owned(), row[value].as_str().unwrap().to_owned())
    };
    text.lines().map(row).collect()
}

fn json_list(
    text: &str,
    name: &str,
    address: impl Fn(&serde_json::Value) -> &serde_json::Value,
) -> Vec<(String, String)> {
    let whole: serde_json::Value = serde_json::from_str(text).unwrap();
    let rows = whole[name].as_array().unwrap().iter();
    rows.map(|row| (address(row).as_str().unwrap().to_owned(), String::new())).collect()
}

#[test]
fn a_reader_finds_the_exported_addresses_and_nobody_else() {
    let (corpus, refused) = corpus();
    assert!(corpus.len() > 5_000 && refused > 5_000, "{} and {refused}", corpus.len());
    let directory = tempfile::tempdir().unwrap();
    for format in export::ALL {
        let name = format.name();
        let settings = settings(*format, Table::Text, &directory.path().join(name));
        let fit = publish(&settings, corpus.values());
        let found = read(name, &std::fs::read_to_string(&settings.path).unwrap());
        let values: BTreeSet<&String> = found.iter().map(|(_, value)| value).collect();
        assert_eq!(values.len(), 1, "{name}: every row says the same");
        let keys: BTreeSet<&String> = found.iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), found.len(), "{name}: each key once");
        eprintln!("{name}: {} of {} fit, in {} rows", fit.len(), corpus.len(), found.len());
        assert!(fit.len() > 2_000, "{name} carries {} only", fit.len());
        if name == "hashed" {
            assert!(keys.iter().all(|key| key.len() == 64));
            continue;
        }
        let owners: BTreeSet<String> = keys
            .iter()
            .map(|key| owner(name, key).unwrap_or_else(|| panic!("{name}: {key:?}")))
            .collect();
        let expected: BTreeSet<String> =
            fit.iter().map(|address| address.key().to_owned()).collect();
        if name.starts_with("rspamd") {
            // It knows no dots and tags in one domain's local parts.
            let same = |key: &String| !key.ends_with("@gmail.com");
            let owners: BTreeSet<&String> = owners.iter().filter(|key| same(key)).collect();
            assert_eq!(owners, expected.iter().filter(|key| same(key)).collect(), "{name}");
            continue;
        }
        let (lost, gained) =
            (expected.difference(&owners).next(), owners.difference(&expected).next());
        assert_eq!((lost, gained), (None, None), "{name}: lost, and found for nobody");
    }
}

/// The forms of an address by which Postfix may look it up.
fn forms(address: &Address) -> [String; 2] {
    let domain = idna::domain_to_unicode(address.domain()).0;
    [address.domain(), &domain].map(|domain| {
        let key = format!("{}@{domain}", address.local());
        let bare = owner_form(&key);
        bare.unwrap_or(key)
    })
}

/// Postfix sees no need for quotes in white space beyond ASCII.
fn owner_form(key: &str) -> Option<String> {
    let (local, domain) = key.rsplit_once('@')?;
    let inside = local.strip_prefix('"')?.strip_suffix('"')?;
    let special = |c: char| c.is_ascii() && (c.is_whitespace() || "\"(),:;<>@[\\]".contains(c));
    (!inside.contains(special)).then(|| format!("{inside}@{domain}"))
}

/// Every second address is in the map; all of them, and what else could be hit, are asked for.
#[test]
fn postfix_finds_what_was_exported_in_every_table() {
    if !available("postfix_finds_what_was_exported", Postfix::missing_with("cdb")) {
        return;
    }
    let (corpus, _) = corpus();
    let format = *export::ALL.iter().find(|format| format.name() == "postfix-access").unwrap();
    let exported = corpus.values().step_by(2);
    let mut asked: BTreeSet<String> = corpus.values().flat_map(forms).collect();
    asked.extend(BYSTANDERS.iter().map(|address| (*address).to_owned()));
    asked.extend(DOMAINS.iter().map(|domain| (*domain).to_owned()));
    asked.extend(PIECES.iter().filter(|p| !p.contains(['\n', '\0'])).map(|p| format!("{p}@")));
    let questions: String = asked.iter().map(|key| format!("{key}\n")).collect();
    for (table, ending) in [(Table::Text, ""), (Table::Lmdb, ".lmdb"), (Table::Cdb, ".cdb")] {
        let directory = tempfile::tempdir().unwrap();
        let map = directory.path().join("map");
        let path = directory.path().join(format!("map{ending}"));
        let fit = publish(&settings(format, table, &path), exported.clone());
        if table == Table::Text {
            let output = Postfix::postmap(&map);
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        }
        let kind = if table == Table::Cdb { "cdb" } else { "lmdb" };
        let answers = Postfix::query(&format!("{kind}:{}", map.display()), &questions);
        let found: BTreeSet<String> = answers
            .lines()
            .filter_map(|line| line.strip_suffix("\t550 5.1.1 suppressed: hard bounce"))
            .map(str::to_owned)
            .collect();
        assert_eq!(found.len(), answers.lines().count());
        let keys: BTreeSet<&str> = fit.iter().map(|address| address.key()).collect();
        let owners: BTreeSet<String> =
            found.iter().map(|key| owner("postfix-access", key).unwrap()).collect();
        let owners: BTreeSet<&str> = owners.iter().map(String::as_str).collect();
        let (lost, gained) = (keys.difference(&owners).next(), owners.difference(&keys).next());
        assert_eq!((lost, gained), (None, None), "{}: lost, and found for nobody", table.as_str());
        eprintln!("{}: {} addresses, {} keys", table.as_str(), keys.len(), found.len());
    }
}

/// The same of expressions, of which Postfix tries one after the other: so there are fewer.
#[test]
fn postfix_finds_what_was_exported_as_expressions() {
    if !available("postfix_finds_what_was_exported_as_expressions", Postfix::missing_with("pcre")) {
        return;
    }
    let (corpus, _) = corpus();
    let format = *export::ALL.iter().find(|format| format.name() == "postfix-regexp").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("map");
    let fit = publish(&settings(format, Table::Text, &path), corpus.values().step_by(12));
    let mut asked: BTreeSet<String> = corpus.values().flat_map(forms).collect();
    // Whatever the case of its letters.
    let upper = |text: &String| text.to_uppercase();
    asked.extend(asked.iter().filter(|text| text.contains('@')).map(upper).collect::<Vec<_>>());
    asked.extend(BYSTANDERS.iter().map(|address| (*address).to_owned()));
    asked.extend(DOMAINS.iter().map(|domain| (*domain).to_owned()));
    let questions: String = asked.iter().map(|key| format!("{key}\n")).collect();
    for kind in ["regexp", "pcre"] {
        let answers = Postfix::query(&format!("{kind}:{}", path.display()), &questions);
        let key = |line: &str| {
            let key = line.strip_suffix("\t550 5.1.1 suppressed: hard bounce").unwrap().to_owned();
            owner("postfix-regexp", &key).unwrap_or_else(|| panic!("{key:?}"))
        };
        let owners: BTreeSet<String> = answers.lines().map(key).collect();
        let keys: BTreeSet<String> = fit.iter().map(|a| a.key().to_owned()).collect();
        let (lost, gained) = (keys.difference(&owners).next(), owners.difference(&keys).next());
        assert_eq!((lost, gained), (None, None), "{kind}: lost, and found for nobody");
        assert!(keys.len() > 300, "{kind}: {} addresses only", keys.len());
    }
}
