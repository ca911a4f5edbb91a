//! Several hosts of one fleet, and what all of them have to know in the end.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{event, notify};
use super::daemon::{Daemon, Home};
use super::nats::Nats;
use super::relay::Links;
use super::{faketime, wait_for};

/// How long hosts may take to come level, on a busy machine.
pub(crate) const LEVEL: Duration = Duration::from_secs(120);

const NAMES: [&str; 3] = ["mx1", "mx2", "mx3"];

/// A host that is started and stopped.
pub(crate) struct Host {
    pub(crate) name: &'static str,
    pub(crate) home: Home,
    pub(crate) daemon: Option<Daemon>,
    /// How wrong its clock is, in seconds.
    wrong: i64,
}

impl Host {
    fn new(name: &'static str, table: &str, wrong: i64) -> Host {
        let home = Home::new(table);
        let mut host = Host { name, home, daemon: None, wrong };
        host.begin();
        host
    }

    pub(crate) fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    pub(crate) fn kill(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            println!("{} ends", self.name);
            daemon.kill();
        }
    }

    pub(crate) fn begin(&mut self) {
        if self.daemon.is_none() {
            let mut command = self.home.run();
            if self.wrong != 0 {
                faketime::set_wrong(&mut command);
                command.env("FAKETIME", format!("{:+}", self.wrong));
            }
            println!("{} begins", self.name);
            self.daemon = Some(self.home.start_by(command));
        }
    }

    /// Takes its state away, and starts it again.
    pub(crate) fn wipe(&mut self) {
        self.kill();
        std::fs::remove_dir_all(self.home.state()).unwrap();
        self.begin();
    }

    /// Keeps a copy of its state, as a backup of the disk would.
    pub(crate) fn copy_state(&mut self, to: &Path) {
        self.kill();
        copy(&self.home.state(), to);
        self.begin();
    }

    /// Puts such a copy back.
    pub(crate) fn put_back(&mut self, from: &Path) {
        self.kill();
        std::fs::remove_dir_all(self.home.state()).unwrap();
        copy(from, &self.home.state());
        self.begin();
    }

    /// Its suppressions: the address with the reason.
    fn suppressed(&self) -> BTreeMap<String, String> {
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let (status, rows) = self.daemon().answer(&["list"]);
        assert_eq!(status, 0, "{}", self.name);
        rows.iter().map(|row| (text(row, "address"), text(row, "reason"))).collect()
    }

    /// What `suppressd fleet` says.
    pub(crate) fn fleet(&self) -> Value {
        self.daemon().rows(&["fleet"]).remove(0)
    }

    /// Whether it knows all that every one of so many hosts has told.
    pub(crate) fn is_level_with(&self, hosts: usize) -> bool {
        let row = self.fleet();
        let rows = row["hosts"].as_array().unwrap();
        let level = |host: &Value| host["level"] == true && host["rules_agree"] == true;
        rows.len() == hosts && rows.iter().all(level)
    }

    /// Whether it polls anything.
    pub(crate) fn polls(&self) -> bool {
        let polls = &self.fleet()["hosts"][0]["polls"];
        polls.as_array().is_some_and(|polls| !polls.is_empty())
    }
}

/// The configuration of a host.
pub(crate) fn table(name: &str, nats: &Nats, more: &str) -> String {
    table_by(name, nats, &nats.urls(), (more, ""))
}

/// The same with other URLs of the servers, and more in the fleet's table. `HOST` stands for its
/// name.
fn table_by(name: &str, nats: &Nats, urls: &str, (more, fleet): (&str, &str)) -> String {
    let (replicas, more) = (nats.number(), more.replace("HOST", name));
    let fleet = format!("replicas = {replicas}\n{fleet}");
    format!("{more}[fleet]\nhost = \"{name}\"\nnats = {urls}\n{fleet}")
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        match from.is_dir() {
            true => copy(&from, &to),
            false => drop(std::fs::copy(&from, &to).unwrap()),
        }
    }
}

/// Hosts of one fleet, and what all of them have to know in the end.
pub(crate) struct Fleet {
    pub(crate) hosts: Vec<Host>,
    /// The links of each, if they can be cut.
    pub(crate) links: Vec<Links>,
    pub(crate) expected: BTreeMap<String, String>,
    pub(crate) number: u32,
}

impl Fleet {
    pub(crate) fn new(nats: &Nats, more: &str) -> Fleet {
        Fleet::wrong(nats, more, [0; 3])
    }

    /// The same with clocks that are wrong by so many seconds.
    pub(crate) fn wrong(nats: &Nats, more: &str, wrong: [i64; 3]) -> Fleet {
        let names = NAMES.into_iter().zip(wrong);
        let hosts = names.map(|(name, wrong)| Host::new(name, &table(name, nats, more), wrong));
        Fleet::of(hosts.collect(), Vec::new())
    }

    /// The same with links to the servers that can be cut.
    pub(crate) fn linked(nats: &Nats, more: &str, wrong: [i64; 3]) -> Fleet {
        Fleet::linked_with(nats, (more, ""), wrong)
    }

    /// The same with more in the fleet's table.
    pub(crate) fn linked_with(nats: &Nats, more: (&str, &str), wrong: [i64; 3]) -> Fleet {
        let links: Vec<Links> = NAMES.iter().map(|_| Links::to(&nats.ports())).collect();
        let hosts = NAMES.into_iter().zip(wrong).zip(&links).map(|((name, wrong), links)| {
            Host::new(name, &table_by(name, nats, &links.urls(), more), wrong)
        });
        Fleet::of(hosts.collect(), links)
    }

    fn of(hosts: Vec<Host>, links: Vec<Links>) -> Fleet {
        Fleet { hosts, links, expected: BTreeMap::new(), number: 0 }
    }

    /// Tells a host of a bounce, which it must acknowledge if it lives.
    pub(crate) fn bounce(&mut self, host: usize) -> String {
        self.number += 1;
        let address = format!("user{}@example.com", self.number);
        let body = event("hard_bounce", &address, &format!("m{}", self.number), self.number % 60);
        if let Some(daemon) = &self.hosts[host].daemon {
            assert_eq!(notify(daemon.http, &body).status, 200);
            self.expected.insert(address.clone(), "hard_bounce".to_owned());
        }
        address
    }

    /// Has an operator do something about an address.
    pub(crate) fn command(&mut self, host: usize, verb: &str, address: &str) {
        let Some(daemon) = &self.hosts[host].daemon else { return };
        daemon_ready(daemon);
        let output = daemon.cli(&[verb, address]);
        println!("{verb} {address} on {}", self.hosts[host].name);
        assert!(output.status.success(), "{output:?}");
        match verb {
            "add" => drop(self.expected.insert(address.to_owned(), "manual".to_owned())),
            _ => drop(self.expected.remove(address)),
        }
    }

    /// Waits until all hosts have the suppressions that are expected.
    pub(crate) fn until_level(&self) {
        let differing = |host: &&Host| host.suppressed() != self.expected;
        let deadline = Instant::now() + LEVEL;
        for host in &self.hosts {
            daemon_ready(host.daemon());
        }
        loop {
            let Some(host) = self.hosts.iter().find(differing) else { return };
            if Instant::now() > deadline {
                let has = host.suppressed();
                let lacks: Vec<_> =
                    self.expected.iter().filter(|(k, _)| !has.contains_key(*k)).collect();
                let more: Vec<_> =
                    has.iter().filter(|(k, v)| self.expected.get(*k) != Some(v)).collect();
                let shown = host.daemon().cli(&["fleet"]);
                let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
                panic!("{} lacks {lacks:?}, has {more:?}\n{shown}", host.name);
            }
            #[expect(clippy::disallowed_methods, reason = "between two looks at a condition")]
            std::thread::sleep(Duration::from_millis(300));
        }
    }
}

pub(crate) fn daemon_ready(daemon: &Daemon) {
    wait_for("readiness", LEVEL, || (daemon.readyz().status == 200).then_some(()));
}
