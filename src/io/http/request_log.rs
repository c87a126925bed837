//! A line in the log for each request, where that is wanted: [`RequestLog`]. It names who asked for what, how it was
//! answered and how fast; no header, no query and no body. Over so many lines a second requests are only counted.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hyper::{Method, Request, StatusCode};

use super::Answer;
use crate::io::logging::REQUESTS;

/// Characters of a path that are shown: an OCSP request in a path has hundreds, and says little to people.
const SHOWN: usize = 80;

const WINDOW: Duration = Duration::from_secs(1);

/// Says so many lines a second.
#[derive(Debug)]
pub struct RequestLog {
    lines: u32,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    is_open: bool,
    lines: u32,
    left_out: u64,
}

/// A request that has a line to come.
#[derive(Debug)]
pub struct Begun {
    client: IpAddr,
    method: Method,
    path: String,
    start: Instant,
    has_line: bool,
}

/// How a request was answered, among an answer's extensions; without it nothing but HTTP was asked for.
#[derive(Debug, Clone)]
pub struct Told {
    /// `tsa` or `ocsp`; none where no service was reached.
    pub service: Option<&'static str>,
    pub tsu: Option<String>,
    /// As the metrics count it; `left` where the client hung up before the answer.
    pub outcome: &'static str,
}

impl RequestLog {
    /// At most `lines` a second.
    pub fn new(lines: u32) -> Arc<Self> {
        Arc::new(Self {
            lines,
            window: Mutex::default(),
        })
    }

    /// A request has come; `None` where it is only counted. To be called where tokio runs.
    pub fn begin<B>(self: &Arc<Self>, request: &Request<B>, client: IpAddr) -> Option<Box<Begun>> {
        if !self.admits() {
            return None;
        }
        let path = request.uri().path();
        let mut shown: String = path.chars().take(SHOWN).collect();
        if shown.len() < path.len() {
            shown.push_str("...");
        }
        Some(Box::new(Begun {
            client,
            method: request.method().clone(),
            path: shown,
            start: Instant::now(),
            has_line: false,
        }))
    }

    /// Somebody asked for a connection, and did not come to ask for more. To be called where tokio runs.
    pub fn handshake(self: &Arc<Self>, client: IpAddr, reason: &str, error: Option<&io::Error>) {
        if self.admits() {
            tracing::info!(
                target: REQUESTS,
                %client,
                outcome = reason,
                error = error.map(tracing::field::display),
                "TLS handshake failed"
            );
        }
    }

    fn admits(self: &Arc<Self>) -> bool {
        let mut window = self.window();
        if !std::mem::replace(&mut window.is_open, true) {
            let log = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(WINDOW).await;
                log.close();
            });
        }
        let admits = window.lines < self.lines;
        match admits {
            true => window.lines += 1,
            false => window.left_out += 1,
        }
        admits
    }

    /// Says what was left out, and begins anew.
    fn close(&self) {
        let Window { left_out, .. } = std::mem::take(&mut *self.window());
        if left_out > 0 {
            tracing::info!(target: REQUESTS, left_out, "requests that have no line, in one second");
        }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Begun {
    /// It was answered; `name` is the client's, where one is known.
    pub fn end(mut self, name: Option<&str>, answer: &Answer) {
        self.say(name, answer.extensions().get(), Some(answer.status()));
    }

    fn say(&mut self, name: Option<&str>, told: Option<&Told>, status: Option<StatusCode>) {
        self.has_line = true;
        tracing::info!(
            target: REQUESTS,
            client = %self.client,
            client_name = name,
            method = self.method.as_str(),
            path = self.path,
            service = told.and_then(|told| told.service),
            tsu = told.and_then(|told| told.tsu.as_deref()),
            outcome = told.map(|told| told.outcome),
            status = status.map(|status| status.as_u16()),
            duration_us = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX),
            "request"
        );
    }
}

impl Drop for Begun {
    /// Who hangs up before the answer has asked all the same.
    fn drop(&mut self) {
        if !self.has_line {
            let left = Told {
                service: None,
                tsu: None,
                outcome: "left",
            };
            self.say(None, Some(&left), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(log: &Arc<RequestLog>, uri: &str) -> Option<Box<Begun>> {
        let request = Request::get(uri).body(()).unwrap();
        log.begin(&request, IpAddr::from([127, 0, 0, 1]))
    }

    #[tokio::test(start_paused = true)]
    async fn over_so_many_a_second_requests_are_counted() {
        let log = RequestLog::new(3);
        for _ in 0..3 {
            assert!(begin(&log, "/tsa").is_some());
        }
        for _ in 0..5 {
            assert!(begin(&log, "/tsa").is_none());
        }
        assert_eq!(log.window().left_out, 5);
        tokio::time::sleep(WINDOW * 2).await;
        assert_eq!(log.window().left_out, 0);
        assert!(begin(&log, "/tsa").is_some());
    }

    #[tokio::test]
    async fn a_path_is_cut_and_a_query_is_not_shown() {
        let log = RequestLog::new(3);
        let begun = begin(&log, "http://me:secret@host/tsa/rsa?token=secret").unwrap();
        assert_eq!(begun.path, "/tsa/rsa");
        let begun = begin(&log, &format!("/ocsp/{}", "M".repeat(500))).unwrap();
        assert_eq!(begun.path.len(), SHOWN + 3);
    }
}
