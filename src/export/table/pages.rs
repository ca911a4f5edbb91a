//! The rows of an LMDB map, read page by page without mapping it: a file that others cut, replace
//! or damage meanwhile is an error here, never a crash.
//!
//! Reads what Postfix and we write: pages of 4096 bytes, version 1, one unnamed database without
//! duplicates. [`check`] also looks at what LMDB itself finds rows by. Source: `mdb.c` of LMDB 0.9.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The length of a page, and of what is read of each of the first two.
pub(super) const PAGE_BYTES: usize = 4096;
const META_BYTES: usize = 136;

/// What these begin with: LMDB's magic number, and version 1.
const MAGIC: u64 = 0x1_beef_c0de;

/// What a page begins with; the places of its nodes follow, in two bytes each.
const HEADER_BYTES: usize = 16;

/// The space that a map may ask its readers for, in bytes: far more than any of ours does.
const SPACE_BYTES_MAX: u64 = 1 << 40;

/// Before a node's key: length of the value or number of the page in six bytes, flags among them
/// in a leaf, and the key's length.
const NODE_BYTES: usize = 8;

const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const META: u16 = 8;

/// The value is on pages of its own. A leaf's node without duplicates has no other flag.
const BIG: u16 = 1;

/// Deepest tree, and longest value, in bytes: far more than any of ours.
const DEPTH_MAX: u16 = 16;
const VALUE_BYTES_MAX: usize = 1 << 20;

/// What a map says of itself.
pub(super) struct Meta {
    depth: u16,
    root: u64,
    last_page: u64,
    transaction: u64,
}

impl Meta {
    /// Of the newer one of the first two pages. `None`: it is not in the form that Postfix and we
    /// write.
    pub(super) fn of(file: &File) -> Option<Meta> {
        let read = |page: u64| Meta::read(&meta_bytes(file, page).ok()?);
        // Of two of one age LMDB takes the first.
        [read(1), read(0)].into_iter().flatten().max_by_key(|meta| meta.transaction)
    }

    fn read(bytes: &[u8]) -> Option<Meta> {
        let meta = Meta {
            depth: short(bytes, 78)?,
            root: long(bytes, 112)?,
            last_page: long(bytes, 120)?,
            transaction: long(bytes, 128)?,
        };
        (long(bytes, 0)? == MAGIC).then_some(meta)
    }

    /// Of the newer one, the number of the change that made it.
    pub(super) fn transaction(file: &File) -> Option<u64> {
        Meta::of(file).map(|meta| meta.transaction)
    }

    /// How long the file must be at least, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.last_page.saturating_add(1).saturating_mul(PAGE_BYTES as u64)
    }
}

/// What one of the first two pages says of the map.
fn meta_bytes(file: &File, page: u64) -> io::Result<[u8; META_BYTES]> {
    let mut bytes = [0; META_BYTES];
    file.read_exact_at(&mut bytes, page * PAGE_BYTES as u64 + HEADER_BYTES as u64)?;
    Ok(bytes)
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// What is called with a key and a value.
type Each<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> io::Result<()>;

/// Calls `each` with every key and value, ascending.
pub(super) fn visit(file: &File, meta: &Meta, each: Each<'_>) -> io::Result<()> {
    if meta.depth == 0 {
        return Ok(());
    }
    if meta.depth > DEPTH_MAX {
        return Err(damaged());
    }
    // Each page is in the tree once, so that a damaged one has an end too.
    let mut walk = Walk { file, left: meta.last_page, each };
    walk.page(meta.root, meta.depth)
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the LMDB map is damaged")
}

/// Whether LMDB would find each key that [`visit`] calls with, and nothing in the way of it.
///
/// # Errors
/// When it would not.
pub(super) fn check(file: &File) -> io::Result<()> {
    [0, 1].into_iter().try_for_each(|page| is_meta(file, page))?;
    let meta = Meta::of(file).ok_or_else(damaged)?;
    if file.metadata()?.len() < meta.bytes() || meta.depth > DEPTH_MAX {
        return Err(damaged());
    }
    if meta.depth == 0 {
        return if meta.root == u64::MAX { Ok(()) } else { Err(damaged()) };
    }
    let mut order = Order { file, left: meta.last_page, last: None };
    order.page(meta.root, meta.depth, None, None)
}

/// Whether one of the first two pages is in the form that LMDB opens, and as we make it.
fn is_meta(file: &File, page: u64) -> io::Result<()> {
    let mut head = [0; HEADER_BYTES];
    file.read_exact_at(&mut head, page * PAGE_BYTES as u64)?;
    let bytes = meta_bytes(file, page)?;
    let is_page = long(&head, 0) == Some(page) && short(&head, 10) == Some(META);
    // The size of a page stands where LMDB's own database has it; the other has no flags, as one
    // with duplicates or in another order would.
    let is_form = long(&bytes, 0) == Some(MAGIC)
        && long(&bytes, 8) == Some(0)
        && long(&bytes, 16).is_some_and(|space| space <= SPACE_BYTES_MAX)
        && long(&bytes, 24).is_some_and(|pad| pad as u32 == PAGE_BYTES as u32)
        && short(&bytes, 76) == Some(0);
    if is_page && is_form { Ok(()) } else { Err(damaged()) }
}

/// A walk that compares each key with the one before, and with those of the branches above.
struct Order<'a> {
    file: &'a File,
    left: u64,
    last: Option<Vec<u8>>,
}

impl Order<'_> {
    /// A page whose keys are from the first of these on, and before the second.
    fn page(
        &mut self,
        number: u64,
        depth: u16,
        from: Option<&[u8]>,
        to: Option<&[u8]>,
    ) -> io::Result<()> {
        self.left = self.left.checked_sub(1).ok_or_else(damaged)?;
        let mut page = [0; PAGE_BYTES];
        let nodes: Vec<&[u8]> =
            nodes(self.file, number, depth, &mut page)?.collect::<io::Result<_>>()?;
        let keys: Vec<&[u8]> =
            nodes.iter().map(|node| key_of(node)).collect::<Option<_>>().ok_or_else(damaged)?;
        for (at, node) in nodes.iter().enumerate() {
            if depth > 1 {
                // The first node of a branch has no key.
                let below = if at == 0 { from } else { Some(keys[at]) };
                let above = keys.get(at + 1).copied().or(to);
                self.page(child(node).ok_or_else(damaged)?, depth - 1, below, above)?;
                continue;
            }
            let key = keys[at];
            let is_in_place = from.is_none_or(|from| from <= key)
                && to.is_none_or(|to| key < to)
                && self.last.as_deref().is_none_or(|last| last < key);
            if !is_in_place || short(node, 4).is_none_or(|flags| flags & !BIG != 0) {
                return Err(damaged());
            }
            let last = self.last.get_or_insert_default();
            last.clear();
            last.extend_from_slice(key);
        }
        Ok(())
    }
}

/// Whether there is that key, by the pages on the way to it.
pub(super) fn has(file: &File, meta: &Meta, key: &[u8]) -> io::Result<bool> {
    if meta.depth > DEPTH_MAX {
        return Err(damaged());
    }
    let (mut number, mut page) = (meta.root, [0; PAGE_BYTES]);
    for depth in (1..=meta.depth).rev() {
        let mut below = None;
        for node in nodes(file, number, depth, &mut page)? {
            let node = node?;
            let stored = key_of(node).ok_or_else(damaged)?;
            if depth == 1 && stored == key {
                return Ok(true);
            }
            // The first node of a branch stands for all that is before the second.
            if depth > 1 && (below.is_none() || stored <= key) {
                below = Some(child(node).ok_or_else(damaged)?);
            }
        }
        number = below.unwrap_or_default();
    }
    Ok(false)
}

/// The nodes of a page that is so far above the leaves, counted from 1.
fn nodes<'a>(
    file: &File,
    number: u64,
    depth: u16,
    page: &'a mut [u8; PAGE_BYTES],
) -> io::Result<impl Iterator<Item = io::Result<&'a [u8]>> + use<'a>> {
    let at = number.checked_mul(PAGE_BYTES as u64).ok_or_else(damaged)?;
    file.read_exact_at(page, at)?;
    let page = &*page;
    let is = short(page, 10).unwrap_or_default();
    let kind = if depth == 1 { LEAF } else { BRANCH };
    let end = usize::from(short(page, 12).unwrap_or_default());
    if is != kind || end > PAGE_BYTES {
        return Err(damaged());
    }
    Ok((HEADER_BYTES..end).step_by(2).map(move |place| {
        let node = usize::from(short(page, place).ok_or_else(damaged)?);
        page.get(node..).ok_or_else(damaged)
    }))
}

/// The key of a node.
fn key_of(node: &[u8]) -> Option<&[u8]> {
    node.get(NODE_BYTES..)?.get(..usize::from(short(node, 6)?))
}

/// The page that a branch's node leads to.
fn child(node: &[u8]) -> Option<u64> {
    let [low, middle, high] = [short(node, 0)?, short(node, 2)?, short(node, 4)?].map(u64::from);
    Some(low | middle << 16 | high << 32)
}

struct Walk<'a> {
    file: &'a File,
    left: u64,
    each: Each<'a>,
}

impl Walk<'_> {
    fn page(&mut self, number: u64, depth: u16) -> io::Result<()> {
        self.left = self.left.checked_sub(1).ok_or_else(damaged)?;
        let mut page = [0; PAGE_BYTES];
        for node in nodes(self.file, number, depth, &mut page)? {
            let node = node?;
            if depth == 1 {
                self.leaf(node).ok_or_else(damaged)??;
            } else {
                self.page(child(node).ok_or_else(damaged)?, depth - 1)?;
            }
        }
        Ok(())
    }

    fn leaf(&mut self, node: &[u8]) -> Option<io::Result<()>> {
        let length = usize::from(short(node, 0)?) | usize::from(short(node, 2)?) << 16;
        let key_length = usize::from(short(node, 6)?);
        let (key, rest) = node.get(NODE_BYTES..)?.split_at_checked(key_length)?;
        if short(node, 4)? & BIG == 0 {
            return Some((self.each)(key, rest.get(..length)?));
        }
        let mut value = vec![0; Some(length).filter(|length| *length <= VALUE_BYTES_MAX)?];
        let at = long(rest, 0)?.checked_mul(PAGE_BYTES as u64)? + HEADER_BYTES as u64;
        let read = self.file.read_exact_at(&mut value, at);
        Some(read.and_then(|()| (self.each)(key, &value)))
    }
}
