//! The client of the control socket: blocking, for the command line.
//!
//! Once the daemon has heard a command, this waits for as long as the daemon works: a person can
//! end it, and the daemon then stops too.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::unistd::{Gid, Group};

use super::DISPLACED;
use crate::admin::{Command, Reply};

/// Longest reply, in bytes: a quarantined payload, escaped, with room to spare.
const REPLY_BYTES_MAX: u64 = 256 << 20;
/// Longest wait for the daemon to take a connection, to read a command, and to say that it has.
const HEARD_WAIT: Duration = Duration::from_secs(10);

/// How often a command is sent that was not heard.
const TRIES: u32 = 4;

/// Why a command has no answer, or not the wanted one.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens there.
    #[error(
        "suppressd is not running (no answer on {}); \
         start it with `systemctl start suppressd` or `suppressd run`", .0.display()
    )]
    NotRunning(PathBuf),
    /// Somebody listens there, and does nothing.
    #[error(
        "suppressd does not answer on {}: nothing came within {HEARD_WAIT:?}. It was halted, or \
         hangs: look at `systemctl status suppressd`, and restart it", .0.display()
    )]
    Silent(PathBuf),
    /// The socket's mode or a folder above it keeps this user out.
    #[error("no permission to use {}: run this as root, or join {group}", .socket.display())]
    Denied {
        /// The socket.
        socket: PathBuf,
        /// Whose members may use it, in words.
        group: String,
    },
    /// The connection closed before the last reply.
    #[error(
        "the connection ended before suppressd had answered: it has stopped, \
         or what it sent was not read for too long, or not while others needed the place"
    )]
    Ended,
    /// The connection closed before the daemon had heard the command, each time.
    #[error(
        "suppressd closed the connection {TRIES} times before it had heard the command, and has \
         done nothing: it is stopping, or has too many connections; try again"
    )]
    Unheard,
    /// It answered what is no reply.
    #[error("{} answered something else than suppressd does: {why}", .socket.display())]
    Garbled {
        /// The socket.
        socket: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The daemon did not carry it out, or not wholly.
    #[error("{error}")]
    Failed {
        /// What is wrong, and a hint.
        error: String,
        /// Whether the command itself was wrong.
        usage: bool,
    },
    /// Reading, writing or connecting failed otherwise.
    #[error("{}: {error}", .socket.display())]
    Io {
        /// The socket.
        socket: PathBuf,
        /// How it failed.
        error: io::Error,
    },
}

/// Sends a command, and hands each row and each progress to `on_reply` as it comes.
/// `Break` gives the rest up, which ends the command early.
///
/// # Errors
/// When the daemon cannot be reached, goes away, or says that it failed.
pub fn call(
    socket: &Path,
    command: &Command,
    mut on_reply: impl FnMut(Reply) -> ControlFlow<()>,
) -> Result<(), CallError> {
    for tried in 1..=TRIES {
        match call_once(socket, command, &mut on_reply) {
            // Nothing was begun.
            Err(CallError::Unheard) if tried < TRIES => {}
            called => return called,
        }
    }
    Err(CallError::Unheard)
}

fn call_once(
    socket: &Path,
    command: &Command,
    mut on_reply: impl FnMut(Reply) -> ControlFlow<()>,
) -> Result<(), CallError> {
    let garbled = |why: String| CallError::Garbled { socket: socket.to_owned(), why };
    let mut stream = connect(socket).map_err(|error| trouble(socket, error))?;
    let mut request = serde_json::to_vec(command).map_err(|error| garbled(error.to_string()))?;
    request.push(b'\n');
    // A daemon that refuses may close before it has read all: its reply says more than our error.
    let written = stream.write_all(&request);
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    let mut was_heard = false;
    loop {
        line.clear();
        match (&mut reader).take(REPLY_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(_) if line.last() == Some(&b'\n') => {}
            Ok(read) if read as u64 == REPLY_BYTES_MAX => {
                return Err(garbled(format!("a reply of more than {REPLY_BYTES_MAX} bytes")));
            }
            Ok(_) => {
                let ended = written.err().map_or(CallError::Ended, |error| trouble(socket, error));
                return Err(ended.unless_heard(was_heard));
            }
            Err(error) => return Err(trouble(socket, error).unless_heard(was_heard)),
        }
        if !was_heard {
            was_heard = true;
            reader.get_ref().set_read_timeout(None).map_err(|error| trouble(socket, error))?;
        }
        match serde_json::from_slice(&line).map_err(|error| garbled(error.to_string()))? {
            Reply::Heard => {}
            Reply::Done => return Ok(()),
            // It was not heard.
            Reply::Failed { error, .. } if error == DISPLACED => return Err(CallError::Unheard),
            Reply::Failed { error, usage } => return Err(CallError::Failed { error, usage }),
            reply => {
                if on_reply(reply).is_break() {
                    return Ok(());
                }
            }
        }
    }
}

impl CallError {
    /// What an end means, by whether the daemon had said that it heard the command: it says so
    /// before it begins.
    fn unless_heard(self, was_heard: bool) -> CallError {
        match self {
            CallError::Ended if !was_heard => CallError::Unheard,
            error => error,
        }
    }
}

/// Connects. That waits while too many do already, and for ever where nobody takes them.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let (connected, waiting) = mpsc::channel();
    let path = socket.to_owned();
    // The standard library knows no limit to it. A thread that waits in vain ends with the process.
    thread::spawn(move || connected.send(UnixStream::connect(path)));
    let late = |_| Err(io::ErrorKind::TimedOut.into());
    let stream = waiting.recv_timeout(HEARD_WAIT).unwrap_or_else(late)?;
    stream.set_write_timeout(Some(HEARD_WAIT))?;
    stream.set_read_timeout(Some(HEARD_WAIT))?;
    Ok(stream)
}

fn trouble(socket: &Path, error: io::Error) -> CallError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            CallError::NotRunning(socket.to_owned())
        }
        io::ErrorKind::PermissionDenied => {
            CallError::Denied { socket: socket.to_owned(), group: group_of(socket) }
        }
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => CallError::Silent(socket.to_owned()),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => CallError::Ended,
        _ => CallError::Io { socket: socket.to_owned(), error },
    }
}

/// The socket's group, or what can be said of it by one who may not even see the socket.
fn group_of(socket: &Path) -> String {
    let Ok(meta) = std::fs::metadata(socket) else {
        return "the socket's group".to_owned();
    };
    match Group::from_gid(Gid::from_raw(meta.gid())) {
        Ok(Some(group)) => format!("the group {}", group.name),
        _ => format!("the group {}", meta.gid()),
    }
}
