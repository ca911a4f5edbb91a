//! What a provider's own list tells and ceases to tell, as facts in their order.

use std::sync::Arc;
use std::time::Duration;

use suppressd::ingest::{self, Running, Settings};
use suppressd::model::{
    Address, Element, Filter, Lifts, Origin, Reason, Scope, SourceName, Submission, Time,
};
use suppressd::provider::{Instruction, OWN, instruction_element};
use suppressd::rules::Rules;
use tokio::runtime::Handle;

use crate::support::daemon::PATIENCE;

const LIST: &str = "suppressions";

fn page(provider: &str, seconds: i64, body: Element) -> Submission {
    Submission {
        source: SourceName::parse("acme").unwrap(),
        provider: provider.into(),
        origin: Origin::Poll,
        feed: LIST.into(),
        received_at: Time::from_seconds(seconds),
        elements: vec![body],
        cursor: None,
        released: Vec::new(),
    }
}

/// The list tells the address.
fn listed(seconds: i64, since: Option<&str>) -> Submission {
    let mut row = serde_json::json!({ "address": "a@x.test", "reason": "complaint" });
    if let Some(since) = since {
        row["since"] = since.into();
    }
    page("generic", seconds, Element { context: String::new(), body: row.to_string().into() })
}

fn lift(add: bool, seconds: i64, lifts: Lifts) -> Element {
    instruction_element(&Instruction {
        add,
        address: "a@x.test".to_owned(),
        scope: Scope::Global,
        at: Time::from_seconds(seconds),
        until: None,
        note: None,
        lifts,
    })
}

/// The list was found without it.
fn unlisted(seconds: i64) -> Submission {
    let source = Some(SourceName::parse("acme").unwrap());
    page(OWN, seconds, lift(false, seconds, Lifts { reason: Some(Reason::Complaint), source }))
}

/// An operator lifts everything.
fn lifted(seconds: i64) -> Submission {
    Submission {
        source: SourceName::operator(),
        provider: suppressd::provider::OPERATOR.into(),
        origin: Origin::Operator,
        feed: "".into(),
        ..page("", seconds, lift(false, seconds, Lifts::default()))
    }
}

async fn start(state: &std::path::Path) -> Running {
    let retention = Duration::from_secs(90 * 86_400);
    let rules = Arc::new(Rules::default());
    let settings = Settings::new(state.to_owned(), retention, rules, Arc::default());
    let running = ingest::start(settings, &Handle::current()).unwrap();
    tokio::time::timeout(PATIENCE, running.ingest.ready()).await.unwrap();
    running
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_back_on_a_list_stands_again_and_what_stayed_does_not() {
    let long_ago = Some("2020-01-01T00:00:00Z");
    let cases: [(&str, Vec<Submission>, bool); 7] = [
        ("listed", vec![listed(1_000, None)], true),
        ("gone", vec![listed(1_000, None), unlisted(2_000)], false),
        ("undated and back", vec![listed(1_000, None), unlisted(2_000), listed(3_000, None)], true),
        (
            "dated long ago and back",
            vec![listed(1_600_000_000, long_ago), unlisted(1_600_002_000), {
                listed(1_600_003_000, long_ago)
            }],
            true,
        ),
        (
            "lifted, and still there",
            vec![listed(1_000, None), lifted(2_000), listed(3_000, None)],
            false,
        ),
        (
            "lifted, and still there without its date",
            vec![
                listed(1_600_000_000, long_ago),
                lifted(1_600_002_000),
                listed(1_600_003_000, None),
            ],
            false,
        ),
        (
            "back, then lifted, and still there",
            vec![
                listed(1_000, None),
                unlisted(2_000),
                listed(3_000, None),
                lifted(4_000),
                listed(5_000, None),
            ],
            false,
        ),
    ];
    for (name, submissions, stands) in cases {
        let folder = tempfile::tempdir().unwrap();
        let running = start(folder.path()).await;
        for submission in submissions {
            let receipt = running.ingest.submit(&submission).await.unwrap();
            running.ingest.applied(receipt).await;
        }
        let suppressed = |running: &Running| {
            let address = Address::parse("a@x.test").unwrap();
            let (rules, filter) = (Rules::default(), Filter::default());
            let now = Time::from_seconds(2_000_000_000);
            let verdict = running.reader.verdict(&rules, &address, &[Scope::Global], &filter, now);
            verdict.unwrap().is_some()
        };
        assert_eq!(suppressed(&running), stands, "{name}");
        running.stop(PATIENCE).await;
        // Made again from the journal, the store says the same.
        std::fs::remove_dir_all(folder.path().join("sled")).unwrap();
        let running = start(folder.path()).await;
        assert_eq!(suppressed(&running), stands, "{name}, after a rebuild");
        running.stop(PATIENCE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undated_row_keeps_the_time_of_its_first_sight() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    for seconds in [1_000, 2_000, 3_000] {
        let receipt = running.ingest.submit(&listed(seconds, None)).await.unwrap();
        running.ingest.applied(receipt).await;
        let rows = running.reader.listed(&SourceName::parse("acme").unwrap(), LIST);
        let times: Vec<Time> = rows.map(|row| row.unwrap().sight.at).collect();
        assert_eq!(times, [Time::from_seconds(1_000)], "read at {seconds}");
    }
    running.stop(PATIENCE).await;
}
