//! Where a listener listens, and the binding of it.
//!
//! Never accepts anything: whoever asked for the listener does.

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::{fs, io};

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

/// Connections that wait to be accepted. Beyond it the system makes clients wait for seconds; the
/// usual 128 are soon taken by those who mean no good.
const BACKLOG: u32 = 4_096;

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
    /// The socket that systemd passes (`LISTEN_FDS`), the first one not yet taken.
    Systemd,
}

impl Listen {
    /// From `address:port`, `unix:/path` or `systemd`.
    ///
    /// # Errors
    /// Says what the text must be.
    pub fn parse(text: &str) -> Result<Listen, String> {
        if text == "systemd" {
            return Ok(Listen::Systemd);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err("the path of the Unix socket is empty".to_owned())
            } else {
                Ok(Listen::Unix(path.into()))
            };
        }
        text.parse()
            .map(Listen::Tcp)
            .map_err(|_| format!("{text:?} is not \"address:port\", \"unix:/path\" or \"systemd\""))
    }

    /// Whether only programs on this host can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Listen::Tcp(address) => address.ip().is_loopback(),
            Listen::Unix(_) => true,
            Listen::Systemd => false,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => write!(f, "{address}"),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
            Listen::Systemd => f.write_str("systemd"),
        }
    }
}

/// A bound listener.
#[derive(Debug)]
pub enum Listener {
    /// On TCP.
    Tcp(TcpListener),
    /// On a Unix socket.
    Unix(UnixListener),
}

/// An accepted connection.
#[derive(Debug)]
pub enum Connection {
    /// On TCP, from this peer.
    Tcp(TcpStream, SocketAddr),
    /// On a Unix socket.
    Unix(UnixStream),
}

impl Listener {
    /// Binds. A Unix socket gets `mode`, and `group` if one is given, as a group id; one that a
    /// dead process left behind is replaced.
    ///
    /// # Errors
    /// When the address is taken or not ours, the group is not ours, or systemd passed no socket.
    pub fn bind(listen: &Listen, mode: u32, group: Option<u32>) -> io::Result<Listener> {
        match listen {
            Listen::Tcp(address) => {
                let socket = match address {
                    SocketAddr::V4(_) => TcpSocket::new_v4()?,
                    SocketAddr::V6(_) => TcpSocket::new_v6()?,
                };
                socket.set_reuseaddr(true)?;
                socket.bind(*address)?;
                socket.listen(BACKLOG).map(Listener::Tcp)
            }
            Listen::Unix(path) => {
                let socket = bind_unix(path, mode, group)?;
                socket.set_nonblocking(true)?;
                UnixListener::from_std(socket).map(Listener::Unix)
            }
            Listen::Systemd => from_systemd(),
        }
    }

    /// The next connection.
    ///
    /// # Errors
    /// Those of `accept(2)`; most pass by themselves.
    pub async fn accept(&self) -> io::Result<Connection> {
        match self {
            Listener::Tcp(socket) => {
                socket.accept().await.map(|(stream, peer)| Connection::Tcp(stream, peer))
            }
            Listener::Unix(socket) => {
                socket.accept().await.map(|(stream, _)| Connection::Unix(stream))
            }
        }
    }

    /// Whether only programs on this host can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Listener::Tcp(socket) => {
                socket.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback())
            }
            Listener::Unix(_) => true,
        }
    }

    /// Where it is bound, as the log shows it.
    pub fn shown(&self) -> String {
        match self {
            Listener::Tcp(socket) => socket.local_addr().map(|a| a.to_string()),
            Listener::Unix(socket) => socket.local_addr().map(|address| {
                let path = address.as_pathname().unwrap_or(Path::new("")).display().to_string();
                format!("unix:{path}")
            }),
        }
        .unwrap_or_default()
    }

    /// The address it is bound to; tells the port where 0 was asked for.
    pub fn local(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(socket) => socket.local_addr().ok(),
            Listener::Unix(_) => None,
        }
    }
}

fn bind_unix(path: &Path, mode: u32, group: Option<u32>) -> io::Result<StdUnixListener> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if is_socket && StdUnixStream::connect(path).is_err() {
        fs::remove_file(path)?;
    }
    let socket = StdUnixListener::bind(path)?;
    if group.is_some() {
        chown(path, None, group)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(socket)
}

/// Reading the environment clears it, so several listeners share what was read once.
static PASSED: LazyLock<Mutex<ListenFd>> = LazyLock::new(|| Mutex::new(ListenFd::from_env()));

fn from_systemd() -> io::Result<Listener> {
    let none = || io::Error::new(io::ErrorKind::NotFound, "systemd passed no listening socket");
    let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    for index in 0..passed.len() {
        if let Ok(Some(socket)) = passed.take_tcp_listener(index) {
            socket.set_nonblocking(true)?;
            return TcpListener::from_std(socket).map(Listener::Tcp);
        }
        if let Ok(Some(socket)) = passed.take_unix_listener(index) {
            socket.set_nonblocking(true)?;
            return UnixListener::from_std(socket).map(Listener::Unix);
        }
    }
    Err(none())
}
