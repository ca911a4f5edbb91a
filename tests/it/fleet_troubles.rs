//! Three hosts and three servers in any trouble, at random: in the end all hosts have the same, and
//! nothing is missing that any of them has acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use suppressd::clock;
use tempfile::TempDir;

use crate::support::client::notify;
use crate::support::faketime;
use crate::support::feed::{Feed, row};
use crate::support::fleet::{Fleet, Host, LEVEL, daemon_ready};
use crate::support::nats::{self, Nats};
use crate::support::random::Random;
use crate::support::relay::Cut;
use crate::support::{available, wait_for};

/// How often there is trouble between two times that all is well, and how often that is.
const STEPS: u32 = 60;
const ROUNDS: u32 = 3;
/// How wrong the hosts' clocks are, in seconds.
const WRONG: [i64; 3] = [0, 120, -120];
/// How many soft bounces suppress.
const SOFT: usize = 3;

/// The fleet, what is wrong at present, and what all have to know in the end.
struct Troubles {
    random: Random,
    nats: Nats,
    fleet: Fleet,
    feed: Feed,
    /// How many events there are of each address.
    told: BTreeMap<String, usize>,
    held: Option<usize>,
    dead: Option<usize>,
    /// A host's state as it once was.
    older: Option<(usize, TempDir)>,
}

impl Troubles {
    fn begin(random: Random) -> Troubles {
        let (nats, feed) = (Nats::start(3), Feed::start());
        let more = format!(
            "[rules]\nsoft_bounce = {{ count = {SOFT} }}\n\
             [[source]]\nname = \"polled\"\nprovider = \"generic\"\n\
             poll = {{ url = \"{}\", bearer = \"secret\", cron = \"*/2 * * * * *\" }}\n",
            feed.url()
        );
        let fleet = Fleet::linked(&nats, &more, WRONG);
        let (told, held, dead, older) = (BTreeMap::new(), None, None, None);
        Troubles { random, nats, fleet, feed, told, held, dead, older }
    }

    fn step(&mut self) {
        let host = self.random.below(3) as usize;
        match self.random.below(100) {
            0..40 => self.bounce(host),
            40..48 => self.bounce_softly(host),
            48..62 => self.turn(host),
            62..66 => self.add(host),
            66..72 => self.poll(),
            72..79 => self.fleet.hosts[host].kill(),
            79..86 => self.fleet.hosts[host].begin(),
            86..92 => self.cut(host),
            92..95 => self.hold_server(),
            95..99 => self.kill_server(),
            _ => self.power_cut(),
        }
    }

    /// A new address by webhook.
    fn bounce(&mut self, host: usize) {
        let address = self.fleet.bounce(host);
        if self.fleet.expected.contains_key(&address) {
            self.told.insert(address, 1);
        }
    }

    /// One more message to one of a few addresses, which together suppress.
    fn bounce_softly(&mut self, host: usize) {
        let Some(daemon) = &self.fleet.hosts[host].daemon else { return };
        self.fleet.number += 1;
        let address = format!("soft{}@example.com", self.random.below(6));
        let message = format!("m{}", self.fleet.number);
        let body = row("soft_bounce", &address, &present(), &message).to_string();
        assert_eq!(notify(daemon.http, &body).status, 200);
        let told = self.told.entry(address.clone()).or_default();
        *told += 1;
        if *told >= SOFT {
            self.fleet.expected.insert(address, "soft_bounces".to_owned());
        }
    }

    /// A new address by the feed.
    fn poll(&mut self) {
        self.fleet.number += 1;
        let address = format!("polled{}@example.com", self.fleet.number);
        let message = format!("m{}", self.fleet.number);
        self.feed.push([row("hard_bounce", &address, &present(), &message)]);
        self.fleet.expected.insert(address.clone(), "hard_bounce".to_owned());
        self.told.insert(address, 1);
    }

    /// A new address by hand.
    fn add(&mut self, host: usize) {
        self.fleet.number += 1;
        let address = format!("hand{}@example.com", self.fleet.number);
        self.command(host, "add", &address);
    }

    /// Lifts an address, or adds it again, where all that was told of it before is known.
    fn turn(&mut self, host: usize) {
        let Some(daemon) = &self.fleet.hosts[host].daemon else { return };
        let turnable = |address: &&String| !address.starts_with("soft");
        let known: Vec<&String> = self.told.keys().filter(turnable).collect();
        if known.is_empty() {
            return;
        }
        // Often one that has turned before.
        let turned: Vec<&String> =
            known.iter().copied().filter(|address| self.told[*address] > 1).collect();
        let again = !turned.is_empty() && self.random.chance(50);
        let address = self.random.one_of(if again { &turned } else { &known }).clone();
        daemon_ready(daemon);
        if daemon.rows(&["events", "--address", &address]).len() == self.told[&address] {
            let is_suppressed = self.fleet.expected.contains_key(&address);
            self.command(host, if is_suppressed { "lift" } else { "add" }, &address);
        }
    }

    fn command(&mut self, host: usize, verb: &str, address: &str) {
        if self.fleet.hosts[host].daemon.is_some() {
            self.fleet.command(host, verb, address);
            *self.told.entry(address.to_owned()).or_default() += 1;
        }
    }

    fn cut(&mut self, host: usize) {
        let links = &self.fleet.links[host];
        match links.is_cut() {
            Cut::None => links.cut(self.random.one_of(&[Cut::Out, Cut::In, Cut::Both])),
            _ => links.cut(Cut::None),
        }
    }

    fn hold_server(&mut self) {
        match self.held.take() {
            Some(server) => self.nats.signal(server, "CONT"),
            None => {
                let server = self.random.below(3) as usize;
                if self.dead != Some(server) {
                    self.nats.signal(server, "STOP");
                    self.held = Some(server);
                }
            }
        }
    }

    fn kill_server(&mut self) {
        let server = self.random.below(3) as usize;
        match self.dead.take() {
            Some(server) => self.nats.begin(server),
            None if self.held == Some(server) => {}
            None => {
                self.nats.kill(server);
                // Two disks at once would be more than the servers bear.
                if self.random.chance(30) && self.held.is_none() {
                    self.nats.wipe(server);
                }
                self.dead = Some(server);
            }
        }
    }

    /// All hosts and all servers at once.
    fn power_cut(&mut self) {
        self.fleet.hosts.iter_mut().for_each(Host::kill);
        self.held = None;
        (0..3).for_each(|server| self.nats.kill(server));
        (0..3).for_each(|server| self.nats.begin(server));
        self.dead = None;
        self.fleet.hosts.iter_mut().for_each(Host::begin);
    }

    /// Mends all, and waits until all hosts know all.
    fn heal(&mut self) {
        self.held.take().into_iter().for_each(|server| self.nats.signal(server, "CONT"));
        self.dead.take().into_iter().for_each(|server| self.nats.begin(server));
        self.fleet.links.iter().for_each(|links| links.cut(Cut::None));
        self.fleet.hosts.iter_mut().for_each(Host::begin);
        self.fleet.until_level();
        for host in &self.fleet.hosts {
            // Those that suppress nobody come as late as all others.
            let has_all = || (self.events(host) == self.told).then_some(());
            wait_for(&format!("every event on {}", host.name), LEVEL, has_all);
            wait_for("the heads", LEVEL, || host.is_level_with(3).then_some(()));
        }
    }

    /// How many events a host knows of each address.
    fn events(&self, host: &Host) -> BTreeMap<String, usize> {
        let mut events = BTreeMap::new();
        for row in host.daemon().rows(&["events"]) {
            *events.entry(row["address"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        events
    }

    /// Something that only hosts that know all can bear.
    fn loss(&mut self) {
        let host = self.random.below(3) as usize;
        match self.random.below(6) {
            0 => self.fleet.hosts[host].wipe(),
            1 | 2 => match self.older.take() {
                Some((host, state)) => self.put_back(host, &state),
                None => {
                    let state = tempfile::tempdir().unwrap();
                    self.fleet.hosts[host].copy_state(&state.path().join("state"));
                    self.older = Some((host, state));
                }
            },
            3 => assert!(self.nats.delete_stream("suppressd")),
            4 => self.older_stores(),
            _ => {
                (0..3).for_each(|server| self.nats.kill(server));
                (0..3).for_each(|server| self.nats.wipe(server));
                (0..3).for_each(|server| self.nats.begin(server));
            }
        }
    }

    /// A host has an older state again. It may be long until it can know that, and told new things
    /// and killed before.
    fn put_back(&mut self, host: usize, state: &TempDir) {
        if self.random.chance(60) {
            self.fleet.links[host].cut(Cut::Both);
        }
        self.fleet.hosts[host].put_back(&state.path().join("state"));
        for _ in 0..5 {
            (0..3).for_each(|_| self.bounce(host));
            self.fleet.hosts[host].kill();
            self.fleet.hosts[host].begin();
        }
    }

    /// Two servers lose what they have acknowledged since, as by a power cut.
    fn older_stores(&mut self) {
        let older = tempfile::tempdir().unwrap();
        let store = |server: usize| older.path().join(server.to_string());
        for server in [0, 1] {
            self.nats.kill(server);
            self.nats.copy_store(server, &store(server));
            self.nats.begin(server);
        }
        (0..3).for_each(|host| self.bounce(host));
        self.fleet.until_level();
        [0, 1].into_iter().for_each(|server| self.nats.kill(server));
        [0, 1].into_iter().for_each(|server| self.nats.put_back(server, &store(server)));
        [0, 1].into_iter().for_each(|server| self.nats.begin(server));
    }

    /// Standings that were the same in all that counts leave nothing to repair.
    fn nothing_is_to_be_repaired(&self) {
        let [mx1, ..] = &self.fleet.hosts[..] else { unreachable!("there are three") };
        let fills = |host: &Host| host.daemon().log().matches("takes over what a host").count();
        let before: Vec<usize> = self.fleet.hosts.iter().map(fills).collect();
        let same = |host: &str| json!({ "host": host, "differs": 0 });
        let repaired: Vec<Value> = mx1.daemon().rows(&["fleet", "repair"]);
        assert_eq!(repaired, [same("mx2"), same("mx3")]);
        let after: Vec<usize> = self.fleet.hosts.iter().map(fills).collect();
        assert_eq!(after, before, "something had to be repaired");
    }
}

/// A time that a provider gives.
fn present() -> String {
    clock::now().minus(Duration::from_secs(1)).floor_second().to_string()
}

fn all_is_the_same_after_any_trouble(random: Random) {
    let mut troubles = Troubles::begin(random);
    for _ in 0..ROUNDS {
        (0..STEPS).for_each(|_| troubles.step());
        troubles.heal();
        troubles.loss();
    }
    (0..3).for_each(|host| troubles.bounce(host));
    troubles.heal();
    troubles.nothing_is_to_be_repaired();
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
        println!("SUPPRESSD_SEED={seed}");
        all_is_the_same_after_any_trouble(Random::of(seed));
    }
}
