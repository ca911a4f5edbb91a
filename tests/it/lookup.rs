//! Live lookups over real sockets: the answers, their limits, and what a client can do wrong.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::asker::{Asker, netstring, policy, request};
use crate::support::client::{self, event, notify};
use crate::support::daemon::{Daemon, Home, PATIENCE, source};
use crate::support::mta::code_of;
use crate::support::wait_for;

/// How each protocol says that an address is not suppressed.
const CLEAR: [(&str, &str); 3] =
    [("socketmap", "NOTFOUND "), ("tcp-table", "500 not%20found"), ("policy", "action=DUNNO")];

/// Suppressed addresses as an MTA may name them, each with the spelling that was reported.
const SPELLINGS: &[(&str, &[&str])] = &[
    (
        "User@Example.com",
        &["user@example.com", "USER@EXAMPLE.COM", "user@example.com.", "\"user\"@example.com"],
    ),
    ("user+tag@example.com", &["User+Tag@example.com"]),
    ("\"John Smith\"@example.com", &["\"john smith\"@example.com", "john smith@example.com"]),
    ("\"a@b\"@example.com", &["\"a@b\"@example.com", "a@b@example.com"]),
    (
        "\"back\\\\slash\"@example.com",
        &["\"back\\\\slash\"@example.com", "back\\slash@example.com"],
    ),
    ("jos\u{e9}@example.com", &["JOS\u{c9}@example.com"]),
    ("stra\u{df}e@example.com", &["STRASSE@example.com"]),
    ("user@b\u{fc}cher.example", &["user@B\u{dc}CHER.example", "user@xn--bcher-kva.example"]),
    ("#hash@example.com", &["#hash@example.com"]),
    ("a&b=c%d@example.com", &["a&b=c%d@example.com"]),
    ("user@[127.0.0.1]", &["user@[127.0.0.1]"]),
];

/// What an MTA may ask for beside, and must not find.
const OTHERS: &[&str] = &[
    "user2@example.com",
    "use@example.com",
    "user@sub.example.com",
    "user@example.co",
    "user+@example.com",
    "user+tag2@example.com",
    "johnsmith@example.com",
    "john  smith@example.com",
    "jose@example.com",
    "hash@example.com",
    "a@example.com",
    "b@example.com",
    "example.com",
    "@example.com",
    "user@",
    "user",
    ".example.com",
    "*",
    "127.0.0.1",
    "",
    " ",
    "@",
    "\"",
    "from:user@example.com",
    "connect:user@example.com",
];

/// A daemon that listens for every protocol.
struct Host {
    home: Home,
    daemon: Daemon,
}

/// The tables of three listeners with these keys.
fn lookups(home: &Home, keys: &str) -> String {
    let socket = home.dir.join("lookup.sock");
    let one = |protocol: &str, listen: &str| {
        format!("[[lookup]]\nprotocol = \"{protocol}\"\nlisten = \"{listen}\"\n{keys}\n")
    };
    [
        one("socketmap", &format!("unix:{}", socket.display())),
        one("tcp-table", "127.0.0.1:0"),
        one("policy", "127.0.0.1:0"),
    ]
    .concat()
}

impl Host {
    /// With these keys in each lookup.
    fn start(keys: &str) -> Host {
        let home = Home::new("");
        home.configure(&format!("{}{}", source(), lookups(&home, keys)));
        let daemon = home.start().ready();
        Host { home, daemon }
    }

    fn port(&self, protocol: &str) -> SocketAddr {
        self.daemon.listening(protocol)
    }

    fn asker(&self, protocol: &'static str) -> Asker {
        match protocol {
            "socketmap" => Asker::unix(protocol, &self.home.dir.join("lookup.sock")),
            _ => Asker::tcp(protocol, self.port(protocol)),
        }
    }

    fn report(&self, addresses: &[&str]) {
        let events: Vec<Value> = addresses.iter().enumerate().map(bounce).collect();
        let answer = notify(self.daemon.http, &Value::Array(events).to_string());
        assert_eq!(answer.status, 200);
        self.daemon.until_suppressed(addresses.last().unwrap());
    }

    /// What `status` has of a listener.
    fn status(&self, protocol: &str) -> Value {
        let status = self.daemon.rows(&["status"]).remove(0);
        let lookups = status["lookups"].as_array().unwrap().clone();
        lookups.into_iter().find(|lookup| lookup["protocol"] == protocol).unwrap()
    }
}

fn bounce((number, address): (usize, &&str)) -> Value {
    json!({
        "event": "hard_bounce", "timestamp": "2026-06-15T10:32:11Z",
        "message_id": format!("m{number}"), "recipient": address,
    })
}

/// The answer of a protocol to a suppressed address.
fn refusal(protocol: &str, reason: &str) -> String {
    let code = code_of(reason);
    match protocol {
        "socketmap" => format!("OK 550 {code} suppressed: {reason}"),
        "tcp-table" => format!("200 550 {code} suppressed: {reason}")
            .replacen(' ', "\0", 1)
            .replace(' ', "%20")
            .replace('\0', " "),
        _ => format!("action=550 {code} suppressed: {reason}"),
    }
}

#[test]
fn every_protocol_gives_the_same_verdict() {
    let host = Host::start("");
    let reported: Vec<&str> = SPELLINGS.iter().map(|(reported, _)| *reported).collect();
    let asked: Vec<&str> = SPELLINGS.iter().flat_map(|(_, asked)| asked.iter().copied()).collect();
    for (protocol, clear) in CLEAR {
        let mut asker = host.asker(protocol);
        for address in &asked {
            assert_eq!(asker.ask(address), clear, "{protocol}: {address:?}");
        }
    }
    host.report(&reported);
    for (protocol, clear) in CLEAR {
        let mut asker = host.asker(protocol);
        for address in &asked {
            let expected = refusal(protocol, "hard bounce");
            assert_eq!(asker.ask(address), expected, "{protocol}: {address:?}");
        }
        for address in OTHERS {
            assert_eq!(asker.ask(address), clear, "{protocol}: {address:?}");
        }
    }
    for address in &asked {
        assert_eq!(host.daemon.looked_up(address), 200, "{address:?}");
    }
    for address in OTHERS.iter().filter(|address| !address.is_empty()) {
        assert!(matches!(host.daemon.looked_up(address), 400 | 404), "{address:?}");
    }
    let plain = "/v1/suppressions/a&b=c%25d@example.com";
    assert_eq!(client::request(host.daemon.admin, "GET", plain, &[], b"").status, 200);
    lifted(&host);
    counted(&host, asked.len() as u64, OTHERS.len() as u64);
    host.daemon.stop();
}

/// A lift counts for the next question.
fn lifted(host: &Host) {
    assert!(host.daemon.cli(&["lift", "user@example.com"]).status.success());
    for (protocol, clear) in CLEAR {
        assert_eq!(host.asker(protocol).ask("user@example.com"), clear);
    }
    assert_eq!(host.daemon.looked_up("user@example.com"), 404);
}

/// What was asked is counted.
fn counted(host: &Host, asked: u64, others: u64) {
    for (protocol, _) in CLEAR {
        let status = host.status(protocol);
        assert_eq!(status["queries"], 2 * asked + others + 1, "{status}");
        assert_eq!(status["suppressed"], asked, "{status}");
        assert_eq!((&status["errors"], &status["malformed"]), (&json!(0), &json!(0)));
        let listen = status["listen"].as_str().unwrap();
        let series = format!(
            "suppressd_lookup_queries_total{{protocol=\"{protocol}\",listener=\"{listen}\",\
             answer=\"suppressed\"}}"
        );
        assert_eq!(host.daemon.metric(&series), Some(asked as f64));
    }
    let text = String::from_utf8(host.daemon.cli(&["status"]).stdout).unwrap();
    assert!(text.contains("\nlookups\n") && text.contains("tcp-table"), "{text}");
}

#[test]
fn a_table_is_answered_in_its_style() {
    let home = Home::new("");
    let unix = |name: &str, keys: &str| {
        let path = home.dir.join(name);
        format!(
            "[[lookup]]\nprotocol = \"socketmap\"\nlisten = \"unix:{}\"\n{keys}\n",
            path.display()
        )
    };
    let tcp = "[[lookup]]\nprotocol = \"tcp-table\"\nlisten = \"127.0.0.1:0\"\n\
               style = \"transport\"\nreply = \"4.7.1 {reason}, later\"\n";
    let all =
        [source(), unix("a", "mode = \"0600\""), unix("b", "style = \"sendmail\""), tcp.into()];
    home.configure(&all.concat());
    let daemon = home.start().ready();
    assert!(daemon.cli(&["add", "user@example.com"]).status.success());
    for (socket, table, key, expected) in [
        ("a", "access", "user@example.com", "OK 550 5.7.1 suppressed: manual"),
        ("a", "transport", "user@example.com", "OK error:5.7.1 suppressed: manual"),
        ("a", "sendmail", "to:user@example.com", "OK ERROR:5.7.1:\"550 suppressed: manual\""),
        ("a", "suppressed", "user@example.com", "OK 550 5.7.1 suppressed: manual"),
        ("a", "", "user@example.com", "OK 550 5.7.1 suppressed: manual"),
        ("a", "transport", "other@example.com", "NOTFOUND "),
        ("b", "access", "to:user@example.com", "OK ERROR:5.7.1:\"550 suppressed: manual\""),
        ("b", "access", "from:user@example.com", "NOTFOUND "),
        ("b", "access", "to:example.com", "NOTFOUND "),
    ] {
        let mut asker = Asker::unix("socketmap", &home.dir.join(socket));
        asker.send(&netstring(table, key));
        assert_eq!(asker.answer().unwrap(), expected, "{socket} {table} {key}");
    }
    let mut asker = Asker::tcp("tcp-table", daemon.listening("tcp-table"));
    assert_eq!(asker.ask("user@example.com"), "200 retry:4.7.1%20manual,%20later");
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(home.dir.join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode("a"), mode("b")), (0o600, 0o660));
    daemon.stop();
}

/// The table of a socketmap at a path.
fn socketmap(path: &Path) -> String {
    format!("[[lookup]]\nprotocol = \"socketmap\"\nlisten = \"unix:{}\"\n", path.display())
}

#[test]
fn who_was_suppressed_before_a_start_is_so_from_its_first_answer_on() {
    let home = Home::new("");
    let path = home.dir.join("lookup.sock");
    home.configure(&(source() + &socketmap(&path)));
    let daemon = home.start().ready();
    assert!(daemon.cli(&["add", "user@example.com"]).status.success());
    daemon.kill();
    for _ in 0..3 {
        // It listens, and no more is known of it.
        let daemon = home.start();
        let answer = Asker::unix("socketmap", &path).ask("user@example.com");
        assert_eq!(answer, "OK 550 5.7.1 suppressed: manual");
        daemon.kill();
    }
}

#[test]
fn an_extension_is_left_out_where_it_is_wanted() {
    let host = Host::start("recipient_delimiter = \"+-\"");
    host.report(&["user@example.com", "only+tag@example.com", "\"john smith\"@example.com"]);
    for (protocol, clear) in CLEAR {
        let mut asker = host.asker(protocol);
        for (address, found) in [
            ("user+tag@example.com", true),
            ("user-a+b@example.com", true),
            ("USER+@Example.com", true),
            ("john smith+x@example.com", true),
            ("only+tag@example.com", true),
            ("only+other@example.com", false),
            ("only@example.com", false),
            ("+user@example.com", false),
            ("user.tag@example.com", false),
        ] {
            let hard = refusal(protocol, "hard bounce");
            assert_eq!(asker.ask(address), if found { &hard } else { clear }, "{address}");
        }
    }
    host.daemon.stop();
}

#[test]
fn a_lookup_is_narrowed_and_the_sender_chooses_the_scope() {
    let keys = "reasons = [\"manual\", \"complaint\"]\nsources = [\"operator\"]\n\
                scopes = [\"stream:offers\"]";
    let home = Home::new("");
    let by_sender = "[[lookup]]\nprotocol = \"policy\"\nlisten = \"127.0.0.1:0\"\n\
        scopes_by_sender = [\n\
        { sender = \"News@example.com\", scopes = [\"global\", \"stream:news\"] },\n\
        { sender = \"@B\u{dc}CHER.example\", scopes = [\"stream:offers\"] },\n\
        { sender = \"@example.com\", scopes = [\"global\"] },\n]\n";
    let narrow = format!(
        "[[lookup]]\nprotocol = \"socketmap\"\nlisten = \"unix:{}\"\n{keys}\n",
        home.dir.join("narrow").display()
    );
    home.configure(&format!("{}{by_sender}{narrow}", source()));
    let daemon = home.start().ready();
    assert_eq!(notify(daemon.http, &event("hard_bounce", "g@x.test", "m", 1)).status, 200);
    daemon.until_suppressed("g@x.test");
    for (address, scope) in [("n@x.test", "stream:news"), ("o@x.test", "stream:offers")] {
        assert!(daemon.cli(&["add", address, "--scope", scope]).status.success());
    }
    for (sender, refused) in [
        ("news@example.com", &["g@x.test", "n@x.test"][..]),
        ("other@example.com", &["g@x.test"]),
        ("anyone@xn--bcher-kva.example", &["o@x.test"]),
        ("anyone@sub.example.com", &["g@x.test"]),
        ("", &["g@x.test"]),
        ("not an address", &["g@x.test"]),
    ] {
        let mut asker = Asker::tcp("policy", daemon.listening("policy"));
        for address in ["g@x.test", "n@x.test", "o@x.test"] {
            asker.send(&policy(sender, address));
            let found = asker.answer().unwrap().starts_with("action=550 ");
            assert_eq!(found, refused.contains(&address), "{sender:?}: {address}");
        }
    }
    let mut asker = Asker::unix("socketmap", &home.dir.join("narrow"));
    for (address, answer) in [
        ("g@x.test", "NOTFOUND "),
        ("n@x.test", "NOTFOUND "),
        ("o@x.test", "OK 550 5.7.1 suppressed: manual"),
    ] {
        assert_eq!(asker.ask(address), answer, "{address}");
    }
    let scoped = |query: &str| {
        let path = format!("/v1/suppressions/n@x.test{query}");
        client::request(daemon.admin, "GET", &path, &[], b"").status
    };
    assert_eq!((scoped(""), scoped("?scope=stream:news"), scoped("?scope=news")), (404, 200, 400));
    daemon.stop();
}

#[test]
fn only_a_recipient_is_judged() {
    let host = Host::start("");
    host.report(&["user@example.com"]);
    let mut asker = host.asker("policy");
    let request = String::from_utf8(policy("", "user@example.com")).unwrap();
    for (state, answer) in [
        ("RCPT", "action=550 5.1.1 suppressed: hard bounce"),
        ("MAIL", "action=DUNNO"),
        ("DATA", "action=DUNNO"),
        ("END-OF-MESSAGE", "action=DUNNO"),
    ] {
        asker.send(request.replace("=RCPT", &format!("={state}")).as_bytes());
        assert_eq!(asker.answer().unwrap(), answer, "{state}");
    }
    host.daemon.stop();
}

#[test]
fn a_thousand_queries_at_once_are_answered_in_order_to_each_of_many_clients() {
    const CLIENTS: usize = 60;
    const QUERIES: usize = 1_000;
    let host = Host::start("");
    let addresses: Vec<String> = (0..QUERIES).map(|n| format!("user{n}@example.com")).collect();
    let odd: Vec<&str> = addresses.iter().skip(1).step_by(2).map(String::as_str).collect();
    host.report(&odd);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (protocol, clear) = CLEAR[client % 3];
            let mut asker = host.asker(protocol);
            let addresses = &addresses;
            scope.spawn(move || {
                let all: Vec<Vec<u8>> = addresses.iter().map(|a| request(protocol, a)).collect();
                asker.send(&all.concat());
                // One that closes its side early gets its answers all the same.
                if client % 2 == 0 {
                    asker.end();
                }
                for number in 0..QUERIES {
                    let found = refusal(protocol, "hard bounce");
                    let expected = if number % 2 == 1 { found.as_str() } else { clear };
                    assert_eq!(asker.answer().unwrap(), expected, "{protocol} {number}");
                }
                asker.end();
                assert_eq!(asker.rest(), b"");
            });
        }
    });
    for (protocol, _) in CLEAR {
        let gone = || (host.status(protocol)["connections"] == 0).then_some(());
        wait_for("the end of the connections", PATIENCE, gone);
    }
    host.daemon.stop();
}

#[test]
fn what_is_no_query_ends_its_connection_and_no_other() {
    let host = Host::start("");
    host.report(&["user@example.com"]);
    for (protocol, _) in CLEAR {
        let mut other = host.asker(protocol);
        let found = refusal(protocol, "hard bounce");
        assert_eq!(other.ask("user@example.com"), found);
        let long = vec![b'a'; 50_000];
        let garbage: [&[u8]; 5] =
            [b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"\n\n\n", b"\xff\0\n", b"99999999:\n", &long];
        for bytes in garbage {
            let mut asker = host.asker(protocol);
            // Those before it are still answered.
            asker.send(&[&request(protocol, "user@example.com"), bytes].concat());
            assert_eq!(asker.answer().unwrap(), found);
            asker.end();
            assert_eq!(asker.rest(), b"");
        }
        assert_eq!(other.ask("user@example.com"), found, "an older connection goes on");
        // A client that ends in the middle of a query has sent no garbage.
        let part = host.asker(protocol);
        part.end();
        let malformed = || host.status(protocol)["malformed"].as_u64().filter(|n| *n >= 4);
        assert!(wait_for("the count", PATIENCE, malformed) <= 5);
    }
    host.daemon.stop();
}

#[test]
fn more_connections_than_there_may_be_wait_for_a_place() {
    let host = Host::start("connections_max = 2\nidle_timeout = \"1s\"");
    for (protocol, clear) in CLEAR {
        let mut first = host.asker(protocol);
        assert_eq!(first.ask("a@x.test"), clear);
        let mut second = host.asker(protocol);
        assert_eq!(second.ask("a@x.test"), clear);
        // Both places are given back when their holders have been idle for too long.
        let mut third = host.asker(protocol);
        assert_eq!(third.ask("a@x.test"), clear);
        assert_eq!((first.rest(), second.rest()), (vec![], vec![]));
    }
    host.daemon.stop();
}

#[test]
fn a_stop_answers_what_was_asked() {
    let host = Host::start("");
    host.report(&["user@example.com"]);
    let mut askers: Vec<(&str, Asker)> = Vec::new();
    for _ in 0..5 {
        for (protocol, _) in CLEAR {
            let mut asker = host.asker(protocol);
            asker.send(&request(protocol, "user@example.com").repeat(2_000));
            askers.push((protocol, asker));
        }
    }
    let idle = host.asker("socketmap");
    host.daemon.signal("TERM");
    for (protocol, asker) in &mut askers {
        let found = refusal(protocol, "hard bounce");
        for _ in 0..2_000 {
            assert_eq!(asker.answer().unwrap(), found);
        }
        assert_eq!(asker.rest(), b"");
    }
    drop(idle);
    let log = host.daemon.stop();
    assert!(!log.contains("did not end in time"), "{log}");
}

#[test]
fn a_store_that_cannot_answer_is_open_or_closed() {
    for (keys, answers) in [
        ("", CLEAR.map(|(_, clear)| clear)),
        ("on_error = \"open\"", CLEAR.map(|(_, clear)| clear)),
        (
            "on_error = \"closed\"",
            [
                "TEMP suppressions cannot be looked up now",
                "400 suppressions%20cannot%20be%20looked%20up%20now",
                "action=451 4.3.0 suppressions cannot be looked up now",
            ],
        ),
    ] {
        unanswerable(keys, answers);
    }
}

/// A daemon whose store cannot be made again: a pipe lies where a checkpoint should.
fn unanswerable(keys: &str, answers: [&str; 3]) {
    let host = Host::start(keys);
    host.report(&["user@example.com"]);
    let Host { home, daemon } = host;
    daemon.stop();
    let checkpoints = home.state().join("checkpoint");
    std::fs::remove_dir_all(home.state().join("sled")).unwrap();
    std::fs::remove_dir_all(&checkpoints).unwrap();
    std::fs::create_dir(&checkpoints).unwrap();
    let pipe = checkpoints.join("0000000001-0000000064.checkpoint");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let host = Host { daemon: home.start(), home };
    let mut askers = CLEAR.map(|(protocol, _)| host.asker(protocol));
    for (asker, answer) in askers.iter_mut().zip(answers) {
        for _ in 0..3 {
            assert_eq!(asker.ask("user@example.com"), answer);
            // What is no address needs no store, and says nothing of it.
            assert!(CLEAR.iter().any(|(_, clear)| asker.ask("example.com") == *clear));
        }
    }
    assert_eq!(host.daemon.looked_up("user@example.com"), 503);
    // An operator has to look at it, and moves it away.
    host.daemon.until_logged("is no regular file");
    std::fs::remove_file(&pipe).unwrap();
    let Host { home, daemon } = host;
    let host = Host { daemon: daemon.ready(), home };
    for (asker, (protocol, _)) in askers.iter_mut().zip(CLEAR) {
        assert_eq!(asker.ask("user@example.com"), refusal(protocol, "hard bounce"));
        assert_eq!(host.status(protocol)["errors"], 3, "{keys}");
    }
    let log = host.daemon.stop();
    let word = if keys.contains("closed") { "closed" } else { "open" };
    assert_eq!(log.matches(&format!("(on_error = {word})")).count(), 3, "once each: {log}");
    assert_eq!(log.matches("lookup: answers again").count(), 3, "{log}");
}

/// What is in the way of one lookup keeps nothing else from being served, and ends with that.
#[test]
fn what_stands_in_the_way_of_a_lookup_ends_nothing() {
    let home = Home::new("");
    let folder = home.dir.join("folder");
    let path = folder.join("lookup.sock");
    home.configure(&(source() + &socketmap(&path)));
    for in_folder in [true, false] {
        match in_folder {
            true => std::fs::create_dir_all(&path).unwrap(),
            false => std::fs::write(&folder, "").unwrap(),
        }
        let daemon = home.start().ready();
        let body = event("hard_bounce", "user@example.com", "m", 1);
        assert_eq!(notify(daemon.http, &body).status, 200);
        let told = || {
            let body = daemon.readyz().body;
            let is_told = body.starts_with("degraded") && body.contains(path.to_str().unwrap());
            is_told.then_some(())
        };
        wait_for("the check", PATIENCE, told);
        let reload = || daemon.cli(&["reload"]).status.code();
        assert_eq!(reload(), Some(0));
        std::fs::remove_dir_all(&folder).or_else(|_| std::fs::remove_file(&folder)).unwrap();
        wait_for("the socket", PATIENCE, || path.exists().then_some(()));
        assert_eq!(reload(), Some(0));
        daemon.until_suppressed("user@example.com");
        let answer = Asker::unix("socketmap", &path).ask("user@example.com");
        assert_eq!(answer, refusal("socketmap", "hard bounce"));
        assert!(daemon.readyz().body.starts_with("ready"));
        daemon.stop();
        assert!(!path.exists(), "it goes with the daemon");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

/// Without the file nobody can connect, and Postfix would defer all mail.
#[test]
fn a_socket_whose_file_is_taken_away_is_made_again() {
    let home = Home::new("");
    let path = home.dir.join("lookup.sock");
    home.configure(&(source() + &socketmap(&path)));
    let daemon = home.start().ready();
    let body = event("hard_bounce", "user@example.com", "m", 1);
    assert_eq!(notify(daemon.http, &body).status, 200);
    daemon.until_suppressed("user@example.com");
    let answers = || {
        let answer = Asker::unix("socketmap", &path).ask("user@example.com");
        assert_eq!(answer, refusal("socketmap", "hard bounce"));
    };
    std::fs::remove_file(&path).unwrap();
    assert_eq!(daemon.cli(&["reload"]).status.code(), Some(0));
    answers();
    for file in [path.clone(), daemon.control_socket()] {
        std::fs::remove_file(&file).unwrap();
        wait_for("the socket", PATIENCE, || file.exists().then_some(()));
    }
    answers();
    assert!(daemon.readyz().body.starts_with("ready"));
    let log = daemon.stop();
    assert!(log.contains("the file of a socket was removed or replaced: made again"), "{log}");
}
