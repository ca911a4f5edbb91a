//! What pages share: the frame, tables, times with their ages, and the fields of rows.

use maud::{DOCTYPE, Markup, html};
use serde_json::Value;

use crate::model::Time;
use crate::shown::clean;
use crate::units::show_age;

/// Most characters of a text.
const TEXT_MAX: usize = 1_000;

/// The frame of a page. `search` stands in the search field.
pub(super) fn frame(title: &str, search: &str, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (cut(title)) " · suppressd" }
                link rel="icon" type="image/svg+xml" href="/dashboard.svg";
                link rel="stylesheet" href="/dashboard.css";
                script src="/dashboard.js" defer {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header {
                    a.home href="/" { "suppressd" }
                    form role="search" action="/address" method="get" {
                        label.hidden for="q" { "Address" }
                        input #q name="q" type="search" inputmode="email" autocomplete="off"
                            placeholder="user@example.com" required value=(search);
                        button { "Explain" }
                    }
                }
                main #main tabindex="-1" { (main) }
                footer {
                    "suppressd " (env!("CARGO_PKG_VERSION")) " · "
                    a href="/metrics" { "metrics" } " · "
                    a href="/openapi.json" { "API" } " · "
                    a href="/readyz" { "health" }
                }
            }
        }
    }
}

/// A page that says why a form did nothing.
pub(super) fn problem(why: &str) -> Markup {
    frame(
        "Nothing was changed",
        "",
        &html! {
            h1 { "Nothing was changed" }
            p.bad role="alert" { (why) }
            p { a href="/" { "Back to the overview" } }
        },
    )
}

/// What was just done.
pub(super) fn banner(done: Option<&str>) -> Markup {
    html! { @if let Some(done) = done { p.done role="status" { (done) } } }
}

/// A table with its caption, in a part that scrolls by itself where it is too wide.
pub(super) fn table(caption: &str, heads: &[&str], rows: &[Vec<Markup>]) -> Markup {
    html! {
        div.scroll role="region" aria-label=(caption) tabindex="0" {
            table {
                caption.hidden { (caption) }
                thead { tr { @for head in heads { th scope="col" { (head) } } } }
                tbody {
                    @for row in rows {
                        tr {
                            @for (index, cell) in row.iter().enumerate() {
                                @if index == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The field for the token, and why it is there.
pub(super) fn token(id: &str) -> Markup {
    html! {
        span.field {
            label for=(id) { "Token" }
            input id=(id) name="token" type="password" autocomplete="current-password" required;
        }
    }
}

/// What is shown in place of forms where nothing may be changed.
pub(super) fn read_only() -> Markup {
    html! { p.none { "To change anything here, set " code { "[admin] token" } "." } }
}

/// A word with its colour.
pub(super) fn word(state: &str) -> Markup {
    let class = match state {
        "ok" | "ready" | "idle" | "running" | "current" | "pending" | "polled elsewhere"
        | "told elsewhere" => "good",
        "not ready" => "bad",
        _ => "warn",
    };
    html! { span.word.(class) { (state) } }
}

/// A field as text; a dash when it is absent or empty.
pub(super) fn text(row: &Value, key: &str) -> String {
    shown(&row[key])
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => cut(text),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        Value::Bool(is) => (if *is { "yes" } else { "no" }).to_owned(),
        other => other.to_string(),
    };
    if text.is_empty() { "–".to_owned() } else { text }
}

/// A text from outside: it turns no line, and does not fill the page.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => clean(&text[..end]) + "…",
        None => clean(text),
    }
}

/// A field as a number; 0 when it is absent.
pub(super) fn number(row: &Value, key: &str) -> u64 {
    row[key].as_u64().unwrap_or(0)
}

/// The rows of a field.
pub(super) fn list<'a>(row: &'a Value, key: &str) -> &'a [Value] {
    row[key].as_array().map_or(&[], Vec::as_slice)
}

/// A field that is a time, as its age, with the time itself at hand.
pub(super) fn when(row: &Value, key: &str, now: Time) -> Markup {
    let Some(time) = row[key].as_str().and_then(Time::parse) else { return html! { "–" } };
    let exact = time.floor_second().to_string();
    html! { time datetime=(exact) title=(exact) { (show_age(now.second() - time.second())) } }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_shown_by_their_age() {
        let now = Time::parse("2026-06-15T12:00:00Z").unwrap();
        let row = json!({"at": "2026-06-15T11:00:00.5Z", "none": null});
        let text = when(&row, "at", now).into_string();
        assert!(text.contains("title=\"2026-06-15T11:00:00Z\">1 h ago<"), "{text}");
        assert_eq!(when(&row, "none", now).into_string(), "–");
    }

    #[test]
    fn what_a_stranger_chose_is_text() {
        let row = json!({"peer": "<script>alert(1)</script>", "list": ["a", 1, null, true]});
        let cell = html! { (text(&row, "peer")) }.into_string();
        assert_eq!(cell, "&lt;script&gt;alert(1)&lt;/script&gt;");
        assert_eq!(text(&row, "list"), "a, 1, –, yes");
        let row = json!({"turned": "\u{202e}tset.x@a", "long": "x".repeat(2_000)});
        assert_eq!(text(&row, "turned"), "\u{fffd}tset.x@a");
        assert_eq!(text(&row, "long").chars().count(), TEXT_MAX + 1);
    }
}
