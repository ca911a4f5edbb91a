//! The promise of the poller: whatever becomes of the webhooks, after the polls nothing is missing.
//!
//! A world is one daemon with many sources, each with a seed of its own. The webhooks lose, repeat
//! and shuffle what they tell; the API shows its rows late, twice, in any order, and behind every
//! fault; the clocks of the two are up to two minutes off; the daemon is killed. In the end the
//! store must say what an oracle says that was told everything once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use suppressd::clock;
use suppressd::model::{
    Element, Filter, Origin, Scope, SourceName, Standing, Submission, Telling, Time,
};
use suppressd::provider::{Reading, read_element};
use suppressd::rules::Rules;

use super::support::client::{Client, SECRET, sign};
use super::support::daemon::{Daemon, Home, PATIENCE};
use super::support::feed::{Fault, Feed};
use super::support::random::Random;
use super::support::wait_for;

/// Worlds, and sources in each: a seed per source.
const WORLDS: usize = 10;
const SOURCES: usize = 20;

/// Times that a world's daemon is killed.
const KILLS: usize = 3;

/// Notifications of which the answer is waited for before a kill.
const TOLD_PER_LIFE: u64 = 120;

/// The kinds, the failures that only count together more often than the others.
const KINDS: [&str; 9] = [
    "hard_bounce",
    "soft_bounce",
    "soft_bounce",
    "soft_bounce",
    "spam_complaint",
    "unsubscribed",
    "resubscribed",
    "delivered",
    "opened",
];

/// One source: what has happened, and who has told what of it.
struct Account {
    name: String,
    random: Random,
    feed: Feed,
    facts: Vec<Value>,
    /// Rows that the API does not show yet.
    late: Vec<Value>,
    /// Notifications that are still to be sent, each a batch of facts.
    untold: Vec<Value>,
}

impl Account {
    fn new(name: String, mut random: Random) -> Account {
        let feed = Feed::start();
        feed.page_rows(1 + random.below(9) as usize);
        feed.relative_next(random.chance(50));
        let facts = facts(&name, &mut random);
        let mut late = facts.clone();
        late.extend(facts.iter().filter(|_| random.chance(20)).cloned());
        shuffle(&mut late, &mut random);
        let untold = notifications(&facts, &mut random);
        Account { name, random, feed, facts, late, untold }
    }

    fn source(&self) -> String {
        format!(
            "[[source]]\nname = {:?}\nprovider = \"generic\"\nwebhook = {{ secret = {SECRET:?} }}\n\
             poll = {{ url = {:?}, every = \"1s\" }}\n",
            self.name,
            self.feed.url()
        )
    }

    /// Lets the API show some more rows, and puts faults in its way.
    fn go_on(&mut self) {
        let some = self.random.below(self.late.len() as u64 + 1) as usize;
        self.feed.push(self.late.split_off(self.late.len() - some));
        let wait = || vec![("retry-after", "1".to_owned())];
        for _ in 0..self.random.below(4) {
            self.feed.pass(self.random.below(3) as usize);
            let faults = [
                Fault::Cut,
                Fault::Truncated,
                Fault::Html,
                Fault::Garbage,
                Fault::RepeatNext,
                Fault::Status(500, Vec::new()),
                Fault::Status(429, wait()),
                Fault::Status(503, wait()),
            ];
            self.feed.fault(self.random.one_of(&faults));
        }
    }

    /// Sends a notification. One that is not acknowledged may be sent again, or never.
    fn tell(&mut self, client: &mut Client) -> std::io::Result<()> {
        let Some(body) = self.untold.pop() else { return Ok(()) };
        let text = body.to_string();
        let signature = sign(SECRET, text.as_bytes());
        let headers = [("x-webhook-signature", signature.as_str())];
        let path = format!("/hooks/{}", self.name);
        let answer = client
            .send("POST", &path, &headers, text.as_bytes())
            .and_then(|()| client.answer())
            .inspect_err(|_| {
                if self.random.chance(50) {
                    self.untold.push(body);
                }
            })?;
        assert_eq!(answer.status, 200, "{}", answer.head);
        Ok(())
    }

    /// What must be suppressed, by address: the reason and since when.
    fn oracle(&self) -> BTreeSet<(String, String, String)> {
        let source = SourceName::parse(&self.name).unwrap();
        let mut standings: BTreeMap<(String, Scope), Standing> = BTreeMap::new();
        let submission = Submission {
            source,
            provider: "generic".into(),
            origin: Origin::Poll,
            feed: "events".into(),
            received_at: clock::now(),
            elements: Vec::new(),
            cursor: None,
            released: Vec::new(),
        };
        for fact in &self.facts {
            let element = Element { context: String::new(), body: fact.to_string().into_bytes() };
            for event in read_element(&Reading::default(), &submission, &element).unwrap() {
                let Some(told) = event.fact() else { continue };
                let key = (event.address.key().to_owned(), event.scope.clone());
                let standing = standings.entry(key).or_default();
                standing.merge(event.address.received(), told, &Telling::BY_DATE);
            }
        }
        let rules = Rules::default();
        let verdict = |((key, scope), standing): (&(String, Scope), &Standing)| {
            rules.judge(key, standing, scope, &Filter::default(), clock::now())
        };
        let suppressions = standings.iter().filter_map(verdict);
        suppressions
            .map(|s| (s.address.to_string(), s.reason.to_string(), s.since.to_string()))
            .collect()
    }

    /// How many events there are to know of.
    fn events(&self) -> usize {
        let same = |fact: &Value| fact.to_string();
        self.facts.iter().map(same).collect::<BTreeSet<String>>().len()
    }
}

/// What has happened to a few addresses within the last ten minutes, by a clock that is off.
fn facts(name: &str, random: &mut Random) -> Vec<Value> {
    let skew = random.below(241) as i64 - 120;
    let now = clock::now().second() + skew;
    let count = 10 + random.below(30);
    let fact = |number: u64| {
        let at = Time::from_seconds(now - random.below(600) as i64);
        let mut fact = json!({
            "event": random.one_of(&KINDS),
            "recipient": format!("User{}@{name}.test", random.below(5)),
            "timestamp": at.to_string(),
            "message_id": format!("m{number}"),
        });
        if random.chance(50) {
            fact["event_id"] = format!("e{number}").into();
        }
        fact
    };
    (0..count).map(fact).collect()
}

/// Batches of most of the facts: 30 of 100 are told by none, some are told twice.
fn notifications(facts: &[Value], random: &mut Random) -> Vec<Value> {
    let mut told: Vec<Value> = facts.iter().filter(|_| random.chance(70)).cloned().collect();
    told.extend(told.clone().iter().filter(|_| random.chance(30)).cloned());
    shuffle(&mut told, random);
    let mut batches = Vec::new();
    while !told.is_empty() {
        let size = (1 + random.below(4) as usize).min(told.len());
        batches.push(told.split_off(told.len() - size).into());
    }
    batches
}

fn shuffle<T>(items: &mut [T], random: &mut Random) {
    for last in (1..items.len()).rev() {
        items.swap(last, random.below(last as u64 + 1) as usize);
    }
}

/// One life of the daemon: some notifications and polls, and a kill at any moment.
fn live(home: &Home, accounts: &mut [Account], random: &mut Random) {
    let daemon = home.start();
    accounts.iter_mut().for_each(Account::go_on);
    let asked: usize = accounts.iter().map(|account| account.feed.requests().len()).sum();
    let mut client = Client::connect(daemon.http).unwrap();
    for _ in 0..random.below(TOLD_PER_LIFE) {
        let one = random.below(accounts.len() as u64) as usize;
        accounts[one].tell(&mut client).unwrap();
    }
    let more = asked + 1 + random.below(4 * SOURCES as u64) as usize;
    wait_for("requests of the polls", PATIENCE, || {
        let now: usize = accounts.iter().map(|account| account.feed.requests().len()).sum();
        (now >= more).then_some(())
    });
    // The answer to one more notification meets the kill.
    let one = random.below(accounts.len() as u64) as usize;
    daemon.signal("KILL");
    let _ = accounts[one].tell(&mut client);
    daemon.kill();
}

/// Polls every source until each has been read without an error, and compares.
fn settle(home: &Home, accounts: &mut [Account]) {
    for account in accounts.iter_mut() {
        account.feed.mend();
        let late = std::mem::take(&mut account.late);
        account.feed.push(late);
    }
    let daemon = home.start().ready();
    wait_for("a poll of every source without an error", 4 * PATIENCE, || {
        let (status, rows) = daemon.answer(&["poll"]);
        let failed = rows.iter().any(|row| !row["error"].is_null());
        (status == 0 && !failed).then_some(())
    });
    for account in accounts {
        assert_eq!(listed(&daemon, &account.name), account.oracle(), "{}", account.name);
        let events = daemon.rows(&["events", "--source", &account.name]).len();
        assert_eq!(events, account.events(), "{}: each fact is one event", account.name);
    }
    daemon.stop();
}

fn listed(daemon: &Daemon, name: &str) -> BTreeSet<(String, String, String)> {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let rows = daemon.rows(&["list", "--source", name]);
    rows.iter().map(|r| (text(r, "address"), text(r, "reason"), text(r, "since"))).collect()
}

fn world(number: usize, mut random: Random) {
    let account = |n: usize| Account::new(format!("w{number}-s{n}"), random.fork());
    let mut accounts: Vec<Account> = (0..SOURCES).map(account).collect();
    let home = Home::bare(&accounts.iter().map(Account::source).collect::<String>());
    for _ in 0..KILLS {
        live(&home, &mut accounts, &mut random);
    }
    settle(&home, &mut accounts);
}

#[test]
fn after_the_polls_the_store_is_what_an_oracle_says() {
    let mut random = Random::new();
    for number in 0..WORLDS / 2 {
        world(number, random.fork());
    }
}

#[test]
fn after_the_polls_the_store_is_what_an_oracle_says_again() {
    let mut random = Random::new();
    for number in WORLDS / 2..WORLDS {
        world(number, random.fork());
    }
}
