//! Whether a certificate can be served: it has its key, and its term has not ended.

use crate::config::Problem;
use crate::http::{Identity, Tls};
use crate::model::Time;

const KEY: &str = "http.tls";

/// What is wrong with an identity.
pub(super) fn fault(tls: &Tls, now: Time) -> Option<Problem> {
    let hint = "give the chain and the key that belongs to its first certificate, both PEM";
    match Identity::read(tls) {
        Err(error) => Some(Problem::late(KEY, None, error.to_string(), hint)),
        Ok(identity) => {
            let end = identity.state().get().end.filter(|end| end.second() < now.second())?;
            let what = format!("the certificate ended at {end}");
            Some(Problem::late(KEY, None, what, "renew it"))
        }
    }
}
