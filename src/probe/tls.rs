//! Whether a certificate can be served: it has its key, and its term has not ended.

use crate::config::{Problem, Weight};
use crate::http::{Identity, Tls};
use crate::model::Time;

const RENEW: &str = "renew it; the running daemon takes a new one by itself";

/// What is wrong with an identity, which is that key of the configuration.
pub(super) fn fault(key: &str, tls: &Tls, now: Time) -> Option<Problem> {
    let hint = "give the chain and the key that belongs to its first certificate, both PEM";
    match Identity::read(tls, None) {
        Err(error) => Some(Problem::late(key, None, error.to_string(), hint)),
        Ok(identity) => {
            let what = identity.state().get().term(now)?;
            let problem = Problem::late(key, None, format!("the certificate: {what}"), RENEW);
            let weight = match identity.state().get().has_ended(now) {
                true => Weight::Fault,
                false => Weight::Warning,
            };
            Some(Problem { weight, ..problem })
        }
    }
}
