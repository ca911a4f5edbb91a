//! What is told of the certificate that a CA is asked for.

use std::fmt::Display;

use tracing::{info, warn};

use crate::model::Time;

/// A certificate is ordered.
pub fn ordering(names: &str, directory: impl Display) {
    info!(names, %directory, "ordering a certificate");
}

/// It is there.
pub fn issued(names: &str, end: Time, renewal: Time) {
    info!(names, %end, %renewal, "the certificate is issued");
}

/// There is none, or no newer one.
pub fn failed(names: &str, directory: impl Display, why: &str, next: Time) {
    let next = next.floor_second();
    warn!(names, %directory, why, %next, "no certificate was issued; a reload tries again at once");
}

/// The CA knows us from now on.
pub fn account(directory: impl Display) {
    info!(%directory, "the CA has made an account");
}

/// The CA does not know us any more.
pub fn forgotten(directory: impl Display) {
    warn!(%directory, "the CA does not know the account any more: another is made");
}

/// A file of ours cannot be used.
pub fn unusable(file: impl Display, why: impl Display) {
    warn!(%file, %why, "this cannot be used: another is had from the CA in its place");
}
