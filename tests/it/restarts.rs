//! Restarts behind a socket that systemd holds: no client learns of them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::scope;
use std::time::Duration;

use super::support::client::{self, Answer, Client, event};
use super::support::daemon::{Daemon, Home, PATIENCE, source};
use super::support::{OnDrop, tls, wait_for};

/// Listens on systemd's socket, with or without TLS.
fn home(tls: bool) -> Home {
    let home = Home::bare("");
    let keys = if tls { tls::setting() } else { String::new() };
    home.configure_http(&keys, &source());
    let text = std::fs::read_to_string(home.config()).unwrap();
    let text = text.replacen("listen = \"127.0.0.1:0\"", "listen = \"systemd\"", 1);
    std::fs::write(home.config(), text).unwrap();
    home
}

fn bound() -> (TcpListener, SocketAddr) {
    let bound = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = bound.local_addr().unwrap();
    (bound, at)
}

fn start(home: &Home, bound: &TcpListener) -> Daemon {
    home.start_passing(&[("suppressd.socket", bound.try_clone().unwrap().into())])
}

/// A signed notification as it goes over the wire.
fn wire(number: usize) -> Vec<u8> {
    let body = event("delivered", &format!("user{number}@example.com"), "m", 1);
    client::wire(&body)
}

fn ends(answer: &Answer) -> bool {
    answer.header("connection").is_some_and(|value| value == "close")
}

/// Has connections that are accepted and silent when the daemon is told to stop.
fn fresh<S: Read + Write>(with_tls: bool, connect: impl Fn(SocketAddr) -> Client<S>) {
    let (home, (bound, at)) = (home(with_tls), bound());
    let daemon = start(&home, &bound).ready();
    let mut silent: Vec<Client<S>> = (0..20).map(|_| connect(at)).collect();
    let accepted = "suppressd_connections{listener=\"public\"}";
    wait_for(accepted, PATIENCE, || (daemon.metric(accepted)? == 20.0).then_some(()));
    let mut begun: Vec<Client<S>> = (0..5).map(|_| connect(at)).collect();
    for (number, client) in begun.iter_mut().enumerate() {
        client.0.write_all(&wire(number)).unwrap();
        assert!(!ends(&client.answer().unwrap()));
        client.0.write_all(&wire(number)[..40]).unwrap();
        client.0.flush().unwrap();
    }
    daemon.signal("TERM");
    daemon.until_logged("stopping signal=\"SIGTERM\"");
    for (number, client) in silent.iter_mut().enumerate() {
        client.0.write_all(&wire(number)).unwrap();
        let answer = client.answer().unwrap();
        assert!(answer.status == 200 && ends(&answer), "{number}: {answer:?}");
    }
    for (number, client) in begun.iter_mut().enumerate() {
        client.0.write_all(&wire(number)[40..]).unwrap();
        let answer = client.answer().unwrap();
        assert!(answer.status == 200 && ends(&answer), "{number}: {answer:?}");
    }
    daemon.stop();
}

#[test]
fn what_has_sent_nothing_yet_is_answered_after_the_stop() {
    fresh(false, |at| Client::connect(at).unwrap());
}

#[test]
fn what_has_sent_nothing_yet_over_tls_is_answered_after_the_stop() {
    fresh(true, |at| {
        let mut client = tls::connect(at).unwrap();
        while client.0.conn.is_handshaking() {
            client.0.conn.complete_io(&mut client.0.sock).unwrap();
        }
        client
    });
}

/// How many restarts the load lasts for.
const RESTARTS: usize = 4;

/// One client's way to go on until it is told to end: counts what was answered.
#[derive(Clone, Copy)]
struct Load<'a> {
    at: SocketAddr,
    over: &'a AtomicBool,
    answered: &'a AtomicUsize,
}

impl Load<'_> {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn check(&self, answer: std::io::Result<Answer>) -> Answer {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        self.answered.fetch_add(1, Ordering::Relaxed);
        answer
    }

    /// A connection for each request.
    fn new_each<S: Read + Write>(&self, connect: impl Fn(SocketAddr) -> Client<S>) {
        while self.goes_on() {
            let mut client = connect(self.at);
            client.0.write_all(&wire(1)).unwrap();
            self.check(client.answer());
        }
    }

    /// A connection for as long as it lasts: until an answer says that it ends.
    fn kept<S: Read + Write>(&self, connect: impl Fn(SocketAddr) -> Client<S>) {
        while self.goes_on() {
            let mut client = connect(self.at);
            while self.goes_on() {
                client.0.write_all(&wire(2)).unwrap();
                if ends(&self.check(client.answer())) {
                    break;
                }
            }
        }
    }

    /// A request that takes its time in its head and in its body.
    fn slow(&self) {
        let request = wire(3);
        while self.goes_on() {
            let mut client = Client::connect(self.at).unwrap();
            for part in request.chunks(request.len().div_ceil(4)) {
                #[expect(clippy::disallowed_methods, reason = "a client that is slow")]
                std::thread::sleep(Duration::from_millis(150));
                client.0.write_all(part).unwrap();
            }
            self.check(client.answer());
        }
    }
}

/// Restarts the daemon again and again while clients of all kinds send as fast as they can.
fn under_load(with_tls: bool) {
    let (home, (bound, at)) = (home(with_tls), bound());
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let load = Load { at, over: &over, answered: &answered };
    scope(|scope| {
        // Ends the load also when the test fails.
        let _ending = OnDrop(&over);
        let mut daemon = start(&home, &bound).ready();
        let mut clients = Vec::new();
        for _ in 0..2 {
            if with_tls {
                let connect = |at| tls::connect(at).unwrap();
                clients.push(scope.spawn(move || load.new_each(connect)));
                clients.push(scope.spawn(move || load.kept(connect)));
            } else {
                let connect = |at| Client::connect(at).unwrap();
                clients.push(scope.spawn(move || load.new_each(connect)));
                clients.push(scope.spawn(move || load.kept(connect)));
                clients.push(scope.spawn(move || load.slow()));
            }
        }
        for restart in 1..=RESTARTS {
            let wanted = restart * 500;
            let enough = || (answered.load(Ordering::Relaxed) >= wanted).then_some(());
            wait_for("load", PATIENCE, enough);
            let log = daemon.stop();
            assert!(!log.contains("did not end in time"), "{log}");
            daemon = start(&home, &bound).ready();
        }
        over.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap();
        }
        daemon.stop();
    });
}

#[test]
fn restarts_under_load_fail_no_request() {
    under_load(false);
}

#[test]
fn restarts_under_load_over_tls_fail_no_request() {
    under_load(true);
}
