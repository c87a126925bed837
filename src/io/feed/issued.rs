//! Which serials an issuer has given out, from files: [`IssuedLists`] reads list files and folders of certificates
//! again when they have changed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    FeedError,
    source::{Stamp, stamp},
};
use crate::{revocation::Issued, wire::certificate::Certificate};

#[derive(Debug)]
pub struct IssuedLists {
    paths: Vec<PathBuf>,
    stamps: Vec<Stamp>,
    /// What was last wrong, so that it is told once.
    failure: Option<String>,
    listed: Option<Arc<Issued>>,
}

impl IssuedLists {
    pub fn open(paths: Vec<PathBuf>) -> Result<Self, FeedError> {
        Ok(Self {
            stamps: paths.iter().map(|path| stamp(path)).collect(),
            listed: read(&paths)?.map(Arc::new),
            paths,
            failure: None,
        })
    }

    /// The serials; `None` without any source.
    pub fn listed(&self) -> Option<Arc<Issued>> {
        self.listed.clone()
    }

    /// Reads again what has changed; whether there was something. What fails is read at every look, since a folder
    /// does not change when a certificate in it has been written to its end, but told once.
    pub fn refresh(&mut self) -> Result<bool, FeedError> {
        let stamps: Vec<_> = self.paths.iter().map(|path| stamp(path)).collect();
        if stamps == self.stamps {
            return Ok(false);
        }
        match read(&self.paths) {
            Ok(listed) => {
                self.listed = listed.map(Arc::new);
                self.stamps = stamps;
                self.failure = None;
                Ok(true)
            }
            Err(error) => {
                self.stamps.clear();
                let failure = Some(error.to_string());
                if failure == self.failure {
                    return Ok(false);
                }
                self.failure = failure;
                Err(error)
            }
        }
    }
}

/// The serials of all list files and of all certificates in all folders; `None` without any source.
fn read(paths: &[PathBuf]) -> Result<Option<Issued>, FeedError> {
    if paths.is_empty() {
        return Ok(None);
    }
    let mut serials = Vec::new();
    for path in paths {
        let unreadable = |error| FeedError::Unreadable {
            path: path.clone(),
            error,
        };
        if path.is_dir() {
            for entry in std::fs::read_dir(path).map_err(unreadable)? {
                let path = entry.map_err(unreadable)?.path();
                if path.is_file() {
                    serials.extend(certificate_serials(&path)?);
                }
            }
        } else {
            let text = std::fs::read_to_string(path).map_err(unreadable)?;
            let listed = Issued::parse(&text).map_err(|error| FeedError::Issued {
                path: path.clone(),
                what: error.to_string(),
            })?;
            serials.extend(listed);
        }
    }
    Ok(Some(Issued::new(serials)))
}

fn certificate_serials(path: &Path) -> Result<Vec<Vec<u8>>, FeedError> {
    let content = std::fs::read(path).map_err(|error| FeedError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    let certificates = Certificate::read_all(&content).map_err(|error| FeedError::Certificate {
        path: path.to_owned(),
        error,
    })?;
    Ok(certificates
        .iter()
        .map(|certificate| certificate.serial().to_vec())
        .collect())
}
