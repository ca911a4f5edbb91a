//! Runs an export's command after the file has changed, such as `postmap`.
//!
//! No shell: the program gets its arguments as they are configured. One that fails is run again,
//! ever more seldom. What it leaves running in its process group ends with it.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, timeout};

use super::Settings;
use super::compiled::Tables;
use super::due::Retry;
use super::place::Places;
use crate::telemetry::export as telemetry;

/// Longest run of a command. It is killed then, with all of its process group.
const RUN_MAX: Duration = Duration::from_secs(30);

/// Longest wait for the rest of stderr, once the program itself has ended: what it has started
/// may hold the pipe open for ever.
const DRAIN_MAX: Duration = Duration::from_millis(500);

/// What is kept of stderr, in bytes, counted from its end.
const STDERR_BYTES_MAX: usize = 500;

/// When an export's command is to be run, and the run that goes on.
#[derive(Default)]
pub(super) struct Program {
    due: Option<Instant>,
    running: Option<JoinHandle<Ran>>,
    failure: Retry,
    /// What it has made beside the file.
    tables: Tables,
    /// What was beside the file when it failed last.
    left: Tables,
}

/// What a run has made beside the file; or why it has failed, and what is there all the same.
type Ran = Result<Tables, (Failure, Tables)>;

impl Program {
    /// When to run it, if it is to be run and is not running.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.filter(|_| self.running.is_none())
    }

    /// Whether it is running, or to be run at once.
    pub(super) fn is_busy(&self) -> bool {
        self.running.is_some() || self.due.is_some_and(|due| due <= Instant::now())
    }

    /// Whether it is running or to be run, now or later.
    pub(super) fn is_wanted(&self) -> bool {
        self.running.is_some() || self.due.is_some()
    }

    /// Why the last run has failed, if it has.
    pub(super) fn error(&self) -> Option<&String> {
        self.failure.error()
    }

    /// The file has changed: it is to be run, if there is one, once the present run has ended.
    pub(super) fn wanted(&mut self, settings: &Settings) {
        if !settings.command.is_empty() {
            self.due = Some(Instant::now());
        }
    }

    /// What has failed is to be run again at once.
    pub(super) fn hasten(&mut self) {
        self.due = self.due.map(|_| Instant::now());
    }

    /// Begins to run it.
    pub(super) fn begin(&mut self, settings: &Settings, places: Arc<Places>) {
        self.due = None;
        let (command, environment) = (settings.command.clone(), environment(settings));
        let (path, known) = (settings.path.clone(), self.tables.clone());
        self.running = Some(tokio::spawn(async move {
            let before = tables(path.clone(), Arc::clone(&places)).await;
            let ran = match command.split_first() {
                Some((program, arguments)) => run(program, arguments, &environment).await,
                None => Ok(()),
            };
            let now = tables(path, places).await;
            match ran {
                Ok(()) => Ok(now.written_since(&before, &known)),
                Err(failure) => Err((failure, now)),
            }
        }));
    }

    /// Looks whether what it has made is still there, as it was: says whether it is not, and has it
    /// run again. After a failure it is run again when anything there is another.
    pub(super) async fn look(&mut self, settings: &Settings, places: Arc<Places>) -> bool {
        if self.is_busy() {
            return false;
        }
        if self.due.is_some() {
            if tables(settings.path.clone(), places).await != self.left {
                self.hasten();
            }
            return false;
        }
        if self.tables == Tables::default() {
            return false;
        }
        let tables = self.tables.clone();
        let harmed = tokio::task::spawn_blocking(move || tables.harmed()).await;
        let Some(table) = harmed.ok().flatten() else { return false };
        telemetry::foreign_table(&settings.name, &table);
        self.wanted(settings);
        true
    }

    /// Waits for the end of the present run, for ever if there is none.
    pub(super) async fn ended(&mut self, settings: &Settings) {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        let result = running.await;
        let panicked = |panic: JoinError| Err((silent(panic.to_string()), self.left.clone()));
        let result = result.unwrap_or_else(panicked);
        self.running = None;
        let Settings { name, path, command, .. } = settings;
        let program = command.first().map_or("", String::as_str);
        match result {
            Ok(tables) => {
                self.tables = tables;
                if self.failure.error().is_some() {
                    telemetry::command_recovered(name, path, program);
                }
                self.failure = Retry::default();
            }
            Err((failure, left)) => {
                self.left = left;
                let remedy = self.left.first().map(|table| {
                    format!("; if {} is damaged, remove it: it is made again", table.display())
                });
                let remedy = remedy.unwrap_or_default();
                let error = format!("{program} failed: {}{remedy}", failure.why);
                let (wait, first) = self.failure.again(error);
                let why = (&*failure.why, &*failure.stderr);
                telemetry::command_failed(name, path, program, why, first);
                self.due = Some(Instant::now() + wait);
            }
        }
    }

    /// Runs it to its end, once more if it is to be run.
    pub(super) async fn finish(&mut self, settings: &Settings, places: Arc<Places>) {
        if self.running.is_some() {
            self.ended(settings).await;
        }
        if self.due.is_some() {
            self.begin(settings, places);
            self.ended(settings).await;
        }
    }
}

/// The tables beside a file.
async fn tables(file: PathBuf, places: Arc<Places>) -> Tables {
    let look = move || Tables::beside(&file, &places);
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

/// Why a command did not do its work.
#[derive(Debug)]
struct Failure {
    /// In one sentence.
    why: String,
    /// The end of what it said, on one line.
    stderr: String,
}

/// What of our environment a command may have: no secrets, which can be in any other variable.
const INHERITED: &[&str] = &["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ"];

/// Where programs are looked for if we were not told.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The file of a program, as it is found when a command runs.
pub fn find(program: &str) -> Option<PathBuf> {
    let runs = |path: &Path| {
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| runs(path));
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| PATH.into());
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| runs(path))
}

/// The environment of an export's command.
fn environment(settings: &Settings) -> Vec<(&'static str, OsString)> {
    let mut environment = vec![("PATH", PATH.into())];
    let ours = INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
    environment.extend(ours);
    environment.push(("SUPPRESSD_EXPORT", settings.name.clone().into()));
    environment.push(("SUPPRESSD_PATH", settings.path.clone().into()));
    environment
}

/// A command, and what it has started in its process group. All of it is killed when this is
/// dropped: at the end of the command, at its deadline, and at ours.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Group {
        Group(child.id().and_then(|id| id.try_into().ok()).map(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Nobody is left of most.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// Runs `program` with `arguments` in that environment, without input and without our standard
/// output.
async fn run(
    program: &str,
    arguments: &[String],
    environment: &[(&'static str, OsString)],
) -> Result<(), Failure> {
    let mut command = Command::new(program);
    command.env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(|e| silent(e.to_string()))?;
    let _group = Group::of(&child);
    let mut tail = Vec::new();
    let mut stderr = child.stderr.take();
    let waited = timeout(RUN_MAX, async {
        let drain = drain(&mut stderr, &mut tail);
        tokio::pin!(drain);
        tokio::select! {
            // Without reading along, a talkative program would block.
            () = &mut drain => child.wait().await,
            status = child.wait() => {
                let _ = timeout(DRAIN_MAX, drain).await;
                status
            }
        }
    })
    .await;
    let why = match waited {
        Ok(Ok(status)) if status.success() => return Ok(()),
        Ok(Ok(status)) => status.to_string(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("not done after {} s", RUN_MAX.as_secs()),
    };
    Err(Failure { why, stderr: one_line(&tail) })
}

fn silent(why: String) -> Failure {
    Failure { why, stderr: String::new() }
}

/// Reads to the end, keeping the last bytes in `tail`.
async fn drain(stream: &mut Option<impl AsyncRead + Unpin>, tail: &mut Vec<u8>) {
    let Some(stream) = stream else { return };
    let mut chunk = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut chunk).await {
        tail.extend_from_slice(&chunk[..length]);
        let excess = tail.len().saturating_sub(STDERR_BYTES_MAX);
        tail.drain(..excess);
    }
}

/// One line for the log. What may be an address, such as `postmap` quotes, is left out.
fn one_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let words = text.split(|c: char| c.is_control() || c.is_whitespace());
    let shown =
        |word: &str| if word.contains(['@', '"']) { "…".to_owned() } else { word.to_owned() };
    words.filter(|word| !word.is_empty()).map(shown).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str) -> Result<(), Failure> {
        run("/bin/sh", &["-c".to_owned(), script.to_owned()], &[("PATH", PATH.into())]).await
    }

    #[tokio::test]
    async fn a_failure_says_why_and_what_the_program_said_last() {
        assert!(sh("cat; echo out; exit 0").await.is_ok());
        let failure = sh("printf 'first\na@b.test last\n' >&2; exit 3").await.unwrap_err();
        assert_eq!((&*failure.why, &*failure.stderr), ("exit status: 3", "first … last"));
        let failure = sh("head -c 100000 /dev/zero | tr '\\0' x >&2; echo END >&2; exit 1").await;
        let stderr = failure.unwrap_err().stderr;
        assert!(stderr.ends_with("xEND") && stderr.len() < STDERR_BYTES_MAX + 1, "{stderr}");
        let failure = run("/nowhere/program", &[], &[]).await.unwrap_err();
        assert!(failure.why.contains("No such file"), "{}", failure.why);
    }

    #[tokio::test]
    async fn a_command_is_told_of_its_export_and_of_nothing_that_could_be_a_secret() {
        let settings = crate::export::test::settings("/some/file".as_ref());
        let directory = tempfile::tempdir().unwrap();
        let told = directory.path().join("told");
        let script = format!("env >{}", told.display());
        let arguments = ["-c".to_owned(), script];
        run("/bin/sh", &arguments, &environment(&settings)).await.unwrap();
        let told = std::fs::read_to_string(told).unwrap();
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines.contains(&"SUPPRESSD_EXPORT=postfix"), "{told}");
        assert!(lines.contains(&"SUPPRESSD_PATH=/some/file"), "{told}");
        // The shell adds some of its own.
        let known =
            [INHERITED, &["SUPPRESSD_EXPORT", "SUPPRESSD_PATH", "PWD", "SHLVL", "_"]].concat();
        let name = |line: &&&str| line.split('=').next().is_some_and(|name| known.contains(&name));
        assert_eq!(lines.iter().filter(name).count(), lines.len(), "{told}");
        assert!(
            std::env::vars().any(|(name, _)| !known.contains(&&*name)),
            "there is one to leave"
        );
    }

    #[tokio::test]
    async fn one_that_has_failed_is_run_again_when_the_table_beside_the_file_changes() {
        let directory = tempfile::tempdir().unwrap();
        let table = directory.path().join("x.db");
        std::fs::write(&table, "odd").unwrap();
        let settings = crate::export::test::settings(&directory.path().join("x"));
        let settings = Settings { command: vec!["/bin/false".to_owned()], ..settings };
        let (mut program, places) = (Program::default(), Arc::<Places>::default());
        program.begin(&settings, Arc::clone(&places));
        program.ended(&settings).await;
        let remedy = format!("if {} is damaged, remove it", table.display());
        assert!(program.error().unwrap().contains(&remedy));
        assert!(!program.look(&settings, Arc::clone(&places)).await && !program.is_busy());
        std::fs::remove_file(&table).unwrap();
        assert!(!program.look(&settings, places).await && program.is_busy());
    }

    /// The clock is paused, and jumps to the limit at once.
    #[tokio::test(start_paused = true)]
    async fn a_program_that_does_not_end_is_given_up() {
        let started = tokio::time::Instant::now();
        let failure = sh("exec tail -f /dev/null").await.unwrap_err();
        assert_eq!(failure.why, "not done after 30 s");
        assert!(started.elapsed() >= RUN_MAX);
    }

    #[tokio::test]
    async fn what_the_program_leaves_running_is_not_waited_for() {
        let started = tokio::time::Instant::now();
        assert!(sh("sleep 60 & exit 0").await.is_ok());
        assert!(started.elapsed() < RUN_MAX);
    }

    /// The one ends by itself, the other is given up while it runs.
    #[tokio::test]
    async fn what_the_program_has_started_ends_with_it() {
        async fn until<T>(what: impl Fn() -> Option<T>) -> T {
            loop {
                if let Some(found) = what() {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        let directory = tempfile::tempdir().unwrap();
        for (end, ends) in [("exit 0", true), ("wait", false)] {
            let told = directory.path().join(end);
            let script = format!("sleep 1000 & echo $! >'{}'; {end}", told.display());
            let run = tokio::spawn(async move { sh(&script).await });
            let line = || std::fs::read_to_string(&told).ok().filter(|text| text.ends_with('\n'));
            let started = until(line).await;
            if ends {
                run.await.unwrap().unwrap()
            } else {
                run.abort()
            }
            // Whoever is to bury it may take its time.
            let stat = format!("/proc/{}/stat", started.trim());
            let is_gone = || std::fs::read_to_string(&stat).map_or(true, |it| it.contains(") Z "));
            until(|| is_gone().then_some(())).await;
        }
    }
}
