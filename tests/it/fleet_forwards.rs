//! One host tells a receiver for all, and the next one goes on from there.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::forwards::{NEW, Program, forward};
use crate::support::fleet::{Fleet, Host, LEVEL};
use crate::support::nats::{self, Nats};
use crate::support::{available, wait_for};

/// How often each address was told of.
fn told(program: &Program) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    for (_, body) in program.told() {
        let address = body["data"]["address"].as_str().unwrap().to_owned();
        *told.entry(address).or_default() += 1;
    }
    told
}

/// Whether another host tells, as a host says.
fn is_elsewhere(host: &Host) -> bool {
    host.daemon().rows(&["status"])[0]["forwards"][0]["elsewhere"] == true
}

#[test]
fn one_host_tells_a_receiver_and_another_goes_on() {
    if !available("one_host_tells_a_receiver_and_another_goes_on", nats::missing()) {
        return;
    }
    let (nats, program) = (Nats::start(1), Program::start(NEW));
    let more = forward(&program, &format!("\"{NEW}\""), "\"suppression.added\"");
    let mut fleet = Fleet::new(&nats, &more);
    let teller = |fleet: &Fleet| {
        let alive = fleet.hosts.iter().enumerate().filter(|(_, host)| host.daemon.is_some());
        alive.filter(|(_, host)| !is_elsewhere(host)).map(|(index, _)| index).next()
    };
    fleet.until_level();
    let first = wait_for("one that tells", LEVEL, || teller(&fleet));
    let tell = |fleet: &mut Fleet, program: &Program, hosts: &[usize]| {
        (0..12).for_each(|turn| drop(fleet.bounce(hosts[turn % hosts.len()])));
        let all = fleet.expected.len();
        wait_for("all that is told", LEVEL, || (told(program).len() == all).then_some(()));
    };
    tell(&mut fleet, &program, &[0, 1, 2]);
    fleet.until_level();
    assert!(told(&program).values().all(|times| *times == 1), "{:?}", told(&program));
    let others: Vec<usize> = (0..3).filter(|host| *host != first).collect();
    let passed = |host: &Host| host.daemon().rows(&["status"])[0]["forwards"][0]["passed"] == 12;
    wait_for("what the others note", LEVEL, || {
        others.iter().all(|host| passed(&fleet.hosts[*host])).then_some(())
    });
    let early = told(&program);
    fleet.hosts[first].kill();
    tell(&mut fleet, &program, &others);
    let second = wait_for("another that tells", Duration::from_secs(40), || teller(&fleet));
    assert_ne!(first, second);
    // The one that was killed comes back, and tells nothing again.
    fleet.hosts[first].begin();
    fleet.until_level();
    wait_for("its place", LEVEL, || is_elsewhere(&fleet.hosts[first]).then_some(()));
    let all = told(&program);
    assert!(all.values().all(|times| *times <= 2), "{all:?}");
    assert!(early.keys().any(|address| all[address] == 1), "all is told again: {all:?}");
}
