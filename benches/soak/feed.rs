//! A paged API on loopback that has something new at each poll.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::Result;

use crate::event;

/// Events of an answer.
const PAGE: u64 = 300;
/// The number of its first event: none that a webhook tells.
const FIRST: u64 = 1 << 40;

/// Serves until the process ends.
pub(crate) fn serve() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        let mut next = FIRST;
        for stream in listener.incoming().flatten() {
            // A client that is done hangs up.
            let _ = answer(stream, &mut next);
        }
    });
    Ok(address)
}

/// Answers one request, and closes.
fn answer(mut stream: TcpStream, next: &mut u64) -> Result<()> {
    for line in BufReader::new(stream.try_clone()?).lines() {
        if line?.is_empty() {
            break;
        }
    }
    let mut body = String::from("{\"events\":[");
    for number in *next..*next + PAGE {
        if number > *next {
            body.push(',');
        }
        event::put(&mut body, number);
    }
    *next += PAGE;
    body.push_str("],\"next\":null}");
    let mut answer = String::new();
    write!(
        answer,
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    Ok(stream.write_all(answer.as_bytes())?)
}
