//! The places of listeners between clients of several addresses: who floods one displaces itself.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::runtime::Runtime;

use super::support::client::{Client, event};
use super::support::daemon::{Home, PATIENCE, source};
use super::support::wait_for;

const PLACES: usize = 16;

/// Places that are trickled for, by how many, and how long one waits for its next byte, or before
/// it comes again.
const TRICKLED: usize = 100;
const TRICKLING: usize = 140;
const RETURN: Duration = Duration::from_millis(50);

const LOOKUP: &str = "[[lookup]]\nprotocol = \"tcp-table\"\nlisten = \"127.0.0.1:0\"\n\
    connections_max = 16\n";

/// Connects from one of this host's many addresses.
fn connect(runtime: &Runtime, from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        socket.connect(to).await?.into_std()
    })?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

/// Opens connections from one address until it is told to end; keeps four for each place.
fn flood(to: SocketAddr, opened: &AtomicU64, end: &AtomicBool) {
    let runtime = Runtime::new().unwrap();
    let mut held = VecDeque::new();
    while !end.load(Ordering::Relaxed) {
        let number = opened.load(Ordering::Relaxed);
        // One that is told that there is no place may be closed at once.
        if let Ok(mut stream) = connect(&runtime, Ipv4Addr::new(127, 0, 0, 3), to) {
            let begun: &[u8] = if number.is_multiple_of(2) { b"" } else { b"GET" };
            let _ = stream.write_all(begun);
            held.push_back(stream);
            if held.len() > 4 * PLACES {
                held.pop_front();
            }
        }
        opened.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends a head a byte at a time and never ends it, until the connection is cut; then again, until
/// it is told to end.
fn trickle(to: SocketAddr, cut: &AtomicU64, end: &AtomicBool) {
    let head = b"POST /hooks/test HTTP/1.1\r\nhost: x\r\nx-filler: ";
    while !end.load(Ordering::Relaxed) {
        std::thread::park_timeout(RETURN);
        let Ok(mut stream) = TcpStream::connect(to) else { continue };
        for byte in head.iter().chain(std::iter::repeat(&b'x')).take(1_000) {
            if end.load(Ordering::Relaxed) || stream.write_all(&[*byte]).is_err() {
                break;
            }
            std::thread::park_timeout(RETURN);
        }
        cut.fetch_add(1, Ordering::Relaxed);
    }
}

/// Has its requests answered one after the other, all the time, until it is told to end.
fn keep_busy(runtime: &Runtime, to: SocketAddr, answered: &AtomicU64, end: &AtomicBool) {
    while !end.load(Ordering::Relaxed) {
        let Ok(stream) = connect(runtime, Ipv4Addr::new(127, 0, 0, 3), to) else { continue };
        let mut client = Client(stream);
        while !end.load(Ordering::Relaxed) {
            let number = answered.fetch_add(1, Ordering::Relaxed) as u32;
            let body = event("hard_bounce", "busy@x.test", "m", number);
            if client.notify(&body).is_err() {
                break;
            }
        }
    }
}

/// Connects from an address of its own among many from another, and asks only after a while, twice.
fn asks_late(to: SocketAddr, opened: &AtomicU64, ask: impl Fn(TcpStream) -> TcpStream) {
    let runtime = Runtime::new().unwrap();
    let many_more = || {
        let from = opened.load(Ordering::Relaxed);
        let more = || (opened.load(Ordering::Relaxed) >= from + 4 * PLACES as u64).then_some(());
        wait_for("many connections", PATIENCE, more);
    };
    many_more();
    let mut stream = connect(&runtime, Ipv4Addr::new(127, 0, 0, 2), to).unwrap();
    for _ in 0..2 {
        many_more();
        stream = ask(stream);
    }
}

fn under_a_flood(to: SocketAddr, ask: impl Fn(TcpStream) -> TcpStream) {
    let (opened, end) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (counter, ended) = (Arc::clone(&opened), Arc::clone(&end));
    // Should the test fail, it goes on until the process ends.
    let flood = std::thread::spawn(move || flood(to, &counter, &ended));
    for _ in 0..10 {
        asks_late(to, &opened, &ask);
    }
    end.store(true, Ordering::Relaxed);
    flood.join().unwrap();
}

#[test]
fn an_address_that_opens_many_connections_cuts_none_of_another() {
    let home = Home::new(LOOKUP);
    let keys = format!("connections_max = {PLACES}");
    home.configure_http(&keys, &format!("{}{LOOKUP}", source()));
    let daemon = home.start().ready();
    let lookup = daemon.listening("tcp-table");
    let notify = |stream| {
        let mut client = Client(stream);
        let body = event("hard_bounce", "honest@x.test", "m", 1);
        assert_eq!(client.notify(&body).unwrap().status, 200);
        client.0
    };
    let look = |mut stream: TcpStream| {
        stream.write_all(b"get other@x.test\n").unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"500 ");
        let mut rest = [0];
        while rest != *b"\n" {
            stream.read_exact(&mut rest).unwrap();
        }
        stream
    };
    let watch = |stream: TcpStream| {
        let mut client = Client(stream);
        client.0.write_all(b"GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").unwrap();
        assert_eq!(client.answer().unwrap().status, 200);
        client.0
    };
    under_a_flood(daemon.http, notify);
    under_a_flood(daemon.admin, watch);
    under_a_flood(lookup, look);
    let displaced = daemon.metric("suppressd_connections_displaced_total{listener=\"public\"}");
    assert!(displaced.unwrap() > 100.0, "{displaced:?}");
}

#[test]
fn an_address_that_keeps_all_places_busy_keeps_nobody_out() {
    let home = Home::new("");
    home.configure_http(&format!("connections_max = {PLACES}"), &source());
    let daemon = home.start().ready();
    let runtime = Runtime::new().unwrap();
    let (answered, end) = (AtomicU64::new(0), AtomicBool::new(false));
    let answers: Vec<u16> = std::thread::scope(|scope| {
        for _ in 0..4 * PLACES {
            scope.spawn(|| keep_busy(&runtime, daemon.http, &answered, &end));
        }
        let many = || (answered.load(Ordering::Relaxed) > 1_000).then_some(());
        wait_for("places that are all taken", PATIENCE, many);
        let honest = |number| {
            let stream = connect(&runtime, Ipv4Addr::new(127, 0, 0, 2), daemon.http)?;
            let body = event("hard_bounce", "honest@x.test", "m", number);
            Client(stream).notify(&body)
        };
        let answers = (0..200).map(|number| honest(number).map_or(0, |answer| answer.status));
        let answers = answers.collect();
        end.store(true, Ordering::Relaxed);
        answers
    });
    assert_eq!(answers, [200; 200]);
}

#[test]
fn whoever_trickles_keeps_nobody_out_of_its_own_address() {
    let home = Home::new("");
    home.configure_http(&format!("connections_max = {TRICKLED}"), &source());
    let daemon = home.start().ready();
    let (cut, end) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..TRICKLING {
            scope.spawn(|| trickle(daemon.http, &cut, &end));
        }
        let many = || (cut.load(Ordering::Relaxed) > TRICKLED as u64).then_some(());
        wait_for("places that are all taken", PATIENCE, many);
        let answers: Vec<u16> = (0..50)
            .map(|number| {
                let body = event("hard_bounce", "honest@x.test", "m", number);
                let answer = Client::connect(daemon.http).and_then(|mut it| it.notify(&body));
                answer.map_or(0, |answer| answer.status)
            })
            .collect();
        end.store(true, Ordering::Relaxed);
        assert_eq!(answers, [200; 50]);
    });
}
