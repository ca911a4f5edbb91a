//! The control socket: one command in, its replies out, one JSON object a line.
//!
//! A client sends its line and keeps its side open until `Done` or `Failed`: closing it, even by
//! half, means that it has gone, and ends the command early. Who may connect is decided by the
//! socket's mode alone. Never carries out anything itself: `Admin` does.

pub mod client;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::admin::{Admin, Command, Reply};
use crate::listen::{Connection, Listener};
use crate::stop::stopped;
use crate::telemetry;

/// Longest request, in bytes with its line break.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;

/// Replies that wait for a slow client, before the command waits too.
const REPLIES_WAITING_MAX: usize = 64;

/// Longest wait for a client to read on. Long, since people page through a list.
const REPLY_WAIT: Duration = Duration::from_secs(3600);

/// Wait after a failed `accept`, which would fail again at once.
const ACCEPT_WAIT: Duration = Duration::from_millis(100);

const STOPPING: &str = "suppressd is stopping";

#[derive(Clone, Copy)]
struct Limits {
    /// Most connections at once.
    connections: usize,
    /// Longest wait for the whole request.
    request_wait: Duration,
    /// Longest wait at stop for commands to end.
    stop_wait: Duration,
}

const LIMITS: Limits = Limits {
    connections: 64,
    request_wait: Duration::from_secs(10),
    stop_wait: Duration::from_secs(10),
};

/// Serves the control socket until `stop` turns true or its sender is gone.
///
/// Then no connection is accepted, a command that follows events is ended, and others have ten
/// seconds to end by themselves.
pub async fn serve(listener: Listener, admin: Arc<Admin>, stop: watch::Receiver<bool>) {
    let execute = move |command, replies| {
        let admin = Arc::clone(&admin);
        async move { admin.execute(command, replies).await }
    };
    serve_within(LIMITS, listener, execute, stop).await;
}

async fn serve_within<E, F>(
    limits: Limits,
    listener: Listener,
    execute: E,
    mut stop: watch::Receiver<bool>,
) where
    E: Fn(Command, mpsc::Sender<Reply>) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            Some(_) = tasks.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(Connection::Unix(stream)) if tasks.len() < limits.connections => {
                tasks.spawn(converse(limits, stream, execute.clone(), stop.clone()));
            }
            Ok(Connection::Unix(stream)) => refuse(&stream, limits.connections),
            // Nothing on a network is let in: its peers have no file permissions.
            Ok(Connection::Tcp(..)) => {}
            Err(error) => {
                telemetry::control::accept_failed(&error);
                let _ = timeout(ACCEPT_WAIT, stopped(&mut stop)).await;
            }
        }
    }
    drop(listener);
    drain(tasks, limits.stop_wait).await;
}

async fn drain(mut tasks: JoinSet<()>, wait: Duration) {
    let all = async { while tasks.join_next().await.is_some() {} };
    if timeout(wait, all).await.is_err() {
        telemetry::control::cut_off(tasks.len());
        tasks.shutdown().await;
    }
}

/// Tells one client too many; its socket is fresh, so that one line always fits.
fn refuse(stream: &UnixStream, limit: usize) {
    telemetry::control::full(limit);
    let reply = failed(&format!("{limit} commands are running already; try again"), false);
    let _ = stream.try_write(&line(&reply));
}

async fn converse<E, F>(
    limits: Limits,
    stream: UnixStream,
    execute: E,
    mut stop: watch::Receiver<bool>,
) where
    E: Fn(Command, mpsc::Sender<Reply>) -> F,
    F: Future<Output = ()>,
{
    let uid = stream.peer_cred().ok().map(|peer| peer.uid());
    let (reader, writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut client = Client { writer: BufWriter::new(writer) };
    let request = tokio::select! {
        biased;
        () = stopped(&mut stop) => Request::Stopped,
        request = read_request(&mut reader, limits.request_wait) => request,
    };
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
            let follows = matches!(command, Command::Events { follow: true, .. });
            let (replies, receiver) = mpsc::channel(REPLIES_WAITING_MAX);
            let forward = forward(receiver, reader, client, follows.then_some(stop));
            let ((), outcome) = tokio::join!(execute(command, replies), forward);
            let tell = if looks { telemetry::control::looked } else { telemetry::control::changed };
            tell(verb, uid, outcome);
        }
    }
}

enum Request {
    /// The client closed without a word, as a probe does.
    None,
    Stopped,
    Malformed(String),
    Command(Command),
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
        Ok(command) => Request::Command(command),
        Err(error) => Request::Malformed(format!("the request is not a command: {error}")),
    }
}

/// Passes replies on until the last one. Dropping the receiver tells the command of its end.
async fn forward(
    mut replies: mpsc::Receiver<Reply>,
    mut reader: BufReader<OwnedReadHalf>,
    mut client: Client,
    mut stop: Option<watch::Receiver<bool>>,
) -> &'static str {
    loop {
        let reply = tokio::select! {
            biased;
            () = stopped_if(&mut stop) => failed(STOPPING, false),
            reply = replies.recv() => {
                reply.unwrap_or_else(|| failed("the command ended without an answer", false))
            }
            () = gone(&mut reader) => return "gone",
        };
        let sent = client.queue(&reply).await;
        let outcome = match reply {
            Reply::Done => Some("done"),
            Reply::Failed { .. } => Some("failed"),
            Reply::Row { .. } | Reply::Progress { .. } => None,
        };
        // Rows that are ready go out together; the last of them must not stay behind.
        let flushed = sent && (!(outcome.is_some() || replies.is_empty()) || client.flush().await);
        if !flushed {
            return "gone";
        }
        if let Some(outcome) = outcome {
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
}

impl Client {
    /// Whether it went out.
    async fn tell(&mut self, reply: &Reply) -> bool {
        self.queue(reply).await && self.flush().await
    }

    async fn queue(&mut self, reply: &Reply) -> bool {
        let line = line(reply);
        matches!(timeout(REPLY_WAIT, self.writer.write_all(&line)).await, Ok(Ok(())))
    }

    async fn flush(&mut self) -> bool {
        matches!(timeout(REPLY_WAIT, self.writer.flush()).await, Ok(Ok(())))
    }
}

fn failed(error: &str, usage: bool) -> Reply {
    Reply::Failed { error: error.to_owned(), usage }
}

fn line(reply: &Reply) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "texts, numbers and JSON values have a JSON form")]
    let mut line = serde_json::to_vec(reply).expect("a reply has a JSON form");
    line.push(b'\n');
    line
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
        Command::Events { .. } => "events",
        Command::Poll { .. } => "poll",
        Command::Drift { .. } => "drift",
        Command::Export { .. } => "export",
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
