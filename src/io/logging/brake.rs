//! What repeats itself is said a few times and then counted: [`Brake`] lets [`LINES`] lines of one code through in
//! [`WINDOW`], and at its end the last of what it held back, with their count. So a device that fails every other
//! signature, or whoever asks for them, cannot fill the disk.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::line::Line;
use crate::service::code;

/// Lines of one code in one window.
const LINES: u32 = 20;

const WINDOW: Duration = Duration::from_secs(10);

/// What answers an operator, who can ask as often as he likes and reads every word.
const ANSWERS: [&str; 1] = [code::RELOAD_REFUSED];

/// What has come lately, by code. There are some dozens of codes.
#[derive(Debug, Default)]
pub struct Brake(HashMap<String, Window>);

#[derive(Debug)]
struct Window {
    begun: Instant,
    lines: u32,
    held: u64,
    last: Option<Line>,
}

/// What is to be written at a line's coming.
#[derive(Debug)]
pub struct Passed {
    /// What an earlier window held back.
    pub held: Option<Line>,
    /// The line itself, unless it is held back.
    pub now: Option<Line>,
}

impl Brake {
    pub fn pass(&mut self, code: &str, line: Line, now: Instant) -> Passed {
        if ANSWERS.contains(&code) {
            return Passed {
                held: None,
                now: Some(line),
            };
        }
        if !self.0.contains_key(code) {
            let window = Window::new(now);
            self.0.insert(code.to_owned(), window);
        }
        let Some(window) = self.0.get_mut(code) else {
            return Passed {
                held: None,
                now: Some(line),
            };
        };
        let held = window.end(now);
        if window.lines < LINES {
            window.lines += 1;
            return Passed {
                held,
                now: Some(line),
            };
        }
        window.held += 1;
        window.last = Some(line);
        Passed { held, now: None }
    }

    /// What the windows that are over have held back.
    pub fn release(&mut self, now: Instant) -> Vec<Line> {
        let windows = self.0.values_mut();
        windows.filter_map(|window| window.end(now)).collect()
    }

    /// What all have held back, whether they are over or not.
    pub fn drain(&mut self) -> Vec<Line> {
        let windows = self.0.drain();
        windows.filter_map(|(_, window)| window.held()).collect()
    }
}

impl Window {
    const fn new(now: Instant) -> Self {
        Self {
            begun: now,
            lines: 0,
            held: 0,
            last: None,
        }
    }

    /// Begins a new window where this one is over; gives the last line that was held back.
    fn end(&mut self, now: Instant) -> Option<Line> {
        if now.saturating_duration_since(self.begun) < WINDOW {
            return None;
        }
        let line = std::mem::replace(self, Self::new(now)).held()?;
        // It has cost a line of the new window.
        self.lines = 1;
        Some(line)
    }

    /// The last line that was held back, with how many there were.
    fn held(self) -> Option<Line> {
        let mut line = self.last?;
        line.fields.push(("held_back".to_owned(), self.held.into()));
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_flood_is_counted_and_its_last_line_is_said() {
        let (mut brake, start) = (Brake::default(), Instant::now());
        let line = |text: &str| Line::new(Level::ERROR, Some("GN1"), text);
        let mut said = 0;
        for number in 0..1_000 {
            let passed = brake.pass("GN1", line(&number.to_string()), start);
            assert!(passed.held.is_none());
            said += u32::from(passed.now.is_some());
        }
        assert_eq!(said, LINES);
        // Another code has a budget of its own.
        assert!(brake.pass("GN2", line("other"), start).now.is_some());
        assert!(brake.release(start + WINDOW / 2).is_empty());
        let held = brake.release(start + WINDOW);
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].message, "999");
        assert_eq!(held[0].fields, [("held_back".to_owned(), 980.into())]);
        assert!(brake.release(start + WINDOW * 2).is_empty());
        assert!(
            brake
                .pass("GN1", line("later"), start + WINDOW * 2)
                .now
                .is_some()
        );
    }

    #[test]
    fn what_was_held_back_comes_before_what_comes_later() {
        let (mut brake, start) = (Brake::default(), Instant::now());
        let line = |text: &str| Line::new(Level::ERROR, Some("GN1"), text);
        for _ in 0..=LINES {
            brake.pass("GN1", line("old"), start);
        }
        let passed = brake.pass("GN1", line("new"), start + WINDOW);
        assert_eq!(passed.held.unwrap().message, "old");
        assert_eq!(passed.now.unwrap().message, "new");
    }

    #[test]
    fn an_end_gives_what_was_held_back_until_then() {
        let (mut brake, start) = (Brake::default(), Instant::now());
        let line = |text: &str| Line::new(Level::ERROR, Some("GN1"), text);
        for number in 0..=LINES + 1 {
            brake.pass("GN1", line(&number.to_string()), start);
        }
        let held = brake.drain();
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].message, (LINES + 1).to_string());
        assert_eq!(held[0].fields, [("held_back".to_owned(), 2.into())]);
        assert!(brake.drain().is_empty());
    }
}
