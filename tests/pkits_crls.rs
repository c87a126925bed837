//! NIST's PKITS, as the cryptography package's vectors carry it: each CRL that RFC 5280 lets a responder use is
//! verified, and each other is refused for its own reason; and each test about revocation, distribution points and
//! deltas (4.3 names, 4.4, 4.5, 4.14, 4.15) gets the answer that a responder owes it. Not among them are 4.3.1 and 4.3.2,
//! whose end entities' issuer is nobody, and 4.4.1, whose CA has no CRL at all: for them a responder has nothing to read.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use gnomon::{
    revocation::{
        CrlError, Overlaid, Part, Retained, SerialStatus, Snapshot, verify, verify_delta,
    },
    wire::{certificate::Certificate, time::Seconds},
};
use support::{python_tool, run};

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

/// The vectors' folder, with `certs` and `crls`.
fn pkits() -> PathBuf {
    let program = "import cryptography_vectors as v; print(list(v.__path__)[0])";
    let vectors = run(&python_tool("python"), &["-c", program]);
    Path::new(vectors.trim()).join("x509/PKITS_data")
}

#[test]
fn each_pkits_crl_is_taken_or_refused_for_its_reason() {
    let pkits = pkits();
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

/// What a responder says of the certificate that a test is about.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Verdict {
    /// Not revoked.
    Good,
    /// With the reasonCode.
    Revoked(u8),
    /// It has no CRL that it may use, so that it answers tryLater.
    Nothing(&'static str),
}

use Verdict::{Good, Nothing, Revoked};

/// The end entity's certificate, the CA's (whose key signs CRLs), the CRL, and what is owed. Tests that say "Valid" of
/// a certificate with an indirect or partial CRL get nothing from a responder that reads neither: never a "good".
#[rustfmt::skip]
const CASES: &[(&str, &str, &str, Verdict)] = &[
    // 4.3: names that are spelled otherwise in the CRL, but are the same by RFC 5280 7.1.
    ("ValidNameChainingWhitespaceTest3EE", "GoodCACert", "GoodCACRL", Good),
    ("ValidNameChainingWhitespaceTest4EE", "GoodCACert", "GoodCACRL", Good),
    ("ValidNameChainingCapitalizationTest5EE", "GoodCACert", "GoodCACRL", Good),
    ("ValidNameUIDsTest6EE", "UIDCACert", "UIDCACRL", Good),
    ("ValidRFC3280MandatoryAttributeTypesTest7EE", "RFC3280MandatoryAttributeTypesCACert",
     "RFC3280MandatoryAttributeTypesCACRL", Good),
    ("ValidRFC3280OptionalAttributeTypesTest8EE", "RFC3280OptionalAttributeTypesCACert",
     "RFC3280OptionalAttributeTypesCACRL", Good),
    ("ValidUTF8StringEncodedNamesTest9EE", "UTF8StringEncodedNamesCACert", "UTF8StringEncodedNamesCACRL", Good),
    ("ValidRolloverfromPrintableStringtoUTF8StringTest10EE", "RolloverfromPrintableStringtoUTF8StringCACert",
     "RolloverfromPrintableStringtoUTF8StringCACRL", Good),
    ("ValidUTF8StringCaseInsensitiveMatchTest11EE", "UTF8StringCaseInsensitiveMatchCACert",
     "UTF8StringCaseInsensitiveMatchCACRL", Good),
    // 4.4: revocation.
    ("InvalidRevokedEETest3EE", "GoodCACert", "GoodCACRL", Revoked(1)),
    ("RevokedsubCACert", "GoodCACert", "GoodCACRL", Revoked(1)),
    ("ValidCertificatePathTest1EE", "GoodCACert", "GoodCACRL", Good),
    ("InvalidBadCRLSignatureTest4EE", "BadCRLSignatureCACert", "BadCRLSignatureCACRL", Nothing("signature")),
    ("InvalidBadCRLIssuerNameTest5EE", "BadCRLIssuerNameCACert", "BadCRLIssuerNameCACRL", Nothing("not issued by")),
    ("InvalidWrongCRLTest6EE", "WrongCRLCACert", "WrongCRLCACRL", Nothing("not issued by")),
    ("ValidTwoCRLsTest7EE", "TwoCRLsCACert", "TwoCRLsCAGoodCRL", Good),
    ("ValidTwoCRLsTest7EE", "TwoCRLsCACert", "TwoCRLsCABadCRL", Nothing("not issued by")),
    ("InvalidUnknownCRLEntryExtensionTest8EE", "UnknownCRLEntryExtensionCACert", "UnknownCRLEntryExtensionCACRL",
     Nothing("critical extension")),
    ("InvalidUnknownCRLExtensionTest9EE", "UnknownCRLExtensionCACert", "UnknownCRLExtensionCACRL",
     Nothing("critical extension")),
    ("InvalidUnknownCRLExtensionTest10EE", "UnknownCRLExtensionCACert", "UnknownCRLExtensionCACRL",
     Nothing("critical extension")),
    ("InvalidOldCRLnextUpdateTest11EE", "OldCRLnextUpdateCACert", "OldCRLnextUpdateCACRL", Nothing("ran out")),
    ("Invalidpre2000CRLnextUpdateTest12EE", "pre2000CRLnextUpdateCACert", "pre2000CRLnextUpdateCACRL",
     Nothing("ran out")),
    ("ValidGeneralizedTimeCRLnextUpdateTest13EE", "GeneralizedTimeCRLnextUpdateCACert",
     "GeneralizedTimeCRLnextUpdateCACRL", Good),
    ("ValidNegativeSerialNumberTest14EE", "NegativeSerialNumberCACert", "NegativeSerialNumberCACRL", Good),
    ("InvalidNegativeSerialNumberTest15EE", "NegativeSerialNumberCACert", "NegativeSerialNumberCACRL", Revoked(1)),
    ("ValidLongSerialNumberTest16EE", "LongSerialNumberCACert", "LongSerialNumberCACRL", Good),
    ("ValidLongSerialNumberTest17EE", "LongSerialNumberCACert", "LongSerialNumberCACRL", Good),
    ("InvalidLongSerialNumberTest18EE", "LongSerialNumberCACert", "LongSerialNumberCACRL", Revoked(1)),
    ("ValidSeparateCertificateandCRLKeysTest19EE", "SeparateCertificateandCRLKeysCRLSigningCert",
     "SeparateCertificateandCRLKeysCRL", Good),
    ("InvalidSeparateCertificateandCRLKeysTest20EE", "SeparateCertificateandCRLKeysCRLSigningCert",
     "SeparateCertificateandCRLKeysCRL", Revoked(1)),
    ("InvalidSeparateCertificateandCRLKeysTest20EE", "SeparateCertificateandCRLKeysCertificateSigningCACert",
     "SeparateCertificateandCRLKeysCRL", Nothing("no cRLSign")),
    // What the trust anchor has revoked is the certificate under which CRLs are signed; that of the end entity is not.
    ("InvalidSeparateCertificateandCRLKeysTest21EE", "SeparateCertificateandCRLKeysCA2CRLSigningCert",
     "SeparateCertificateandCRLKeysCA2CRL", Good),
    ("InvalidkeyUsageCriticalcRLSignFalseTest4EE", "keyUsageCriticalcRLSignFalseCACert",
     "keyUsageCriticalcRLSignFalseCACRL", Nothing("no cRLSign")),
    ("InvalidkeyUsageNotCriticalcRLSignFalseTest5EE", "keyUsageNotCriticalcRLSignFalseCACert",
     "keyUsageNotCriticalcRLSignFalseCACRL", Nothing("no cRLSign")),
    // 4.5: CAs with two keys.
    ("ValidBasicSelfIssuedOldWithNewTest1EE", "BasicSelfIssuedNewKeyCACert", "BasicSelfIssuedNewKeyCACRL", Good),
    ("InvalidBasicSelfIssuedOldWithNewTest2EE", "BasicSelfIssuedNewKeyCACert", "BasicSelfIssuedNewKeyCACRL", Revoked(1)),
    ("ValidBasicSelfIssuedNewWithOldTest3EE", "BasicSelfIssuedOldKeyNewWithOldCACert", "BasicSelfIssuedOldKeyCACRL", Good),
    ("ValidBasicSelfIssuedNewWithOldTest4EE", "BasicSelfIssuedOldKeyNewWithOldCACert", "BasicSelfIssuedOldKeyCACRL", Good),
    ("InvalidBasicSelfIssuedNewWithOldTest5EE", "BasicSelfIssuedOldKeyNewWithOldCACert", "BasicSelfIssuedOldKeyCACRL",
     Revoked(1)),
    ("ValidBasicSelfIssuedCRLSigningKeyTest6EE", "BasicSelfIssuedCRLSigningKeyCRLCert",
     "BasicSelfIssuedCRLSigningKeyCACRL", Good),
    ("InvalidBasicSelfIssuedCRLSigningKeyTest7EE", "BasicSelfIssuedCRLSigningKeyCRLCert",
     "BasicSelfIssuedCRLSigningKeyCACRL", Revoked(1)),
    // Invalid since a key that signs CRLs alone has signed the certificate, which is on no CRL.
    ("InvalidBasicSelfIssuedCRLSigningKeyTest8EE", "BasicSelfIssuedCRLSigningKeyCRLCert",
     "BasicSelfIssuedCRLSigningKeyCACRL", Good),
    // 4.14: a CRL without an issuing distribution point is for every one; one that is not complete is for none.
    ("ValidNoissuingDistributionPointTest10EE", "NoissuingDistributionPointCACert", "NoissuingDistributionPointCACRL",
     Good),
    ("InvalidonlyContainsUserCertsTest11EE", "onlyContainsUserCertsCACert", "onlyContainsUserCertsCACRL", Good),
    ("InvalidonlyContainsCACertsTest12EE", "onlyContainsCACertsCACert", "onlyContainsCACertsCACRL", Good),
    ("ValidonlyContainsCACertsTest13EE", "onlyContainsCACertsCACert", "onlyContainsCACertsCACRL", Good),
    ("InvalidonlyContainsAttributeCertsTest14EE", "onlyContainsAttributeCertsCACert", "onlyContainsAttributeCertsCACRL",
     Nothing("attribute")),
    ("InvalidonlySomeReasonsTest15EE", "onlySomeReasonsCA1Cert", "onlySomeReasonsCA1compromiseCRL", Nothing("onlySome")),
    ("InvalidonlySomeReasonsTest16EE", "onlySomeReasonsCA1Cert", "onlySomeReasonsCA1otherreasonsCRL", Nothing("onlySome")),
    ("InvalidonlySomeReasonsTest17EE", "onlySomeReasonsCA2Cert", "onlySomeReasonsCA2CRL1", Nothing("onlySome")),
    ("ValidonlySomeReasonsTest18EE", "onlySomeReasonsCA3Cert", "onlySomeReasonsCA3compromiseCRL", Nothing("onlySome")),
    ("ValidonlySomeReasonsTest19EE", "onlySomeReasonsCA4Cert", "onlySomeReasonsCA4otherreasonsCRL", Nothing("onlySome")),
    ("InvalidonlySomeReasonsTest20EE", "onlySomeReasonsCA4Cert", "onlySomeReasonsCA4compromiseCRL", Nothing("onlySome")),
    ("InvalidonlySomeReasonsTest21EE", "onlySomeReasonsCA4Cert", "onlySomeReasonsCA4otherreasonsCRL", Nothing("onlySome")),
    ("ValidIDPwithindirectCRLTest22EE", "indirectCRLCA1Cert", "indirectCRLCA1CRL", Nothing("indirect")),
    ("InvalidIDPwithindirectCRLTest23EE", "indirectCRLCA1Cert", "indirectCRLCA1CRL", Nothing("indirect")),
    ("ValidIDPwithindirectCRLTest24EE", "indirectCRLCA2Cert", "indirectCRLCA1CRL", Nothing("not issued by")),
    ("ValidIDPwithindirectCRLTest25EE", "indirectCRLCA2Cert", "indirectCRLCA1CRL", Nothing("not issued by")),
    ("InvalidIDPwithindirectCRLTest26EE", "indirectCRLCA2Cert", "indirectCRLCA1CRL", Nothing("not issued by")),
    ("InvalidcRLIssuerTest27EE", "indirectCRLCA2Cert", "GoodCACRL", Nothing("not issued by")),
    ("ValidcRLIssuerTest28EE", "indirectCRLCA3cRLIssuerCert", "indirectCRLCA3cRLIssuerCRL", Nothing("indirect")),
    ("ValidcRLIssuerTest29EE", "indirectCRLCA3cRLIssuerCert", "indirectCRLCA3cRLIssuerCRL", Nothing("indirect")),
    ("ValidcRLIssuerTest30EE", "indirectCRLCA4cRLIssuerCert", "indirectCRLCA4cRLIssuerCRL", Nothing("indirect")),
    ("InvalidcRLIssuerTest31EE", "indirectCRLCA6Cert", "indirectCRLCA5CRL", Nothing("not issued by")),
    ("InvalidcRLIssuerTest32EE", "indirectCRLCA6Cert", "indirectCRLCA5CRL", Nothing("not issued by")),
    ("ValidcRLIssuerTest33EE", "indirectCRLCA6Cert", "indirectCRLCA5CRL", Nothing("not issued by")),
    ("InvalidcRLIssuerTest34EE", "indirectCRLCA5Cert", "indirectCRLCA5CRL", Nothing("indirect")),
    // It names another issuer of CRLs, and that one has none for it.
    ("InvalidcRLIssuerTest35EE", "indirectCRLCA5Cert", "indirectCRLCA5CRL", Nothing("indirect")),
    // 4.15: a delta that stands where the complete CRL should.
    ("InvaliddeltaCRLIndicatorNoBaseTest1EE", "deltaCRLIndicatorNoBaseCACert", "deltaCRLIndicatorNoBaseCACRL",
     Nothing("is a delta")),
];

/// 4.14.1 to 4.14.9: the end entity's certificate, the CA's number, the distribution point that its certificate names,
/// and what is owed. With the directoryName that the certificate names or the name relative to its issuer it is the
/// same point, and both are written as the whole name.
#[rustfmt::skip]
const POINTS: &[(&str, u8, Option<&str>, Verdict)] = &[
    ("ValiddistributionPointTest1EE", 1, Some("CN=CRL1 of distributionPoint1 CA,OU=distributionPoint1 CA"), Good),
    ("InvaliddistributionPointTest2EE", 1, Some("CN=CRL1 of distributionPoint1 CA,OU=distributionPoint1 CA"), Revoked(1)),
    ("InvaliddistributionPointTest3EE", 1, Some("CN=CRLx of distributionPoint1 CA,OU=distributionPoint1 CA"),
     Nothing("that of `CN=CRL1 of distributionPoint1 CA,")),
    ("ValiddistributionPointTest4EE", 1, Some("CN=CRL1 of distributionPoint1 CA,OU=distributionPoint1 CA"), Good),
    ("ValiddistributionPointTest5EE", 2, Some("CN=CRL1 of distributionPoint2 CA,OU=distributionPoint2 CA"), Good),
    ("InvaliddistributionPointTest6EE", 2, Some("CN=CRL1 of distributionPoint2 CA,OU=distributionPoint2 CA"), Revoked(1)),
    ("ValiddistributionPointTest7EE", 2, Some("CN=CRL1 of distributionPoint2 CA,OU=distributionPoint2 CA"), Good),
    ("InvaliddistributionPointTest8EE", 2, Some("OU=distributionPoint2 CA"),
     Nothing("that of `CN=CRL1 of distributionPoint2 CA,")),
    ("InvaliddistributionPointTest9EE", 2, None, Nothing("set `distribution_point`")),
];

/// 4.15.2 to 4.15.10: the end entity's certificate, the CA's number, and what is owed by base and delta, and by the
/// base alone.
#[rustfmt::skip]
const DELTAS: &[(&str, u8, Verdict, Verdict)] = &[
    ("ValiddeltaCRLTest2EE", 1, Good, Good),
    ("InvaliddeltaCRLTest3EE", 1, Revoked(1), Revoked(1)),
    ("InvaliddeltaCRLTest4EE", 1, Revoked(1), Good),
    ("ValiddeltaCRLTest5EE", 1, Good, Revoked(6)),
    ("InvaliddeltaCRLTest6EE", 1, Revoked(1), Revoked(6)),
    ("ValiddeltaCRLTest7EE", 1, Good, Good),
    ("ValiddeltaCRLTest8EE", 2, Good, Good),
    ("InvaliddeltaCRLTest9EE", 2, Revoked(1), Revoked(1)),
    // The base is too old for the delta, and has run out.
    ("InvaliddeltaCRLTest10EE", 3, Nothing("for a base with number 02"), Nothing("ran out")),
];

/// PKITS's files, and the day at which its tests are judged here: all CRLs but those that are meant to be over
/// are in force.
struct Pkits(PathBuf);

impl Pkits {
    /// 2011-06-01.
    const DAY: Seconds = Seconds::new(15_126 * 86_400);

    fn certificate(&self, name: &str) -> Certificate {
        let der = fs::read(self.0.join(format!("certs/{name}.crt"))).expect(name);
        Certificate::from_der(&der).expect(name)
    }

    fn crl(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(format!("crls/{name}.crl"))).expect(name)
    }

    /// What is said of a certificate by an issuer's one CRL, or why there is none.
    fn judged(&self, certificate: &str, part: Result<Part, CrlError>) -> Result<Verdict, String> {
        let part = part.map_err(|error| error.to_string())?;
        let snapshot = Snapshot::new(vec![Some(part)], None);
        match snapshot.status(self.certificate(certificate).serial(), Self::DAY) {
            SerialStatus::Revoked { reason, .. } => Ok(Revoked(reason.unwrap_or_default())),
            SerialStatus::Unlisted => Ok(Good),
            SerialStatus::Stale => Err(snapshot.shortage(Self::DAY).unwrap().to_string()),
            SerialStatus::Issued => panic!("there is no list of issued serials"),
        }
    }

    fn assert(&self, certificate: &str, part: Result<Part, CrlError>, owed: Verdict) {
        match (self.judged(certificate, part), owed) {
            (Ok(verdict), owed) => assert_eq!(verdict, owed, "{certificate}"),
            (Err(error), Nothing(reason)) if error.contains(reason) => {}
            (Err(error), owed) => panic!("{certificate}: {owed:?} is owed, but: {error}"),
        }
    }
}

fn part(crl: &[u8], issuer: &Certificate, point: Option<&str>) -> Result<Part, CrlError> {
    Ok(Part::new(verify(crl, issuer, point)?, Retained::default()))
}

#[test]
fn each_pkits_test_of_revocation_gets_its_answer() {
    let pkits = Pkits(pkits());
    for (certificate, issuer, crl, owed) in CASES {
        let part = part(&pkits.crl(crl), &pkits.certificate(issuer), None);
        pkits.assert(certificate, part, *owed);
    }
    // 4.14.11 says "Invalid" since the CA's own certificates are on no CRL: that much is told of the two of one kind.
    for (crl, missing) in [
        ("onlyContainsUserCertsCA", "certificates of CAs"),
        ("onlyContainsCACertsCA", "certificates of users"),
    ] {
        let issuer = pkits.certificate(&format!("{crl}Cert"));
        let part = part(&pkits.crl(&format!("{crl}CRL")), &issuer, None).unwrap();
        let uncovered = Snapshot::new(vec![Some(part)], None).uncovered().unwrap();
        assert_eq!(uncovered.to_string(), missing);
    }
}

#[test]
fn each_pkits_test_of_distribution_points_gets_its_answer() {
    let pkits = Pkits(pkits());
    for (certificate, number, point, owed) in POINTS {
        let point = point.map(|point| format!("{point},O=Test Certificates 2011,C=US"));
        let ca = format!("distributionPoint{number}CA");
        let issuer = pkits.certificate(&format!("{ca}Cert"));
        let part = part(&pkits.crl(&format!("{ca}CRL")), &issuer, point.as_deref());
        pkits.assert(certificate, part, *owed);
    }
}

#[test]
fn each_pkits_test_of_deltas_gets_its_answer() {
    let pkits = Pkits(pkits());
    for (certificate, number, owed, owed_by_base) in DELTAS {
        let ca = format!("deltaCRLCA{number}");
        let issuer = pkits.certificate(&format!("{ca}Cert"));
        let base = part(&pkits.crl(&format!("{ca}CRL")), &issuer, None).unwrap();
        let delta = pkits.crl(&format!("{ca}deltaCRL"));
        let delta = verify_delta(&delta, &issuer, None).unwrap();
        assert!(!base.base().freshest().is_empty() && delta.this_update() <= Pkits::DAY);
        let both = base.with_delta(delta).map(|overlaid| match overlaid {
            Overlaid::New(part) => part,
            Overlaid::Superseded => panic!("{ca}: the delta adds something"),
        });
        pkits.assert(certificate, both, *owed);
        pkits.assert(certificate, Ok(base), *owed_by_base);
    }
    // A base is none, and a delta has none of its own: each is refused in the other's place.
    let issuer = pkits.certificate("deltaCRLCA1Cert");
    let refused = verify_delta(&pkits.crl("deltaCRLCA1CRL"), &issuer, None).unwrap_err();
    assert!(
        refused.to_string().contains("complete and no delta"),
        "{refused}"
    );
}
