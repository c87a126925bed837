//! TimeStampReq::parse: no input may end the process, and what is borrowed lies within the input.
#![no_main]

use gnomon::wire::tsp::TimeStampReq;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Ok(request) = TimeStampReq::parse(input) {
        let bounds = input.as_ptr_range();
        for part in [request.imprint, request.hashed, request.digest] {
            assert!(part.is_empty() || bounds.contains(&part.as_ptr()));
        }
        assert!(
            request
                .nonce
                .is_none_or(|nonce| (1..=128).contains(&nonce.len()))
        );
    }
});
