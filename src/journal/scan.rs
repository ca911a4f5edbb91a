//! Reading a segment's records in order, and finding the next one behind damage.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::format::{
    ALIGN, Header, Kind, PACKED, Place, RECORD_HEADER, SEAL_SIZE, SEGMENT_HEADER, checksum,
    record_size, segment_form, segment_header,
};
use super::packed::Packed;
use super::segment;
use super::writer::PAYLOAD_MAX;

/// Bytes looked through at a time when searching for a record behind damage.
const SEARCH_CHUNK: usize = 1 << 20;

/// A whole record.
pub(super) struct Record {
    pub(super) header: Header,
    pub(super) payload: Vec<u8>,
    /// Where the next record starts.
    pub(super) end: u32,
}

/// How a segment begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Whole,
    /// The file ends before its header does.
    Short,
    Damaged,
    /// Of a newer version.
    Newer,
}

/// What is in a segment, in its order.
pub(super) struct Survey {
    /// Stretches that are no record but have whole ones behind them.
    pub(super) holes: Vec<(u32, u32)>,
    /// Where the newest group starts: all before it was synced.
    pub(super) newest_group: u32,
    /// Where the last whole record ends.
    pub(super) end: u32,
    pub(super) sealed: bool,
}

/// One segment's file, to read from.
pub(super) struct Segment {
    pub(super) number: u32,
    pub(super) file: Arc<File>,
    /// What reads it, if it is packed.
    pub(super) packed: Option<Packed>,
}

/// Fills bytes from an offset; false when the segment ends before.
type Read<'a> = &'a mut dyn FnMut(&mut [u8], u32) -> io::Result<bool>;

/// Most bytes that are read ahead.
const AHEAD: u64 = 32 << 10;

/// Bytes of a segment that were read ahead, for whoever reads one record after the other: none
/// beyond what was committed by then.
#[derive(Default)]
pub(super) struct Ahead {
    segment: u32,
    start: u32,
    bytes: Vec<u8>,
}

impl Ahead {
    fn read(
        &mut self,
        segment: &Segment,
        bytes: &mut [u8],
        at: u32,
        limit: u64,
    ) -> io::Result<bool> {
        if bytes.len() as u64 > AHEAD {
            return segment.read(bytes, at);
        }
        if self.take(segment.number, bytes, at) {
            return Ok(true);
        }
        self.bytes.resize(limit.saturating_sub(u64::from(at)).min(AHEAD) as usize, 0);
        let got = segment.read_at(&mut self.bytes, u64::from(at))?;
        self.bytes.truncate(got);
        (self.segment, self.start) = (segment.number, at);
        if self.take(segment.number, bytes, at) { Ok(true) } else { segment.read(bytes, at) }
    }

    /// Takes bytes that are there; says whether all are.
    fn take(&self, segment: u32, bytes: &mut [u8], at: u32) -> bool {
        let from = at.checked_sub(self.start).filter(|_| segment == self.segment);
        let there = from.and_then(|from| self.bytes.get(from as usize..)?.get(..bytes.len()));
        there.inspect(|there| bytes.copy_from_slice(there)).is_some()
    }
}

impl Segment {
    /// Opens a segment where it lies.
    ///
    /// # Errors
    /// When it is not there, no regular file, or cannot be read.
    pub(super) fn at(dir: &Path, number: u32) -> io::Result<Segment> {
        Segment::open(number, segment::open_regular(&segment::path(dir, number), false)?)
    }

    /// Opens what a file holds, in whichever form.
    pub(super) fn open(number: u32, file: File) -> io::Result<Segment> {
        let file = Arc::new(file);
        let packed = Packed::open(&file, number)?;
        Ok(Segment { number, file, packed })
    }

    /// The one that is being written.
    pub(super) fn plain(number: u32, file: Arc<File>) -> Segment {
        Segment { number, file, packed: None }
    }

    /// How the segment begins; of a packed one, whether its own header and its tables are whole.
    /// Its records can be read whatever that is.
    pub(super) fn head(&self) -> io::Result<Head> {
        let mut head = [0; SEGMENT_HEADER as usize];
        if let Some(packed) = &self.packed {
            return Ok(if packed.is_whole() { Head::Whole } else { Head::Damaged });
        }
        if !self.read(&mut head, 0)? {
            return Ok(Head::Short);
        }
        Ok(match head {
            head if head == segment_header(self.number) => Head::Whole,
            head if segment_form(&head).is_some_and(|form| form > PACKED) => Head::Newer,
            _ => Head::Damaged,
        })
    }

    /// Whether the file was made shorter, where its last whole record ends at `end` and no seal
    /// follows. A stop leaves it as long as it was made, with room for a seal; and blank, if it had
    /// not come to its header.
    pub(super) fn is_cut(&self, end: u32, length: u64) -> io::Result<bool> {
        let mut head = [0; RECORD_HEADER as usize];
        let mut needed = u64::from(end) + SEAL_SIZE;
        if self.read(&mut head, end)?
            && let Some(header) = Header::parse(&head)
            && header.kind == Kind::Data
            && header.length as usize <= PAYLOAD_MAX
        {
            needed += record_size(header.length);
        }
        Ok(length < needed && !self.is_blank(0, length)?)
    }

    /// The header at `offset`, and where its record would end, as `record` would look for it. It is
    /// not checked.
    pub(super) fn header(&self, offset: u32, limit: u64) -> io::Result<Option<(Header, u32)>> {
        self.header_by(&mut |bytes, at| self.read(bytes, at), offset, limit)
    }

    fn header_by(
        &self,
        read: Read<'_>,
        offset: u32,
        limit: u64,
    ) -> io::Result<Option<(Header, u32)>> {
        let room = limit.saturating_sub(u64::from(offset));
        let mut head = [0; RECORD_HEADER as usize];
        if room < head.len() as u64 || !read(&mut head, offset)? {
            return Ok(None);
        }
        let Some(header) = Header::parse(&head) else { return Ok(None) };
        let size = record_size(header.length);
        // The limit is at most the file's length, which fits in 32 bits.
        Ok((size <= room).then_some((header, (u64::from(offset) + size) as u32)))
    }

    /// The whole record at `offset`, reading no byte at or beyond `limit`. `None`: there is none.
    pub(super) fn record(&self, offset: u32, limit: u64) -> io::Result<Option<Record>> {
        self.record_by(&mut |bytes, at| self.read(bytes, at), offset, limit)
    }

    /// The same, by what was read ahead.
    pub(super) fn record_ahead(
        &self,
        ahead: &mut Ahead,
        offset: u32,
        limit: u64,
    ) -> io::Result<Option<Record>> {
        let record =
            self.record_by(&mut |bytes, at| ahead.read(self, bytes, at, limit), offset, limit)?;
        if record.is_none() {
            // It may be mended by now, or will be.
            *ahead = Ahead::default();
        }
        Ok(record)
    }

    fn record_by(&self, read: Read<'_>, offset: u32, limit: u64) -> io::Result<Option<Record>> {
        let Some((header, end)) = self.header_by(read, offset, limit)? else { return Ok(None) };
        let mut payload = Vec::new();
        if header.kind != Kind::Skip {
            payload.resize(header.length as usize, 0);
            if !read(&mut payload, offset + RECORD_HEADER)? {
                return Ok(None);
            }
        }
        let place = Place { segment: self.number, offset };
        if checksum(place, &header, &payload) != header.crc {
            return Ok(None);
        }
        Ok(Some(Record { header, payload, end }))
    }

    /// Where the first whole record behind `offset` starts, looking no further than `limit`.
    pub(super) fn next_record(&self, offset: u32, limit: u64) -> io::Result<Option<u32>> {
        let mut chunk = vec![0; SEARCH_CHUNK];
        // Whatever was here took a header at least, and a skip over it needs as much.
        let mut at = u64::from(offset.next_multiple_of(ALIGN)) + u64::from(RECORD_HEADER);
        while at + u64::from(RECORD_HEADER) <= limit {
            let got = self.read_at(&mut chunk, at)?;
            let usable = got - got % ALIGN as usize;
            if usable == 0 {
                return Ok(None);
            }
            for start in (0..usable).step_by(ALIGN as usize) {
                let here = at + start as u64;
                // Cheap look first: almost every position fails here.
                if chunk[start] != 0x53 || chunk.get(start + 1) != Some(&0xd5) {
                    continue;
                }
                let Ok(here) = u32::try_from(here) else { return Ok(None) };
                if self.record(here, limit)?.is_some() {
                    return Ok(Some(here));
                }
            }
            at += usable as u64;
        }
        Ok(None)
    }

    /// Whether all bytes from `offset` to `limit` are zero: room that was never written.
    pub(super) fn is_blank(&self, offset: u32, limit: u64) -> io::Result<bool> {
        let mut chunk = vec![0; SEARCH_CHUNK];
        let mut at = u64::from(offset);
        while at < limit {
            let want = chunk.len().min((limit - at) as usize);
            let got = self.read_at(&mut chunk[..want], at)?;
            if got == 0 {
                break;
            }
            if chunk[..got].iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += got as u64;
        }
        Ok(true)
    }

    /// What is in it.
    pub(super) fn survey(&self) -> io::Result<Survey> {
        let length = self.length()?;
        let (holes, end) = (Vec::new(), SEGMENT_HEADER);
        let mut survey = Survey { holes, newest_group: 0, end, sealed: false };
        loop {
            match self.record(survey.end, length)? {
                Some(record) => {
                    if record.header.kind != Kind::Skip {
                        survey.newest_group = survey.newest_group.max(record.header.group);
                    }
                    if record.header.kind == Kind::Seal {
                        survey.sealed = true;
                        return Ok(survey);
                    }
                    survey.end = record.end;
                }
                None => match self.next_record(survey.end, length)? {
                    Some(next) => {
                        survey.holes.push((survey.end, next));
                        survey.end = next;
                    }
                    None => return Ok(survey),
                },
            }
        }
    }

    /// The length of the plain segment.
    pub(super) fn length(&self) -> io::Result<u64> {
        match &self.packed {
            Some(packed) => Ok(packed.length()),
            None => self.file.metadata().map(|meta| meta.len()),
        }
    }

    /// All bytes of the plain segment, and whether all of them can be read: zeros stand for the
    /// others.
    pub(super) fn bytes(&self) -> io::Result<(Vec<u8>, bool)> {
        let mut bytes = vec![0; usize::try_from(self.length()?).map_err(io::Error::other)?];
        self.read(&mut bytes, 0)?;
        let can_be_read = self.packed.as_ref().map_or(Ok(true), Packed::can_be_read)?;
        Ok((bytes, can_be_read))
    }

    /// Fills `bytes` from `offset`; false when the segment ends before.
    pub(super) fn read(&self, bytes: &mut [u8], offset: u32) -> io::Result<bool> {
        let mut done = 0;
        while done < bytes.len() {
            match self.read_at(&mut bytes[done..], u64::from(offset) + done as u64)? {
                0 => return Ok(false),
                count => done += count,
            }
        }
        Ok(true)
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        match &self.packed {
            Some(packed) => packed.read_at(bytes, at),
            None => loop {
                match self.file.read_at(bytes, at) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => return read,
                }
            },
        }
    }
}
