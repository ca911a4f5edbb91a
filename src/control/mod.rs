//! The control socket: one command in, its replies out, one JSON object a line.
//!
//! A command that is understood is answered with `Heard` at once, so that a client knows that
//! somebody is there, however long the work takes. A client sends its line and keeps its side open
//! until `Done` or `Failed`: closing it, even by half, means that it has gone, and ends the command
//! early. Who may connect is decided by the socket's mode alone. Never carries out anything itself:
//! `Admin` does.

pub mod client;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::accept::{self, Door, Place, accept_all};
use crate::admin::{Admin, Command, Heard, Line, Replies, Reply, replies};
use crate::current::Current;
use crate::listen::Connection;
use crate::stop::stopped;
use crate::telemetry;

/// Longest request, in bytes with its line break.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;

const STOPPING: &str = "suppressd is stopping";

/// What a client is told that had asked for nothing when another needed its place.
const DISPLACED: &str = "too many connections to the control socket; nothing was done, try again";

#[derive(Clone, Copy)]
struct Limits {
    /// Most connections at once.
    connections: usize,
    /// Most of them that follow events: those have no end of their own.
    followers: usize,
    /// Longest wait for the whole request.
    request_wait: Duration,
    /// Longest wait for a client to read on. Long, since people page through a list; when places
    /// are short, those who do not read are the first to lose theirs.
    read_wait: Duration,
    /// The same for one that follows events.
    follow_wait: Duration,
    /// Longest wait at stop for commands to end.
    stop_wait: Duration,
}

const LIMITS: Limits = Limits {
    connections: 64,
    followers: 32,
    request_wait: Duration::from_secs(10),
    read_wait: Duration::from_secs(15 * 60),
    follow_wait: Duration::from_secs(60),
    stop_wait: Duration::from_secs(10),
};

/// Serves the control socket until `stop` turns true or its sender is gone.
///
/// Then no connection is accepted, a command that follows events is ended, and others have ten
/// seconds to end by themselves.
pub async fn serve(door: impl Into<Door>, admin: Arc<Current<Admin>>, stop: watch::Receiver<bool>) {
    let execute = move |command, replies| {
        let admin = admin.get();
        async move { admin.execute(command, replies).await }
    };
    serve_within(LIMITS, door, execute, stop).await;
}

async fn serve_within<E, F>(
    limits: Limits,
    door: impl Into<Door>,
    execute: E,
    stop: watch::Receiver<bool>,
) where
    E: Fn(Command, Replies) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let most = limits.connections;
    let places = Arc::new(accept::Limits { most, each: most, exempt: Vec::new() });
    let places = move || Arc::clone(&places);
    let full = failed(&format!("{most} commands are running already; try again"), false);
    let followers = Arc::new(Semaphore::new(limits.followers));
    let stopping = stop.clone();
    let serve = |connection, place| {
        let (execute, stop) = (execute.clone(), stopping.clone());
        let followers = Arc::clone(&followers);
        async move {
            // Nothing on a network is let in: its peers have no file permissions.
            if let Connection::Unix(stream) = connection {
                converse(limits, stream, place, &followers, execute, stop).await;
            }
        }
    };
    let farewell = || Line::of(&full).text.into();
    let cut = accept_all("control", door, places, farewell, stop, limits.stop_wait, serve).await;
    if cut > 0 {
        telemetry::control::cut_off(cut);
    }
}

async fn converse<E, F>(
    limits: Limits,
    stream: UnixStream,
    place: Arc<Place>,
    followers: &Semaphore,
    execute: E,
    mut stop: watch::Receiver<bool>,
) where
    E: Fn(Command, Replies) -> F,
    F: Future<Output = ()>,
{
    let uid = stream.peer_cred().ok().map(|peer| peer.uid());
    let (reader, writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let (writer, wait) = (BufWriter::new(writer), limits.read_wait);
    let mut client = Client { writer, place: Arc::clone(&place), wait };
    let request = tokio::select! {
        biased;
        () = stopped(&mut stop) => Request::Stopped,
        request = read_request(&mut reader, limits.request_wait) => request,
        () = place.wanted() => {
            telemetry::control::displaced("none", uid);
            return client.part(&failed(DISPLACED, false));
        }
    };
    place.working();
    match request {
        Request::None => {}
        Request::Stopped => {
            client.tell(&failed(STOPPING, false)).await;
        }
        Request::Malformed(why) => {
            telemetry::control::malformed(uid);
            client.tell(&failed(&why, true)).await;
        }
        Request::Command(command) => {
            let (verb, looks) = (verb(&command), looks(&command));
            let follows = matches!(
                *command,
                Command::Events { follow: true, .. } | Command::Refused { follow: true, .. }
            );
            let _turn = match followers.try_acquire() {
                Ok(turn) if follows => Some(turn),
                Err(_) if follows => return client.tell(&many_follow(limits.followers)).await,
                _ => None,
            };
            if follows {
                client.wait = limits.follow_wait;
            }
            match client.send(&Line::of(&Reply::Heard).text, true).await {
                Sent::Taken => {}
                // Nothing was begun.
                Sent::Gone => return,
                Sent::Slow => return telemetry::control::slow(verb, uid),
                Sent::Displaced => return telemetry::control::displaced(verb, uid),
            }
            let (replies, heard) = replies();
            let forward = forward(heard, reader, client, follows.then_some(stop));
            let ((), outcome) = tokio::join!(execute(*command, replies), forward);
            match outcome {
                SLOW => telemetry::control::slow(verb, uid),
                DISPLACED_LATE => telemetry::control::displaced(verb, uid),
                _ if looks => telemetry::control::looked(verb, uid, outcome),
                _ => telemetry::control::changed(verb, uid, outcome),
            }
        }
    }
}

fn many_follow(most: usize) -> Reply {
    let told = "follow events already, as many as may; end one, and try again";
    failed(&format!("{most} commands {told}"), false)
}

/// How a command ended whose client did not read on.
const SLOW: &str = "slow";

/// How one ended that we waited for while another needed its place.
const DISPLACED_LATE: &str = "displaced";

enum Request {
    /// The client closed without a word, as a probe does.
    None,
    Stopped,
    Malformed(String),
    Command(Box<Command>),
}

async fn read_request(reader: &mut BufReader<OwnedReadHalf>, wait: Duration) -> Request {
    let mut request = Vec::new();
    let mut limited = reader.take(REQUEST_BYTES_MAX as u64);
    match timeout(wait, limited.read_until(b'\n', &mut request)).await {
        Err(_) => return Request::Malformed(format!("no whole request line within {wait:?}")),
        Ok(Err(_)) | Ok(Ok(0)) => return Request::None,
        Ok(Ok(_)) => {}
    }
    if request.last() != Some(&b'\n') {
        let why = format!("the request is not one line of at most {REQUEST_BYTES_MAX} bytes");
        return Request::Malformed(why);
    }
    match serde_json::from_slice(&request) {
        Ok(command) => Request::Command(Box::new(command)),
        Err(error) => Request::Malformed(format!("the request is not a command: {error}")),
    }
}

/// Passes replies on until the last one. Dropping what hears them tells the command of its end.
async fn forward(
    mut replies: Heard,
    mut reader: BufReader<OwnedReadHalf>,
    mut client: Client,
    mut stop: Option<watch::Receiver<bool>>,
) -> &'static str {
    loop {
        let line = tokio::select! {
            biased;
            () = stopped_if(&mut stop) => Line::of(&failed(STOPPING, false)),
            line = replies.next() => line.unwrap_or_else(|| {
                Line::of(&failed("the command ended without an answer", false))
            }),
            () = gone(&mut reader) => return "gone",
        };
        // Rows that are ready go out together; the last of them must not stay behind.
        let flush = line.outcome.is_some() || replies.is_empty();
        match client.send(&line.text, flush).await {
            Sent::Taken => {}
            Sent::Gone => return "gone",
            Sent::Slow => return SLOW,
            Sent::Displaced => return DISPLACED_LATE,
        }
        if let Some(outcome) = line.outcome {
            return outcome;
        }
    }
}

async fn stopped_if(stop: &mut Option<watch::Receiver<bool>>) {
    match stop {
        Some(stop) => stopped(stop).await,
        None => std::future::pending().await,
    }
}

/// Resolves when the client has closed its side. What else it sends is ignored.
async fn gone(reader: &mut BufReader<OwnedReadHalf>) {
    let mut rest = [0; 256];
    while !matches!(reader.read(&mut rest).await, Ok(0) | Err(_)) {}
}

struct Client {
    writer: BufWriter<OwnedWriteHalf>,
    place: Arc<Place>,
    /// Longest wait for it to read on.
    wait: Duration,
}

/// What became of a line.
enum Sent {
    Taken,
    /// The client has closed.
    Gone,
    /// It did not read on in time.
    Slow,
    /// It had not read on yet, and another needed its place.
    Displaced,
}

impl Client {
    async fn tell(&mut self, reply: &Reply) {
        // Whoever has gone needs no answer.
        self.send(&Line::of(reply).text, true).await;
    }

    /// Says a last word to a client that has no place any more, as far as it is taken at once.
    fn part(&self, reply: &Reply) {
        let _ = self.writer.get_ref().try_write(&Line::of(reply).text);
    }

    async fn send(&mut self, line: &[u8], flush: bool) -> Sent {
        self.place.owed();
        let sending = async {
            self.writer.write_all(line).await?;
            if flush { self.writer.flush().await } else { Ok(()) }
        };
        let sent = tokio::select! {
            biased;
            sent = timeout(self.wait, sending) => sent,
            () = self.place.wanted() => return Sent::Displaced,
        };
        self.place.working();
        match sent {
            Ok(Ok(())) => Sent::Taken,
            Ok(Err(_)) => Sent::Gone,
            Err(_) => Sent::Slow,
        }
    }
}

fn failed(error: &str, usage: bool) -> Reply {
    Reply::Failed { error: error.to_owned(), usage }
}

/// Whether a command leaves everything as it was.
fn looks(command: &Command) -> bool {
    use Command as C;
    matches!(
        command,
        C::Status
            | C::Lookup { .. }
            | C::Explain { .. }
            | C::List { .. }
            | C::Events { .. }
            | C::Refused { .. }
            | C::Backup
            | C::Fleet
            | C::Held
            | C::Rejudge { apply: false }
            | C::Verify
            | C::QuarantineList
            | C::QuarantineShow { .. }
    )
}

fn verb(command: &Command) -> &'static str {
    match command {
        Command::Status => "status",
        Command::Lookup { .. } => "lookup",
        Command::Explain { .. } => "explain",
        Command::List { .. } => "list",
        Command::Add { .. } => "add",
        Command::Lift { .. } => "lift",
        Command::Forget { .. } => "forget",
        Command::Retire { .. } => "source-retire",
        Command::Events { .. } => "events",
        Command::Refused { .. } => "refused",
        Command::Held => "held",
        Command::Release { .. } => "release",
        Command::LiftHeld { .. } => "lift-held",
        Command::Rejudge { .. } => "rejudge",
        Command::Poll { .. } => "poll",
        Command::Drift { .. } => "drift",
        Command::Backup => "backup",
        Command::Reload { .. } => "reload",
        Command::Fleet => "fleet",
        Command::FleetRepair => "fleet-repair",
        Command::Export { .. } => "export",
        Command::ForwardReplay { .. } => "forward-replay",
        Command::Import { .. } => "import",
        Command::Trigger { .. } => "trigger",
        Command::Verify => "verify",
        Command::QuarantineList => "quarantine-list",
        Command::QuarantineShow { .. } => "quarantine-show",
        Command::QuarantineReplay { .. } => "quarantine-replay",
        Command::QuarantineDrop { .. } => "quarantine-drop",
    }
}

#[cfg(test)]
mod tests;
