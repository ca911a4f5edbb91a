//! Where log lines go: standard error, with priorities where the journal reads them.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use tracing::{Event, Level, Subscriber, error};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload::Handle;

/// The environment variable that sets what is logged, such as `debug` or `suppressd=debug`.
pub const VARIABLE: &str = "SUPPRESSD_LOG";
/// What it, and the configuration's `log.level`, may be.
pub const FORMS: &str = "error, warn, info, debug, trace, or directives such as suppressd=debug";
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// The priority of an error, of those that sd-daemon(3) defines.
const ERROR: u8 = 3;
/// What is logged by default.
const DEFAULT: &str = "info";

/// Whether standard error leads to systemd's journal, which takes a priority before each line.
pub fn is_journal() -> bool {
    std::env::var_os("JOURNAL_STREAM").is_some() && !io::stderr().is_terminal()
}

/// The lines of an error, each with the priority of one, for the journal.
pub fn as_errors(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| format!("<{ERROR}>{line}")).collect();
    lines.join("\n")
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(String);

impl Filter {
    /// From a level, or from directives with commas between them. `None`: it is neither. A bare
    /// word that is no level would be taken for a target, and silence all others.
    pub fn parse(text: &str) -> Option<Filter> {
        let (mut directives, mut has_level) = (Vec::new(), false);
        for directive in text.split(',').map(str::trim) {
            let word = directive.to_ascii_lowercase();
            let word = if word == "warning" { "warn" } else { &*word };
            if LEVELS.contains(&word) {
                has_level = true;
                directives.push(word.to_owned());
            } else if directive.contains(['=', '[']) {
                directives.push(directive.to_owned());
            } else {
                return None;
            }
        }
        if !has_level {
            directives.insert(0, DEFAULT.to_owned());
        }
        let filter = directives.join(",");
        EnvFilter::try_new(&filter).is_ok().then_some(Filter(filter))
    }
}

/// What exchanges the filter of what is logged.
static EXCHANGE: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();

fn filter_of(filter: Option<&Filter>) -> EnvFilter {
    let wanted = filter.map_or(DEFAULT, |filter| &filter.0);
    EnvFilter::try_new(wanted).unwrap_or_else(|_| EnvFilter::new(DEFAULT))
}

/// Logs by another filter from now on.
pub fn set(filter: Option<&Filter>) {
    if let Some(exchange) = EXCHANGE.get() {
        exchange(filter_of(filter));
    }
}

/// What exchanges the filter behind that handle.
fn exchange<S: 'static>(handle: Handle<EnvFilter, S>) {
    // Once a subscriber is gone there is nothing to filter.
    let _ = EXCHANGE.set(Box::new(move |filter| drop(handle.reload(filter))));
}

/// Sends log lines to standard error from now on.
pub fn start(filter: Option<&Filter>) {
    let builder = tracing_subscriber::fmt().with_env_filter(filter_of(filter));
    let builder = builder.with_writer(io::stderr);
    let started = if is_journal() {
        let plain = Format::default().without_time().with_level(false).with_target(false);
        let builder =
            builder.with_ansi(false).event_format(Prioritised(plain)).with_filter_reloading();
        exchange(builder.reload_handle());
        builder.try_init()
    } else {
        let builder = builder
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .with_filter_reloading();
        exchange(builder.reload_handle());
        builder.try_init()
    };
    // Only a test can have started it before; then its lines go where the test wants them.
    drop(started);
    // The usual line quotes what went wrong, and that can be an address.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        error!(place, thread, "a defect of suppressd: it panicked, and went on if it could");
    }));
}

/// Lines with the priority in front that sd-daemon(3) defines.
struct Prioritised(Format<Full, ()>);

impl<S, N> FormatEvent<S, N> for Prioritised
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => ERROR,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_silence_the_log_is_no_filter() {
        for (text, filter) in [
            ("warning", Some("warn")),
            ("DEBUG", Some("debug")),
            ("suppressd=debug", Some("info,suppressd=debug")),
            ("warn, hyper=trace", Some("warn,hyper=trace")),
            ("silly", None),
            ("", None),
            ("info,", None),
            ("suppressd=silly", None),
        ] {
            assert_eq!(Filter::parse(text), filter.map(|f| Filter(f.to_owned())), "{text}");
        }
    }
}
