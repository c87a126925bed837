// Certificate status as Bouncy Castle and as Java's own PKIXRevocationChecker see it: Status BASE_URL DEMO_DIR.

import java.io.FileInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.cert.*;
import java.util.*;
import org.bouncycastle.asn1.DEROctetString;
import org.bouncycastle.asn1.nist.NISTObjectIdentifiers;
import org.bouncycastle.asn1.ocsp.OCSPObjectIdentifiers;
import org.bouncycastle.asn1.oiw.OIWObjectIdentifiers;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.asn1.x509.Extensions;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaX509CertificateHolder;
import org.bouncycastle.cert.ocsp.*;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.jcajce.JcaContentVerifierProviderBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;

public class Status {
    static String folder;

    static void check(boolean holds, String what) {
        if (!holds) throw new AssertionError(what);
    }

    static X509Certificate certificate(String name) throws Exception {
        try (FileInputStream file = new FileInputStream(folder + "/" + name)) {
            return (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(file);
        }
    }

    static void bouncyCastle(String url) throws Exception {
        X509CertificateHolder issuing = new JcaX509CertificateHolder(certificate("issuing.pem"));
        X509CertificateHolder responder = new JcaX509CertificateHolder(certificate("ocsp.pem"));
        String[] names = {"good.pem", "revoked.pem", "held.pem"};
        for (var hash : List.of(OIWObjectIdentifiers.idSHA1, NISTObjectIdentifiers.id_sha256)) {
            for (int nonceLength : new int[] {0, 16, 32, 128}) {
                var calculator = new JcaDigestCalculatorProviderBuilder().build().get(new AlgorithmIdentifier(hash));
                OCSPReqBuilder builder = new OCSPReqBuilder();
                List<CertificateID> asked = new ArrayList<>();
                for (String name : names) {
                    asked.add(new CertificateID(calculator, issuing, certificate(name).getSerialNumber()));
                    builder.addRequest(asked.get(asked.size() - 1));
                }
                byte[] nonce = new byte[nonceLength];
                new Random(nonceLength).nextBytes(nonce);
                if (nonceLength > 0) {
                    byte[] value = new DEROctetString(nonce).getEncoded();
                    builder.setRequestExtensions(new Extensions(new org.bouncycastle.asn1.x509.Extension(
                        OCSPObjectIdentifiers.id_pkix_ocsp_nonce, true, value)));
                }
                HttpRequest post = HttpRequest.newBuilder(URI.create(url + "/ocsp"))
                    .header("Content-Type", "application/ocsp-request")
                    .POST(HttpRequest.BodyPublishers.ofByteArray(builder.build().getEncoded())).build();
                byte[] body = HttpClient.newHttpClient().send(post, HttpResponse.BodyHandlers.ofByteArray()).body();
                OCSPResp response = new OCSPResp(body);
                check(response.getStatus() == OCSPResp.SUCCESSFUL, "status " + response.getStatus());
                BasicOCSPResp basic = (BasicOCSPResp) response.getResponseObject();
                check(basic.isSignatureValid(new JcaContentVerifierProviderBuilder().build(responder)), "signature");
                check(Arrays.equals(basic.getCerts(), new X509CertificateHolder[] {responder}), "certificates");
                check(responder.isSignatureValid(new JcaContentVerifierProviderBuilder().build(issuing)), "delegation");
                var echoed = basic.getExtension(OCSPObjectIdentifiers.id_pkix_ocsp_nonce);
                check((echoed != null) == (nonceLength > 0), "nonce");
                if (echoed != null) {
                    check(!echoed.isCritical(), "a nonce is never critical");
                    check(Arrays.equals(echoed.getExtnValue().getOctets(), new DEROctetString(nonce).getEncoded()), "nonce");
                }
                SingleResp[] singles = basic.getResponses();
                check(singles.length == names.length, "as many as asked");
                for (int i = 0; i < names.length; i++) {
                    check(singles[i].getCertID().equals(asked.get(i)), "order and CertID");
                    check(singles[i].getNextUpdate() != null, "nextUpdate");
                    check(!singles[i].getThisUpdate().after(basic.getProducedAt()), "thisUpdate");
                }
                check(singles[0].getCertStatus() == CertificateStatus.GOOD, "good");
                check(((RevokedStatus) singles[1].getCertStatus()).getRevocationReason() == 1, "keyCompromise");
                check(((RevokedStatus) singles[2].getCertStatus()).getRevocationReason() == 6, "certificateHold");
            }
        }
    }

    /** Validates a certificate under the issuing CA, with its status asked where its AIA says. */
    static void validate(String name, boolean withNonce) throws Exception {
        CertPathValidator validator = CertPathValidator.getInstance("PKIX", "SUN");
        PKIXRevocationChecker checker = (PKIXRevocationChecker) validator.getRevocationChecker();
        checker.setOptions(EnumSet.of(PKIXRevocationChecker.Option.NO_FALLBACK));
        if (withNonce) {
            byte[] value = new DEROctetString("0123456789abcdef".getBytes()).getEncoded();
            checker.setOcspExtensions(List.of(new java.security.cert.Extension() {
                public String getId() { return "1.3.6.1.5.5.7.48.1.2"; }
                public boolean isCritical() { return false; }
                public byte[] getValue() { return value; }
                public void encode(java.io.OutputStream out) throws java.io.IOException {
                    out.write(new org.bouncycastle.asn1.x509.Extension(
                        OCSPObjectIdentifiers.id_pkix_ocsp_nonce, false, value).getEncoded());
                }
            }));
        }
        PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(certificate("issuing.pem"), null)));
        parameters.addCertPathChecker(checker);
        CertPath path = CertificateFactory.getInstance("X.509").generateCertPath(List.of(certificate(name)));
        validator.validate(path, parameters);
    }

    public static void main(String[] arguments) throws Exception {
        java.security.Security.addProvider(new BouncyCastleProvider());
        folder = arguments[1];
        bouncyCastle(arguments[0]);
        for (boolean withNonce : new boolean[] {false, true}) {
            validate("good.pem", withNonce);
            for (String name : new String[] {"revoked.pem", "held.pem"}) {
                try {
                    validate(name, withNonce);
                    throw new AssertionError(name + " was accepted");
                } catch (CertPathValidatorException refused) {
                    check(refused.getReason() == CertPathValidatorException.BasicReason.REVOKED, name + ": " + refused);
                }
            }
        }
        System.out.println("Bouncy Castle and PKIXRevocationChecker accept every answer");
    }
}
