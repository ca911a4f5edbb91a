//! The links between hosts and servers, each of which can be cut: what is sent over a link that is
//! cut waits, as on a network that drops packets, and nobody is told that it does.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

/// Which ways of a host's links are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    None,
    /// Nothing gets out of the host.
    Out,
    /// Nothing gets in.
    In,
    Both,
}

/// The links of one host, one to each server.
pub(crate) struct Links {
    on: Vec<SocketAddr>,
    state: Arc<State>,
}

struct State {
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    cut: Cut,
    over: bool,
    open: Vec<TcpStream>,
}

impl Links {
    /// Links to servers on these ports.
    pub(crate) fn to(ports: &[u16]) -> Links {
        let inner = Inner { cut: Cut::None, over: false, open: Vec::new() };
        let state = Arc::new(State { inner: Mutex::new(inner), changed: Condvar::new() });
        let on = ports.iter().map(|port| listen(*port, &state)).collect();
        Links { on, state }
    }

    /// Cuts them, or mends them.
    pub(crate) fn cut(&self, cut: Cut) {
        println!("the links on {:?}: {cut:?}", self.on);
        self.state.open().cut = cut;
        self.state.changed.notify_all();
    }

    /// Which ways are cut.
    pub(crate) fn is_cut(&self) -> Cut {
        self.state.open().cut
    }

    /// The list of their URLs, as the configuration has it.
    pub(crate) fn urls(&self) -> String {
        let url = |on: &SocketAddr| format!("\"nats://{on}\"");
        format!("[{}]", self.on.iter().map(url).collect::<Vec<_>>().join(", "))
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        let mut inner = self.state.open();
        inner.over = true;
        inner.open.drain(..).for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        drop(inner);
        self.state.changed.notify_all();
        // Who accepts looks at the flag when somebody connects.
        self.on.iter().for_each(|on| drop(TcpStream::connect(on)));
    }
}

impl State {
    fn open(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Waits until a way is open; says whether there are links at all.
    fn passes(&self, out: bool) -> bool {
        let way = if out { Cut::Out } else { Cut::In };
        let waits = |inner: &mut Inner| !inner.over && [way, Cut::Both].contains(&inner.cut);
        !self.changed.wait_while(self.open(), waits).unwrap().over
    }
}

/// Accepts for a server.
fn listen(port: u16, state: &Arc<State>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let on = listener.local_addr().unwrap();
    let state = Arc::clone(state);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if state.open().over {
                break;
            }
            // A server that is dead refuses.
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
            link(stream, server, &state);
        }
    });
    on
}

/// Carries both ways until either side ends.
fn link(host: TcpStream, server: TcpStream, state: &Arc<State>) {
    let pairs = [(&host, &server, true), (&server, &host, false)];
    for (from, to, out) in pairs {
        let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let state = Arc::clone(state);
        thread::spawn(move || carry(from, to, out, &state));
    }
    // Those that have ended are of no use.
    let mut inner = state.open();
    inner.open.retain(|stream| stream.peer_addr().is_ok());
    inner.open.extend([host, server]);
}

fn carry(mut from: TcpStream, mut to: TcpStream, out: bool, state: &State) {
    let mut bytes = [0; 16 << 10];
    while let Ok(read) = from.read(&mut bytes)
        && read > 0
        && state.passes(out)
        && to.write_all(&bytes[..read]).is_ok()
    {}
    // The end, too, does not pass a link that is cut.
    state.passes(out);
    drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
}
