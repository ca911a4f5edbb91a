//! A provider's API on loopback: the generic feed and list over HTTP/1.1, with faults on demand.
//!
//! Plain threads, one per connection and one request per connection, so that a test of any kind can
//! use it. It ends when it is dropped.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use serde_json::{Value, json};
use suppressd::model::Time;
use url::Url;

/// What a request meets instead of its page. Faults are met in the order they were put.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "each test file uses some of them")]
pub(crate) enum Fault {
    /// An answer with this status and these headers.
    Status(u16, Vec<(&'static str, String)>),
    /// The connection is closed without an answer.
    Cut,
    /// Half of the page, then silence until the client gives up.
    Stall,
    /// Half of the page, then the end of the connection.
    Truncated,
    /// A web page with status 200.
    Html,
    /// Status 200 with a body that is not JSON.
    Garbage,
    /// The page, with a `next` that leads to itself.
    RepeatNext,
    /// A body that does not end, in chunks.
    Endless,
}

/// A request that was made.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// `GET`, `POST` or `DELETE`.
    pub(crate) method: String,
    /// Its path with the query.
    pub(crate) target: String,
    /// Its header lines, as sent.
    pub(crate) headers: Vec<String>,
    /// Its body, or null.
    pub(crate) body: Value,
}

/// The API. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Feed {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    asked: Arc<Condvar>,
    /// Ends the accepting thread with the last clone.
    _end: Arc<End>,
}

#[derive(Default)]
struct State {
    rows: Vec<Value>,
    list: Vec<Value>,
    write_faults: VecDeque<Fault>,
    page_rows: usize,
    relative: bool,
    bearer: Option<String>,
    faults: VecDeque<Option<Fault>>,
    requests: Vec<Request>,
    ended: bool,
}

struct End {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.state.lock().unwrap().ended = true;
        // The accepting thread looks at the flag when somebody connects.
        let _ = TcpStream::connect(self.address);
    }
}

#[allow(dead_code, reason = "each test file uses some of them")]
impl Feed {
    /// Serves no rows yet, 500 a page, with absolute `next` URLs.
    pub(crate) fn start() -> Feed {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { page_rows: 500, ..State::default() }));
        let asked = Arc::new(Condvar::new());
        let (shared, told) = (state.clone(), asked.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.lock().unwrap().ended {
                    break;
                }
                let (stream, state, told) = (stream.unwrap(), shared.clone(), told.clone());
                // A client that hangs up is what some tests are about.
                thread::spawn(move || drop(serve(stream, address, &state, &told)));
            }
        });
        let end = Arc::new(End { address, state: state.clone() });
        Feed { address, state, asked, _end: end }
    }

    /// What goes into `poll.url`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/events", self.address)
    }

    /// What goes into `poll.list_url`.
    pub(crate) fn list_url(&self) -> String {
        format!("http://{}/list", self.address)
    }

    /// What is on the list.
    pub(crate) fn list(&self) -> Vec<Value> {
        self.state().list.clone()
    }

    /// Puts other rows on the list.
    pub(crate) fn set_list(&self, rows: impl IntoIterator<Item = Value>) {
        self.state().list = rows.into_iter().collect();
    }

    /// Puts a fault in the way of the next write without one. `Cut` is after the write.
    pub(crate) fn write_fault(&self, fault: Fault) {
        self.state().write_faults.push_back(fault);
    }

    /// The writes so far: method and address.
    pub(crate) fn writes(&self) -> Vec<String> {
        let requests = self.requests();
        let writes = requests.iter().filter(|request| request.method != "GET");
        writes.map(|request| format!("{} {}", request.method, request.address())).collect()
    }

    /// Adds rows, each with a `timestamp`.
    pub(crate) fn push(&self, rows: impl IntoIterator<Item = Value>) {
        self.state().rows.extend(rows);
    }

    /// Most rows of a page, below what the client asks for.
    pub(crate) fn page_rows(&self, most: usize) {
        self.state().page_rows = most;
    }

    /// Whether `next` is a relative URL.
    pub(crate) fn relative_next(&self, relative: bool) {
        self.state().relative = relative;
    }

    /// Answers 401 to requests without this bearer token.
    pub(crate) fn require_bearer(&self, token: &str) {
        self.state().bearer = Some(token.to_owned());
    }

    /// Puts a fault in the way of the next request without one.
    pub(crate) fn fault(&self, fault: Fault) {
        self.state().faults.push_back(Some(fault));
    }

    /// Lets the next so many requests without a fault pass, so that the following fault is later.
    pub(crate) fn pass(&self, requests: usize) {
        self.state().faults.extend((0..requests).map(|_| None));
    }

    /// Takes the faults away that nobody has met yet.
    pub(crate) fn mend(&self) {
        self.state().faults.clear();
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// Blocks until there were so many requests.
    pub(crate) fn until_asked(&self, count: usize) {
        let few = |state: &mut State| state.requests.len() < count;
        drop(self.asked.wait_while(self.state(), few).unwrap());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Request {
    /// The address that a write is about.
    pub(crate) fn address(&self) -> String {
        let url = Url::parse(&format!("http://x{}", self.target)).unwrap();
        let query = url.query_pairs().find(|(key, _)| key == "address");
        let body = || self.body["address"].as_str().unwrap_or_default().to_owned();
        query.map_or_else(body, |(_, value)| value.into_owned())
    }
}

/// A row of the generic list.
#[allow(dead_code, reason = "each test file uses some of them")]
pub(crate) fn listed(address: &str, reason: &str, since: &str) -> Value {
    json!({ "address": address, "reason": reason, "since": since })
}

/// A row of the generic format.
pub(crate) fn row(event: &str, recipient: &str, timestamp: &str, message_id: &str) -> Value {
    json!({
        "event": event, "recipient": recipient, "timestamp": timestamp, "message_id": message_id,
    })
}

fn serve(
    mut stream: TcpStream,
    address: SocketAddr,
    state: &Mutex<State>,
    told: &Condvar,
) -> std::io::Result<()> {
    let request = read_request(&stream)?;
    let (fault, authentic, page) = {
        let mut state = state.lock().unwrap();
        state.requests.push(request.clone());
        told.notify_all();
        let authentic = state.bearer.as_ref().is_none_or(|token| {
            let line = format!("authorization: Bearer {token}");
            request.headers.iter().any(|header| header.eq_ignore_ascii_case(&line))
        });
        let reads = request.method == "GET";
        let fault = if reads { state.faults.pop_front().flatten() } else { None };
        let repeat = matches!(fault, Some(Fault::RepeatNext));
        (fault, authentic, page(&state, address, &request.target, repeat))
    };
    if !authentic {
        return answer(&mut stream, 401, &[], b"{}");
    }
    if request.method != "GET" {
        return write(stream, &request, state);
    }
    let json = [("content-type", "application/json".to_owned())];
    let half = &page[..page.len() / 2];
    match fault {
        None | Some(Fault::RepeatNext) => answer(&mut stream, 200, &json, &page),
        Some(Fault::Status(status, headers)) => answer(&mut stream, status, &headers, b"no"),
        Some(Fault::Cut) => Ok(()),
        Some(Fault::Html) => {
            let html = [("content-type", "text/html; charset=utf-8".to_owned())];
            answer(&mut stream, 200, &html, b"<!DOCTYPE html><title>Sign in</title>")
        }
        Some(Fault::Garbage) => answer(&mut stream, 200, &json, b"{\"events\":[{]}"),
        Some(Fault::Truncated) => {
            head(&mut stream, 200, &json, page.len()).and_then(|()| stream.write_all(half))
        }
        Some(Fault::Stall) => {
            head(&mut stream, 200, &json, page.len())?;
            stream.write_all(half)?;
            // Silence until the client closes the connection.
            stream.read_to_end(&mut Vec::new()).map(|_| ())
        }
        Some(Fault::Endless) => endless(&mut stream),
    }
}

/// Puts on the list, or takes off it, as the generic provider does.
fn write(mut stream: TcpStream, request: &Request, state: &Mutex<State>) -> std::io::Result<()> {
    let address = request.address();
    let mut state = state.lock().unwrap();
    let fault = state.write_faults.pop_front();
    if let Some(Fault::Status(status, headers)) = fault {
        return answer(&mut stream, status, &headers, b"no");
    }
    let held = state.list.len();
    state.list.retain(|row| row["address"] != *address);
    let was_there = state.list.len() < held;
    if request.method == "POST" {
        let since = suppressd::clock::now().floor_second().to_string();
        state.list.push(listed(&address, "manual", &since));
    }
    drop(state);
    match fault {
        Some(_) => Ok(()),
        None if request.method == "DELETE" && !was_there => answer(&mut stream, 404, &[], b"{}"),
        None => answer(&mut stream, 200, &[], b"{}"),
    }
}

fn read_request(stream: &TcpStream) -> std::io::Result<Request> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut lines = reader.by_ref().lines();
    let line = lines.next().transpose()?.unwrap_or_default();
    let mut words = line.split(' ').map(str::to_owned);
    let mut word = || words.next().unwrap_or_default();
    let (method, target) = (word(), word());
    let (mut headers, mut length) = (Vec::new(), 0);
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some(("content-length", value)) = line.to_ascii_lowercase().split_once(':') {
            length = value.trim().parse().unwrap_or(0);
        }
        headers.push(line);
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Ok(Request { method, target, headers, body })
}

fn page(state: &State, address: SocketAddr, target: &str, repeat: bool) -> Vec<u8> {
    let url = Url::parse(&format!("http://{address}{target}")).unwrap();
    let query = |name: &str| {
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    };
    let since = query("since").and_then(|text| Time::parse(&text));
    let from: usize = query("from").and_then(|text| text.parse().ok()).unwrap_or(0);
    let limit: usize = query("limit").and_then(|text| text.parse().ok()).unwrap_or(100);
    let wanted = |row: &&Value, time: &str| {
        let at = row[time].as_str().and_then(Time::parse);
        since.is_none_or(|since| at.is_none_or(|at| at >= since))
    };
    let (name, rows): (&str, Vec<&Value>) = match url.path() {
        "/list" => ("suppressions", state.list.iter().filter(|row| wanted(row, "since")).collect()),
        _ => ("events", state.rows.iter().filter(|row| wanted(row, "timestamp")).collect()),
    };
    let to = (from + limit.min(state.page_rows)).min(rows.len());
    let more = to < rows.len();
    let next = (more || repeat).then(|| {
        let mut next = url.clone();
        if !repeat {
            let others: Vec<_> =
                url.query_pairs().into_owned().filter(|(key, _)| key != "from").collect();
            next.query_pairs_mut()
                .clear()
                .extend_pairs(others)
                .append_pair("from", &to.to_string());
        }
        let text = String::from(next);
        let origin = format!("http://{address}");
        if state.relative { text[origin.len()..].to_owned() } else { text }
    });
    json!({ name: rows.get(from..to).unwrap_or(&[]), "next": next }).to_string().into_bytes()
}

fn answer(
    stream: &mut TcpStream,
    status: u16,
    headers: &[(&'static str, String)],
    body: &[u8],
) -> std::io::Result<()> {
    head(stream, status, headers, body.len())?;
    stream.write_all(body)
}

fn head(
    stream: &mut TcpStream,
    status: u16,
    headers: &[(&'static str, String)],
    length: usize,
) -> std::io::Result<()> {
    let mut text = format!("HTTP/1.1 {status} S\r\nconnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {length}\r\n\r\n"));
    stream.write_all(text.as_bytes())
}

/// Chunks until the client has had enough.
fn endless(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 S\r\ntransfer-encoding: chunked\r\n\r\n")?;
    let spaces = vec![b' '; 1 << 20];
    loop {
        stream.write_all(format!("{:x}\r\n", spaces.len()).as_bytes())?;
        stream.write_all(&spaces)?;
        stream.write_all(b"\r\n")?;
    }
}
