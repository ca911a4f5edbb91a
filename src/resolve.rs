//! Finding the addresses of hosts, in threads of its own.
//!
//! `getaddrinfo` holds its thread until the resolver answers, and one that does not may take half a
//! minute. Tokio's blocking threads are for those who read the store and write files.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::flights::Flights;

/// Most names that are looked up at once, each in a thread.
const LOOKUPS_MAX: usize = 16;
/// Memory of a thread that looks up a name, in bytes.
const STACK: usize = 256 << 10;

/// What became of a lookup.
pub type Found = Result<Arc<[SocketAddr]>, Arc<str>>;

/// How a name is looked up, by a thread that may wait.
type Lookup = fn(&str) -> Found;

/// Looks names up. Cheap to clone.
#[derive(Clone)]
pub struct Resolver {
    flights: Arc<Flights<String, Found>>,
    lookup: Lookup,
}

impl Resolver {
    /// The system's.
    pub fn new() -> Resolver {
        Resolver::by(system)
    }

    fn by(lookup: Lookup) -> Resolver {
        Resolver { flights: Flights::new(LOOKUPS_MAX, LOOKUPS_MAX), lookup }
    }

    /// The addresses of a host, with port 0. One lookup is shared by all who ask meanwhile.
    ///
    /// # Errors
    /// When there are none, or too many lookups are under way.
    pub async fn resolve(&self, name: String) -> Found {
        let (lookup, asked) = (self.lookup, name.clone());
        let found = self.flights.join(name, "", move || in_a_thread(lookup, asked)).await;
        found.unwrap_or_else(|| Err("too many names are being looked up".into()))
    }
}

impl Default for Resolver {
    fn default() -> Resolver {
        Resolver::new()
    }
}

async fn in_a_thread(lookup: Lookup, name: String) -> Found {
    let (teller, told) = oneshot::channel();
    let thread = std::thread::Builder::new().name("resolve".to_owned()).stack_size(STACK);
    let started = thread.spawn(move || {
        // Nobody may be waiting any more.
        let _ = teller.send(lookup(&name));
    });
    started.map_err(|error| error.to_string())?;
    told.await.unwrap_or_else(|_| Err("the lookup ended early".into()))
}

fn system(name: &str) -> Found {
    (name, 0).to_socket_addrs().map(Iterator::collect).map_err(|error| error.to_string().into())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Condvar, Mutex};

    use super::*;

    static STARTED: AtomicUsize = AtomicUsize::new(0);
    static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

    /// A resolver that is silent until the gate opens.
    fn silent(_: &str) -> Found {
        STARTED.fetch_add(1, Ordering::SeqCst);
        let mut open = GATE.0.lock().unwrap();
        while !*open {
            open = GATE.1.wait(open).unwrap();
        }
        Ok([SocketAddr::from(([192, 0, 2, 1], 0))].into())
    }

    #[tokio::test]
    async fn a_silent_resolver_holds_a_thread_a_name_and_no_more_than_may_be() {
        let resolver = Resolver::by(silent);
        let ask = |name: usize| {
            let resolver = resolver.clone();
            tokio::spawn(async move { resolver.resolve(format!("host{name}.test")).await })
        };
        let mut asked = Vec::new();
        for _ in 0..50 {
            asked.extend((0..LOOKUPS_MAX).map(ask));
        }
        let beyond = ask(LOOKUPS_MAX).await.unwrap();
        assert_eq!(beyond, Err("too many names are being looked up".into()));
        *GATE.0.lock().unwrap() = true;
        GATE.1.notify_all();
        for asked in asked {
            assert!(asked.await.unwrap().is_ok());
        }
        assert_eq!(STARTED.load(Ordering::SeqCst), LOOKUPS_MAX);
    }

    #[tokio::test]
    async fn the_system_knows_this_host() {
        let found = Resolver::new().resolve("localhost".to_owned()).await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
        assert!(!found.is_empty());
    }
}
