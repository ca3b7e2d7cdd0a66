//! The JSON line: time, level, target, message, then the fields of the spans around and of the event itself, all at the top level.
//!
//! Invariant: a line is one valid JSON object whatever was logged; a field cannot take the place of `time`, `level` or `target`.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::Clock;
use crate::time_format::rfc3339;

pub(super) struct JsonLine(pub(super) Clock);

impl<S> FormatEvent<S, JsonFields> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    JsonFields: for<'w> FormatFields<'w>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Map::new();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let text =
                extensions.get::<FormattedFields<JsonFields>>().map_or("", |formatted| formatted.fields.as_str());
            if let Ok(Value::Object(more)) = serde_json::from_str(text) {
                fields.extend(more);
            }
        }
        event.record(&mut Collect(&mut fields));
        let message = fields.remove("message").unwrap_or(Value::String(String::new()));
        let head = [
            ("time", Value::String(rfc3339(self.0.wall()))),
            ("level", Value::String(event.metadata().level().to_string())),
            ("target", Value::String(event.metadata().target().to_owned())),
            ("message", message),
        ];
        for (name, value) in head.iter().map(|(name, value)| (*name, value)) {
            fields.remove(name);
            let start = if name == "time" { '{' } else { ',' };
            write!(writer, "{start}{}:{value}", Value::from(name))?;
        }
        for (name, value) in &fields {
            write!(writer, ",{}:{value}", Value::from(name.as_str()))?;
        }
        writeln!(writer, "}}")
    }
}

struct Collect<'a>(&'a mut Map<String, Value>);

impl Collect<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().trim_start_matches("r#").to_owned(), value);
    }
}

impl Visit for Collect<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}
