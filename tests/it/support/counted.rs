//! A provider's list on loopback that is asked for by offset or by page number, and whose rows come
//! and go between two requests.
//!
//! Plain threads, one request per connection. It ends when it is dropped.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use url::Url;

use super::api::serve;
use super::random::Random;

/// How a provider writes a row, from its address and number.
pub(crate) type Row = fn(&str, usize) -> Value;

/// How a provider writes a page: its rows, and how many rows the list has in all and before it.
pub(crate) type Written = fn(&[Value], usize, usize) -> Value;

/// The list. It is changed until so many requests were answered.
pub(crate) struct Counted {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    rows: Vec<(String, Value)>,
    stay: BTreeSet<String>,
    row: Row,
    written: Written,
    made: usize,
    changes: usize,
    asked: usize,
    random: Random,
    ended: bool,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.state.lock().unwrap().ended = true;
        // The accepting thread looks at the flag when somebody connects.
        let _ = TcpStream::connect(self.address);
    }
}

impl Counted {
    pub(crate) fn start(
        (row, written): (Row, Written),
        rows: usize,
        changes: usize,
        random: Random,
    ) -> Counted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stay, made) = (BTreeSet::new(), 0);
        let mut state = State {
            rows: Vec::new(),
            stay,
            row,
            written,
            made,
            changes,
            asked: 0,
            random,
            ended: false,
        };
        (0..rows).for_each(|at| state.insert(at));
        state.stay = state.rows.iter().map(|(address, _)| address.clone()).collect();
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        serve(listener, move |stream| {
            let goes_on = !shared.lock().unwrap().ended;
            if goes_on {
                drop(answer(stream, &shared));
            }
            goes_on
        });
        Counted { address, state }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The addresses that were on the list all the time.
    pub(crate) fn stayed(&self) -> BTreeSet<String> {
        self.state.lock().unwrap().stay.clone()
    }

    pub(crate) fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }
}

impl State {
    fn insert(&mut self, at: usize) {
        let address = format!("user{}@example.org", self.made);
        let row = (self.row)(&address, self.made);
        self.made += 1;
        self.rows.insert(at, (address, row));
    }

    fn remove(&mut self, at: usize) {
        let (address, _) = self.rows.remove(at);
        self.stay.remove(&address);
    }

    /// The first request is always followed by a removal before it.
    fn change(&mut self) {
        if self.asked == 1 {
            self.remove(0);
        }
        for _ in 0..self.random.below(4) {
            let at = self.random.below(self.rows.len() as u64) as usize;
            if self.random.chance(70) {
                self.remove(at);
            } else {
                self.insert(at);
            }
        }
    }

    fn page(&mut self, target: &str) -> Value {
        let url = Url::parse(&format!("http://x{target}")).unwrap();
        let number = |names: &[&str]| {
            let found = url.query_pairs().find(|(key, _)| names.contains(&&**key));
            found.map(|(_, value)| value.parse::<usize>().unwrap())
        };
        let size = number(&["limit", "Limit", "page_size"]).unwrap();
        let by_page = || (number(&["page"]).unwrap() - 1) * size;
        let start = number(&["offset", "Offset"]).unwrap_or_else(by_page).min(self.rows.len());
        let end = (start + size).min(self.rows.len());
        let rows: Vec<Value> = self.rows[start..end].iter().map(|(_, row)| row.clone()).collect();
        let page = (self.written)(&rows, self.rows.len(), start);
        self.asked += 1;
        if self.asked <= self.changes {
            self.change();
        }
        page
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(&stream).lines();
    let Some(line) = lines.next() else { return Ok(()) };
    let line = line?;
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let Some(target) = line.split(' ').nth(1) else { return Ok(()) };
    let body = state.lock().unwrap().page(target).to_string();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all((head + &body).as_bytes())
}

/// A page that is nothing but its rows.
pub(crate) fn bare(rows: &[Value], _total: usize, _before: usize) -> Value {
    json!(rows)
}
