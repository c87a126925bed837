//! The OCSP response that is to be stapled, as another responder gave it: what verifies is what the responder signed.
#![no_main]

use std::sync::LazyLock;

use gnomon::{
    ocsp::verify::verify,
    wire::{certificate::Certificate, ocsp_client::Response, time::Seconds},
};

const GOOD: &[u8] = include_bytes!("../seeds/ocsp_reply/good.ors");

static CERTIFICATES: LazyLock<[Certificate; 2]> = LazyLock::new(|| {
    [
        &include_bytes!("../certificates/good.der")[..],
        include_bytes!("../certificates/issuing.der"),
    ]
    .map(|der| Certificate::from_der(der).unwrap())
});

static NOW: LazyLock<Seconds> = LazyLock::new(|| {
    let response = Response::parse(GOOD).unwrap();
    let now = response.singles[0].this_update;
    let [certificate, issuer] = &*CERTIFICATES;
    assert!(verify(GOOD, certificate, issuer, now).is_ok());
    now
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let [certificate, issuer] = &*CERTIFICATES;
    if verify(input, certificate, issuer, *NOW).is_ok() {
        let signed = |response| Response::parse(response).unwrap().data;
        assert_eq!(signed(input), signed(GOOD));
    }
});
