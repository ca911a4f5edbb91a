//! Providers are asked through a proxy, where there is one; this host never is.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use data_encoding::BASE64;

use crate::support::child::output;
use crate::support::daemon::{Daemon, Home, PATIENCE, PROGRAM, cli};
use crate::support::feed::{Feed, row};
use crate::support::wait_for;

/// A proxy that notes whom it is to connect to, and refuses to.
struct Proxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.heads.lock().unwrap().clear();
        // The accepting thread ends with a connection that says nothing.
        let _ = TcpStream::connect(self.address);
    }
}

impl Proxy {
    fn start() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&heads);
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                if head.is_empty() {
                    break;
                }
                shared.lock().unwrap().push(head);
                let refusal = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
                let _ = stream.write_all(refusal);
            }
        });
        Proxy { address, heads }
    }

    fn heads(&self) -> Vec<Vec<String>> {
        self.heads.lock().unwrap().clone()
    }
}

/// A source whose provider only the proxy could reach, and one on this host.
fn sources(near: &Feed) -> String {
    let source = |name: &str, url: &str| {
        format!(
            "[[source]]\nname = {name:?}\nprovider = \"generic\"\n\
             poll = {{ url = \"{url}\", cron = \"0 0 0 29 2 *\" }}\n"
        )
    };
    source("far", "https://provider.invalid/events") + &source("near", &near.url())
}

fn until_polled(daemon: &Daemon) {
    for name in ["far", "near"] {
        wait_for(name, PATIENCE, || {
            let row = daemon.source(name);
            (!row["last_success"].is_null() || !row["last_error"].is_null()).then_some(())
        });
    }
}

#[test]
fn a_configured_proxy_is_told_its_password_and_whom_to_reach() {
    let (proxy, near) = (Proxy::start(), Feed::start());
    near.push([row("hard_bounce", "a@example.org", "2026-06-15T10:00:00Z", "m1")]);
    let fetch = format!("[fetch]\nproxy = \"http://user:pa%20ss@{}\"\n", proxy.address);
    let home = Home::bare(&(fetch + &sources(&near)));
    let check = cli(&home.config(), &["check"]).stdout;
    let check = String::from_utf8(check).unwrap();
    assert!(check.contains(&format!("through the proxy http://{}", proxy.address)), "{check}");
    assert!(!check.contains("pa%20ss"), "{check}");
    let daemon = home.start().ready();
    until_polled(&daemon);
    let heads = proxy.heads();
    assert_eq!(heads[0][0], "CONNECT provider.invalid:443 HTTP/1.1");
    let pair = format!("Basic {}", BASE64.encode(b"user:pa ss"));
    let told = |line: &String| line.to_lowercase().starts_with("proxy-authorization:");
    assert!(heads[0].iter().any(|line| told(line) && line.ends_with(&pair)), "{heads:?}");
    assert!(heads.iter().all(|head| head[0].starts_with("CONNECT provider.invalid:")), "{heads:?}");
    assert!(daemon.source("near")["last_error"].is_null(), "{}", daemon.source("near"));
    let error = daemon.source("far")["last_error"].to_string();
    let named = format!("through the proxy http://{}", proxy.address);
    assert!(error.contains(&named) && !error.contains("ss@"), "{error}");
    assert!(!daemon.log().contains("pa%20ss") && !daemon.log().contains(&pair));
    daemon.stop();
}

#[test]
fn the_environment_names_a_proxy_and_hosts_that_need_none() {
    for (excepted, asked) in [("other.invalid", true), ("provider.invalid", false)] {
        let (proxy, near) = (Proxy::start(), Feed::start());
        let home = Home::bare(&sources(&near));
        let mut command = Command::new(PROGRAM);
        command.args(["run", "-c"]).arg(home.config());
        command.env("HTTPS_PROXY", format!("http://{}", proxy.address)).env("NO_PROXY", excepted);
        let daemon = home.start_by(command).ready();
        until_polled(&daemon);
        let error = daemon.source("far")["last_error"].to_string();
        let named = error.contains(&format!("HTTPS_PROXY is http://{}", proxy.address));
        assert_eq!(named, asked, "{excepted}: {error}");
        assert_eq!(!proxy.heads().is_empty(), asked, "{excepted}");
        assert!(daemon.source("near")["last_error"].is_null(), "{}", daemon.source("near"));
        daemon.stop();
    }
}

#[test]
fn a_proxy_of_the_environment_is_checked_and_shown_without_its_password() {
    let home = Home::new("");
    let check = |proxy: &str| {
        let mut command = Command::new(PROGRAM);
        let command = command.args(["check", "-c"]).arg(home.config()).env("HTTPS_PROXY", proxy);
        let output = output(command);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    for (proxy, shown) in [
        ("http://u:hunter2@proxy.test:3128", "through the proxy http://proxy.test:3128 of"),
        ("proxy.test:3128", "through the proxy http://proxy.test:3128 of"),
    ] {
        let (code, said) = check(proxy);
        assert!(code == Some(0) && said.contains(shown) && !said.contains("hunter2"), "{said}");
    }
    for proxy in ["socks5://u:hunter2@proxy.test:1080", "http://"] {
        let (code, said) = check(proxy);
        assert!(code == Some(78) && said.contains("HTTPS_PROXY: is not the URL"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    assert_eq!(check("").0, Some(0), "an empty one is none");
}
