//! Which requests a TSU stamps: [`admit`] gives [`Admitted`] or the [`Refusal`].
//!
//! A request is admitted when, in this order,
//! - its version is 1,
//! - its digest is known, taken by this TSU, and has absent or NULL parameters,
//! - the imprint is as long as the digest,
//! - its policy, if any, is offered,
//! - it has no extension: none is supported (RFC 3161 2.4.1).

use crate::wire::{
    algorithm::DigestAlgorithm,
    oid::PolicyOid,
    tlv::tag,
    tsp::{FailInfo, TimeStampReq},
};

use super::policy::Terms;

/// A request that this TSU may stamp.
#[derive(Debug)]
pub struct Admitted<'a> {
    request: TimeStampReq<'a>,
    policy: &'a PolicyOid,
    digest: DigestAlgorithm,
}

/// Why a request is not stamped: the client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the version of the request is not 1")]
    Version,
    #[error("the digest algorithm of the imprint is not accepted here")]
    Digest,
    #[error("the imprint is not as long as its digest algorithm says")]
    ImprintLength,
    #[error("the policy asked for is not offered here")]
    Policy,
    #[error("the request carries an extension, and none is supported")]
    Extension,
}

impl Refusal {
    /// The failInfo bit that says it on the wire.
    pub const fn fail_info(self) -> FailInfo {
        match self {
            Self::Version => FailInfo::BadRequest,
            Self::Digest => FailInfo::BadAlg,
            Self::ImprintLength => FailInfo::BadDataFormat,
            Self::Policy => FailInfo::UnacceptedPolicy,
            Self::Extension => FailInfo::UnacceptedExtension,
        }
    }
}

/// Judges `request` by a TSU's terms.
pub fn admit<'a>(request: TimeStampReq<'a>, terms: &'a Terms) -> Result<Admitted<'a>, Refusal> {
    if request.version != [1] {
        return Err(Refusal::Version);
    }
    let digest = DigestAlgorithm::from_oid(request.digest)
        .filter(|digest| terms.takes(*digest))
        .filter(|_| matches!(request.digest_parameters, [] | [tag::NULL, 0]))
        .ok_or(Refusal::Digest)?;
    if request.hashed.len() != digest.output_len() {
        return Err(Refusal::ImprintLength);
    }
    let policy = terms.policy(request.policy).ok_or(Refusal::Policy)?;
    if request.has_extensions {
        return Err(Refusal::Extension);
    }
    Ok(Admitted::assertion(request, policy, digest))
}

impl<'a> Admitted<'a> {
    /// The one constructor: called in `tsa/admission.rs` and nowhere else.
    fn assertion(
        request: TimeStampReq<'a>,
        policy: &'a PolicyOid,
        digest: DigestAlgorithm,
    ) -> Self {
        Self {
            request,
            policy,
            digest,
        }
    }

    pub const fn request(&self) -> &TimeStampReq<'a> {
        &self.request
    }

    /// The policy the token is issued under.
    pub const fn policy(&self) -> &'a PolicyOid {
        self.policy
    }

    /// The imprint's digest algorithm.
    pub const fn digest(&self) -> DigestAlgorithm {
        self.digest
    }
}
