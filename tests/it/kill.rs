//! What was acknowledged is there after `kill -9`, at whatever moment it comes.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::support::client::{Client, event};
use super::support::daemon::{Daemon, Home, PATIENCE};
use super::support::random::Random;
use super::support::wait_for;

/// Kills on one state directory.
const KILLS: usize = 50;
/// Everything is compared after so many of them, and at the end.
const COMPARED_EVERY: usize = 10;
/// Senders at a time.
const SENDERS: usize = 4;
/// A kill comes after up to so many answers.
const ANSWERS_MAX: u64 = 80;

/// The addresses that were sent, and of which the daemon has said that it has them.
#[derive(Default)]
struct Book {
    sent: Mutex<BTreeSet<String>>,
    acknowledged: Mutex<BTreeSet<String>>,
    answers: AtomicUsize,
}

/// Sends notifications until the daemon is gone: every fifth is a batch of three.
fn send(daemon: &Daemon, book: &Book, name: &str) {
    let Ok(mut client) = Client::connect(daemon.http) else { return };
    for number in 0_u32.. {
        let count = if number % 5 == 4 { 3 } else { 1 };
        let addresses: Vec<String> =
            (0..count).map(|index| format!("{name}-{number}-{index}@x.test")).collect();
        let events: Vec<String> =
            addresses.iter().map(|to| event("hard_bounce", to, "m", number)).collect();
        let body = if count == 1 { events[0].clone() } else { format!("[{}]", events.join(",")) };
        book.sent.lock().unwrap().extend(addresses.clone());
        let Ok(answer) = client.notify(&body) else { return };
        assert_eq!(answer.status, 200, "{}", answer.head);
        book.acknowledged.lock().unwrap().extend(addresses);
        book.answers.fetch_add(1, Ordering::Relaxed);
    }
}

/// One life: load, and a kill after so many answers.
fn live(home: &Home, book: &Book, life: usize, answers: usize) {
    let daemon = home.start();
    let goal = book.answers.load(Ordering::Relaxed) + answers;
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (daemon, name) = (&daemon, format!("k{life}-{sender}"));
            scope.spawn(move || send(daemon, book, &name));
        }
        let enough = || (book.answers.load(Ordering::Relaxed) >= goal).then_some(());
        wait_for("answers", PATIENCE, enough);
        daemon.signal("KILL");
    });
}

/// Every address that was acknowledged is listed, with its event, and none that was not sent.
fn compare(home: &Home, book: &Book) {
    let daemon = home.start().ready();
    let acknowledged = book.acknowledged.lock().unwrap();
    let sent = book.sent.lock().unwrap();
    for verb in ["events", "list"] {
        let rows = daemon.rows(&[verb]);
        let listed: BTreeSet<String> =
            rows.iter().map(|row| row["address"].as_str().unwrap().to_owned()).collect();
        assert_eq!(listed.len(), rows.len(), "{verb}: something is there twice");
        let lost: Vec<&String> = acknowledged.difference(&listed).collect();
        assert!(lost.is_empty(), "{verb}: lost {} such as {:?}", lost.len(), lost[0]);
        assert!(listed.is_subset(&sent), "{verb}: something was never sent");
    }
    assert!(!daemon.log().contains("cannot be read"), "{}", daemon.log());
    daemon.kill();
}

#[test]
fn what_was_acknowledged_survives_any_kill() {
    let mut random = Random::new();
    let home = Home::new("");
    let book = Book::default();
    for life in 1..=KILLS {
        live(&home, &book, life, random.below(ANSWERS_MAX) as usize);
        if life % COMPARED_EVERY == 0 {
            compare(&home, &book);
        }
    }
    let answers = book.answers.load(Ordering::Relaxed);
    assert!(answers > KILLS * 10, "{answers} answers are too few to show anything");
}
