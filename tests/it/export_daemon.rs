//! The exported file as the MTA's administrator has it: when it changes, and when it must not.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::support::client::{event, notify};
use crate::support::daemon::{Daemon, Home, PATIENCE, PROGRAM, source};
use crate::support::wait_for;

/// Adds keys to the export `postfix`.
fn configure(home: &Home, keys: &str) {
    let text = fs::read_to_string(home.config()).unwrap();
    let with = format!("format = \"postfix-access\"\n{keys}");
    fs::write(home.config(), text.replacen("format = \"postfix-access\"\n", &with, 1)).unwrap();
}

fn file(home: &Home) -> PathBuf {
    home.dir.join("access")
}

/// What changes when a file is written: its inode, its time, and its mode.
fn stamp(home: &Home) -> (u64, SystemTime, u32) {
    let meta = fs::metadata(file(home)).unwrap();
    (meta.ino(), meta.modified().unwrap(), meta.mode() & 0o7777)
}

fn until_rows(home: &Home, rows: usize) {
    let path = file(home);
    wait_for("the export", PATIENCE, || {
        let text = fs::read_to_string(&path).ok()?;
        (text.lines().count() == rows).then_some(())
    });
}

fn bounce(daemon: &Daemon, address: &str, second: u32) {
    let body = event("hard_bounce", address, &format!("m{second}"), second);
    assert_eq!(notify(daemon.http, &body).status, 200);
}

/// What `status` shows of the export, once it has come to rest.
fn settled(daemon: &Daemon) -> Value {
    wait_for("the export's rest", PATIENCE, || {
        Some(daemon.exported()).filter(|export| export["pending"] == false)
    })
}

#[test]
fn an_address_is_in_the_file_within_a_second() {
    let home = Home::new("");
    let daemon = home.start().ready();
    until_rows(&home, 0);
    assert_eq!(stamp(&home).2, 0o644);
    let mut slowest = Duration::ZERO;
    for n in 0..10 {
        let address = format!("user{n}@example.com");
        bounce(&daemon, &address, n);
        let started = Instant::now();
        wait_for("the address", PATIENCE, || home.export().contains(&address).then_some(()));
        slowest = slowest.max(started.elapsed());
    }
    eprintln!("from the webhook's answer to the file: {slowest:?} at most");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    let line = home.export().lines().next().unwrap().to_owned();
    assert_eq!(line, "user0@example.com\t550 5.1.1 suppressed: hard bounce");
    let export = settled(&daemon);
    assert_eq!((&export["rows"], &export["error"]), (&json!(10), &Value::Null));
    assert_eq!(daemon.metric("suppressd_export_rows{export=\"postfix\"}"), Some(10.0));
    daemon.stop();
}

#[test]
fn what_has_not_changed_is_not_written_again() {
    let home = Home::new("");
    let daemon = home.start().ready();
    bounce(&daemon, "user@example.com", 1);
    until_rows(&home, 1);
    let generation = settled(&daemon)["generation"].clone();
    let before = stamp(&home);
    bounce(&daemon, "user@example.com", 1);
    bounce(&daemon, "user@example.com", 2);
    let delivered = event("delivered", "other@example.com", "m9", 9);
    assert_eq!(notify(daemon.http, &delivered).status, 200);
    for arguments in [&["export"][..], &["export", "postfix"], &["export", "--force"]] {
        assert_eq!(daemon.cli(arguments).status.code(), Some(0), "{arguments:?}");
        assert_eq!(stamp(&home), before, "{arguments:?}");
    }
    assert_eq!(settled(&daemon)["generation"], generation);
    daemon.stop();
    let daemon = home.start().ready();
    settled(&daemon);
    assert_eq!(stamp(&home), before, "nor by a start");
    assert_eq!(daemon.cli(&["export", "nothing"]).status.code(), Some(64));
    daemon.stop();
}

#[test]
fn permissions_and_owner_are_kept_or_set() {
    let home = Home::new("");
    let daemon = home.start().ready();
    until_rows(&home, 0);
    fs::set_permissions(file(&home), fs::Permissions::from_mode(0o640)).unwrap();
    // Only root can give a file away.
    let given = chown(file(&home), Some(65_534), Some(65_534)).is_ok();
    bounce(&daemon, "user@example.com", 1);
    until_rows(&home, 1);
    let meta = fs::metadata(file(&home)).unwrap();
    assert_eq!(meta.mode() & 0o7777, 0o640);
    if given {
        assert_eq!((meta.uid(), meta.gid()), (65_534, 65_534));
    }
    daemon.stop();
    configure(&home, "mode = \"0600\"\n");
    let daemon = home.start().ready();
    settled(&daemon);
    assert_eq!(stamp(&home).2, 0o600, "the setting holds even where no row has changed");
    bounce(&daemon, "second@example.com", 2);
    until_rows(&home, 2);
    assert_eq!(stamp(&home).2, 0o600);
    daemon.stop();
}

#[test]
fn a_lost_store_does_not_empty_the_file() {
    let home = Home::new("");
    let daemon = home.start().ready();
    for n in 0..4 {
        bounce(&daemon, &format!("user{n}@example.com"), n);
    }
    until_rows(&home, 4);
    daemon.stop();
    let before = stamp(&home);
    fs::remove_dir_all(home.state()).unwrap();

    let daemon = home.start().ready();
    let hint = "suppressd export postfix --force";
    daemon.until_logged(hint);
    let held = settled(&daemon)["held_back"].as_str().unwrap().to_owned();
    assert!(held.contains(hint), "{held}");
    assert_eq!(daemon.metric("suppressd_export_held_back{export=\"postfix\"}"), Some(1.0));
    let said = daemon.cli(&["export", "postfix"]);
    assert_eq!(said.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&said.stderr).contains(hint), "{said:?}");
    assert_eq!(stamp(&home), before);
    assert_eq!(daemon.log().matches("export held back").count(), 1, "{}", daemon.log());
    for n in 10..15 {
        bounce(&daemon, &format!("user{n}@example.com"), n);
    }
    until_rows(&home, 9);
    let export = settled(&daemon);
    assert_eq!((&export["rows"], &export["held_rows"]), (&json!(9), &json!(4)));
    assert!(daemon.cli(&["lift", "user10@example.com"]).status.success());
    until_rows(&home, 8);
    assert!(home.export().contains("user0@example.com"), "it waits");
    let (code, rows) = daemon.answer(&["lift", "user0@example.com"]);
    assert_eq!(code, 1);
    assert!(rows[0]["hint"].as_str().unwrap().contains("`suppressd add`"), "{}", rows[0]);
    assert!(daemon.cli(&["add", "user0@example.com"]).status.success());
    assert!(daemon.cli(&["lift", "user0@example.com"]).status.success());
    until_rows(&home, 7);
    assert_eq!(settled(&daemon)["held_rows"], json!(3));
    fs::remove_file(file(&home)).unwrap();
    until_rows(&home, 7);

    assert_eq!(daemon.cli(&["export", "postfix", "--force"]).status.code(), Some(0));
    until_rows(&home, 4);
    assert_eq!(settled(&daemon)["held_back"], Value::Null);
    assert_eq!(daemon.metric("suppressd_export_held_back{export=\"postfix\"}"), Some(0.0));
    daemon.stop();
}

/// A lost store and more others that bounce: whoever was suppressed stays so, after a restart too.
#[test]
fn what_was_lost_is_kept_whatever_comes_meanwhile() {
    let home = Home::new("");
    let daemon = home.start().ready();
    for n in 0..10 {
        bounce(&daemon, &format!("old{n}@example.com"), n);
    }
    until_rows(&home, 10);
    daemon.stop();
    fs::remove_dir_all(home.state()).unwrap();
    let daemon = home.start().ready();
    daemon.until_logged("export held back");
    for n in 10..40 {
        bounce(&daemon, &format!("new{n}@example.com"), n);
    }
    until_rows(&home, 40);
    daemon.stop();
    let daemon = home.start().ready();
    assert_eq!(settled(&daemon)["held_rows"], json!(10));
    until_rows(&home, 40);
    assert_eq!(home.export().matches("old").count(), 10);
    assert_eq!(daemon.cli(&["verify"]).status.code(), Some(0));
    daemon.stop();
    // What is taken from it meanwhile is told, by `verify` before the next start too.
    let text = home.export();
    let told = |gone: usize| {
        let mut verify = Command::new(PROGRAM);
        let output = verify.args(["verify", "-c"]).arg(home.config()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let problem = format!("{gone} rows that were held back are gone");
        assert_eq!((output.status.code(), said.contains(&problem)), (Some(1), true), "{said}");
    };
    let mut kept = 0;
    let keep = |line: &&str| {
        !line.starts_with("old") || {
            kept += 1;
            kept > 3
        }
    };
    let less: Vec<&str> = text.lines().filter(keep).collect();
    fs::write(file(&home), less.join("\n") + "\n").unwrap();
    told(3);
    fs::write(file(&home), "").unwrap();
    told(10);
    let daemon = home.start().ready();
    assert_eq!(settled(&daemon)["lost_rows"], json!(10));
    told(10);
    assert_eq!(daemon.cli(&["export", "postfix", "--force"]).status.code(), Some(0));
    assert_eq!(daemon.cli(&["verify"]).status.code(), Some(0));
    daemon.stop();
}

/// Emptied, removed, and behind a link: what the MTA reads is mended within seconds.
#[test]
fn what_another_hand_does_to_the_file_is_mended() {
    let home = Home::new("");
    let behind = home.dir.join("behind");
    fs::write(&behind, "").unwrap();
    std::os::unix::fs::symlink(&behind, file(&home)).unwrap();
    let daemon = home.start().ready();
    bounce(&daemon, "user@example.com", 1);
    until_rows(&home, 1);
    settled(&daemon);
    fs::write(&behind, "").unwrap();
    until_rows(&home, 1);
    settled(&daemon);
    fs::remove_file(&behind).unwrap();
    until_rows(&home, 1);
    assert!(fs::symlink_metadata(file(&home)).unwrap().is_symlink());
    assert!(settled(&daemon)["foreign"].is_string());
    let status = String::from_utf8(daemon.cli(&["status"]).stdout).unwrap();
    assert!(status.contains("run `postfix reload` if Postfix still defers"), "{status}");
    fs::remove_file(&behind).unwrap();
    nix::unistd::mkfifo(&behind, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // What is no file is another's: it stays until it is removed.
    daemon.until_logged("it is no regular file; it is left as it is");
    assert!(!fs::metadata(&behind).unwrap().is_file());
    fs::remove_file(&behind).unwrap();
    until_rows(&home, 1);
    let log = daemon.stop();
    assert!(log.contains("somebody else has changed or removed the file of the export"), "{log}");
    assert!(log.contains("it was made anew; run `postfix reload` if Postfix still"), "{log}");
}

/// What another hand writes under the old time, or does to the file's attributes.
#[test]
fn what_another_hand_hides_is_mended() {
    for table in ["text", "cdb"] {
        let home = Home::new("");
        let path = home.dir.join("hidden");
        home.configure(&format!(
            "{}[[export]]\nname = \"hidden\"\nformat = \"exim\"\ntable = \"{table}\"\n\
             path = \"{}\"\nmode = \"0640\"\n",
            source(),
            path.display()
        ));
        let daemon = home.start().ready();
        let settled = || {
            wait_for("the export's rest", PATIENCE, || {
                let status = daemon.rows(&["status"]).remove(0);
                let exports = status["exports"].as_array().unwrap();
                exports.iter().all(|export| export["pending"] == false).then_some(())
            });
        };
        bounce(&daemon, "user@example.com", 1);
        let has = |bytes: &[u8], word: &[u8]| bytes.windows(word.len()).position(|w| w == word);
        let word = b"user@example.com";
        let at = wait_for("the row", PATIENCE, || has(&fs::read(&path).ok()?, word));
        settled();
        let before = fs::read(&path).unwrap();
        let was = fs::metadata(&path).unwrap().modified().unwrap();
        let writes = File::options().write(true).open(&path).unwrap();
        writes.write_all_at(b"X", at as u64).unwrap();
        writes.set_modified(was).unwrap();
        drop(writes);
        wait_for("the old bytes", PATIENCE, || (fs::read(&path).ok()? == before).then_some(()));
        settled();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let mode = || fs::metadata(&path).map(|meta| meta.permissions().mode() & 0o777).ok();
        wait_for("the old mode", PATIENCE, || (mode()? == 0o640).then_some(()));
        daemon.stop();
    }
}

#[test]
fn lifts_make_the_file_shorter_without_the_guard() {
    let home = Home::new("");
    configure(&home, "max_shrink = \"0%\"\n");
    let daemon = home.start().ready();
    for n in 0..10 {
        bounce(&daemon, &format!("user{n}@d{}.example", n % 2), n);
    }
    until_rows(&home, 10);
    assert!(daemon.cli(&["lift", "user0@d0.example"]).status.success());
    until_rows(&home, 9);
    let lifted = daemon.rows(&["lift", "--domain", "d1.example", "--yes"]);
    assert_eq!(lifted.len(), 5);
    until_rows(&home, 4);
    assert!(daemon.cli(&["lift", "--reason", "hard_bounce", "--yes"]).status.success());
    until_rows(&home, 0);
    assert_eq!(settled(&daemon)["held_back"], Value::Null);
    let log = daemon.stop();
    assert!(!log.contains("held back"), "{log}");
}

#[test]
fn a_command_runs_without_a_shell_and_again_until_it_succeeds() {
    let home = Home::new("");
    let (script, told) = (home.dir.join("script"), home.dir.join("told"));
    let mark = home.dir.join("mark");
    let text = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" >{0}.new && mv {0}.new {0}\n\
         test -e {0}.good || {{ echo a@b.test: no table >&2; exit 7; }}\n",
        told.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let literal = format!(";$(touch {})", mark.display());
    let script = script.display();
    configure(&home, &format!("command = [\"{script}\", \"{literal}\", \"$HOME *\"]\n"));
    let daemon = home.start().ready();
    let error = wait_for("the failure", PATIENCE, || {
        daemon.exported()["error"].as_str().map(str::to_owned)
    });
    assert!(error.contains("script failed: exit status: 7"), "{error}");
    daemon.until_logged("the command of the export failed; it is tried again");
    assert!(daemon.log().contains("no table"));
    assert_eq!(daemon.cli(&["export"]).status.code(), Some(1));
    fs::write(home.dir.join("told.good"), "").unwrap();
    daemon.until_logged("the command of the export succeeded");
    let export = settled(&daemon);
    assert_eq!((&export["error"], &export["rows"]), (&Value::Null, &json!(0)));
    assert_eq!(fs::read_to_string(&told).unwrap(), format!("{literal}\n$HOME *\n"));
    assert!(!mark.exists());
    fs::remove_file(&told).unwrap();
    assert_eq!(daemon.cli(&["export"]).status.code(), Some(0));
    assert!(told.exists(), "what has not changed is compiled again for whoever asks");
    fs::remove_file(&told).unwrap();
    bounce(&daemon, "user@example.com", 1);
    wait_for("the command", PATIENCE, || told.exists().then_some(()));
    assert_eq!(daemon.metric("suppressd_export_rows{export=\"postfix\"}"), Some(1.0));
    daemon.stop();
}

/// What the MTA reads is made by the command: until that has ended, nobody is told that an address
/// has come, or has gone.
#[test]
fn what_the_command_has_yet_to_compile_is_pending() {
    let home = Home::new("");
    let path = |name: &str| home.dir.join(name).display().to_string();
    let script = format!(
        "cp {} {}; while [ -e {} ]; do sleep 0.01; done",
        path("access"),
        path("access.new"),
        path("wait")
    );
    configure(&home, &format!("command = [\"/bin/sh\", \"-c\", \"{script}\"]\n"));
    let daemon = home.start().ready();
    bounce(&daemon, "user@example.com", 1);
    until_rows(&home, 1);
    settled(&daemon);
    fs::write(home.dir.join("wait"), "").unwrap();
    let pending = "not in the file; pending: its command has yet to end";
    let detail = |arguments: &[&str]| {
        let rows = daemon.rows(arguments);
        rows[0]["exports"][0]["detail"].as_str().unwrap().to_owned()
    };
    assert_eq!(detail(&["lift", "user@example.com"]), pending);
    for verb in ["lookup", "explain"] {
        assert_eq!(detail(&[verb, "user@example.com"]), pending, "{verb}");
    }
    let shown = daemon.cli(&["lookup", "user@example.com"]).stdout;
    assert!(String::from_utf8_lossy(&shown).contains(pending));
    fs::remove_file(home.dir.join("wait")).unwrap();
    settled(&daemon);
    for verb in ["lookup", "explain"] {
        assert_eq!(detail(&[verb, "user@example.com"]), "not in the file", "{verb}");
    }
    daemon.stop();
}

/// The table that the command makes is what the MTA reads: whoever harms it has it made anew.
#[test]
fn what_another_hand_does_to_a_compiled_table_is_mended() {
    let home = Home::new("");
    let table = home.dir.join("access.db");
    let script = format!("cat {} >{}", file(&home).display(), table.display());
    configure(&home, &format!("command = [\"/bin/sh\", \"-c\", \"{script}\"]\n"));
    let daemon = home.start().ready();
    bounce(&daemon, "user@example.com", 1);
    until_rows(&home, 1);
    settled(&daemon);
    let harms: &[&dyn Fn()] = &[
        &|| fs::remove_file(&table).unwrap(),
        &|| File::options().write(true).open(&table).unwrap().set_len(0).unwrap(),
        &|| fs::set_permissions(&table, fs::Permissions::from_mode(0o000)).unwrap(),
    ];
    for (number, harm) in harms.iter().enumerate() {
        assert_eq!(fs::read_to_string(&table).unwrap(), home.export());
        harm();
        let seen = Some(number as f64 + 1.0);
        let count = || daemon.metric("suppressd_export_foreign_total{export=\"postfix\"}");
        wait_for("the look", PATIENCE, || (count() == seen).then_some(()));
        assert!(settled(&daemon)["foreign"].is_string());
        assert_eq!(fs::metadata(&table).unwrap().mode() & 0o777, 0o644);
    }
    assert_eq!(fs::read_to_string(&table).unwrap(), home.export());
    let log = daemon.stop();
    assert!(log.contains("changed or removed what the command of the export made"), "{log}");
}

/// Two exports in one file would undo each other's for ever: the one that came by a link waits.
#[test]
fn a_path_that_leads_to_the_file_of_another_export_is_told() {
    let home = Home::new("");
    let [other, link] = ["other", "link"].map(|name| home.dir.join(name));
    let text = fs::read_to_string(home.config()).unwrap();
    let export = "[[export]]\nname = \"other\"\nformat = \"exim\"\n";
    let export = format!("{export}path = \"{}\"\n", other.display());
    fs::write(home.config(), text + &export).unwrap();
    let daemon = home.start().ready();
    bounce(&daemon, "user@example.com", 1);
    until_rows(&home, 1);
    let rows = || fs::read_to_string(&other).map_or(0, |text| text.lines().count());
    wait_for("the other", PATIENCE, || (rows() == 1).then_some(()));
    settled(&daemon);
    std::os::unix::fs::symlink(file(&home), &link).unwrap();
    fs::rename(&link, &other).unwrap();
    let told = "it leads to the file of the export \"postfix\", not to one of \"other\"; remove";
    let health = || Some(daemon.readyz().body).filter(|body| body.contains(told));
    let body = wait_for("the word", PATIENCE, health);
    assert!(body.starts_with("degraded"), "{body}");
    bounce(&daemon, "second@example.com", 2);
    until_rows(&home, 2);
    assert_eq!(settled(&daemon)["foreign"], Value::Null, "nobody else writes it");
    assert!(fs::symlink_metadata(&other).unwrap().is_symlink());
    fs::remove_file(&other).unwrap();
    wait_for("the other's own", PATIENCE, || (rows() == 2).then_some(()));
    for path in [file(&home), other] {
        let meta = fs::symlink_metadata(&path).unwrap();
        assert!(meta.is_file() && meta.mode() & 0o777 == 0o644, "{}", path.display());
    }
    wait_for("readiness", PATIENCE, || (!daemon.readyz().body.contains(told)).then_some(()));
    daemon.stop();
}

#[test]
fn what_cannot_be_written_is_shown_and_written_later() {
    let home = Home::new("");
    let blocker = home.dir.join("folder");
    let text = fs::read_to_string(home.config()).unwrap();
    fs::write(home.config(), text.replace("/access\"", "/folder/access\"")).unwrap();
    let daemon = home.start().ready();
    // The daemon makes it again at any moment.
    wait_for("a file, where a folder is needed", PATIENCE, || {
        let _ = fs::remove_dir_all(&blocker);
        fs::write(&blocker, "").ok()
    });
    bounce(&daemon, "user@example.com", 1);
    let error =
        wait_for("the error", PATIENCE, || daemon.exported()["error"].as_str().map(str::to_owned));
    assert!(error.contains(blocker.to_str().unwrap()), "{error}");
    assert_eq!(daemon.cli(&["export", "postfix"]).status.code(), Some(1));
    // Once for each reason.
    let log = daemon.log();
    let mut told: Vec<&str> = log.split("export not written").skip(1).collect();
    told.iter_mut().for_each(|rest| *rest = rest.lines().next().unwrap());
    let all = told.len();
    told.sort_unstable();
    told.dedup();
    assert!((1..=2).contains(&all) && told.len() == all, "{log}");
    fs::remove_file(&blocker).unwrap();
    let path = blocker.join("access");
    let there = || fs::read_to_string(&path).is_ok_and(|text| text.starts_with("user@"));
    wait_for("the file, by itself", PATIENCE, || there().then_some(()));
    assert_eq!(settled(&daemon)["error"], Value::Null);
    daemon.stop();
}

/// What stands at an export's path, where its directory should be, or where a forward's file should
/// is told by these alone, at a start and at a reload.
#[test]
fn what_stands_in_the_way_at_a_start_ends_nothing() {
    let home = Home::new("");
    let [folder, told] = ["folder", "told"].map(|name| home.dir.join(name));
    let path = folder.join("access");
    let text = fs::read_to_string(home.config()).unwrap();
    let forward = format!("[[forward]]\nname = \"told\"\nfile = \"{}\"\n", told.display());
    fs::write(home.config(), text.replace("/access\"", "/folder/access\"") + &forward).unwrap();
    let link = |to: &Path| std::os::unix::fs::symlink(to, &path).unwrap();
    let obstacles: &[(&str, &dyn Fn())] = &[
        ("there is a directory of that name", &|| fs::create_dir(&path).unwrap()),
        ("it is no regular file", &|| {
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        }),
        ("it is no regular file", &|| drop(UnixListener::bind(&path).unwrap())),
        ("it is no regular file", &|| link(Path::new("/dev/null"))),
        ("links in a circle", &|| link(&path)),
        ("a part of its path is not a directory", &|| {
            fs::remove_dir(&folder).unwrap();
            fs::write(&folder, "").unwrap();
        }),
    ];
    fs::create_dir(&told).unwrap();
    for (second, (what, put)) in (1..).zip(obstacles) {
        fs::create_dir(&folder).unwrap();
        put();
        let daemon = home.start().ready();
        bounce(&daemon, &format!("user{second}@example.com"), second);
        let shown = |part: &str| {
            let body = daemon.readyz().body;
            (body.starts_with("degraded") && body.contains(part)).then_some(())
        };
        wait_for("the error", PATIENCE, || shown(what));
        wait_for("the path", PATIENCE, || shown(folder.to_str().unwrap()));
        assert_eq!(daemon.cli(&["reload"]).status.code(), Some(0));
        if told.is_dir() {
            wait_for("the forward", PATIENCE, || shown("told"));
            fs::remove_dir(&told).unwrap();
            wait_for("the line", PATIENCE, || fs::metadata(&told).is_ok().then_some(()));
        }
        fs::remove_dir_all(&folder).or_else(|_| fs::remove_file(&folder)).unwrap();
        let rows = || fs::read_to_string(&path).map_or(0, |text| text.lines().count());
        wait_for("the file, by itself", PATIENCE, || (rows() == second as usize).then_some(()));
        daemon.stop();
        fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn a_directory_that_is_made_anew_lets_the_mta_through() {
    let home = Home::new("");
    let folder = home.dir.join("folder");
    configure(&home, "mode = \"0640\"\n");
    let text = fs::read_to_string(home.config()).unwrap();
    fs::write(home.config(), text.replace("/access\"", "/folder/access\"")).unwrap();
    let run = home.run();
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(run.get_program());
    let daemon = home.start_by({
        command.args(run.get_args());
        command
    });
    let daemon = daemon.ready();
    let mode = |path: &Path| fs::metadata(path).map(|meta| meta.mode() & 0o7777).ok();
    for _ in 0..2 {
        let file = wait_for("the file", PATIENCE, || mode(&folder.join("access")));
        assert_eq!((mode(&folder), file), (Some(0o751), 0o640));
        settled(&daemon);
        fs::remove_dir_all(&folder).unwrap();
    }
    daemon.stop();
}

#[test]
fn lifts_that_a_killed_daemon_had_not_exported_are_no_loss() {
    let home = Home::new("");
    let slow = |home: &Home, interval: &str| {
        let text = fs::read_to_string(home.config()).unwrap();
        let (from, rest) = text.split_once("min_interval = \"").unwrap();
        let rest = rest.split_once('"').unwrap().1;
        fs::write(home.config(), format!("{from}min_interval = \"{interval}\"{rest}")).unwrap();
    };
    let daemon = home.start().ready();
    for n in 0..4 {
        bounce(&daemon, &format!("user{n}@example.com"), n);
    }
    until_rows(&home, 4);
    daemon.stop();
    slow(&home, "1h");
    let daemon = home.start().ready();
    // It need not come to rest: a change right after the first look waits for an hour as well.
    let checked = || daemon.exported()["last_checked"].is_string();
    wait_for("the first look", PATIENCE, || checked().then_some(()));
    assert!(daemon.cli(&["lift", "--domain", "example.com", "--yes"]).status.success());
    assert_eq!(daemon.exported()["pending"], true);
    daemon.kill();
    until_rows(&home, 4);
    let daemon = home.start().ready();
    until_rows(&home, 0);
    assert_eq!(daemon.exported()["held_back"], Value::Null);
    // A stop writes what is still to be written.
    bounce(&daemon, "late@example.com", 9);
    assert_eq!(home.export(), "");
    let log = daemon.stop();
    until_rows(&home, 1);
    assert!(!log.contains("held back"), "{log}");
}
