//! Where log lines go: standard error, with priorities where the journal reads them.

use std::fmt;
use std::io::{self, IsTerminal};

use tracing::{Event, Level, Subscriber, error};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The environment variable that sets what is logged, such as `debug` or `suppressd=debug`.
const FILTER: &str = "SUPPRESSD_LOG";

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

/// Sends log lines to standard error from now on.
pub fn start() {
    let wanted = std::env::var(FILTER).unwrap_or_else(|_| DEFAULT.to_owned());
    let filter = EnvFilter::try_new(wanted).unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = if is_journal() {
        let plain = Format::default().without_time().with_level(false).with_target(false);
        builder.with_ansi(false).event_format(Prioritised(plain)).try_init()
    } else {
        builder.with_ansi(io::stderr().is_terminal()).with_target(false).try_init()
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
