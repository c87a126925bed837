//! Issued::parse: every serial that was read is found again.
#![no_main]

use gnomon::revocation::Issued;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(serials) = Issued::parse(text) {
        let issued = Issued::new(serials.clone());
        assert!(serials.iter().all(|serial| issued.contains(serial)));
    }
});
