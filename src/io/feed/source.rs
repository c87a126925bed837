//! One CRL and where it comes from: [`Source`] knows its file or URL, the mirrors of it, and when to look again.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use reqwest::Client;

use super::{
    FeedError,
    bounded_file::read_bounded,
    crl_folder::{self, Stamps, Wish},
    fetch::{Fetched, Validators, fetch},
    judge::CrlRefusal,
};
use crate::{
    io::{
        http_client::{self, Url},
        metrics::CrlFailure,
        stamp::stamp,
        wall_clock::wall_clock,
    },
    revocation::{Facts, schedule},
    wire::time::Seconds,
};

/// Where a CRL comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    File(PathBuf),
    Url(Url),
}

impl fmt::Display for Place {
    /// Without a URL's password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => http_client::shown(url).fmt(f),
        }
    }
}

/// A CRL's place and its mirrors.
#[derive(Debug)]
pub struct Source {
    /// At least one.
    places: Vec<Place>,
    /// The one that is looked at now.
    turn: usize,
    /// Of a file, or of a folder and the CRLs in it.
    stamps: Stamps,
    /// When a file is judged again though it is the same.
    again: Option<Seconds>,
    /// What it last brought can be judged only when the clock is proven.
    waits_for_clock: bool,
    /// Of a URL.
    pub validators: Validators,
    due: Instant,
    /// In a row, and since the start.
    failures: u32,
    pub all_failures: u64,
    /// Those that no metric has yet.
    pub uncounted: Vec<CrlFailure>,
    /// What was last wrong, if it still is.
    pub error: Option<String>,
    /// When it was last looked at with success, and is looked at next.
    pub checked: Option<Seconds>,
    pub next: Option<Seconds>,
}

/// What a look found that was not there before.
#[derive(Debug)]
pub struct News {
    pub content: Vec<u8>,
    pub validators: Validators,
    /// What beside it could not be looked at.
    pub passed_over: Option<Box<FeedError>>,
}

/// What a look found.
#[derive(Debug)]
pub enum Look {
    /// It is not yet time, or the file is the same.
    Nothing,
    /// The server has nothing new.
    Unchanged,
    New(News),
}

impl Source {
    pub fn new(places: Vec<Place>) -> Self {
        Self {
            places,
            turn: 0,
            stamps: Stamps::new(),
            again: None,
            waits_for_clock: false,
            validators: Validators::default(),
            due: Instant::now(),
            failures: 0,
            all_failures: 0,
            uncounted: Vec::new(),
            error: None,
            checked: None,
            next: None,
        }
    }

    /// Where it is looked for now.
    pub fn place(&self) -> String {
        let place = self.places.get(self.turn);
        place.map(ToString::to_string).unwrap_or_default()
    }

    /// Whether these are its places.
    pub fn is_at(&self, places: &[Place]) -> bool {
        let (own, others) = (self.places.iter(), places.iter());
        own.map(ToString::to_string)
            .eq(others.map(ToString::to_string))
    }

    /// By what an operator knows it, whichever mirror serves it.
    pub fn name(&self) -> String {
        let first = self.places.first();
        first.map(ToString::to_string).unwrap_or_default()
    }

    /// Whether an operator means it by this name, which is that of any of its places.
    pub fn is_named(&self, name: &str) -> bool {
        let shown = http_client::url(name).map(|url| http_client::shown(&url));
        self.places.iter().any(|place| match place {
            Place::File(path) => path == Path::new(name),
            Place::Url(url) => shown.as_ref() == Ok(&http_client::shown(url)),
        })
    }

    pub const fn has_mirrors(&self) -> bool {
        self.places.len() > 1
    }

    /// Whether a client is needed now.
    pub fn wants_client(&self) -> bool {
        matches!(self.places.get(self.turn), Some(Place::Url(_))) && self.due <= Instant::now()
    }

    /// What stands in the file, where the first place is one.
    pub fn read_file(&mut self, wish: &Wish<'_>) -> Option<Result<Vec<u8>, FeedError>> {
        let Some(Place::File(path)) = self.places.first() else {
            return None;
        };
        let (stamps, found) = read(path, &Stamps::new(), wish);
        // What is passed over is the first look's to tell.
        if !matches!(found, Ok(Some((_, Some(_))))) {
            self.stamps = stamps;
        }
        found
            .map(|found| found.map(|(content, _)| content))
            .transpose()
    }

    /// What is new at the source, if there is something. A failure is the caller's to note.
    pub async fn look(
        &mut self,
        client: Option<&Client>,
        wish: &Wish<'_>,
    ) -> Result<Look, FeedError> {
        self.turn_back();
        match (self.places.get(self.turn), client) {
            // Of mirrors that have all failed nothing tells which has changed.
            (Some(Place::File(_)), _)
                if self.has_mirrors() && self.failures > 0 && self.due > Instant::now() =>
            {
                Ok(Look::Nothing)
            }
            (Some(Place::File(path)), _) => {
                if self.again.is_some_and(|again| again <= wall_clock()) {
                    self.again = None;
                    self.stamps.clear();
                }
                let (stamps, found) = read(path, &self.stamps, wish);
                self.stamps = stamps;
                Ok(found?.map_or(Look::Nothing, |(content, passed_over)| {
                    Look::New(News {
                        content,
                        validators: Validators::default(),
                        passed_over: passed_over.map(Box::new),
                    })
                }))
            }
            (Some(Place::Url(url)), Some(client)) if self.due <= Instant::now() => {
                match fetch(client, url, &self.validators, wish.largest).await {
                    Ok(Fetched::New(content, validators)) => Ok(Look::New(News {
                        content,
                        validators,
                        passed_over: None,
                    })),
                    Ok(Fetched::Unchanged) => Ok(Look::Unchanged),
                    Err(error) => Err(FeedError::Fetch {
                        place: self.place(),
                        error,
                    }),
                }
            }
            _ => Ok(Look::Nothing),
        }
    }

    /// A file that stands in does not fail when it grows old, so that nothing else leads back to what is before it.
    fn turn_back(&mut self) {
        let stands_in = self.turn > 0 && self.error.is_none();
        let is_file = matches!(self.places.get(self.turn), Some(Place::File(_)));
        if stands_in && is_file && self.due <= Instant::now() {
            self.turn = 0;
            self.forget();
        }
    }

    /// What was found is in force, or was already. Plans the next look by that CRL.
    pub fn succeeded(&mut self, crl: Option<&Facts>) {
        self.failures = 0;
        self.error = None;
        let now = wall_clock();
        let (this, next) = crl.map_or((now, now), |crl| (crl.this_update(), crl.next_update()));
        self.checked = Some(now);
        self.wait(schedule::after_success(this, next, now, random()));
    }

    /// Plans the next try: at once where a mirror is left, else later with each failure.
    pub fn failed(&mut self, error: &FeedError) {
        self.all_failures = self.all_failures.saturating_add(1);
        self.uncounted.extend(error.failure());
        self.error = Some(error.to_string());
        self.validators = Validators::default();
        if self.has_mirrors() {
            self.stamps.clear();
        }
        self.turn += 1;
        if self.turn < self.places.len() {
            self.hurry();
            return;
        }
        self.turn = 0;
        self.failures = self.failures.saturating_add(1);
        self.wait(schedule::after_failure(self.failures, random()));
    }

    /// Makes it due.
    pub fn hurry(&mut self) {
        self.due = Instant::now();
        self.next = None;
    }

    /// Makes it due, and whatever is there new.
    pub fn forget(&mut self) {
        self.hurry();
        self.stamps.clear();
        self.validators = Validators::default();
    }

    /// Has a file judged again at the next look.
    pub fn reread(&mut self) {
        self.stamps.clear();
    }

    /// The same when that time has come: of a CRL that is from a clock which is ahead.
    pub fn reread_at(&mut self, time: Seconds) {
        self.again = Some(time.plus(1));
    }

    pub fn wait_for_clock(&mut self, error: &FeedError) {
        self.waits_for_clock = matches!(
            error,
            FeedError::Crl {
                error: CrlRefusal::EndsEarlier { .. },
                ..
            }
        );
    }

    /// Has what waited for that judged again.
    pub fn clock_is_proven(&mut self) {
        if std::mem::take(&mut self.waits_for_clock) {
            self.forget();
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.due = Instant::now() + Duration::from_secs(seconds);
        self.next = match self.places.get(self.turn) {
            Some(Place::Url(_)) => Some(wall_clock().plus(seconds)),
            _ => None,
        };
    }
}

/// A CRL, and what beside it could not be looked at.
pub type FoundCrl = (Vec<u8>, Option<FeedError>);

/// What stands there, if it has changed, and by what the next change is told.
fn read(
    path: &Path,
    known: &Stamps,
    wish: &Wish<'_>,
) -> (Stamps, Result<Option<FoundCrl>, FeedError>) {
    let is_folder = path.is_dir();
    let now = if is_folder {
        crl_folder::stamps(path)
    } else {
        Ok(vec![(path.to_owned(), stamp(path))])
    };
    match now {
        Ok(now) if now == *known => (now, Ok(None)),
        Ok(now) => {
            let found = if is_folder {
                crl_folder::newest(&now, path, wish)
            } else {
                read_bounded(path, wish.largest).map(|content| (content, None))
            };
            (now, found.map(Some))
        }
        // Told once.
        Err(error) => {
            let unknown = vec![(path.to_owned(), None)];
            let told = unknown == *known;
            (unknown, if told { Ok(None) } else { Err(error) })
        }
    }
}

fn random() -> u64 {
    let mut octets = [0; 8];
    // Without random numbers the visits are merely not spread.
    let _ = aws_lc_rs::rand::fill(&mut octets);
    u64::from_be_bytes(octets)
}
