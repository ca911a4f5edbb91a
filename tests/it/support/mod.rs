//! What stands around the daemon in tests.

pub(crate) mod feed;
