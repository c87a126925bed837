//! A folder that a CA publishes its CRLs to: [`newest`] finds in it the one that is wanted, by what the CRLs say of
//! themselves. Files whose names end in `.crl` are looked at, and those of other issuers, scopes and kinds are passed
//! over.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{FeedError, bounded_file::read_bounded, kept::Kind, source::FoundCrl};
use crate::{
    io::stamp::{Stamp, stamp},
    revocation::{Glance, Scope, is_signed_by},
    wire::certificate::Certificate,
};

/// Which CRL is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    pub issuer: &'a Certificate,
    pub distribution_point: Option<&'a str>,
    pub kind: Kind,
    /// Octets of a CRL that is read.
    pub largest: u64,
}

/// What tells that a folder or a CRL in it has changed.
pub type Stamps = Vec<(PathBuf, Stamp)>;

pub fn stamps(folder: &Path) -> Result<Stamps, FeedError> {
    let unreadable = |error| FeedError::Unreadable {
        path: folder.to_owned(),
        error,
    };
    let mut all = vec![(folder.to_owned(), stamp(folder))];
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|ending| ending == "crl") {
            let stamp = stamp(&path);
            all.push((path, stamp));
        }
    }
    all.sort();
    Ok(all)
}

/// The content of the wanted CRL with the highest number. A file that cannot be read is passed over while another is
/// there, since it may be being written, and so is one of another key of the CA. What was passed over unread is told.
pub fn newest(stamps: &Stamps, folder: &Path, wish: &Wish<'_>) -> Result<FoundCrl, FeedError> {
    let (mut ranked, mut failure) = (Vec::new(), None);
    for (path, _) in stamps.iter().filter(|(path, _)| path != folder) {
        match read_bounded(path, wish.largest) {
            Ok(content) => {
                let rank = Glance::of(&content).and_then(|glance| rank(&glance, wish));
                ranked.extend(rank.map(|rank| (rank, path)));
            }
            Err(error) => failure = Some(error),
        }
    }
    ranked.sort();
    let (only, mut newest) = (ranked.len() == 1, None);
    for (_, path) in ranked.iter().rev() {
        match read_bounded(path, wish.largest) {
            // Of one alone it is found out where it is taken: a signature over a large CRL is not checked twice for it.
            Ok(content) if only || is_signed_by(&content, wish.issuer) => {
                return Ok((content, failure.and_then(passed_over)));
            }
            // What it lacks is told where there is no other.
            Ok(content) => newest = newest.or(Some(content)),
            Err(error) => failure = Some(error),
        }
    }
    match (newest, failure) {
        (Some(content), failure) => Ok((content, failure.and_then(passed_over))),
        (None, Some(failure)) => Err(failure),
        (None, None) => Err(FeedError::NoneInFolder {
            path: folder.to_owned(),
            kind: wish.kind.name(),
        }),
    }
}

/// Unless it has gone meanwhile.
fn passed_over(failure: FeedError) -> Option<FeedError> {
    match failure {
        FeedError::Unreadable { error, .. } if error.kind() == io::ErrorKind::NotFound => None,
        failure => Some(FeedError::PassedOver(failure.into())),
    }
}

/// By number, then by thisUpdate.
type Rank = (usize, Vec<u8>, u64);

/// `None` where another CRL is wanted.
fn rank(glance: &Glance, wish: &Wish<'_>) -> Option<Rank> {
    let is_delta = wish.kind == Kind::Delta;
    let point = glance.distribution_point.as_deref();
    let fits = glance.is_of(wish.issuer)
        && glance.is_delta == is_delta
        && Scope::read(point, wish.issuer.subject(), wish.distribution_point).is_ok();
    let number = glance.number.clone().unwrap_or_default();
    fits.then_some((number.len(), number, glance.this_update.get()))
}
