//! One budget for all bytes that were received and are not yet durable, whoever sent them.
//!
//! A body takes its part as it grows. When the budget is short, the bodies that are still being
//! sent give way, oldest first, beginning with the sender that holds most. What reading the large
//! ones takes has a budget of the same size beside it, which they get in turn. Knows no sockets.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

/// The part of the budget that one sender may hold, as a divisor.
const SENDERS: usize = 2;

/// A body that is still being sent and holds more than this, in bytes, leaves a part of the budget
/// to smaller ones, as a divisor: most that matter are small.
const SMALL: usize = 64 << 10;
const SMALL_PART: usize = 8;

/// Longest wait for what others were asked to give up.
const YIELD_WAIT: Duration = Duration::from_millis(500);

/// Longest wait of a body that is whole for its turn to be read.
const WORK_WAIT: Duration = Duration::from_secs(10);

/// What the room for reading is counted in, in bytes.
const WORK_UNIT: usize = 1 << 10;

/// There is no room for so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many bytes wait to be made durable")]
pub struct NoRoom;

/// The budget. Cheap to clone.
#[derive(Clone)]
pub struct Room(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    freed: Notify,
}

struct State {
    total: usize,
    /// What reading the large ones may take, in units.
    work: Arc<Semaphore>,
    used: usize,
    senders: HashMap<IpAddr, usize>,
    /// What is still being sent, oldest first.
    unfinished: BTreeMap<u64, Unfinished>,
    next: u64,
}

struct Unfinished {
    sender: Option<IpAddr>,
    bytes: usize,
    yields: Arc<Yields>,
}

#[derive(Default)]
struct Yields {
    asked: AtomicBool,
    told: Notify,
}

/// What one body holds of the budget. All of it is given back when this is dropped.
pub struct Share {
    room: Room,
    number: u64,
    sender: Option<IpAddr>,
    bytes: usize,
    yields: Arc<Yields>,
    work: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// With so many bytes.
    pub fn new(total: usize) -> Room {
        let state = State {
            total,
            work: work(total),
            used: 0,
            senders: HashMap::new(),
            unfinished: BTreeMap::new(),
            next: 0,
        };
        Room(Arc::new(Inner { state: Mutex::new(state), freed: Notify::new() }))
    }

    /// Has so many bytes from now on. What is held beyond them is only given back.
    pub fn resize(&self, total: usize) {
        let mut state = self.state();
        if state.total != total {
            (state.total, state.work) = (total, work(total));
        }
        drop(state);
        self.0.freed.notify_waiters();
    }

    /// The share of a body that is being sent, empty at first. Without a sender it is our own, or
    /// that of a program on this host, and may be all of the budget.
    pub fn share(&self, sender: Option<IpAddr>) -> Share {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        let yields = Arc::new(Yields::default());
        let unfinished = Unfinished { sender, bytes: 0, yields: Arc::clone(&yields) };
        state.unfinished.insert(number, unfinished);
        Share { room: self.clone(), number, sender, bytes: 0, yields, work: None }
    }

    /// A share of our own with so many bytes, or with all where it is more than the budget has.
    ///
    /// # Errors
    /// When it is not there at once; then it was asked for.
    pub fn take(&self, bytes: usize) -> Result<Share, NoRoom> {
        let mut share = self.share(None);
        share.finish();
        let total = self.state().total;
        share.grow(bytes.min(total))?;
        Ok(share)
    }

    /// Bytes that are held, and how many may be.
    pub fn used(&self) -> (usize, usize) {
        let state = self.state();
        (state.used, state.total)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn work(total: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(total.div_ceil(WORK_UNIT).min(Semaphore::MAX_PERMITS)))
}

impl State {
    fn held_by(&self, sender: IpAddr) -> usize {
        self.senders.get(&sender).copied().unwrap_or(0)
    }

    /// Asks unfinished bodies for so many bytes: of one sender, or of whoever holds most.
    fn ask(&self, mut bytes: usize, of: Option<IpAddr>, but: u64) {
        let mut held: HashMap<Option<IpAddr>, usize> = HashMap::new();
        for body in self.unfinished.values() {
            *held.entry(body.sender).or_default() += body.bytes;
        }
        let mut bodies: Vec<_> =
            self.unfinished.iter().filter(|(_, body)| body.bytes > 0).collect();
        bodies.sort_by_key(|(number, body)| {
            let most = held.get(&body.sender).copied().unwrap_or(0);
            (std::cmp::Reverse(most), **number)
        });
        let asked = |(number, body): &(&u64, &Unfinished)| {
            **number != but && (of.is_none() || body.sender == of)
        };
        for (_, body) in bodies.into_iter().filter(asked) {
            if bytes == 0 {
                return;
            }
            bytes = bytes.saturating_sub(body.bytes);
            body.yields.asked.store(true, Ordering::Release);
            body.yields.told.notify_one();
        }
    }
}

impl Share {
    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes more bytes.
    ///
    /// # Errors
    /// When they are not there. Then others were asked to give way.
    pub fn grow(&mut self, more: usize) -> Result<(), NoRoom> {
        let room = self.room.clone();
        let mut state = room.state();
        if let Some(sender) = self.sender {
            let over = state.held_by(sender) + more;
            if over > state.total / SENDERS {
                state.ask(over - state.total / SENDERS, self.sender, self.number);
                return Err(NoRoom);
            }
        }
        let is_large = self.bytes + more > SMALL && state.unfinished.contains_key(&self.number);
        let kept = if is_large { state.total / SMALL_PART } else { 0 };
        let over = (state.used + kept + more).saturating_sub(state.total);
        if over > 0 {
            state.ask(over, None, self.number);
            return Err(NoRoom);
        }
        self.add(&mut state, more);
        Ok(())
    }

    fn add(&mut self, state: &mut State, more: usize) {
        state.used += more;
        self.bytes += more;
        self.note(state, more as isize);
    }

    /// Takes more bytes, after a short wait if others must give way.
    ///
    /// # Errors
    /// When they do not.
    pub async fn demand(&mut self, more: usize) -> Result<(), NoRoom> {
        let room = self.room.clone();
        let deadline = Instant::now() + YIELD_WAIT;
        loop {
            let mut freed = std::pin::pin!(room.0.freed.notified());
            // From here on what is freed is heard of.
            freed.as_mut().enable();
            if self.grow(more).is_ok() {
                return Ok(());
            }
            if more > room.used().1 || timeout_at(deadline, freed).await.is_err() {
                return Err(NoRoom);
            }
        }
    }

    /// Takes room for reading what is here, so many bytes, or all there is of it, in turn.
    ///
    /// # Errors
    /// When its turn does not come.
    pub async fn work(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let (work, most) = {
            let state = self.room.state();
            (Arc::clone(&state.work), state.total.div_ceil(WORK_UNIT))
        };
        let units = u32::try_from(bytes.div_ceil(WORK_UNIT).min(most)).unwrap_or(u32::MAX);
        let turn = timeout(WORK_WAIT, work.acquire_many_owned(units)).await;
        self.work = Some(turn.map_err(|_| NoRoom)?.map_err(|_| NoRoom)?);
        Ok(())
    }

    /// It is read, and so many bytes are left of it, or all of the budget where they are more. What
    /// was read in turn has room for them.
    ///
    /// # Errors
    /// When there is none. Then others were asked to give way.
    pub fn settle(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let bytes = bytes.min(self.room.used().1);
        let more = bytes.saturating_sub(self.bytes);
        if self.work.take().is_some() {
            self.add(&mut self.room.clone().state(), more);
        } else {
            self.grow(more)?;
        }
        self.shrink_to(bytes);
        Ok(())
    }

    /// Gives back all but so many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        if less == 0 {
            return;
        }
        let mut state = self.room.state();
        state.used -= less;
        self.bytes -= less;
        self.note(&mut state, -(less as isize));
        drop(state);
        self.room.0.freed.notify_waiters();
    }

    /// All of it is here: from now on it does not give way.
    pub fn finish(&mut self) {
        self.room.state().unfinished.remove(&self.number);
    }

    /// Waits until it must give way.
    pub async fn unwanted(&self) {
        while !self.yields.asked.load(Ordering::Acquire) {
            self.yields.told.notified().await;
        }
    }

    /// Keeps the books by sender and by body.
    fn note(&self, state: &mut State, change: isize) {
        if let Some(body) = state.unfinished.get_mut(&self.number) {
            body.bytes = body.bytes.saturating_add_signed(change);
        }
        let Some(sender) = self.sender else { return };
        let held = state.senders.entry(sender).or_default();
        *held = held.saturating_add_signed(change);
        if *held == 0 {
            state.senders.remove(&sender);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink_to(0);
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    fn is_asked(share: &Share) -> bool {
        share.yields.asked.load(Ordering::Acquire)
    }

    #[test]
    fn what_is_held_is_given_back() {
        let room = Room::new(100);
        let mut share = room.share(host(1));
        share.grow(40).unwrap();
        assert_eq!(share.grow(11), Err(NoRoom), "half of it is for others");
        share.shrink_to(10);
        assert_eq!(room.used(), (10, 100));
        drop(share);
        assert_eq!(room.used(), (0, 100));
        assert!(room.state().senders.is_empty() && room.state().unfinished.is_empty());
        assert_eq!(room.take(1_000).unwrap().bytes(), 100, "the largest takes all");
    }

    #[test]
    fn another_size_counts_from_now_on() {
        let room = Room::new(100);
        let old = room.take(80).unwrap();
        room.resize(50);
        assert_eq!((room.used(), room.take(1).err()), ((80, 50), Some(NoRoom)));
        drop(old);
        assert_eq!(room.take(1_000).unwrap().bytes(), 50);
    }

    #[test]
    fn the_oldest_of_who_holds_most_gives_way() {
        let room = Room::new(100);
        let mut shares = [(1, 10), (2, 20), (2, 25), (3, 20)].map(|(sender, bytes)| {
            let mut share = room.share(host(sender));
            share.grow(bytes).unwrap();
            share
        });
        let mut late = room.share(host(4));
        assert_eq!(late.grow(40), Err(NoRoom));
        assert_eq!(shares.each_ref().map(is_asked), [false, true, false, false]);
        shares[2].finish();
        assert_eq!(late.grow(48), Err(NoRoom), "one that is whole stays");
        assert_eq!(shares.each_ref().map(is_asked), [false, true, false, true]);
    }

    #[test]
    fn large_bodies_leave_a_part_to_small_ones() {
        let room = Room::new(8 * SMALL);
        let mut large = room.share(None);
        assert_eq!(large.grow(8 * SMALL), Err(NoRoom));
        large.grow(7 * SMALL).unwrap();
        assert_eq!(room.share(None).grow(SMALL + 1), Err(NoRoom));
        room.share(None).grow(SMALL).unwrap();
        large.finish();
        large.grow(SMALL).unwrap();
    }

    #[test]
    fn a_sender_with_its_share_makes_its_own_give_way() {
        let room = Room::new(100);
        let mut own = room.share(host(1));
        let mut other = room.share(host(2));
        own.grow(30).unwrap();
        other.grow(40).unwrap();
        let mut late = room.share(host(1));
        assert_eq!(late.grow(25), Err(NoRoom));
        assert!(is_asked(&own) && !is_asked(&other));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_read_has_its_turn_and_room_for_what_comes_of_it() {
        let room = Room::new(100 << 10);
        let mut shares = [(); 2].map(|()| room.share(host(1)));
        for share in &mut shares {
            share.grow(25 << 10).unwrap();
            share.finish();
        }
        let [first, second] = &mut shares;
        first.work(60 << 10).await.unwrap();
        let started = Instant::now();
        assert_eq!(second.work(60 << 10).await, Err(NoRoom));
        assert_eq!(started.elapsed(), WORK_WAIT);
        first.settle(30 << 10).unwrap();
        assert_eq!(room.used().0, 55 << 10, "beyond the part of one sender");
        second.work(1 << 30).await.unwrap();
        second.settle(1 << 30).unwrap();
        assert_eq!((second.bytes(), room.share(None).settle(1)), (100 << 10, Err(NoRoom)));
        drop(shares);
        assert_eq!(room.used().0, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_demand_waits_for_what_others_give_up_but_not_long() {
        let room = Room::new(100);
        let mut old = room.share(None);
        old.grow(90).unwrap();
        let yields = tokio::spawn(async move {
            old.unwanted().await;
            drop(old);
        });
        let mut late = room.share(host(1));
        late.demand(30).await.unwrap();
        yields.await.unwrap();
        let mut stubborn = room.take(70).unwrap();
        let started = Instant::now();
        assert_eq!(room.share(host(2)).demand(30).await, Err(NoRoom));
        assert_eq!(started.elapsed(), YIELD_WAIT);
        stubborn.shrink_to(0);
    }
}
