//! Certificate::read_all and every question that is asked of a certificate.
#![no_main]

use gnomon::wire::certificate::Certificate;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    for certificate in Certificate::read_all(input).into_iter().flatten() {
        let _ = (
            certificate.extended_key_usage(),
            certificate.key_usage(),
            certificate.is_ca(),
        );
        let _ = (
            certificate.subject_key_identifier(),
            certificate.private_key_usage_period(),
        );
        let _ = (certificate.subject_text(), certificate.issuer_text());
        let _ = (certificate.not_before(), certificate.not_after());
        let _ = (
            certificate.signature_algorithm(),
            certificate.is_issued_by(&certificate),
        );
    }
});
