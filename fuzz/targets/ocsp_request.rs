//! OcspRequest::parse: what was accepted can be walked, and counts what it holds.
#![no_main]

use gnomon::wire::ocsp_request::OcspRequest;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Ok(request) = OcspRequest::parse(input) {
        assert_eq!(request.cert_ids().count(), request.count());
        assert!((1..=10).contains(&request.count()));
        assert!(request.cert_ids().all(|cert_id| !cert_id.serial.is_empty()));
        let _ = request.preferred().count();
    }
});
