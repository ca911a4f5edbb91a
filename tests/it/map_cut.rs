//! LMDB maps that another hand cuts, and processes that end while they write one: the daemon goes
//! on, tells it, and mends the map.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Instant;

use crate::support::client::{event, notify};
use crate::support::daemon::{Daemon, Home, PATIENCE, source};
use crate::support::wait_for;

fn host() -> (Home, PathBuf) {
    let home = Home::new("");
    let path = home.dir.join("maps/x.lmdb");
    fs::create_dir(home.dir.join("maps")).unwrap();
    let export = format!(
        "[[export]]\nname = \"map\"\nformat = \"postfix-transport\"\ntable = \"lmdb\"\n\
         path = \"{}\"\n",
        path.display()
    );
    home.configure(&(source() + &export));
    (home, path)
}

fn bounce(daemon: &Daemon, number: u32) {
    let body = event("hard_bounce", &format!("user{number}@x.test"), "m", number % 60);
    assert_eq!(notify(daemon.http, &body).status, 200);
}

/// Every row is in the map, and none besides.
fn until_true(daemon: &Daemon, rows: usize) {
    let word = format!("{rows} rows, as the store has");
    wait_for(&word, PATIENCE, || {
        let found = daemon.answer(&["verify"]).1;
        let map = found.iter().find(|row| row["place"] == "map")?;
        map["detail"].as_str()?.contains(&word).then_some(())
    });
}

/// The process that writes the map.
fn writer(daemon: &Daemon) -> Option<u32> {
    let pid = daemon.pid();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let children =
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    let children: Vec<u32> = children
        .flat_map(|text| text.split_whitespace().filter_map(|n| n.parse().ok()).collect::<Vec<_>>())
        .collect();
    let named = |child: &&u32| {
        fs::read_to_string(format!("/proc/{child}/comm"))
            .is_ok_and(|name| name.trim() == "suppressd-maps")
    };
    children.iter().find(named).copied()
}

#[test]
fn a_map_that_is_cut_in_the_moment_of_a_change_is_mended() {
    let (home, path) = host();
    let daemon = home.start().ready();
    until_true(&daemon, 0);
    for number in 0..30 {
        bounce(&daemon, number);
        let started = Instant::now();
        // Again and again, until the change is over.
        while started.elapsed().as_millis() < 30 {
            if let Ok(file) = File::options().write(true).open(&path) {
                let _ = file.set_len(u64::from(number % 3) * 4096);
            }
        }
    }
    until_true(&daemon, 30);
    bounce(&daemon, 30);
    until_true(&daemon, 31);
    daemon.until_logged("somebody else has changed or removed the file of the export");
    assert!(daemon.cli(&["status"]).status.code().is_some_and(|code| [0, 4].contains(&code)));
    let writer = writer(&daemon).unwrap();
    daemon.stop();
    assert!(!PathBuf::from(format!("/proc/{writer}")).exists(), "it ends with the daemon");
}

#[test]
fn what_ends_the_writer_of_a_map_costs_no_row() {
    let (home, _) = host();
    let daemon = home.start().ready();
    bounce(&daemon, 0);
    until_true(&daemon, 1);
    let before = writer(&daemon).unwrap();
    let killed = std::process::Command::new("kill").args(["-KILL", &before.to_string()]).status();
    assert!(killed.unwrap().success());
    bounce(&daemon, 1);
    until_true(&daemon, 2);
    daemon.until_logged("the process that writes the map was ended by SIGKILL");
    assert_ne!(writer(&daemon).unwrap(), before);
    assert!(daemon.exported()["foreign"].is_null());
    daemon.stop();
}

/// One that is halted, as by a debugger, is given up in seconds.
#[test]
fn a_writer_of_a_map_that_hangs_costs_no_row() {
    let (home, _) = host();
    let daemon = home.start().ready();
    bounce(&daemon, 0);
    until_true(&daemon, 1);
    let before = writer(&daemon).unwrap();
    let halted = std::process::Command::new("kill").args(["-STOP", &before.to_string()]).status();
    assert!(halted.unwrap().success());
    bounce(&daemon, 1);
    daemon.until_logged("the process that writes the map was halted or hangs");
    until_true(&daemon, 2);
    assert_ne!(writer(&daemon).unwrap(), before);
    daemon.stop();
}

#[test]
fn a_link_that_leads_nowhere_makes_no_directories() {
    let (home, path) = host();
    let far = home.dir.join("far/away/x.lmdb");
    symlink(&far, &path).unwrap();
    let daemon = home.start().ready();
    daemon.until_logged("cannot follow the link");
    assert!(!home.dir.join("far").exists());
    fs::create_dir_all(far.parent().unwrap()).unwrap();
    bounce(&daemon, 0);
    until_true(&daemon, 1);
    assert!(far.exists());
    daemon.stop();
}
