//! What `suppressd check` prints about a good configuration. Shows no secret.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Config, Problem, Weight, exports, forwards, lookups, polls, public_hook, webhook};
use crate::fetch::ProxyUrl;
use crate::listen::Listen;
use crate::model::SourceName;
use crate::poll::Every;
use crate::units::show_duration;

const PUBLIC_URL_UNSET: &str =
    "http.public_url is not set: put the address that providers reach in front of the path";

/// The webhook URLs to enter at the providers, the polls, the exports and the lookups, as aligned
/// text.
pub fn report(config: &Config) -> String {
    let mut text = String::new();
    let webhooks: Vec<Vec<String>> =
        config.webhooks.iter().map(|hook| webhook_row(config, hook)).collect();
    list(&mut text, "webhooks", &webhooks);
    for hook in &config.webhooks {
        let types = hook.provider.event_types();
        if !types.is_empty() {
            text.push_str(&format!("  {}: tick {}\n", hook.source, types.join(", ")));
        }
    }
    if !webhooks.is_empty() && config.http.public_url.is_none() {
        text.push_str(&format!("  ({PUBLIC_URL_UNSET})\n"));
    }
    let polls: Vec<Vec<String>> = config.polls.iter().map(poll_row).collect();
    list(&mut text, "polls", &polls);
    if let Some(proxy) = &config.proxy {
        text.push_str(&format!("  (through the proxy {})\n", proxy.shown()));
    }
    if let Some(proxy) = &config.environment_proxy {
        let shown = proxy.shown();
        text.push_str(&format!(
            "  (through the proxy {shown} of HTTPS_PROXY, but for the hosts of NO_PROXY)\n"
        ));
    }
    let exports: Vec<Vec<String>> = config.exports.iter().map(export_row).collect();
    list(&mut text, "exports", &exports);
    let lookups: Vec<Vec<String>> = config.lookups.iter().map(lookup_row).collect();
    list(&mut text, "lookups", &lookups);
    let forwards: Vec<Vec<String>> = config.forwards.iter().map(forward_row).collect();
    if !forwards.is_empty() {
        list(&mut text, "forwards", &forwards);
    }
    if let Some(fleet) = &config.fleet {
        let servers = fleet.servers.join(", ");
        text.push_str(&format!("fleet:\n  {} in {} by {servers}\n", fleet.host, fleet.stream));
    }
    text
}

/// Says so if nobody hears what this host knows.
pub fn unheard(config: &Config) -> Option<Problem> {
    let is_heard = !config.exports.is_empty()
        || !config.lookups.is_empty()
        || !config.forwards.is_empty()
        || config.fleet.is_some()
        || config.polls.iter().any(|poll| poll.push.is_some());
    let what = "there is none, nor a lookup, a forward, a push or a fleet: no MTA hears what is \
                known here";
    let hint = "add an [[export]] or a [[lookup]], unless programs ask the private listener";
    let problem = || Problem::late("export", None, what.to_owned(), hint);
    (!is_heard).then(|| Problem { weight: Weight::Warning, ..problem() })
}

/// Its name, and who is told.
fn forward_row(forward: &forwards::Settings) -> Vec<String> {
    vec![forward.name.clone(), forward.to.to_string()]
}

/// The same, and where everything listens and lies, as one JSON object.
pub fn report_json(config: &Config) -> Value {
    let source = |source: &super::Source| {
        let hook = config.webhooks.iter().find(|hook| hook.source == source.name);
        let poll = config.polls.iter().find(|poll| poll.source == source.name);
        json!({
            "name": source.name.as_str(),
            "provider": source.provider.name(),
            "webhook": hook.map(|hook| json!({
                "url": webhook_url(config, &hook.source),
                "authenticated": !hook.checks.is_empty(),
                "event_types": hook.provider.event_types(),
            })),
            "poll": poll.map(poll_json),
        })
    };
    let export = |export: &exports::Settings| {
        json!({
            "name": export.name,
            "format": export.format.name(),
            "path": export.path.display().to_string(),
        })
    };
    let lookup = |lookup: &lookups::Settings| {
        json!({
            "protocol": lookup.protocol.name(),
            "listen": lookup.listen.to_string(),
            "on_error": on_error(lookup),
        })
    };
    let http = &config.http;
    json!({
        "store": {
            "path": config.store.path.display().to_string(),
            "retention": show_duration(config.store.retention),
        },
        "http": {
            "listen": places(http).join(", "),
            "public_url": http.public_url.as_ref().map(ToString::to_string),
            "tls": http.has_tls(),
        },
        "fetch": {
            "proxy": config.proxy.as_ref().or(config.environment_proxy.as_ref())
                .map(ProxyUrl::shown),
        },
        "admin": { "listen": config.admin.listen.listen.to_string() },
        "control": { "socket": config.control.socket.display().to_string() },
        "sources": config.sources.iter().map(source).collect::<Vec<_>>(),
        "fleet": config.fleet.as_ref().map(|fleet| json!({
            "host": fleet.host,
            "nats": fleet.servers,
            "stream": fleet.stream,
        })),
        "exports": config.exports.iter().map(export).collect::<Vec<_>>(),
        "lookups": config.lookups.iter().map(lookup).collect::<Vec<_>>(),
        "warnings": [],
    })
}

fn webhook_row(config: &Config, hook: &webhook::Settings) -> Vec<String> {
    let mut url = webhook_url(config, &hook.source);
    if hook.checks.is_empty() {
        url.push_str(" (not authenticated)");
    }
    vec![hook.source.to_string(), hook.provider.name().to_owned(), url]
}

fn webhook_url(config: &Config, source: &SourceName) -> String {
    let http = &config.http;
    let scheme = if http.has_tls() { "https" } else { "http" };
    if let Some(url) = &http.public_url {
        return public_hook(url, source);
    }
    let address = http.listen.iter().find_map(|entry| match entry.listen {
        Listen::Tcp(address) => Some(address.to_string()),
        // Only the proxy, or the socket unit, knows the address.
        Listen::Unix(_) | Listen::Systemd => None,
    });
    format!("{scheme}://{}/hooks/{source}", address.as_deref().unwrap_or("HOST"))
}

fn places(http: &crate::http::Settings) -> Vec<String> {
    http.listen.iter().map(|entry| entry.listen.to_string()).collect()
}

fn poll_row(poll: &polls::Settings) -> Vec<String> {
    let when = match &poll.every {
        Every::Interval(span) => format!("every {}", show_duration(*span)),
        Every::Adaptive(bounds) => {
            format!("every {} to {}", show_duration(bounds.min), show_duration(bounds.max))
        }
        Every::Cron(expression) => format!("at {expression} (UTC)"),
    };
    let (overlap, backfill) = (show_duration(overlap(poll)), show_duration(poll.backfill));
    let reach = format!("overlap {overlap}, backfill {backfill}");
    let feeds = format!("feeds {}", names(poll).join(", "));
    vec![poll.source.to_string(), poll.provider.name().to_owned(), when, feeds, reach]
}

fn names(poll: &polls::Settings) -> Vec<&str> {
    poll.feeds.iter().map(|feed| &*feed.name).collect()
}

/// What is read again behind the cursor: the longest of what the feeds need, unless it is set.
fn overlap(poll: &polls::Settings) -> Duration {
    let needed = poll.feeds.iter().map(|feed| feed.overlap).max();
    poll.overlap.or(needed).unwrap_or_default()
}

fn poll_json(poll: &polls::Settings) -> Value {
    let (every, cron) = match &poll.every {
        Every::Interval(span) => (Some(show_duration(*span)), None),
        Every::Adaptive(bounds) => {
            (Some(format!("{} to {}", show_duration(bounds.min), show_duration(bounds.max))), None)
        }
        Every::Cron(expression) => (None, Some(expression)),
    };
    json!({
        "every": every,
        "cron": cron,
        "feeds": names(poll),
        "overlap": show_duration(overlap(poll)),
        "scan": show_duration(poll.scan),
        "backfill": show_duration(poll.backfill),
    })
}

fn export_row(export: &exports::Settings) -> Vec<String> {
    let path = export.path.display().to_string();
    vec![export.name.clone(), export.format.name().to_owned(), path]
}

fn lookup_row(lookup: &lookups::Settings) -> Vec<String> {
    let failing = format!("{} while the store cannot answer", on_error(lookup));
    vec![lookup.protocol.name().to_owned(), lookup.listen.to_string(), failing]
}

fn on_error(lookup: &lookups::Settings) -> &'static str {
    if lookup.open_on_error { "open" } else { "closed" }
}

/// A title, and below it the rows in columns.
fn list(text: &mut String, title: &str, rows: &[Vec<String>]) {
    if rows.is_empty() {
        text.push_str(&format!("{title}: none\n"));
        return;
    }
    text.push_str(&format!("{title}:\n"));
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    for row in rows {
        let mut line = String::from(" ");
        for (column, cell) in row.iter().enumerate() {
            line.push_str(&format!(" {cell:<width$} ", width = width(column)));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}
