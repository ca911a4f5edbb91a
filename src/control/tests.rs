//! The control socket over real sockets, with a stand-in for what carries commands out.

use std::io::{BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::client::{CallError, call};
use super::*;
use crate::admin::EventQuery;
use crate::listen::{Entry, Listen, Listener, Passed};

const SHORT: Limits = Limits {
    connections: 2,
    followers: 1,
    request_wait: Duration::from_millis(50),
    read_wait: Duration::from_millis(50),
    follow_wait: Duration::from_millis(50),
    stop_wait: Duration::from_millis(50),
};

struct Served {
    _folder: tempfile::TempDir,
    socket: PathBuf,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    /// Gets a word when a command's receiver is gone.
    ended: mpsc::UnboundedReceiver<&'static str>,
}

/// Events of one message are rows without end.
/// `explain` gets a row, `status` ends without an answer; what follows, and `poll`, goes on until
/// its receiver is gone; an export never ends by itself.
fn serve_test(limits: Limits) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    let listener = {
        let mut passed = Passed::default();
        let listen = Listen::Unix(socket.clone());
        Listener::bind(&Entry { listen, mode: 0o660, group: None }, &mut passed).unwrap()
    };
    let (stop, stopping) = watch::channel(false);
    let (end, ended) = mpsc::unbounded_channel();
    let execute = move |command, replies: Replies| {
        let end = end.clone();
        async move {
            match command {
                Command::Explain { address } => {
                    let row = json!({"address": address});
                    replies.send(Reply::Row { row }).await.unwrap();
                    replies.send(Reply::Done).await.unwrap();
                }
                Command::Events { query, .. } if query.message_id.is_some() => {
                    let row = || Reply::Row { row: json!("x".repeat(10_000)) };
                    while replies.send(row()).await.is_ok() {}
                    end.send("closed").unwrap();
                }
                Command::Events { .. } | Command::Poll { .. } => {
                    let progress = step();
                    replies.send(progress).await.unwrap();
                    replies.closed().await;
                    end.send("closed").unwrap();
                }
                Command::Export { .. } => {
                    let progress = step();
                    replies.send(progress).await.unwrap();
                    std::future::pending().await
                }
                _ => {}
            }
        }
    };
    let task = tokio::spawn(serve_within(limits, listener, execute, stopping));
    Served { _folder: folder, socket, stop, task, ended }
}

/// Sends bytes as they are, and reads until the end.
async fn talk(socket: &Path, sent: Vec<u8>) -> Vec<Reply> {
    let mut stream = UnixStream::connect(socket).unwrap();
    let stream = spawn_blocking(move || {
        let _ = stream.write_all(&sent);
        stream
    });
    rest(stream.await.unwrap()).await
}

async fn rest(stream: UnixStream) -> Vec<Reply> {
    spawn_blocking(move || {
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        lines.map(|line| serde_json::from_str(&line).unwrap()).collect()
    })
    .await
    .unwrap()
}

async fn call_test(socket: &Path, command: Command) -> (Vec<Reply>, Result<(), CallError>) {
    let socket = socket.to_owned();
    spawn_blocking(move || {
        let mut replies = Vec::new();
        let called = call(&socket, &command, |reply| {
            replies.push(reply);
            ControlFlow::Continue(())
        });
        (replies, called)
    })
    .await
    .unwrap()
}

/// Sends a command, and waits until it runs, which its first reply of its own tells.
async fn begun(socket: &Path, command: Command) -> UnixStream {
    let mut request = serde_json::to_vec(&command).unwrap();
    request.push(b'\n');
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(&request).unwrap();
    let begun = spawn_blocking(move || {
        for _ in ["heard", "runs"] {
            let mut byte = [0];
            while byte != *b"\n" {
                stream.read_exact(&mut byte).unwrap();
            }
        }
        stream
    });
    begun.await.unwrap()
}

fn poll() -> Command {
    Command::Poll { source: None, since: None }
}

fn follow() -> Command {
    Command::Events { query: EventQuery::default(), follow: true }
}

fn explain() -> Command {
    Command::Explain { address: "a@b.example".into() }
}

fn usage_error(replies: &[Reply]) -> &str {
    match replies {
        [Reply::Failed { error, usage: true }] => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_command_gets_its_rows_and_its_end() {
    let served = serve_test(LIMITS);
    let (replies, called) = call_test(&served.socket, explain()).await;
    assert_eq!(replies, [Reply::Row { row: json!({"address": "a@b.example"}) }]);
    assert!(called.is_ok());
    let (_, called) = call_test(&served.socket, Command::Status).await;
    let error = called.unwrap_err().to_string();
    assert_eq!(error, "the command ended without an answer");
}

#[tokio::test]
async fn what_is_no_command_is_a_usage_error() {
    let served = serve_test(LIMITS);
    for sent in [
        "nonsense\n",
        "{\"verb\":\"explode\"}\n",
        "{\"verb\":\"explain\",\"address\":\"a\",\"x\":1}\n",
        "\n",
    ] {
        let replies = talk(&served.socket, sent.into()).await;
        assert!(usage_error(&replies).starts_with("the request is not a command"), "{sent}");
    }
    let replies = talk(&served.socket, vec![b' '; REQUEST_BYTES_MAX + 1]).await;
    assert_eq!(usage_error(&replies), "the request is not one line of at most 1048576 bytes");
    let mut padded = vec![b' '; REQUEST_BYTES_MAX - 300];
    padded.extend_from_slice(b"{\"verb\":\"explain\",\"address\":\"a\"}\n");
    let replies = talk(&served.socket, padded).await;
    assert!(matches!(replies[..], [Reply::Heard, Reply::Row { .. }, Reply::Done]), "{replies:?}");
}

#[tokio::test]
async fn a_request_that_does_not_come_is_given_up() {
    let served = serve_test(SHORT);
    let replies = talk(&served.socket, b"{\"verb\":".to_vec()).await;
    assert_eq!(usage_error(&replies), "no whole request line within 50ms");
}

#[tokio::test]
async fn one_client_too_many_is_told_so() {
    let mut served = serve_test(Limits { connections: 2, ..LIMITS });
    let first = begun(&served.socket, poll()).await;
    let _second = begun(&served.socket, poll()).await;
    let (_, refused) = call_test(&served.socket, explain()).await;
    assert_eq!(refused.unwrap_err().to_string(), "2 commands are running already; try again");
    drop(first);
    assert_eq!(served.ended.recv().await, Some("closed"));
    // The place is free once the ended command's task is over, very soon after.
    let again = async { while call_test(&served.socket, explain()).await.1.is_err() {} };
    timeout(Duration::from_secs(10), again).await.unwrap();
}

#[tokio::test]
async fn those_that_follow_leave_places_to_others() {
    let mut served = serve_test(Limits { connections: 2, followers: 1, ..LIMITS });
    let following = begun(&served.socket, follow()).await;
    let (_, refused) = call_test(&served.socket, follow()).await;
    let told = "1 commands follow events already, as many as may; end one, and try again";
    assert_eq!(refused.unwrap_err().to_string(), told);
    assert!(call_test(&served.socket, explain()).await.1.is_ok());
    drop(following);
    assert_eq!(served.ended.recv().await, Some("closed"));
    // Its turn is free once the ended command's task is over, very soon after.
    let begin = |socket: PathBuf| {
        spawn_blocking(move || call(&socket, &follow(), |_| ControlFlow::Break(())))
    };
    let again = async { while begin(served.socket.clone()).await.unwrap().is_err() {} };
    timeout(Duration::from_secs(10), again).await.unwrap();
}

#[tokio::test]
async fn one_that_only_waits_gives_way() {
    let served = serve_test(Limits { connections: 2, ..LIMITS });
    let _idle = [(); 2].map(|()| UnixStream::connect(&served.socket).unwrap());
    assert!(call_test(&served.socket, explain()).await.1.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_closed_again_takes_no_place_of_another() {
    let served = serve_test(LIMITS);
    let end = Arc::new(AtomicBool::new(false));
    let churn = |words: &'static [u8]| {
        let (socket, end) = (served.socket.clone(), Arc::clone(&end));
        spawn_blocking(move || {
            while !end.load(Ordering::Relaxed) {
                // A backlog that is full is no matter.
                let _ = UnixStream::connect(&socket).and_then(|mut stream| stream.write_all(words));
            }
        })
    };
    let churning = [b"{\"".as_slice(), b""].map(churn);
    let mut request = serde_json::to_vec(&explain()).unwrap();
    request.push(b'\n');
    for number in 0..60 {
        // As a client does that does not try again.
        let replies = talk(&served.socket, request.clone()).await;
        assert!(matches!(replies[..], [Reply::Heard, _, Reply::Done]), "{number}: {replies:?}");
    }
    end.store(true, Ordering::Relaxed);
    for thread in churning {
        thread.await.unwrap();
    }
}

#[tokio::test]
async fn a_command_that_was_not_heard_is_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let answer = |replies: &[Reply]| -> Vec<u8> {
        replies.iter().flat_map(|reply| Line::of(reply).text).collect()
    };
    let displaced = || failed(DISPLACED, false);
    let mut answers = vec![
        answer(&[]),
        answer(&[displaced()]),
        answer(&[Reply::Heard, Reply::Done]),
        // What was heard may have been begun.
        answer(&[Reply::Heard]),
    ];
    answers.extend((0..4).map(|_| answer(&[])));
    let serving = spawn_blocking(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&answer).unwrap();
        }
    });
    assert!(call_test(&socket, explain()).await.1.is_ok());
    let (_, called) = call_test(&socket, explain()).await;
    assert!(matches!(called, Err(CallError::Ended)), "{called:?}");
    let (_, called) = call_test(&socket, explain()).await;
    assert!(matches!(called, Err(CallError::Unheard)), "{called:?}");
    serving.await.unwrap();
}

#[tokio::test]
async fn one_that_does_not_read_on_is_left() {
    let limits = Limits { follow_wait: Duration::from_millis(50), ..LIMITS };
    let mut served = serve_test(limits);
    let query = EventQuery { message_id: Some("many".into()), ..EventQuery::default() };
    let follow = Command::Events { query, follow: true };
    let _deaf = begun(&served.socket, follow).await;
    // The stand-in sends rows until nobody listens.
    assert_eq!(served.ended.recv().await, Some("closed"));
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_command() {
    let mut served = serve_test(LIMITS);
    drop(begun(&served.socket, poll()).await);
    assert_eq!(served.ended.recv().await, Some("closed"));
    // One that never says anything, as a probe does, disturbs nobody.
    drop(UnixStream::connect(&served.socket).unwrap());
    assert!(call_test(&served.socket, explain()).await.1.is_ok());
}

#[tokio::test]
async fn a_caller_can_give_the_rest_up() {
    let mut served = serve_test(LIMITS);
    let socket = served.socket.clone();
    let called = spawn_blocking(move || call(&socket, &poll(), |_| ControlFlow::Break(())));
    assert!(called.await.unwrap().is_ok());
    assert_eq!(served.ended.recv().await, Some("closed"));
}

#[tokio::test]
async fn the_stop_ends_what_follows_and_cuts_off_what_hangs() {
    let mut served = serve_test(SHORT);
    let hanging = Command::Export { name: None, force: false };
    let following = begun(&served.socket, follow()).await;
    let hanging = begun(&served.socket, hanging).await;
    served.stop.send(true).unwrap();
    let stopping = Reply::Failed { error: "suppressd is stopping".into(), usage: false };
    assert_eq!(rest(following).await, [stopping]);
    assert_eq!(rest(hanging).await, []);
    served.task.await.unwrap();
    assert_eq!(served.ended.recv().await, Some("closed"));
    let (_, called) = call_test(&served.socket, explain()).await;
    assert!(matches!(called, Err(CallError::NotRunning(_))));
}

fn step() -> Reply {
    Reply::Progress { what: "on".into(), pages: 1, rows: 1, part: None, wait: None }
}
