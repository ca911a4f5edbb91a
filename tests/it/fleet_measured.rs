//! What the fleet costs and how fast it is, on this machine: prints what docs/fleet.md tells.
//!
//! `SUPPRESSD` names a release build. Three hosts and the servers share the processors, so a fleet
//! on machines of its own is faster than this.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::{Client, event};
use crate::support::daemon::{Daemon, Home, source};
use crate::support::fleet::{LEVEL, table};
use crate::support::nats::Nats;
use crate::support::wait_for;

const NAMES: [&str; 3] = ["mx1", "mx2", "mx3"];

/// Events a second on three hosts, for how long, and one in how many is looked for.
const RATE: u32 = 500;
const SECONDS: u32 = 20;
const SAMPLED: u32 = 25;

/// Records that a host is told while another is away.
const AWAY: u32 = 30_000;

/// Connections of a closed loop, and for how long.
const CONNECTIONS: u32 = 16;
const LOOP: Duration = Duration::from_secs(10);
const ROUNDS: usize = 3;

fn body(number: u32) -> String {
    event("hard_bounce", &format!("user{number}@example.com"), &format!("m{number}"), number)
}

/// Tells a host of numbered bounces on a connection, as fast as it answers.
fn tell(to: SocketAddr, next: &AtomicU32, end: impl Fn(u32) -> bool) -> u32 {
    let (mut client, mut told) = (Client::connect(to).unwrap(), 0);
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if end(number) {
            return told;
        }
        assert_eq!(client.notify(&body(number)).unwrap().status, 200);
        told += 1;
    }
}

/// The same on several connections; says how many it was.
fn tell_all(to: SocketAddr, end: impl Fn(u32) -> bool + Sync) -> u32 {
    let next = AtomicU32::new(0);
    thread::scope(|scope| {
        let one = || scope.spawn(|| tell(to, &next, &end));
        let all: Vec<_> = (0..CONNECTIONS).map(|_| one()).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

/// How long it takes from a bounce's sending until another host refuses the address.
fn way(sent: Instant, other: SocketAddr, number: u32) -> Duration {
    let mut client = Client::connect(other).unwrap();
    let path = format!("/v1/suppressions/user{number}%40example.com");
    loop {
        client.send("GET", &path, &[], b"").unwrap();
        if client.answer().unwrap().status == 200 {
            return sent.elapsed();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a load has a rate")]
fn at_a_rate(hosts: &[Daemon]) -> Vec<Duration> {
    let began = Instant::now();
    thread::scope(|scope| {
        let host = |index: usize| {
            scope.spawn(move || {
                let mut client = Client::connect(hosts[index].http).unwrap();
                let other = hosts[(index + 1) % hosts.len()].admin;
                let mut ways = Vec::new();
                for turn in 0..RATE * SECONDS / 3 {
                    let due = began + Duration::from_secs(3) * turn / RATE;
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    let (number, sent) = (turn * 3 + index as u32, Instant::now());
                    assert_eq!(client.notify(&body(number)).unwrap().status, 200);
                    if turn % SAMPLED == 0 {
                        ways.push(scope.spawn(move || way(sent, other, number)));
                    }
                }
                ways.into_iter().map(|way| way.join().unwrap()).collect::<Vec<_>>()
            })
        };
        let all: Vec<_> = (0..hosts.len()).map(host).collect();
        all.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn heard(daemon: &Daemon) -> f64 {
    daemon.metric("suppressd_fleet_heard_total").unwrap_or_default()
}

/// The processor's time that a process has had, in hundredths of a second.
fn processor(daemon: &Daemon) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
#[ignore = "measures, and prints it"]
fn how_fast_the_fleet_is() {
    let nats = Nats::start(3);
    let homes = NAMES.map(|name| Home::bare(&table(name, &nats, &source())));
    let hosts: Vec<Daemon> = homes.iter().map(|home| home.start().ready()).collect();
    let level = |host: &Daemon| {
        let row = host.rows(&["fleet"]).remove(0);
        let rows = row["hosts"].as_array().unwrap();
        rows.len() == 3 && rows.iter().all(|row| row["level"] == true)
    };
    wait_for("the heads", LEVEL, || hosts.iter().all(level).then_some(()));
    // Each has settled once the next one knows what it was told.
    for (index, host) in hosts.iter().enumerate() {
        let number = RATE * SECONDS + index as u32;
        assert_eq!(Client::connect(host.http).unwrap().notify(&body(number)).unwrap().status, 200);
        hosts[(index + 1) % 3].until_suppressed(&format!("user{number}@example.com"));
    }
    let mut ways = at_a_rate(&hosts);
    ways.sort();
    let (p50, p99) = (ways[ways.len() / 2], ways[ways.len() * 99 / 100]);
    println!("{RATE}/s on three hosts, sent to refused by another: {} of them", ways.len());
    println!("p50 {p50:?}, p99 {p99:?}, most {:?}", ways.last().unwrap());
}

#[test]
#[ignore = "measures, and prints it"]
fn how_fast_a_host_comes_level() {
    let nats = Nats::start(1);
    let [one, other, _] = NAMES.map(|name| Home::bare(&table(name, &nats, &source())));
    let mx1 = one.start().ready();
    let began = Instant::now();
    tell_all(mx1.http, |number| number >= AWAY);
    mx1.until_suppressed(&format!("user{}@example.com", AWAY - 1));
    let told = began.elapsed();
    wait_for("all told", LEVEL, || {
        (mx1.rows(&["fleet"])[0]["fleet"]["lag_bytes"] == 0).then_some(())
    });
    let began = Instant::now();
    let mx2 = other.start().ready();
    wait_for("all heard", LEVEL, || (heard(&mx2) >= f64::from(AWAY)).then_some(()));
    mx2.until_suppressed(&format!("user{}@example.com", AWAY - 1));
    let level = began.elapsed();
    println!("{AWAY} records: told in {told:?}, heard by a host that was away in {level:?}");
}

#[test]
#[ignore = "measures, and prints it"]
fn what_intake_costs_with_the_fleet_on() {
    let nats = Nats::start(1);
    let (mut alone, mut told) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (more, found) in [(source(), &mut alone), (table("mx1", &nats, &source()), &mut told)] {
            let home = Home::bare(&more);
            let daemon = home.start().ready();
            let (began, is_over) = (Instant::now(), AtomicBool::new(false));
            let before = processor(&daemon);
            let end = |_| {
                is_over.fetch_or(began.elapsed() > LOOP, Ordering::Relaxed);
                is_over.load(Ordering::Relaxed)
            };
            let requests = tell_all(daemon.http, end);
            let rate = f64::from(requests) / began.elapsed().as_secs_f64();
            let each = (processor(&daemon) - before) as f64 * 10_000.0 / f64::from(requests);
            println!("{rate:.0} requests/s, {each:.0} µs of the processor each");
            found.push((rate, each));
        }
        nats.delete_stream("suppressd");
    }
    let median = |found: &mut Vec<(f64, f64)>| {
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        found[found.len() / 2]
    };
    let (alone, told) = (median(&mut alone), median(&mut told));
    println!("requests/s: {:.2} of what they are alone", told.0 / alone.0);
    println!("processor: {:.2} of what it is alone", told.1 / alone.1);
}
