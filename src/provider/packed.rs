//! Bodies that a provider packs for the way.
//!
//! They are unpacked before anything is known of their sender, and so never beyond a limit.

use std::io::Read;

use flate2::bufread::GzDecoder;

/// Largest body after unpacking, in bytes: a hundred events with long diagnostics take less.
pub const UNPACKED_MAX: u64 = 4 << 20;

/// How gzip starts (RFC 1952, section 2.3.1).
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Whether a body says that it is packed.
pub fn is_packed(body: &[u8]) -> bool {
    body.starts_with(&MAGIC)
}

/// What a gzip body holds. `None` when it is none, is damaged, or holds too much.
pub fn gunzip(body: &[u8]) -> Option<Vec<u8>> {
    if !is_packed(body) {
        return None;
    }
    let (mut packed, mut plain) = (body, Vec::new());
    let mut decoder = GzDecoder::new(&mut packed).take(UNPACKED_MAX + 1);
    decoder.read_to_end(&mut plain).ok()?;
    // Its checksum stands at its end; nothing may follow.
    (plain.len() as u64 <= UNPACKED_MAX && packed.is_empty()).then_some(plain)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_was_packed_comes_out_whole_or_not_at_all() {
        let plain = br#"{"auth":"","events_by_user":[]}"#.repeat(10);
        let packed = gzip(&plain);
        assert_eq!(gunzip(&packed).as_deref(), Some(&plain[..]));
        assert_eq!(gunzip(&plain), None, "it is not packed");
        for end in 0..packed.len() {
            assert_eq!(gunzip(&packed[..end]), None, "cut at {end}");
        }
        assert_eq!(gunzip(&[&packed[..], b"x"].concat()), None, "something follows");
        assert_eq!(gunzip(&[&packed[..], &packed].concat()), None, "another follows");
        // Flags and times in the header count for nothing; all that stands behind it is covered.
        for place in 10..packed.len() {
            let mut damaged = packed.clone();
            damaged[place] ^= 1;
            assert_ne!(gunzip(&damaged).as_deref(), Some(&plain[..]), "byte {place}");
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let limit = UNPACKED_MAX as usize;
        assert_eq!(gunzip(&gzip(&vec![b' '; limit])).map(|plain| plain.len()), Some(limit));
        assert_eq!(gunzip(&gzip(&vec![b' '; limit + 1])), None);
    }
}
