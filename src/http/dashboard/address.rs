//! All that is behind the verdict on one address, and the form that ends or begins a suppression.

use maud::{Markup, html};
use serde_json::Value;

use super::parts::{banner, frame, list, number, read_only, table, text, token, when, word};
use crate::clock;
use crate::model::Time;

pub(super) fn page(
    asked: &str,
    found: Result<Value, String>,
    may_write: bool,
    done: Option<&'static str>,
) -> Markup {
    let main = match found {
        Ok(row) => explained(&row, may_write, clock::now()),
        Err(why) => html! { h1 { "No answer" } p.bad role="alert" { (why) } },
    };
    frame(asked, asked, &html! { (banner(done)) (main) })
}

fn explained(row: &Value, may_write: bool, now: Time) -> Markup {
    // The form tells it as it is.
    let (address, exact) = (text(row, "address"), row["address"].as_str().unwrap_or_default());
    let is_suppressed = row["suppressed"] == true;
    html! {
        section #state {
            h1 { (address) }
            @if is_suppressed {
                @let found = &row["suppression"];
                p { (word("suppressed")) " " b { (text(found, "reason")) }
                    ", since " (when(found, "since", now))
                    @if found["until"].is_null() { ", for ever" }
                    @else { ", until " (when(found, "until", now)) }
                    ", by " (text(found, "sources")) "."
                    @if !found["note"].is_null() { " Note: " (text(found, "note")) } }
            } @else if let Some(entry) = row["never"].as_str() {
                p { (word("ok")) " Never suppressed, by the entry " code { (entry) }
                    " of " code { "[rules] never" } "." }
            } @else if row["known"] == true {
                p { (word("ok")) " Not suppressed." }
            } @else {
                p { (word("ok")) " Not suppressed: nothing is known of it." }
            }
        }
        section #act { h2 { @if is_suppressed { "Lift" } @else { "Suppress" } }
            (form(exact, is_suppressed, may_write)) }
        section #exports { h2 { "In the exports" } (exports(row, now)) }
        section #why { h2 { "Why" } (findings(row, now)) }
        section #lifts { h2 { "Lifts" } (lifts(row, now)) }
        section #events { h2 { "Events" } (events(row, now)) }
    }
}

fn form(address: &str, is_suppressed: bool, may_write: bool) -> Markup {
    if !may_write {
        return read_only();
    }
    html! {
        form method="post" action="/act" {
            input type="hidden" name="address" value=(address);
            span.field {
                label for="note" { "Note" }
                input #note name="note" autocomplete="off";
            }
            @if !is_suppressed {
                span.field {
                    label for="term" { "For (empty: for ever)" }
                    input #term name="for" placeholder="30d" autocomplete="off";
                }
            }
            (token("token"))
            @if is_suppressed { button name="act" value="lift" { "Lift" } }
            @else { button name="act" value="add" { "Suppress" } }
        }
    }
}

fn exports(row: &Value, now: Time) -> Markup {
    let row_of = |export: &Value| {
        vec![
            html! { (text(export, "name")) },
            html! { (text(export, "listed")) },
            html! { (text(export, "detail")) },
            when(export, "last_written", now),
        ]
    };
    let rows: Vec<_> = list(row, "exports").iter().map(row_of).collect();
    if rows.is_empty() {
        return html! { p.none { "No export is configured." } };
    }
    table("Exports", &["Export", "Listed", "What it says", "Last written"], &rows)
}

fn findings(row: &Value, now: Time) -> Markup {
    let mut rows = Vec::new();
    for scope in list(row, "scopes") {
        for finding in list(scope, "findings") {
            let state = match finding {
                finding if finding["live"] == true => "suppresses",
                finding if !finding["lifted"].is_null() => "lifted",
                finding if finding["exempt"] == true => "exempt",
                finding if !finding["held"].is_null() => "held back",
                _ => "ended",
            };
            rows.push(vec![
                html! { (text(finding, "reason")) },
                html! { (text(scope, "scope")) },
                html! { (state) },
                html! { (text(finding, "sources")) },
                when(finding, "since", now),
                when(finding, "until", now),
                html! { (text(finding, "note")) },
            ]);
        }
    }
    if rows.is_empty() {
        return html! { p.none { "No reason to suppress it was ever told." } };
    }
    let heads = ["Reason", "Scope", "State", "Told by", "Since", "Until", "Note"];
    table("Reasons", &heads, &rows)
}

fn lifts(row: &Value, now: Time) -> Markup {
    let mut rows = Vec::new();
    for scope in list(row, "scopes") {
        for lift in list(scope, "lifts") {
            rows.push(vec![
                when(lift, "through", now),
                html! { (text(scope, "scope")) },
                html! { (text(lift, "reason")) },
                html! { (text(lift, "source")) },
            ]);
        }
    }
    if rows.is_empty() {
        return html! { p.none { "It was never lifted." } };
    }
    table("Lifts", &["Through", "Scope", "Of reason", "Of source"], &rows)
}

/// The heads of the table of events.
const EVENTS: &[&str] = &["When", "Kind", "Class", "Told by", "Reply", "Rule"];

fn events(row: &Value, now: Time) -> Markup {
    let row_of = |event: &Value| {
        vec![
            when(event, "at", now),
            html! { (text(event, "kind")) },
            html! { (text(event, "class")) },
            html! { (text(event, "source")) " by " (text(event, "origin")) },
            html! { (text(event, "diagnostic")) },
            html! { (text(event, "rule")) },
        ]
    };
    let rows: Vec<_> = list(row, "events").iter().rev().map(row_of).collect();
    if rows.is_empty() {
        return html! { p.none { "No event is kept of it." } };
    }
    let left_out = number(row, "events_left_out");
    html! {
        (table("Events, newest first", EVENTS, &rows))
        @if left_out > 0 { p.none { (left_out) " older ones are left out: "
            code { "suppressd events --address " (text(row, "address")) } } }
    }
}
