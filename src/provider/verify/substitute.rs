//! The scheme of Unisender Go: the MD5 of the body with the key in place of the `auth` value.
//!
//! No MAC worth the name, but what the provider has. Source: Unisender Go, "Webhook", `auth`.

use data_encoding::HEXLOWER;
use md5::{Digest, Md5};

use super::mac::same;
use super::pieces::text_at;
use super::{Draft, Notification, Refusal, any, first};
use crate::secret::Secret;

/// Where the value stands, in words.
const AUTH: &str = "/auth in the body";

/// The check.
#[derive(Clone, Debug)]
pub struct Substitute {
    /// The API keys, any of which is good.
    pub keys: Vec<Secret>,
}

impl Substitute {
    pub(super) fn verify(&self, notification: &Notification<'_>) -> Result<(), Refusal> {
        let auth = text_at(notification.body, "/auth")?;
        let plain = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
        // Checked before it is looked for: an odd value could be replaced in odd places, and take
        // very long to be found.
        let fits = auth.len() == 32 && auth.iter().all(plain);
        let places: Vec<usize> =
            if fits { find(notification.body, &auth).take(2).collect() } else { Vec::new() };
        let [at] = places.as_slice() else {
            return Err(Refusal::Malformed(AUTH.to_owned()));
        };
        let (before, after) = notification.body.split_at(*at);
        let right = |key: &Secret| {
            let tag = digest(before, key, &after[auth.len()..]);
            same(&Secret::new(tag.into_bytes()), &auth)
        };
        any(&self.keys, right).then_some(()).ok_or(Refusal::Mismatch(AUTH.to_owned()))
    }

    /// Signs a draft that has [`PLACEHOLDER`] where the value goes.
    pub(super) fn sign(&self, draft: &mut Draft) -> Result<(), String> {
        let key = first(&self.keys)?;
        let holds = text_at(&draft.body, "/auth").is_ok_and(|auth| auth == PLACEHOLDER.as_bytes());
        let places: Vec<usize> = find(&draft.body, PLACEHOLDER.as_bytes()).collect();
        let (true, [at]) = (holds, places.as_slice()) else {
            return Err("the sample has no place for its signature".to_owned());
        };
        let (at, after) = (*at, at + PLACEHOLDER.len());
        let tag = digest(&draft.body[..at], key, &draft.body[after..]);
        draft.body.splice(at..after, tag.into_bytes());
        Ok(())
    }
}

/// What stands in a sample where the value goes.
pub const PLACEHOLDER: &str = "00000000000000000000000000000000";

fn digest(before: &[u8], key: &Secret, after: &[u8]) -> String {
    let mut hash = Md5::new();
    hash.update(before);
    hash.update(key.reveal());
    hash.update(after);
    HEXLOWER.encode(&hash.finalize())
}

/// Where `needle` stands in `hay`.
fn find<'a>(hay: &'a [u8], needle: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let size = needle.len().max(1);
    hay.windows(size).enumerate().filter(move |(_, w)| *w == needle).map(|(at, _)| at)
}
