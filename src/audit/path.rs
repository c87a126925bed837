//! From a certificate of somebody else's up to one that we trust (RFC 5280 6.1, without policies and names):
//! [`find`]. Signature, names, cA, key usages, dates at a given instant, path lengths; an extension that is
//! critical and not understood here ends a path.

use crate::wire::{
    certificate::Certificate,
    oid::{self, ObjectIdentifier},
    time::Seconds,
};

/// CAs in a path, the trusted one among them. Public hierarchies have two to four.
const LONGEST: usize = 8;

/// Signatures verified for one path. Certificates that are sent to us could be crossed so that there are
/// endless ways (webpki's budget has the same purpose).
const SIGNATURES: usize = 64;

/// Certificates that come along are looked through once for each step.
const MOST: usize = 64;

/// Characters of others that are repeated to an operator.
const LONGEST_TEXT: usize = 256;

/// Critical extensions that are understood, or say nothing that binds us.
const UNDERSTOOD: [ObjectIdentifier; 5] = [
    oid::BASIC_CONSTRAINTS,
    oid::KEY_USAGE,
    oid::EXT_KEY_USAGE,
    oid::SUBJECT_ALT_NAME,
    // We ask for no policy, so any will do.
    oid::CERTIFICATE_POLICIES,
];

/// Why there is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the certificate of {subject} {what}")]
    Unfit { subject: String, what: String },
    #[error(
        "nobody in the trust file, nor any certificate that came along, has issued the certificate of {subject}; its \
         issuer is {issuer}"
    )]
    NoIssuer { subject: String, issuer: String },
    #[error("the certificates that came along lead round in circles, or too far")]
    TooLong,
}

/// The certificate among `trust` that `leaf` leads to by way of `others`, all of them valid at `when`. A leaf
/// that is itself trusted leads to itself. `purpose` is what CAs that limit extended key usages must allow.
pub fn find<'a>(
    leaf: &'a Certificate,
    others: &'a [Certificate],
    trust: &'a [Certificate],
    purpose: ObjectIdentifier,
    when: Seconds,
) -> Result<&'a Certificate, PathError> {
    check_any(leaf, when)?;
    if let Some(trusted) = trust.iter().find(|one| one.der() == leaf.der()) {
        return Ok(trusted);
    }
    let mut search = Search {
        others: others.get(..MOST).unwrap_or(others),
        trust,
        purpose,
        when,
        signatures: SIGNATURES,
    };
    search.above(leaf, 0, 0)
}

/// What holds of every certificate in a path.
pub(super) fn check_any(certificate: &Certificate, when: Seconds) -> Result<(), PathError> {
    let unfit = |what: String| PathError::Unfit {
        subject: name(certificate),
        what,
    };
    let (from, to) = (certificate.not_before(), certificate.not_after());
    if !(from..=to).contains(&when) {
        return Err(unfit(format!(
            "is valid from {from} to {to}, and not at {when}"
        )));
    }
    match certificate
        .critical_extensions()
        .find(|id| !UNDERSTOOD.contains(id))
    {
        Some(id) => Err(unfit(format!(
            "has the critical extension {id}, which is not understood"
        ))),
        None => Ok(()),
    }
}

/// The subject, fit for a line of the log.
pub(super) fn name(certificate: &Certificate) -> String {
    plain(&certificate.subject_text())
}

/// What others wrote, fit for a line of the log.
pub(super) fn plain(text: &str) -> String {
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().take(LONGEST_TEXT).map(visible).collect()
}

struct Search<'a> {
    others: &'a [Certificate],
    trust: &'a [Certificate],
    purpose: ObjectIdentifier,
    when: Seconds,
    /// That may still be verified.
    signatures: usize,
}

impl<'a> Search<'a> {
    /// Where `below` leads to. There are `depth` CAs under the next one, `counted` of which are not self-issued.
    fn above(
        &mut self,
        below: &Certificate,
        depth: usize,
        counted: usize,
    ) -> Result<&'a Certificate, PathError> {
        if depth == LONGEST {
            return Err(PathError::TooLong);
        }
        let mut why = PathError::NoIssuer {
            subject: name(below),
            issuer: plain(&below.issuer_text()),
        };
        let trusted = self.trust.iter().map(|one| (one, true));
        let known = trusted.chain(self.others.iter().map(|one| (one, false)));
        for (issuer, is_trusted) in known {
            if issuer.subject() != below.issuer() {
                continue;
            }
            self.signatures = self.signatures.checked_sub(1).ok_or(PathError::TooLong)?;
            if !below.is_issued_by(issuer) {
                continue;
            }
            let up = self.check_issuer(issuer, counted).and_then(|()| {
                if is_trusted {
                    return Ok(issuer);
                }
                let self_issued = issuer.subject() == issuer.issuer();
                self.above(issuer, depth + 1, counted + usize::from(!self_issued))
            });
            match up {
                Ok(trusted) => return Ok(trusted),
                // What is wrong with the way that leads furthest is worth most.
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    fn check_issuer(&self, issuer: &Certificate, below: usize) -> Result<(), PathError> {
        check_any(issuer, self.when)?;
        let unfit = |what: &str| PathError::Unfit {
            subject: name(issuer),
            what: what.to_owned(),
        };
        if !issuer.is_ca() {
            return Err(unfit("is no CA's"));
        }
        let limits_use = issuer.extension(oid::KEY_USAGE).is_some();
        if limits_use
            && !issuer
                .key_usage()
                .is_some_and(|usage| usage.key_cert_sign())
        {
            return Err(unfit("may not sign certificates (key usage)"));
        }
        if let Some((_, purposes)) = issuer.extended_key_usage()
            && !purposes.contains(&self.purpose)
            && !purposes.contains(&oid::ANY_EXTENDED_KEY_USAGE)
        {
            return Err(unfit("may not sign for this purpose (extended key usage)"));
        }
        if issuer
            .path_length()
            .is_some_and(|length| usize::from(length) < below)
        {
            return Err(unfit("allows fewer CAs below it (path length)"));
        }
        Ok(())
    }
}
