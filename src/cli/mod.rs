//! The edge: what runs from the command line. It may read files and the clock, and hands what it read
//! to the layers below. [`demo`] makes a throw-away PKI to try the daemon with.
#![allow(clippy::disallowed_methods)] // the edge: files, clock

pub mod demo;
