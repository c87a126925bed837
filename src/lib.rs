//! Gnomon vouches for two things: *when* (RFC 3161 time-stamps) and *whether* (RFC 6960 certificate
//! status). Open [`service`] first: it holds the order of effects of both, and everything else is
//! either below it (what is decided) or around it (where bytes come from and go to).

#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout
)]

pub mod audit;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod io;
pub mod ocsp;
pub mod revocation;
pub mod service;
pub mod signing;
pub mod tsa;
pub mod wire;
