//! One scope of an issuer's CRLs: [`Slot`] has the complete CRL's source and the delta's, judges what they bring, and
//! keeps what it accepts. It writes before anything is in force: first what stays revoked, then the CRL.

use std::path::PathBuf;

use reqwest::Client;

use super::{
    FeedError, Place,
    bounded_file::read_bounded,
    crl_folder::Wish,
    judge::{CrlRefusal, Judge},
    kept::{Kept, Kind},
    retained,
    source::{Look, News, Source},
};
use crate::{
    audit::event::Event,
    io::{
        http_client,
        whole_file::{self, Staged},
    },
    revocation::{
        CrlError, Facts, Glance, Overlaid, Part, Retained, Snapshot, verify, verify_delta,
    },
    wire::time::Seconds,
};

/// Serials named in one alarm; the list that is kept has all.
const NAMED: usize = 8;

/// A CRL that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Where it is, and mirrors that are tried in turn. At least one.
    pub places: Vec<Place>,
    pub delta: Delta,
    /// A name that the issuing distribution point must have.
    pub distribution_point: Option<String>,
}

/// Where the delta to a CRL is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delta {
    /// None is read.
    None,
    /// In these places, of which the others are mirrors of the first.
    At(Vec<Place>),
    /// Where the complete CRL says (freshestCRL, RFC 5280 5.2.6).
    Freshest,
}

impl Wanted {
    /// The names of its sources, as far as the configuration tells them.
    pub fn names(&self) -> Vec<String> {
        let delta = match &self.delta {
            Delta::At(places) => places.first(),
            Delta::None | Delta::Freshest => None,
        };
        let first = self.places.first().into_iter().chain(delta);
        first.map(ToString::to_string).collect()
    }
}

#[derive(Debug)]
pub struct Slot {
    distribution_point: Option<String>,
    pub base: Source,
    pub delta: Option<Source>,
    follows_freshest: bool,
    pub part: Option<Part>,
    /// What was in force when it was last told what has disappeared, where that is still to be told.
    pub before: Option<Part>,
    /// What was revoked for good, until there is a part to hold it.
    retained: Retained,
    kept: PathBuf,
    unkept: Unkept,
    /// An operator has allowed another scope and lower numbers for the next CRL.
    pub is_reset: bool,
}

/// What is in force but not yet on the disk.
#[derive(Debug, Default)]
struct Unkept {
    retained: bool,
    base: Option<Content>,
    delta: Option<Content>,
    /// That it is told once.
    failure: Option<String>,
}

/// Of a CRL.
#[derive(Debug)]
enum Content {
    Octets(Vec<u8>),
    /// It needs no memory.
    Staged(Staged),
}

impl Slot {
    /// Reads and verifies what is on this host. Nothing is written. What was kept stands in for a file that cannot be
    /// taken, and for a URL until it is fetched.
    pub fn open(
        wanted: Wanted,
        nth: usize,
        kept: &Kept,
        judge: &mut Judge,
        errors: &mut Vec<FeedError>,
        warnings: &mut Vec<FeedError>,
    ) -> Self {
        let point = wanted.distribution_point.as_deref().unwrap_or_default();
        let mut slot = Self {
            kept: kept.path(&judge.issuer, point, nth),
            distribution_point: wanted.distribution_point,
            base: Source::new(wanted.places),
            follows_freshest: matches!(wanted.delta, Delta::Freshest),
            delta: match wanted.delta {
                Delta::At(places) => Some(Source::new(places)),
                Delta::None | Delta::Freshest => None,
            },
            part: None,
            before: None,
            retained: Retained::default(),
            unkept: Unkept::default(),
            is_reset: false,
        };
        let path = slot.file("retained");
        let (retained, wrong) = retained::read(&path);
        slot.retained = retained;
        warnings.extend(wrong.map(|error| FeedError::Retained { path, error }));
        for kind in [Kind::Complete, Kind::Delta] {
            warnings.extend(slot.take_kept(kind, judge).err());
            let Some(source) = slot.source(kind) else {
                continue;
            };
            let place = source.name();
            let issuer = judge.issuer.clone();
            let distribution_point = slot.distribution_point.clone();
            let wish = Wish {
                issuer: &issuer,
                distribution_point: distribution_point.as_deref(),
                kind,
                largest: judge.largest,
            };
            let Some(read) = slot.source(kind).and_then(|source| source.read_file(&wish)) else {
                continue;
            };
            let before = slot.part.clone();
            let taken = read.and_then(|content| {
                let number = number_of(&content);
                let taken = slot.take(kind, content, judge);
                taken.map_err(|error| refused(place, number, error))
            });
            if let (Err(error), Some(source)) = (&taken, slot.source(kind)) {
                source.wait_for_clock(error);
            }
            match taken {
                Ok(true) => slot.before = slot.before.take().or(before),
                Ok(false) => {}
                // Without a delta the complete CRL answers, or will when it has come.
                Err(error) if slot.part.is_some() || kind == Kind::Delta => warnings.push(error),
                Err(error) => errors.push(error),
            }
        }
        slot
    }

    /// What was kept by an earlier process, judged like anything else that comes from a disk, but for its dates.
    fn take_kept(&mut self, kind: Kind, judge: &mut Judge) -> Result<(), FeedError> {
        let path = self.path(kind);
        if self.source(kind).is_none() || !path.exists() {
            return Ok(());
        }
        let wrong = |error: String| FeedError::Kept {
            path: path.clone(),
            error,
        };
        let content =
            read_bounded(&path, judge.largest).map_err(|error| wrong(error.to_string()))?;
        let now = judge.now.take();
        // It need not be written. A file that was read before it may have to be.
        let unkept = std::mem::take(&mut self.unkept);
        let taken = self.take(kind, content, judge);
        judge.now = now;
        self.unkept = unkept;
        taken.map(|_| ()).map_err(|error| wrong(error.to_string()))
    }

    /// Where the CRL of this kind is kept.
    fn path(&self, kind: Kind) -> PathBuf {
        match kind {
            Kind::Complete => self.kept.clone(),
            Kind::Delta => self.file("delta"),
        }
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.kept.with_extension(ending)
    }

    /// By what the store knows the source.
    pub fn id(&self, kind: Kind) -> String {
        let stem = self.kept.file_stem().unwrap_or_default();
        format!("{} {}", stem.display(), kind.name())
    }

    /// By what an operator knows the source.
    pub fn name(&self, kind: Kind) -> String {
        match (kind, &self.delta) {
            (Kind::Delta, Some(delta)) => delta.name(),
            _ => self.base.name(),
        }
    }

    pub fn source(&mut self, kind: Kind) -> Option<&mut Source> {
        match kind {
            Kind::Complete => Some(&mut self.base),
            Kind::Delta => self.delta.as_mut(),
        }
    }

    /// The CRL in force of this kind.
    pub fn crl(&self, kind: Kind) -> Option<&Facts> {
        let part = self.part.as_ref()?;
        match kind {
            Kind::Complete => Some(part.base()),
            Kind::Delta => part.delta().map(|delta| &**delta),
        }
    }

    /// Looks at both sources. Whether something else is in force; what could not be taken is told.
    pub async fn refresh(
        &mut self,
        client: Option<&Client>,
        judge: &mut Judge,
        errors: &mut Vec<FeedError>,
    ) -> bool {
        let mut changed = false;
        for kind in [Kind::Complete, Kind::Delta] {
            let point = self.distribution_point.clone();
            let wish = Wish {
                issuer: &judge.issuer,
                distribution_point: point.as_deref(),
                kind,
                largest: judge.largest,
            };
            let is_proven = judge.now.is_some();
            let Some(source) = self.source(kind) else {
                continue;
            };
            if is_proven {
                source.clock_is_proven();
            }
            let place = source.place();
            let taken = match source.look(client, &wish).await {
                Ok(Look::Nothing) => continue,
                Ok(Look::Unchanged) => {
                    let number = self.crl(kind).and_then(|crl| crl.mark().number);
                    let number = number.map(hex::encode);
                    let stands = self.stands(kind, judge).map(|()| false);
                    stands.map_err(|error| refused(place.clone(), number, error))
                }
                Ok(Look::New(News {
                    content,
                    validators,
                    passed_over,
                })) => {
                    errors.extend(passed_over.map(|error| *error));
                    let number = number_of(&content);
                    let taken = self.take(kind, content, judge);
                    if let (Ok(_), Some(source)) = (&taken, self.source(kind)) {
                        source.validators = validators;
                    }
                    taken.map_err(|error| refused(place.clone(), number, error))
                }
                Err(error) => Err(error),
            };
            match taken {
                Ok(new) => {
                    changed |= new;
                    self.succeeded(kind);
                    // A stop may not wait for the next, but its mark is put on record.
                    errors.extend(self.keep());
                }
                Err(error) => {
                    if error.is_refusal() {
                        judge.news.push(Event::CrlRefused {
                            issuer: judge.issuer.subject_text(),
                            source: place,
                            number: error.number().map(str::to_owned),
                            reason: error.to_string(),
                        });
                    }
                    if let Some(source) = self.source(kind) {
                        source.failed(&error);
                        source.wait_for_clock(&error);
                        if let FeedError::Crl {
                            error: CrlRefusal::Future(begin),
                            ..
                        } = &error
                        {
                            source.reread_at(*begin);
                        }
                    }
                    errors.push(error);
                }
            }
        }
        errors.extend(self.keep());
        changed
    }

    /// Whether what the server has not changed may stay in force where there is a mirror that may have newer. Without one
    /// nothing is gained by asking less often.
    fn stands(&mut self, kind: Kind, judge: &mut Judge) -> Result<(), CrlRefusal> {
        let has_mirrors = self.source(kind).is_some_and(|source| source.has_mirrors());
        match self.crl(kind).filter(|_| has_mirrors) {
            Some(crl) => judge.admit(crl, kind, self.is_reset).map(|_| ()),
            None => Ok(()),
        }
    }

    fn succeeded(&mut self, kind: Kind) {
        let part = self.part.as_ref();
        match (kind, &mut self.delta) {
            (Kind::Complete, _) => self.base.succeeded(part.map(|part| &**part.base())),
            (Kind::Delta, Some(delta)) => {
                let crl = part.and_then(Part::delta).map(|delta| &**delta);
                delta.succeeded(crl.or(part.map(|part| &**part.base())));
            }
            (Kind::Delta, None) => {}
        }
    }

    /// Puts what is in `content` into force, if it may be. Whether it is new.
    fn take(
        &mut self,
        kind: Kind,
        content: Vec<u8>,
        judge: &mut Judge,
    ) -> Result<bool, CrlRefusal> {
        if content.trim_ascii_start().starts_with(b"<") {
            return Err(CrlRefusal::WebPage);
        }
        if let Some(same) = self.crl(kind).filter(|crl| crl.is_of(&content)) {
            judge.admit(same, kind, self.is_reset)?;
            return Ok(false);
        }
        let point = self.distribution_point.as_deref();
        let (part, scope, mark, content) = match kind {
            Kind::Complete => {
                let crl = verify(&content, &judge.issuer, point)?;
                self.outlives(&crl, kind, judge)?;
                let (scope, mark) = judge.admit(&crl, kind, self.is_reset)?;
                // What follows needs memory too.
                let content = self.staged(kind, content, judge.writes);
                let part = match &self.part {
                    Some(part) if part.base().digest() == crl.digest() => return Ok(false),
                    Some(part) if self.is_reset => part.replaced_by(crl),
                    Some(part) => part.succeeded_by(crl)?,
                    None => Part::new(crl, std::mem::take(&mut self.retained)),
                };
                (part, scope, mark, content)
            }
            Kind::Delta => {
                let delta = verify_delta(&content, &judge.issuer, point)?;
                self.outlives(&delta, kind, judge)?;
                let (scope, mark) = judge.admit(&delta, kind, self.is_reset)?;
                let part = self.part.as_ref().ok_or(CrlRefusal::NoBase)?;
                if part
                    .delta()
                    .is_some_and(|old| old.digest() == delta.digest())
                {
                    return Ok(false);
                }
                match part.with_delta(delta) {
                    Ok(Overlaid::New(part)) => (part, scope, mark, Content::Octets(content)),
                    Ok(Overlaid::Superseded) => return Ok(false),
                    Err(error) => {
                        if matches!(error, CrlError::OldBase { .. }) {
                            // The newer base is out; the delta is looked at again when it is here.
                            self.base.hurry();
                            self.base.reread();
                        }
                        return Err(error.into());
                    }
                }
            }
        };
        let retained = part.retained().len();
        self.unkept.retained |= self
            .part
            .as_ref()
            .is_some_and(|old| old.retained().len() != retained);
        match kind {
            Kind::Complete => {
                self.unkept.base = Some(content);
                self.is_reset = false;
                if let Some(delta) = &mut self.delta {
                    delta.forget();
                }
            }
            Kind::Delta => self.unkept.delta = Some(content),
        }
        if kind == Kind::Complete && self.follows_freshest {
            self.find_delta(part.base());
        }
        self.part = Some(part);
        let source = self
            .source(kind)
            .map(|source| source.place())
            .unwrap_or_default();
        judge.news.push(Event::CrlAccepted {
            issuer: judge.issuer.subject_text(),
            source,
            number: mark.number.as_ref().map(hex::encode),
            sha256: hex::encode(mark.digest),
            this_update: mark.this_update.to_string(),
            scope: scope.clone(),
        });
        judge.marks.set(scope, mark);
        Ok(true)
    }

    /// Without a proven time nothing tells whether a CRL has run out. One that ends before the one in force waits until
    /// that can be told: it may have, where the other has not.
    fn outlives(&self, new: &Facts, kind: Kind, judge: &Judge) -> Result<(), CrlRefusal> {
        let old = self.crl(kind).filter(|_| judge.now.is_none());
        match old.map(Facts::next_update) {
            Some(old) if new.next_update() < old => Err(CrlRefusal::EndsEarlier {
                old,
                new: new.next_update(),
            }),
            _ => Ok(()),
        }
    }

    /// Looks for the delta from now on where the complete CRL says.
    fn find_delta(&mut self, base: &Facts) {
        let urls = base
            .freshest()
            .iter()
            .filter_map(|url| http_client::url(url).ok());
        let places: Vec<_> = urls.map(Place::Url).collect();
        let is_known = self
            .delta
            .as_ref()
            .is_some_and(|delta| delta.is_at(&places));
        if !is_known && !places.is_empty() {
            self.delta = Some(Source::new(places));
        }
    }

    /// The content beside its place on the disk, where it is to be and can be; [`Slot::keep`] does the rest.
    fn staged(&self, kind: Kind, content: Vec<u8>, writes: bool) -> Content {
        // One that waits has the same name beside the same place.
        let waits = match kind {
            Kind::Complete => &self.unkept.base,
            Kind::Delta => &self.unkept.delta,
        };
        let staged = (writes && waits.is_none()).then(|| {
            let path = self.path(kind);
            Staged::write(&path, |file| whole_file::write(file, &content))
        });
        match staged {
            Some(Ok(staged)) => Content::Staged(staged),
            // If it could not be written it is tried again, and that it failed is told.
            _ => Content::Octets(content),
        }
    }

    /// Writes what is in force and not yet on the disk. What stays revoked comes first: it is in the old CRL, whose
    /// place the new one takes.
    fn keep(&mut self) -> Option<FeedError> {
        let kept = self.try_keep();
        let failure = kept.as_ref().err().map(ToString::to_string);
        let known = std::mem::replace(&mut self.unkept.failure, failure);
        kept.err()
            .filter(|error| known.as_ref() != Some(&error.to_string()))
    }

    /// The same, and tells each time that it fails.
    pub fn try_keep(&mut self) -> Result<(), FeedError> {
        let told = |path: PathBuf| move |error| FeedError::NotKept { path, error };
        if let Some(part) = self.part.as_ref().filter(|_| self.unkept.retained) {
            let path = self.file("retained");
            let written =
                whole_file::put_written(&path, |file| retained::write(part.retained(), file));
            written.map_err(told(path))?;
            self.unkept.retained = false;
        }
        for kind in [Kind::Complete, Kind::Delta] {
            let path = self.path(kind);
            let content = match kind {
                Kind::Complete => &mut self.unkept.base,
                Kind::Delta => &mut self.unkept.delta,
            };
            match content {
                None => {}
                Some(Content::Octets(octets)) => {
                    whole_file::put(&path, octets).map_err(told(path))?
                }
                Some(Content::Staged(staged)) => staged.put_in_place().map_err(told(path))?,
            }
            *content = None;
        }
        Ok(())
    }

    /// Takes a CRL out of force, and the delta with its base.
    pub fn withdraw(&mut self, kind: Kind) {
        if let Some(part) = self.part.take() {
            match kind {
                Kind::Complete => self.retained = part.retained().clone(),
                Kind::Delta => self.part = Some(part.without_delta()),
            }
        }
        self.unkept.delta = None;
        if kind == Kind::Complete {
            self.unkept.base = None;
        }
    }

    /// What is to be known of the CRLs in force.
    pub fn remarks(&self) -> Vec<FeedError> {
        let mut remarks = Vec::new();
        for kind in [Kind::Complete, Kind::Delta] {
            let place = || self.name(kind);
            let Some(crl) = self.crl(kind) else { continue };
            if crl.duplicates() > 0 {
                remarks.push(FeedError::Duplicates {
                    place: place(),
                    count: crl.duplicates(),
                });
            }
            if !crl.freshest().is_empty() && self.delta.is_none() {
                remarks.push(FeedError::Freshest {
                    place: place(),
                    deltas: crl.freshest().join(", "),
                });
            }
        }
        remarks
    }

    /// The alarm over serials that `before` showed as revoked and this part's CRLs no longer do, though their
    /// certificates have not ended at `now`.
    pub fn disappeared(
        &self,
        before: Option<&Part>,
        issued: &Snapshot,
        now: Seconds,
    ) -> Option<FeedError> {
        let (part, before) = (self.part.as_ref()?, before?);
        let all = part.newly_retained(before);
        let early = all
            .map(|(serial, _)| serial.octets())
            .filter(|serial| issued.not_after(serial).is_some_and(|end| end > now));
        let (mut count, mut named) = (0, Vec::new());
        for serial in early {
            count += 1;
            if count <= NAMED {
                named.push(hex::encode(serial));
            }
        }
        (count > 0).then(|| FeedError::Disappeared {
            place: self.base.name(),
            count,
            serials: named.join(", "),
        })
    }

    /// Whether a server is to be asked now.
    pub fn wants_client(&self) -> bool {
        let delta = self.delta.as_ref();
        self.base.wants_client() || delta.is_some_and(Source::wants_client)
    }
}

/// What the octets show, whoever made them.
fn number_of(content: &[u8]) -> Option<String> {
    Glance::of(content)?.number.map(hex::encode)
}

fn refused(place: String, number: Option<String>, error: CrlRefusal) -> FeedError {
    FeedError::Crl {
        place,
        number,
        error,
    }
}
