//! A real Postfix that asks suppressd live: over socketmap in both of its tables, over tcp, and by
//! policy delegation; with a corpus of addresses that were made to be answered for others.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::{Value, json};
use suppressd::model::Address;

use crate::postfix::{NEIGHBOURS, SUPPRESSED, UNFIT};
use crate::support::asker::{Asker, request};
use crate::support::client::{event, notify};
use crate::support::daemon::{Daemon, Home, PATIENCE, source};
use crate::support::postfix::Postfix;
use crate::support::smtp::Session;
use crate::support::{available, wait_for};

/// Recipients that are named in one session.
const SESSION_RCPTS: usize = 400;

/// Addresses in one notification.
const BATCH: usize = 500;

/// The ways to ask, as they are written in `main.cf`. `{tcp}` and `{policy}` are the ports.
const WAYS: [(&str, &str); 4] = [
    (
        "socketmap access",
        "smtpd_recipient_restrictions = check_recipient_access \
         socketmap:unix:{dir}/lookup.sock:access, permit_mynetworks, reject\n",
    ),
    (
        "socketmap transport",
        "transport_maps = socketmap:inet:127.0.0.1:{socketmap}:transport\n\
         smtpd_recipient_restrictions = permit_mynetworks, reject\n",
    ),
    (
        "tcp",
        "smtpd_recipient_restrictions = check_recipient_access tcp:127.0.0.1:{tcp}, \
         permit_mynetworks, reject\n",
    ),
    (
        "policy",
        "smtpd_recipient_restrictions = check_policy_service { inet:127.0.0.1:{policy}, \
         timeout=5s, try_limit=1, default_action=DUNNO }, permit_mynetworks, reject\n",
    ),
];

/// A daemon that listens for every protocol, on fixed places while it runs.
struct Host {
    home: Home,
    daemon: Daemon,
}

impl Host {
    fn start() -> Host {
        let home = Home::new("");
        let lookups = format!(
            "[[lookup]]\nprotocol = \"socketmap\"\nlisten = \"unix:{}/lookup.sock\"\n\
             mode = \"0666\"\n\
             [[lookup]]\nprotocol = \"tcp-table\"\nlisten = \"127.0.0.1:0\"\n\
             [[lookup]]\nprotocol = \"policy\"\nlisten = \"127.0.0.1:0\"\n\
             [[lookup]]\nprotocol = \"socketmap\"\nlisten = \"127.0.0.1:0\"\n",
            home.dir.display()
        );
        home.configure(&format!("{}{lookups}", source()));
        open_to_all(&home.dir);
        let daemon = home.start().ready();
        Host { home, daemon }
    }

    /// A server that asks in that way.
    fn postfix(&self, settings: &str) -> Postfix {
        let log = self.daemon.log();
        let inet = log.split("listener=\"socketmap\" on=127.0.0.1:").nth(1).unwrap();
        let inet = inet.split_whitespace().next().unwrap();
        let port = |protocol: &str| self.daemon.listening(protocol).port().to_string();
        let settings = settings
            .replace("{dir}", &self.home.dir.display().to_string())
            .replace("{socketmap}", inet)
            .replace("{tcp}", &port("tcp-table"))
            .replace("{policy}", &port("policy"));
        Postfix::start_with(&settings)
    }

    fn report(&self, addresses: &[String]) {
        for (batch, addresses) in addresses.chunks(BATCH).enumerate() {
            let bounce = |(number, address): (usize, &String)| {
                json!({
                    "event": "hard_bounce", "timestamp": "2026-06-15T10:32:11Z",
                    "message_id": format!("m{batch}-{number}"), "recipient": address,
                })
            };
            let events: Vec<Value> = addresses.iter().enumerate().map(bounce).collect();
            let answer = notify(self.daemon.http, &Value::Array(events).to_string());
            assert_eq!(answer.status, 200);
        }
        self.daemon.until_suppressed(addresses.last().unwrap());
    }
}

fn open_to_all(directory: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Names all of them, in as many sessions as it takes.
fn each_rcpt<'a>(
    postfix: &Postfix,
    addresses: impl Iterator<Item = &'a str>,
    mut check: impl FnMut(&str, u16, String),
) {
    let addresses: Vec<&str> = addresses.collect();
    for chunk in addresses.chunks(SESSION_RCPTS) {
        let mut session: Session = postfix.session();
        for address in chunk {
            let (code, text) = session.rcpt(address);
            check(address, code, text);
        }
    }
}

/// Words that mean something to a protocol, a table or an MTA: what may follow an injection.
const PAYLOADS: &[&str] = &[
    "victim@example.com",
    "to:victim@example.com",
    "21:access victim@x.test,",
    ",25:access victim@example.com,",
    "OK 550 victim@example.com",
    "NOTFOUND ,9:NOTFOUND ",
    "get victim@example.com",
    "%0Aget%20victim@example.com",
    "200 OK",
    "recipient=victim@example.com",
    "sender=a@b.c",
    "request=smtpd_access_policy",
    "protocol_state=DATA",
    "action=OK",
    "550 5.1.1 x",
    "DUNNO",
    "DISCARD",
    "error:x",
    "*",
    "example.com",
    "@example.com",
    "${run{/bin/false}}",
    "$(false)",
    "`false`",
    "#",
    "=",
    "\\",
    "%",
    "%%41",
    "\u{e9}",
    "\u{1f4a3}",
];

/// What may come between an innocent beginning and a payload.
const JOINTS: &[&str] = &[
    "",
    " ",
    "  ",
    "=",
    ":",
    ",",
    ";",
    "#",
    "\t",
    "\n",
    "\r\n",
    "\r",
    "\0",
    "\u{b}",
    "\u{c}",
    "\u{85}",
    "\u{2028}",
    "\u{2029}",
    "\u{a0}",
    "\u{feff}",
    "\u{200b}",
    "%0A",
    "%0D%0A",
    "%00",
    "\\n",
    "\\",
    "\"",
    "'",
    "+",
    "\n\n",
    "\n\nrequest=smtpd_access_policy\n",
];

/// Thousands of addresses, and of what is none, that try to be answered for `victim`.
fn corpus() -> Vec<String> {
    let mut all = Vec::new();
    for joint in JOINTS {
        for payload in PAYLOADS {
            let content = format!("a{joint}{payload}");
            let escaped = content.replace('\\', "\\\\").replace('"', "\\\"");
            all.push(format!("{content}@hostile.test"));
            all.push(format!("\"{escaped}\"@hostile.test"));
            all.push(format!("x@hostile.test{joint}{payload}"));
            all.push(format!("\"{}\"@hostile.test", &escaped[1..]));
        }
    }
    all.sort();
    all.dedup();
    assert!(all.len() > 3_000, "{}", all.len());
    all
}

/// Those that must not be touched: among them parts of what the corpus holds.
const VICTIMS: &[&str] = &[
    "victim@example.com",
    "victim@x.test",
    "victim+tag@example.com",
    "a@example.com",
    "a@b.c",
    "a@hostile.test",
    "x@hostile.test",
    "anyone@example.com",
    "x@x.test",
    "41@hostile.test",
];

#[test]
fn no_hostile_address_touches_another_through_postfix() {
    if !available("no_hostile_address_touches_another_through_postfix", Postfix::missing()) {
        return;
    }
    let host = Host::start();
    let mut corpus = corpus();
    // Whom the corpus itself names must not be among the victims.
    let named: Vec<String> = corpus.iter().filter_map(|a| key(a)).collect();
    let victims: Vec<&str> =
        VICTIMS.iter().filter(|v| !named.contains(&(**v).to_owned())).copied().collect();
    assert!(victims.len() >= 9, "{victims:?}");
    corpus.extend(SUPPRESSED.iter().map(|(address, _)| (*address).to_owned()));
    // Postfix asks for `a%b` at its own address as for `a@b`.
    let unfit = UNFIT.iter().filter(|address| !address.contains('%'));
    corpus.extend(unfit.map(|address| (*address).to_owned()));
    host.report(&corpus);
    let named: Vec<&String> = corpus.iter().filter(|a| key(a).is_some()).collect();
    assert!(named.len() > 1_000, "{}", named.len());
    for (way, settings) in WAYS {
        let postfix = host.postfix(settings);
        let (mut refused, mut odd) = (0, String::new());
        let neighbours = || victims.iter().chain(NEIGHBOURS).copied();
        each_rcpt(&postfix, named.iter().map(|a| a.as_str()), |address, code, text| {
            match code {
                550 if text.ends_with(": suppressed: hard bounce") => refused += 1,
                // Postfix itself does not take each of them as an address.
                501 | 553 | 555 | 500 => {}
                _ => writeln!(odd, "{address:?}: {code} {text}").unwrap(),
            }
        });
        assert_eq!(odd, "", "{way}");
        assert!(refused > 800, "{way}: {refused} of {}", named.len());
        let others = SUPPRESSED.iter().flat_map(|(_, others)| others.iter().copied());
        each_rcpt(&postfix, others, |address, code, text| {
            assert_eq!(code, 550, "{way}: {address} {text}");
        });
        each_rcpt(&postfix, neighbours(), |address, code, text| {
            assert_eq!(code, 250, "{way}: {address}: {text}");
        });
        eprintln!("{way}: {refused} of {} refused", named.len());
        assert!(!postfix.log().contains("fatal"), "{way}: {}", postfix.log());
    }
    raw(&host, &corpus, &victims);
    host.daemon.stop();
}

/// The key of what is an address.
fn key(text: &str) -> Option<String> {
    Address::parse(text).ok().map(|address| address.key().to_owned())
}

/// The same by clients that do not look at what they send. An answer may be to anything; but the
/// victims are clear for whoever asks for them, then and afterwards.
fn raw(host: &Host, corpus: &[String], victims: &[&str]) {
    let tcp = host.daemon.listening("tcp-table");
    let policy = host.daemon.listening("policy");
    let askers = || {
        let socket = host.home.dir.join("lookup.sock");
        [
            ("socketmap", "NOTFOUND ", Asker::unix("socketmap", &socket)),
            ("tcp-table", "500 not%20found", Asker::tcp("tcp-table", tcp)),
            ("policy", "action=DUNNO", Asker::tcp("policy", policy)),
        ]
    };
    for hostile in corpus {
        for (protocol, clear, mut asker) in askers() {
            let bytes = [request(protocol, hostile), request(protocol, victims[0])].concat();
            asker.send(&bytes);
            asker.end();
            let answers = String::from_utf8(asker.rest()).unwrap();
            let last = answers.trim_end_matches(['\n', ',']).rsplit(['\n', ':']).next().unwrap();
            // Where the hostile query was garbage, nothing more is said.
            let refused = answers.matches("550").count();
            assert!(last == clear || refused <= 1, "{protocol}: {hostile:?}: {answers:?}");
        }
    }
    for (protocol, clear, mut asker) in askers() {
        for victim in victims {
            assert_eq!(asker.ask(victim), clear, "{protocol}: {victim}");
        }
    }
}

#[test]
fn a_webhook_counts_for_the_next_recipient_and_a_lift_too() {
    if !available("a_webhook_counts_for_the_next_recipient_and_a_lift_too", Postfix::missing()) {
        return;
    }
    let host = Host::start();
    for (number, (way, settings)) in WAYS.into_iter().enumerate() {
        let postfix = host.postfix(settings);
        let address = format!("user{number}@example.com");
        // One session for all: nothing is kept by Postfix. But smtpd keeps what transport_maps
        // said, so there each question is for a session of its own and an address of its own.
        let keeps = way == "socketmap transport";
        let mut session = postfix.session();
        if !keeps {
            assert_eq!(session.rcpt(&address).0, 250, "{way}");
        }
        let told = event("hard_bounce", &address, &format!("w{number}"), 1);
        assert_eq!(notify(host.daemon.http, &told).status, 200);
        let refused = || {
            let (code, text) =
                if keeps { postfix.session().rcpt(&address) } else { session.rcpt(&address) };
            (code == 550).then_some(text)
        };
        host.daemon.until_suppressed(&address);
        let text = wait_for("the refusal", PATIENCE, refused);
        assert!(
            text.starts_with("5.1.1 ") && text.ends_with(": suppressed: hard bounce"),
            "{text}"
        );
        assert_eq!(session.rcpt(&format!("other{number}@example.com")).0, 250, "{way}");
        assert!(host.daemon.cli(&["lift", &address]).status.success());
        if !keeps {
            assert_eq!(session.rcpt(&address).0, 250, "{way}");
        }
    }
    queried_by_hand(&host);
    without_us(host);
}

/// `postmap -q`, as the page shows it.
fn queried_by_hand(host: &Host) {
    assert!(host.daemon.cli(&["add", "by-hand@example.com"]).status.success());
    let table = format!("socketmap:unix:{}/lookup.sock", host.home.dir.display());
    for (name, address, expected) in [
        ("access", "by-hand@example.com", "550 5.7.1 suppressed: manual\n"),
        ("transport", "By-Hand@Example.com", "error:5.7.1 suppressed: manual\n"),
        ("access", "other@example.com", ""),
    ] {
        let table = format!("{table}:{name}");
        let output = Command::new("postmap").args(["-q", address, &table]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{name} {address}");
    }
}

/// What Postfix says while suppressd is down: the policy service alone can fail open.
fn without_us(host: Host) {
    let servers = WAYS.map(|(way, settings)| (way, host.postfix(settings)));
    let Host { daemon, home } = host;
    daemon.stop();
    for (way, postfix) in servers {
        let (code, text) = postfix.session().rcpt("by-hand@example.com");
        let expected = if way == "policy" { 250 } else { 451 };
        assert_eq!(code, expected, "{way}: {text}");
    }
    drop(home);
}
