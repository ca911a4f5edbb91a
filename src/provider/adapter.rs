//! A handle on a provider: one of this program's, or one that the configuration describes.

use std::ops::Deref;
use std::sync::Arc;

use super::Provider;

/// A provider that somebody works with. Cheap to clone; a described one goes with its last handle.
#[derive(Clone)]
pub enum Adapter {
    /// One that this version has.
    Known(&'static dyn Provider),
    /// One that a source describes.
    Described(Arc<dyn Provider>),
}

impl Deref for Adapter {
    type Target = dyn Provider;

    fn deref(&self) -> &(dyn Provider + 'static) {
        match self {
            Adapter::Known(provider) => *provider,
            Adapter::Described(provider) => &**provider,
        }
    }
}

impl From<&'static dyn Provider> for Adapter {
    fn from(provider: &'static dyn Provider) -> Adapter {
        Adapter::Known(provider)
    }
}
