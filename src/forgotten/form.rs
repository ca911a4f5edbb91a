//! The two files: a first line with the number of their form and a checksum, then a line for each
//! address.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Hash, HashRows, Inner, KeptGround, KeptLift, Key, Pending, Person};
use crate::journal::{create_private, sync_dir};
use crate::model::{Lifts, Reason, Scope, SourceName, Time, Until};

/// The file of the hashes, and that of what is still to be erased, in the state directory.
pub const HASHES: &str = "forgotten";
pub(super) const PENDING: &str = "forgetting";
/// The number of the form of both, which their first line has. The first one had no sources, the
/// second no lifts, and one key.
const FORM: u8 = 3;
/// The first whose checksum covers its number.
const FORM_SUMMED: u8 = 3;
const DAMAGED: &str = "it is damaged: put back the one of a backup, or move it away; without it, \
    whoever was forgotten is mailed again";

#[derive(Serialize, Deserialize)]
struct Head {
    form: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The keys of other hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    others: Vec<String>,
    /// The CRC-32 of the form, the keys and all lines that follow.
    sum: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    hash: String,
    grounds: Vec<GroundLine>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lifts: Vec<LiftLine>,
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
    /// When it was told last; absent: when it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    told: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sources: Vec<SourceName>,
}

#[derive(Serialize, Deserialize)]
struct LiftLine {
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<SourceName>,
    at: String,
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
    let keys = head.key.iter().chain(&head.others);
    inner.keys = keys.map(|key| bytes(key)).collect::<io::Result<_>>()?;
    inner.people = lines.iter().map(|line| person(line)).collect::<io::Result<_>>()?;
    Ok(())
}

/// Somebody, as a line has them.
pub(super) fn person(line: &str) -> io::Result<(Hash, Person)> {
    let line: Line = serde_json::from_str(line).map_err(strange)?;
    let person = Person {
        grounds: line.grounds.iter().map(ground).collect::<io::Result<_>>()?,
        lifts: line.lifts.iter().map(lift).collect::<io::Result<_>>()?,
        since: time(&line.since)?,
        last: line.last.as_deref().map(time).transpose()?,
        told: line.told,
        rows: line.rows,
    };
    Ok((bytes(&line.hash)?, person))
}

/// The line of somebody, without its end.
pub(super) fn person_line(hash: &Hash, person: &Person) -> io::Result<String> {
    let line = Line {
        hash: HEXLOWER.encode(hash),
        grounds: person.grounds.iter().map(ground_line).collect(),
        lifts: person.lifts.iter().map(lift_line).collect(),
        since: person.since.to_string(),
        last: person.last.map(|last| last.to_string()),
        told: person.told,
        rows: person.rows.clone(),
    };
    serde_json::to_string(&line).map_err(io::Error::other)
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
    let mut text = String::new();
    for (hash, person) in &inner.people {
        text.push_str(&person_line(hash, person)?);
        text.push('\n');
    }
    replace(state, HASHES, &inner.keys, &text)
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
    replace(state, PENDING, &[], &text)
}

fn replace(state: &Path, name: &str, keys: &[Key], text: &str) -> io::Result<()> {
    let mut keys = keys.iter().map(|key| HEXLOWER.encode(key));
    let (key, others): (Option<String>, Vec<String>) = (keys.next(), keys.collect());
    let sum = sum(FORM, key.as_ref().into_iter().chain(&others), text);
    let head = line(&Head { form: FORM, key, others, sum })?;
    let (path, draft) = (state.join(name), state.join(format!("{name}.draft")));
    let mut file = create_private(&draft)?;
    file.write_all(head.as_bytes())?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(draft, path)?;
    sync_dir(state)
}

fn sum<'a>(form: u8, keys: impl Iterator<Item = &'a String>, text: &str) -> String {
    let mut hash = crc32fast::Hasher::new();
    if form >= FORM_SUMMED {
        hash.update(&[form]);
    }
    keys.for_each(|key| hash.update(key.as_bytes()));
    hash.update(text.as_bytes());
    HEXLOWER.encode(&hash.finalize().to_be_bytes())
}

fn ground(line: &GroundLine) -> io::Result<KeptGround> {
    let until = line.until.as_deref().map(time).transpose()?;
    let told = line.told.as_ref().unwrap_or(&line.since);
    Ok(KeptGround {
        scope: Scope::parse(&line.scope).ok_or_else(|| strange("no scope"))?,
        reason: Reason::parse(&line.reason).ok_or_else(|| strange("no reason"))?,
        since: time(&line.since)?,
        until: until.map_or(Until::Forever, Until::At),
        told: time(told)?,
        sources: line.sources.clone(),
    })
}

fn ground_line(ground: &KeptGround) -> GroundLine {
    GroundLine {
        scope: ground.scope.to_string(),
        reason: ground.reason.to_string(),
        since: ground.since.to_string(),
        until: ground.until.time().map(|end| end.to_string()),
        told: (ground.told != ground.since).then(|| ground.told.to_string()),
        sources: ground.sources.clone(),
    }
}

fn lift(line: &LiftLine) -> io::Result<KeptLift> {
    let reason = |word: &String| Reason::parse(word).ok_or_else(|| strange("no reason"));
    let reason = line.reason.as_ref().map(reason).transpose()?;
    Ok(KeptLift {
        scope: Scope::parse(&line.scope).ok_or_else(|| strange("no scope"))?,
        covers: Lifts { reason, source: line.source.clone() },
        at: time(&line.at)?,
    })
}

fn lift_line(KeptLift { scope, covers, at }: &KeptLift) -> LiftLine {
    LiftLine {
        scope: scope.to_string(),
        reason: covers.reason.map(|reason| reason.to_string()),
        source: covers.source.clone(),
        at: at.to_string(),
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
    let is_known = (1..=FORM).contains(&head.form);
    if !is_known || head.sum != sum(head.form, head.key.iter().chain(&head.others), rest) {
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
