//! The requests of each provider that change its own suppression list, and its odd answers.
//!
//! A literal table. What a status says by itself is not here.

use serde_json::{Value, json};
use url::Url;

use super::{Outlet, Push, Pushing, Requests};
use crate::model::{PushVerb, Reason};
use crate::provider::amazon_ses;
use crate::provider::custom::push as custom;
use crate::provider::{Key, KeyKind, Method, PageRequest, SettingError};
use crate::secret::Secret;

/// What our rows say on lists that take a text.
const REMARK: &str = "suppressed by suppressd";

/// Most pages of a list that are looked through for the id of one row.
const LOOKUP_PAGES_MAX: u64 = 100;

/// Its list is kept by domain, which its feeds need not be told.
const MAILTRAP_KEYS: &[Key] = &[Key::required("domain_ids", KeyKind::Texts)];

/// The streams of each domain there.
const MAILTRAP_STREAMS: &[&str] = &["transactional", "bulk"];

/// Every provider whose API can add to its list and take off it again. What is pushed goes where it
/// stops all mail and is told from what the provider found out itself, if the API has such a place.
pub(super) static OUTLETS: &[Outlet] = &[
    // docs/providers/generic.md, "Pushing".
    Outlet { provider: "generic", below: "", keys: &[], requests: generic, answer: by_status },
    // docs/providers/custom.md, "Pushing".
    Outlet {
        provider: "custom",
        below: "",
        keys: custom::KEYS,
        requests: custom::requests,
        answer: custom::answer,
    },
    // docs.aws.amazon.com/ses/latest/APIReference-V2, PutSuppressedDestination.
    Outlet {
        provider: "amazon-ses",
        below: "v2",
        keys: &[],
        requests: amazon_ses_requests,
        answer: by_status,
    },
    // docs.sendgrid.com/api-reference/suppressions-global-suppressions: nothing else can be added.
    Outlet { provider: "sendgrid", below: "v3", keys: &[], requests: sendgrid, answer: by_status },
    // documentation.mailgun.com, "Suppressions", "Unsubscribe": of all tags.
    Outlet { provider: "mailgun", below: "v3", keys: &[], requests: mailgun, answer: by_status },
    // postmarkapp.com/developer/api/suppressions-api: 200 even where a row has failed.
    Outlet {
        provider: "postmark",
        below: "message-streams",
        keys: &[],
        requests: postmark,
        answer: postmark_answer,
    },
    // developers.sparkpost.com/api/suppression-list: 403 is an entry that is not ours to remove.
    Outlet {
        provider: "sparkpost",
        below: "suppression-list",
        keys: &[],
        requests: sparkpost,
        answer: sparkpost_answer,
    },
    // mailchimp.com/developer/transactional/api/rejects: every error is a 500 with a name.
    Outlet {
        provider: "mandrill",
        below: "rejects",
        keys: &[],
        requests: mandrill,
        answer: mandrill_answer,
    },
    // developers.mailersend.com/api/v1/recipients: rows are removed by id.
    Outlet {
        provider: "mailersend",
        below: "suppressions",
        keys: &[],
        requests: mailersend,
        answer: mailersend_answer,
    },
    // api-docs.mailtrap.io, "Suppressions": rows are removed by id.
    Outlet {
        provider: "mailtrap",
        below: "api",
        keys: MAILTRAP_KEYS,
        requests: mailtrap,
        answer: mailtrap_answer,
    },
    // resend.com/docs/api-reference/suppressions.
    Outlet {
        provider: "resend",
        below: "suppressions",
        keys: &[],
        requests: resend,
        answer: by_status,
    },
    // developers.smtp2go.com, "Suppressions".
    Outlet {
        provider: "smtp2go",
        below: "suppression",
        keys: &[],
        requests: smtp2go,
        answer: by_status,
    },
    // elasticemail.com/developers/api-documentation/rest-api, "Suppressions".
    Outlet {
        provider: "elastic-email",
        below: "suppressions",
        keys: &[],
        requests: elastic_email,
        answer: by_status,
    },
    // docs.unisender.com/unione, "suppression": errors by number.
    Outlet {
        provider: "unisender-go",
        below: "suppression",
        keys: &[],
        requests: unisender_go,
        answer: unisender_go_answer,
    },
    // scaleway.com/en/developers/api/transactional-email, "Blocklists": rows are removed by id.
    Outlet {
        provider: "scaleway-tem",
        below: "blocklists",
        keys: &[],
        requests: scaleway,
        answer: scaleway_answer,
    },
];

fn by_status(_: &Push<'_>, _: &PageRequest, _: u16, _: &Value) -> Option<Pushing> {
    None
}

fn generic(push: &Push<'_>, _: &Outlet) -> Requests {
    let hint = "name the list that is to be written to";
    let missing = || push.settings.problem("list_url", "is needed to push", hint);
    let text = push.settings.text("list_url").ok_or_else(missing)?;
    let bad = |_| push.settings.problem("list_url", "is not a URL", hint);
    let mut url = Url::parse(text).map_err(bad)?;
    let mut request = PageRequest::get(url.clone());
    if let Some(token) = push.settings.secrets("bearer").first() {
        request = request.bearer(token);
    }
    if push.is_add() {
        let reason = push.reason.map(Reason::as_str);
        let body = json!({ "address": push.address, "reason": reason });
        return Ok(vec![request.with_json(Method::Post, &body)]);
    }
    url.query_pairs_mut().append_pair("address", push.address);
    Ok(vec![PageRequest { url, method: Method::Delete, ..request }])
}

/// The signature covers all else, so it comes last.
fn amazon_ses_requests(push: &Push<'_>, outlet: &Outlet) -> Requests {
    let path = ["v2", "email", "suppression", "addresses"];
    let request = if push.is_add() {
        let reason = if push.reason == Some(Reason::Complaint) { "COMPLAINT" } else { "BOUNCE" };
        let body = json!({ "EmailAddress": push.address, "Reason": reason });
        push.call(outlet, Method::Put, &path)?.with_json(Method::Put, &body)
    } else {
        push.call(outlet, Method::Delete, &[&path[..], &[push.address]].concat())?
    };
    // Those of the list's own page are for another request.
    let request = PageRequest { headers: Vec::new(), ..request };
    Ok(vec![amazon_ses::sign(&push.query(), request)?])
}

fn sendgrid(push: &Push<'_>, outlet: &Outlet) -> Requests {
    let path = ["v3", "asm", "suppressions", "global"];
    if push.is_add() {
        let body = json!({ "recipient_emails": [push.address] });
        return Ok(vec![push.call(outlet, Method::Post, &path)?.with_json(Method::Post, &body)]);
    }
    Ok(vec![push.call(outlet, Method::Delete, &[&path[..], &[push.address]].concat())?])
}

fn mailgun(push: &Push<'_>, outlet: &Outlet) -> Requests {
    push.each("domains", |domain| {
        let path = ["v3", domain, "unsubscribes"];
        if !push.is_add() {
            let path = [&path[..], &[push.address]].concat();
            return Ok(vec![push.call(outlet, Method::Delete, &path)?]);
        }
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("address", push.address)
            .append_pair("tag", "*")
            .finish();
        let mut request = push.call(outlet, Method::Post, &path)?;
        request.body = Some(("application/x-www-form-urlencoded", Secret::new(form.into_bytes())));
        Ok(vec![request])
    })
}

/// To the streams that the source names, or, as its poll does, to all that there are.
fn postmark(push: &Push<'_>, outlet: &Outlet) -> Requests {
    let listing = postmark_listing(push, outlet)?;
    if push.settings.texts("streams").is_empty() {
        return Ok(vec![listing]);
    }
    push.each("streams", |stream| Ok(postmark_stream(push, &listing, stream).into_iter().collect()))
}

pub(super) fn postmark_listing(
    push: &Push<'_>,
    outlet: &Outlet,
) -> Result<PageRequest, SettingError> {
    let mut request = push.call(outlet, Method::Get, &["message-streams"])?;
    request.url.query_pairs_mut().append_pair("MessageStreamType", "All");
    Ok(request)
}

/// The request for one stream, below the path of all of them.
fn postmark_stream(push: &Push<'_>, streams: &PageRequest, stream: &str) -> Option<PageRequest> {
    let mut request = streams.clone();
    request.url.set_query(None);
    let verb = (!push.is_add()).then_some("delete");
    let path = [stream, "suppressions"].into_iter().chain(verb);
    request.url.path_segments_mut().ok()?.extend(path);
    let body = json!({ "Suppressions": [{ "EmailAddress": push.address }] });
    Some(request.with_json(Method::Post, &body))
}

fn postmark_answer(
    push: &Push<'_>,
    asked: &PageRequest,
    status: u16,
    body: &Value,
) -> Option<Pushing> {
    if asked.method == Method::Get {
        return (status == 200).then(|| postmark_streams(push, asked, body));
    }
    let row = body.pointer("/Suppressions/0/Status").and_then(Value::as_str);
    match (status, row) {
        (200, Some("Failed")) => Some(Pushing::Refused),
        (200, None) => Some(Pushing::Later),
        _ => None,
    }
}

/// What is asked of each stream that mail is sent by.
fn postmark_streams(push: &Push<'_>, asked: &PageRequest, body: &Value) -> Pushing {
    let Some(ids) = postmark_ids(body) else { return Pushing::Later };
    let requests: Vec<PageRequest> =
        ids.filter_map(|id| postmark_stream(push, asked, id)).collect();
    if requests.is_empty() { Pushing::Refused } else { Pushing::Next(requests) }
}

pub(super) fn postmark_ids(body: &Value) -> Option<impl Iterator<Item = &str>> {
    let sends = |stream: &&Value| stream["MessageStreamType"] != "Inbound";
    let streams = body["MessageStreams"].as_array()?.iter().filter(sends);
    Some(streams.filter_map(|stream| stream["ID"].as_str()))
}

fn sparkpost(push: &Push<'_>, outlet: &Outlet) -> Requests {
    if !push.is_add() {
        let path = ["suppression-list", push.address];
        return Ok(vec![push.call(outlet, Method::Delete, &path)?]);
    }
    // The two types are rows of their own; only both together stop all mail.
    let row =
        |kind: &str| json!({ "recipient": push.address, "type": kind, "description": REMARK });
    let body = json!({ "recipients": [row("transactional"), row("non_transactional")] });
    let request = push.call(outlet, Method::Put, &["suppression-list", ""])?;
    Ok(vec![request.with_json(Method::Put, &body)])
}

fn sparkpost_answer(push: &Push<'_>, _: &PageRequest, status: u16, _: &Value) -> Option<Pushing> {
    (status == 403 && !push.is_add()).then_some(Pushing::Refused)
}

fn mandrill(push: &Push<'_>, outlet: &Outlet) -> Requests {
    let key = push.settings.secrets("api_key").first();
    let key = key.and_then(|key| std::str::from_utf8(key.reveal()).ok()).unwrap_or("");
    let (verb, body) = match push.verb {
        PushVerb::Add => ("add", json!({ "key": key, "email": push.address, "comment": REMARK })),
        PushVerb::Remove => ("delete", json!({ "key": key, "email": push.address })),
    };
    let request = push.call(outlet, Method::Post, &["rejects", verb])?;
    Ok(vec![request.with_json(Method::Post, &body)])
}

fn mandrill_answer(push: &Push<'_>, _: &PageRequest, status: u16, body: &Value) -> Option<Pushing> {
    match (status, body["name"].as_str()) {
        (200, _) | (_, None) => None,
        (_, Some("Invalid_Key")) => Some(Pushing::Denied),
        (_, Some("Invalid_Reject")) if !push.is_add() => Some(Pushing::Done),
        (_, Some("ValidationError" | "Invalid_Reject")) => Some(Pushing::Refused),
        _ => Some(Pushing::Later),
    }
}

fn mailersend(push: &Push<'_>, outlet: &Outlet) -> Requests {
    push.each("domains", |domain| {
        if push.is_add() {
            let body = json!({ "domain_id": domain, "recipients": [push.address] });
            let request = push.call(outlet, Method::Post, &["suppressions", "blocklist"])?;
            return Ok(vec![request.with_json(Method::Post, &body)]);
        }
        let mut request = push.call(outlet, Method::Get, &["suppressions", "blocklist"])?;
        let query = [("domain_id", domain), ("limit", "100"), ("page", "1")];
        request.url.query_pairs_mut().extend_pairs(query);
        Ok(vec![request])
    })
}

/// The row's id is on one of the pages.
fn mailersend_answer(
    push: &Push<'_>,
    asked: &PageRequest,
    status: u16,
    body: &Value,
) -> Option<Pushing> {
    if status != 200 || asked.method != Method::Get {
        return None;
    }
    let Some(rows) = body["data"].as_array() else { return Some(Pushing::Later) };
    let is_ours = |row: &&Value| {
        let texts = [row.pointer("/recipient/email"), row.get("pattern")];
        texts.into_iter().flatten().any(|text| is_address(text, push.address))
    };
    let query = |name: &str| {
        let found = asked.url.query_pairs().find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    let domain = query("domain_id");
    if let Some(id) = rows.iter().find(is_ours).and_then(|row| row["id"].as_str()) {
        let mut request = PageRequest { method: Method::Delete, ..asked.clone() };
        request.url.set_query(None);
        let body = json!({ "domain_id": domain, "ids": [id] });
        return Some(Pushing::Next(vec![request.with_json(Method::Delete, &body)]));
    }
    if body.pointer("/links/next").is_none_or(Value::is_null) {
        return Some(Pushing::Done);
    }
    let page = query("page").parse::<u64>().unwrap_or(LOOKUP_PAGES_MAX) + 1;
    if page > LOOKUP_PAGES_MAX {
        return Some(Pushing::Refused);
    }
    let mut next = asked.clone();
    let pairs = [("domain_id", domain), ("limit", "100".into()), ("page", page.to_string())];
    next.url.query_pairs_mut().clear().extend_pairs(pairs);
    Some(Pushing::Next(vec![next]))
}

fn mailtrap(push: &Push<'_>, outlet: &Outlet) -> Requests {
    let path = ["api", "suppressions"];
    if !push.is_add() {
        let mut request = push.call(outlet, Method::Get, &path)?;
        request.url.query_pairs_mut().append_pair("email", push.address);
        return Ok(vec![request]);
    }
    push.each("domain_ids", |domain| {
        // `any` is what answers say of both: a request takes one at a time.
        let request = |stream: &&str| {
            let body = json!({
                "email": push.address, "domain_id": number_or_text(domain),
                "sending_stream": stream, "type": "manual import",
            });
            Ok(push.call(outlet, Method::Post, &path)?.with_json(Method::Post, &body))
        };
        MAILTRAP_STREAMS.iter().map(request).collect()
    })
}

fn mailtrap_answer(
    push: &Push<'_>,
    asked: &PageRequest,
    status: u16,
    body: &Value,
) -> Option<Pushing> {
    if status != 200 || asked.method != Method::Get {
        return None;
    }
    let Some(rows) = body.as_array() else { return Some(Pushing::Later) };
    let is_ours = |row: &&Value| row["type"] == "manual import";
    Some(removals(asked, rows.iter().filter(is_ours), push.address))
}

fn resend(push: &Push<'_>, outlet: &Outlet) -> Requests {
    if push.is_add() {
        let body = json!({ "email": push.address });
        let request = push.call(outlet, Method::Post, &["suppressions"])?;
        return Ok(vec![request.with_json(Method::Post, &body)]);
    }
    Ok(vec![push.call(outlet, Method::Delete, &["suppressions", push.address])?])
}

fn smtp2go(push: &Push<'_>, outlet: &Outlet) -> Requests {
    let (verb, body) = match push.verb {
        PushVerb::Add => {
            ("add", json!({ "email_address": push.address, "block_description": REMARK }))
        }
        PushVerb::Remove => {
            ("remove", json!({ "email_address": push.address, "reasons": ["manual"] }))
        }
    };
    let request = push.call(outlet, Method::Post, &["suppression", verb])?;
    Ok(vec![request.with_json(Method::Post, &body)])
}

fn elastic_email(push: &Push<'_>, outlet: &Outlet) -> Requests {
    if push.is_add() {
        let request = push.call(outlet, Method::Post, &["suppressions", "unsubscribes"])?;
        return Ok(vec![request.with_json(Method::Post, &json!([push.address]))]);
    }
    Ok(vec![push.call(outlet, Method::Delete, &["suppressions", push.address])?])
}

fn unisender_go(push: &Push<'_>, outlet: &Outlet) -> Requests {
    let cause = match push.reason {
        Some(Reason::HardBounce | Reason::Invalid) => "permanent_unavailable",
        Some(Reason::Complaint) => "complained",
        Some(Reason::Unsubscribe) => "unsubscribed",
        _ => "blocked",
    };
    let (verb, body) = match push.verb {
        PushVerb::Add => ("set.json", json!({ "email": push.address, "cause": cause })),
        PushVerb::Remove => ("delete.json", json!({ "email": push.address })),
    };
    let request = push.call(outlet, Method::Post, &["suppression", verb])?;
    Ok(vec![request.with_json(Method::Post, &body)])
}

fn unisender_go_answer(
    _: &Push<'_>,
    _: &PageRequest,
    status: u16,
    body: &Value,
) -> Option<Pushing> {
    match (status, body["code"].as_u64()) {
        (200, _) => None,
        (_, Some(3003)) => Some(Pushing::Done),
        (_, Some(3004)) => Some(Pushing::Refused),
        // The limit of a day.
        (_, Some(906)) => Some(Pushing::Later),
        _ => None,
    }
}

fn scaleway(push: &Push<'_>, outlet: &Outlet) -> Requests {
    push.each("domain_ids", |domain| {
        let path = ["blocklists"];
        if push.is_add() {
            let body = json!({
                "domain_id": domain, "emails": [push.address],
                "type": "mailbox_not_found", "reason": REMARK,
            });
            let request = push.call(outlet, Method::Post, &path)?;
            return Ok(vec![request.with_json(Method::Post, &body)]);
        }
        let mut request = push.call(outlet, Method::Get, &path)?;
        let query = [("domain_id", domain), ("email", push.address), ("custom", "true")];
        request.url.query_pairs_mut().extend_pairs(query);
        Ok(vec![request])
    })
}

fn scaleway_answer(
    push: &Push<'_>,
    asked: &PageRequest,
    status: u16,
    body: &Value,
) -> Option<Pushing> {
    if status != 200 || asked.method != Method::Get {
        return None;
    }
    let Some(rows) = body["blocklists"].as_array() else { return Some(Pushing::Later) };
    Some(removals(asked, rows.iter(), push.address))
}

/// Removes each of the rows that is of the address, by its id, below the path of the list.
fn removals<'r>(
    asked: &PageRequest,
    rows: impl Iterator<Item = &'r Value>,
    address: &str,
) -> Pushing {
    let ids = rows.filter(|row| is_address(&row["email"], address));
    let request = |id: &str| {
        let mut request = PageRequest { method: Method::Delete, ..asked.clone() };
        request.url.set_query(None);
        request.url.path_segments_mut().ok()?.push(id);
        Some(request)
    };
    let requests: Vec<PageRequest> =
        ids.filter_map(|row| row["id"].as_str()).filter_map(request).collect();
    if requests.is_empty() { Pushing::Done } else { Pushing::Next(requests) }
}

fn is_address(text: &Value, address: &str) -> bool {
    text.as_str().is_some_and(|text| text.eq_ignore_ascii_case(address))
}

fn number_or_text(text: &str) -> Value {
    text.parse::<u64>().map_or_else(|_| text.into(), Value::from)
}
