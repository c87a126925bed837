//! CertificateList::parse and its entries.
#![no_main]

use gnomon::wire::crl::CertificateList;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Ok(list) = CertificateList::parse(input) {
        // Every entry takes at least 15 octets of the input, so the walk ends.
        assert!(list.entries().count() <= input.len());
        let _ = list.extensions.count();
    }
});
