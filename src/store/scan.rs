//! Going through all standings: of the image where there is one, or of sled.

use std::ops::Bound;
use std::sync::Arc;

use super::image::{Changes, Image, Images, pairs, stored_gist};
use super::keys::STANDING;
use super::{StoreError, reader::strange_key};

/// Rows of sled that are read at once.
const ROWS: usize = 512;

/// What is done with the key of each standing, and its gist as it is stored.
type Each<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError>;

/// All standings in the order of their keys: of the image, or from sled.
pub(super) struct Scan {
    tree: sled::Tree,
    /// With the place of its next block.
    image: Option<(Arc<Image>, u64)>,
    /// All up to this key were given.
    last: Vec<u8>,
}

impl Scan {
    pub(super) fn new(image: Option<Arc<Image>>, tree: sled::Tree) -> Scan {
        let image = image.map(|image| (image, Image::START));
        Scan { tree, image, last: vec![STANDING] }
    }

    /// From the image that there is, if any.
    pub(super) fn of(images: &Images, tree: sled::Tree) -> Scan {
        Scan::new(images.current(), tree)
    }

    /// Gives the next ones; says whether there can be more.
    ///
    /// # Errors
    /// When the store is damaged, or `each` says so.
    pub(super) fn more(&mut self, each: Each<'_>) -> Result<bool, StoreError> {
        let Some((image, at)) = &mut self.image else { return self.more_of_sled(each) };
        match image.block(*at) {
            Ok(Some((block, next))) => {
                let (last, _) = pairs(&block).last().ok_or_else(strange_key)?;
                merge(&block, &image.changed_in(&self.last, Some(last)), each)?;
                *at = next;
                self.last.clear();
                self.last.extend_from_slice(last);
                Ok(true)
            }
            Ok(None) => {
                merge(&[], &image.changed_in(&self.last, None), each)?;
                Ok(false)
            }
            Err(_) => {
                // sled has the rest too, and there will be another.
                image.give_up();
                self.image = None;
                Ok(true)
            }
        }
    }

    fn more_of_sled(&mut self, each: Each<'_>) -> Result<bool, StoreError> {
        let behind = (Bound::Excluded(self.last.clone()), Bound::Excluded(vec![STANDING + 1]));
        let mut rows = 0;
        for pair in self.tree.range::<Vec<u8>, _>(behind).take(ROWS) {
            let (key, value) = pair?;
            each(&key, &stored_gist(&key, &value)?)?;
            self.last.clear();
            self.last.extend_from_slice(&key);
            rows += 1;
        }
        Ok(rows == ROWS)
    }
}

/// Gives a block's pairs, and in their places those that have changed.
pub(super) fn merge(block: &[u8], changes: &Changes, each: Each<'_>) -> Result<(), StoreError> {
    let mut changes = changes.iter().map(|(key, gist)| (&**key, gist.as_deref())).peekable();
    for (key, gist) in pairs(block) {
        let mut gist = Some(gist);
        while let Some((changed, newer)) = changes.next_if(|(changed, _)| *changed <= key) {
            if changed == key {
                gist = newer;
            } else if let Some(newer) = newer {
                each(changed, newer)?;
            }
        }
        if let Some(gist) = gist {
            each(key, gist)?;
        }
    }
    for (key, gist) in changes {
        if let Some(gist) = gist {
            each(key, gist)?;
        }
    }
    Ok(())
}
