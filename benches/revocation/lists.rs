//! CRLs as a large CA would issue them: a [`List`] of serials, signed by an openssl [`Ca`].

use std::{fs, ops::Range, path::Path, sync::OnceLock, time::SystemTime};

use gnomon::wire::{
    algorithm::SignatureAlgorithm,
    certificate::{Certificate, pem_blocks},
    oid::{self, ObjectIdentifier},
    time::Seconds,
    tlv::{put_unsigned, tag, wrap},
};

use super::support::{Folder, run};

/// A CA with a P-256 key: a certificate and a key as PEM files.
pub struct Ca {
    key: String,
    certificate: Certificate,
}

/// What a CRL says.
pub struct List {
    /// cRLNumber.
    pub number: u64,
    /// BaseCRLNumber, of a delta.
    pub base: Option<u64>,
    /// Which of [`serial`] it has.
    pub serials: Range<u64>,
}

impl List {
    pub const fn new(number: u64, serials: Range<u64>) -> Self {
        Self {
            number,
            base: None,
            serials,
        }
    }
}

impl Ca {
    /// Makes `ca.pem`, and `first` and `empty`, CRLs without entries.
    pub fn new(dir: &Folder) -> Self {
        let (key, pem) = (dir.path("ca.key"), dir.path("ca.pem"));
        run(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-subj",
                "/CN=A CA with many customers",
                "-keyout",
                &key,
                "-out",
                &pem,
            ],
        );
        let ca = Self::of(Path::new(&pem), key);
        ca.put(dir, "first", &List::new(0, 0..0));
        ca.put(dir, "empty", &List::new(1, 0..0));
        ca
    }

    /// Of a certificate and a key that are there.
    pub fn of(pem: &Path, key: String) -> Self {
        let certificate = certificate(pem);
        Self { key, certificate }
    }

    /// Signs a CRL and puts it there as DER. Its size.
    pub fn put(&self, dir: &Path, name: &str, list: &List) -> u64 {
        let tbs = self.tbs(list);
        let (unsigned, signature) = (dir.join("tbs"), dir.join("signature"));
        fs::write(&unsigned, &tbs).unwrap();
        let of = |path: &Path| path.to_str().unwrap().to_owned();
        run(
            "openssl",
            &[
                "dgst",
                "-sha256",
                "-sign",
                &self.key,
                "-out",
                &of(&signature),
                &of(&unsigned),
            ],
        );
        let bits = fs::read(&signature).unwrap();
        let bits = wrap(tag::BIT_STRING, &[&[0], &bits]);
        let algorithm = SignatureAlgorithm::EcdsaSha256.identifier();
        let crl = wrap(tag::SEQUENCE, &[&tbs, &algorithm, &bits]);
        fs::write(dir.join(name), &crl).unwrap();
        for file in [unsigned, signature] {
            fs::remove_file(file).unwrap();
        }
        crl.len() as u64
    }

    fn tbs(&self, list: &List) -> Vec<u8> {
        let mut revoked = Vec::with_capacity((list.serials.end - list.serials.start) as usize * 50);
        for number in list.serials.clone() {
            put_entry(&mut revoked, number);
        }
        let revoked = match revoked.as_slice() {
            [] => Vec::new(),
            some => wrap(tag::SEQUENCE, &[some]),
        };
        let integer = |number: u64| {
            let mut value = Vec::new();
            put_unsigned(&mut value, &number.to_be_bytes());
            value
        };
        let mut extensions = extension(oid::CRL_NUMBER, false, &integer(list.number));
        if let Some(base) = list.base {
            extensions.extend(extension(oid::DELTA_CRL_INDICATOR, true, &integer(base)));
        }
        let time = |time: Seconds| wrap(tag::GENERALIZED_TIME, &[&time.generalized()]);
        wrap(
            tag::SEQUENCE,
            &[
                &[tag::INTEGER, 1, 1],
                &SignatureAlgorithm::EcdsaSha256.identifier(),
                self.certificate.subject(),
                &time(now().minus(3_600)),
                &time(now().plus(86_400)),
                &revoked,
                &wrap(
                    tag::context_constructed(0),
                    &[&wrap(tag::SEQUENCE, &[&extensions])],
                ),
            ],
        )
    }
}

/// Of an entry each: serial, a time in the last year, and one of five reasons.
fn put_entry(out: &mut Vec<u8>, number: u64) {
    let time = now().minus(number.wrapping_mul(7_919) % 31_000_000);
    let [_, _, utc @ ..] = time.generalized();
    let reason = [1, 3, 4, 5, 9][number as usize % 5];
    out.extend([tag::SEQUENCE, 47, tag::INTEGER, 16]);
    out.extend(serial(number).to_be_bytes());
    out.extend([tag::UTC_TIME, 13]);
    out.extend(utc);
    out.extend([tag::SEQUENCE, 12, tag::SEQUENCE, 10, tag::OID, 3]);
    out.extend(oid::REASON_CODE.as_bytes());
    out.extend([tag::OCTET_STRING, 3, tag::ENUMERATED, 1, reason]);
}

fn extension(id: ObjectIdentifier, critical: bool, value: &[u8]) -> Vec<u8> {
    let id = wrap(tag::OID, &[id.as_bytes()]);
    let critical: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    let value = wrap(tag::OCTET_STRING, &[value]);
    wrap(tag::SEQUENCE, &[&id, critical, &value])
}

/// A PEM file's certificate.
pub fn certificate(pem: &Path) -> Certificate {
    let blocks = pem_blocks(&fs::read(pem).unwrap(), "CERTIFICATE").unwrap();
    Certificate::from_der(&blocks[0]).unwrap()
}

/// Positive, and always of 16 octets: SplitMix64 twice, and a bit that keeps a leading zero octet.
pub fn serial(number: u64) -> u128 {
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let high = mix(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (u128::from(high) << 64 | u128::from(mix(!high))) >> 1 | 1 << 119
}

/// When this process started.
pub fn now() -> Seconds {
    static NOW: OnceLock<Seconds> = OnceLock::new();
    *NOW.get_or_init(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Seconds::new(now.unwrap().as_secs())
    })
}
