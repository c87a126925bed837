//! A reply of another TSA, from the TimeStampResp to the path of certificates: no input may end the process, and
//! whoever is not trusted is not taken.
#![no_main]

use gnomon::audit::anchor::{NONCE, check_nonce, verify, verify_unchained};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = check_nonce(input, &[1; NONCE]);
    let _ = verify_unchained(input, b"note");
    assert!(verify(input, b"note", &[]).is_err());
});
