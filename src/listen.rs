//! Where a listener listens, and the binding of it.
//!
//! Never accepts anything: whoever asked for the listener does.

mod named;

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{env, io};

use listenfd::ListenFd;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use named::Named;
pub use named::holds_socket;

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
    /// The sockets that systemd passes (`LISTEN_FDS`) for it, as [`Passed`] deals them.
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
        let port = text.rsplit(':').next().and_then(|port| port.parse::<u64>().ok());
        let wrong = || match port.filter(|port| *port > u16::MAX.into()) {
            Some(port) => format!("{text:?} has port {port}, and the last is {}", u16::MAX),
            None => format!("{text:?} is not \"address:port\", \"unix:/path\" or \"systemd\""),
        };
        text.parse().map(Listen::Tcp).map_err(|_| wrong())
    }

    /// What to do where it cannot be bound.
    pub fn hint(&self, error: &io::Error) -> String {
        use io::ErrorKind::{
            AddrInUse, AddrNotAvailable, AlreadyExists, NotADirectory, ReadOnlyFilesystem,
        };
        let denied = error.raw_os_error().map(Errno::from_raw);
        let hint = match (self, error.kind(), denied) {
            (Listen::Systemd, ..) => "enable suppressd.socket, and start it",
            (Listen::Tcp(_), AddrInUse, _) => {
                "another program has it: `ss -ltnp` names it; if systemd does, \
                 `systemctl disable --now suppressd.socket` takes it away"
            }
            (_, AddrInUse, _) => "another program listens there: stop it, or choose another path",
            (_, AlreadyExists, _) => "move the file away, or choose another path",
            (_, AddrNotAvailable, _) => "this host has no such address: `ip address` lists them",
            (Listen::Tcp(address), _, Some(Errno::EPERM)) => {
                let port = address.port();
                return format!("the unit forbids it: add SocketBindAllow=tcp:{port} to it");
            }
            (Listen::Tcp(_), _, Some(Errno::EACCES)) => {
                "a port below 1024 is not for every user: use suppressd.socket, or a proxy"
            }
            (Listen::Unix(_), _, Some(Errno::EPERM)) => {
                "is suppressd in that group, and has the unit SystemCallFilter=@chown?"
            }
            (Listen::Unix(_), _, Some(Errno::EACCES)) => "let suppressd write in the directory",
            (_, ReadOnlyFilesystem, _) => "choose a path in /run/suppressd, or add ReadWritePaths=",
            (_, NotADirectory, _) => "a part of the path is a file: choose another",
            _ => "choose another address or path",
        };
        hint.to_owned()
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

/// An entry of a listener: where it is to listen, and who may reach it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub listen: Listen,
    /// Permissions of a Unix socket.
    pub mode: u32,
    /// The group of a Unix socket, as a group id. `None`: ours.
    pub group: Option<u32>,
}

/// A bound listener: the sockets of its entries. Clones share them; one is closed, and its file
/// removed, when the last of them is dropped.
#[derive(Clone, Debug, Default)]
pub struct Listener {
    sockets: Vec<Arc<Bound>>,
    /// The socket that is asked first for the next connection, so that each has its turn.
    next: usize,
}

/// A socket, and what it was bound for.
#[derive(Debug)]
struct Bound {
    socket: Socket,
    listen: Listen,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    /// One that systemd has passed.
    Unix(UnixListener),
    Named(Named),
}

/// An accepted connection.
#[derive(Debug)]
pub enum Connection {
    /// On TCP, from this peer.
    Tcp(TcpStream, SocketAddr),
    /// On a Unix socket.
    Unix(UnixStream),
}

impl Connection {
    /// Whether its client has left, so that no answer reaches anybody.
    pub fn is_left(&self) -> bool {
        let socket = match self {
            Connection::Tcp(stream, _) => stream.as_fd(),
            Connection::Unix(stream) => stream.as_fd(),
        };
        let mut asked = [PollFd::new(socket, PollFlags::empty())];
        let answer = poll(&mut asked, PollTimeout::ZERO);
        let left = PollFlags::POLLHUP | PollFlags::POLLERR;
        answer.is_ok() && asked[0].revents().is_some_and(|seen| seen.intersects(left))
    }
}

impl Listener {
    /// Binds an entry. A Unix socket that a dead process left behind is replaced. What systemd has
    /// bound is taken from `passed`.
    ///
    /// # Errors
    /// When the address is taken or not ours, or the group is not ours.
    pub fn bind(entry: &Entry, passed: &mut Passed) -> io::Result<Listener> {
        let sockets = match &entry.listen {
            Listen::Tcp(address) => {
                let socket = match address {
                    SocketAddr::V4(_) => TcpSocket::new_v4()?,
                    SocketAddr::V6(_) => TcpSocket::new_v6()?,
                };
                socket.set_reuseaddr(true)?;
                socket.bind(*address)?;
                vec![Socket::Tcp(socket.listen(BACKLOG)?)]
            }
            Listen::Unix(path) => vec![Socket::Named(Named::bind(path, entry)?)],
            Listen::Systemd => passed.next()?,
        };
        let bound = |socket| Arc::new(Bound { socket, listen: entry.listen.clone() });
        Ok(Listener { sockets: sockets.into_iter().map(bound).collect(), next: 0 })
    }

    /// The sockets that are bound for an entry already, if there are any: for what is listened on
    /// from a reload on. One of them keeps its clients, whoever may reach it from now on.
    ///
    /// # Errors
    /// When the group is not ours, or the file of a Unix socket is gone, and cannot be made again.
    pub fn of_entry(&self, entry: &Entry) -> io::Result<Option<Listener>> {
        let kept = self.sockets.iter().filter(|bound| bound.listen == entry.listen);
        let sockets: Vec<Arc<Bound>> = kept.cloned().collect();
        for bound in &sockets {
            if let Socket::Named(named) = &bound.socket {
                named.admit(entry)?;
            }
        }
        Ok((!sockets.is_empty()).then_some(Listener { sockets, next: 0 }))
    }

    /// Listens on the sockets of another, too.
    pub fn join(&mut self, other: Listener) {
        self.sockets.extend(other.sockets);
    }

    /// The next connection.
    ///
    /// # Errors
    /// Those of `accept(2)`; most pass by themselves.
    pub async fn accept(&mut self) -> io::Result<Connection> {
        poll_fn(|context| {
            let (last, first) = self.sockets.split_at(self.next);
            for (ahead, socket) in first.iter().chain(last).enumerate() {
                if let Poll::Ready(accepted) = socket.socket.poll_accept(context) {
                    self.next = (self.next + ahead + 1) % self.sockets.len();
                    return Poll::Ready(accepted);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Makes the Unix sockets again whose files another hand has taken away; gives their paths,
    /// each with why it could not be, if it could not.
    pub fn mend(&self) -> Vec<(PathBuf, io::Result<()>)> {
        let mended = |bound: &Arc<Bound>| match &bound.socket {
            Socket::Named(named) => match named.mend() {
                Ok(false) => None,
                mended => Some((named.path().to_owned(), mended.map(drop))),
            },
            Socket::Tcp(_) | Socket::Unix(_) => None,
        };
        self.sockets.iter().filter_map(mended).collect()
    }

    /// Whether only programs on this host can reach it.
    pub fn is_local(&self) -> bool {
        let is_local = |bound: &Arc<Bound>| bound.socket.place().is_ok_and(|at| at.is_local());
        self.sockets.iter().all(is_local)
    }

    /// Where each of its sockets is bound, as the log shows it.
    pub fn shown(&self) -> Vec<String> {
        let shown = |bound: &Arc<Bound>| bound.socket.place().map(|place| place.to_string());
        self.sockets.iter().map(|bound| shown(bound).unwrap_or_default()).collect()
    }

    /// Where its first socket is bound; tells the port where 0 was asked for.
    pub fn place(&self) -> Option<Listen> {
        self.sockets.first()?.socket.place().ok()
    }
}

impl Socket {
    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<Connection>> {
        match self {
            Socket::Tcp(socket) => {
                let accepted = socket.poll_accept(context);
                accepted.map_ok(|(stream, peer)| Connection::Tcp(stream, peer))
            }
            Socket::Unix(socket) => {
                socket.poll_accept(context).map_ok(|(stream, _)| Connection::Unix(stream))
            }
            Socket::Named(named) => named.poll_accept(context).map_ok(Connection::Unix),
        }
    }

    fn place(&self) -> io::Result<Listen> {
        match self {
            Socket::Tcp(socket) => {
                let address = socket.local_addr()?;
                // A socket for both families shows IPv4 addresses in the form of IPv6.
                let ip = address.ip().to_canonical();
                Ok(Listen::Tcp(SocketAddr::new(ip, address.port())))
            }
            Socket::Unix(socket) => {
                let address = socket.local_addr()?;
                Ok(Listen::Unix(address.as_pathname().unwrap_or(Path::new("")).to_owned()))
            }
            Socket::Named(named) => Ok(Listen::Unix(named.path().to_owned())),
        }
    }
}

/// The `FileDescriptorName=` of a socket that is for the command line.
const CONTROL: &str = "control";

/// The sockets that systemd has passed, dealt among the listeners that take some.
///
/// One whose `FileDescriptorName=` (systemd.socket(5)) is a listener's name is for that listener.
/// Of the others, in their order, each listener without a socket gets one, and the first listener
/// all that is left. None stays without a listener: its clients would wait for ever.
#[derive(Debug, Default)]
pub struct Passed {
    control: Option<Listener>,
    dealt: VecDeque<Vec<Socket>>,
}

impl Passed {
    /// Deals what systemd has passed. `takers` are the names of the listeners that take some, in
    /// the order in which they will be bound.
    ///
    /// # Errors
    /// When a socket is for no listener, or is none that can be listened on.
    pub fn receive(takers: &[&str]) -> io::Result<Passed> {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let mut given = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..given.len() {
            sockets.push((names.next().unwrap_or_default(), take(&mut given, index)?));
        }
        let (dealt, control) = deal(takers, sockets).map_err(io::Error::other)?;
        let bound = |socket| Arc::new(Bound { socket, listen: Listen::Systemd });
        let control: Vec<Arc<Bound>> = control.into_iter().map(bound).collect();
        let control = (!control.is_empty()).then_some(Listener { sockets: control, next: 0 });
        Ok(Passed { control, dealt: dealt.into() })
    }

    /// The listener that is to be the control socket, if systemd has bound one.
    pub fn control(&mut self) -> Option<Listener> {
        self.control.take()
    }

    /// The sockets of the next listener that takes some.
    fn next(&mut self) -> io::Result<Vec<Socket>> {
        let none = || io::Error::new(io::ErrorKind::NotFound, "systemd passed no socket for it");
        let sockets = self.dealt.pop_front().filter(|sockets| !sockets.is_empty());
        sockets.ok_or_else(none)
    }
}

/// Takes one socket that was passed, TCP or Unix.
fn take(given: &mut ListenFd, index: usize) -> io::Result<Socket> {
    if let Ok(Some(socket)) = given.take_tcp_listener(index) {
        socket.set_nonblocking(true)?;
        return TcpListener::from_std(socket).map(Socket::Tcp);
    }
    let nothing = || io::Error::other(format!("systemd passed no {}. socket", index + 1));
    let socket = given.take_unix_listener(index).and_then(|socket| socket.ok_or_else(nothing));
    let socket = socket.map_err(|error| {
        let hint = "suppressd serves ListenStream= only";
        io::Error::new(error.kind(), format!("socket {} of systemd: {error} ({hint})", index + 1))
    })?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket).map(Socket::Unix)
}

/// What to do about a socket of systemd's that the listener does not take.
pub fn untaken(listener: &str) -> String {
    let unit = "`systemctl disable --now suppressd.socket`";
    format!("set {listener}.listen = \"systemd\", or run {unit}")
}

/// The sockets of each taker, and those for the command line.
fn deal<S>(takers: &[&str], sockets: Vec<(String, S)>) -> Result<(Vec<Vec<S>>, Vec<S>), String> {
    let mut dealt: Vec<Vec<S>> = takers.iter().map(|_| Vec::new()).collect();
    let (mut control, mut others) = (Vec::new(), Vec::new());
    for (name, socket) in sockets {
        let named = takers.iter().zip(&mut dealt).filter(|(taker, _)| **taker == name);
        // Several lookups have one name: each gets one, the last what is left.
        let mut named: Vec<&mut Vec<S>> = named.map(|(_, sockets)| sockets).collect();
        let free = named.iter().position(|sockets| sockets.is_empty());
        if name == CONTROL {
            control.push(socket);
        } else if let Some(last) = named.len().checked_sub(1) {
            named.swap_remove(free.unwrap_or(last)).push(socket);
        } else if ["http", "admin", "lookup"].contains(&name.as_str()) {
            return Err(format!("systemd passed a socket called {name} ({})", untaken(&name)));
        } else {
            others.push(socket);
        }
    }
    for socket in others {
        let free = dealt.iter().position(Vec::is_empty).unwrap_or(0);
        let Some(sockets) = dealt.get_mut(free) else {
            let hint = untaken("http");
            return Err(format!("systemd passed a socket that no listener takes ({hint})"));
        };
        sockets.push(socket);
    }
    Ok((dealt, control))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each taker gets of sockets by these names, by their numbers; the control socket last.
    fn dealt(takers: &[&str], names: &[&str]) -> Result<Vec<Vec<usize>>, String> {
        let sockets = names.iter().enumerate().map(|(n, name)| ((*name).to_owned(), n)).collect();
        let (mut dealt, control) = deal(takers, sockets)?;
        dealt.push(control);
        Ok(dealt)
    }

    #[test]
    fn every_socket_is_dealt() {
        let unit = "suppressd.socket";
        for (takers, names, expected) in [
            (&["http"][..], &[unit, unit][..], &[&[0, 1][..], &[]][..]),
            (&["http", "admin"], &[unit, unit, unit], &[&[0, 2], &[1], &[]]),
            (&["http", "admin"], &["admin", unit, "http"], &[&[2, 1], &[0], &[]]),
            (&["http", "admin"], &["admin", unit, unit], &[&[1, 2], &[0], &[]]),
            (&["http"], &["control", unit], &[&[1], &[0]]),
            (&["lookup", "lookup"], &["lookup"; 3], &[&[0], &[1, 2], &[]]),
            (&["admin"], &[], &[&[], &[]]),
        ] {
            assert_eq!(dealt(takers, names).unwrap(), expected, "{takers:?} {names:?}");
        }
    }

    #[test]
    fn a_socket_that_nobody_takes_is_refused() {
        let said = dealt(&[], &["suppressd.socket"]).unwrap_err();
        assert!(said.contains("http.listen"), "{said}");
        assert!(said.contains("`systemctl disable --now suppressd.socket`"), "{said}");
        assert!(dealt(&["http"], &["admin"]).unwrap_err().contains("admin.listen"));
    }
}
