//! How far a CRL has come: a [`Mark`] is what is left of it to tell a rollback, also where the CRL itself is gone.

use super::CrlError;
use crate::wire::{crl::SerialText, time::Seconds};

/// Of the newest CRL that was accepted of one issuer key and scope; complete ones and deltas each have their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// cRLNumber's magnitude without leading zeros, one zero octet for 0.
    pub number: Option<Vec<u8>>,
    pub this_update: Seconds,
    /// SHA-256 of the DER encoding.
    pub digest: [u8; 32],
}

impl Mark {
    /// Whether a CRL with the mark `new` may follow. The number never goes back, and one number has one content; where
    /// either has no number, thisUpdate never goes back. The very same CRL may always.
    pub fn admits(&self, new: &Self) -> Result<(), CrlError> {
        if new.digest == self.digest {
            return Ok(());
        }
        if let (Some(new), Some(old)) = (&new.number, &self.number) {
            return match (new.len(), new).cmp(&(old.len(), old)) {
                std::cmp::Ordering::Greater => Ok(()),
                std::cmp::Ordering::Equal => Err(CrlError::SameNumber(SerialText::new(new))),
                std::cmp::Ordering::Less => Err(CrlError::NumberWentBack {
                    old: SerialText::new(old),
                    new: SerialText::new(new),
                }),
            };
        }
        // Two in one second cannot be ordered; refusing the one that came later could hide a revocation.
        if new.this_update < self.this_update {
            return Err(CrlError::TimeWentBack {
                old: self.this_update,
                new: new.this_update,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(number: Option<&[u8]>, time: u64, content: u8) -> Mark {
        Mark {
            number: number.map(<[u8]>::to_vec),
            this_update: Seconds::new(time),
            digest: [content; 32],
        }
    }

    #[test]
    fn numbers_never_go_back() {
        let (low, high) = (mark(Some(&[0xff]), 5, 1), mark(Some(&[1, 0]), 4, 2));
        assert_eq!(low.admits(&high), Ok(()));
        assert_eq!(high.admits(&high), Ok(()));
        let error = high.admits(&low).unwrap_err();
        assert!(error.to_string().contains("from 0100 to ff"), "{error}");
        let error = high.admits(&mark(Some(&[1, 0]), 9, 3)).unwrap_err();
        assert!(error.to_string().starts_with("ALARM"), "{error}");
    }

    #[test]
    fn without_a_number_this_update_never_goes_back() {
        let (early, late) = (mark(None, 1, 1), mark(None, 2, 2));
        assert_eq!(early.admits(&late), Ok(()));
        assert!(matches!(
            late.admits(&early),
            Err(CrlError::TimeWentBack { .. })
        ));
        let numbered = mark(Some(&[9]), 1, 3);
        assert_eq!(numbered.admits(&late), Ok(()));
        assert!(late.admits(&numbered).is_err());
    }
}
