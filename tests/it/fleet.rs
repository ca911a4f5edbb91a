//! Several hosts with the real server: what one is told, all know, whatever is killed meanwhile.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::faketime;
use crate::support::fleet::{Fleet, Host, LEVEL, daemon_ready, table};
use crate::support::nats::{self, Nats};
use crate::support::random::Random;
use crate::support::{available, wait_for};

/// A source that is polled, at a place where nothing answers.
const POLLED: &str = "[[source]]\nname = \"polled\"\nprovider = \"generic\"\n\
    poll = { url = \"http://127.0.0.1:9/events\", bearer = \"secret\", every = \"1h\" }\n";

/// How long a lease may take to pass to another host, with what a busy machine adds.
const TAKEOVER: Duration = Duration::from_secs(20 + 20);

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
    // An older state that is put back is no more than a host that lacks something.
    let older = tempfile::tempdir().unwrap();
    fleet.hosts[1].copy_state(&older.path().join("state"));
    (0..10).for_each(|_| drop(fleet.bounce(1)));
    fleet.until_level();
    fleet.hosts[1].put_back(&older.path().join("state"));
    (0..3).for_each(|_| drop(fleet.bounce(1)));
    fleet.until_level();
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
}

#[test]
fn one_host_polls_and_another_takes_over() {
    if !available("one_host_polls_and_another_takes_over", nats::missing()) {
        return;
    }
    let nats = Nats::start(1);
    let mut fleet = Fleet::new(&nats, POLLED);
    let only = |fleet: &Fleet| {
        let polling = fleet.polling();
        assert!(polling.len() <= 1, "{polling:?}");
        polling.first().copied()
    };
    let first = wait_for("one that polls", LEVEL, || only(&fleet));
    fleet.hosts[first].kill();
    let killed = Instant::now();
    let second = wait_for("another that polls", TAKEOVER, || only(&fleet));
    println!("took over after {:?}", killed.elapsed());
    assert_ne!(first, second);
    // One that stops in good order gives its turn away at once.
    fleet.hosts[first].begin();
    daemon_ready(fleet.hosts[first].daemon());
    drop(fleet.hosts[second].daemon.take().unwrap().stop());
    wait_for("yet another that polls", LEVEL, || only(&fleet));
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

/// Everything at random, from a seed: webhooks and commands to any host, hosts and servers killed
/// or held up, a server's disk lost, a host's state lost or put back to an older one, and clocks
/// that differ by minutes.
fn all_is_the_same_after_any_trouble(mut random: Random) {
    let mut nats = Nats::start(3);
    let mut fleet = Fleet::wrong(&nats, "", [0, 90, -90]);
    let (mut dead, mut held) = (None, None);
    for _ in 0..150 {
        let host = random.below(3) as usize;
        match random.below(100) {
            0..68 => drop(fleet.bounce(host)),
            68..76 => {
                let known: Vec<&String> = fleet.expected.keys().collect();
                if known.is_empty() {
                    continue;
                }
                // What is lifted must be known there, or it covers nothing.
                let address = random.one_of(&known).clone();
                let at = fleet.hosts[host].daemon.as_ref();
                if at.is_some_and(|daemon| daemon.looked_up(&address) == 200) {
                    fleet.command(host, "lift", &address);
                }
            }
            76..82 => {
                fleet.number += 1;
                let address = format!("hand{}@example.com", fleet.number);
                fleet.command(host, "add", &address);
            }
            82..88 => fleet.hosts[host].kill(),
            88..93 => fleet.hosts[host].begin(),
            93..96 => match held.take() {
                Some(server) => nats.signal(server, "CONT"),
                None => {
                    let server = random.below(3) as usize;
                    if dead != Some(server) {
                        nats.signal(server, "STOP");
                        held = Some(server);
                    }
                }
            },
            _ => match dead.take() {
                Some(server) => nats.begin(server),
                None => {
                    let server = random.below(3) as usize;
                    if held == Some(server) {
                        continue;
                    }
                    nats.kill(server);
                    // Two disks at once would be more than the servers bear.
                    if random.chance(30) && held.is_none() {
                        nats.wipe(server);
                    }
                    dead = Some(server);
                }
            },
        }
    }
    held.into_iter().for_each(|server| nats.signal(server, "CONT"));
    dead.into_iter().for_each(|server| nats.begin(server));
    fleet.hosts.iter_mut().for_each(Host::begin);
    fleet.until_level();
    let (older, victim) = (tempfile::tempdir().unwrap(), random.below(3) as usize);
    fleet.hosts[victim].copy_state(&older.path().join("state"));
    (0..5).for_each(|_| drop(fleet.bounce(victim)));
    fleet.until_level();
    fleet.hosts[victim].put_back(&older.path().join("state"));
    fleet.hosts[(victim + 1) % 3].wipe();
    fleet.bounce(victim);
    fleet.until_level();
}

#[test]
fn all_hosts_have_the_same_after_any_trouble() {
    let missing = nats::missing().or_else(faketime::missing);
    if available("all_hosts_have_the_same_after_any_trouble", missing) {
        all_is_the_same_after_any_trouble(Random::new());
    }
}

#[test]
#[ignore = "takes hours"]
fn all_hosts_have_the_same_after_a_hundred_troubles() {
    for seed in 1..=100 {
        println!("seed {seed}");
        all_is_the_same_after_any_trouble(Random::of(seed));
    }
}
