//! Where the appliance touches the world: sockets, files, keys, the kernel's clock, threads. Each file
//! here implements a port from below or feeds a service; nothing here decides anything about a request.
//! Start with [`http`] for what comes in and [`journal`] for what must be kept.
#![allow(clippy::disallowed_methods)] // this is the layer they are reserved for

pub mod anchor;
pub mod appliance_status;
mod awaited;
pub mod clock_report;
pub mod clock_status;
pub mod descriptors;
pub mod feed;
pub mod http;
pub mod http_client;
mod jobs;
pub mod journal;
pub mod kernel_clock;
pub mod leap_table;
pub mod logging;
pub mod metrics;
mod pinned;
pub mod pkcs11;
mod places;
pub mod sealed_answers;
pub mod softkey;
mod stamp;
pub mod status_tables;
pub mod store;
pub mod systemd;
pub mod wall_clock;
pub mod whole_file;
