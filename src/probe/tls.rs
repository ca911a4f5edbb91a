//! Whether a certificate can be served: it has its key, its term has not ended, and it is of the
//! host that is called.

use url::Url;

use crate::config::{Problem, Weight};
use crate::http::{Identity, Tls};
use crate::model::Time;

const RENEW: &str = "renew it; the running daemon takes a new one by itself";

const NAME: &str = "providers that verify it deliver nothing: give the certificate of that host";

/// That the certificate is of other hosts than the one that providers call.
pub(super) fn stranger(key: &str, tls: &Tls, public_url: Option<&Url>) -> Option<Problem> {
    let host = public_url?.host_str()?;
    // An address of version 6 stands in brackets.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if Identity::read(tls, None).ok()?.is_of(host) {
        return None;
    }
    let what = format!("the certificate is not of {host}, which is in http.public_url");
    let problem = Problem::late(key, None, what, NAME);
    Some(Problem { weight: Weight::Warning, ..problem })
}

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
