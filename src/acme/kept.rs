//! What is kept in the state directory's `acme/`: the account, and the certificate with its key.
//!
//! Each is one file for its owner alone, which another takes the place of whole. Blocking.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use instant_acme::AccountCredentials;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use x509_cert::Certificate as Parsed;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, SubjectAltName};
use x509_cert::time::Time as Stamp;

use super::Settings;
use crate::model::Time;
use crate::telemetry;

/// The folder in the state directory.
const FOLDER: &str = "acme";

/// The form of both files.
const FORM: u32 = 1;

/// What the first line of the certificate's file begins with; form and directory follow.
const TITLE: &str = "suppressd-acme-certificate";

/// Permissions: nobody else has a look at keys.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

const UNUSABLE: &str = "it is damaged, or of another version of suppressd";

/// The whole of a file.
///
/// # Errors
/// When it cannot be read.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path)
}

/// The folder of a state directory.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

/// An account, as its file has it.
#[derive(Serialize, Deserialize)]
pub(super) struct Account {
    form: u32,
    /// Whose it is.
    directory: String,
    /// Whom the CA was told to write to.
    contact: Vec<String>,
    /// What the protocol's library needs.
    credentials: AccountCredentials,
}

impl Account {
    pub(super) fn new(settings: &Settings, credentials: AccountCredentials) -> Account {
        let (directory, contact) = (settings.directory.to_string(), settings.contact.clone());
        Account { form: FORM, directory, contact, credentials }
    }
}

/// A certificate that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    directory: String,
    names: Vec<String>,
    start: Time,
    /// When its term ends.
    pub(super) end: Time,
    /// What a CA calls it (RFC 9773, section 4.1), if it can.
    pub(super) id: Option<String>,
}

impl Kept {
    /// Whether it is what the settings ask for. It may have names that are wanted no more.
    pub(super) fn fits(&self, settings: &Settings) -> bool {
        let has = |domain| self.names.contains(domain);
        self.directory == settings.directory.as_str() && settings.domains.iter().all(has)
    }

    /// How long it is good for in all.
    pub(super) fn term(&self) -> Duration {
        self.end.since(self.start)
    }

    /// When another is to take its place: after two thirds of its term.
    pub(super) fn renewal(&self) -> Time {
        self.start.plus(self.term() / 3 * 2)
    }

    /// When that is, whoever wishes for a later one.
    pub(super) fn latest_renewal(&self) -> Time {
        self.start.plus(self.term() / 10 * 9)
    }

    /// The one in a text, if it can be used.
    fn parse(text: &str) -> Option<Kept> {
        let mut title = text.lines().next()?.split_whitespace();
        let (TITLE, form, directory) = (title.next()?, title.next()?, title.next()?) else {
            return None;
        };
        let chain = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
        let (chain, key) = (chain.ok()?, PrivateKeyDer::from_pem_slice(text.as_bytes()).ok()?);
        let first = Parsed::from_der(chain.first()?).ok()?;
        CertifiedKey::from_der(chain, key, &ring::default_provider()).ok()?;
        let certificate = first.tbs_certificate();
        let (_, SubjectAltName(names)) = certificate.get_extension().ok()??;
        let name = |name: GeneralName| match name {
            GeneralName::DnsName(name) => Some(name.to_string().to_ascii_lowercase()),
            _ => None,
        };
        let validity = certificate.validity();
        let kept = Kept {
            directory: directory.to_owned(),
            names: names.into_iter().filter_map(name).collect(),
            start: time(validity.not_before)?,
            end: time(validity.not_after)?,
            id: id(&first),
        };
        (form.parse() == Ok(FORM)).then_some(kept)
    }
}

/// The authority's key and the serial number, each in Base64.
fn id(certificate: &Parsed) -> Option<String> {
    let certificate = certificate.tbs_certificate();
    let (_, authority) = certificate.get_extension::<AuthorityKeyIdentifier>().ok()??;
    let mut serial = certificate.serial_number().as_bytes().to_vec();
    if serial.first().is_none_or(|first| first & 0x80 != 0) {
        // As it stands there, with a sign.
        serial.insert(0, 0);
    }
    let key = BASE64URL_NOPAD.encode(authority.key_identifier?.as_bytes());
    Some(format!("{key}.{}", BASE64URL_NOPAD.encode(&serial)))
}

fn time(time: Stamp) -> Option<Time> {
    i64::try_from(time.to_unix_duration().as_secs()).ok().map(Time::from_seconds)
}

impl Folder {
    pub(super) fn of(state: &Path) -> Folder {
        Folder(state.join(FOLDER))
    }

    /// Where the certificate is, with its key.
    pub(super) fn certificate(&self) -> PathBuf {
        self.0.join("certificate.pem")
    }

    /// The certificate. What cannot be used is told, and is none.
    pub(super) fn load(&self) -> Option<Kept> {
        let (path, text) = present(self.certificate())?;
        let kept = Kept::parse(&text);
        if kept.is_none() {
            telemetry::acme::unusable(path.display(), UNUSABLE);
        }
        kept
    }

    /// Puts the certificate that the settings ask for in the place of the one of before.
    pub(super) fn store(&self, settings: &Settings, pem: &str) -> io::Result<Kept> {
        let text = format!("{TITLE} {FORM} {}\n{pem}", settings.directory);
        let kept = Kept::parse(&text).filter(|kept| kept.fits(settings));
        let kept = kept.ok_or_else(|| io::Error::other("it is no certificate for these names"))?;
        self.replace(&self.certificate(), &text).map(|()| kept)
    }

    /// The account that the settings ask for, if there is one.
    pub(super) fn account(&self, settings: &Settings) -> Option<AccountCredentials> {
        let (path, text) = present(self.account_file())?;
        let account = serde_json::from_str::<Account>(&text).ok();
        let Some(account) = account.filter(|account| account.form == FORM) else {
            telemetry::acme::unusable(path.display(), UNUSABLE);
            return None;
        };
        let is_its = account.directory == settings.directory.as_str();
        (is_its && account.contact == settings.contact).then_some(account.credentials)
    }

    /// Puts an account in the place of the one of before.
    pub(super) fn store_account(&self, account: &Account) -> io::Result<()> {
        self.replace(&self.account_file(), &serde_json::to_string(account)?)
    }

    fn account_file(&self) -> PathBuf {
        self.0.join("account.json")
    }

    /// Makes a file durable beside another, and has it take its place.
    fn replace(&self, path: &Path, text: &str) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&self.0)?;
        let draft = path.with_extension("draft");
        // Not one that was made by others, with other permissions.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        File::open(&self.0)?.sync_all()
    }
}

/// What is in a file, if it is there.
fn present(path: PathBuf) -> Option<(PathBuf, String)> {
    match fs::read_to_string(&path) {
        Ok(text) => Some((path, text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            telemetry::acme::unusable(path.display(), error);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// A key and a certificate from 2026-01-01 to 2026-04-01.
    fn pem(names: &[&str]) -> String {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2026, 4, 1);
        let key = KeyPair::generate().unwrap();
        key.serialize_pem() + &params.self_signed(&key).unwrap().pem()
    }

    fn settings(domains: &[&str], directory: &str) -> Settings {
        Settings {
            domains: domains.iter().map(|name| (*name).to_owned()).collect(),
            contact: Vec::new(),
            directory: directory.parse().unwrap(),
            ca: None,
        }
    }

    #[test]
    fn a_certificate_is_kept_for_its_names_and_directory() {
        let state = tempfile::tempdir().unwrap();
        let folder = Folder::of(state.path());
        assert_eq!(folder.load(), None);
        let wanted = settings(&["b.test", "a.test"], "https://ca.test/dir");
        let stored = folder.store(&wanted, &pem(&["a.test", "b.test"])).unwrap();
        assert_eq!(folder.load(), Some(stored.clone()));
        assert_eq!(stored.renewal(), Time::parse("2026-03-02T00:00:00Z").unwrap());
        assert!(stored.fits(&wanted) && stored.fits(&settings(&["a.test"], "https://ca.test/dir")));
        for (domains, directory) in [
            (&["a.test", "b.test", "c.test"][..], "https://ca.test/dir"),
            (&["a.test", "b.test"], "https://ca.test/other"),
        ] {
            assert!(!stored.fits(&settings(domains, directory)), "{domains:?} {directory}");
        }
        assert!(folder.store(&wanted, "no certificate").is_err());
        assert!(folder.store(&wanted, &pem(&["a.test"])).is_err());
        assert_eq!(folder.load(), Some(stored), "nothing worse takes its place");
    }

    #[test]
    fn what_is_damaged_or_of_another_form_is_none() {
        let state = tempfile::tempdir().unwrap();
        let folder = Folder::of(state.path());
        let wanted = settings(&["a.test"], "https://ca.test/dir");
        folder.store(&wanted, &pem(&["a.test"])).unwrap();
        let whole = fs::read_to_string(folder.certificate()).unwrap();
        let other = format!("{TITLE} 1 https://ca.test/dir\n{}", pem(&["a.test"]));
        let other_key = other[..other.find("-----BEGIN CERT").unwrap()].to_owned();
        for text in [
            whole.replacen("certificate 1 ", "certificate 2 ", 1),
            whole.lines().skip(1).collect::<Vec<_>>().join("\n"),
            whole[..whole.len() / 2].to_owned(),
            other_key + &whole[whole.find("-----BEGIN CERT").unwrap()..],
            String::new(),
        ] {
            fs::write(folder.certificate(), &text).unwrap();
            assert_eq!(folder.load(), None, "{text}");
        }
        for text in ["", "{}", "{\"form\":2,\"directory\":\"https://ca.test/dir\"}"] {
            fs::write(folder.account_file(), text).unwrap();
            assert!(folder.account(&wanted).is_none(), "{text}");
        }
    }
}
