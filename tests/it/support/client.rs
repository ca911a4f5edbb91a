//! A plain HTTP/1.1 client over TCP: it sends exactly the bytes it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The secret of the sources that tests configure.
pub(crate) const SECRET: &str = "test-secret";

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The head, as it came.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header, if it is there.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// The signature that the generic provider sends.
pub(crate) fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes())
}

/// A connection that can be used for several requests.
pub(crate) struct Client<S = TcpStream>(pub(crate) S);

impl Client {
    pub(crate) fn connect(to: SocketAddr) -> std::io::Result<Client> {
        let stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_nodelay(true)?;
        Ok(Client(stream))
    }
}

impl<S: Read + Write> Client<S> {
    /// Sends a request with these headers; a host and a length are added unless they have one.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<()> {
        let lacks = |name: &str| headers.iter().all(|(known, _)| !known.eq_ignore_ascii_case(name));
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if lacks("host") {
            head.push_str("host: localhost\r\n");
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if method == "POST" && lacks("content-length") {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        self.0.write_all(&[head.as_bytes(), body].concat())?;
        self.0.flush()
    }

    /// Reads one answer; fails when the connection ends before it does.
    pub(crate) fn answer(&mut self) -> std::io::Result<Answer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut answer = Answer {
            status: head[9..12].parse().map_err(std::io::Error::other)?,
            head,
            body: String::new(),
        };
        let length = answer.header("content-length").map_or(0, |n| n.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        answer.body = String::from_utf8_lossy(&body).into_owned();
        Ok(answer)
    }

    /// Sends a signed notification to `/hooks/test` and reads the answer.
    pub(crate) fn notify(&mut self, body: &str) -> std::io::Result<Answer> {
        let signature = sign(SECRET, body.as_bytes());
        let headers = [("x-webhook-signature", signature.as_str())];
        self.send("POST", "/hooks/test", &headers, body.as_bytes())?;
        self.answer()
    }
}

/// One request on a connection of its own.
pub(crate) fn request(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut client = Client::connect(to).unwrap();
    client.send(method, path, headers, body).unwrap();
    client.answer().unwrap()
}

/// One signed notification to `/hooks/test`.
pub(crate) fn notify(to: SocketAddr, body: &str) -> Answer {
    Client::connect(to).unwrap().notify(body).unwrap()
}

/// A signed notification to `/hooks/test` as it goes over the wire.
pub(crate) fn wire(body: &str) -> Vec<u8> {
    let signature = sign(SECRET, body.as_bytes());
    let head = format!(
        "POST /hooks/test HTTP/1.1\r\nhost: x\r\nx-webhook-signature: {signature}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// An event of the generic format, at a second of 2026.
pub(crate) fn event(kind: &str, address: &str, message: &str, second: u32) -> String {
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!(
        "{{\"event\":\"{kind}\",\"timestamp\":\"2026-06-15T{hour:02}:{minute:02}:{second:02}Z\",\
         \"message_id\":\"{message}\",\"recipient\":\"{address}\",\
         \"reason\":\"550 5.1.1 no such user\",\"smtp_code\":550}}"
    )
}
