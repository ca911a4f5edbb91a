//! The places of a listener: who has one, and who gives way when another needs it.
//!
//! A place that is worked for is never taken away. One that waits for its client may be, and first
//! of all from whoever has most of those: so no address takes the places of another by opening many
//! connections, and no user those of another on a Unix socket. Nor does one that keeps us busy: one
//! of its places is lent to whoever has fewer, until what is worked for there is answered.
//!
//! Of its own go first those that have been idle for a while, then the one that has been waited
//! for longest, whether for the rest of a request, for an answer to be taken, or for a word: at
//! once, so that a client that trickles keeps nobody out who has only just come.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::Notify;

use crate::listen::Connection;
use crate::telemetry;

/// How long a client in the middle of something is waited for at least, however short places are,
/// where another comes who has as many places: not where its own address, or one with fewer, does.
const GRACE: Duration = Duration::from_secs(1);
/// How long a client that has not asked for anything is as good as one that has begun to: what it
/// asks is on its way.
const IDLE_AFTER: Duration = Duration::from_millis(500);

/// Bits of an IPv6 address that tell one subscriber from another (RFC 6177).
const SUBSCRIBER_BITS: u8 = 64;

/// How many places a listener has, and for whom.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most connections at once.
    pub most: usize,
    /// Most of them for one address (IPv6: for one /64).
    pub each: usize,
    /// Who may have all of them, beside this host: proxies, each of which speaks for many.
    pub exempt: Vec<IpNet>,
}

/// Whose connections are counted together: an IPv4 address, or the /64 of an IPv6 address.
pub fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let kept = u128::MAX << (128 - SUBSCRIBER_BITS);
            IpAddr::V6((u128::from(address) & kept).into())
        }
        address => address,
    }
}

/// Whether one of the networks has the address, in either of the forms of an IPv4 address.
pub fn is_among(nets: &[IpNet], address: IpAddr) -> bool {
    let plain = address.to_canonical();
    nets.iter().any(|net| net.contains(&address) || net.contains(&plain))
}

/// What a place is doing. The order is that in which they give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    /// Nothing: its client may ask for something.
    Idle,
    /// Its client owes us the rest of a request, or must take what it asked for.
    Owed,
    /// We owe its client an answer.
    Working,
}

const IDLE: u8 = Doing::Idle as u8;
const WORKING: u8 = Doing::Working as u8;

/// Whose connections are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Holder {
    /// A subscriber on the network.
    Host(IpAddr),
    /// A user of this host, over a Unix socket.
    User(u32),
}

/// One connection's place.
struct Seat {
    /// Whose it is. `None`: of one who speaks for many.
    holder: Option<Holder>,
    doing: AtomicU8,
    /// Since when, in milliseconds of the listener's life.
    since: AtomicU64,
    /// Its client asks for more before it has an answer, and so may never take any.
    hasty: AtomicBool,
    /// It was given to another already, and goes with the answer.
    lent: AtomicBool,
    gone: AtomicBool,
    /// It was counted that it is gone.
    told: AtomicBool,
    wanted: Notify,
}

/// All places of one listener.
pub(super) struct Places {
    /// The listener's name.
    name: String,
    /// The present ones.
    limits: Box<dyn Fn() -> Arc<Limits> + Send + Sync>,
    born: Instant,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    seats: HashMap<u64, Arc<Seat>>,
    each: HashMap<Holder, usize>,
    /// How many of the seats are lent: so many more there may be than places.
    lent: usize,
}

/// A place that was given. It is free again when this is dropped.
pub struct Place {
    number: u64,
    seat: Arc<Seat>,
    places: Arc<Places>,
}

impl Places {
    pub(super) fn new(
        name: &str,
        limits: impl Fn() -> Arc<Limits> + Send + Sync + 'static,
    ) -> Places {
        let (name, limits) = (name.to_owned(), Box::new(limits));
        Places { name, limits, born: Instant::now(), taken: Mutex::default() }
    }

    /// Whether another has to give way to the next.
    pub(super) fn is_full(&self) -> bool {
        let most = (self.limits)().most;
        let taken = self.taken();
        taken.seats.len() >= most + taken.lent
    }

    /// A place for a connection, if need be that of another. `None`: every other is worked for.
    pub(super) fn enter(self: &Arc<Self>, connection: &Connection) -> Option<Place> {
        self.enter_as(match connection {
            Connection::Tcp(_, peer) => {
                let counted = !is_among(&(self.limits)().exempt, peer.ip());
                counted.then(|| Holder::Host(subscriber(peer.ip())))
            }
            Connection::Unix(stream) => {
                stream.peer_cred().ok().map(|peer| Holder::User(peer.uid()))
            }
        })
    }

    fn enter_as(self: &Arc<Self>, holder: Option<Holder>) -> Option<Place> {
        let limits = (self.limits)();
        let mut taken = self.taken();
        let own = holder.and_then(|own| taken.each.get(&own).copied()).unwrap_or(0);
        // On this host, it may be a proxy that nobody has named.
        let is_limited = matches!(holder, Some(Holder::Host(host)) if !host.is_loopback());
        if is_limited && own >= limits.each {
            taken.make_room(self.now(), Duration::ZERO, |seat| seat.holder == holder)?;
        } else if taken.seats.len() >= limits.most + taken.lent {
            taken.make_fair_room(self.now(), holder, limits.most)?;
        }
        let seat = Arc::new(Seat {
            holder,
            doing: AtomicU8::new(IDLE),
            since: AtomicU64::new(self.now()),
            hasty: AtomicBool::new(false),
            lent: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            told: AtomicBool::new(false),
            wanted: Notify::new(),
        });
        let number = taken.next;
        taken.next += 1;
        taken.seats.insert(number, Arc::clone(&seat));
        if let Some(own) = holder {
            *taken.each.entry(own).or_default() += 1;
        }
        Some(Place { number, seat, places: Arc::clone(self) })
    }

    fn now(&self) -> u64 {
        // It overflows in 584 million years.
        self.born.elapsed().as_millis() as u64
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Takes the place of the one that has the least need of it. `None`: nobody gives way.
    fn make_room(
        &mut self,
        now: u64,
        grace: Duration,
        among: impl Fn(&Seat) -> bool,
    ) -> Option<()> {
        let candidates = self.seats.iter().filter(|(_, seat)| among(seat));
        let first = candidates.min_by_key(|(number, seat)| (seat.rank(now), **number));
        let (first, (doing, since)) = first.map(|(number, seat)| (*number, seat.rank(now)))?;
        let gives_way = match doing {
            Doing::Idle => true,
            Doing::Owed => waited(now, since) >= grace,
            Doing::Working => false,
        };
        if gives_way { self.take(first) } else { None }
    }

    /// Takes a place from the address or user that has most of those that wait for their clients,
    /// as far as there is one that has several. `None`: nobody gives way.
    fn make_fair_room(&mut self, now: u64, holder: Option<Holder>, lent_max: usize) -> Option<()> {
        let mut held: HashMap<Holder, usize> = HashMap::new();
        let waiting = self.seats.values().filter(|seat| !seat.is_worked_for());
        for own in waiting.filter_map(|seat| seat.holder) {
            *held.entry(own).or_default() += 1;
        }
        let own = holder.and_then(|own| held.get(&own)).copied().unwrap_or(0);
        let most = held.into_iter().max_by_key(|(_, count)| *count);
        let Some((whose, most)) = most.filter(|(_, count)| *count > 1) else {
            let own = |seat: &Seat| seat.holder == holder;
            return self
                .lend_room(now, holder, lent_max)
                .or_else(|| self.make_room(now, GRACE, |_| true))
                .or_else(|| self.make_room(now, Duration::ZERO, own));
        };
        let whose = if own >= most { holder } else { Some(whose) };
        let grace = if whose == holder || most > own + 1 { Duration::ZERO } else { GRACE };
        self.make_room(now, grace, |seat| seat.holder == whose)
            .or_else(|| self.lend_room(now, holder, lent_max))
    }

    /// Takes or lends a place of the address or user that has most of all, if it has more than one
    /// would have with another. `None`: there is none.
    fn lend_room(&mut self, now: u64, holder: Option<Holder>, lent_max: usize) -> Option<()> {
        let mut held: HashMap<Holder, usize> = HashMap::new();
        let seats = self.seats.values().filter(|seat| !seat.is_lent());
        for own in seats.filter_map(|seat| seat.holder) {
            *held.entry(own).or_default() += 1;
        }
        let own = held.get(&holder?).copied().unwrap_or(0);
        let (whose, most) = held.into_iter().max_by_key(|(_, count)| *count)?;
        if most <= own + 1 {
            return None;
        }
        let among = |seat: &Seat| seat.holder == Some(whose) && !seat.is_lent();
        if self.make_room(now, Duration::ZERO, among).is_some() {
            return Some(());
        }
        let theirs = self.seats.iter().filter(|(_, seat)| among(seat) && self.lent < lent_max);
        let first = theirs.min_by_key(|(number, seat)| (seat.rank(now), **number));
        let (number, seat) = first.map(|(number, seat)| (*number, Arc::clone(seat)))?;
        seat.lent.store(true, Ordering::SeqCst);
        self.lent += 1;
        // It may have been answered just now, and not have seen that.
        if seat.doing.load(Ordering::SeqCst) != WORKING {
            self.take(number);
        }
        Some(())
    }

    /// Takes a place away from whoever has it.
    fn take(&mut self, number: u64) -> Option<()> {
        let seat = self.leave(number)?;
        seat.gone.store(true, Ordering::Release);
        seat.wanted.notify_one();
        Some(())
    }

    fn leave(&mut self, number: u64) -> Option<Arc<Seat>> {
        let seat = self.seats.remove(&number)?;
        self.lent -= usize::from(seat.is_lent());
        if let Some(own) = seat.holder
            && let Some(count) = self.each.get_mut(&own)
        {
            *count -= 1;
            if *count == 0 {
                self.each.remove(&own);
            }
        }
        Some(seat)
    }
}

impl Seat {
    /// What it counts as, and since when, in the order in which they give way.
    fn rank(&self, now: u64) -> (Doing, u64) {
        let since = self.since.load(Ordering::Relaxed);
        let doing = match self.doing.load(Ordering::Relaxed) {
            _ if self.hasty.load(Ordering::Relaxed) => Doing::Idle,
            WORKING => Doing::Working,
            IDLE if waited(now, since) >= IDLE_AFTER => Doing::Idle,
            _ => Doing::Owed,
        };
        (doing, since)
    }

    fn is_lent(&self) -> bool {
        self.lent.load(Ordering::SeqCst)
    }

    fn is_worked_for(&self) -> bool {
        let hasty = self.hasty.load(Ordering::Relaxed);
        !hasty && self.doing.load(Ordering::Relaxed) == WORKING
    }
}

fn waited(now: u64, since: u64) -> Duration {
    Duration::from_millis(now.saturating_sub(since))
}

impl Place {
    /// The client has all that it asked for. It is among the first to give way.
    pub fn idle(&self) {
        self.set(Doing::Idle);
    }

    /// The client has begun a request that is not whole, or does not take its answer.
    pub fn owed(&self) {
        self.set(Doing::Owed);
    }

    /// The client waits for us. Its place is its own.
    pub fn working(&self) {
        self.set(Doing::Working);
    }

    /// The client has sent a request before it had the answer to the one before. However busy it
    /// keeps us, it gives way as if it were idle: it may not mean to read at all.
    pub fn hasty(&self) {
        self.seat.hasty.store(true, Ordering::Relaxed);
    }

    /// Something has come from an idle client: a request is begun.
    pub fn begun(&self) {
        if self.seat.doing.load(Ordering::Relaxed) == IDLE {
            self.owed();
        }
    }

    /// Waits until another was given this place: then the connection must end at once.
    pub async fn wanted(&self) {
        while !self.seat.gone.load(Ordering::Acquire) {
            self.seat.wanted.notified().await;
        }
        if !self.seat.told.swap(true, Ordering::Relaxed) {
            telemetry::webhook::gave_way(&self.places.name);
        }
    }

    fn set(&self, doing: Doing) {
        if self.seat.doing.swap(doing as u8, Ordering::SeqCst) != doing as u8 {
            self.seat.since.store(self.places.now(), Ordering::Relaxed);
        }
        if doing != Doing::Working && self.seat.is_lent() {
            self.places.taken().take(self.number);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(most: usize, each: usize) -> Arc<Places> {
        let limits = Arc::new(Limits { most, each, exempt: Vec::new() });
        let mut places = Places::new("test", move || Arc::clone(&limits));
        places.born = Instant::now().checked_sub(Duration::from_secs(100)).unwrap();
        Arc::new(places)
    }

    fn host(address: &str) -> Option<Holder> {
        Some(Holder::Host(address.parse().unwrap()))
    }

    /// How many seats there are, and how many of them are lent.
    fn count(places: &Places) -> (usize, usize) {
        let taken = places.taken();
        (taken.seats.len(), taken.lent)
    }

    fn is_gone(place: &Place) -> bool {
        place.seat.gone.load(Ordering::Acquire)
    }

    /// Makes it look as if the place had been waiting for so long.
    fn age(place: &Place, seconds: u64) {
        place.seat.since.store(place.places.now() - seconds * 1_000, Ordering::Relaxed);
    }

    /// Clients that trickle come again as soon as they are cut off, all from the address of one who
    /// takes as long as it takes for most of them to come again.
    #[test]
    fn whoever_trickles_keeps_nobody_out_of_its_own_address() {
        for own in [host("127.0.0.1"), host("192.0.2.1"), None] {
            let places = places(20, 20);
            let trickle = || {
                let place = places.enter_as(own).expect("the eldest gives way");
                place.owed();
                place
            };
            let mut held: Vec<Place> = (0..30).map(|_| trickle()).collect();
            for _ in 0..10 {
                let honest = places.enter_as(own).expect("a place at once");
                held.extend((0..9).map(|_| trickle()));
                honest.begun();
                held.extend((0..9).map(|_| trickle()));
                assert!(!is_gone(&honest));
                honest.working();
                held.extend((0..40).map(|_| trickle()));
                assert!(!is_gone(&honest));
            }
        }
    }

    #[test]
    fn the_idlest_gives_way_then_who_is_owed_longest_and_nobody_who_waits_for_us() {
        let places = places(3, 3);
        let [one, two, three] = [(); 3].map(|()| places.enter_as(None).unwrap());
        one.working();
        two.owed();
        age(&two, 50);
        age(&three, 1);
        let four = places.enter_as(None).unwrap();
        assert!(is_gone(&three) && !is_gone(&one) && !is_gone(&two), "the idle one");
        four.working();
        let five = places.enter_as(None).unwrap();
        assert!(is_gone(&two) && !is_gone(&one) && !is_gone(&four), "the one that owes us");
        five.working();
        assert!(places.enter_as(None).is_none());
        drop(one);
        assert!(places.enter_as(None).is_some());
    }

    #[test]
    fn who_asks_for_more_than_it_takes_gives_way_however_busy_it_keeps_us() {
        for (mine, other) in [(None, None), (host("127.0.0.1"), host("127.0.0.1"))] {
            let places = places(2, 2);
            let [waits, hasty] = [mine, mine].map(|own| places.enter_as(own).unwrap());
            [&waits, &hasty].into_iter().for_each(Place::working);
            assert!(places.enter_as(other).is_none());
            hasty.hasty();
            let honest = places.enter_as(other).unwrap();
            assert!(is_gone(&hasty) && !is_gone(&waits));
            drop(honest);
        }
    }

    #[test]
    fn one_subscriber_has_its_share_and_takes_no_more_than_its_own() {
        let places = places(10, 2);
        let [mine, other] = ["192.0.2.1", "192.0.2.2"].map(host);
        let theirs = places.enter_as(other).unwrap();
        let first = places.enter_as(mine).unwrap();
        let second = places.enter_as(mine).unwrap();
        second.working();
        let third = places.enter_as(mine).unwrap();
        assert!(is_gone(&first) && !is_gone(&theirs));
        third.working();
        assert!(places.enter_as(mine).is_none());
        drop((first, second));
        assert!(places.enter_as(mine).is_some());
        assert_eq!(places.taken().each.get(&mine.unwrap()), Some(&1));
    }

    #[test]
    fn who_has_most_gives_way_to_whoever_has_less() {
        let places = places(5, 5);
        let [many, few, new] = ["127.0.0.1", "192.0.2.2", "192.0.2.3"].map(host);
        let proxied = places.enter_as(None).unwrap();
        let quiet = places.enter_as(few).unwrap();
        let flood = [(); 3].map(|()| places.enter_as(many).unwrap());
        flood.iter().for_each(Place::owed);
        let first = places.enter_as(new).unwrap();
        assert!(is_gone(&flood[0]), "it has only begun, and its address has the most");
        let again = places.enter_as(many).unwrap();
        assert!(is_gone(&flood[1]), "it takes its own");
        assert!(![&proxied, &quiet, &first, &flood[2], &again].into_iter().any(is_gone));
        [&flood[2], &again].into_iter().for_each(Place::working);
        age(&proxied, 1);
        let _third = places.enter_as(few).unwrap();
        assert!(is_gone(&proxied), "one each: the idlest of all");
    }

    #[test]
    fn who_keeps_us_busy_from_one_address_lends_its_places_to_others() {
        let places = places(4, 4);
        let [many, few, new] = ["127.0.0.1", "192.0.2.2", "192.0.2.3"].map(host);
        let busy = [(); 4].map(|()| places.enter_as(many).unwrap());
        busy.iter().for_each(Place::working);
        assert!(places.enter_as(many).is_none(), "it has all");
        let [first, second] = [few, new].map(|own| places.enter_as(own).expect("a place"));
        [&first, &second].into_iter().for_each(Place::working);
        assert!(!busy.iter().any(is_gone), "they are worked for");
        assert!(places.enter_as(few).is_none(), "nobody has more than two");
        busy.iter().for_each(Place::idle);
        assert_eq!(busy.iter().filter(|place| is_gone(place)).count(), 2);
        busy.iter().for_each(Place::working);
        drop((first, second));
        assert_eq!(count(&places), (2, 0));
        let _rest = [(); 2].map(|()| places.enter_as(new).unwrap());
        assert_eq!(count(&places), (4, 0));
    }

    #[tokio::test]
    async fn on_a_unix_socket_it_is_the_user_who_has_places() {
        let places = places(3, 1);
        let other = Some(Holder::User(u32::MAX));
        let flood = [(); 2].map(|()| places.enter_as(other).unwrap());
        let (_client, server) = tokio::net::UnixStream::pair().unwrap();
        let mine = places.enter(&Connection::Unix(server)).unwrap();
        let own = rustix::process::geteuid().as_raw();
        assert_eq!(mine.seat.holder, Some(Holder::User(own)));
        let _third = places.enter_as(other).unwrap();
        assert!(is_gone(&flood[0]) && !is_gone(&mine));
    }

    #[test]
    fn a_subscriber_is_an_address_or_a_64() {
        for (address, own) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            assert_eq!(subscriber(address.parse().unwrap()), own.parse::<IpAddr>().unwrap());
        }
        let nets = ["10.0.0.0/8".parse().unwrap()];
        assert!(is_among(&nets, "::ffff:10.1.2.3".parse().unwrap()));
        assert!(!is_among(&nets, "::ffff:11.1.2.3".parse().unwrap()));
    }
}
