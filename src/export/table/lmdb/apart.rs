//! Where maps are written: in a process of its own, which is asked over a socket. If that ends, as
//! it does when another hand cuts a file that is mapped there, a change has failed, and no more.
//!
//! Blocking. An ask is answered before the next. Each is a frame: its length in four bytes, least
//! first, and so much postcard.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::super::rows::{Edits, Rows};
use super::super::{Digest, Stamp};
use super::map::{Edited, Fresh, InUse, LOCK_MAX};

/// Longest wait for an answer: a large change is synced to a disk that is slow.
const ANSWER_MAX: Duration = Duration::from_secs(300);

/// How often to look whether whoever writes is at work, and how often in a row it may not be. The
/// deadline of a lock is [`LOCK_MAX`], here as elsewhere: whoever waits for one does nothing
/// meanwhile, and has two looks more to say that it was not given.
const LOOK: Duration = Duration::from_secs(1);
const IDLE_MAX: u32 = LOCK_MAX.as_secs() as u32 + 2;

/// The program that this process runs, whatever stands at its path by now.
const PROGRAM: &str = "/proc/self/exe";

/// What such a process is called in lists of them (at most 15 bytes), and where it says so.
const NAME: &str = "suppressd-maps";
const NAME_FILE: &str = "/proc/self/comm";

/// The verb that has the program write maps. Unset: a thread does it, as suits tests.
static VERB: OnceLock<&'static str> = OnceLock::new();

/// From now on maps are written by processes that run this program with that verb, which calls
/// [`serve`].
pub fn write_maps_by(verb: &'static str) {
    // A second call says the same.
    let _ = VERB.set(verb);
}

/// Writes maps for the process at the other end of standard input, until that ends.
///
/// # Errors
/// When there is no such process.
pub fn serve() -> io::Result<()> {
    let asked = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    asked.peer_addr()?;
    // A stop of the daemon tells all its processes. It is the daemon that decides when this one is
    // not needed any more.
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    signals.thread_block()?;
    let _ = std::fs::write(NAME_FILE, NAME);
    // One that was killed in the middle of an ask is one that has ended.
    let _ = answer(&asked);
    Ok(())
}

/// What is asked for.
#[derive(Serialize, Deserialize)]
pub(super) enum Ask<'a> {
    /// A new map, in this empty file.
    Begin(Place),
    /// Rows for it whose keys ascend, behind those that are there. `Done`.
    Append(Cow<'a, Rows>),
    /// Rows for it wherever their keys belong, unless they are there. `Added`.
    Insert(Cow<'a, Rows>),
    /// The finished map at that place, which holds this. `Left`.
    Open(Place, Digest),
    /// Changes of it. `Left` or `Foreign`.
    Edit(Cow<'a, Edits>),
}

/// A path.
#[derive(Serialize, Deserialize)]
pub(super) struct Place(Vec<u8>);

impl Place {
    pub(super) fn new(path: &Path) -> Place {
        Place(path.as_os_str().as_bytes().to_vec())
    }

    fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }
}

/// What comes of it.
#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    Done,
    /// These rows were not there.
    Added(Digest),
    /// The file is this version now, and holds this.
    Left(Stamp, Digest),
    /// Somebody else has written, cut or replaced the file.
    Foreign,
    /// With the system's number of the error, if it has one.
    Failed(Option<i32>, String),
}

/// Who writes maps.
pub(super) struct Writer {
    stream: UnixStream,
    place: Apart,
}

enum Apart {
    Process(Child),
    Thread(Option<JoinHandle<io::Result<()>>>),
}

impl Writer {
    pub(super) fn start() -> io::Result<Writer> {
        let (stream, theirs) = UnixStream::pair()?;
        stream.set_read_timeout(Some(LOOK))?;
        stream.set_write_timeout(Some(LOOK))?;
        let place = match VERB.get() {
            Some(verb) => Apart::Process(process(verb, theirs)?),
            None => Apart::Thread(Some(thread::spawn(move || answer(&theirs)))),
        };
        Ok(Writer { stream, place })
    }

    /// Asks for something. After an error of another kind than `Failed` no more can be asked for.
    ///
    /// # Errors
    /// When it has failed, or whoever writes has ended or does not answer.
    pub(super) fn ask(&mut self, ask: &Ask<'_>) -> io::Result<Answer> {
        let child = match &self.place {
            Apart::Process(child) => Some(child.id()),
            Apart::Thread(_) => None,
        };
        let mut line = Line { stream: &self.stream, child, since: Instant::now(), idle: 0 };
        let answer = send(&mut line, ask).and_then(|()| receive(&mut line));
        match answer {
            Ok(Some(Answer::Failed(Some(number), _))) => Err(io::Error::from_raw_os_error(number)),
            Ok(Some(Answer::Failed(None, why))) => Err(io::Error::other(why)),
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(self.ended()),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(error),
            Err(_) => Err(self.ended()),
        }
    }

    /// Why there is no answer.
    fn ended(&mut self) -> io::Error {
        let how = match &mut self.place {
            Apart::Process(child) => child.wait().map(how),
            Apart::Thread(_) => Ok("a fault of its own".to_owned()),
        };
        let how = how.unwrap_or_else(|error| error.to_string());
        io::Error::other(format!("the process that writes the map was ended by {how}"))
    }
}

impl Drop for Writer {
    /// Waits for the end: until then it may have a file open that is to be opened anew.
    fn drop(&mut self) {
        // None of these can fail where it has not ended already.
        match &mut self.place {
            Apart::Process(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            Apart::Thread(handle) => {
                let _ = self.stream.shutdown(std::net::Shutdown::Both);
                let _ = handle.take().map(JoinHandle::join);
            }
        }
    }
}

/// The way to whoever writes, as long as there is reason to wait for it.
struct Line<'a> {
    stream: &'a UnixStream,
    /// The process at its other end, if it is one.
    child: Option<u32>,
    since: Instant,
    /// How often in a row it was not at work.
    idle: u32,
}

impl Line<'_> {
    /// Does `work` until it comes to something.
    fn wait<T>(&mut self, mut work: impl FnMut(&UnixStream) -> io::Result<T>) -> io::Result<T> {
        loop {
            match work(self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.look()?,
                done => return done,
            }
        }
    }

    /// Gives it up where it has come to nothing for too long.
    fn look(&mut self) -> io::Result<()> {
        self.idle = if self.child.is_none_or(is_at_work) { 0 } else { self.idle + 1 };
        let what = if self.idle >= IDLE_MAX {
            format!("the process that writes the map was halted or hangs: idle for {IDLE_MAX} s")
        } else if self.since.elapsed() >= ANSWER_MAX {
            format!("nothing came of it within {} s", ANSWER_MAX.as_secs())
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::TimedOut, what))
    }
}

impl Read for Line<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(|mut stream| stream.read(buffer))
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(|mut stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a process runs or waits for a disk (proc_pid_stat(5)), or nobody can say.
fn is_at_work(process: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { return true };
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    matches!(state, Some('R' | 'D') | None)
}

fn process(verb: &str, theirs: UnixStream) -> io::Result<Child> {
    let mut command = Command::new(PROGRAM);
    // It needs nothing that the daemon knows, and no signal of the daemon's terminal.
    command.arg0("suppressd").arg(verb).env_clear().process_group(0);
    command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null());
    command.spawn()
}

fn how(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match status.signal().map(Signal::try_from) {
        Some(Ok(Signal::SIGBUS)) => "SIGBUS: somebody else has cut the file".to_owned(),
        Some(Ok(signal)) => signal.as_str().to_owned(),
        _ => status.to_string(),
    }
}

/// Answers until nobody asks any more.
fn answer(asked: &UnixStream) -> io::Result<()> {
    let (mut fresh, mut in_use) = (None, None);
    while let Some(ask) = receive(asked)? {
        let done = carry_out(ask, &mut fresh, &mut in_use);
        let failed = |error: io::Error| Answer::Failed(error.raw_os_error(), error.to_string());
        send(asked, &done.unwrap_or_else(failed))?;
    }
    Ok(())
}

fn carry_out(
    ask: Ask<'_>,
    fresh: &mut Option<Fresh>,
    in_use: &mut Option<InUse>,
) -> io::Result<Answer> {
    let missing = || io::Error::other("no map is open");
    Ok(match ask {
        Ask::Begin(place) => {
            *fresh = Some(Fresh::begin(place.path())?);
            Answer::Done
        }
        Ask::Append(rows) => {
            fresh.as_mut().ok_or_else(missing)?.append(&rows)?;
            Answer::Done
        }
        Ask::Insert(rows) => Answer::Added(fresh.as_mut().ok_or_else(missing)?.insert(&rows)?),
        Ask::Open(place, digest) => {
            // It is the one that is finished now.
            *fresh = None;
            let opened = InUse::open(place.path(), digest)?;
            let stamp = in_use.insert(opened).stamp();
            Answer::Left(stamp, digest)
        }
        Ask::Edit(edits) => match in_use.as_mut().ok_or_else(missing)?.edit(&edits)? {
            Edited::Left(stamp, digest) => Answer::Left(stamp, digest),
            Edited::Foreign => Answer::Foreign,
        },
    })
}

fn send(stream: impl Write, what: &impl Serialize) -> io::Result<()> {
    let frame = postcard::to_stdvec(what).map_err(io::Error::other)?;
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    let mut stream = BufWriter::new(stream);
    stream.write_all(&length.to_le_bytes())?;
    stream.write_all(&frame)?;
    stream.flush()
}

/// `None`: the other end is closed.
fn receive<T: DeserializeOwned>(mut stream: impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut frame = vec![0; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut frame)?;
    postcard::from_bytes(&frame).map(Some).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that reads and never answers, as one that was halted.
    #[test]
    fn a_process_that_hangs_is_given_up() {
        let (stream, theirs) = UnixStream::pair().unwrap();
        stream.set_read_timeout(Some(LOOK)).unwrap();
        let mut command = Command::new("cat");
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null());
        let place = Apart::Process(command.spawn().unwrap());
        let mut writer = Writer { stream, place };
        let started = Instant::now();
        let asked = writer.ask(&Ask::Begin(Place::new(Path::new("/nowhere"))));
        let error = asked.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("was halted or hangs"), "{error}");
        assert!(started.elapsed() < 3 * IDLE_MAX * LOOK);
    }
}
