//! What is said to the operator while the appliance runs: [`begin`] sends the events of `tracing` to standard error as
//! text or JSON, or to the journal of systemd. [`line`] is one of them in each form, [`journald`] the way to systemd,
//! [`brake`] keeps what repeats itself from filling the disk. The log of what was issued is another: [`super::journal`].

mod brake;
mod journald;
mod line;

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    panic::PanicHookInfo,
    sync::{Mutex, OnceLock, PoisonError},
    time::Instant,
};

use serde_json::Value;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter, Registry,
    layer::{Context, Layer, SubscriberExt},
};

use crate::service::code;
use brake::Brake;
use journald::Journald;
use line::Line;

pub use line::harmless;

/// The target of request lines, which pass whatever the level is.
pub const REQUESTS: &str = "gnomon::requests";

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One object a line.
    Json,
    /// By the journal's own protocol, with fields; to standard error where it does not listen.
    Journald,
}

/// What is written, and how.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Without one: to the journal where standard error is the journal's, else as text.
    pub format: Option<Format>,
    /// The least level; `GNOMON_LOG` overrides it.
    pub level: Level,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            format: None,
            level: Level::INFO,
        }
    }
}

/// Where lines go, once [`begin`] has said so.
static OUTPUT: OnceLock<Output> = OnceLock::new();

/// From now on events, and panics, are written as `settings` say. To be called once.
pub fn begin(settings: Settings) {
    let output = OUTPUT.get_or_init(|| Output::new(settings.format));
    let (filter, trouble) = filter(settings.level, std::env::var("GNOMON_LOG").ok().as_deref());
    let subscriber = Registry::default().with(filter).with(Lines(output));
    // An error means that another subscriber is there already: a test's.
    let _ = tracing::subscriber::set_global_default(subscriber);
    std::panic::set_hook(Box::new(say_panic));
    if let Some(trouble) = trouble {
        tracing::warn!(code = code::LOG_LEVEL, "GNOMON_LOG: {trouble}");
    }
}

/// To be called about once a second: says what [`brake`] has held back for long enough.
pub fn tick() {
    if let Some(output) = OUTPUT.get() {
        output.tick();
    }
}

/// To be called when nothing more is served: says what [`brake`] holds back still.
pub fn end() {
    if let Some(output) = OUTPUT.get() {
        output.end();
    }
}

/// Says what keeps the appliance from its start: as the other lines where those are for programs, else plainly.
pub fn refuse_start(problem: &str) {
    match OUTPUT.get() {
        Some(output) if output.format != Format::Text => {
            output.write(&Line::new(Level::ERROR, Some(code::NOT_STARTED), problem));
        }
        _ => say_plainly(problem),
    }
}

/// Says an error on standard error as text, whatever is configured.
pub fn say_plainly(problem: &str) {
    let said = match journald::is_stderr() {
        // Each line is one of its own there: a place in the configuration is shown over several.
        true => {
            let level = line::priority_prefix(Level::ERROR);
            format!(
                "{level}error: {}",
                problem.replace('\n', &format!("\n{level}"))
            )
        }
        false => format!("error: {problem}"),
    };
    let _ = writeln!(std::io::stderr(), "{said}");
}

/// Shows what is in force: to people on standard output, where `also` follows, to programs as one line of the log.
pub fn announce(screen: &str, facts: BTreeMap<&'static str, Value>, also: &str) {
    match OUTPUT.get().filter(|output| output.format != Format::Text) {
        Some(output) => {
            let mut line = Line::new(Level::INFO, None, screen);
            if output.format == Format::Json {
                line.message = "what is in force".into();
                line.fields = facts
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect();
            }
            output.write(&line);
        }
        None => {
            let mut out = std::io::stdout().lock();
            // A closed standard output is no reason not to serve.
            let _ = write!(out, "{screen}\n{also}").and_then(|()| out.flush());
        }
    }
}

/// What is let through: of our own code what the level says, of libraries warnings, since their details may hold what
/// clients sent. A variable in the full syntax of `tracing_subscriber` is for developers. What is wrong with it comes
/// second.
fn filter(level: Level, variable: Option<&str>) -> (EnvFilter, Option<String>) {
    let by_level = |level: Level| {
        let others = level.min(Level::WARN);
        EnvFilter::new(format!("{others},gnomon={level},{REQUESTS}=info"))
    };
    let Some(variable) = variable.filter(|text| !text.is_empty()) else {
        return (by_level(level), None);
    };
    if let Ok(level) = variable.parse::<Level>() {
        return (by_level(level), None);
    }
    match EnvFilter::builder().parse(variable) {
        Ok(filter) => (filter, None),
        Err(error) => (by_level(level), Some(format!("not heeded: {error}"))),
    }
}

/// Takes the place of the standard library's hook, whose text would break the form of the log.
fn say_panic(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let what = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    tracing::error!(
        code = code::PANIC,
        "the thread {} panicked at {place}: {what}; this is an error in the program, please report it",
        thread.name().unwrap_or("without a name")
    );
    let backtrace = std::backtrace::Backtrace::capture();
    if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
        tracing::error!(code = code::PANIC, "{backtrace}");
    }
}

/// The end of the way.
struct Output {
    format: Format,
    journald: Option<Journald>,
    is_terminal: bool,
    brake: Mutex<Brake>,
}

impl Output {
    fn new(format: Option<Format>) -> Self {
        let format = format.unwrap_or_else(|| match journald::is_stderr() {
            true => Format::Journald,
            false => Format::Text,
        });
        Self {
            format,
            journald: match format {
                Format::Journald => Journald::new().ok(),
                _ => None,
            },
            is_terminal: std::io::stderr().is_terminal(),
            brake: Mutex::default(),
        }
    }

    fn put(&self, line: Line) {
        let Some(code) = line.code.clone() else {
            return self.write(&line);
        };
        let mut brake = self.brake.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = brake.pass(&code, line, Instant::now());
        // Not while a line is written: that may take long where somebody reads slowly.
        drop(brake);
        let lines = passed.held.iter().chain(&passed.now);
        lines.for_each(|line| self.write(line));
    }

    fn tick(&self) {
        self.write_held(|brake| brake.release(Instant::now()));
    }

    fn end(&self) {
        self.write_held(Brake::drain);
    }

    fn write_held(&self, held: impl FnOnce(&mut Brake) -> Vec<Line>) {
        let mut brake = self.brake.lock().unwrap_or_else(PoisonError::into_inner);
        let held = held(&mut brake);
        drop(brake);
        held.iter().for_each(|line| self.write(line));
    }

    /// In one call, so that the lines of several threads do not mix. Where it cannot be written nobody can be told.
    fn write(&self, line: &Line) {
        let text = match self.format {
            Format::Text if self.is_terminal => line.coloured_text(),
            Format::Text => line.text(),
            Format::Json => line.json(),
            Format::Journald => {
                let sent = self
                    .journald
                    .as_ref()
                    .map(|to| to.send(&line.fields_for_journald()));
                if sent.is_some_and(|sent| sent.is_ok()) {
                    return;
                }
                line.prefixed_text()
            }
        };
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

/// Events on their way to the output.
struct Lines(&'static Output);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.put(Line::of(event));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Keeps what it is told.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<Line>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().push(Line::of(event));
        }
    }

    #[test]
    fn a_panic_is_a_line_with_a_code() {
        let kept = Kept::default();
        let subscriber = Registry::default().with(kept.clone());
        let old = std::panic::take_hook();
        std::panic::set_hook(Box::new(say_panic));
        tracing::subscriber::with_default(subscriber, || {
            let number = 7;
            let panicked = std::panic::catch_unwind(|| panic!("out of {number}"));
            assert!(panicked.is_err());
        });
        std::panic::set_hook(old);
        let lines = kept.0.lock().unwrap();
        assert_eq!(lines[0].code.as_deref(), Some(code::PANIC));
        let message = &lines[0].message;
        assert!(message.contains("out of 7") && message.contains("src/io/logging/mod.rs:"));
    }

    #[test]
    fn levels_hold_for_our_own_code_and_libraries_only_warn() {
        let shown = |level: Level, variable: Option<&str>| {
            let (filter, trouble) = filter(level, variable);
            (filter.to_string(), trouble.is_some())
        };
        let parts = |text: String| {
            text.split(',')
                .map(str::to_owned)
                .collect::<std::collections::BTreeSet<_>>()
        };
        let expected = |text: &str| parts(text.to_owned());
        let plain = expected("warn,gnomon=info,gnomon::requests=info");
        let (filter, wrong) = shown(Level::INFO, None);
        assert_eq!((parts(filter), wrong), (plain.clone(), false));
        let (filter, wrong) = shown(Level::INFO, Some("gnomon=lots"));
        assert_eq!((parts(filter), wrong), (plain, true));
        let (filter, _) = shown(Level::INFO, Some("debug"));
        assert_eq!(
            parts(filter),
            expected("warn,gnomon=debug,gnomon::requests=info")
        );
        let (filter, _) = shown(Level::ERROR, Some(""));
        assert_eq!(
            parts(filter),
            expected("error,gnomon=error,gnomon::requests=info")
        );
        let (filter, wrong) = shown(Level::INFO, Some("h2=trace"));
        assert_eq!((filter.as_str(), wrong), ("h2=trace", false));
    }
}
