//! A plain SMTP client: one line out, one reply in.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longest wait for a reply.
const REPLY_MAX: Duration = Duration::from_secs(20);

/// One session with an MTA.
pub(crate) struct Session {
    stream: BufReader<TcpStream>,
}

impl Session {
    /// Opens a session, and begins a message; `None` if nothing listens there yet.
    pub(crate) fn begin(port: u16, parameters: &str) -> Option<Session> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(REPLY_MAX)).unwrap();
        let mut session = Session { stream: BufReader::new(stream) };
        assert_eq!(session.reply().0, 220);
        session.expect("EHLO client.test", 250);
        session.mail(parameters);
        Some(session)
    }

    /// Begins a message.
    pub(crate) fn mail(&mut self, parameters: &str) {
        let line = format!("MAIL FROM:<sender@client.test> {parameters}");
        self.expect(line.trim_end(), 250);
    }

    /// Names a recipient; gives the code and the text of the answer.
    pub(crate) fn rcpt(&mut self, address: &str) -> (u16, String) {
        self.command(&format!("RCPT TO:<{address}>"))
    }

    /// Sends a message to those who were accepted; gives the answer to it.
    pub(crate) fn data(&mut self) -> (u16, String) {
        self.expect("DATA", 354);
        self.command("From: sender@client.test\r\nSubject: test\r\n\r\ntest\r\n.")
    }

    fn expect(&mut self, line: &str, code: u16) {
        let (got, text) = self.command(line);
        assert_eq!(got, code, "{line}: {text}");
    }

    fn command(&mut self, line: &str) -> (u16, String) {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
        self.reply()
    }

    fn reply(&mut self) -> (u16, String) {
        let mut line = Vec::new();
        loop {
            line.clear();
            // An MTA may answer in the bytes that it was asked with.
            assert_ne!(self.stream.read_until(b'\n', &mut line).unwrap(), 0, "the server hung up");
            let text = String::from_utf8_lossy(&line);
            if text.as_bytes()[3] != b'-' {
                return (text[..3].parse().unwrap(), text[4..].trim_end().to_owned());
            }
        }
    }
}
