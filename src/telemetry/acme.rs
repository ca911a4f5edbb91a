//! What is told of the certificate that a CA is asked for.

use std::fmt::Display;

use tracing::{debug, info, warn};

use crate::model::Time;

/// A certificate is ordered.
pub fn ordering(names: &str, directory: impl Display) {
    info!(names, %directory, "ordering a certificate");
}

/// It suggests when the certificate be renewed; or it does so no longer.
pub fn advice(directory: impl Display, renewal: Option<Time>) {
    match renewal {
        Some(renewal) => info!(%directory, %renewal, "the CA suggests when to renew"),
        None => info!(%directory, "the CA suggests no more when to renew"),
    }
}

/// It could not be asked for that.
pub fn no_advice(directory: impl Display, why: &str) {
    debug!(%directory, why, "the CA does not say when to renew: it is as usual");
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
