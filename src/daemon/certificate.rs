//! What the public listener shows of itself, and who obtains that.

use std::sync::Arc;

use anyhow::Result;
use tokio_rustls::TlsAcceptor;

use super::Misconfigured;
use crate::acme::Keeper;
use crate::config::Config;
use crate::fetch::Fetcher;
use crate::http::{Identity, Tls, TlsError};

/// Who obtains the certificate, and how the CA is asked from now on.
pub(super) struct Kept {
    pub(super) keeper: Arc<Keeper>,
    pub(super) fetcher: Fetcher,
}

/// A TLS identity, and what begins TLS with it.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) identity: Arc<Identity>,
    pub(super) acceptor: TlsAcceptor,
}

/// Who obtains the certificate: the present one, where it is told the same.
pub(super) fn kept(config: &Config, present: Option<&Arc<Keeper>>) -> Result<Option<Kept>> {
    let Some(settings) = &config.http.acme else { return Ok(None) };
    let fetcher = settings.fetcher(config.proxy.as_ref());
    let fetcher = fetcher.map_err(|error| Misconfigured(format!("http.tls.acme.ca: {error}")))?;
    let fetcher = fetcher.naming(config.environment_proxy.as_ref());
    let keeper = present
        .filter(|keeper| keeper.keeps(settings))
        .cloned()
        .unwrap_or_else(|| Keeper::new(settings.clone(), &config.store.path, fetcher.clone()));
    Ok(Some(Kept { keeper, fetcher }))
}

/// What is read of a certificate, whoever writes it.
///
/// # Errors
/// When it cannot be used.
pub(super) fn shown(config: &Config, kept: Option<&Kept>) -> Result<Option<Shown>> {
    let shown = |tls: &Tls| {
        let identity = Identity::read(tls, kept.map(|kept| kept.keeper.challenges()))?;
        identity.tell_term();
        let acceptor = identity.acceptor()?;
        Ok(Shown { identity, acceptor })
    };
    let ours = kept.map(|_| Tls::kept(&config.store.path));
    let shown = ours.as_ref().or(config.http.tls.as_ref()).map(shown).transpose();
    Ok(shown.map_err(|error: TlsError| Misconfigured(format!("http.tls: {error}")))?)
}
