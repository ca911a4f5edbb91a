//! Where mail goes that an MTA has let through: an SMTP server that takes all, and keeps the names.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How long a session may be silent.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// The server. It ends when it is dropped.
pub(crate) struct Sink {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The recipients of whole messages.
    recipients: Vec<String>,
    /// Whether mail is put off for now.
    deferring: bool,
    ended: bool,
}

impl Sink {
    /// Listens on a free port.
    pub(crate) fn start() -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.lock().unwrap().ended {
                    break;
                }
                let (stream, state) = (stream.unwrap(), shared.clone());
                // An MTA that hangs up has its reasons.
                thread::spawn(move || drop(serve(stream, &state)));
            }
        });
        Sink { address, state }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Whether a message to that address has come.
    pub(crate) fn has(&self, address: &str) -> bool {
        self.state.lock().unwrap().recipients.iter().any(|recipient| recipient == address)
    }

    /// Puts all recipients off, or takes them again.
    pub(crate) fn defer(&self, deferring: bool) {
        self.state.lock().unwrap().deferring = deferring;
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.state.lock().unwrap().ended = true;
        // The accepting thread looks when somebody connects.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(IDLE_MAX))?;
    let mut output = stream.try_clone()?;
    let mut lines = BufReader::new(stream).lines();
    let mut recipients = vec![];
    output.write_all(b"220 sink.test\r\n")?;
    while let Some(line) = lines.next().transpose()? {
        let upper = line.to_ascii_uppercase();
        let reply: &[u8] = match upper.split([' ', ':']).next() {
            Some("RCPT") if state.lock().unwrap().deferring => b"451 later\r\n",
            Some("RCPT") => {
                let address = line.split(['<', '>']).nth(1).unwrap_or_default();
                recipients.push(address.to_owned());
                b"250 ok\r\n"
            }
            Some("DATA") => {
                output.write_all(b"354 go on\r\n")?;
                while lines.next().transpose()?.is_some_and(|line| line != ".") {}
                state.lock().unwrap().recipients.append(&mut recipients);
                b"250 taken\r\n"
            }
            Some("QUIT") => return output.write_all(b"221 bye\r\n"),
            _ => b"250 ok\r\n",
        };
        output.write_all(reply)?;
    }
    Ok(())
}
