//! The limit: a server that takes netstrings and sends each back, and knows nothing.

use std::path::Path;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// Serves until the runtime ends.
pub(crate) fn start(path: &Path) -> Result<()> {
    let listener = UnixListener::bind(path)?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo(stream));
        }
    });
    Ok(())
}

async fn echo(mut stream: UnixStream) {
    let mut inbox = Vec::with_capacity(16 << 10);
    while let Ok(1..) = stream.read_buf(&mut inbox).await {
        let mut used = 0;
        while let Some(length) = netstring(&inbox[used..]) {
            used += length;
        }
        if stream.write_all(&inbox[..used]).await.is_err() {
            return;
        }
        inbox.drain(..used);
    }
}

/// The length of the netstring at the front, if it is whole.
fn netstring(bytes: &[u8]) -> Option<usize> {
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let length: usize = std::str::from_utf8(&bytes[..colon]).ok()?.parse().ok()?;
    let whole = colon + length + 2;
    (bytes.len() >= whole).then_some(whole)
}
