//! Any provider's API on loopback, as a list of exchanges: the answer to each request.
//!
//! Plain threads, one request per connection. It ends when it is dropped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use url::Url;

use super::random::Random;

/// Most faults that one API puts in the way.
const FAULTS_MAX: usize = 4;

/// One request that is expected, and its answer.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub(crate) method: String,
    pub(crate) url: Url,
    /// The body, if it is JSON.
    pub(crate) body: Value,
    /// The answer's `Link` header.
    pub(crate) link: Option<String>,
    pub(crate) answer: Vec<u8>,
}

/// The API.
pub(crate) struct Api {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    exchanges: Vec<Exchange>,
    /// How often each was answered.
    served: Vec<usize>,
    /// Where faults come from, and how many more there are. `None`: requests come in order.
    faults: Option<(Random, usize)>,
    problems: Vec<String>,
    ended: bool,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.state.lock().unwrap().ended = true;
        // The accepting thread looks at the flag when somebody connects.
        let _ = TcpStream::connect(self.address);
    }
}

impl Api {
    /// Answers one request after the other, and notes any that comes out of its order.
    pub(crate) fn in_order(exchanges: Vec<Exchange>) -> Api {
        Api::start(exchanges, None)
    }

    /// Answers each request as the one that it is most like, with faults in the way of some.
    pub(crate) fn with_faults(exchanges: Vec<Exchange>, random: Random) -> Api {
        Api::start(exchanges, Some((random, FAULTS_MAX)))
    }

    fn start(exchanges: Vec<Exchange>, faults: Option<(Random, usize)>) -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (served, problems) = (vec![0; exchanges.len()], Vec::new());
        let state = State { exchanges, served, faults, problems, ended: false };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        serve(listener, move |stream| {
            let goes_on = !shared.lock().unwrap().ended;
            if goes_on {
                // A client that hangs up shows in what it did not ask for.
                drop(answer(stream, &shared));
            }
            goes_on
        });
        Api { address, state }
    }

    /// What takes the place of the provider's own scheme and host.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked for out of order, and what was not asked for.
    pub(crate) fn problems(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let mut problems = state.problems.clone();
        for (exchange, _) in state.exchanges.iter().zip(&state.served).filter(|(_, n)| **n == 0) {
            problems.push(format!("{} {} was not asked for", exchange.method, exchange.url));
        }
        problems
    }
}

impl State {
    /// The exchange that a request is.
    fn find(&mut self, method: &str, url: &Url, body: &Value) -> Option<usize> {
        let same =
            |exchange: &Exchange| exchange.method == method && exchange.url.path() == url.path();
        let found = if self.faults.is_none() {
            let next = self.served.iter().position(|served| *served == 0)?;
            same(&self.exchanges[next]).then_some(next)
        } else {
            let likeness = |index: &usize| {
                let exchange = &self.exchanges[*index];
                (likeness(exchange, url, body), std::cmp::Reverse((self.served[*index], *index)))
            };
            let indices = 0..self.exchanges.len();
            indices.filter(|index| same(&self.exchanges[*index])).max_by_key(likeness)
        };
        self.served[found?] += 1;
        found
    }

    fn fault(&mut self) -> Option<u64> {
        let (random, left) = self.faults.as_mut()?;
        if *left == 0 || !random.chance(30) {
            return None;
        }
        *left -= 1;
        Some(random.below(6))
    }
}

/// In how much a request is what an exchange has: the parts of the query and the members of the
/// body that are the same, less those that are not there.
fn likeness(exchange: &Exchange, url: &Url, body: &Value) -> i64 {
    let of = |url: &Url, body: &Value| -> Vec<(String, String)> {
        let members = body.as_object().into_iter().flatten();
        let members = members.map(|(key, value)| (key.clone(), value.to_string()));
        url.query_pairs().into_owned().chain(members).collect()
    };
    let (mine, its) = (of(url, body), of(&exchange.url, &exchange.body));
    let same = mine.iter().filter(|pair| its.contains(pair)).count() as i64;
    let lacks = |a: &[(String, String)], b: &[(String, String)]| {
        a.iter().filter(|(key, _)| b.iter().all(|(other, _)| other != key)).count() as i64
    };
    same - lacks(&mine, &its) - lacks(&its, &mine)
}

/// Answers one connection after the other in a thread, until `answer` says that it does not go on.
pub(crate) fn serve(
    listener: TcpListener,
    mut answer: impl FnMut(TcpStream) -> bool + Send + 'static,
) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            if stream.is_ok_and(|stream| !answer(stream)) {
                break;
            }
        }
    });
}

fn answer(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let length = head.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<u64>().ok())?
    });
    let mut body = Vec::new();
    reader.by_ref().take(length.unwrap_or(0)).read_to_end(&mut body)?;
    let mut words = head.first().map(String::as_str).unwrap_or("").split(' ');
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or("/"));
    let url = Url::parse("http://localhost").and_then(|base| base.join(target)).unwrap();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let mut state = state.lock().unwrap();
    let fault = state.fault();
    let found = if fault.is_none() { state.find(method, &url, &body) } else { None };
    let good = found.map(|index| state.exchanges[index].clone());
    if good.is_none() && fault.is_none() {
        state.problems.push(format!("{method} {target} was asked for"));
    }
    drop(state);
    write(&mut reader.into_inner(), fault, good)
}

/// An answer with a fault, or the good one, or that there is no such thing.
fn write(
    stream: &mut TcpStream,
    fault: Option<u64>,
    good: Option<Exchange>,
) -> std::io::Result<()> {
    let link = good.as_ref().and_then(|good| good.link.as_deref());
    let link = link.map(|link| format!("Link: {link}\r\n")).unwrap_or_default();
    let (status, media, body) = match (fault, good) {
        (Some(0), _) => return Ok(()),
        (Some(1), _) => ("500 Oops", "application/json", b"{}".to_vec()),
        (Some(2), _) => ("429 Wait\r\nRetry-After: 0", "application/json", b"{}".to_vec()),
        (Some(3), _) => ("200 OK", "text/html", b"<html>Sign in</html>".to_vec()),
        (Some(4), _) => ("200 OK", "application/json", b"{\"data\":[{]}".to_vec()),
        (Some(_), _) => {
            // Less than was promised.
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"data\":[";
            return stream.write_all(head.as_bytes());
        }
        (None, Some(good)) => ("200 OK", "application/json", good.answer),
        (None, None) => ("404 Not Found", "application/json", b"{}".to_vec()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n{link}\
         Connection: close\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), &body].concat())
}
