//! DER in, DER out: bytes become RFC-named types here, at the edge, and nowhere else. A type you hold
//! is valid. Nothing in this folder names anything else in the crate. Start with [`tsp`] for
//! time-stamping and [`ocsp_request`] for status requests, [`tsp_client`] and [`ocsp_client`] for those we
//! make; [`tlv`] is the small reader and writer that the hot paths share.

pub mod algorithm;
pub mod certificate;
pub mod cms;
pub mod crl;
pub mod distribution_point;
pub mod issuance;
pub mod name;
pub mod ocsp_client;
pub mod ocsp_request;
pub mod ocsp_response;
pub mod oid;
pub mod pkcs10;
pub mod time;
pub mod tlv;
pub mod token;
pub mod tsp;
pub mod tsp_client;
pub mod tst_info;
