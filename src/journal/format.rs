//! The bytes of a segment: a header, then records, each with its length and checksum.
//!
//! ```text
//! segment  "SUPJRNL1" number:u32 crc:u32
//! record   mark:u16 kind:u8 form:u8 length:u32 group:u32 crc:u32 payload, padded to 8 bytes
//! ```
//! Numbers are little-endian. `group` is the offset at which the record's group starts: all before
//! it was synced before the record was written, which tells a torn tail from damage. The checksum
//! (CRC-32) covers the segment's number and the record's offset too, so that no stale or copied
//! bytes pass for a record. The form is 0. A record of another kind or form, whose checksum is
//! right over its length, is a newer version's. A packed segment (`packed.rs`) has form 2 in its
//! header, and all of these bytes behind it, compressed.

/// Bytes of a segment's header.
pub(crate) const SEGMENT_HEADER: u32 = 16;
/// Bytes of a record's header.
pub(super) const RECORD_HEADER: u32 = 16;
/// Records start at multiples of this.
pub(super) const ALIGN: u32 = 8;

/// What a segment's header begins with. The number of the form follows: another takes the next.
const SEGMENT_MAGIC: &[u8; 7] = b"SUPJRNL";
/// The form of a segment whose records lie open.
pub(super) const PLAIN: u8 = b'1';
/// The form of one whose bytes are compressed.
pub(super) const PACKED: u8 = b'2';
const MARK: [u8; 2] = [0x53, 0xd5];

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A submission.
    Data,
    /// Laid over damage that was kept aside; its payload is not read.
    Skip,
    /// The last record of a segment that is complete.
    Seal,
    /// Of a newer form, by the two bytes behind the mark. Its checksum says whether it is one.
    Newer(u8, u8),
}

/// A record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) length: u32,
    pub(super) group: u32,
    pub(super) crc: u32,
}

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u32,
    pub(super) offset: u32,
}

/// The header of segment `number`, which is plain.
pub(super) fn segment_header(number: u32) -> [u8; SEGMENT_HEADER as usize] {
    header_of(PLAIN, number)
}

/// The header of segment `number` in one of the forms.
pub(super) fn header_of(form: u8, number: u32) -> [u8; SEGMENT_HEADER as usize] {
    let mut bytes = [0; SEGMENT_HEADER as usize];
    bytes[..7].copy_from_slice(SEGMENT_MAGIC);
    bytes[7] = form;
    bytes[8..12].copy_from_slice(&number.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..12]);
    bytes[12..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The form that a segment's header names. `None`: it is damaged.
pub(super) fn segment_form(header: &[u8; SEGMENT_HEADER as usize]) -> Option<u8> {
    let crc = crc32fast::hash(&header[..12]).to_le_bytes();
    let is_whole = header.starts_with(SEGMENT_MAGIC) && header[12..] == crc;
    Some(header[7]).filter(|form| is_whole && form.is_ascii_digit())
}

/// The bytes that a seal takes, a record without a payload: every segment has room for one.
pub const SEAL_SIZE: u64 = record_size(0);

/// The bytes that a record with a payload of `length` bytes takes.
pub(super) const fn record_size(length: u32) -> u64 {
    (RECORD_HEADER as u64 + length as u64).next_multiple_of(ALIGN as u64)
}

/// Appends a record to `out`, which stands for the bytes from `base` on.
pub(super) fn put_record(out: &mut Vec<u8>, place: Place, kind: Kind, group: u32, payload: &[u8]) {
    // The writer refuses payloads over PAYLOAD_MAX, which fits.
    let length = payload.len() as u32;
    let mut header = Header { kind, length, group, crc: 0 };
    header.crc = checksum(place, &header, payload);
    out.extend_from_slice(&header.bytes());
    out.extend_from_slice(payload);
    let padding = record_size(length) - u64::from(RECORD_HEADER) - u64::from(length);
    out.resize(out.len() + padding as usize, 0);
}

/// The header of a skip over `bytes` bytes; its checksum covers no payload.
pub(super) fn skip_header(place: Place, bytes: u64) -> [u8; RECORD_HEADER as usize] {
    let length = bytes.saturating_sub(u64::from(RECORD_HEADER)) as u32;
    let mut header = Header { kind: Kind::Skip, length, group: place.offset, crc: 0 };
    header.crc = checksum(place, &header, &[]);
    header.bytes()
}

/// The checksum of a record. A skip's payload is the damage itself, and not covered.
pub(super) fn checksum(place: Place, header: &Header, payload: &[u8]) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&place.segment.to_le_bytes());
    hash.update(&place.offset.to_le_bytes());
    hash.update(&header.bytes()[..12]);
    if header.kind != Kind::Skip {
        hash.update(payload);
    }
    hash.finalize()
}

impl Header {
    fn bytes(self) -> [u8; RECORD_HEADER as usize] {
        let kind = match self.kind {
            Kind::Data => [1, 0],
            Kind::Skip => [2, 0],
            Kind::Seal => [3, 0],
            Kind::Newer(kind, form) => [kind, form],
        };
        let mut bytes = [0; RECORD_HEADER as usize];
        bytes[..2].copy_from_slice(&MARK);
        bytes[2..4].copy_from_slice(&kind);
        bytes[4..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.group.to_le_bytes());
        bytes[12..].copy_from_slice(&self.crc.to_le_bytes());
        bytes
    }

    /// Reads a header; `None` when the bytes are none. The checksum is not looked at.
    pub(super) fn parse(bytes: &[u8]) -> Option<Header> {
        let bytes = bytes.first_chunk::<{ RECORD_HEADER as usize }>()?;
        let number = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let kind = match [bytes[2], bytes[3]] {
            [1, 0] => Kind::Data,
            [2, 0] => Kind::Skip,
            [3, 0] => Kind::Seal,
            [kind, form] => Kind::Newer(kind, form),
        };
        if bytes[..2] != MARK {
            return None;
        }
        Some(Header { kind, length: number(4), group: number(8), crc: number(12) })
    }
}
