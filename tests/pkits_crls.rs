//! The CRLs of NIST's PKITS, as the cryptography package's vectors carry them: each that RFC 5280 lets a
//! responder use is verified, and each other is refused for its own reason.

mod support;

use std::{collections::BTreeMap, fs, path::Path};

use gnomon::{revocation::verify, wire::certificate::Certificate};
use support::run;

/// CRLs that are not used, with words of the reason.
const REFUSED: &[(&str, &str)] = &[
    ("BadCRLIssuerNameCACRL", "was not issued by"),
    // The BIT STRING says that 6 bits are unused, and no signature has such a length.
    (
        "BadCRLSignatureCACRL",
        "the signature is no whole number of octets",
    ),
    // Signed by another key of the CA's; that key's certificate is the one to configure.
    (
        "BasicSelfIssuedCRLSigningKeyCACRL",
        "the signature is not that of the key of",
    ),
    (
        "BasicSelfIssuedOldKeyCACRL",
        "the signature is not that of the key of",
    ),
    // RFC 5280 5.1.2.3 has the CA encode its name in one way; PKITS 4.3.9 shows one that does not.
    (
        "RolloverfromPrintableStringtoUTF8StringCACRL",
        "was not issued by",
    ),
    (
        "UnknownCRLEntryExtensionCACRL",
        "the entry of serial 01: the critical extension",
    ),
    (
        "UnknownCRLExtensionCACRL",
        "the critical extension 2.16.840.1.101.2.1.12.2 is not known",
    ),
    ("WrongCRLCACRL", "was not issued by"),
    ("deltaCRLIndicatorNoBaseCACRL", "is a delta"),
    ("deltaCRLCA1deltaCRL", "is a delta"),
    ("deltaCRLCA2deltaCRL", "is a delta"),
    ("deltaCRLCA3deltaCRL", "is a delta"),
    ("distributionPoint1CACRL", "may be one shard of several"),
    ("distributionPoint2CACRL", "may be one shard of several"),
    ("indirectCRLCA1CRL", "is indirect"),
    ("indirectCRLCA3CRL", "may be one shard of several"),
    ("indirectCRLCA3cRLIssuerCRL", "is indirect"),
    ("indirectCRLCA4cRLIssuerCRL", "is indirect"),
    ("indirectCRLCA5CRL", "is indirect"),
    ("keyUsageCriticalcRLSignFalseCACRL", "has no cRLSign"),
    ("keyUsageNotCriticalcRLSignFalseCACRL", "has no cRLSign"),
    (
        "onlyContainsAttributeCertsCACRL",
        "about attribute certificates",
    ),
    ("onlySomeReasonsCA1compromiseCRL", "onlySomeReasons"),
    ("onlySomeReasonsCA1otherreasonsCRL", "onlySomeReasons"),
    ("onlySomeReasonsCA2CRL1", "onlySomeReasons"),
    ("onlySomeReasonsCA2CRL2", "onlySomeReasons"),
    ("onlySomeReasonsCA3compromiseCRL", "onlySomeReasons"),
    ("onlySomeReasonsCA3otherreasonsCRL", "onlySomeReasons"),
    ("onlySomeReasonsCA4compromiseCRL", "onlySomeReasons"),
    ("onlySomeReasonsCA4otherreasonsCRL", "onlySomeReasons"),
    (
        "BasicSelfIssuedCRLSigningKeyCRLCertCRL",
        "may be one shard of several",
    ),
    (
        "BasicSelfIssuedOldKeySelfIssuedCertCRL",
        "may be one shard of several",
    ),
    ("TwoCRLsCABadCRL", "was not issued by"),
];

/// The certificate that a CRL is to be verified under, where the name does not say it.
const ISSUERS: &[(&str, &str)] = &[
    (
        "BasicSelfIssuedCRLSigningKeyCRLCertCRL",
        "BasicSelfIssuedCRLSigningKeyCACert",
    ),
    (
        "BasicSelfIssuedOldKeySelfIssuedCertCRL",
        "BasicSelfIssuedOldKeyCACert",
    ),
    ("NameOrderCACRL", "NameOrderingCACert"),
    (
        "PoliciesP123subsubCAP2P2CRL",
        "PoliciesP123subsubCAP12P2Cert",
    ),
    (
        "SeparateCertificateandCRLKeysCA2CRL",
        "SeparateCertificateandCRLKeysCA2CRLSigningCert",
    ),
    (
        "SeparateCertificateandCRLKeysCRL",
        "SeparateCertificateandCRLKeysCRLSigningCert",
    ),
    ("TrustAnchorRootCRL", "TrustAnchorRootCertificate"),
    ("TwoCRLsCABadCRL", "TwoCRLsCACert"),
    ("TwoCRLsCAGoodCRL", "TwoCRLsCACert"),
    ("deltaCRLCA1deltaCRL", "deltaCRLCA1Cert"),
    ("deltaCRLCA2deltaCRL", "deltaCRLCA2Cert"),
    ("deltaCRLCA3deltaCRL", "deltaCRLCA3Cert"),
    ("onlySomeReasonsCA1compromiseCRL", "onlySomeReasonsCA1Cert"),
    (
        "onlySomeReasonsCA1otherreasonsCRL",
        "onlySomeReasonsCA1Cert",
    ),
    ("onlySomeReasonsCA2CRL1", "onlySomeReasonsCA2Cert"),
    ("onlySomeReasonsCA2CRL2", "onlySomeReasonsCA2Cert"),
    ("onlySomeReasonsCA3compromiseCRL", "onlySomeReasonsCA3Cert"),
    (
        "onlySomeReasonsCA3otherreasonsCRL",
        "onlySomeReasonsCA3Cert",
    ),
    ("onlySomeReasonsCA4compromiseCRL", "onlySomeReasonsCA4Cert"),
    (
        "onlySomeReasonsCA4otherreasonsCRL",
        "onlySomeReasonsCA4Cert",
    ),
];

/// CRLs of CAs with two keys, and the certificate of the key that signed them.
const SIGNED_BY_ANOTHER_KEY: &[(&str, &str)] = &[
    (
        "BasicSelfIssuedCRLSigningKeyCACRL",
        "BasicSelfIssuedCRLSigningKeyCRLCert",
    ),
    (
        "BasicSelfIssuedOldKeyCACRL",
        "BasicSelfIssuedOldKeyNewWithOldCACert",
    ),
];

#[test]
fn each_pkits_crl_is_taken_or_refused_for_its_reason() {
    let python = std::env::var("GNOMON_TEST_PYTHON")
        .unwrap_or_else(|_| format!("{}/target/venv/bin/python", env!("CARGO_MANIFEST_DIR")));
    let program = "import cryptography_vectors as v; print(list(v.__path__)[0])";
    let vectors = run(&python, &["-c", program]);
    let pkits = Path::new(vectors.trim()).join("x509/PKITS_data");
    let mut refused: BTreeMap<_, _> = REFUSED.iter().copied().collect();
    let issuers: BTreeMap<_, _> = ISSUERS.iter().copied().collect();
    let mut taken = 0;
    for entry in fs::read_dir(pkits.join("crls")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let usual = format!("{}Cert", name.trim_end_matches("CRL"));
        let issuer = issuers.get(name.as_str()).copied().unwrap_or(&usual);
        let issuer = fs::read(pkits.join(format!("certs/{issuer}.crt"))).expect(&name);
        // DSA is no key that anything here verifies with.
        if name.starts_with("DSA") {
            assert!(Certificate::from_der(&issuer).is_err());
            continue;
        }
        let issuer = Certificate::from_der(&issuer).expect(&name);
        let verified = verify(&fs::read(&path).unwrap(), &issuer, None);
        match (verified, refused.remove(name.as_str())) {
            (Ok(_), None) => taken += 1,
            (Err(error), Some(reason)) => {
                assert!(error.to_string().contains(reason), "{name}: {error}");
            }
            (Ok(_), Some(reason)) => panic!("{name} was taken, but: {reason}"),
            (Err(error), None) => panic!("{name} was refused: {error}"),
        }
    }
    assert!(refused.is_empty(), "not met: {refused:?}");
    assert!(taken >= 130, "{taken}");
    // Refused above under the CA's other key, and taken under the one that signed it.
    for (crl, issuer) in SIGNED_BY_ANOTHER_KEY {
        let read = |path: String| fs::read(pkits.join(path)).unwrap();
        let issuer = Certificate::from_der(&read(format!("certs/{issuer}.crt"))).unwrap();
        let verified = verify(&read(format!("crls/{crl}.crl")), &issuer, None);
        assert!(verified.is_ok(), "{crl}: {verified:?}");
    }
}
