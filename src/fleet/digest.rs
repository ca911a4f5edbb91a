//! Standings as others see them: digests that tell where two hosts differ, and the facts that make
//! them the same.
//!
//! A digest covers what decides the verdicts: which grounds there are, until when, and which are
//! lifted. Merging each other's facts ends in the same on both hosts.

use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use super::read::PAGE_BYTES;
use crate::model::{Gist, Scope, Standing, Time, Until};
use crate::provider::{Told, told_element};
use crate::store::{Reader, StoreError};

/// How many parts the standings are compared in, by address.
pub(super) const BUCKETS: usize = 256;
/// Most standings that are looked at for one page.
const LOOK_MAX: usize = 100_000;

/// Some of the buckets, a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Buckets(pub(super) [u64; 4]);

impl Buckets {
    /// All of them.
    pub(super) fn all() -> Buckets {
        Buckets([u64::MAX; 4])
    }

    /// Those whose digests differ.
    pub(super) fn where_differ(ours: &[u64], theirs: &[u64]) -> Buckets {
        let mut bits = [0; 4];
        for (bucket, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            bits[bucket / 64] |= u64::from(ours != theirs) << (bucket % 64);
        }
        Buckets(bits)
    }

    /// How many there are.
    pub(super) fn count(self) -> u32 {
        self.0.iter().map(|bits| bits.count_ones()).sum()
    }

    fn has(self, bucket: usize) -> bool {
        self.0[bucket / 64] >> (bucket % 64) & 1 == 1
    }
}

/// The digests of all standings, by bucket.
pub(super) fn of_all(reader: &Reader) -> Result<Vec<u64>, StoreError> {
    let mut digests = vec![0_u64; BUCKETS];
    reader.visit_standings(&mut |address, scope, gist| {
        if let Some(digest) = of_gist(address, scope, gist) {
            let sum = &mut digests[bucket(address)];
            *sum = sum.wrapping_add(digest);
        }
        Ok(())
    })?;
    Ok(digests)
}

/// The elements that tell of the standings behind an address, of some buckets, and behind which
/// address there are more.
pub(super) fn page(
    reader: &Reader,
    after: &str,
    buckets: Buckets,
) -> Result<(Vec<ByteBuf>, Option<String>), StoreError> {
    let (mut elements, mut bytes, mut last) = (Vec::new(), 0, String::new());
    for (looked, row) in reader.standings_after(after).enumerate() {
        let (address, scope, standing) = row?;
        // All scopes of an address come together.
        if address != last && (bytes >= PAGE_BYTES || looked >= LOOK_MAX) {
            return Ok((elements, Some(last)));
        }
        if buckets.has(bucket(&address)) {
            let body = told_element(&Told::of(&address, scope, &standing)).body;
            bytes += body.len();
            elements.push(ByteBuf::from(body));
        }
        last = address;
    }
    Ok((elements, None))
}

/// The checksum of elements.
pub(super) fn checksum(elements: &[ByteBuf]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    elements.iter().for_each(|element| hasher.update(element));
    hasher.finalize()
}

/// Which bucket an address belongs to.
fn bucket(address: &str) -> usize {
    Sha256::digest(address.as_bytes())[0].into()
}

/// The digest of one standing. `None`: nothing in it decides anything.
fn of_gist(address: &str, scope: &Scope, gist: &Gist<'_>) -> Option<u64> {
    let mut hash = Sha256::new();
    hash.update(address);
    hash.update([0]);
    hash.update(scope.to_string());
    let before = hash.clone().finalize();
    match gist {
        Gist::Whole(standing) => of_standing(standing, &mut hash),
        Gist::Sole(sole) => {
            let ground = (sole.reason.as_str(), sole.source, sole.at, sole.until);
            ground_into(&mut hash, ground, false);
        }
    }
    let after = hash.finalize();
    (before != after).then(|| u64::from_be_bytes(*after.first_chunk().unwrap_or(&[0; 8])))
}

fn of_standing(standing: &Standing, hash: &mut Sha256) {
    for (reason, source, ground) in standing.grounds() {
        let (at, until) = (ground.latest.at, ground.latest.until);
        // What stands despite a lift by the order of our journal alone, another host has lifted.
        let stands = standing.despite_lifts(reason, source, ground).is_some();
        let lifted = !stands && standing.lifted(reason, source, at, None).is_some();
        ground_into(hash, (reason.as_str(), source.as_str(), at, until), lifted);
    }
    let failures = [
        standing.soft().iter().map(|bounce| bounce.at).collect::<Vec<Time>>(),
        standing.blocked().iter().map(|bounce| bounce.at).collect(),
        standing.unexplained().iter().map(|bounce| bounce.at).collect(),
    ];
    for (kind, mut times) in ["soft", "blocked", "unexplained"].into_iter().zip(failures) {
        times.sort_unstable();
        for at in times {
            hash.update(kind);
            hash.update(at.nanos().to_be_bytes());
        }
    }
}

fn ground_into(hash: &mut Sha256, ground: (&str, &str, Time, Until), lifted: bool) {
    let (reason, source, at, until) = ground;
    hash.update(reason);
    hash.update([0]);
    hash.update(source);
    hash.update(at.nanos().to_be_bytes());
    let until = until.time().map_or(i64::MAX, Time::nanos);
    hash.update(until.to_be_bytes());
    hash.update([u8::from(lifted)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bounce, EventId, MessageKey};
    use crate::model::{Fact, Latest, Lift, Lifts, Reason, SourceName, Telling};

    fn ground(at: i64) -> Fact {
        let latest = Latest {
            at: Time::from_seconds(at),
            until: Until::Forever,
            evidence: EventId::from_bytes([7; 16]),
            class: None,
            note: None,
        };
        let source = SourceName::parse("a").unwrap();
        Fact::Ground { reason: Reason::HardBounce, source, latest }
    }

    fn lift(at: i64) -> Fact {
        let through = Time::from_seconds(at);
        Fact::Lift(Lift { covers: Lifts::default(), through, theirs: false })
    }

    fn standing(facts: &[Fact]) -> Standing {
        let mut standing = Standing::default();
        for fact in facts {
            standing.merge("a@x.test", fact.clone(), &Telling::BY_DATE);
        }
        standing
    }

    fn digest(standing: &Standing) -> Option<u64> {
        of_gist("a@x.test", &Scope::Global, &Gist::of(standing))
    }

    #[test]
    fn what_decides_makes_another_digest_and_order_does_not() {
        let one = digest(&standing(&[ground(10)]));
        assert!(one.is_some());
        assert_eq!(digest(&standing(&[ground(10), ground(5)])), one, "it was known since when");
        for other in [&[ground(11)][..], &[ground(10), lift(10)], &[lift(10)], &[]] {
            assert_ne!(digest(&standing(other)), one, "{other:?}");
        }
        let both = [ground(10), lift(7), ground(3)];
        let mut reversed = both.clone();
        reversed.reverse();
        assert_eq!(digest(&standing(&both)), digest(&standing(&reversed)));
    }

    #[test]
    fn the_facts_of_a_standing_make_it_anywhere() {
        let bounce = Bounce::at(Time::from_seconds(8), SourceName::parse("b").unwrap());
        let source = SourceName::parse("b").unwrap();
        let message = MessageKey::of(&source, Some("m"), Time::from_seconds(8));
        let whole = standing(&[
            ground(10),
            ground(4),
            lift(6),
            Fact::SoftBounce(message, bounce.clone()),
            Fact::Unexplained(message, bounce),
            Fact::Delivered(Time::from_seconds(2)),
        ]);
        let again = standing(&whole.facts());
        assert_eq!(again, whole);
        assert_eq!(standing(&again.facts().into_iter().rev().collect::<Vec<_>>()), whole);
    }

    #[test]
    fn what_stands_by_the_order_of_one_journal_is_repaired() {
        let mut here = standing(&[lift(20)]);
        let told = Telling { record: 9, received: Time::from_seconds(5), is_new: true };
        here.merge("a@x.test", ground(10), &told);
        let mut there = standing(&[ground(10), lift(20)]);
        assert_ne!(digest(&here), digest(&there));
        for fact in here.facts() {
            there.merge("a@x.test", fact, &Telling::BY_DATE);
        }
        for fact in there.facts() {
            here.merge("a@x.test", fact, &Telling::BY_DATE);
        }
        assert_eq!(digest(&here), digest(&there));
    }

    #[test]
    fn buckets_are_those_that_differ() {
        let ours: Vec<u64> = (0..256).collect();
        let mut theirs = ours.clone();
        assert_eq!(Buckets::where_differ(&ours, &theirs).count(), 0);
        (theirs[0], theirs[255]) = (9, 9);
        let differ = Buckets::where_differ(&ours, &theirs);
        assert_eq!(differ.count(), 2);
        assert!(differ.has(0) && differ.has(255) && !differ.has(1));
        assert_eq!(Buckets::all().count(), 256);
    }
}
