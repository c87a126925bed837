// Time-stamps as Bouncy Castle sees them: Stamp BASE_URL DEMO_DIR.

import java.io.FileInputStream;
import java.math.BigInteger;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.MessageDigest;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.cmp.PKIFailureInfo;
import org.bouncycastle.asn1.nist.NISTObjectIdentifiers;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.tsp.*;

public class Stamp {
    static final HttpClient HTTP = HttpClient.newHttpClient();

    static TimeStampResponse ask(String url, TimeStampRequest request) throws Exception {
        HttpRequest post = HttpRequest.newBuilder(URI.create(url))
            .header("Content-Type", "application/timestamp-query")
            .POST(HttpRequest.BodyPublishers.ofByteArray(request.getEncoded())).build();
        HttpResponse<byte[]> reply = HTTP.send(post, HttpResponse.BodyHandlers.ofByteArray());
        check(reply.statusCode() == 200, "status " + reply.statusCode());
        return new TimeStampResponse(reply.body());
    }

    static void check(boolean holds, String what) {
        if (!holds) throw new AssertionError(what);
    }

    public static void main(String[] arguments) throws Exception {
        java.security.Security.addProvider(new BouncyCastleProvider());
        String[] digests = {"SHA-256", "SHA-384", "SHA-512", "SHA3-256", "SHA3-384", "SHA3-512"};
        ASN1ObjectIdentifier[] oids = {
            TSPAlgorithms.SHA256, TSPAlgorithms.SHA384, TSPAlgorithms.SHA512,
            NISTObjectIdentifiers.id_sha3_256, NISTObjectIdentifiers.id_sha3_384, NISTObjectIdentifiers.id_sha3_512};
        BigInteger[] nonces = {
            null, BigInteger.ZERO, BigInteger.valueOf(-5), BigInteger.valueOf(Long.MAX_VALUE), BigInteger.ONE.shiftLeft(1000)};
        int count = 0;
        for (String[] tsu : new String[][] {
                {"/tsa", "tsu-ecdsa.pem", "2.999.3161.1"}, {"/tsa/rsa", "tsu-rsa.pem", "2.999.3161.2"}}) {
            X509Certificate certificate;
            try (FileInputStream file = new FileInputStream(arguments[1] + "/" + tsu[1])) {
                certificate = (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(file);
            }
            for (int i = 0; i < digests.length; i++) {
                for (BigInteger nonce : nonces) {
                    for (boolean certificates : new boolean[] {true, false}) {
                        TimeStampRequestGenerator generator = new TimeStampRequestGenerator();
                        generator.setCertReq(certificates);
                        byte[] digest = MessageDigest.getInstance(digests[i]).digest(new byte[] {1, 2, 3});
                        TimeStampRequest request = nonce == null
                            ? generator.generate(oids[i], digest) : generator.generate(oids[i], digest, nonce);
                        TimeStampResponse response = ask(arguments[0] + tsu[0], request);
                        response.validate(request);
                        check(response.getStatus() == 0, "granted");
                        TimeStampToken token = response.getTimeStampToken();
                        token.validate(new JcaSimpleSignerInfoVerifierBuilder().build(certificate));
                        TimeStampTokenInfo info = token.getTimeStampInfo();
                        BigInteger serial = info.getSerialNumber();
                        check(serial.signum() > 0 && serial.bitLength() <= 127, "serial " + serial);
                        check(info.getPolicy().getId().equals(tsu[2]), "policy");
                        check(info.getAccuracy().getSeconds().intValueExact() == 1, "accuracy");
                        check(info.getTsa() == null && !info.isOrdered(), "tsa, ordering");
                        long off = Math.abs(System.currentTimeMillis() - info.getGenTime().getTime());
                        check(off < 60_000, "genTime is off by " + off + " ms");
                        check(token.getCertificates().getMatches(null).size() == (certificates ? 2 : 0), "certificates");
                        count++;
                    }
                }
            }
        }
        TimeStampRequestGenerator generator = new TimeStampRequestGenerator();
        TimeStampRequest sha1 = generator.generate(TSPAlgorithms.SHA1, new byte[20]);
        TimeStampResponse refused = ask(arguments[0] + "/tsa", sha1);
        refused.validate(sha1);
        check(refused.getStatus() == 2, "rejected");
        check(refused.getFailInfo().intValue() == PKIFailureInfo.badAlg, "badAlg");
        System.out.println("Bouncy Castle accepts " + count + " tokens");
    }
}
