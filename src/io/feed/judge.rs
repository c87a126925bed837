//! May a CRL come into force: [`Judge`] says so by its dates and by how far its scope has come, beyond what
//! `revocation/verify.rs` finds in the CRL itself.

use super::{
    kept::{self, Kind},
    marks::Marks,
};
use crate::{
    audit::event::Event,
    revocation::{CrlError, Facts, Mark},
    wire::{certificate::Certificate, time::Seconds},
};

/// What CRLs are judged by beside themselves.
#[derive(Debug)]
pub struct Judge {
    pub issuer: Certificate,
    /// Octets of a CRL.
    pub largest: u64,
    pub marks: Marks,
    /// Where it is proven.
    pub now: Option<Seconds>,
    /// Whether a CRL is written to the disk before it is in force: not at the start, which writes nothing.
    pub writes: bool,
    /// What was accepted or refused and is not yet on record.
    pub news: Vec<Event>,
}

impl Judge {
    /// Whether a CRL's dates and number may be; under what its mark is set, and the mark. Where an operator lets numbers
    /// go back, those that were not known to be this source's before are lowered by its complete CRL, with which that
    /// ends.
    pub fn admit(
        &mut self,
        crl: &Facts,
        kind: Kind,
        is_reset: bool,
    ) -> Result<(String, Mark), CrlRefusal> {
        self.now.map_or(Ok(()), |now| in_date(crl, now))?;
        let scope = kept::scope(&self.issuer, crl.distribution_point(), kind);
        let mark = crl.mark();
        let old = self.marks.get(&scope).map(|old| old.admits(&mark));
        match old.unwrap_or(Ok(())) {
            Err(_) if is_reset && kind == Kind::Complete => {
                for kind in [Kind::Complete, Kind::Delta] {
                    let point = crl.distribution_point();
                    self.lower(&kept::scope(&self.issuer, point, kind));
                }
            }
            admitted => admitted?,
        }
        Ok((scope, mark))
    }

    /// Forgets how far a scope had come; whether it had come to something.
    pub fn lower(&mut self, scope: &str) -> bool {
        let old = self.marks.remove(scope);
        self.news.extend(old.iter().map(|mark| Event::CrlMarkReset {
            issuer: self.issuer.subject_text(),
            scope: scope.to_owned(),
            number: mark.number.as_ref().map(hex::encode),
        }));
        old.is_some()
    }
}

/// Whether a CRL's dates fit.
pub fn in_date(crl: &Facts, now: Seconds) -> Result<(), CrlRefusal> {
    if crl.next_update() <= now {
        Err(CrlRefusal::RanOut(crl.next_update()))
    } else if crl.this_update() > now {
        Err(CrlRefusal::Future(crl.this_update()))
    } else {
        Ok(())
    }
}

/// Why a CRL does not come into force.
#[derive(Debug, thiserror::Error)]
pub enum CrlRefusal {
    #[error("is a web page and no CRL; give the address of the CRL itself")]
    WebPage,
    #[error(transparent)]
    Crl(#[from] CrlError),
    #[error("the delta has no complete CRL to go over yet")]
    NoBase,
    #[error("the CRL ran out at {0}; the CA, or a cache before it, serves an old one")]
    RanOut(Seconds),
    #[error("thisUpdate is {0}, in the future; see that the CA's clock is right")]
    Future(Seconds),
    #[error(
        "the CRL ends at {new}, before the one in force ({old}), and may have run out: it is judged again when the clock is proven"
    )]
    EndsEarlier { old: Seconds, new: Seconds },
}
