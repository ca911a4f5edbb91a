//! What is tried with every MTA: the promise as a whole, and a corpus that was made to break it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use suppressd::model::Address;

use super::client::{event, notify};
use super::daemon::Daemon;
use super::sink::Sink;
use super::smtp::Session;
use super::wait_for;

/// A daemon, and an MTA that reads its export.
pub(crate) struct Scene<'a> {
    pub(crate) daemon: &'a Daemon,
    /// The export's name.
    pub(crate) export: &'static str,
    /// Asks the MTA about a recipient: the code and the text of its answer.
    pub(crate) ask: &'a dyn Fn(&str) -> (u16, String),
    /// What a refusal ends with, by the reason in words.
    pub(crate) refusal: &'a dyn Fn(&str) -> String,
    /// How long the MTA may take to see a change.
    pub(crate) patience: Duration,
}

/// The code that is true of a reason, in words.
pub(crate) fn code_of(reason: &str) -> &'static str {
    match reason {
        "hard bounce" => "5.1.1",
        "invalid" => "5.1.3",
        "soft bounces" => "5.2.0",
        _ => "5.7.1",
    }
}

impl Scene<'_> {
    /// Waits until the MTA answers with a code; gives the text.
    pub(crate) fn until(&self, address: &str, code: u16) -> String {
        let started = Instant::now();
        let mut last = None;
        let what = format!("{code} for {address}");
        wait_for(&what, self.patience, || {
            let (got, text) = (self.ask)(address);
            if last.as_ref() != Some(&text) {
                eprintln!("{:?} {address}: {got} {text}", started.elapsed());
            }
            last = Some(text.clone());
            (got == code).then_some(text)
        })
    }

    /// Takes, refuses what a webhook told, takes again after a lift, refuses what was put by hand.
    pub(crate) fn promise(&self) {
        self.until("user@example.com", 250);
        let told = event("hard_bounce", "User@example.com", "m", 1);
        assert_eq!(notify(self.daemon.http, &told).status, 200);
        self.refused("user@example.com", "hard bounce");
        for neighbour in ["user2@example.com", "user@example.org", "user@sub.example.com"] {
            let (code, text) = (self.ask)(neighbour);
            assert_eq!(code, 250, "{neighbour}: {text}");
        }
        assert_eq!((self.ask)("USER@Example.COM").0, 550);
        assert!(self.daemon.cli(&["lift", "user@EXAMPLE.com"]).status.success());
        self.until("user@example.com", 250);
        assert!(self.daemon.cli(&["add", "by-hand@example.com"]).status.success());
        self.refused("by-hand@example.com", "manual");
    }

    /// Waits until an address is refused, with our text.
    pub(crate) fn refused(&self, address: &str, reason: &str) {
        let text = self.until(address, 550);
        let ours = (self.refusal)(reason);
        assert!(text.ends_with(&ours), "{text:?} does not end with {ours:?}");
    }

    /// A message to several, of which one is suppressed, goes to the others.
    pub(crate) fn several(&self, port: u16, sink: &Sink) {
        let mut session = Session::begin(port, "").unwrap();
        assert_eq!(session.rcpt("first@example.com").0, 250);
        assert_eq!(session.rcpt("user@example.com").0, 550);
        assert_eq!(session.rcpt("third@example.com").0, 250);
        assert_eq!(session.data().0, 250);
        for passes in ["first@example.com", "third@example.com"] {
            wait_for(passes, self.patience, || sink.has(passes).then_some(()));
        }
        assert!(!sink.has("user@example.com"));
    }

    /// What is in the queue when an address becomes suppressed does not reach it either.
    pub(crate) fn queued(&self, port: u16, sink: &Sink, run_queue: &dyn Fn()) {
        sink.defer(true);
        let mut session = Session::begin(port, "").unwrap();
        for address in ["queued@example.com", "stays@example.com"] {
            assert_eq!(session.rcpt(address).0, 250);
        }
        assert_eq!(session.data().0, 250);
        assert!(self.daemon.cli(&["add", "queued@example.com"]).status.success());
        self.refused("queued@example.com", "manual");
        sink.defer(false);
        wait_for("the queued mail", self.patience, || {
            run_queue();
            sink.has("stays@example.com").then_some(())
        });
        assert!(!sink.has("queued@example.com"));
    }

    /// Has everything suppressed that could be made to mean another address, and sees that no other
    /// address is refused, and that none is taken but those that the export is known to leave out.
    pub(crate) fn corpus(&self) {
        let hostile = hostile();
        for chunk in hostile.chunks(100) {
            let events: Vec<Value> = chunk.iter().map(|address| bounce(address)).collect();
            assert_eq!(notify(self.daemon.http, &json!(events).to_string()).status, 200);
        }
        let last = event("hard_bounce", "last@example.com", "last", 60);
        assert_eq!(notify(self.daemon.http, &last).status, 200);
        self.refused("last@example.com", "hard bounce");
        for victim in VICTIMS {
            let (code, text) = (self.ask)(victim);
            assert_eq!(code, 250, "{victim}: {text}");
        }
        let status = self.daemon.rows(&["status"]).remove(0);
        let exports = status["exports"].as_array().unwrap();
        let export = exports.iter().find(|export| export["name"] == self.export).unwrap();
        assert_eq!(export["error"], Value::Null);
        // In the plainest spelling, which is all that some MTAs compare.
        let addresses: BTreeSet<String> = hostile
            .iter()
            .filter_map(|hostile| Some(Address::parse(hostile).ok()?.key().to_owned()))
            .collect();
        let taken: Vec<&String> =
            addresses.iter().filter(|address| (self.ask)(address).0 == 250).collect();
        let unfit = export["unfit"].as_u64().unwrap();
        let (all, are) = (hostile.len(), addresses.len());
        eprintln!("{all} hostile, {are} of them addresses, {unfit} unfit, {} taken", taken.len());
        assert!(are > 60 && taken.len() as u64 <= unfit, "{unfit} unfit, but taken: {taken:?}");
    }
}

/// Addresses that nobody has told anything about, and that the corpus is after.
const VICTIMS: &[&str] = &[
    "victim@example.com",
    "a@example.com",
    "b@example.com",
    "anyone@example.com",
    "anyone@evil.example",
    "victim@evil.example",
    "a@evil.example",
    "x@evil.example",
    "victim@evil.example.com",
    "victim@sub.example.com",
    "victim@example.net",
    "postmaster@example.com",
];

/// What may end a key or a line, begin a comment or an expansion, or stand for more than itself.
const PIECES: &[&str] = &[
    "\n",
    "\r",
    "\r\n",
    "\0",
    "\t",
    " ",
    "  ",
    "\u{b}",
    "\u{c}",
    "\u{85}",
    "\u{a0}",
    "\u{2028}",
    "\u{feff}",
    "#",
    ";",
    "//",
    "--",
    ":",
    ": ",
    ",",
    "=",
    "|",
    "\\",
    "\\n",
    "\\\n",
    "\"",
    "\\\"",
    "'",
    "`",
    "*",
    "?",
    "%",
    "!",
    "$",
    "${run{/bin/false}}",
    "$(id)",
    "$&",
    "<",
    ">",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "/",
    "/i",
    "^",
    "&",
    "~",
    "+",
    "-",
    "_",
    ".",
    "..",
    "@",
    "<@>",
    "To:",
    ":fail:",
    "ERROR:",
    "OK",
    " OK",
    "\tOK",
    "\nTo:",
    "\n@",
    "\n*@",
    "\n/.*/",
    "\n# ",
    "\n\"",
    "\n.include ",
];

/// Attempts to have more suppressed than one address.
fn hostile() -> Vec<String> {
    let mut all: Vec<String> = [
        "*@example.com",
        "\"*\"@example.com",
        "?@example.com",
        "@example.com",
        "example.com",
        "\"@example.com\"@evil.example",
        ".example.com",
        "victim@",
        "\"victim@\"@evil.example",
        "victim",
        "*",
        "\"\"@example.com",
        "\" \"@example.com",
        "/.*/",
        "/.*@example.com/",
        "\"/.*/\"@evil.example",
        "\"/victim@example.com/\"@evil.example",
        "!victim@example.com",
        "#victim@example.com",
        "\"#\"@example.com",
        "To:victim@example.com",
        "[example.com]",
        "victim@[127.0.0.1]",
        "user@*",
        "user@*.com",
        "user@.com",
        "+@example.com",
        "+victim@example.com",
        "\"+\"@example.com",
        "victim+@example.com",
        "~root@example.com",
        "|/bin/false@example.com",
        "/dev/null@example.com",
        ":include:/etc/passwd@example.com",
        "@evil.example:victim@example.com",
        "victim%example.com@evil.example",
        "example.com!victim@evil.example",
        "\"victim@example.com\"@evil.example",
    ]
    .map(str::to_owned)
    .into();
    for piece in PIECES {
        all.extend([
            format!("a{piece}victim@example.com"),
            format!("{piece}a@example.com"),
            format!("a@example.com{piece}victim@example.com"),
            format!("a@exam{piece}ple.com"),
            format!("\"a{piece}victim@example.com\"@evil.example"),
            format!("\"victim@example.com{piece}x\"@evil.example"),
            format!("\"{piece}victim@example.com\"@evil.example"),
            format!("\"victim{piece}\"@evil.example"),
        ]);
    }
    // Few of these are other ways to write what they are after: white space and commas around an
    // address are no part of it.
    let key = |text: &str| {
        let bare = text.trim_matches(|c: char| c == ',' || c.is_whitespace());
        Address::parse(bare).ok().map(|address| address.key().to_owned())
    };
    let victims: Vec<_> = VICTIMS.iter().map(|victim| key(victim)).collect();
    all.retain(|hostile| !victims.contains(&key(hostile)) || key(hostile).is_none());
    all
}

/// The event as JSON, whatever is in the address.
fn bounce(address: &str) -> Value {
    json!({
        "event": "hard_bounce",
        "timestamp": "2026-06-15T00:00:30Z",
        "message_id": "hostile",
        "recipient": address,
        "smtp_code": 550,
    })
}
