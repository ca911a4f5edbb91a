//! A host of its own for a real MTA: a root made by `.ci/mta`, writable and forgotten at the end.
//!
//! Mounts are in a namespace, so that tests run side by side; processes are in another, so that
//! none outlives its host, however the test ends. The network is the machine's.

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::unistd::geteuid;

use super::daemon::{Daemon, Home, PROGRAM};

/// The daemon's user and group; `.ci/mta` has the number.
const SUPPRESSD: u32 = 200;

/// Longest run of a program, as `timeout` takes it.
const RUN_MAX: &str = "60s";

/// What the host's first process does: mounts, a word, and then nothing until its input ends.
const INIT: &str = r#"
set -e
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mkdir -p "$1/root$3"
mount --bind "$3" "$1/root$3"
mkdir -p "$1/root/usr/local/bin"
touch "$1/root/usr/local/bin/suppressd"
mount --bind "$4" "$1/root/usr/local/bin/suppressd"
echo ready
exec cat
"#;

/// Who a program on the host runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum As {
    Root,
    /// The user of the packaged unit.
    Suppressd,
}

/// A host. Its processes end, and its files go, when it is dropped.
pub(crate) struct Host {
    init: Child,
    started: Vec<Child>,
    /// Where its root is, for those in its namespace.
    root: PathBuf,
    /// The daemon's directory, in the same place on the host and outside.
    pub(crate) home: Home,
    _directory: tempfile::TempDir,
}

impl Host {
    /// What is missing for a host with that MTA, if anything is.
    pub(crate) fn missing(mta: &str) -> Option<String> {
        if !geteuid().is_root() {
            return Some("only root can have a host of its own".to_owned());
        }
        let root = lower(mta);
        (!root.is_dir()).then(|| format!("{} is not there: run .ci/mta", root.display()))
    }

    /// Makes one. `home` is the daemon's, and belongs to the daemon's user from here on.
    pub(crate) fn new(mta: &str, home: Home) -> Host {
        let directory = tempfile::Builder::new().prefix("suppressd-host").tempdir_in("/tmp");
        let directory = directory.unwrap();
        chown(&home.dir, Some(SUPPRESSD), Some(SUPPRESSD)).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", INIT, "init"]);
        command.args([directory.path(), &lower(mta), &home.dir, Path::new(PROGRAM)]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut init = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(init.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "{:?}", init.wait());
        let root = directory.path().join("root");
        Host { init, started: vec![], root, home, _directory: directory }
    }

    /// Where a file of the host is, for those outside of it.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        let root = self.root.strip_prefix("/").unwrap();
        Path::new("/proc").join(self.init.id().to_string()).join("root").join(root).join(&path[1..])
    }

    /// A file's text; empty if it is not there.
    pub(crate) fn read(&self, path: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(path)).unwrap_or_default()).into_owned()
    }

    /// Writes a file that everybody may read, with its folders.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    }

    /// Runs a program to its end, which comes after [`RUN_MAX`] at the latest.
    pub(crate) fn run(&self, program: &[&str], input: &str) -> Output {
        let mut command = self.command(&[&["timeout", RUN_MAX], program].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that does not want its input may close it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Runs commands as an administrator would, as root by the shell; all must succeed.
    pub(crate) fn shell(&self, commands: &str) {
        let output = self.run(&["/bin/sh", "-ec", commands], "");
        assert!(output.status.success(), "{commands}: {output:?}");
    }

    /// Starts a program that ends with the host; what it says goes to `/var/log/mta`.
    pub(crate) fn start(&mut self, program: &[&str]) {
        let log = File::create(self.path("/var/log/mta")).unwrap();
        let mut command = self.command(program);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.started.push(command.spawn().unwrap());
    }

    /// Starts the daemon on the host, and waits until it is ready.
    pub(crate) fn daemon(&self, by: As) -> Daemon {
        // Not in the namespace of processes: then the child is the daemon itself.
        let mut command = Command::new("nsenter");
        command.arg(self.namespace("mnt", "--mount=")).args(["--", "chroot"]);
        if by == As::Suppressd {
            command.arg(format!("--userspec={SUPPRESSD}:{SUPPRESSD}"));
        }
        command.arg(&self.root).args(["/usr/local/bin/suppressd", "run", "-c"]);
        command.arg(self.home.config());
        self.home.start_by(command).ready()
    }

    fn command(&self, program: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(self.namespace("mnt", "--mount="));
        command.arg(self.namespace("pid_for_children", "--pid="));
        command.args(["--", "chroot"]).arg(&self.root).args(program);
        command
    }

    fn namespace(&self, kind: &str, option: &str) -> String {
        format!("{option}/proc/{}/ns/{kind}", self.init.id())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what the MTA said\n{}", self.read("/var/log/mta"));
        }
        // The end of its input ends the first process, and the kernel ends all others with it.
        drop(self.init.stdin.take());
        let _ = self.init.wait();
        for child in &mut self.started {
            let _ = child.wait();
        }
    }
}

/// A port that was free a moment ago. If another program takes it, the MTA fails to start, loudly.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Where `.ci/mta` has put an MTA.
fn lower(mta: &str) -> PathBuf {
    let roots = std::env::var_os("SUPPRESSD_MTA_ROOTS");
    Path::new(&roots.unwrap_or_else(|| "/var/cache/suppressd-mta".into())).join(mta)
}
