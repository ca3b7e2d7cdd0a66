//! Logs: one line an event, to standard error, as text for people or JSON for machines, with a level that can be changed while running.
//!
//! Invariant: every line about an alarm carries `alarm_id`, either as a field of its own or from the [`alarm_span`] around it. In JSON both
//! stand at the top level, so that one search finds all of them.

mod json;
mod sparing;

use std::io::IsTerminal;
use std::str::FromStr;

use huxiao_core::EventId;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::clock::Clock;
use crate::time_format;

pub use sparing::Sparing;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: local time, colours on a terminal unless `NO_COLOR` is set.
    Text,
    /// For machines: one JSON object a line, UTC.
    Json,
}

impl LogFormat {
    /// The words of `--log-format`.
    pub const WORDS: &'static [&'static str] = &["text", "json"];
}

impl FromStr for LogFormat {
    type Err = LogError;
    fn from_str(text: &str) -> Result<Self, LogError> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(LogError::Format(other.to_owned())),
        }
    }
}

/// Why logging cannot be set up or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Use one of the two.
    #[error("{0:?} is no log format; use text or json")]
    Format(String),
    /// See the documentation of `tracing_subscriber::EnvFilter` for the grammar.
    #[error("{filter:?} is no log filter: {reason}. Examples: info; warn,huxiao_link=debug")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Logging is set up once, by the program's main function.
    #[error("logging is already set up in this process")]
    Installed,
    /// The subscriber is gone; only at the end of the process.
    #[error("logging is no longer running, its level cannot be changed")]
    Gone,
}

/// Changes what is logged while the node runs.
#[derive(Debug, Clone)]
pub struct LogLevel {
    handle: reload::Handle<EnvFilter, Registry>,
}

impl LogLevel {
    /// Takes a filter such as `info` or `warn,huxiao_link=debug` from now on.
    ///
    /// # Errors
    /// [`LogError::Filter`], [`LogError::Gone`]; the old filter stays.
    pub fn set(&self, filter: &str) -> Result<(), LogError> {
        self.handle.reload(parse(filter)?).map_err(|_| LogError::Gone)
    }
}

/// Sets logging of this process up.
///
/// # Errors
/// [`LogError::Filter`], [`LogError::Installed`]
pub fn install(format: LogFormat, filter: &str) -> Result<LogLevel, LogError> {
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let (subscriber, level) = subscriber(format, filter, std::io::stderr, colours)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Installed)?;
    Ok(level)
}

/// What [`install`] sets up, writing to `writer`; for a process that runs several nodes.
///
/// # Errors
/// [`LogError::Filter`]
pub fn subscriber<W>(
    format: LogFormat,
    filter: &str,
    writer: W,
    colours: bool,
) -> Result<(impl tracing::Subscriber + Send + Sync, LogLevel), LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours);
    let lines = match format {
        LogFormat::Text => lines.with_timer(LocalTime(Clock::system())).boxed(),
        LogFormat::Json => lines.fmt_fields(JsonFields::new()).event_format(json::JsonLine(Clock::system())).boxed(),
    };
    Ok((Registry::default().with(filter).with(lines), LogLevel { handle }))
}

/// The span around work on one alarm: every line inside it carries the id.
#[must_use]
pub fn alarm_span(id: EventId) -> tracing::Span {
    tracing::info_span!("alarm", alarm_id = %id)
}

fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    let wrong = |reason: String| LogError::Filter { filter: filter.to_owned(), reason };
    if filter.trim().is_empty() {
        // The library takes this as "errors only", which nobody means.
        return Err(wrong("it is empty".into()));
    }
    // The library takes a lone word for a target and logs nothing else: a misspelt level would silence the node.
    let words = ["off", "error", "warn", "info", "debug", "trace"];
    let lone = |part: &&str| !part.contains(['=', '[']) && !words.contains(&part.to_ascii_lowercase().as_str());
    if let Some(part) = filter.split(',').map(str::trim).find(lone) {
        return Err(wrong(format!("{part:?} is not a level; levels are {}", words.join(", "))));
    }
    // The record's engine tells of every vote and every change of its own state; what matters of it the record says itself. A filter that
    // names the engine is the stronger one, since it comes later.
    let quiet = "openraft=error,openraft_rt=error,openraft_rt_tokio=error";
    EnvFilter::builder().parse(format!("{quiet},{filter}")).map_err(|error| wrong(error.to_string()))
}

/// Local time with its offset, to the millisecond.
struct LocalTime(Clock);

impl FormatTime for LocalTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        let zoned = time_format::timestamp(self.0.wall()).to_zoned_datetime(jiff::tz::TimeZone::system());
        write!(writer, "{}", zoned.strftime("%Y-%m-%d %H:%M:%S%.3f %:z"))
    }
}

#[cfg(test)]
mod tests;
