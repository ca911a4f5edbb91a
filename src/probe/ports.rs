//! Whether ports and sockets can be bound. None is listened on.

use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;

use tokio::net::TcpSocket;

use super::Place;
use crate::config::{Problem, Weight};
use crate::listen::{Entry, Listen, holds_socket};

/// What cannot be bound. Where the daemon runs already, it may be it that has the place.
pub(super) fn taken(places: &[Place], control: &Path) -> Vec<Problem> {
    let running = UnixStream::connect(control).is_ok();
    let mut found = Vec::new();
    for Place { key, entry: Entry { listen, .. } } in places {
        let Err(error) = bind(listen) else { continue };
        let what = format!("cannot listen on {listen}: {error}");
        let problem = Problem::late(key, None, what, &listen.hint(&error));
        let weight = match error.kind() {
            io::ErrorKind::AddrInUse if running => Weight::Unchecked,
            _ => Weight::Fault,
        };
        let hint = match weight {
            Weight::Unchecked => "suppressd is running, and may be what has it".to_owned(),
            _ => problem.hint.clone(),
        };
        found.push(Problem { weight, hint, ..problem });
    }
    found
}

fn bind(listen: &Listen) -> io::Result<()> {
    match listen {
        Listen::Tcp(address) => {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            socket.set_reuseaddr(true)?;
            socket.bind(*address)
        }
        Listen::Unix(path) if UnixStream::connect(path).is_ok() => {
            Err(io::ErrorKind::AddrInUse.into())
        }
        Listen::Unix(path) => holds_socket(path).map(drop),
        Listen::Systemd => Ok(()),
    }
}
