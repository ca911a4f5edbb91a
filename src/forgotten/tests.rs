//! What is kept of the forgotten, over restarts and in its first form.

use std::fs;

use super::form::PENDING;
use super::*;
use crate::model::{Lifts, Reason, Until};

fn ann() -> Address {
    Address::parse("Ann@one.test").unwrap()
}

fn at(seconds: i64) -> Time {
    Time::from_seconds(seconds)
}

fn ground(reason: Reason, until: Until) -> KeptGround {
    let (scope, sources) = (Scope::Global, Vec::new());
    KeptGround { scope, reason, since: at(5), until, told: at(5), sources }
}

fn with_ann(state: &Path, grounds: Vec<KeptGround>) -> Forgotten {
    let forgotten = Forgotten::open(state).unwrap();
    let rows = HashRows::from([("sha256".to_owned(), vec!["abc".to_owned()])]);
    forgotten.forget(vec![ToForget { address: ann(), grounds, rows }], at(9)).unwrap();
    forgotten
}

/// A lift of hers in one segment of the journal.
fn lift(forgotten: &Forgotten, reason: Option<Reason>, now: Time) {
    let covers = Lifts { reason, source: None };
    let lift = Some(KeptLift { scope: Scope::Global, covers, at: now });
    let told = ToldLater { address: ann(), segment: 1, ground: None, lift, received: now };
    forgotten.tell(vec![told]).unwrap();
}

fn found(forgotten: &Forgotten, now: Time) -> Option<Reason> {
    let found = forgotten.suppression(&ann(), &[Scope::Global], &Filter::default(), now);
    found.map(|suppression| suppression.reason)
}

#[test]
fn who_is_forgotten_stays_suppressed_by_a_hash_alone() {
    let state = tempfile::tempdir().unwrap();
    let lasting = ground(Reason::HardBounce, Until::Forever);
    with_ann(state.path(), vec![ground(Reason::Complaint, Until::At(at(20))), lasting]);
    let again = Forgotten::open(state.path()).unwrap();
    let later = [at(9), at(20)].map(|now| found(&again, now));
    let first = Reason::Complaint.min(Reason::HardBounce);
    assert_eq!(later, [Some(first), Some(Reason::HardBounce)]);
    let rows = |hash: &str| again.rows(hash, &Filter::default(), at(9));
    assert_eq!((rows("sha256"), rows("md5")), (vec!["abc".to_owned()], vec![]));
    assert!(!again.has("bob@one.test"));
    again.erased(&again.pending(), 1).unwrap();
    assert!(!state.path().join(PENDING).exists());
    let text = fs::read_to_string(state.path().join(HASHES)).unwrap();
    assert!(!text.to_lowercase().contains("ann@"), "{text}");
    lift(&again, Some(Reason::Complaint), at(9));
    assert_eq!(found(&again, at(9)), Some(Reason::HardBounce));
    lift(&again, None, at(9));
    let again = Forgotten::open(state.path()).unwrap();
    assert_eq!(found(&again, at(9)), None);
    assert_eq!(again.rows_of("ann@one.test", "sha256", &Filter::default(), at(9)), vec![""; 0]);
}

#[test]
fn what_a_retired_source_alone_has_told_ends_with_it() {
    let state = tempfile::tempdir().unwrap();
    let named = |name: &str| SourceName::parse(name).unwrap();
    let by = |reason, names: &[&str]| {
        let sources = names.iter().map(|name| named(name)).collect();
        KeptGround { sources, ..ground(reason, Until::Forever) }
    };
    let forgotten = with_ann(state.path(), vec![by(Reason::HardBounce, &["gone", "other"])]);
    forgotten.add(vec![(&ann(), by(Reason::Complaint, &["gone"]))]).unwrap();
    forgotten.add(vec![(&ann(), by(Reason::Invalid, &[]))]).unwrap();
    forgotten.add(vec![(&ann(), by(Reason::Invalid, &["gone"]))]).unwrap();
    assert_eq!(forgotten.retire(&named("gone"), true, at(9)).unwrap(), (1, 0));
    assert_eq!(forgotten.person(ann().key()).unwrap().grounds.len(), 3);
    assert_eq!(forgotten.retire(&named("gone"), false, at(9)).unwrap(), (1, 0));
    let again = Forgotten::open(state.path()).unwrap();
    let left = again.person(ann().key()).unwrap().grounds;
    // Of what an earlier version has kept nobody knows who told it.
    let left: Vec<_> = left.iter().map(|ground| (ground.reason, ground.sources.len())).collect();
    assert_eq!(left, [(Reason::HardBounce, 1), (Reason::Invalid, 0)]);
    assert_eq!(again.retire(&named("gone"), false, at(9)).unwrap(), (0, 0));
    assert_eq!(again.rows_let_go("sha256", at(9)), vec![""; 0]);
    lift(&again, Some(Reason::Invalid), at(9));
    assert_eq!(again.retire(&named("other"), false, at(9)).unwrap(), (1, 1));
    assert_eq!(again.rows_let_go("sha256", at(9)), ["abc"]);
}

#[test]
fn nobody_is_erased_of_whom_there_is_no_hash() {
    let state = tempfile::tempdir().unwrap();
    with_ann(state.path(), vec![]);
    assert_eq!(Forgotten::open(state.path()).unwrap().pending().len(), 1);
    fs::remove_file(state.path().join(HASHES)).unwrap();
    assert_eq!(Forgotten::open(state.path()).unwrap().pending().len(), 0);
    assert!(!state.path().join(PENDING).exists());
}

#[test]
fn of_whom_no_hash_could_be_kept_nothing_is_to_be_erased() {
    let state = tempfile::tempdir().unwrap();
    let forgotten = Forgotten::open(state.path()).unwrap();
    // What cannot be written, as on a full disk.
    fs::create_dir(state.path().join(format!("{HASHES}.draft"))).unwrap();
    let person = ToForget { address: ann(), grounds: vec![], rows: HashRows::new() };
    forgotten.forget(vec![person], at(1)).unwrap_err();
    assert_eq!((forgotten.pending().len(), forgotten.has(ann().key())), (0, false));
    assert_eq!(Forgotten::open(state.path()).unwrap().pending().len(), 0, "and after a start");
}

#[test]
fn what_is_told_behind_it_counts_and_is_to_be_erased() {
    let state = tempfile::tempdir().unwrap();
    let forgotten = with_ann(state.path(), vec![]);
    let told = |segment, reason| ToldLater {
        address: ann(),
        segment,
        ground: Some(ground(reason, Until::Forever)),
        lift: None,
        received: at(9),
    };
    let begun = forgotten.pending();
    forgotten.tell(vec![told(7, Reason::HardBounce)]).unwrap();
    // What came in a segment that was not looked at is left.
    forgotten.erased(&begun, 7).unwrap();
    let left = |from| Pending { from, to: 7, everywhere: false };
    assert_eq!(forgotten.pending()["ann@one.test"], left(7));
    forgotten.tell(vec![told(4, Reason::SoftBounces)]).unwrap();
    let again = Forgotten::open(state.path()).unwrap();
    assert_eq!(again.pending()["ann@one.test"], left(4));
    let person = again.person(ann().key()).unwrap();
    assert_eq!((person.told, person.last), (2, Some(at(9))));
    assert_eq!(found(&again, at(9)), Some(Reason::HardBounce.min(Reason::SoftBounces)));
    again.erased(&again.pending(), 8).unwrap();
    assert_eq!(again.pending().len(), 0);
}

#[test]
fn who_is_forgotten_again_meanwhile_is_erased_again() {
    let state = tempfile::tempdir().unwrap();
    let forgotten = with_ann(state.path(), vec![]);
    let begun = forgotten.pending();
    forgotten.erased(&begun, 3).unwrap();
    let (ground, lift) = (None, None);
    let told = ToldLater { address: ann(), segment: 3, ground, lift, received: at(9) };
    forgotten.tell(vec![told]).unwrap();
    let begun = forgotten.pending();
    with_ann(state.path(), vec![]);
    let forgotten = Forgotten::open(state.path()).unwrap();
    forgotten.erased(&begun, 4).unwrap();
    assert!(forgotten.is_everywhere("ann@one.test"));
}

/// As the first version wrote it; a later one must read it for good.
const FIRST: &str = concat!(
    r#"{"form":1,"#,
    r#""key":"1de81fb2416750aecbc24ee82926cbec0b88f63797294d088971ec6ace357269","#,
    r#""sum":"1e8c88ff"}"#,
    "\n",
    r#"{"hash":"1adaef01e2c5eb1e9afad23b121904ed2b99b93fdd6e080ff1f01d26e7c0248e","#,
    r#""grounds":[{"scope":"stream:news","reason":"hard_bounce","#,
    r#""since":"2026-11-20T10:32:11Z","until":"2027-01-01T00:00:00Z"}],"#,
    r#""since":"2026-11-28T04:25:06.429128435Z","last":null,"told":2,"#,
    r#""rows":{"md5":["5d41"]}}"#,
    "\n",
);
const FIRST_PENDING: &str = r#"{"form":1,"sum":"e4f84c7f"}
{"address":"zanna.gone@victim.test","from":3,"to":4,"everywhere":true}
"#;

#[test]
fn what_the_first_form_has_is_read_and_a_newer_one_refused() {
    let state = tempfile::tempdir().unwrap();
    fs::write(state.path().join(HASHES), FIRST).unwrap();
    fs::write(state.path().join(PENDING), FIRST_PENDING).unwrap();
    let forgotten = Forgotten::open(state.path()).unwrap();
    let person = forgotten.person("zanna.gone@victim.test").unwrap();
    let ground = &person.grounds[0];
    assert_eq!(
        (ground.scope.to_string(), ground.reason),
        ("stream:news".into(), Reason::HardBounce)
    );
    assert!(matches!(ground.until, Until::At(_)) && person.told == 2 && person.last.is_none());
    assert!(forgotten.is_erasing());
    // What is written again is the same, in the present form.
    forgotten.add(vec![]).unwrap();
    let again = fs::read_to_string(state.path().join(HASHES)).unwrap();
    let (head, lines) = again.split_once('\n').unwrap();
    assert!(head.starts_with("{\"form\":3,\"key\":\"1de81fb2"), "{head}");
    assert_eq!(Some(lines), FIRST.split_once('\n').map(|(_, lines)| lines));
    assert!(Forgotten::open(state.path()).unwrap().has("zanna.gone@victim.test"));
    for name in [HASHES, PENDING] {
        fs::write(state.path().join(name), "{\"form\":4}\n").unwrap();
        let error = Forgotten::open(state.path()).err().unwrap().to_string();
        assert!(error.contains(name) && error.contains("newer version"), "{error}");
        fs::remove_file(state.path().join(name)).unwrap();
    }
}

#[test]
fn every_damage_is_found() {
    let state = tempfile::tempdir().unwrap();
    with_ann(state.path(), vec![ground(Reason::Complaint, Until::Forever)]);
    for name in [HASHES, PENDING] {
        let path = state.path().join(name);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert!(Forgotten::look(state.path()).is_err(), "{name}, byte {at}");
        }
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(Forgotten::look(state.path()).is_err(), "{name}, cut");
        fs::write(&path, &whole).unwrap();
    }
}

/// Whatever comes first: a lift ends what was told before it, and nothing that was told behind it.
#[test]
fn a_lift_ends_what_was_told_before_it_in_any_order() {
    let told = |seconds, source: &str| ToldLater {
        address: ann(),
        segment: 1,
        ground: Some(KeptGround {
            told: at(seconds),
            sources: vec![SourceName::parse(source).unwrap()],
            ..ground(Reason::HardBounce, Until::Forever)
        }),
        lift: None,
        received: at(seconds),
    };
    let lifted = |seconds, source: Option<&str>| {
        let source = source.map(|name| SourceName::parse(name).unwrap());
        let covers = Lifts { reason: None, source };
        let lift = Some(KeptLift { scope: Scope::Global, covers, at: at(seconds) });
        ToldLater { ground: None, lift, ..told(seconds, "a") }
    };
    for (telling, left) in [
        (vec![told(10, "a"), lifted(20, None)], None),
        (vec![told(20, "a"), lifted(20, None)], None),
        (vec![told(21, "a"), lifted(20, None)], Some(vec!["a"])),
        (vec![told(10, "a"), told(11, "b"), lifted(20, Some("a"))], Some(vec!["b"])),
        (vec![told(10, "a"), lifted(20, Some("b"))], Some(vec!["a"])),
        (vec![told(10, "a"), lifted(5, None), lifted(20, None), lifted(8, None)], None),
    ] {
        for turn in 0..telling.len() {
            let mut telling = telling.clone();
            telling.rotate_left(turn);
            let state = tempfile::tempdir().unwrap();
            let forgotten = with_ann(state.path(), vec![]);
            for one in telling {
                forgotten.tell(vec![one]).unwrap();
            }
            let again = Forgotten::open(state.path()).unwrap();
            let person = again.person(ann().key()).unwrap();
            assert_eq!(Some(&person), forgotten.person(ann().key()).as_ref());
            let sources = person.grounds.first().map(|ground| ground.sources.clone());
            let sources = sources.iter().flatten().map(SourceName::as_str);
            assert_eq!(sources.collect::<Vec<_>>(), left.clone().unwrap_or_default(), "{turn}");
            assert_eq!(person.grounds.is_empty(), left.is_none());
        }
    }
}

#[test]
fn another_host_learns_of_the_forgotten_by_their_hashes() {
    let [here, there] = [0, 1].map(|_| tempfile::tempdir().unwrap());
    let lasting = || vec![ground(Reason::HardBounce, Until::Forever)];
    let forgotten = with_ann(here.path(), lasting());
    let bob = Address::parse("bob@one.test").unwrap();
    let other = Forgotten::open(there.path()).unwrap();
    let person = ToForget { address: bob.clone(), grounds: lasting(), rows: HashRows::new() };
    other.forget(vec![person], at(9)).unwrap();
    assert_ne!(forgotten.digest(), other.digest());
    let exchange = |from: &Forgotten, to: &Forgotten| {
        let Shared { keys, lines, on } = from.shared(&Hash::default()).unwrap();
        assert!(on.is_none() && !lines.concat().contains("one.test"), "{lines:?}");
        to.learn(&keys, &lines).unwrap()
    };
    assert_eq!((exchange(&forgotten, &other), exchange(&other, &forgotten)), (1, 1));
    assert_eq!((exchange(&forgotten, &other), exchange(&other, &forgotten)), (0, 0));
    assert_eq!(forgotten.digest(), other.digest());
    let other = Forgotten::open(there.path()).unwrap();
    for of in [&forgotten, &other] {
        assert!(of.has(ann().key()) && of.has(bob.key()) && of.count() == 2);
        assert!(!of.has("eve@one.test"));
        assert_eq!(found(of, at(9)), Some(Reason::HardBounce));
        assert_eq!(of.rows("sha256", &Filter::default(), at(9)), ["abc"]);
    }
    // Forgotten here too, she is the same person, and what is lifted is for both.
    let person = ToForget { address: ann(), grounds: vec![], rows: HashRows::new() };
    other.forget(vec![person], at(10)).unwrap();
    assert_eq!((other.count(), other.keys().len()), (2, 2));
    lift(&other, None, at(11));
    assert_eq!((found(&other, at(11)), other.has(ann().key())), (None, true));
}

#[test]
fn many_of_the_forgotten_are_told_in_parts() {
    let [here, there] = [0, 1].map(|_| tempfile::tempdir().unwrap());
    let forgotten = Forgotten::open(here.path()).unwrap();
    let of = |number: usize| ToForget {
        address: Address::parse(&format!("user{number}@one.test")).unwrap(),
        grounds: vec![],
        rows: HashRows::new(),
    };
    forgotten.forget((0..1_200).map(of).collect(), at(9)).unwrap();
    let other = Forgotten::open(there.path()).unwrap();
    let (mut after, mut parts) = (Hash::default(), 0);
    loop {
        let Shared { keys, lines, on } = forgotten.shared(&after).unwrap();
        other.learn(&keys, &lines).unwrap();
        parts += 1;
        let Some(on) = on else { break };
        after = on;
    }
    assert_eq!((parts, other.count()), (3, 1_200));
    assert_eq!(forgotten.digest(), other.digest());
}
