//! Forgetting people on all hosts: who is told to, tells the others, beside the stream, which would
//! keep the address for a week.

use tokio::sync::{mpsc, oneshot};

use super::letter::{Answer, Ask};
use super::{Fleet, Handle, link};
use crate::clock;

/// Addresses that another host wants forgotten here.
pub struct Wish {
    /// The addresses.
    pub addresses: Vec<String>,
    /// Told once they will be erased, whatever happens to this process; or why not.
    pub begun: oneshot::Sender<Result<(), String>>,
}

/// The way of wishes to who can fulfil them.
pub(super) struct Wishes {
    sender: mpsc::Sender<Wish>,
    receiver: tokio::sync::Mutex<mpsc::Receiver<Wish>>,
}

impl Wishes {
    pub(super) fn new() -> Wishes {
        let (sender, receiver) = mpsc::channel(1);
        Wishes { sender, receiver: tokio::sync::Mutex::new(receiver) }
    }
}

impl Fleet {
    /// Has addresses forgotten here that another host has forgotten.
    pub(super) async fn forget_here(&self, addresses: Vec<String>) -> Answer {
        let (begun, done) = oneshot::channel();
        // Who asks has a limit of its own.
        let sent = self.wishes.sender.send(Wish { addresses, begun }).await;
        match (sent, done.await) {
            (Ok(()), Ok(Ok(()))) => Answer::Begun,
            (Ok(()), Ok(Err(problem))) => Answer::Cannot(problem),
            _ => Answer::Cannot("it is stopping".to_owned()),
        }
    }
}

impl Handle {
    /// The next addresses that another host wants forgotten here.
    pub async fn to_forget(&self) -> Option<Wish> {
        self.0.wishes.receiver.lock().await.recv().await
    }

    /// Has all other hosts forget addresses: each host, with why it does not, if so.
    pub async fn forget(&self, addresses: &[String]) -> Vec<(String, Option<String>)> {
        let Handle(fleet) = self;
        let (now, mut told) = (clock::now(), Vec::new());
        let hosts = fleet.sight().known(now);
        for (host, lives) in hosts {
            let problem = match fleet.client.get().filter(|client| link::is_connected(client)) {
                None => Some("there is no connection".to_owned()),
                Some(_) if !lives => Some("nothing is heard of it".to_owned()),
                Some(client) => {
                    let ask = Ask::Forget { addresses: addresses.to_vec() };
                    match fleet.ask(client, &host, &ask).await {
                        Ok(Answer::Begun) => None,
                        Ok(other) => Some(super::ask::unexpected(other)),
                        Err(problem) => Some(problem),
                    }
                }
            };
            told.push((host.into(), problem));
        }
        told
    }
}
