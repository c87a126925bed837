//! Times, entries and extensions of CRLs, well-formed and not.

use super::*;
use crate::wire::tlv::wrap;

fn read_time(tag: u8, text: &str) -> Option<u64> {
    let der = wrap(tag, &[text.as_bytes()]);
    time(Reader::new(&der).next_element().unwrap())
        .ok()
        .map(Seconds::get)
}

#[test]
fn times_are_read_in_der_form_only() {
    assert_eq!(read_time(tag::UTC_TIME, "700101000000Z"), Some(0));
    assert_eq!(
        read_time(tag::UTC_TIME, "491231235959Z"),
        Some(2_524_607_999)
    );
    assert_eq!(
        read_time(tag::GENERALIZED_TIME, "99991231235959Z"),
        Some(Seconds::END.get())
    );
    for (tag, bad) in [
        (tag::UTC_TIME, "500101000000Z"),
        (tag::UTC_TIME, "2401010000Z"),
        (tag::UTC_TIME, "240101000000+0000"),
        (tag::UTC_TIME, "240101000000z"),
        (tag::UTC_TIME, "240230000000Z"),
        (tag::UTC_TIME, "230229000000Z"),
        (tag::UTC_TIME, "240101240000Z"),
        (tag::UTC_TIME, "240101000060Z"),
        (tag::UTC_TIME, "20240101000000Z"),
        (tag::GENERALIZED_TIME, "240101000000Z"),
        (tag::GENERALIZED_TIME, "20240101000000.5Z"),
        (tag::GENERALIZED_TIME, "20240101000000"),
        (tag::GENERALIZED_TIME, "19691231235959Z"),
        (tag::GENERALIZED_TIME, "00000101000000Z"),
        (tag::GENERALIZED_TIME, ""),
    ] {
        assert_eq!(read_time(tag, bad), None, "{bad}");
    }
}

#[test]
fn times_agree_with_what_is_written() {
    for step in 0..20_000u64 {
        let seconds = Seconds::new(step * 12_670_117);
        let text = String::from_utf8(seconds.generalized().to_vec()).unwrap();
        assert_eq!(read_time(tag::GENERALIZED_TIME, &text), Some(seconds.get()));
    }
}

fn extension(id: ObjectIdentifier, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    wrap(
        tag::SEQUENCE,
        &[
            &wrap(tag::OID, &[id.as_bytes()]),
            critical,
            &wrap(tag::OCTET_STRING, &[value]),
        ],
    )
}

fn entries(extensions: &[u8], v2: bool) -> Result<Vec<Option<u8>>, CrlFormatError> {
    let extensions = wrap(tag::SEQUENCE, &[extensions]);
    let revoked = wrap(
        tag::SEQUENCE,
        &[
            &[2, 1, 5],
            &wrap(tag::UTC_TIME, &[b"240101000000Z"]),
            &extensions,
        ],
    );
    let rest = Reader::new(&revoked);
    Entries { rest, v2 }
        .map(|entry| entry.map(|entry| entry.reason))
        .collect()
}

#[test]
fn entry_extensions_are_judged() {
    let reason = extension(oid::REASON_CODE, false, &[0x0a, 1, 6]);
    assert_eq!(entries(&reason, true), Ok(vec![Some(6)]));
    assert_eq!(entries(&[], true), Ok(vec![None]));
    assert!(entries(&reason, false).is_err());
    assert!(entries(&[&reason[..], &reason].concat(), true).is_err());
    assert!(entries(&extension(oid::REASON_CODE, false, &[0x0a, 1, 7]), true).is_err());
    assert!(entries(&extension(oid::REASON_CODE, false, &[0x0a, 1, 11]), true).is_err());
    let other = extension(oid::CERTIFICATE_ISSUER, false, &[0x30, 0]);
    assert_eq!(entries(&other, true), Ok(vec![None]));
    let error = entries(&extension(oid::CERTIFICATE_ISSUER, true, &[0x30, 0]), true);
    let text = error.unwrap_err().to_string();
    assert!(
        text.contains("serial 05") && text.contains("2.5.29.29"),
        "{text}"
    );
}

#[test]
fn an_extension_stands_once_and_they_are_few() {
    let one = extension(oid::CRL_NUMBER, false, &[2, 1, 1]);
    assert_eq!(Extensions::new(&one).unwrap().count(), 1);
    assert!(matches!(
        Extensions::new(&one.repeat(2)),
        Err(CrlFormatError::DuplicateExtension(_))
    ));
    let many: Vec<u8> = (0..=32u8)
        .flat_map(|n| {
            let id = ObjectIdentifier::from_bytes(&[0x55, 0x1d, n]).unwrap();
            extension(id, false, &[])
        })
        .collect();
    assert!(matches!(
        Extensions::new(&many),
        Err(CrlFormatError::TooManyExtensions)
    ));
}
