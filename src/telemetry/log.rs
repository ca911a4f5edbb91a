//! Where log lines go: standard error, with priorities where the journal reads them.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, error};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
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

/// What is logged, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What. `None`: what is logged by default.
    pub filter: Option<Filter>,
    /// A line is an object of JSON.
    pub json: bool,
}

/// What exchanges the filter of what is logged.
static EXCHANGE: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();
/// Lines are objects of JSON.
static JSON: AtomicBool = AtomicBool::new(false);

fn filter_of(settings: &Settings) -> EnvFilter {
    let wanted = settings.filter.as_ref().map_or(DEFAULT, |filter| &filter.0);
    EnvFilter::try_new(wanted).unwrap_or_else(|_| EnvFilter::new(DEFAULT))
}

/// Logs by other settings from now on.
pub fn set(settings: &Settings) {
    JSON.store(settings.json, Ordering::Relaxed);
    if let Some(exchange) = EXCHANGE.get() {
        exchange(filter_of(settings));
    }
}

/// What exchanges the filter behind that handle.
fn exchange<S: 'static>(handle: Handle<EnvFilter, S>) {
    // Once a subscriber is gone there is nothing to filter.
    let _ = EXCHANGE.set(Box::new(move |filter| drop(handle.reload(filter))));
}

/// Sends log lines to standard error from now on.
pub fn start(settings: &Settings) {
    JSON.store(settings.json, Ordering::Relaxed);
    let is_journal = is_journal();
    let format = Format::default().with_target(false);
    let plain = is_journal.then(|| format.clone().without_time().with_level(false));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter_of(settings))
        .with_writer(io::stderr)
        .with_ansi(!is_journal && io::stderr().is_terminal())
        .event_format(Lines { format, plain })
        .with_filter_reloading();
    exchange(builder.reload_handle());
    // Only a test can have started it before; then its lines go where the test wants them.
    drop(builder.try_init());
    // The usual line quotes what went wrong, and that can be an address.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        error!(place, thread, "a defect of suppressd: it panicked, and went on if it could");
    }));
}

/// How a line is written.
struct Lines {
    /// For readers.
    format: Format<Full>,
    /// For the journal, which has the time, and takes the priority that sd-daemon(3) defines in
    /// front.
    plain: Option<Format<Full, ()>>,
}

impl<S, N> FormatEvent<S, N> for Lines
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
        if self.plain.is_some() {
            write!(writer, "<{}>", priority(*event.metadata().level()))?;
        }
        if JSON.load(Ordering::Relaxed) {
            return writeln!(writer, "{}", object(event));
        }
        match &self.plain {
            Some(plain) => plain.format_event(context, writer, event),
            None => self.format.format_event(context, writer, event),
        }
    }
}

fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => ERROR,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// A line as an object: `time`, `level`, `message`, and what the line says beside that.
fn object(event: &Event<'_>) -> Value {
    let mut fields = Fields::default();
    let mut time = String::new();
    // It fails only where a text cannot be written to.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    fields.0.insert("time".to_owned(), time.into());
    let level = event.metadata().level().as_str().to_ascii_lowercase();
    fields.0.insert("level".to_owned(), level.into());
    event.record(&mut fields);
    Value::Object(fields.0)
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
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
