//! One host polls a source. Another takes over when that one ends, is held up, or is cut off, and
//! not before.

use std::time::{Duration, Instant};

use suppressd::clock;
use suppressd::model::Time;

use crate::support::feed::{Feed, row};
use crate::support::fleet::{Fleet, Host, LEVEL, daemon_ready};
use crate::support::nats::{self, Nats};
use crate::support::relay::Cut;
use crate::support::{available, wait_for};

/// From the end of the host that polls to the first request of another.
const TAKEOVER: Duration = Duration::from_secs(20);
/// A host that reaches no server for so many seconds goes on alone, where that is tried.
const ALONE: u64 = 30;

/// A fleet that polls a feed each second, and who asked so far: the hosts' numbers.
struct Scene {
    _nats: Nats,
    feed: Feed,
    fleet: Fleet,
}

impl Scene {
    fn begin() -> Scene {
        Scene::with("")
    }

    /// One with more in the fleet's table.
    fn with(table: &str) -> Scene {
        let (nats, feed) = (Nats::start(1), Feed::start());
        let more = format!(
            "[[source]]\nname = \"polled\"\nprovider = \"generic\"\n\
             poll = {{ url = \"{}\", bearer = \"HOST\", cron = \"* * * * * *\" }}\n",
            feed.url()
        );
        let fleet = Fleet::linked_with(&nats, (&more, table), [0; 3]);
        Scene { _nats: nats, feed, fleet }
    }

    /// Who asked, each with the time from which it wants events.
    fn asked(&self) -> Vec<(usize, Time)> {
        let who = |headers: &[String]| {
            let of = |name: &str| headers.iter().any(|header| header.ends_with(name));
            self.fleet.hosts.iter().position(|host| of(host.name)).unwrap()
        };
        let since = |target: &str| {
            let (_, rest) = target.split_once("since=").unwrap();
            let text = rest.split('&').next().unwrap().replace("%3A", ":");
            Time::parse(&text).unwrap()
        };
        let requests = self.feed.requests();
        requests.iter().map(|request| (who(&request.headers), since(&request.target))).collect()
    }

    /// Waits until somebody asks who is not one of these.
    fn until_asked_by_another(&self, than: &[usize]) -> usize {
        let another = || self.asked().into_iter().map(|(host, _)| host).find(|h| !than.contains(h));
        wait_for("another that polls", LEVEL, another)
    }

    /// Waits until a host has asked so many times more.
    fn until_asked_by(&self, host: usize, times: usize) {
        let count = || self.asked().iter().filter(|(by, _)| *by == host).count();
        let before = count();
        wait_for("its polls", LEVEL, || (count() >= before + times).then_some(()));
    }

    /// Something happens at the provider.
    fn happens(&mut self, address: &str) {
        self.feed.push([row("hard_bounce", address, &present(), address)]);
        self.fleet.expected.insert(address.to_owned(), "hard_bounce".to_owned());
    }

    /// Ends the turn of the host that polls, in some way; the other one that polls then, and the
    /// hosts that have asked, one behind the other.
    fn takes_over(&mut self, end: impl FnOnce(&mut Scene, usize)) -> usize {
        let first = self.until_asked_by_another(&[]);
        self.happens("before@example.com");
        self.until_asked_by(first, 2);
        end(self, first);
        let ended = Instant::now();
        let known = self.asked().last().unwrap().1;
        self.happens("after@example.com");
        let second = self.until_asked_by_another(&[first]);
        let took = ended.elapsed();
        println!("took over after {took:?}");
        assert!(took < TAKEOVER, "{took:?}");
        // It goes on where the first one was, and spends no budget on what was read.
        let (_, since) = *self.asked().iter().find(|(by, _)| *by == second).unwrap();
        assert!(since.plus(Duration::from_secs(30)) > known, "{since} behind {known}");
        self.until_asked_by(second, 3);
        second
    }

    /// The first has stopped before the second began.
    fn they_did_not_overlap(&self, first_to_last: [usize; 2]) {
        let mut turns: Vec<usize> = self.asked().into_iter().map(|(host, _)| host).collect();
        turns.dedup();
        assert_eq!(turns, first_to_last);
    }

    fn first(&self) -> usize {
        self.asked()[0].0
    }
}

fn present() -> String {
    clock::now().floor_second().to_string()
}

#[test]
fn another_host_polls_when_the_first_is_killed() {
    if !available("another_host_polls_when_the_first_is_killed", nats::missing()) {
        return;
    }
    let mut scene = Scene::begin();
    let second = scene.takes_over(|scene, first| scene.fleet.hosts[first].kill());
    let first = scene.first();
    scene.they_did_not_overlap([first, second]);
    scene.fleet.hosts[first].begin();
    scene.fleet.until_level();
    // One that stops in good order gives its turn away at once.
    let third = 3 - first - second;
    daemon_ready(scene.fleet.hosts[third].daemon());
    drop(scene.fleet.hosts[second].daemon.take().unwrap().stop());
    let stopped = Instant::now();
    let asked = scene.asked().len();
    let other = || scene.asked()[asked..].iter().any(|(by, _)| *by != second).then_some(());
    wait_for("another that polls", LEVEL, other);
    let took = stopped.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn another_host_polls_when_the_first_is_held_up() {
    if !available("another_host_polls_when_the_first_is_held_up", nats::missing()) {
        return;
    }
    let mut scene = Scene::begin();
    let signal = |host: &Host, name: &str| host.daemon().signal(name);
    let second = scene.takes_over(|scene, first| signal(&scene.fleet.hosts[first], "STOP"));
    let first = scene.first();
    // It goes on as if no time had passed, but its turn has ended.
    signal(&scene.fleet.hosts[first], "CONT");
    scene.until_asked_by(second, 5);
    scene.they_did_not_overlap([first, second]);
    scene.fleet.until_level();
}

#[test]
fn another_host_polls_when_the_first_is_cut_off() {
    if !available("another_host_polls_when_the_first_is_cut_off", nats::missing()) {
        return;
    }
    let mut scene = Scene::begin();
    let second = scene.takes_over(|scene, first| scene.fleet.links[first].cut(Cut::Both));
    let first = scene.first();
    scene.they_did_not_overlap([first, second]);
    assert!(!scene.fleet.hosts[first].polls());
    scene.fleet.links[first].cut(Cut::None);
    scene.until_asked_by(second, 5);
    scene.they_did_not_overlap([first, second]);
    scene.fleet.until_level();
}

/// Where no server can be reached for long, each polls for itself, also one that was started since.
/// Together again, one does, and what all of them were told is known once.
#[test]
fn hosts_that_reach_nobody_go_on_alone_and_come_level() {
    if !available("hosts_that_reach_nobody_go_on_alone_and_come_level", nats::missing()) {
        return;
    }
    let mut scene = Scene::with(&format!("alone_after = \"{ALONE}s\"\n"));
    let first = scene.until_asked_by_another(&[]);
    scene.happens("together@example.com");
    scene.fleet.until_level();
    scene.fleet.links.iter().for_each(|links| links.cut(Cut::Both));
    let cut = Instant::now();
    let begun = (first + 1) % 3;
    scene.fleet.hosts[begun].kill();
    scene.fleet.hosts[begun].begin();
    daemon_ready(scene.fleet.hosts[begun].daemon());
    scene.happens("apart@example.com");
    let asked_by = |scene: &Scene, hosts: &[usize]| {
        let all = hosts.iter().all(|host| scene.asked().iter().any(|(by, _)| by == host));
        all.then_some(())
    };
    let others: Vec<usize> = (0..3).filter(|host| *host != first).collect();
    wait_for("both others", LEVEL, || asked_by(&scene, &others));
    let took = cut.elapsed();
    assert!(took > Duration::from_secs(ALONE - 5), "they wait for {ALONE} s: {took:?}");
    for host in 0..3 {
        scene.until_asked_by(host, 2);
        let told = scene.fleet.bounce(host);
        let daemon = scene.fleet.hosts[host].daemon();
        daemon.until_suppressed("apart@example.com");
        daemon.until_suppressed(&told);
    }
    scene.fleet.links.iter().for_each(|links| links.cut(Cut::None));
    scene.fleet.until_level();
    let polling = || (0..3).filter(|host| scene.fleet.hosts[*host].polls()).collect::<Vec<_>>();
    let alone = || <[usize; 1]>::try_from(polling()).ok();
    let [one] = wait_for("one that polls", LEVEL, alone);
    scene.until_asked_by(one, 1);
    let asked = scene.asked().len();
    scene.until_asked_by(one, 5);
    let since: Vec<usize> = scene.asked()[asked..].iter().map(|(by, _)| *by).collect();
    assert!(since.iter().all(|by| *by == one), "{since:?}");
    scene.happens("again@example.com");
    scene.fleet.until_level();
    for host in &scene.fleet.hosts {
        wait_for("the heads", LEVEL, || host.is_level_with(3).then_some(()));
        let rows = host.daemon().rows(&["events", "--address", "apart@example.com"]);
        assert_eq!(rows.len(), 1, "{}: {rows:?}", host.name);
    }
}
