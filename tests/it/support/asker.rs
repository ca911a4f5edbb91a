//! A client of the live lookups, as an MTA is one: it can send exactly the bytes it is told to.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection, of which both ends can be closed by themselves.
trait Stream: Read + Write + Send {
    fn end(&self) -> io::Result<()>;
}

impl Stream for UnixStream {
    fn end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Stream for TcpStream {
    fn end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// A connection over one of the protocols.
pub(crate) struct Asker {
    protocol: &'static str,
    stream: BufReader<Box<dyn Stream>>,
}

impl Asker {
    pub(crate) fn unix(protocol: &'static str, path: &Path) -> Asker {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Asker { protocol, stream: BufReader::new(Box::new(stream)) }
    }

    pub(crate) fn tcp(protocol: &'static str, to: SocketAddr) -> Asker {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Asker { protocol, stream: BufReader::new(Box::new(stream)) }
    }

    /// Asks about a recipient, and gives the answer without what frames it.
    pub(crate) fn ask(&mut self, recipient: &str) -> String {
        self.send(&request(self.protocol, recipient));
        self.answer().unwrap()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Closes our side; the server may have closed the whole.
    pub(crate) fn end(&self) {
        let _ = self.stream.get_ref().end();
    }

    /// The next answer; fails when the connection ends before it does.
    pub(crate) fn answer(&mut self) -> io::Result<String> {
        match self.protocol {
            "socketmap" => self.netstring(),
            "tcp-table" => self.line(),
            _ => {
                let answer = self.line()?;
                assert_eq!(self.line()?, "");
                Ok(answer)
            }
        }
    }

    /// All that still comes, until the server closes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).unwrap();
        rest
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let line = line.strip_suffix('\n').ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(line.to_owned())
    }

    fn netstring(&mut self) -> io::Result<String> {
        let mut length = Vec::new();
        self.stream.read_until(b':', &mut length)?;
        let length = String::from_utf8(length).unwrap();
        let length = length.strip_suffix(':').ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut content = vec![0; length.parse::<usize>().unwrap() + 1];
        self.stream.read_exact(&mut content)?;
        assert_eq!(content.pop(), Some(b','));
        Ok(String::from_utf8(content).unwrap())
    }
}

/// The bytes that ask about a recipient. What a protocol cannot carry is sent as it is, as by a
/// client that does not look.
pub(crate) fn request(protocol: &str, recipient: &str) -> Vec<u8> {
    match protocol {
        "socketmap" => netstring("access", recipient),
        "tcp-table" => {
            let encoded = |byte: u8| match byte {
                b'%' | 0..=b' ' | 0x7f.. => format!("%{byte:02X}"),
                plain => char::from(plain).to_string(),
            };
            format!("get {}\n", recipient.bytes().map(encoded).collect::<String>()).into_bytes()
        }
        _ => policy("sender@example.net", recipient),
    }
}

pub(crate) fn netstring(table: &str, key: &str) -> Vec<u8> {
    format!("{}:{table} {key},", table.len() + 1 + key.len()).into_bytes()
}

/// A request as Postfix makes it, but for the client's attributes.
pub(crate) fn policy(sender: &str, recipient: &str) -> Vec<u8> {
    format!(
        "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nsender={sender}\n\
         recipient={recipient}\nrecipient_count=0\n\n"
    )
    .into_bytes()
}
