//! What to say about one serial: [`answer`] is the whole decision, a pure function of what the snapshot
//! says and of the issuer's policy for serials that it does not list.

use super::issuer::Unlisted;
use crate::{
    revocation::SerialStatus,
    wire::{
        ocsp_response::{CertStatus, ErrorStatus},
        time::Seconds,
    },
};

/// A status to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    pub status: CertStatus,
    /// The certificate was never issued: extended-revoke goes with it (RFC 6960 2.2, 4.4.8).
    pub never_issued: bool,
}

/// The status for a serial, or the error that says why there is none.
pub fn answer(known: SerialStatus, unlisted: Unlisted) -> Result<Answer, ErrorStatus> {
    /// certificateHold, which RFC 6960 2.2 demands for a certificate that was never issued.
    const CERTIFICATE_HOLD: Option<u8> = Some(6);
    let issued = |status| Answer {
        status,
        never_issued: false,
    };
    Ok(match known {
        SerialStatus::Revoked { time, reason } => issued(CertStatus::Revoked { time, reason }),
        SerialStatus::Issued => issued(CertStatus::Good),
        SerialStatus::Stale => return Err(ErrorStatus::TryLater),
        SerialStatus::Unlisted => match unlisted {
            Unlisted::Unauthorized => return Err(ErrorStatus::Unauthorized),
            Unlisted::Unknown => issued(CertStatus::Unknown),
            Unlisted::Good => issued(CertStatus::Good),
            Unlisted::Revoked => Answer {
                status: CertStatus::Revoked {
                    time: Seconds::EPOCH,
                    reason: CERTIFICATE_HOLD,
                },
                never_issued: true,
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlisted_serials_follow_the_policy_and_nothing_else_does() {
        for unlisted in [
            Unlisted::Unauthorized,
            Unlisted::Unknown,
            Unlisted::Revoked,
            Unlisted::Good,
        ] {
            let revoked = SerialStatus::Revoked {
                time: Seconds::new(5),
                reason: Some(1),
            };
            let status = answer(revoked, unlisted).unwrap().status;
            assert_eq!(
                status,
                CertStatus::Revoked {
                    time: Seconds::new(5),
                    reason: Some(1)
                }
            );
            assert_eq!(
                answer(SerialStatus::Issued, unlisted).unwrap().status,
                CertStatus::Good
            );
            assert_eq!(
                answer(SerialStatus::Stale, unlisted),
                Err(ErrorStatus::TryLater)
            );
        }
        let unlisted = |policy| answer(SerialStatus::Unlisted, policy);
        assert_eq!(
            unlisted(Unlisted::Unauthorized),
            Err(ErrorStatus::Unauthorized)
        );
        assert_eq!(
            unlisted(Unlisted::Unknown).unwrap().status,
            CertStatus::Unknown
        );
        assert!(unlisted(Unlisted::Revoked).unwrap().never_issued);
    }
}
