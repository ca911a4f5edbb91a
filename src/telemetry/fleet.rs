//! What the fleet tells operators.

use std::fmt::Display;
use std::time::Duration;

use metrics::{counter, gauge};
use tracing::{debug, error, info, warn};

use crate::model::Position;

/// Makes every series.
pub fn begin() {
    connected(false);
    lag(0);
    missing(0);
    hosts(1, 0, 0);
    compared(0);
    told(0);
    heard(0);
    counter!("suppressd_fleet_set_aside_total").increment(0);
}

/// The host is in no fleet any more.
pub fn ended() {
    connected(false);
    hosts(0, 0, 0);
    lag(0);
    missing(0);
    compared(0);
}

/// Something about the connection, as the client tells it.
pub fn event(event: &impl Display) {
    info!(%event, "fleet: the connection to the NATS servers");
}

/// Whether there is a connection.
pub fn connected(connected: bool) {
    gauge!("suppressd_fleet_connected").set(f64::from(u8::from(connected)));
}

/// Bytes of the journal that the others have still to be told of.
pub fn lag(bytes: u64) {
    gauge!("suppressd_fleet_lag_bytes").set(bytes as f64);
}

/// Lives of hosts of which others know more than this host.
pub fn missing(lives: usize) {
    gauge!("suppressd_fleet_missing").set(lives as f64);
}

/// Hosts that are known, those that know something that is not known here, and those that live
/// and have other rules or sources.
pub fn hosts(known: usize, behind: usize, disagree: usize) {
    gauge!("suppressd_fleet_hosts").set(known as f64);
    gauge!("suppressd_fleet_hosts_behind").set(behind as f64);
    gauge!("suppressd_fleet_hosts_disagree").set(disagree as f64);
}

/// In how many of 256 parts the standings of two hosts differ at most.
pub fn compared(differ: u32) {
    gauge!("suppressd_fleet_standings_differ").set(f64::from(differ));
}

/// Records that the servers have acknowledged.
pub fn told(records: usize) {
    counter!("suppressd_fleet_told_total").increment(records as u64);
}

/// Records of others that are durable here.
pub fn heard(records: u64) {
    counter!("suppressd_fleet_heard_total").increment(records);
}

/// A message that was not taken.
pub fn set_aside(host: &str, problem: &str) {
    counter!("suppressd_fleet_set_aside_total").increment(1);
    warn!(host, problem, "fleet: a message was set aside");
}

/// A part does not work, in a way that is new.
pub fn fails(part: &str, problem: &str) {
    warn!(part, problem, "fleet: it does not work at present, and is tried again");
}

/// Another host has the name of this one.
pub fn has_a_twin(name: &str) {
    error!(
        host = name,
        "fleet: another host calls itself the same, and both poll and answer by that name: give \
         each a fleet.host of its own"
    );
}

/// It works again.
pub fn works(part: &str) {
    info!(part, "fleet: it works again");
}

/// Which life of the journal this is.
pub fn life(host: &str, life: u64) {
    info!(host, life = format!("{life:016x}"), "fleet: begun");
}

/// Others know more of this life than the journal has.
pub fn put_back(host: &str, end: Position) {
    warn!(host, %end, "fleet: the state directory is older than what others were told of it");
}

/// Another life begins.
pub fn begun_again(host: &str, life: u64) {
    info!(host, life = format!("{life:016x}"), "fleet: another life of the journal begins");
}

/// The file that says how far others were told cannot be written.
pub fn life_not_noted(error: &impl Display) {
    error!(%error, "fleet: how far others were told cannot be noted in checkpoint/fleet");
}

/// The servers are older than what is tested.
pub fn old_server(version: &str) {
    warn!(version, "fleet: nats-server is older than 2.12: it works as far as it goes");
}

/// The stream was made.
pub fn stream_made(stream: &str, bytes: i64) {
    info!(stream, bytes, "fleet: made the stream");
}

/// The stream is not the one that was read before, or ends before that.
pub fn stream_is_another(stream: &str) {
    warn!(stream, "fleet: the stream was made again, or put back; it is read from its start");
}

/// Another host is asked for records that are missing here.
pub fn asks(host: &str, of: &str) {
    debug!(host, of, "fleet: asks for what is missing");
}

/// Another host is asked for its standings.
pub fn filling(host: &str) {
    info!(host, "fleet: takes over what a host knows beside its journal");
}

/// They were taken over.
pub fn filled(host: &str, standings: usize, took: Duration) {
    let seconds = took.as_secs_f64();
    info!(host, standings, seconds, "fleet: took over what a host knows beside its journal");
}

/// This host polls a source, or forwards, from now on.
pub fn has_turn(work: &str) {
    info!(work, "fleet: this host does it for all from now on");
}

/// This host polls, since it cannot know who else does; or it does so no longer.
pub fn alone(is_alone: bool) {
    match is_alone {
        true => warn!("fleet: no server was reached for long: this host polls by itself"),
        false => info!("fleet: servers are reached again: one host polls for all"),
    }
}
