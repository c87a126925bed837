//! Serials::parse: every serial that was read is found again, and nothing beside it.
#![no_main]

use gnomon::revocation::{Issued, Serials};

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    if let (Ok(serials), Ok(again)) = (Serials::parse(text), Serials::parse(text)) {
        let issued = Issued::new(serials);
        assert!(again.iter().all(|(serial, day)| issued.knows(serial, day)));
        assert!(issued.len() <= again.iter().count());
    }
});
