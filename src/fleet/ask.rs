//! Asking other hosts for what is missing here: records that the stream has lost, and standings
//! where no journal has the records any more.
//!
//! What is missing is judged by what the others say that they know, and asked for from any of them.
//! Answers come to the asker alone.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::Client;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::digest::{self, BUCKETS, Buckets};
use super::hand_in::{Came, Parts};
use super::letter::{Answer, Ask, read, write};
use super::{Fleet, connected};
use crate::clock;
use crate::model::{Element, Known, Position, Time};
use crate::telemetry;

/// How often it is looked for holes.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long what is missing may still come by the stream.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often a host is asked for its standings.
const FILL_EVERY: Duration = Duration::from_secs(30);
/// How often hosts that are level compare their standings.
const COMPARE_EVERY: Duration = Duration::from_secs(60 * 60);
/// How long an answer may take. A host may have to look through much of its journal,
const ANSWER: Duration = Duration::from_secs(20);
/// or through all of its standings.
const ANSWER_OF_ALL: Duration = Duration::from_secs(10 * 60);

/// One life of a host.
type Of = (Box<str>, u64);

/// What is to be repaired, and from whom. `None`: whatever differs, from everybody.
pub(super) struct Repair {
    pub(super) from: Option<(Box<str>, Buckets)>,
}

/// What is missing, and since when that has not changed.
struct Missing {
    upto: Position,
    since: Instant,
}

/// What is being asked for.
#[derive(Default)]
struct Asking {
    missing: BTreeMap<Of, Missing>,
    parts: Parts,
    /// When each host was asked for its standings last.
    filled: BTreeMap<Box<str>, Instant>,
    /// How far that came, where it was broken off.
    fills: BTreeMap<Box<str>, Filling>,
}

/// How far the standings of a host are taken over.
#[derive(Default)]
struct Filling {
    /// Those up to this address are.
    after: String,
    /// What was known there before the first of them was looked at. It is in all that follow.
    reached: Option<Vec<Known>>,
}

impl Fleet {
    /// Asks for what is missing, for as long as this host lives.
    pub(super) async fn ask_for_holes(&self, client: &Client) {
        let mut asking = Asking::default();
        loop {
            let _ = tokio::time::timeout(LOOK_EVERY, self.heard.notified()).await;
            connected(client).await;
            let wanted = self.wanted();
            asking.missing.retain(|of, _| wanted.contains_key(of));
            for (of, target) in wanted {
                let upto = self.reach_of(&of);
                let known = asking
                    .missing
                    .entry(of.clone())
                    .or_insert_with(|| Missing { upto, since: Instant::now() });
                if known.upto != upto {
                    *known = Missing { upto, since: Instant::now() };
                }
                if known.since.elapsed() >= PATIENCE {
                    self.ask_for(client, &of, target, &mut asking).await;
                    asking.missing.remove(&of);
                }
            }
            telemetry::fleet::missing(asking.missing.len());
        }
    }

    /// Of which lives others know more than this host does, and up to where.
    fn wanted(&self) -> BTreeMap<Of, Position> {
        let mut wanted: BTreeMap<Of, Position> = BTreeMap::new();
        let ours = (Box::from(&*self.settings.host), self.life().number);
        let sight = self.sight();
        let told = sight.living(clock::now()).flat_map(|(_, head)| &head.seen);
        for Known { host, life, upto } in told {
            let of = (host.clone(), *life);
            if of != ours {
                let target = wanted.entry(of).or_default();
                *target = (*target).max(*upto);
            }
        }
        drop(sight);
        // Of a life that has told nothing yet nothing is missing.
        wanted.retain(|of, target| self.reach_of(of) < *target);
        wanted
    }

    fn reach_of(&self, of: &Of) -> Position {
        self.reaches().get(of).map(|reach| reach.upto()).unwrap_or_default()
    }

    /// Asks every host that has it, the one that was told it itself first, until all of it is here.
    async fn ask_for(&self, client: &Client, of: &Of, target: Position, asking: &mut Asking) {
        for (host, claimed) in self.who_has(of) {
            let from = self.reach_of(of);
            if from >= target {
                return;
            }
            telemetry::fleet::asks(&host, &of.0);
            let upto = claimed.min(target);
            let asked = self.ask_records(client, &host, of, (from, upto), &mut asking.parts).await;
            if let Err(problem) = asked {
                self.sight().fails("asking", format!("{host}: {problem}"));
                continue;
            }
            if self.reach_of(of) >= upto {
                self.sight().works("asking");
                continue;
            }
            // It says that it knows all of it, and has no records of it: the standings have.
            let recently = asking.filled.get(&host).is_some_and(|at| at.elapsed() < FILL_EVERY);
            if recently {
                continue;
            }
            asking.filled.insert(host.clone(), Instant::now());
            let filling = asking.fills.entry(host.clone()).or_default();
            match self.fill(client, &host, Buckets::all(), filling).await {
                Ok(()) => {
                    asking.fills.remove(&host);
                    self.sight().works("asking");
                }
                Err(problem) => self.sight().fails("asking", format!("{host}: {problem}")),
            }
        }
    }

    /// The living hosts that know more of a life than we do, and up to where.
    fn who_has(&self, of: &Of) -> Vec<(Box<str>, Position)> {
        let here = self.reach_of(of);
        let sight = self.sight();
        let mut who: Vec<(Box<str>, Position)> = sight
            .living(clock::now())
            .flat_map(|(host, head)| {
                let known =
                    head.seen.iter().filter(|known| (&known.host, known.life) == (&of.0, of.1));
                known.map(move |known| (Box::from(host), known.upto))
            })
            .filter(|(_, upto)| *upto > here)
            .collect();
        who.sort_by_key(|(host, upto)| (*host != of.0, std::cmp::Reverse(*upto)));
        who
    }

    async fn ask_records(
        &self,
        client: &Client,
        host: &str,
        of: &Of,
        (from, upto): (Position, Position),
        parts: &mut Parts,
    ) -> Result<(), String> {
        let mut on = None;
        loop {
            let (origin, life) = (of.0.clone(), of.1);
            let ask = Ask::Records { host: origin, life, from, upto, on };
            let (letters, next) = match self.ask(client, host, &ask).await? {
                Answer::Records { letters, on } => (letters, on),
                other => return Err(unexpected(other)),
            };
            let came = |letter| Came { host: of.0.clone(), letter, place: None };
            self.hand_in(letters.into_iter().map(came).collect(), parts).await;
            if next.is_none() || next == on {
                return Ok(());
            }
            on = next;
        }
    }

    /// Takes the standings of some buckets that a host has, from where that was broken off.
    async fn fill(
        &self,
        client: &Client,
        host: &str,
        buckets: Buckets,
        filling: &mut Filling,
    ) -> Result<(), String> {
        let (started, mut number) = (Instant::now(), 0);
        telemetry::fleet::filling(host);
        loop {
            let ask = Ask::Standings { after: filling.after.clone(), buckets: buckets.0 };
            let (elements, crc, on, seen) = match self.ask(client, host, &ask).await? {
                Answer::Standings { elements, crc, on, seen, latest } => {
                    self.hear_clock(Time::from_nanos(latest, 9));
                    (elements, crc, on, seen)
                }
                other => return Err(unexpected(other)),
            };
            if digest::checksum(&elements) != crc {
                return Err("its standings came damaged".to_owned());
            }
            filling.reached.get_or_insert(seen);
            number += elements.len();
            let element = |body: serde_bytes::ByteBuf| Element {
                context: String::new(),
                body: body.into_vec(),
            };
            if !elements.is_empty() {
                self.hand_in_beside(elements.into_iter().map(element).collect()).await;
            }
            match on {
                Some(on) if on > filling.after => filling.after = on,
                Some(_) => return Err("it goes in circles".to_owned()),
                None => break,
            }
        }
        if buckets == Buckets::all() {
            let ours = (self.settings.host.clone(), self.life().number);
            let reached = filling.reached.take().unwrap_or_default().into_iter();
            let others = |known: &Known| (&*known.host, known.life) != (&*ours.0, ours.1);
            self.adopt(reached.filter(others).collect(), None).await;
        }
        telemetry::fleet::filled(host, number, started.elapsed());
        Ok(())
    }

    /// Compares standings with the other hosts at intervals, and repairs what an operator, or
    /// another host, wants repaired.
    pub(super) async fn repair_all(&self, client: &Client, mut wanted: mpsc::Receiver<Repair>) {
        loop {
            match tokio::time::timeout(COMPARE_EVERY, wanted.recv()).await {
                Ok(Some(Repair { from: Some((host, buckets)) })) => {
                    if let Err(problem) =
                        self.fill(client, &host, buckets, &mut Filling::default()).await
                    {
                        self.sight().fails("repair", format!("{host}: {problem}"));
                    }
                }
                Ok(Some(Repair { from: None })) => self.compare_all(client, true).await,
                Ok(None) => std::future::pending().await,
                Err(_) => self.compare_all(client, false).await,
            }
        }
    }

    /// Compares standings with every living host, and mends what differs if that is wanted.
    async fn compare_all(&self, client: &Client, mend: bool) {
        let now = clock::now();
        let hosts: Vec<Box<str>> =
            self.sight().living(now).map(|(host, _)| Box::from(host)).collect();
        let mut found = BTreeMap::new();
        for host in hosts {
            match self.compare_with(client, &host, mend).await {
                Ok(differ) => drop(found.insert(host, differ)),
                Err(problem) => self.sight().fails("repair", format!("{host}: {problem}")),
            }
        }
        telemetry::fleet::compared(found.values().copied().max().unwrap_or(0));
        self.sight().compared = Some((clock::now(), found));
    }

    /// In how many buckets a host's standings differ from ours; after a repair, if one was wanted.
    pub(super) async fn compare_with(
        &self,
        client: &Client,
        host: &str,
        mend: bool,
    ) -> Result<u32, String> {
        let mut differ = self.differing(client, host).await?;
        if mend && differ.count() > 0 {
            self.fill(client, host, differ, &mut Filling::default()).await?;
            self.ingest.level().await;
            let ask = Ask::Repair { buckets: differ.0 };
            self.ask(client, host, &ask).await?;
            // The other host needs a while; what still differs then is told at the next comparison.
            let deadline = Instant::now() + ANSWER;
            while Instant::now() < deadline {
                differ = self.differing(client, host).await?;
                if differ.count() == 0 {
                    break;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        self.sight().works("repair");
        Ok(differ.count())
    }

    async fn differing(&self, client: &Client, host: &str) -> Result<Buckets, String> {
        let theirs = match self.ask(client, host, &Ask::Digests).await? {
            Answer::Digests(digests) if digests.len() == BUCKETS => digests,
            other => return Err(unexpected(other)),
        };
        let reader = self.reader.clone();
        let ours = tokio::task::spawn_blocking(move || digest::of_all(&reader)).await;
        let ours = ours.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        Ok(Buckets::where_differ(&ours, &theirs))
    }

    pub(super) async fn ask(
        &self,
        client: &Client,
        host: &str,
        ask: &Ask,
    ) -> Result<Answer, String> {
        let limit = if *ask == Ask::Digests { ANSWER_OF_ALL } else { ANSWER };
        let request = async_nats::Request::new().payload(write(ask).into()).timeout(Some(limit));
        let subject = self.subject("ask", host);
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(super::answer::ASKER, self.settings.host.as_str());
        let answer = client.send_request(subject, request.headers(headers)).await;
        let answer = answer.map_err(|error| error.to_string())?;
        read(&answer.payload).map_err(|error| error.to_string())
    }
}

pub(super) fn unexpected(answer: Answer) -> String {
    match answer {
        Answer::Cannot(problem) => problem,
        _ => "it answers something else".to_owned(),
    }
}
