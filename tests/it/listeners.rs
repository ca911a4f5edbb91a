//! The listeners under clients that mean no good: what they are told, and what they cannot take.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::client::{Client, SECRET, event, notify, request, sign};
use super::support::daemon::{Daemon, Home, PATIENCE, source};
use super::support::wait_for;

/// Sends bytes as they are, and reads until the end or for a while.
fn raw(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0)
}

#[test]
fn a_head_that_can_be_read_in_two_ways_is_refused() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let probe = |head: &str| format!("GET /hooks/test {head}\r\n\r\n");
    let hosts = [
        ("HTTP/1.1\r\nhost: x", 200),
        ("HTTP/1.1\r\nhost: x:80", 200),
        ("HTTP/1.0", 200),
        ("HTTP/1.1", 400),
        ("HTTP/1.1\r\nhost: x\r\nhost: x", 400),
        ("HTTP/1.1\r\nhost: a b", 400),
        ("HTTP/1.1\r\nhost: x:y", 400),
        ("HTTP/1.1\r\nhost:", 400),
        ("HTTP/1.0\r\nhost: x\r\nhost: y", 400),
    ];
    for (head, expected) in hosts {
        for to in [daemon.http, daemon.admin] {
            let expected = if to == daemon.admin && expected == 200 { 421 } else { expected };
            assert_eq!(status(&raw(to, probe(head).as_bytes())), expected, "{head:?}");
        }
    }
    let body = event("hard_bounce", "a@x.test", "m", 1);
    let signature = sign(SECRET, body.as_bytes());
    let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for (codings, expected) in [
        ("transfer-encoding: chunked", 200),
        ("transfer-encoding: Chunked", 200),
        ("transfer-encoding: gzip, chunked", 501),
        ("transfer-encoding: gzip\r\ntransfer-encoding: chunked", 501),
        ("transfer-encoding: chunked, chunked", 400),
        ("transfer-encoding: chunked, gzip", 400),
        ("transfer-encoding: chunked\r\ncontent-length: 5", 400),
        ("content-length: 5\r\ntransfer-encoding: chunked", 400),
        ("content-length: 5\r\ncontent-length: 6", 400),
    ] {
        let request = format!(
            "POST /hooks/test HTTP/1.1\r\nhost: x\r\nx-webhook-signature: {signature}\r\n\
             {codings}\r\n\r\n{chunks}"
        );
        assert_eq!(status(&raw(daemon.http, request.as_bytes())), expected, "{codings:?}");
    }
    let coded = request(daemon.http, "POST", "/hooks/test", &[("content-encoding", "br")], b"x");
    assert_eq!((coded.status, coded.header("accept-encoding")), (415, Some("identity")));
}

/// Sources that refuse by their heads.
const HEADS: &str = "[[source]]\nname = \"basic\"\nprovider = \"generic\"\n\
    webhook = { basic = \"user:word\" }\n\
    [[source]]\nname = \"bearer\"\nprovider = \"generic\"\nwebhook = { bearer = \"token\" }\n\
    [[source]]\nname = \"fixed\"\nprovider = \"generic\"\n\
    webhook = { header_name = \"x-key\", header_value = \"v\" }\n\
    [[source]]\nname = \"standard\"\nprovider = \"standard-webhooks\"\n\
    webhook = { secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\" }\n\
    [[source]]\nname = \"ping\"\nprovider = \"mailersend\"\nwebhook = { secret = \"s\" }\n";

#[test]
fn what_the_head_refuses_is_answered_before_a_body_comes() {
    let home = Home::new(HEADS);
    let daemon = home.start().ready();
    let huge = (8 << 20) + 1;
    let old = "webhook-id: 1\r\nwebhook-timestamp: 1\r\nwebhook-signature: v1,AAAA\r\n";
    for (method, path, more, length, expected) in [
        ("POST", "/hooks/none", "", 1_000_000, 404),
        ("PUT", "/hooks/test", "", 1_000_000, 405),
        ("POST", "/hooks/test", "content-encoding: gzip\r\n", 1_000_000, 415),
        ("POST", "/hooks/test", "x-webhook-signature: 00\r\n", huge, 413),
        ("POST", "/hooks/test", "", 1_000_000, 400),
        ("POST", "/hooks/test", "x-webhook-signature: zz\r\n", 1_000_000, 400),
        ("POST", "/hooks/basic", "", 1_000_000, 401),
        ("POST", "/hooks/basic", "authorization: Basic dXNlcjp4\r\n", 1_000_000, 401),
        ("POST", "/hooks/bearer", "authorization: Bearer x\r\n", 1_000_000, 400),
        ("POST", "/hooks/fixed", "x-key: w\r\n", 1_000_000, 400),
        ("POST", "/hooks/standard", "webhook-id: 1\r\n", 1_000_000, 400),
        ("POST", "/hooks/standard", old, 1_000_000, 400),
        // It may be a ping, but none is so large.
        ("POST", "/hooks/ping", "", 1_000_000, 400),
    ] {
        let mut client = Client::connect(daemon.http).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\n{more}content-length: {length}\r\n\r\n"
        );
        client.0.write_all(head.as_bytes()).unwrap();
        if path == "/hooks/ping" {
            client.0.write_all(&[b' '; 5_000]).unwrap();
        }
        client.0.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let answer = client.answer().unwrap_or_else(|error| panic!("{path} {more:?}: {error}"));
        assert_eq!(answer.status, expected, "{path} {more:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{path} {more:?}");
        // The rest of the body does not reset what was answered.
        let _ = client.0.write_all(&[b' '; 10_000]);
    }
    let rows = daemon.rows(&["refused"]);
    let shown: Vec<_> = rows.iter().map(|row| row["reason"].as_str().unwrap()).collect();
    assert_eq!(shown.len(), 13, "each is told once: {shown:#?}");
    assert_eq!(shown[2..4], ["415 Unsupported Media Type", "413 Payload Too Large"]);
}

#[test]
fn who_sent_it_is_read_behind_the_proxies() {
    let home = Home::new("");
    home.configure_http("trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]", &source());
    let daemon = home.start().ready();
    let forged = |values: &[&str]| {
        let headers: Vec<_> = values.iter().map(|v| ("x-forwarded-for", *v)).collect();
        assert_eq!(request(daemon.http, "POST", "/hooks/test", &headers, b"x").status, 400);
    };
    forged(&["192.0.2.1, 192.0.2.2", "10.1.1.1"]);
    daemon.until_logged("peer=192.0.2.2 via 127.0.0.1");
    drop(daemon);
    let socket = home.dir.join("http.sock");
    let config = std::fs::read_to_string(home.config()).unwrap();
    let listen = format!("[http]\nlisten = \"unix:{}\"", socket.display());
    let config = config.replace("[http]\nlisten = \"127.0.0.1:0\"", &listen);
    std::fs::write(home.config(), config).unwrap();
    let daemon = home.start().ready();
    let mut stream = UnixStream::connect(&socket).unwrap();
    let head = "POST /hooks/test HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 192.0.2.7\r\n\
        content-length: 1\r\n\r\nx";
    stream.write_all(head.as_bytes()).unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 400");
    daemon.until_logged("peer=192.0.2.7 via local");
}

#[test]
fn the_private_listener_is_called_by_its_address_only() {
    let home = Home::new("");
    let text = std::fs::read_to_string(home.config()).unwrap();
    let admin = |keys: &str| {
        let with = format!("[admin]\n{keys}\n");
        std::fs::write(home.config(), text.replace("[admin]\nlisten = \"127.0.0.1:0\"\n", &with))
            .unwrap();
    };
    admin("listen = \"127.0.0.1:0\"\nhosts = [\"mx1.example\"]");
    let daemon = home.start().ready();
    for (host, expected) in
        [("localhost", 200), ("127.0.0.1:1", 200), ("mx1.example", 200), ("evil.example", 421)]
    {
        let head = format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        assert_eq!(status(&raw(daemon.admin, head.as_bytes())), expected, "{host}");
        // What the target names outweighs the header.
        let head = format!(
            "GET http://{host}/metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        );
        assert_eq!(status(&raw(daemon.admin, head.as_bytes())), expected, "to {host}");
    }
    drop(daemon);
    admin("listen = \"0.0.0.0:0\"");
    let checked = super::support::daemon::cli(&home.config(), &["check"]);
    assert_eq!(checked.status.code(), Some(78));
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(said.contains("admin.listen") && said.contains("[admin] token"), "{said}");
    admin("listen = \"0.0.0.0:0\"\ntoken = \"let-me-in\"");
    let mut daemon = home.start();
    daemon.admin = SocketAddr::from(([127, 0, 0, 1], daemon.admin.port()));
    let daemon = daemon.ready();
    let get = |path: &str, headers: &[(&str, &str)]| {
        request(daemon.admin, "GET", path, headers, b"").status
    };
    assert_eq!(get("/livez", &[]), 200);
    assert_eq!(get("/v1/suppressions", &[]), 401);
    assert_eq!(get("/v1/suppressions", &[("authorization", "Bearer let-me")]), 401);
    assert_eq!(get("/v1/suppressions", &[("authorization", "Bearer let-me-in")]), 200);
}

#[test]
fn a_lookup_that_other_hosts_reach_is_warned_of() {
    let lookup = "[[lookup]]\nprotocol = \"policy\"\nlisten = \"0.0.0.0:10999\"\n";
    let checked = super::support::daemon::cli(&Home::new(lookup).config(), &["check"]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(
        checked.status.success() && said.contains("lookup[1].listen: 0.0.0.0:10999: other hosts"),
        "{said}"
    );
}

#[test]
fn one_daemon_reads_the_suppressions_of_another() {
    let first = Home::new("");
    let other = first.start().ready();
    let addresses: Vec<String> = (0..250).map(|n| format!("user{n:03}@example.com")).collect();
    let all: Vec<&str> = ["add"].into_iter().chain(addresses.iter().map(String::as_str)).collect();
    assert!(other.cli(&all).status.success());
    assert!(other.cli(&["add", "news@example.com", "--scope", "stream:x"]).status.success());
    assert!(other.cli(&["add", "brief@example.com", "--for", "2d"]).status.success());
    let body = event("complaint", "angry@example.com", "m", 1);
    assert_eq!(notify(other.http, &body).status, 200);
    other.until_suppressed("angry@example.com");
    let second = Home::bare(&format!(
        "[[source]]\nname = \"other\"\nprovider = \"generic\"\n[source.poll]\n\
         list_url = \"http://{0}/v1/suppressions\"\nevery = \"1h\"\n",
        other.admin
    ));
    let daemon = second.start().ready();
    daemon.cli(&["poll", "other"]);
    let listed = || daemon.rows(&["list"]);
    let rows = wait_for("all rows", PATIENCE, || Some(listed()).filter(|rows| rows.len() == 253));
    let stream: Vec<_> = rows.iter().filter(|row| row["scope"] == "stream:x").collect();
    assert_eq!(stream.len(), 1, "what is not for all mail is not here either");
    let row = |rows: &[Value], address: &str| {
        let mut found = rows.iter().filter(|row| row["address"] == address);
        found.next().unwrap().clone()
    };
    let theirs = other.rows(&["list"]);
    let (brief, told) = (row(&rows, "brief@example.com"), row(&theirs, "brief@example.com"));
    assert!(told["until"].is_string() && brief["until"] == told["until"], "{brief} {told}");
    assert!(row(&rows, "user001@example.com")["until"].is_null());
    assert_eq!(row(&rows, "angry@example.com")["reason"], "complaint");
}

/// Fills a socket with requests, and never reads an answer.
fn deaf(to: SocketAddr, request: &str, patience: Duration) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_nonblocking(true).unwrap();
    let requests = request.repeat(1_000);
    let started = Instant::now();
    loop {
        match stream.write(requests.as_bytes()) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && started.elapsed() < patience => {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            Err(_) => return stream,
        }
    }
}

const PROBE: &str = "GET /hooks/test HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";

#[test]
fn a_client_that_never_reads_loses_its_place() {
    let home = Home::new("");
    home.configure_http("connections_max = 4", &source());
    let daemon = home.start().ready();
    let _deaf: Vec<TcpStream> =
        (0..4).map(|_| deaf(daemon.http, PROBE, Duration::from_secs(2))).collect();
    let taken = || {
        let mut client = Client::connect(daemon.http).ok()?;
        let answer = client.notify(&event("hard_bounce", "a@x.test", "m", 1)).ok()?;
        (answer.status == 200).then_some(())
    };
    let started = Instant::now();
    wait_for("a place", PATIENCE, taken);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let displaced = daemon.metric("suppressd_connections_displaced_total{listener=\"public\"}");
    assert!(displaced.unwrap() >= 1.0);
}

#[test]
fn unfinished_bodies_leave_room_for_an_honest_sender() {
    let home = Home::new("");
    home.configure_http("memory = \"8MiB\"\nbody_max = \"1MiB\"", &source());
    let daemon = home.start().ready();
    let head = "POST /hooks/test HTTP/1.1\r\nhost: x\r\nx-webhook-signature: 00\r\n\
        content-length: 1000000\r\n\r\n";
    let part = [head.as_bytes(), &vec![b' '; 900_000]].concat();
    let mut unfinished = Vec::new();
    for number in 0..24 {
        let mut client = Client::connect(daemon.http).unwrap();
        // One that is refused on the way does not take all of it.
        let _ = client.0.write_all(&part);
        unfinished.push(client);
        let body = event("hard_bounce", &format!("honest{number}@x.test"), "m", number);
        assert_eq!(notify(daemon.http, &body).status, 200, "{number}");
    }
    let large: Vec<String> =
        (0..3_000).map(|n| event("hard_bounce", &format!("l{n}@x.test"), "m", 1)).collect();
    let large = format!("[{}]", large.join(","));
    assert_eq!(notify(daemon.http, &large).status, 200, "{} bytes", large.len());
    let refused = |client: &mut Client| client.answer().is_ok_and(|answer| answer.status == 503);
    let first = unfinished.first_mut().unwrap();
    assert!(refused(first), "the oldest was told to try again");
}

/// How long an honest client waits at each listener, in the 99th of a hundred.
fn waits(daemon: &Daemon, lookup: SocketAddr, rounds: usize) -> [Duration; 4] {
    let mut all: [Vec<Duration>; 4] = Default::default();
    let timed = |ask: &mut dyn FnMut()| {
        let started = Instant::now();
        ask();
        started.elapsed()
    };
    for round in 0..rounds {
        let body = event("delivered", "a@x.test", &format!("m{round}"), 1);
        all[0].push(timed(&mut || assert_eq!(notify(daemon.http, &body).status, 200)));
        let looked = &mut || assert_eq!(daemon.looked_up("b@x.test"), 404);
        all[1].push(timed(looked));
        all[2].push(timed(&mut || assert!(daemon.control("{\"verb\":\"status\"}\n"))));
        all[3].push(timed(&mut || {
            let mut client = TcpStream::connect(lookup).unwrap();
            client.write_all(b"get b@x.test\n").unwrap();
            let mut answer = [0; 3];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"500");
        }));
    }
    all.map(|mut waits| {
        waits.sort();
        waits[waits.len() * 99 / 100]
    })
}

/// Clients that are idle, deaf, slow and large, so many of each, on every listener.
fn hostile(daemon: &Daemon, lookup: SocketAddr, idle: usize, others: usize) -> Vec<TcpStream> {
    let open = |to: SocketAddr, bytes: &[u8]| {
        let mut stream = TcpStream::connect(to).unwrap();
        let _ = stream.write_all(bytes);
        stream
    };
    let large = "POST /hooks/test HTTP/1.1\r\nhost: x\r\nx-webhook-signature: 00\r\n\
        content-length: 8000000\r\n\r\n";
    let large = [large.as_bytes(), &vec![b' '; 200_000]].concat();
    let mut streams = Vec::new();
    for to in [daemon.http, daemon.admin, lookup] {
        streams.extend((0..idle).map(|_| open(to, b"")));
        streams.extend((0..others).map(|_| open(to, b"GET /hooks/te")));
        let query = if to == lookup { "get a@x.test\n" } else { PROBE };
        streams.extend((0..others).map(|_| deaf(to, query, Duration::ZERO)));
    }
    streams.extend((0..others * 3).map(|_| {
        let stream = TcpStream::connect(daemon.http).unwrap();
        stream.set_nonblocking(true).unwrap();
        let _ = (&stream).write(&large);
        stream
    }));
    streams
}

const LOOKUP: &str = "[[lookup]]\nprotocol = \"tcp-table\"\nlisten = \"127.0.0.1:0\"\n";

/// How long an honest client waits at one listener.
#[derive(Clone, Copy)]
struct Waited {
    quiet: Duration,
    loud: Duration,
    /// How many times as long among the hostile as without them.
    times: f64,
}

/// Of two daemons one has hostile clients. They are asked in turn, in windows of some rounds, and
/// the medians of the windows count: whatever else the machine does then delays both.
fn under_hostile_clients(
    (idle, others): (usize, usize),
    (windows, rounds): (usize, usize),
) -> [Waited; 4] {
    let homes = [Home::new(LOOKUP), Home::new(LOOKUP)];
    let daemons = homes.each_ref().map(|home| home.start().ready());
    let lookups = daemons.each_ref().map(|daemon| daemon.listening("tcp-table"));
    let loud = &daemons[1];
    let streams = hostile(loud, lookups[1], idle, others);
    let followers: Vec<UnixStream> = (0..others.min(128))
        .map(|_| {
            let mut stream = UnixStream::connect(loud.control_socket()).unwrap();
            let follow = "{\"verb\":\"events\",\"query\":{},\"follow\":true";
            let _ = stream.write_all(follow.as_bytes());
            stream
        })
        .collect();
    let turn = |_| [0, 1].map(|which| waits(&daemons[which], lookups[which], rounds));
    let measured: Vec<_> = (0..windows).map(turn).collect();
    drop((streams, followers));
    std::array::from_fn(|listener| {
        let median = |of: &dyn Fn(Duration, Duration) -> f64| {
            let mut all: Vec<f64> =
                measured.iter().map(|[quiet, loud]| of(quiet[listener], loud[listener])).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        Waited {
            quiet: Duration::from_secs_f64(median(&|quiet, _| quiet.as_secs_f64())),
            loud: Duration::from_secs_f64(median(&|_, loud| loud.as_secs_f64())),
            times: median(&|quiet, loud| loud.as_secs_f64() / quiet.as_secs_f64()),
        }
    })
}

#[test]
fn hostile_clients_delay_nobody() {
    // More than the 64 places of a listener, and in all fewer than the 1,024 files that a process
    // may have open by default.
    for (number, waited) in under_hostile_clients((66, 66), (3, 25)).into_iter().enumerate() {
        let Waited { quiet, loud, .. } = waited;
        // A busy machine has its own delays; a place that is held costs seconds.
        let limit = (quiet * 3).max(Duration::from_secs(3));
        assert!(loud <= limit, "listener {number}: {quiet:?} quiet, {loud:?} among the hostile");
    }
}

/// Both sides need 14,000 files: `cargo build --release`, then, with `ulimit -n 20000`,
/// `SUPPRESSD=target/release/suppressd cargo test --test it ten_thousand -- --ignored --nocapture`.
#[test]
#[ignore = "opens 13,000 connections; prints what it measures"]
fn ten_thousand_hostile_clients_delay_nobody() {
    let names = ["public", "private", "control", "lookup"];
    let mut late = Vec::new();
    for (name, waited) in names.iter().zip(under_hostile_clients((3_334, 342), (40, 50))) {
        let Waited { quiet, loud, times } = waited;
        println!("{name}: p99 {quiet:?} quiet, {loud:?} among 10,000 hostile clients: {times:.2}");
        if times > 3.0 {
            late.push(name);
        }
    }
    assert!(late.is_empty(), "more than three times as late: {late:?}");
}
