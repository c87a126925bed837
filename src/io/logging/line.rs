//! One line of the log: [`Line`] holds what an event said, and writes it as text, as JSON, or as fields for the journal
//! of systemd. Names and errors come from certificates and servers, and shall neither command a terminal nor begin a
//! line of their own.

use std::{
    fmt::{self, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use tracing::{
    Event, Level,
    field::{Field, Visit},
};

use crate::wire::time::Seconds;

/// What an event said.
#[derive(Debug, Clone)]
pub struct Line {
    /// Since 1970.
    time: Duration,
    level: Level,
    /// What the operator looks it up by in the runbook.
    pub code: Option<String>,
    pub message: String,
    pub fields: Vec<(String, Value)>,
}

impl Line {
    pub fn new(level: Level, code: Option<&str>, message: &str) -> Self {
        Self {
            time: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            level,
            code: code.map(str::to_owned),
            message: message.to_owned(),
            fields: Vec::new(),
        }
    }

    pub fn of(event: &Event<'_>) -> Self {
        let mut line = Self::new(*event.metadata().level(), None, "");
        event.record(&mut line);
        line
    }

    /// `TIME LEVEL CODE message name=value ...`
    pub fn text(&self) -> String {
        format!("{} {:>5} {}\n", self.instant(), self.level, self.said())
    }

    pub fn coloured_text(&self) -> String {
        let colour = match self.level {
            Level::ERROR => 31,
            Level::WARN => 33,
            Level::INFO => 32,
            _ => 34,
        };
        let (time, level, said) = (self.instant(), self.level, self.said());
        format!("\x1b[2m{time}\x1b[0m \x1b[{colour}m{level:>5}\x1b[0m {said}\n")
    }

    /// For a standard error that is the journal's: the level as sd-daemon(3) has it; the time is the journal's own.
    pub fn prefixed_text(&self) -> String {
        format!("{}{}\n", priority_prefix(self.level), self.said())
    }

    /// One object, whose names are stable.
    pub fn json(&self) -> String {
        let mut text = format!(
            "{{\"time\":\"{}\",\"level\":\"{}\"",
            self.instant(),
            self.level.as_str().to_ascii_lowercase()
        );
        let code = self.code.iter().map(|code| ("code", code.as_str().into()));
        let message = ("message", Value::from(self.message.as_str()));
        for (name, value) in code.chain([message]) {
            let _ = write!(text, ",{}:{value}", Value::from(name));
        }
        for (name, value) in &self.fields {
            let _ = write!(text, ",{}:{value}", Value::from(name.as_str()));
        }
        text.push_str("}\n");
        text
    }

    /// The message begins with the code, since that is all that `journalctl` shows by itself.
    pub fn fields_for_journald(&self) -> Vec<(String, String)> {
        let message = match &self.code {
            Some(code) => format!("{code} {}", self.message),
            None => self.message.clone(),
        };
        let mut fields: Vec<_> = [
            ("PRIORITY", priority(self.level).to_string()),
            ("SYSLOG_IDENTIFIER", "gnomon".to_owned()),
            ("MESSAGE", message + &self.fields_in_words()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if let Some(code) = &self.code {
            fields.push(("GNOMON_CODE".to_owned(), code.clone()));
        }
        for (name, value) in &self.fields {
            let name = format!("GNOMON_{}", name.to_ascii_uppercase());
            let value = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            fields.push((name, value));
        }
        fields
    }

    fn said(&self) -> String {
        let mut said = String::new();
        for part in self.code.iter().chain([&self.message]) {
            if !said.is_empty() {
                said.push(' ');
            }
            said.push_str(part);
        }
        said += &self.fields_in_words();
        harmless(&said)
    }

    fn fields_in_words(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.fields {
            let _ = match value {
                Value::String(value) => write!(text, " {name}={value}"),
                other => write!(text, " {name}={other}"),
            };
        }
        text
    }

    fn instant(&self) -> String {
        let seconds = Seconds::new(self.time.as_secs()).to_string();
        let micros = self.time.subsec_micros();
        format!("{}.{micros:06}Z", seconds.trim_end_matches('Z'))
    }

    fn take(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("code", Value::String(code)) => self.code = Some(code),
            ("message", Value::String(message)) => self.message = message,
            (name, value) => self.fields.push((name.to_owned(), value)),
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, value.into());
    }
}

/// The level as syslog counts it.
const fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// The same as sd-daemon(3) wants it before a line.
pub const fn priority_prefix(level: Level) -> &'static str {
    match priority(level) {
        3 => "<3>",
        4 => "<4>",
        6 => "<6>",
        _ => "<7>",
    }
}

/// Control characters spelt out: what comes from certificates and clients shall neither command the terminal nor make
/// lines of its own.
pub fn harmless(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    let mut spelt = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => spelt.extend(c.escape_default()),
            false => spelt.push(c),
        }
    }
    spelt
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        let mut line = Line::new(Level::ERROR, Some("GN1101"), "clock: \"lost\"\n\u{1b}[31m");
        line.time = Duration::from_micros(1_800_000_000_000_042);
        line.fields.push(("status".into(), 200.into()));
        line.fields.push(("path".into(), "/tsa".into()));
        line
    }

    #[test]
    fn text_is_one_line_that_commands_no_terminal() {
        let expected = "2027-01-15T08:00:00.000042Z ERROR GN1101 clock: \"lost\"\\n\\u{1b}[31m status=200 path=/tsa\n";
        assert_eq!(line().text(), expected);
        assert!(line().prefixed_text().starts_with("<3>GN1101 clock: "));
        assert_eq!(line().coloured_text().matches('\n').count(), 1);
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = line().json();
        assert_eq!(text.matches('\n').count(), 1);
        let object: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object["time"], "2027-01-15T08:00:00.000042Z");
        assert_eq!(object["level"], "error");
        assert_eq!(object["code"], "GN1101");
        assert_eq!(object["message"], "clock: \"lost\"\n\u{1b}[31m");
        assert_eq!(object["status"], 200);
    }

    #[test]
    fn the_journal_gets_fields() {
        let fields = line().fields_for_journald();
        let of = |name: &str| {
            let field = fields.iter().find(|(known, _)| known == name);
            field.unwrap().1.as_str()
        };
        assert_eq!(of("PRIORITY"), "3");
        assert_eq!(of("SYSLOG_IDENTIFIER"), "gnomon");
        assert_eq!(of("GNOMON_CODE"), "GN1101");
        assert_eq!(of("GNOMON_STATUS"), "200");
        assert!(of("MESSAGE").starts_with("GN1101 clock: \"lost\"\n"));
    }
}
