//! How often the judgement on a reply is right, told in each provider's own form.
//!
//! Always over the examples of the rules and the statements in `tests/fixtures/verdict`; and over
//! the files that `SUPPRESSD_REPLIES` names, with `:` between: a reply a line, with truth, reply
//! code, enhanced code and text parted by tabs. The truth is H (the address is dead), S (its
//! mailbox or the way there is in trouble) or B (the sender's fault); two letters: either is right.
//! The shares are printed with `--nocapture`.

use std::collections::BTreeMap;

use http::HeaderMap;
use serde_json::{Value, json};
use suppressd::model::{EventKind, Fault, Origin, SourceName, Time};
use suppressd::provider::{Judge, Notification, Stamp, by_name, read_judged};
use suppressd::verdict::Rulebook;

struct Reply {
    truth: String,
    code: Option<u16>,
    enhanced: String,
    text: String,
}

/// What a provider's form needs of a reply, and the body that tells it.
type Told = fn(&Reply) -> String;

const AT: &str = "2026-06-15T10:32:11Z";
const SECOND: i64 = 1_781_519_531;
const TO: &str = "user@example.com";

/// The forms that carry a server's words, each with the provider's word that says least.
const FORMS: &[(&str, Told)] = &[
    ("generic", |r| {
        let event = json!({ "event": "hard_bounce", "timestamp": AT, "recipient": TO,
            "reason": r.text, "smtp_code": r.code });
        event.to_string()
    }),
    ("standard-webhooks", |r| {
        let data = json!({ "recipient": TO, "reason": r.text, "smtp_code": r.code });
        json!({ "type": "message.bounced", "timestamp": AT, "data": data }).to_string()
    }),
    ("sendgrid", |r| {
        json!([{ "event": "bounce", "type": "bounce", "email": TO, "timestamp": SECOND,
            "reason": r.text, "status": r.enhanced, "sg_event_id": "e" }])
        .to_string()
    }),
    ("mailgun", |r| {
        let status = json!({ "code": r.code, "message": r.text, "enhanced-code": r.enhanced });
        json!({ "event-data": { "event": "failed", "severity": "permanent", "reason": "bounce",
            "timestamp": SECOND, "recipient": TO, "id": "e", "delivery-status": status } })
        .to_string()
    }),
    ("amazon-ses", |r| {
        let recipient = json!({ "emailAddress": TO, "status": r.enhanced,
            "diagnosticCode": format!("smtp; {}", r.text) });
        sns(&json!({ "notificationType": "Bounce", "mail": { "timestamp": AT, "messageId": "m" },
            "bounce": { "bounceType": "Permanent", "bounceSubType": "General", "timestamp": AT,
            "bouncedRecipients": [recipient], "feedbackId": "f" } }))
    }),
    ("postmark", |r| {
        json!({ "RecordType": "Bounce", "Type": "HardBounce", "ID": 1, "Email": TO,
            "BouncedAt": AT, "Details": format!("smtp;{}", r.text), "Inactive": true })
        .to_string()
    }),
    ("brevo", |r| {
        json!({ "event": "hard_bounce", "email": TO, "ts_epoch": SECOND * 1_000,
            "message-id": "<m@x>", "reason": r.text })
        .to_string()
    }),
    ("sparkpost", |r| {
        let event = json!({ "type": "bounce", "bounce_class": "1", "event_id": "1",
            "rcpt_to": TO, "timestamp": SECOND.to_string(), "raw_reason": r.text,
            "error_code": r.code.map(|code| code.to_string()) });
        json!([{ "msys": { "message_event": event } }]).to_string()
    }),
    ("mailjet", |r| {
        json!([{ "event": "bounce", "time": SECOND, "email": TO, "MessageID": 1, "error": "",
            "hard_bounce": true, "error_related_to": "", "comment": r.text }])
        .to_string()
    }),
    ("mandrill", |r| {
        let msg = json!({ "_id": "m", "email": TO, "bounce_description": "general",
            "diag": format!("smtp;{}", r.text) });
        let events = json!([{ "event": "hard_bounce", "ts": SECOND, "_id": "m", "msg": msg }]);
        form(&[("mandrill_events", &events.to_string())])
    }),
    ("resend", |r| {
        let bounce = json!({ "type": "Permanent", "subType": "General", "message": "It bounced.",
            "diagnosticCode": [format!("smtp; {}", r.text)] });
        json!({ "type": "email.bounced", "created_at": AT,
            "data": { "email_id": "m", "to": [TO], "bounce": bounce } })
        .to_string()
    }),
    ("mailtrap", |r| {
        json!({ "events": [{ "event": "bounce", "timestamp": SECOND, "email": TO,
            "message_id": "m", "event_id": "e", "bounce_category": "other",
            "response_code": r.code, "response": format!("bounced ({})", r.text) }] })
        .to_string()
    }),
    ("postal", |r| {
        let payload = json!({ "message": { "id": 1, "direction": "outgoing", "to": TO },
            "status": "HardFail", "details": "Permanent SMTP delivery error",
            "output": r.text, "timestamp": SECOND });
        json!({ "event": "MessageDeliveryFailed", "timestamp": SECOND, "payload": payload,
            "uuid": "u" })
        .to_string()
    }),
    // It calls hard what says that the address will never work, and a refusal of the content soft.
    ("smtp2go", |r| {
        form(&[
            ("event", "bounce"),
            ("bounce", "soft"),
            ("rcpt", TO),
            ("time", AT),
            ("email_id", "m"),
            ("message", &r.text),
        ])
    }),
    ("unisender-go", |r| {
        let info = json!({ "delivery_status": "err_delivery_failed",
            "destination_response": r.text });
        let data = json!({ "job_id": "j", "email": TO, "status": "hard_bounced",
            "event_time": "2026-06-15 10:32:11", "delivery_info": info });
        let event = json!({ "event_name": "transactional_email_status", "event_data": data });
        json!({ "auth": "", "events_by_user": [{ "user_id": 1, "events": [event] }] }).to_string()
    }),
    ("scaleway-tem", |r| {
        sns(&json!({ "type": "email_dropped", "id": "i", "email_to": TO, "created_at": AT,
            "email_response_code": r.code, "email_response_message": r.text }))
    }),
    ("forward-email", |r| {
        json!({ "recipient": TO, "bounced_at": AT, "email_id": "m", "response": r.text,
            "response_code": r.code, "bounce": { "action": "reject", "category": "other" } })
        .to_string()
    }),
];

/// A notification of Amazon SNS, or of Scaleway's, with that message.
fn sns(message: &Value) -> String {
    let path = "tests/fixtures/sns/notification_nosubject_v1.json";
    let text = std::fs::read_to_string(path).unwrap();
    let mut envelope: Value = serde_json::from_str(&text).unwrap();
    envelope["Message"] = message.to_string().into();
    envelope.to_string()
}

fn form(fields: &[(&str, &str)]) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        form.append_pair(name, value);
    }
    form.finish()
}

/// The kind that the event of a notification is of.
fn kind(provider: &str, body: &str) -> EventKind {
    let provider = by_name(provider).unwrap();
    let now = Time::from_seconds(SECOND + 60);
    let headers = HeaderMap::new();
    let sent = Notification { headers: &headers, query: "", body: body.as_bytes(), url: None, now };
    let source = SourceName::parse("measured").unwrap();
    let stamp = Stamp { source: &source, origin: Origin::Webhook, feed: "", received_at: now };
    let read = |element| read_judged(provider, element, &stamp, &Judge::default()).unwrap();
    let events: Vec<_> = provider.split(&sent).iter().flat_map(read).collect();
    assert_eq!(events.len(), 1, "{}: {body}", provider.name());
    events[0].kind
}

fn examples() -> Vec<Reply> {
    let letter = |fault| match fault {
        Fault::Recipient => "H",
        Fault::Passing => "S",
        _ => "B",
    };
    let book = Rulebook::built_in().unwrap();
    let reply = |rule: &suppressd::verdict::Rule| Reply {
        truth: letter(rule.class.fault()).to_owned(),
        code: None,
        enhanced: String::new(),
        text: rule.example.clone(),
    };
    book.rules().iter().map(reply).collect()
}

fn file(path: &str) -> Vec<Reply> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let row = |line: &str| {
        let mut parts = line.split('\t').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        let (truth, code, enhanced, text) = (next(), next(), next(), next());
        Reply { truth, code: code.parse().ok(), enhanced, text }
    };
    text.lines().filter(|line| !line.starts_with('#')).map(row).collect()
}

/// Prints what became of the replies in a form; says which bound does not hold.
fn measure(name: &str, provider: &str, told: Told, replies: &[Reply]) -> Vec<String> {
    let mut matrix: BTreeMap<&str, [u32; 3]> = BTreeMap::new();
    for reply in replies {
        let row = matrix.entry(&reply.truth).or_default();
        match kind(provider, &told(reply)) {
            EventKind::HardBounce => row[0] += 1,
            EventKind::Blocked => row[2] += 1,
            _ => row[1] += 1,
        }
    }
    println!("{name}, told by {provider}: hard, soft, blocked {matrix:?}");
    let bounds = [("B", 0.0, 0.02), ("S", 0.0, 0.03), ("H", 0.97, 1.0)];
    let wrong = bounds.into_iter().filter_map(|(truth, least, most)| {
        let [hard, soft, blocked] = matrix.get(truth).copied()?;
        let share = f64::from(hard) / f64::from(hard + soft + blocked);
        let holds = share >= least && share <= most;
        (!holds).then(|| format!("{name}, {provider}: {share:.3} of {truth} are hard bounces"))
    });
    wrong.collect()
}

#[test]
fn verdicts_are_right_whoever_tells() {
    let mut sets = vec![("the rules' examples".to_owned(), examples())];
    for name in ["statements", "replies", "wordings"] {
        let path = format!("tests/fixtures/verdict/{name}.tsv");
        sets.push((path.clone(), file(&path)));
    }
    if let Some(paths) = std::env::var_os("SUPPRESSD_REPLIES") {
        let paths = paths.into_string().unwrap();
        sets.extend(paths.split(':').map(|path| (path.to_owned(), file(path))));
    }
    let mut wrong = Vec::new();
    for (name, replies) in &sets {
        for (provider, told) in FORMS {
            wrong.extend(measure(name, provider, *told, replies));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
