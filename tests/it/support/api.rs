//! Any provider's API on loopback, as a script: the answers to its requests, in their order.
//!
//! Plain threads, one request per connection. It ends when it is dropped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// The API.
pub(crate) struct Api {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// What is still to be answered, with the path that must be asked for.
    script: std::vec::IntoIter<(String, Vec<u8>)>,
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
    /// Answers one request after the other: `("GET /path", body)`. The query is not looked at.
    pub(crate) fn start(script: Vec<(String, Vec<u8>)>) -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { script: script.into_iter(), ..State::default() }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.lock().unwrap().ended {
                    break;
                }
                // A client that hangs up shows in what it did not ask for.
                drop(stream.and_then(|stream| answer(stream, &shared)));
            }
        });
        Api { address, state }
    }

    /// What takes the place of the provider's own scheme and host.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked for out of order, and what was not asked for.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut state = self.state.lock().unwrap();
        let left: Vec<String> = state
            .script
            .by_ref()
            .map(|(wanted, _)| format!("{wanted} was not asked for"))
            .collect();
        state.problems.extend(left);
        state.problems.clone()
    }
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
    reader.by_ref().take(length.unwrap_or(0)).read_to_end(&mut Vec::new())?;
    let request = head.first().map(String::as_str).unwrap_or("");
    let asked = request.split(['?', ' ']).take(2).collect::<Vec<&str>>().join(" ");
    let mut state = state.lock().unwrap();
    let (status, body) = match state.script.next() {
        Some((wanted, body)) if wanted == asked => ("200 OK", body),
        other => {
            let wanted = other.map_or("nothing".to_owned(), |(wanted, _)| wanted);
            state.problems.push(format!("{asked} was asked for, instead of {wanted}"));
            ("404 Not Found", Vec::new())
        }
    };
    drop(state);
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    let mut stream = reader.into_inner();
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}
