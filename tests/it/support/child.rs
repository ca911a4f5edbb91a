//! Programs that a test starts: none outlives its test, and none is waited for without end.

use std::io::Read;
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

use super::daemon::PATIENCE;
use super::wait_for;

/// A program that is killed when this is dropped.
pub(crate) struct Guarded(Child);

impl Deref for Guarded {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Guarded {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Guarded {
    pub(crate) fn spawn(command: &mut Command) -> Guarded {
        Guarded(command.spawn().unwrap())
    }

    pub(crate) fn signal(&self, name: &str) {
        let signal = match name {
            "CONT" => Signal::CONT,
            "HUP" => Signal::HUP,
            "INT" => Signal::INT,
            "KILL" => Signal::KILL,
            "STOP" => Signal::STOP,
            "TERM" => Signal::TERM,
            _ => panic!("no test sends {name}"),
        };
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        wait_for("the end", PATIENCE, || self.0.try_wait().unwrap())
    }

    /// Waits until it has ended; what it wrote to its pipes meanwhile.
    pub(crate) fn output(mut self) -> Output {
        let (stdout, stderr) = (drain(self.0.stdout.take()), drain(self.0.stderr.take()));
        let status = self.ended();
        let whole = |reader: JoinHandle<Vec<u8>>| reader.join().unwrap();
        Output { status, stdout: whole(stdout), stderr: whole(stderr) }
    }
}

/// Reads a pipe to its end, so that its writer never waits.
fn drain(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut all).unwrap();
        }
        all
    })
}

/// Runs a program to its end, without any input.
pub(crate) fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Guarded::spawn(command).output()
}
