//! The order of effects, for both services: [`timestamp::Timestamping`] answers time-stamp requests,
//! [`status::Statuses`] answers questions about certificates, [`own_certificates`] watches our own, and [`code`]
//! has the codes of what is said to the operator. Nothing here knows sockets or files, and nothing below here knows an
//! order. Read the two `answer` functions first; they are the appliance.

pub mod code;
mod flight;
pub mod own_certificates;
pub mod status;
pub mod timestamp;
mod trouble;
