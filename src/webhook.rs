//! One notification, from authentication to receipt: what is behind `POST /hooks/<source>`.

use crate::model::SourceName;
use crate::provider::{Check, Provider};

/// One source's webhook.
#[derive(Clone)]
pub struct Settings {
    /// The source; part of the webhook's path.
    pub source: SourceName,
    /// Its provider.
    pub provider: &'static dyn Provider,
    /// All of these must hold. Empty only where the configuration says `auth = "none"`.
    pub checks: Vec<Check>,
}
