//! A host that joins, or was away for long, is filled by one that lives, where neither the stream
//! nor any journal has the records any more.

use std::path::Path;

use serde_json::json;

use crate::retention::{files, make_old, start, submit, until};
use crate::support::client::event;
use crate::support::daemon::{Home, PATIENCE};
use crate::support::fleet::{LEVEL, table};
use crate::support::nats::{self, Nats};
use crate::support::{available, wait_for};

/// How many there are of old: some pages of standings.
const OLD: usize = 5_000;

/// A state directory whose journal no longer has its first records, in the middle of which is
/// somebody that was lifted.
async fn trimmed(state: &Path) {
    let (journal, checkpoint) = (state.join("journal"), state.join("checkpoint"));
    let bounce = |n: usize| event("hard_bounce", &format!("old{n}@x.test"), &format!("m{n}"), 1);
    let old: Vec<String> = (0..OLD).map(bounce).collect();
    let new = vec![event("hard_bounce", "new@x.test", "n", 2)];
    for bodies in [old, new] {
        let running = start(state);
        tokio::time::timeout(PATIENCE, running.ingest.ready()).await.unwrap();
        let before = files(&checkpoint, "checkpoint").pop();
        let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
        submit(&running, &bodies).await;
        until("a checkpoint", || files(&checkpoint, "checkpoint").pop() != before).await;
        running.stop(PATIENCE).await;
    }
    let segments = files(&journal, "seg");
    make_old(&segments[0]);
    let running = start(state);
    until("the old segment gone", || !segments[0].exists()).await;
    running.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_host_is_filled_by_one_that_lives() {
    if !available("a_new_host_is_filled_by_one_that_lives", nats::missing()) {
        return;
    }
    let nats = Nats::start(1);
    let source = crate::support::daemon::source();
    let home = |name: &str| Home::bare(&table(name, &nats, &source));
    let (one, other, last) = (home("mx1"), home("mx2"), home("mx3"));
    trimmed(&one.state()).await;
    tokio::task::spawn_blocking(move || {
        let mx1 = one.start().ready();
        let mx2 = other.start().ready();
        let count = |daemon: &crate::support::daemon::Daemon| daemon.rows(&["list"]).len();
        wait_for("all of them", LEVEL, || (count(&mx2) == OLD + 1).then_some(()));
        // The two can fill a third, whichever of them lives.
        let level = || {
            let row = mx2.rows(&["fleet"]).remove(0);
            let hosts = row["hosts"].as_array().unwrap();
            (hosts.len() == 2 && hosts.iter().all(|host| host["level"] == true)).then_some(())
        };
        wait_for("the heads", LEVEL, level);
        mx1.kill();
        let mx3 = last.start().ready();
        wait_for("all of them", LEVEL, || (count(&mx3) == OLD + 1).then_some(()));
        let repaired = mx3.rows(&["fleet", "repair"]);
        assert_eq!(repaired, [json!({ "host": "mx2", "differs": 0 })]);
    })
    .await
    .unwrap();
}
