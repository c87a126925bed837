//! The request in a GET path: what decodes is no longer than its text.
#![no_main]

use gnomon::io::http::decode_path;

libfuzzer_sys::fuzz_target!(|path: &str| {
    if let Some(request) = decode_path(path) {
        assert!(request.len() <= path.len());
    }
});
