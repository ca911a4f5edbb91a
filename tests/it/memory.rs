//! The ceiling of memory under clients and providers that mean no good, each alone and all at once.

use std::any::Any;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::support::client::{Client, notify};
use super::support::daemon::{Daemon, Home, PATIENCE, program, source};
use super::support::feed::{Feed, listed};
use super::support::wait_for;

/// The suppressions before, and by how many MiB memory may rise above the quiet state of a daemon
/// that has just as many as there are in the end.
const SUPPRESSIONS: usize = 200_000;
const RISE_MIB: u64 = 128;

/// What a load holds on to.
type Held = Box<dyn Any>;
type Load = fn(&Daemon, &Feed) -> Held;

/// A field of the daemon's status, in MiB.
fn mib(daemon: &Daemon, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().unwrap() / 1024
}

fn batch(tag: &str, from: usize, number: usize) -> String {
    let one = |n: usize| {
        let told = r#""event":"hard_bounce","timestamp":"2026-06-15T10:00:00Z""#;
        format!("{{{told},\"recipient\":\"{tag}{n}@x.test\"}}")
    };
    format!("[{}]", (from..from + number).map(one).collect::<Vec<_>>().join(","))
}

fn unfinished(daemon: &Daemon, _: &Feed) -> Held {
    let head = "POST /hooks/test HTTP/1.1\r\nhost: x\r\nx-webhook-signature: 00\r\n\
        content-length: 8388608\r\n\r\n";
    let part = [head.as_bytes(), &vec![b' '; 8_000_000]].concat();
    let send = |_| {
        let stream = TcpStream::connect(daemon.http).unwrap();
        stream.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        let _ = (&stream).write_all(&part);
        stream
    };
    Box::new((0..1_000).map(send).collect::<Vec<_>>())
}

/// Bodies of 90,000 events, each sent until it is taken.
fn bodies(daemon: &Daemon, _: &Feed) -> Held {
    for number in 0..5 {
        let body = batch(&format!("m{number}-"), 0, 90_000);
        let sent = || {
            let answer = Client::connect(daemon.http).ok()?.notify(&body).ok()?;
            (answer.status == 200).then_some(())
        };
        wait_for("a large body", PATIENCE, sent);
    }
    Box::new(())
}

/// A list of 700,000 rows, of some 106 MiB, in one answer.
fn list(daemon: &Daemon, feed: &Feed) -> Held {
    feed.set_list((0..700_000).map(|n| {
        let address = format!("listed-{n:07}@provider-customer.example");
        let mut row = listed(&address, "hard_bounce", "2026-06-15T10:00:00Z");
        row["note"] = "x".repeat(38).into();
        row
    }));
    // It returns once all rows are applied, which may take minutes.
    let mut poll = Command::new(program());
    poll.args(["poll", "listed", "-c"]).arg(daemon.configuration());
    assert!(poll.status().unwrap().success());
    Box::new(())
}

fn storm(daemon: &Daemon, _: &Feed) -> Held {
    let (small, large) = (batch("u", 0, 1_000), batch("m0-", 0, 90_000));
    let end = Instant::now() + Duration::from_secs(10);
    std::thread::scope(|scope| {
        for number in 0..16 {
            let body = if number % 4 == 0 { &large } else { &small };
            scope.spawn(move || {
                while Instant::now() < end {
                    // What there is no room for is told to come again.
                    let _ = Client::connect(daemon.http).map(|mut client| client.notify(body));
                }
            });
        }
    });
    Box::new(())
}

fn followers(daemon: &Daemon, _: &Feed) -> Held {
    let follow = |_| {
        let mut stream = UnixStream::connect(daemon.control_socket()).unwrap();
        let follow = "{\"verb\":\"events\",\"query\":{},\"follow\":true}\n";
        let _ = stream.write_all(follow.as_bytes());
        stream
    };
    let held = (0..300).map(follow).collect::<Vec<_>>();
    std::thread::park_timeout(Duration::from_secs(5));
    Box::new(held)
}

fn all(daemon: &Daemon, feed: &Feed) -> Held {
    std::thread::scope(|scope| {
        let parts = [unfinished, bodies, list, storm, followers];
        // What they hold on to ends with their threads, but that of the last.
        let threads = parts.map(|part| scope.spawn(move || drop(part(daemon, feed))));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    Box::new(())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(path, to).unwrap();
        }
    }
}

/// Starts, and waits until memory is as it is some time after a start and 20,000 new events.
fn quiet(home: &Home, tag: &str) -> (Daemon, u64) {
    let daemon = home.start().ready();
    for part in 0..20 {
        notify(daemon.http, &batch(tag, part * 1_000, 1_000));
    }
    daemon.until_suppressed(&format!("{tag}19999@x.test"));
    std::thread::park_timeout(Duration::from_secs(10));
    let quiet = mib(&daemon, "VmRSS:");
    (daemon, quiet)
}

/// `cargo build --release`, then, with `ulimit -n 5000`,
/// `SUPPRESSD=target/release/suppressd cargo test --test it memory_has -- --ignored --nocapture`.
#[test]
#[ignore = "fills a store with 200,000 suppressions; takes minutes, and prints the peaks"]
fn memory_has_a_ceiling_under_every_load_and_all_of_them() {
    let feed = Feed::start();
    feed.page_rows(1_000_000);
    feed.set_list([listed("listed@x.test", "hard_bounce", "2026-06-15T10:00:00Z")]);
    let polled = format!(
        "{}[[source]]\nname = \"listed\"\nprovider = \"generic\"\n\
         poll = {{ list_url = \"{}?limit=1000000\", every = \"12h\" }}\n",
        source(),
        feed.list_url()
    );
    let first = Home::bare(&polled);
    let daemon = first.start().ready();
    for part in 0..SUPPRESSIONS / 1_000 {
        let body = batch("u", part * 1_000, 1_000);
        let sent = || (notify(daemon.http, &body).status == 200).then_some(());
        wait_for("a batch", PATIENCE, sent);
    }
    daemon.until_suppressed(&format!("u{}@x.test", SUPPRESSIONS - 1));
    daemon.stop();
    let loads: [(&str, Load); 6] = [
        ("unfinished bodies", unfinished),
        ("large bodies", bodies),
        ("a list in one piece", list),
        ("a replay storm", storm),
        ("deaf followers", followers),
        ("all of them", all),
    ];
    let mut above = Vec::new();
    for (name, load) in loads {
        let home = Home::bare(&polled);
        copy(&first.state(), &home.state());
        let (daemon, before) = quiet(&home, "before");
        // The highest so far is forgotten (proc(5)).
        std::fs::write(format!("/proc/{}/clear_refs", daemon.pid()), "5").unwrap();
        let held = load(&daemon, &feed);
        let level = || (daemon.metric("suppressd_store_lag_bytes") == Some(0.0)).then_some(());
        wait_for("the store", 10 * PATIENCE, level);
        drop(held);
        std::thread::park_timeout(Duration::from_secs(30));
        let (peak, after) = (mib(&daemon, "VmHWM:"), mib(&daemon, "VmRSS:"));
        daemon.stop();
        let (daemon, quiet) = quiet(&home, "after");
        daemon.stop();
        println!("{name}: {before} MiB quiet, {peak} at most, {after} after 30 s, {quiet} anew");
        if peak > quiet + RISE_MIB {
            above.push(name);
        }
    }
    assert!(above.is_empty(), "more than {RISE_MIB} MiB above the quiet state: {above:?}");
}
