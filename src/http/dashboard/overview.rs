//! The first page: what is wrong first, then sources, charts, and all that waits for a hand.

use maud::{Markup, html};
use serde_json::Value;

use super::chart::{self, Line};
use super::parts::{banner, cut, frame, list, number, read_only, table, text, token, when, word};
use crate::admin::Overview;
use crate::model::{EventKind, Reason, Time};
use crate::units::show_span;

pub(super) fn page(view: &Overview, may_write: bool, done: Option<&'static str>) -> Markup {
    let state = text(&view.status, "state");
    frame(
        &state,
        "",
        &html! {
            (banner(done))
            (at_a_glance(view, &state))
            section #sources { h2 { "Sources" } (sources(view)) }
            section #charts { h2 { "The last day" } (charts(view)) }
            section #refused { h2 { "Refused webhooks" } (refused(view)) }
            section #held { h2 { "Held back" } (held(view, may_write)) }
            section #quarantine { h2 { "Quarantine" } (quarantine(view, may_write)) }
            section #exports { h2 { "Exports" } (exports(view)) }
            section #lookups { h2 { "Lookups" } (lookups(view)) }
            section #forwards { h2 { "Forwards" } (forwards(view)) }
            section { h2 { "Suppress by hand" } (add(may_write)) }
        },
    )
}

fn at_a_glance(view: &Overview, state: &str) -> Markup {
    let checks = list(&view.status, "checks");
    let wrong: Vec<&Value> = checks.iter().filter(|check| check["ok"] != true).collect();
    let store = &view.status["store"];
    html! {
        section #state {
            h1 { "State: " (word(state)) }
            @if wrong.is_empty() {
                p { "Nothing needs a hand: all " (checks.len()) " checks are good." }
            } @else {
                ul.checks {
                    @for check in wrong {
                        li { (word(&text(check, "state"))) " " b { (title(check)) } ": "
                            (text(check, "detail")) }
                    }
                }
            }
            dl.numbers {
                @for (name, value) in [
                    ("suppressions", view.suppressions),
                    ("held back", Some(number(store, "held"))),
                    ("in quarantine", Some(number(store, "quarantined"))),
                    ("waiting to be durable", Some(number(&view.status["queue"], "waiting"))),
                    ("bytes to be applied", Some(number(store, "lag_bytes"))),
                ] {
                    div { dt { (name) } dd { (counted(value)) } }
                }
            }
        }
    }
}

/// A number, as soon as there is one: a 0 in its place would look like a loss.
fn counted(number: Option<u64>) -> Markup {
    match number {
        Some(number) => html! { (number) },
        None => html! { span.none { "being counted" } },
    }
}

fn title(check: &Value) -> String {
    match check["of"].as_str() {
        Some(of) => format!("{} {of}", text(check, "name")),
        None => text(check, "name"),
    }
}

/// The worst of the checks that are about a source.
fn health(view: &Overview, source: &str) -> String {
    let of = |check: &&Value| check["of"] == source && check["ok"] != true;
    let wrong = list(&view.status, "checks")
        .iter()
        .find(|check| of(check) && matches!(check["name"].as_str(), Some("source" | "poll")));
    wrong.map_or_else(|| "ok".to_owned(), |check| text(check, "state"))
}

fn sources(view: &Overview) -> Markup {
    let row = |source: &Value| {
        let name = text(source, "name");
        let events: Vec<u64> = view
            .points
            .iter()
            .map(|point| point.sources.get(&name).copied().unwrap_or(0))
            .collect();
        let lag = source["lag_seconds"].as_u64().map_or_else(|| "–".to_owned(), show_span);
        vec![
            html! { (name) },
            html! { (text(source, "provider")) },
            word(&health(view, &name)),
            when(source, "last_webhook", view.now),
            html! { (when(source, "last_poll", view.now)) " " (poll_state(source)) },
            html! { (lag) },
            html! { (text(source, "missed_by_webhook")) },
            html! { (number(source, "blocked")) },
            chart::sparkline(&events, &format!("New events of {name} in the last day")),
        ]
    };
    let rows: Vec<_> = list(&view.status, "sources").iter().map(row).collect();
    if rows.is_empty() {
        return html! { p.none { "No source is configured." } };
    }
    let heads = [
        "Source",
        "Provider",
        "Health",
        "Last webhook",
        "Last poll",
        "Lag",
        "Missed by webhook",
        "Blocked",
        "Last day",
    ];
    table("Sources", &heads, &rows)
}

fn poll_state(source: &Value) -> Markup {
    match source["poll_state"].as_str() {
        None | Some("idle" | "running") => html! {},
        Some(state) => word(state),
    }
}

fn charts(view: &Overview) -> Markup {
    let kinds: Vec<Line> = EventKind::ALL
        .iter()
        .map(|kind| {
            let values = view.points.iter().map(|point| point.kinds[*kind as usize]);
            (kind.as_str(), values.collect())
        })
        .collect();
    let reasons: Vec<Line> = Reason::ALL
        .iter()
        .map(|reason| {
            let values = view.points.iter().map(|point| point.reasons[*reason as usize]);
            (reason.as_str(), values.collect())
        })
        .collect();
    let first = view.points.first().and_then(|point| point.since).unwrap_or(view.now);
    let (left, right) = (minute(first), minute(view.now));
    html! {
        div.charts {
            (chart::lines(&kinds, "New events in ten minutes, by kind", &left, &right))
            (chart::lines(&reasons, "Suppressions in force, by reason", &left, &right))
        }
        p.none { "Since the start of this process, in UTC." }
    }
}

/// Hours and minutes of a time.
fn minute(time: Time) -> String {
    time.floor_second().to_string().get(11..16).unwrap_or_default().to_owned()
}

fn refused(view: &Overview) -> Markup {
    if view.refused.is_empty() {
        return html! { p.none { "None since the start. A webhook whose signature does not fit "
        "shows here at once." } };
    }
    let row = |refusal: &Value| {
        vec![
            when(refusal, "at", view.now),
            html! { (text(refusal, "source")) },
            html! { (text(refusal, "peer")) },
            html! { (text(refusal, "reason")) },
        ]
    };
    let rows: Vec<_> = view.refused.iter().map(row).collect();
    table("Refused webhooks, newest first", &["When", "Source", "From", "Why"], &rows)
}

fn held(view: &Overview, may_write: bool) -> Markup {
    if view.held.is_empty() {
        return html! { p.none { "Nothing is held back." } };
    }
    html! {
        @for mass in &view.held {
            @let id = text(mass, "id");
            article {
                h3 { "Mass " (id) ": " (number(mass, "count")) " new suppressions" }
                dl.facts {
                    @for (name, key) in [("source", "source"), ("domain", "domain"),
                        ("class", "class"), ("state", "state"), ("for example", "examples")] {
                        div { dt { (name) } dd { (text(mass, key)) } }
                    }
                    div { dt { "since" } dd { (when(mass, "since", view.now)) } }
                }
                @if may_write {
                    form method="post" action="/act" {
                        input type="hidden" name="id" value=(id);
                        (token(&format!("held-{id}")))
                        button name="act" value="release" { "Release: suppress them" }
                        button name="act" value="lift-held" { "Lift: they are good" }
                    }
                } @else { (read_only()) }
            }
        }
    }
}

fn quarantine(view: &Overview, may_write: bool) -> Markup {
    if view.quarantine.is_empty() {
        return html! { p.none { "Empty: every authentic payload was understood." } };
    }
    let row = |held: &Value| {
        let id = text(held, "id");
        vec![
            html! { (id) },
            html! { (text(held, "source")) },
            when(held, "received_at", view.now),
            html! { (text(held, "problem")) },
            html! {
                @if may_write {
                    form method="post" action="/act" {
                        input type="hidden" name="id" value=(id);
                        (token(&format!("quarantine-{id}")))
                        button name="act" value="replay" { "Replay" }
                        button name="act" value="drop" { "Drop" }
                    }
                } @else { code { "suppressd quarantine show " (id) } }
            },
        ]
    };
    let rows: Vec<_> = view.quarantine.iter().map(row).collect();
    table("Quarantine", &["Id", "Source", "Received", "Why", "What to do"], &rows)
}

fn exports(view: &Overview) -> Markup {
    let row = |export: &Value| {
        let problem = ["error", "held_back", "foreign"]
            .into_iter()
            .find_map(|key| export[key].as_str().map(|why| (key.replace('_', " "), cut(why))));
        let well = if export["pending"] == true { "pending" } else { "current" };
        let state = problem.as_ref().map_or(well, |(word, _)| word);
        vec![
            html! { (text(export, "name")) },
            html! { (text(export, "format")) },
            html! { (word(state)) @if let Some((_, why)) = &problem { " " (why) } },
            html! { @if export["rows"].is_null() { "–" } @else { (number(export, "rows")) } },
            html! { (number(export, "held_rows")) },
            when(export, "last_written", view.now),
            html! { code { (text(export, "path")) } },
        ]
    };
    let rows: Vec<_> = list(&view.status, "exports").iter().map(row).collect();
    if rows.is_empty() {
        return html! { p.none { "No export is configured." } };
    }
    let heads = ["Export", "Format", "State", "Rows", "Held rows", "Last written", "File"];
    table("Exports", &heads, &rows)
}

fn lookups(view: &Overview) -> Markup {
    let row = |lookup: &Value| {
        vec![
            html! { (text(lookup, "protocol")) },
            html! { code { (text(lookup, "listen")) } },
            html! { (number(lookup, "queries")) },
            html! { (number(lookup, "suppressed")) },
            html! { (number(lookup, "errors")) },
            html! { (number(lookup, "connections")) },
        ]
    };
    let rows: Vec<_> = list(&view.status, "lookups").iter().map(row).collect();
    if rows.is_empty() {
        return html! { p.none { "No lookup is configured." } };
    }
    let heads = ["Protocol", "Where", "Queries", "Suppressed", "Errors", "Connections"];
    table("Lookups", &heads, &rows)
}

fn forwards(view: &Overview) -> Markup {
    let row = |forward: &Value| {
        let state = match () {
            () if forward["elsewhere"] == true => "told elsewhere",
            () if forward["error"].is_null() => "ok",
            () => "failing",
        };
        vec![
            html! { (text(forward, "name")) },
            html! { code { (text(forward, "to")) } },
            html! {
                (word(state))
                @if let Some(why) = forward["error"].as_str() { " " (cut(why)) }
            },
            html! { (number(forward, "sent")) },
            html! { (show_span(number(forward, "lag_seconds"))) },
            when(forward, "last_success", view.now),
        ]
    };
    let rows: Vec<_> = list(&view.status, "forwards").iter().map(row).collect();
    if rows.is_empty() {
        return html! { p.none { "No forward is configured." } };
    }
    table("Forwards", &["Forward", "To", "State", "Sent", "Lag", "Last success"], &rows)
}

fn add(may_write: bool) -> Markup {
    if !may_write {
        return read_only();
    }
    html! {
        form method="post" action="/act" {
            span.field {
                label for="add-address" { "Address" }
                input #add-address name="address" type="text" inputmode="email" autocomplete="off"
                    required;
            }
            span.field {
                label for="add-for" { "For (empty: for ever)" }
                input #add-for name="for" placeholder="30d" autocomplete="off";
            }
            span.field {
                label for="add-note" { "Note" }
                input #add-note name="note" autocomplete="off";
            }
            (token("add-token"))
            button name="act" value="add" { "Suppress" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_counted_yet_is_no_zero() {
        assert_eq!(counted(Some(0)).into_string(), "0");
        assert!(counted(None).into_string().contains("being counted"));
    }
}
