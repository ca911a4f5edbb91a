//! The two files: a first line with the number of their form and a checksum, then a line for each
//! address.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{HashRows, Inner, KeptGround, Pending, Person};
use crate::journal::{create_private, sync_dir};
use crate::model::{Reason, Scope, SourceName, Time, Until};

/// The file of the hashes, and that of what is still to be erased, in the state directory.
pub const HASHES: &str = "forgotten";
pub(super) const PENDING: &str = "forgetting";
/// The number of the form of both, which their first line has. The first one had no sources.
const FORM: u8 = 2;
const DAMAGED: &str = "it is damaged: put back the one of a backup, or move it away; without it, \
    whoever was forgotten is mailed again";

#[derive(Serialize, Deserialize)]
struct Head {
    form: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The CRC-32 of the key and of all lines that follow.
    sum: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    hash: String,
    grounds: Vec<GroundLine>,
    since: String,
    last: Option<String>,
    told: u64,
    rows: HashRows,
}

#[derive(Serialize, Deserialize)]
struct GroundLine {
    scope: String,
    reason: String,
    since: String,
    until: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sources: Vec<SourceName>,
}

#[derive(Serialize, Deserialize)]
struct PendingLine {
    address: String,
    #[serde(flatten)]
    pending: Pending,
}

/// Reads both.
pub(super) fn read(state: &Path) -> io::Result<Inner> {
    let mut inner = Inner::default();
    let named = |name: &str, error: io::Error| {
        let path = state.join(name);
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    };
    read_people(state, &mut inner).map_err(|error| named(HASHES, error))?;
    inner.pending = read_pending(state).map_err(|error| named(PENDING, error))?;
    Ok(inner)
}

fn read_people(state: &Path, inner: &mut Inner) -> io::Result<()> {
    let Some((head, lines)) = lines(&state.join(HASHES))? else { return Ok(()) };
    inner.key = head.key.as_deref().map(bytes).transpose()?;
    for line in lines {
        let line: Line = serde_json::from_str(&line).map_err(strange)?;
        let person = Person {
            grounds: line.grounds.iter().map(ground).collect::<io::Result<_>>()?,
            since: time(&line.since)?,
            last: line.last.as_deref().map(time).transpose()?,
            told: line.told,
            rows: line.rows,
        };
        inner.people.insert(bytes(&line.hash)?, person);
    }
    Ok(())
}

fn read_pending(state: &Path) -> io::Result<BTreeMap<String, Pending>> {
    let Some((_, lines)) = lines(&state.join(PENDING))? else { return Ok(BTreeMap::new()) };
    let one = |line: String| {
        let PendingLine { address, pending } = serde_json::from_str(&line).map_err(strange)?;
        Ok((address, pending))
    };
    lines.into_iter().map(one).collect()
}

/// Writes the hashes.
pub(super) fn save_people(state: &Path, inner: &Inner) -> io::Result<()> {
    let key = inner.key.map(|key| HEXLOWER.encode(&key));
    let mut text = String::new();
    for (hash, person) in &inner.people {
        text.push_str(&line(&Line {
            hash: HEXLOWER.encode(hash),
            grounds: person.grounds.iter().map(ground_line).collect(),
            since: person.since.to_string(),
            last: person.last.map(|last| last.to_string()),
            told: person.told,
            rows: person.rows.clone(),
        })?);
    }
    replace(state, HASHES, key, &text)
}

/// Writes what is still to be erased; where there is nothing, there is no file.
pub(super) fn save_pending(state: &Path, pending: &BTreeMap<String, Pending>) -> io::Result<()> {
    if pending.is_empty() {
        return match fs::remove_file(state.join(PENDING)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => sync_dir(state),
        };
    }
    let mut text = String::new();
    for (address, pending) in pending {
        text.push_str(&line(&PendingLine { address: address.clone(), pending: *pending })?);
    }
    replace(state, PENDING, None, &text)
}

fn replace(state: &Path, name: &str, key: Option<String>, text: &str) -> io::Result<()> {
    let sum = sum(key.as_deref(), text);
    let head = line(&Head { form: FORM, key, sum })?;
    let (path, draft) = (state.join(name), state.join(format!("{name}.draft")));
    let mut file = create_private(&draft)?;
    file.write_all(head.as_bytes())?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(draft, path)?;
    sync_dir(state)
}

fn sum(key: Option<&str>, text: &str) -> String {
    let mut hash = crc32fast::Hasher::new();
    hash.update(key.unwrap_or_default().as_bytes());
    hash.update(text.as_bytes());
    HEXLOWER.encode(&hash.finalize().to_be_bytes())
}

fn ground(line: &GroundLine) -> io::Result<KeptGround> {
    let until = line.until.as_deref().map(time).transpose()?;
    Ok(KeptGround {
        scope: Scope::parse(&line.scope).ok_or_else(|| strange("no scope"))?,
        reason: Reason::parse(&line.reason).ok_or_else(|| strange("no reason"))?,
        since: time(&line.since)?,
        until: until.map_or(Until::Forever, Until::At),
        sources: line.sources.clone(),
    })
}

fn ground_line(ground: &KeptGround) -> GroundLine {
    GroundLine {
        scope: ground.scope.to_string(),
        reason: ground.reason.to_string(),
        since: ground.since.to_string(),
        until: ground.until.time().map(|end| end.to_string()),
        sources: ground.sources.clone(),
    }
}

fn time(text: &str) -> io::Result<Time> {
    Time::parse(text).ok_or_else(|| strange("no time"))
}

fn bytes(text: &str) -> io::Result<[u8; 32]> {
    let bytes = HEXLOWER.decode(text.as_bytes()).map_err(strange)?;
    bytes.try_into().map_err(|_| strange("a hash of another length"))
}

/// The head and the lines of a file, if it is there.
fn lines(path: &Path) -> io::Result<Option<(Head, Vec<String>)>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let (head, rest) = text.split_once('\n').unwrap_or_default();
    let is_newer = |form: &Value| form.as_u64().is_some_and(|form| form > u64::from(FORM));
    let head: Value = serde_json::from_str(head).map_err(|_| strange(DAMAGED))?;
    if head.get("form").is_some_and(is_newer) {
        return Err(strange("a newer version of suppressd wrote it: start that version again"));
    }
    let head: Head = serde_json::from_value(head).map_err(|_| strange(DAMAGED))?;
    if !(1..=FORM).contains(&head.form) || head.sum != sum(head.key.as_deref(), rest) {
        return Err(strange(DAMAGED));
    }
    Ok(Some((head, rest.lines().map(str::to_owned).collect())))
}

fn line(value: &impl Serialize) -> io::Result<String> {
    Ok(serde_json::to_string(value).map_err(io::Error::other)? + "\n")
}

fn strange(what: impl ToString) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_string())
}
