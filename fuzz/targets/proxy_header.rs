//! The PROXY protocol's header: an address comes only of a header, and nothing is taken that follows it.
#![no_main]

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use gnomon::io::http::proxy_protocol::read;

/// The signature, 16 octets in all before the rest, and 4096 of the rest at most.
const LONGEST: usize = 16 + 4096;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut stream = input;
    let read = pin!(read(&mut stream)).poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(read) = read else {
        panic!("octets that are there were waited for");
    };
    if read.is_ok() {
        let taken = input.len() - stream.len();
        assert!((16..=LONGEST).contains(&taken) || input[..taken].ends_with(b"\r\n"));
        assert!(input.starts_with(b"PROXY ") || input.starts_with(b"\r\n\r\n\0\r\nQUIT\n"));
    }
});
