//! Several hosts with the real server: what one is told, all know, whatever is killed meanwhile.

use std::time::Duration;

use serde_json::json;
use suppressd::clock;

use crate::support::client::{Client, event, notify};
use crate::support::daemon::{Home, source};
use crate::support::faketime;
use crate::support::fleet::{Fleet, LEVEL, daemon_ready, table};
use crate::support::nats::{self, Nats};
use crate::support::relay::Cut;
use crate::support::{available, wait_for};

#[test]
fn what_one_host_is_told_all_know() {
    if !available("what_one_host_is_told_all_know", nats::missing()) {
        return;
    }
    let nats = Nats::start(1);
    let mut fleet = Fleet::new(&nats, "");
    let address = fleet.bounce(0);
    fleet.until_level();
    fleet.command(1, "lift", &address);
    fleet.until_level();
    fleet.command(2, "add", "by-hand@example.com");
    let other = fleet.bounce(1);
    fleet.until_level();
    // What came from another host says so.
    let rows = fleet.hosts[2].daemon().rows(&["events", "--address", &other]);
    assert_eq!(rows[0]["origin"], "fleet", "{rows:?}");
    let rows = fleet.hosts[1].daemon().rows(&["events", "--address", &other]);
    assert_eq!(rows[0]["origin"], "webhook", "{rows:?}");
    // The MTA's file has it too, and the metrics count it.
    let mx1 = &fleet.hosts[0];
    wait_for("the export", LEVEL, || mx1.home.export().contains(&other).then_some(()));
    let heard = || mx1.daemon().metric("suppressd_fleet_heard_total").filter(|heard| *heard >= 3.0);
    wait_for("the count", LEVEL, heard);
    assert_eq!(mx1.daemon().metric("suppressd_fleet_connected"), Some(1.0));
    // All see each other, level.
    wait_for("the heads", LEVEL, || mx1.is_level_with(3).then_some(()));
    let repaired = mx1.daemon().rows(&["fleet", "repair"]);
    let same = |host: &str| json!({ "host": host, "differs": 0 });
    assert_eq!(repaired, [same("mx2"), same("mx3")]);
}

/// What is dated ahead by a provider's clock is lifted as far: by their dates alone, a lift would
/// cover what is told behind it.
#[test]
fn what_is_told_behind_a_lift_stands_on_all_hosts() {
    if !available("what_is_told_behind_a_lift_stands_on_all_hosts", nats::missing()) {
        return;
    }
    let nats = Nats::start(1);
    let mut fleet = Fleet::new(&nats, "");
    let bounce = |fleet: &mut Fleet, host: usize, address: &str, message: &str, ahead: u64| {
        let at = clock::now().plus(Duration::from_secs(ahead));
        let body = json!({ "event": "hard_bounce", "timestamp": at.to_string(),
            "message_id": message, "recipient": address, "reason": "550 5.1.1 no such user" });
        assert_eq!(notify(fleet.hosts[host].daemon().http, &body.to_string()).status, 200);
        fleet.expected.insert(address.to_owned(), "hard_bounce".to_owned());
    };
    let ways = [[0, 0, 0], [0, 1, 2], [0, 1, 1], [1, 2, 1]];
    let cases = ways.iter().flat_map(|way| ["add", "bounce"].map(|last| (*way, last)));
    let address = |[first, lift, behind]: [usize; 3], last: &str| {
        format!("{last}-{first}{lift}{behind}@example.com")
    };
    for (way, last) in cases.clone() {
        bounce(&mut fleet, way[0], &address(way, last), "first", 60);
    }
    fleet.until_level();
    for (way, last) in cases.clone() {
        fleet.command(way[1], "lift", &address(way, last));
    }
    fleet.until_level();
    for (way, last) in cases {
        match last {
            "add" => fleet.command(way[2], "add", &address(way, last)),
            _ => bounce(&mut fleet, way[2], &address(way, last), "second", 0),
        }
    }
    fleet.until_level();
    // Nothing differs that a repair would have to weigh, and one changes nothing.
    let repaired = fleet.hosts[0].daemon().rows(&["fleet", "repair"]);
    let same = |host: &str| json!({ "host": host, "differs": 0 });
    assert_eq!(repaired, [same("mx2"), same("mx3")]);
    fleet.until_level();
}

#[test]
fn a_host_that_was_away_or_lost_everything_comes_level() {
    if !available("a_host_that_was_away_or_lost_everything_comes_level", nats::missing()) {
        return;
    }
    let mut nats = Nats::start(1);
    let mut fleet = Fleet::new(&nats, "");
    (0..20).for_each(|number| drop(fleet.bounce(number % 3)));
    fleet.until_level();
    fleet.hosts[0].kill();
    (0..20).for_each(|number| drop(fleet.bounce(1 + number % 2)));
    fleet.hosts[0].begin();
    fleet.until_level();
    // Its own records, too, come back from the others: also when the stream is gone.
    nats.kill(0);
    nats.wipe(0);
    fleet.bounce(2);
    nats.begin(0);
    fleet.hosts[0].wipe();
    fleet.bounce(0);
    fleet.until_level();
    // An older state that is put back is no more than a host that lacks something: even if that is
    // one record, in whose place the next one would be.
    for records in [10, 1] {
        let older = tempfile::tempdir().unwrap();
        fleet.hosts[1].copy_state(&older.path().join("state"));
        (0..records).for_each(|_| drop(fleet.bounce(1)));
        fleet.until_level();
        fleet.hosts[1].put_back(&older.path().join("state"));
        (0..3).for_each(|_| drop(fleet.bounce(1)));
        fleet.until_level();
    }
}

#[test]
fn a_host_with_little_room_comes_level() {
    const RECORDS: u32 = 4_000;
    if !available("a_host_with_little_room_comes_level", nats::missing()) {
        return;
    }
    let mut nats = Nats::start(1);
    let [one, other] = ["mx1", "mx2"].map(|name| Home::bare(&table(name, &nats, &source())));
    let mx1 = one.start().ready();
    // What is told once there is a server comes in few messages of many records.
    nats.kill(0);
    let mut client = Client::connect(mx1.http).unwrap();
    for number in 0..RECORDS {
        let message = format!("m{number}-{}", "long".repeat(500));
        let body = event("hard_bounce", &address(number), &message, number);
        assert_eq!(client.notify(&body).unwrap().status, 200);
    }
    other
        .configure_http("body_max = \"64KiB\"\nmemory = \"1MiB\"", &table("mx2", &nats, &source()));
    let mx2 = other.start().ready();
    nats.begin(0);
    let heard = || mx2.metric("suppressd_fleet_heard_total") >= Some(f64::from(RECORDS));
    wait_for("all heard", LEVEL, || heard().then_some(()));
    mx2.until_suppressed(&address(RECORDS - 1));
}

#[test]
fn a_fleet_is_joined_and_left_at_a_reload() {
    if !available("a_fleet_is_joined_and_left_at_a_reload", nats::missing()) {
        return;
    }
    let nats = Nats::start(1);
    let mut fleet = Fleet::new(&nats, "");
    let source = crate::support::daemon::source();
    let mx3 = &fleet.hosts[2];
    mx3.home.configure(&source);
    assert!(mx3.daemon().cli(&["reload"]).status.success());
    let output = mx3.daemon().cli(&["fleet"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("add [fleet]"), "{output:?}");
    assert_eq!(mx3.daemon().metric("suppressd_fleet_hosts"), Some(0.0));
    let told = fleet.bounce(0);
    fleet.hosts[1].daemon().until_suppressed(&told);
    let mx3 = &fleet.hosts[2];
    assert_eq!(mx3.daemon().looked_up(&told), 404);
    mx3.home.configure(&table("mx3", &nats, &source));
    assert!(mx3.daemon().cli(&["reload"]).status.success());
    fleet.until_level();
    // Other rules are told of, and the host stays.
    let [mx1, _, mx3] = &fleet.hosts[..] else { panic!("three hosts") };
    wait_for("the heads", LEVEL, || mx1.is_level_with(3).then_some(()));
    let begun = || mx3.daemon().log().matches("fleet: begun").count();
    let before = begun();
    let rules = "[rules]\nsoft_bounce = { count = 9 }\n";
    mx3.home.configure(&format!("{rules}{}", table("mx3", &nats, &source)));
    assert!(mx3.daemon().cli(&["reload"]).status.success());
    let host = wait_for("other rules", LEVEL, || {
        let row = mx1.fleet();
        let hosts = row["hosts"].as_array()?;
        Some(hosts.iter().find(|host| host["rules_agree"] == false)?["host"].clone())
    });
    assert_eq!((host, begun()), (json!("mx3"), before));
}

#[test]
fn who_is_forgotten_on_one_host_is_on_all() {
    if !available("who_is_forgotten_on_one_host_is_on_all", nats::missing()) {
        return;
    }
    let nats = Nats::start(1);
    let mut fleet = Fleet::new(&nats, "");
    let address = fleet.bounce(0);
    let other = fleet.bounce(0);
    fleet.until_level();
    let of = |fleet: &Fleet, host: usize| {
        fleet.hosts[host].daemon().rows(&["events", "--address", &address]).len()
    };
    wait_for("the heads", LEVEL, || fleet.hosts[1].is_level_with(3).then_some(()));
    let (status, rows) = fleet.hosts[1].daemon().answer(&["forget", &address, "--yes"]);
    let done = |host: &str| json!({ "host": host, "forgotten": true, "problem": null });
    assert_eq!((status, &rows[1]["hosts"]), (0, &json!([done("mx1"), done("mx3")])));
    for host in 0..3 {
        wait_for("the end of its events", LEVEL, || (of(&fleet, host) == 0).then_some(()));
        // Nobody is named any more, and all of them go on refusing the address.
        assert_eq!(fleet.hosts[host].daemon().looked_up(&address), 200);
    }
    fleet.expected.remove(&address);
    fleet.until_level();
    // A host that is away is told of.
    fleet.hosts[2].kill();
    let silent = || fleet.hosts[0].fleet()["hosts"][2]["state"] == "silent";
    wait_for("silence", LEVEL, || silent().then_some(()));
    let output = fleet.hosts[0].daemon().cli(&["forget", &other, "--yes"]);
    let problem = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && problem.contains("mx3: nothing is heard"), "{output:?}");
    let is_gone = |fleet: &Fleet, host: usize, address: &str| {
        let daemon = fleet.hosts[host].daemon();
        let is_gone = daemon.rows(&["events", "--address", address]).is_empty();
        (is_gone && daemon.looked_up(address) == 200).then_some(())
    };
    wait_for("its end", LEVEL, || is_gone(&fleet, 1, &other));
    fleet.expected.remove(&other);
    // Once it is back it learns of them by itself, and so does a host that is new: what the stream
    // still has of them is kept by neither.
    fleet.hosts[2].begin();
    wait_for("its end", LEVEL, || is_gone(&fleet, 2, &other));
    fleet.hosts[1].wipe();
    daemon_ready(fleet.hosts[1].daemon());
    for address in [&address, &other] {
        wait_for("its end", LEVEL, || is_gone(&fleet, 1, address));
    }
    fleet.until_level();
    wait_for("the heads", LEVEL, || fleet.hosts[1].is_level_with(3).then_some(()));
    assert!([&address, &other].iter().all(|it| is_gone(&fleet, 1, it).is_some()));
    // A lift on one of them, which is told to all, also to a host that is away.
    fleet.hosts[0].kill();
    assert_eq!(fleet.hosts[1].daemon().answer(&["lift", &other]).0, 0);
    fleet.hosts[0].begin();
    daemon_ready(fleet.hosts[0].daemon());
    for host in &fleet.hosts {
        let daemon = host.daemon();
        wait_for("the lift", LEVEL, || (daemon.looked_up(&other) == 404).then_some(()));
        assert_eq!(daemon.looked_up(&address), 200, "{}", host.name);
        let said = &daemon.rows(&["lookup", &other])[0];
        assert_eq!(said["note"], "forgotten, not suppressed", "{}", host.name);
    }
    // What comes behind it suppresses anew, everywhere.
    let body = event("complained", &other, "later", 59);
    assert_eq!(notify(fleet.hosts[2].daemon().http, &body).status, 200);
    for host in &fleet.hosts {
        host.daemon().until_suppressed(&other);
    }
    fleet.until_level();
}

#[test]
fn clocks_may_differ_by_minutes() {
    if !available("clocks_may_differ_by_minutes", nats::missing().or_else(faketime::missing)) {
        return;
    }
    let nats = Nats::start(1);
    let mut fleet = Fleet::wrong(&nats, "", [120, 0, -120]);
    // Each of these is told after the other, whatever the clocks show.
    for (host, other) in [(0, 2), (2, 0), (1, 2), (0, 1)] {
        let address = format!("turn{host}{other}@example.com");
        fleet.command(host, "add", &address);
        fleet.until_level();
        fleet.command(other, "lift", &address);
        fleet.until_level();
        fleet.command(host, "add", &address);
        fleet.until_level();
    }
}

/// What was heard of the others' clocks is known after a crash, though nobody can be heard.
#[test]
fn a_crash_does_not_put_the_clock_back() {
    if !available("a_crash_does_not_put_the_clock_back", nats::missing().or(faketime::missing())) {
        return;
    }
    let nats = Nats::start(1);
    let mut fleet = Fleet::linked(&nats, "", [120, 0, -120]);
    let address = fleet.bounce(2);
    fleet.until_level();
    wait_for("the heads", LEVEL, || fleet.hosts[2].is_level_with(3).then_some(()));
    fleet.command(2, "lift", &address);
    fleet.links[2].cut(Cut::Both);
    fleet.hosts[2].kill();
    fleet.hosts[2].begin();
    fleet.command(2, "add", &address);
    fleet.links[2].cut(Cut::None);
    fleet.until_level();
}

fn address(number: u32) -> String {
    format!("user{number}@example.com")
}
