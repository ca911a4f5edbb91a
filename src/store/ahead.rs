//! A scan that reads ahead: a thread fetches pairs from sled while the caller decodes and uses the
//! ones before. More than half of a scan is sled's fetching.
//!
//! Holds a bounded number of pairs, and no longer a store than the scan itself.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, JoinHandle};

use sled::IVec;

use super::StoreError;

/// Pairs that are handed over at once.
const PAIRS: usize = 512;
/// Most hands full that wait.
const WAITING: usize = 8;

type Pair = Result<(IVec, IVec), StoreError>;

/// The pairs of a range, in its order.
pub(super) struct Ahead {
    pairs: std::vec::IntoIter<Pair>,
    /// `None` only once it is dropped, so that the thread ends.
    more: Option<Receiver<Vec<Pair>>>,
    thread: Option<JoinHandle<()>>,
}

impl Ahead {
    /// Begins to read. A thread that cannot be had is an error of the scan.
    pub(super) fn of(range: sled::Iter) -> Ahead {
        let (send, more) = sync_channel(WAITING);
        let fetch = move || {
            let mut range = range.map(|pair| pair.map_err(StoreError::from));
            loop {
                let pairs: Vec<Pair> = range.by_ref().take(PAIRS).collect();
                if pairs.is_empty() || send.send(pairs).is_err() {
                    return;
                }
            }
        };
        let (first, thread) = match Builder::new().name("scan".to_owned()).spawn(fetch) {
            Ok(thread) => (Vec::new(), Some(thread)),
            Err(error) => (vec![Err(error.into())], None),
        };
        Ahead { pairs: first.into_iter(), more: Some(more), thread }
    }
}

impl Iterator for Ahead {
    type Item = Pair;

    fn next(&mut self) -> Option<Pair> {
        if let Some(pair) = self.pairs.next() {
            return Some(pair);
        }
        match self.more.as_ref()?.recv() {
            Ok(pairs) => {
                self.pairs = pairs.into_iter();
                self.pairs.next()
            }
            // The end of the range; or sled gave up, which must not pass for it.
            Err(_) => self.thread.take()?.join().err().map(|_| Err(gave_up())),
        }
    }
}

fn gave_up() -> StoreError {
    StoreError::Damaged("sled gave up on a scan".to_owned())
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.more = None;
        if let Some(thread) = self.thread.take() {
            // sled is let go of before whoever scans goes on.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(rows: u32) -> (tempfile::TempDir, sled::Db) {
        let directory = tempfile::tempdir().unwrap();
        let db = sled::open(directory.path()).unwrap();
        for row in 0..rows {
            db.insert(row.to_be_bytes(), b"value").unwrap();
        }
        (directory, db)
    }

    #[test]
    fn every_pair_comes_in_order_and_a_scan_may_be_left() {
        for rows in [0, 1, 511, 512, 513, 20_000] {
            let (_directory, db) = tree(rows);
            let keys = Ahead::of(db.iter()).map(|pair| pair.unwrap().0);
            assert!(keys.eq((0..rows).map(|row| row.to_be_bytes())), "{rows}");
        }
        let (directory, db) = tree(20_000);
        let mut left = Ahead::of(db.iter());
        assert!(left.next().is_some());
        drop(left);
        drop(db);
        assert!(sled::open(directory.path()).is_ok(), "nothing holds it any more");
    }

    #[test]
    fn a_panic_is_an_error_and_not_an_end() {
        let (send, more) = sync_channel(1);
        let thread = std::thread::spawn(move || {
            send.send(vec![Ok((IVec::from(b"a"), IVec::from(b"b")))]).unwrap();
            panic!("as sled does");
        });
        let pairs = Vec::new().into_iter();
        let mut scan = Ahead { pairs, more: Some(more), thread: Some(thread) };
        assert!(matches!(scan.next(), Some(Ok(_))));
        assert_eq!(scan.next(), Some(Err(gave_up())));
        assert_eq!(scan.next(), None);
    }
}
