//! What is valid, or nearly, and most times not meant: each gets its word.
//!
//! No secret is shown, nor any part of one.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::near::nearest;
use super::section::{Field, shown};
use crate::secret::Secret;

/// AWS's regions (AWS General Reference, "Amazon SES endpoints and quotas").
const AWS_REGIONS: &[&str] = &[
    "af-south-1",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-5",
    "ca-central-1",
    "ca-west-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-west-1",
    "us-west-2",
];

/// What stands in examples where a secret is to be.
const STAND_INS: &[&str] = &[
    "apikey",
    "changeit",
    "changeme",
    "changethissecret",
    "developmentsecret",
    "dummy",
    "placeholder",
    "password",
    "replaceme",
    "secret",
    "tbd",
    "todo",
    "xxx",
    "xxxx",
    "xxxxxxxx",
    "yourapikey",
    "yoursecret",
];

/// Length of an access key's id, and of the secret that belongs to it (AWS IAM User Guide).
const AWS_ID_BYTES: usize = 20;
const AWS_SECRET_BYTES: usize = 40;

/// The shortest secret that is none too easy to guess, in bytes (NIST SP 800-63B, 5.1.1.1).
const SECRET_BYTES_MIN: usize = 8;

/// So many different bytes has any that was made by chance.
const DIFFERENT_MIN: usize = 4;

const GUESSED: &str =
    "anyone could guess it: use the provider's, or what `openssl rand -hex 32` makes";

/// What a text that is no TOML was meant to be, from where it goes wrong.
pub(super) fn syntax(text: &str, start: usize) -> Option<&'static str> {
    let from = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[from..].lines().next().unwrap_or_default();
    let (key, value) = line.split_once('=').unwrap_or((line, ""));
    if line.contains(['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}', '\u{ab}']) {
        return Some("these quotes are curly: write straight ones, \"…\"");
    }
    let value = value.trim_start();
    if key.trim() == "mode" && value.len() > 1 && value.starts_with('0') {
        return Some("write the mode in quotes, such as \"0644\"");
    }
    if text.trim_start().starts_with('{') {
        return Some("this is JSON, and the configuration is TOML: key = value, tables as [http]");
    }
    let (key, _) = line.trim_start_matches([' ', '-']).split_once(':').unwrap_or(("", ""));
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let is_yaml = line.starts_with("---") || !key.is_empty() && key.chars().all(word);
    is_yaml.then_some("this is YAML, and the configuration is TOML: key = value, tables as [http]")
}

/// Says what is odd about a secret; `false` if it cannot be one.
pub(super) fn secret(field: &Field<'_>, bytes: &[u8]) -> bool {
    let plain = bytes.trim_ascii();
    let text = std::str::from_utf8(plain).unwrap_or_default();
    if is_reference(text) {
        let hint = "nothing is replaced in a text: write { env = \"NAME\" } for a variable";
        field.problem("names what is to be put there, and is no secret", hint);
        return false;
    }
    if plain.len() != bytes.len() {
        let hint = "they are part of it: remove them, unless the provider's secret has them";
        field.warn("begins or ends with blanks", hint);
    }
    if let Some(what) = guessable(plain) {
        field.warn(what, GUESSED);
    }
    true
}

/// Where files with secrets lie, and with what no secret begins but by a rare chance.
const DIRECTORIES: &[&str] = &["/etc/", "/home/", "/opt/", "/root/", "/run/", "/srv/", "/var/"];

/// Says what is odd about a secret that stands in the configuration: it is the path of a file, or
/// everybody can read it there.
pub(super) fn literal(field: &Field<'_>, text: &str) {
    if DIRECTORIES.iter().any(|directory| text.starts_with(directory)) {
        let hint = "write { file = \"…\" }, if the secret is what the file holds";
        field.warn("is a path, which is taken for the secret itself", hint);
    }
    if field.walk.installed && !is_public(field) && is_open(field.walk.file) {
        let hint = "chmod o-r the configuration, or keep the secret in a file of its own";
        field.warn("stands in a file that every user of this host can read", hint);
    }
}

/// The permissions of everybody else to read a file, and to pass through a directory.
const OTHERS_READ: u32 = 0o004;
const OTHERS_PASS: u32 = 0o001;

/// Says that every user of this host can read the file of a secret, if it is so.
pub(super) fn secret_file(field: &Field<'_>, path: &Path) {
    // A relative path is one of a trial.
    if !is_public(field) && path.is_absolute() && is_open(path) {
        let hint = format!("chmod o-r {}, and let suppressd's group read it", path.display());
        field.warn("is a file that every user of this host can read", hint);
    }
}

/// Whether a key holds what a signature is checked by, which is no secret.
fn is_public(field: &Field<'_>) -> bool {
    field.place.path.split(['.', '[']).any(|key| matches!(key, "public_key" | "certificate"))
}

/// Whether every user of this host can read a file.
fn is_open(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else { return false };
    let allows = |path: &Path, bit| path.metadata().is_ok_and(|meta| meta.mode() & bit != 0);
    let mut above = path.ancestors().skip(1);
    allows(&path, OTHERS_READ) && above.all(|directory| allows(directory, OTHERS_PASS))
}

/// Why anyone could guess a secret, if it is so.
fn guessable(secret: &[u8]) -> Option<&'static str> {
    let letters = secret.iter().filter(|byte| byte.is_ascii_alphanumeric());
    let letters: Vec<u8> = letters.map(u8::to_ascii_lowercase).collect();
    if STAND_INS.iter().any(|text| text.as_bytes() == letters) {
        return Some("is what stands in examples, and no secret");
    }
    if secret.len() < SECRET_BYTES_MIN {
        return Some("is shorter than 8 characters");
    }
    let different: BTreeSet<&u8> = secret.iter().collect();
    (different.len() < DIFFERENT_MIN).then_some("repeats three characters or fewer")
}

/// Whether a text is what shells and templates replace.
fn is_reference(text: &str) -> bool {
    let within = |open, close| text.starts_with(open) && text.ends_with(close);
    let variable = text.strip_prefix('$').is_some_and(|name| {
        let rest = name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        rest && name.starts_with(|first: char| first.is_ascii_uppercase())
    });
    variable || within("${", "}") || within("$(", ")") || within("{{", "}}") || within("<", ">")
}

/// Says what is odd about the secrets under a provider's key.
pub(super) fn secrets_of(provider: &str, key: &str, field: &Field<'_>, secrets: &[Secret]) {
    if key == "basic" {
        let password = |secret: &Secret| {
            let bytes = secret.reveal();
            let colon = bytes.iter().position(|byte| *byte == b':')?;
            Some(bytes[colon + 1..].to_vec())
        };
        if secrets.iter().filter_map(password).any(|password| guessable(&password).is_some()) {
            field.warn("has a password that anyone could guess", GUESSED);
        }
    }
    let any = |is: fn(&[u8]) -> bool| secrets.iter().any(|secret| is(secret.reveal()));
    let is_id = |bytes: &[u8]| {
        bytes.len() == AWS_ID_BYTES && (bytes.starts_with(b"AKIA") || bytes.starts_with(b"ASIA"))
    };
    let swapped = match (provider, key) {
        ("amazon-ses", "access_key") => any(|bytes| bytes.len() == AWS_SECRET_BYTES),
        ("amazon-ses", "secret_key") => any(is_id),
        ("scaleway-tem", "secret_key") => any(|bytes| bytes.starts_with(b"SCW")),
        _ => false,
    };
    if swapped {
        let hint = "are access_key (the id) and secret_key swapped?";
        field.problem("looks like the other half of the pair", hint);
    }
}

/// Says what is odd about a text under a provider's key; `false` if it cannot be used.
pub(super) fn text_of(provider: &str, key: &str, field: &Field<'_>, text: &str) -> bool {
    match (provider, key) {
        ("amazon-ses", "region") if !AWS_REGIONS.contains(&text) => {
            let near = nearest(text, AWS_REGIONS.iter().copied());
            let hint = near.map_or_else(
                || "write it as the console does, such as \"eu-west-1\"".to_owned(),
                |near| format!("did you mean {near:?}?"),
            );
            field.warn(format!("{} is no region that this version knows", shown(text)), hint);
        }
        (_, "domains") if text.contains(['/', '@', ':']) => {
            let hint = "write the domain alone, such as \"mg.example.org\"";
            field.problem(format!("{} is not a domain", shown(text)), hint);
            return false;
        }
        (_, "topic_arns") if !text.starts_with("arn:") || text.matches(':').count() < 5 => {
            let hint = "copy the topic's ARN, such as \"arn:aws:sns:eu-west-1:123456789012:ses\"";
            field.problem(format!("{} is not an ARN", shown(text)), hint);
            return false;
        }
        _ => {}
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_replaced_is_told_from_a_secret() {
        for text in ["${KEY}", "$KEY_2", "$(cat key)", "{{ vault.key }}", "<your-key>"] {
            assert!(is_reference(text), "{text}");
        }
        for text in ["", "$", "$ecret", "$1", "pa$$word", "{\"a\":1}", "a<b>", "KEY"] {
            assert!(!is_reference(text), "{text}");
        }
    }
}
