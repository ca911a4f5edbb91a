//! What suppressd exports is what Postfix refuses: no less, and nothing beside it.

use std::path::Path;
use std::time::Duration;

use suppressd::export::guard::Guard;
use suppressd::export::publish::Publication;
use suppressd::export::{self, Entry, Hash, Rows, Settings, Style, Table};
use suppressd::model::reply::Refusals;
use suppressd::model::{Address, Filter, Reason, Time, Until};

use crate::support::available;
use crate::support::postfix::Postfix;

/// Suppressed addresses, and other ways to write them that must be refused as well.
pub(crate) const SUPPRESSED: &[(&str, &[&str])] = &[
    ("plain@example.com", &["PLAIN@Example.COM", "plain@example.com.", "\"plain\"@example.com"]),
    ("MiXed@Example.ORG", &["mixed@example.org"]),
    ("user+tag@example.com", &["User+Tag@example.com"]),
    ("o'brien@example.com", &[]),
    ("us#er@example.com", &[]),
    ("%x@example.com", &[]),
    ("$user@example.com", &[]),
    ("|cmd@example.com", &[]),
    ("*@example.com", &[]),
    ("!x@example.com", &[]),
    ("..dots..@example.com", &["\"..dots..\"@example.com"]),
    ("\"John Smith\"@example.com", &["\"john smith\"@example.com"]),
    ("\" two  spaces \"@example.com", &[]),
    ("\"#x y\"@example.com", &[]),
    ("\"a@b\"@example.com", &["\"A@B\"@example.com"]),
    ("\"plain@example.net\"@example.com", &[]),
    ("\"a,b:c;d<e>f(g)h[i]j\"@example.com", &[]),
    (r#""back\\slash"@example.com"#, &[]),
    (r#""end\\"@example.com"#, &[]),
    (r#""quo\"te x"@example.com"#, &[]),
    ("\"nb\u{a0}sp\"@example.com", &["nb\u{a0}sp@example.com"]),
    ("jos\u{e9}@example.com", &["JOS\u{c9}@example.com"]),
    ("stra\u{df}e@example.com", &["STRASSE@example.com", "strasse@example.com"]),
    ("user@b\u{fc}cher.example", &["user@B\u{dc}CHER.example", "user@xn--bcher-kva.example"]),
    ("other@xn--bcher-kva.example", &["other@b\u{fc}cher.example"]),
    ("user@xn--fa-hia.example", &["USER@XN--FA-HIA.example"]),
    ("user@[127.0.0.1]", &[]),
    ("user@[IPv6:2001:db8::1]", &["user@[IPv6:2001:DB8::1]"]),
    ("user@localhost", &[]),
];

/// Addresses next to those, which must go through.
pub(crate) const NEIGHBOURS: &[&str] = &[
    "plai@example.com",
    "plain1@example.com",
    "plain@example.co",
    "plain@example.net",
    "plain@sub.example.com",
    "plain@com",
    "plain+tag@example.com",
    "user@example.com",
    "user+tag2@example.com",
    "us@example.com",
    "er@example.com",
    "x@example.com",
    "cmd@example.com",
    "anyone@example.com",
    "dots@example.com",
    "john@example.com",
    "smith@example.com",
    "johnsmith@example.com",
    "\"john  smith\"@example.com",
    "\"two  spaces\"@example.com",
    "\"x y\"@example.com",
    "a@b",
    "b@example.com",
    "\"a@c\"@example.com",
    "backslash@example.com",
    "end@example.com",
    "\"quo te x\"@example.com",
    "jose@example.com",
    "user@bucher.example",
    "user@fass.example",
    "plain@b\u{fc}cher.example",
    "user@[127.0.0.2]",
    "user@[IPv6:2001:db8::2]",
    "hash@example.com",
    "victim@example.com",
];

/// Attempts to write more than one row, a second field or a comment: none is an address.
const HOSTILE: &[&str] = &[
    "a@example.com\nvictim@example.com",
    "a@example.com\r\nvictim@example.com 550 x",
    "a\nvictim@example.com",
    "\"a\nvictim\"@example.com",
    "\"a\\\nvictim\"@example.com",
    "a\u{b}b@example.com",
    "a\u{85}victim@example.com",
    "a\u{2028}victim@example.com",
    "a\tOK@example.com",
    "\"a\tOK\"@example.com",
    "a@example.com\tDISCARD",
    "a@example.com DISCARD",
    "a@example.com#",
    "a@example.com,victim@example.com",
    "example.com",
    "@example.com",
    "user@",
    " victim@example.com",
    "a@example.com\0",
    "a@b@example.com",
    "\"a@example.com",
    "a@ex ample.com",
];

/// Addresses that the text form cannot carry.
pub(crate) const UNFIT: &[&str] =
    &["#hash@example.com", "\"#hash\"@example.com", "a%b@[127.0.0.1]"];

fn settings(path: &Path) -> Settings {
    let format = export::ALL.iter().find(|format| format.name() == "postfix-access").unwrap();
    Settings {
        name: "postfix".to_owned(),
        format: *format,
        style: Style::new(*format, Table::Text, Hash::Sha256, &Refusals::default()),
        path: path.to_owned(),
        filter: Filter::default(),
        min_interval: Duration::ZERO,
        max_shrink: 50,
        command: vec![],
        owner: None,
        group: None,
        mode: None,
    }
}

/// Publishes what of `addresses` is an address and fit, as the daemon would.
fn write(path: &Path, addresses: &[&str]) -> u64 {
    let settings = settings(path);
    let mut parsed: Vec<Address> =
        addresses.iter().filter_map(|address| Address::parse(address).ok()).collect();
    parsed.sort_by(|a, b| a.key().cmp(b.key()));
    let mut publication = Publication::begin(&settings).unwrap();
    for address in &parsed {
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
        }
    }
    let guard = Guard { force: true, ..Guard::new(0) };
    publication.finish(&guard).unwrap().rows
}

fn postmap(path: &Path) {
    let output = Postfix::postmap(path);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn postfix_refuses_what_is_exported_and_nothing_else() {
    if !available("postfix", Postfix::missing()) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("suppressed");
    for hostile in HOSTILE {
        assert!(Address::parse(hostile).is_err(), "{hostile:?}");
    }
    assert_eq!(write(&path, &[]), 0);
    postmap(&path);
    let postfix = Postfix::start(&path);
    let mut session = postfix.session();
    assert_eq!(session.rcpt("plain@example.com").0, 250, "an empty table refuses nobody");

    let given = SUPPRESSED.iter().map(|(address, _)| *address);
    let all: Vec<&str> =
        given.chain(UNFIT.iter().copied()).chain(HOSTILE.iter().copied()).collect();
    // Two of them have a form in U-labels.
    assert_eq!(write(&path, &all), SUPPRESSED.len() as u64 + 2);
    postmap(&path);
    let mut session = postfix.session();
    for address in SUPPRESSED.iter().flat_map(|(a, others)| others.iter().chain([a])) {
        let (code, text) = session.rcpt(address);
        assert_eq!(code, 550, "{address} {text}");
        let ours = text.starts_with("5.1.1 ") && text.ends_with(": suppressed: hard bounce");
        assert!(ours, "{address}: {text}");
    }
    for address in NEIGHBOURS.iter().chain(UNFIT) {
        let (code, text) = session.rcpt(address);
        assert_eq!(code, 250, "{address}: {text}");
    }
    assert!(!postfix.log().contains("fatal"), "{}", postfix.log());
}
