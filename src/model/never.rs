//! The addresses that are never suppressed, whatever is told of them.

use std::collections::BTreeSet;

use super::{Address, AddressError};

/// Addresses and whole domains. Facts about them are kept; no verdict follows from any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Never {
    addresses: BTreeSet<Box<str>>,
    domains: BTreeSet<Box<str>>,
}

impl Never {
    /// Adds an address, or a domain behind an `@`. A domain covers no subdomain.
    ///
    /// # Errors
    /// When it is neither.
    pub fn add(&mut self, text: &str) -> Result<(), AddressError> {
        if text.starts_with('@') {
            let probe = Address::parse(&format!("x{text}"))?;
            self.domains.insert(probe.domain().into());
        } else {
            self.addresses.insert(Address::named(text)?.key().into());
        }
        Ok(())
    }

    /// Whether the address with that key is one of them.
    pub fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// The entry that the address with that key is one of them by: itself, or its domain behind
    /// an `@`.
    pub fn entry<'k>(&self, key: &'k str) -> Option<&'k str> {
        if self.addresses.contains(key) {
            return Some(key);
        }
        if self.domains.is_empty() {
            return None;
        }
        let at = key.rfind('@')?;
        self.domains.contains(&key[at + 1..]).then(|| &key[at..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_covers_one_mailbox_or_one_domain() {
        let mut never = Never::default();
        assert_eq!(never.entry("a@x.test"), None);
        for text in ["PostMaster@Example.com", "@B\u{fc}cher.test"] {
            never.add(text).unwrap();
        }
        for (key, entry) in [
            ("postmaster@example.com", Some("postmaster@example.com")),
            ("other@example.com", None),
            ("anyone@xn--bcher-kva.test", Some("@xn--bcher-kva.test")),
            ("anyone@mail.xn--bcher-kva.test", None),
            ("\"a@xn--bcher-kva.test\"@x.test", None),
        ] {
            assert_eq!(never.entry(key), entry, "{key}");
        }
        for text in ["", "@", "example.com", "*", "*@x.test", "a b@x.test", "@x test", "a@@x.test"]
        {
            assert!(never.add(text).is_err(), "{text:?}");
        }
    }
}
