//! The HTTP contract, as a provider's sender meets it.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::support::client::{Client, SECRET, event, notify, request, sign};
use super::support::daemon::{Daemon, Home, PATIENCE, source};
use super::support::wait_for;

const LIMITS: &str = "[[source]]\nname = \"basic\"\nprovider = \"generic\"\n\
    webhook = { basic = \"user:word\" }\n\
    [[source]]\nname = \"polled\"\nprovider = \"generic\"\n\
    poll = { url = \"http://127.0.0.1:9/events\", every = \"1h\" }\n";

/// The event that every case sends.
fn body() -> String {
    event("hard_bounce", "user@example.com", "m1", 1)
}

/// A method, a path, headers, a body, and the status that they must get.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a [u8], u16);

#[test]
fn every_answer_of_the_contract() {
    let home = Home::new(LIMITS);
    let daemon = home.start().ready();
    let body = body();
    let bytes = body.as_bytes();
    let good = sign(SECRET, bytes);
    let prefixed = format!("sha256={good}");
    let upper = good.to_uppercase();
    let wrong = sign("another", bytes);
    let name = "x-webhook-signature";
    let basic = format!("Basic {}", data_encoding::BASE64.encode(b"user:word"));
    let bad_basic = format!("Basic {}", data_encoding::BASE64.encode(b"user:wrong"));
    let huge = vec![b' '; 9 << 20];
    let cases: &[Case<'_>] = &[
        ("POST", "/hooks/test", &[(name, &good)], bytes, 200),
        ("POST", "/hooks/test", &[(name, &prefixed)], bytes, 200),
        ("POST", "/hooks/test", &[(name, &upper)], bytes, 200),
        ("POST", "/hooks/test?x=1", &[(name, &good)], bytes, 200),
        ("POST", "/hooks/test", &[(name, &good), ("content-encoding", "Identity")], bytes, 200),
        ("HEAD", "/hooks/test", &[], b"", 200),
        ("GET", "/hooks/test", &[], b"", 200),
        ("POST", "/hooks/test", &[], bytes, 400),
        ("POST", "/hooks/test", &[(name, &wrong)], bytes, 400),
        ("POST", "/hooks/test", &[(name, "zz")], bytes, 400),
        ("POST", "/hooks/test", &[(name, "")], bytes, 400),
        ("POST", "/hooks/test", &[(name, &good), (name, &good)], bytes, 400),
        ("POST", "/hooks/test", &[(name, &good)], b"", 400),
        ("POST", "/hooks/test", &[(name, &good)], &bytes[1..], 400),
        ("POST", "/hooks/basic", &[], bytes, 401),
        ("POST", "/hooks/basic", &[("authorization", &bad_basic)], bytes, 401),
        ("POST", "/hooks/basic", &[("authorization", &basic)], bytes, 200),
        ("POST", "/hooks/none", &[(name, &good)], bytes, 404),
        ("POST", "/hooks/polled", &[(name, &good)], bytes, 404),
        ("POST", "/hooks/", &[(name, &good)], bytes, 404),
        ("POST", "/hooks/test/", &[(name, &good)], bytes, 200),
        ("POST", "/hooks/%74e%73t", &[(name, &good)], bytes, 200),
        ("POST", "/hooks/test//", &[(name, &good)], bytes, 404),
        ("POST", "/hooks%2ftest", &[(name, &good)], bytes, 404),
        ("POST", "/", &[(name, &good)], bytes, 404),
        ("GET", "/metrics", &[], b"", 404),
        ("PUT", "/hooks/test", &[("content-length", "0")], b"", 405),
        ("DELETE", "/hooks/test", &[], b"", 405),
        ("POST", "/hooks/test", &[(name, &good), ("content-encoding", "gzip")], bytes, 415),
        ("POST", "/hooks/test", &[(name, &good)], &huge, 413),
    ];
    for (number, (method, path, headers, body, status)) in cases.iter().enumerate() {
        let answer = request(daemon.http, method, path, headers, body_of(method, body));
        assert_eq!(answer.status, *status, "case {number}: {method} {path} {headers:?}");
        check_headers(&answer);
    }
    assert_eq!(daemon.rows(&["events"]).len(), 2, "two sources were told one event each");
}

/// A HEAD or GET has no body.
fn body_of<'a>(method: &str, body: &'a [u8]) -> &'a [u8] {
    if method == "POST" { body } else { b"" }
}

fn check_headers(answer: &super::support::client::Answer) {
    match answer.status {
        401 => assert!(answer.header("www-authenticate").unwrap().starts_with("Basic realm=")),
        405 => assert_eq!(answer.header("allow"), Some("POST, GET, HEAD")),
        503 => assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() > 0),
        _ => {}
    }
    assert!(answer.body.len() < 80, "{}", answer.body);
    for word in ["signature", "hmac", "secret", "header", "source"] {
        assert!(!answer.body.to_lowercase().contains(word), "{}", answer.body);
    }
}

#[test]
fn a_request_without_a_length_or_with_too_many_headers_is_refused() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let mut client = Client::connect(daemon.http).unwrap();
    client.0.write_all(b"POST /hooks/test HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert_eq!(client.answer().unwrap().status, 411);
    let mut client = Client::connect(daemon.http).unwrap();
    let headers = (0..200).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    let request = format!("GET /hooks/test HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    client.0.write_all(request.as_bytes()).unwrap();
    assert_eq!(client.answer().unwrap().status, 431);
    let mut client = Client::connect(daemon.http).unwrap();
    let long = "y".repeat(100_000);
    let request = format!("GET /hooks/test HTTP/1.1\r\nhost: x\r\nx: {long}\r\n\r\n");
    client.0.write_all(request.as_bytes()).unwrap();
    assert_eq!(client.answer().unwrap().status, 431);
    let mut client = Client::connect(daemon.http).unwrap();
    client.0.write_all(b"GARBAGE\r\n\r\n").unwrap();
    assert_eq!(client.answer().unwrap().status, 400);
}

#[test]
fn chunked_bodies_are_taken_and_cut_off_at_the_limit() {
    let home = Home::new("");
    home.configure_http("body_max = \"1KiB\"", &source());
    let daemon = home.start().ready();
    let body = body();
    let head = |signature: &str| {
        format!(
            "POST /hooks/test HTTP/1.1\r\nhost: x\r\nx-webhook-signature: {signature}\r\n\
             transfer-encoding: chunked\r\n\r\n"
        )
    };
    let chunk = |bytes: &str| format!("{:x}\r\n{bytes}\r\n", bytes.len());
    let (first, second) = body.split_at(20);
    let whole = head(&sign(SECRET, body.as_bytes())) + &chunk(first) + &chunk(second) + "0\r\n\r\n";
    let mut client = Client::connect(daemon.http).unwrap();
    client.0.write_all(whole.as_bytes()).unwrap();
    assert_eq!(client.answer().unwrap().status, 200);
    let long = head("00") + &chunk(&" ".repeat(800)) + &chunk(&" ".repeat(800));
    let mut client = Client::connect(daemon.http).unwrap();
    client.0.write_all(long.as_bytes()).unwrap();
    assert_eq!(client.answer().unwrap().status, 413);
}

#[test]
fn slow_heads_and_bodies_end_in_time() {
    let home = Home::new("");
    home.configure_http("header_timeout = \"300ms\"\nbody_timeout = \"300ms\"", &source());
    let daemon = home.start().ready();
    let mut slow_head = Client::connect(daemon.http).unwrap();
    slow_head.0.write_all(b"POST /hooks/test HTTP/1.1\r\nhost").unwrap();
    let mut rest = Vec::new();
    slow_head.0.read_to_end(&mut rest).unwrap();
    assert!(rest.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&rest));
    let mut slow_body = Client::connect(daemon.http).unwrap();
    let head = b"POST /hooks/test HTTP/1.1\r\nhost: x\r\nx-webhook-signature: 00\r\n\
        content-length: 10\r\n\r\nabc";
    slow_body.0.write_all(head).unwrap();
    assert_eq!(slow_body.answer().unwrap().status, 408);
    let mut idle = TcpStream::connect(daemon.http).unwrap();
    assert_eq!(idle.read(&mut [0]).unwrap(), 0, "an idle connection is closed");
}

#[test]
fn connections_are_kept_and_pipelined() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let mut client = Client::connect(daemon.http).unwrap();
    for second in 0..50 {
        let body = event("delivered", "a@x.test", &format!("kept{second}"), second);
        assert_eq!(client.notify(&body).unwrap().status, 200);
    }
    for second in 0..50 {
        let body = event("delivered", "b@x.test", &format!("piped{second}"), second);
        let signature = sign(SECRET, body.as_bytes());
        let headers = [("x-webhook-signature", signature.as_str())];
        client.send("POST", "/hooks/test", &headers, body.as_bytes()).unwrap();
    }
    for _ in 0..50 {
        assert_eq!(client.answer().unwrap().status, 200);
    }
    let events = |daemon: &Daemon| daemon.rows(&["events", "--kind", "delivered"]).len();
    wait_for("all events", PATIENCE, || (events(&daemon) == 100).then_some(()));
}

#[test]
fn a_client_that_goes_away_does_not_lose_what_it_sent() {
    let home = Home::new("");
    let daemon = home.start().ready();
    for number in 0..100 {
        let body = event("hard_bounce", &format!("gone{number}@x.test"), "m", number);
        let signature = sign(SECRET, body.as_bytes());
        let mut client = Client::connect(daemon.http).unwrap();
        let headers = [("x-webhook-signature", signature.as_str())];
        client.send("POST", "/hooks/test", &headers, body.as_bytes()).unwrap();
        // The client does not wait for the answer.
        drop(client);
    }
    let listed = || daemon.rows(&["list"]).len();
    wait_for("all addresses", PATIENCE, || (listed() == 100).then_some(()));
}

#[test]
fn an_idle_connection_gives_way_to_a_new_one() {
    let home = Home::new("");
    home.configure_http("connections_max = 2", &source());
    let daemon = home.start().ready();
    let mut first = Client::connect(daemon.http).unwrap();
    assert_eq!(first.notify(&body()).unwrap().status, 200);
    let mut second = Client::connect(daemon.http).unwrap();
    assert_eq!(second.notify(&body()).unwrap().status, 200);
    // An answer may arrive a moment before it counts as given: until then nobody gives way, and
    // only the daemon knows who has waited longest. `accept/places.rs` tests the order.
    let mut tries = 0;
    let _third = wait_for("a place", PATIENCE, || {
        tries += 1;
        let mut third = Client::connect(daemon.http).ok()?;
        third.notify(&body()).ok().filter(|answer| answer.status == 200).map(|_| third)
    });
    let served = [&mut first, &mut second].map(|client| client.notify(&body()).is_ok());
    let gone = served.iter().filter(|served| !**served).count();
    assert!(gone <= tries, "{gone} gave way to {tries}");
}

#[test]
fn unreadable_elements_are_kept_and_the_rest_of_their_batch_counts() {
    let home = Home::new("");
    let daemon = home.start().ready();
    let good = body();
    let batch = format!("[{good},{{\"event\":\"hard_bounce\"}},7]");
    assert_eq!(notify(daemon.http, &batch).status, 200);
    assert_eq!(notify(daemon.http, "not json").status, 200);
    let held = || daemon.rows(&["quarantine", "list"]);
    wait_for("quarantine", PATIENCE, || (held().len() == 3).then_some(()));
    let payloads: Vec<String> = held()
        .iter()
        .map(|row| daemon.rows(&["quarantine", "show", row["id"].as_str().unwrap()]))
        .map(|rows| rows[0]["payload"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(payloads, ["{\"event\":\"hard_bounce\"}", "7", "not json"]);
    assert_eq!(daemon.rows(&["events"]).len(), 1);
    let first = held()[0]["id"].as_str().unwrap().to_owned();
    assert!(!daemon.cli(&["quarantine", "replay", &first]).status.success());
    assert_eq!(held().len(), 3, "what cannot be read stays");
    assert!(daemon.cli(&["quarantine", "drop", &first]).status.success());
    assert_eq!(held().len(), 2);
    let logged = daemon.log();
    assert!(logged.contains("quarantine"), "{logged}");
    assert!(!logged.contains("user@example.com") && !logged.contains("not json"), "{logged}");
}

#[test]
fn several_secrets_are_good_at_once_and_added_credentials_must_hold_too() {
    let home = Home::bare(
        "[[source]]\nname = \"test\"\nprovider = \"generic\"\n\
         webhook = { secret = [\"old\", \"new\"], header = \"X-Sig\", bearer = \"token\" }\n",
    );
    let daemon = home.start().ready();
    let body = body();
    let bytes = body.as_bytes();
    for (secret, bearer, status) in
        [("old", "token", 200), ("new", "token", 200), ("other", "token", 400), ("old", "t", 400)]
    {
        let signature = sign(secret, bytes);
        let bearer = format!("Bearer {bearer}");
        let headers = [("x-sig", signature.as_str()), ("authorization", bearer.as_str())];
        let answer = request(daemon.http, "POST", "/hooks/test", &headers, bytes);
        assert_eq!(answer.status, status, "{secret} {bearer}");
    }
}

#[test]
fn a_signature_that_covers_no_body_is_good_for_one_body() {
    let home = Home::bare(&format!(
        "[[source]]\nname = \"mailgun\"\nprovider = \"mailgun\"\n\
         webhook = {{ secret = \"{SECRET}\" }}\n"
    ));
    let daemon = home.start().ready();
    let stamp = suppressd::clock::now().second();
    let body = |token: &str, address: &str| {
        let tag = sign(SECRET, format!("{stamp}{token}").as_bytes());
        format!(
            r#"{{"signature":{{"timestamp":"{stamp}","token":"{token}","signature":"{tag}"}},
            "event-data":{{"event":"complained","timestamp":{stamp}.5,"recipient":"{address}",
            "id":"{token}-id"}}}}"#
        )
    };
    let post =
        |body: String| request(daemon.http, "POST", "/hooks/mailgun", &[], body.as_bytes()).status;
    assert_eq!(post(body("t1", "a@example.com")), 200);
    assert_eq!(post(body("t1", "a@example.com")), 200, "a retry");
    assert_eq!(post(body("t1", "b@example.com")), 400, "forged with a captured token");
    assert_eq!(post(body("t2", "b@example.com")), 200);
    assert_eq!(post(body("t2", "a@example.com").replace("t2-id", "t3-id")), 400);
    assert_eq!(daemon.rows(&["events"]).len(), 2);
    let sent = daemon.cli(&["trigger", "mailgun", "hard_bounce", "c@example.com"]);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    assert_eq!(daemon.rows(&["events"]).len(), 3);
}

#[test]
fn a_sample_of_a_described_source_has_its_secret_in_the_query() {
    let event = r#"{ type = "/what", recipient = "/who", time = "/at",
        map = [{ type = "bounce", kind = "hard_bounce" }] }"#;
    let home = Home::bare(&format!(
        "[[source]]\nname = \"acme\"\nprovider = \"custom\"\n[source.webhook]\n\
         secret = \"{SECRET} &=\"\nverify = {{ type = \"query\", name = \"code\" }}\n\
         event = {event}\n"
    ));
    let daemon = home.start().ready();
    let sent = daemon.cli(&["trigger", "acme", "hard_bounce", "a@example.com"]);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    assert!(!String::from_utf8_lossy(&sent.stdout).contains(SECRET), "{sent:?}");
    assert_eq!(daemon.rows(&["events"])[0]["kind"], "hard_bounce");
    let other = daemon.cli(&["trigger", "acme", "complaint", "a@example.com"]);
    let said = String::from_utf8_lossy(&other.stderr);
    assert_eq!(other.status.code(), Some(64));
    assert!(said.contains("there are: hard_bounce"), "{said}");
}

#[test]
fn envelopes_are_believed_by_topic_and_signature() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sns");
    let home = Home::bare(&format!(
        "[[source]]\nname = \"ses\"\nprovider = \"amazon-ses\"\n[source.webhook]\n\
         topic_arns = [\"arn:aws:sns:us-east-1:123456789012:SES_Events\"]\n\
         certificate = {{ file = \"{fixtures}/test_cert.pem\" }}\nconfirm = false\n"
    ));
    let daemon = home.start().ready();
    let post = |name: &str, from: &str, to: &str| {
        let body = std::fs::read_to_string(format!("{fixtures}/{name}.json")).unwrap();
        let body = body.replace(from, to);
        request(daemon.http, "POST", "/hooks/ses", &[], body.as_bytes()).status
    };
    assert_eq!(post("notification_subject_v1", "", ""), 200);
    assert_eq!(post("notification_subject_v2", "", ""), 200, "the same bounce");
    assert_eq!(post("notification_subject_v2", "jane@", "john@"), 400);
    assert_eq!(post("notification_subject_v2", "SES_Events", "Others"), 400);
    assert_eq!(post("subscription_confirmation_v2", "", ""), 200);
    let rows = daemon.rows(&["events"]);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["kind"], "hard_bounce");
}

#[test]
fn forms_are_signed_with_the_url_that_was_entered() {
    let source = format!(
        "[[source]]\nname = \"mandrill\"\nprovider = \"mandrill\"\n\
         webhook = {{ secret = \"{SECRET}\", url = \"https://h.example/hooks/mandrill\" }}\n"
    );
    let home = Home::bare(&source);
    let daemon = home.start().ready();
    let post =
        |body: &str| request(daemon.http, "POST", "/hooks/mandrill", &[], body.as_bytes()).status;
    assert_eq!(post("mandrill_events=%5B%5D"), 200, "the URL is tried before there is a key");
    assert_eq!(post("mandrill_events=%5B%7B%7D%5D"), 400);
    let sent = daemon.cli(&["trigger", "mandrill", "complaint", "a@example.com"]);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    assert_eq!(daemon.rows(&["events"]).len(), 1);
}
