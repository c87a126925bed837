//! The words of the demo: [`banner`] for the terminal and [`config`] for `gnomon.toml`.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use super::{DemoError, DemoToken, Prepared, token::key_label};

/// The first line of a `gnomon.toml` that may be rewritten.
pub const MARKER: &str =
    "# gnomon demo rewrites this file while this line stands; remove the line to keep your edits.";

/// What `gnomon demo` prints once it listens: the two addresses, what was made, what it is worth, and
/// commands to paste. Each command is one line that begins with `  $ `, and no other line does.
pub fn banner(
    dir: &Path,
    listen: SocketAddr,
    admin: Option<SocketAddr>,
    prepared: &Prepared,
) -> String {
    let mut out = format!("listening on http://{listen}\n");
    if let Some(admin) = admin {
        // A String takes whatever is written.
        let _ = writeln!(out, "admin on http://{admin}");
    }
    out.push('\n');
    if prepared.made.is_empty() {
        let _ = writeln!(out, "{} is as the last start left it.", dir.display());
    } else {
        let _ = writeln!(out, "In {}:", dir.display());
        for line in &prepared.made {
            let _ = writeln!(out, "  {line}");
        }
    }
    out.push_str(
        "\nThese are demo keys and a clock that nobody vouches for.\n\
         What they sign proves nothing. Never trust ca.pem outside of this demo.\n",
    );
    let base = format!("http://{}", reachable(listen));
    let file = |name: &str| quoted(&operand(dir, name));
    // As -CAfile, since `openssl ts` splits -untrusted at blanks and commas of the path.
    let chain = file("chain.pem");
    let data = file("hello.txt");
    for (title, stem, path) in [
        ("Stamp a file and verify the stamp:", "hello", "/tsa"),
        ("The same with the RSA key:", "hello-rsa", "/tsa/rsa"),
    ] {
        let (query, reply) = (format!("{stem}.tsq"), format!("{stem}.tsr"));
        let body = quoted(&format!("@{}", operand(dir, &query)));
        let (query, reply) = (file(&query), file(&reply));
        let _ = writeln!(out, "\n{title}");
        if stem == "hello" {
            let _ = writeln!(out, "  $ echo hello > {data}");
        }
        let _ = writeln!(
            out,
            "  $ openssl ts -query -data {data} -sha256 -cert -out {query}"
        );
        let _ = writeln!(
            out,
            "  $ curl -sSf -H 'Content-Type: application/timestamp-query' --data-binary {body} -o {reply} {base}{path}"
        );
        let _ = writeln!(
            out,
            "  $ openssl ts -verify -in {reply} -queryfile {query} -CAfile {chain}"
        );
    }
    out.push_str("\nAsk for the three certificates, one good, one revoked, one on hold:\n");
    let issuing = file("issuing.pem");
    for stem in ["good", "revoked", "held"] {
        let certificate = file(&format!("{stem}.pem"));
        let _ = writeln!(
            out,
            "  $ openssl ocsp -issuer {issuing} -cert {certificate} -url {base}/ocsp -CAfile {chain}"
        );
    }
    out
}

/// The address under which this host reaches a listener: loopback where it listens on all addresses.
pub fn reachable(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    listen
}

/// A path that no tool takes for an option.
fn operand(dir: &Path, name: &str) -> String {
    let path = dir.join(name).display().to_string();
    if path.starts_with('-') {
        format!("./{path}")
    } else {
        path
    }
}

/// One word for a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-@+:,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The whole of `gnomon.toml`.
pub fn config(
    listen: SocketAddr,
    admin: SocketAddr,
    token: Option<&DemoToken>,
) -> Result<String, DemoError> {
    let key = |stem: &str| match token {
        None => Ok(format!("\"{stem}.key\"")),
        Some(token) => on_token(token, stem),
    };
    let (ecdsa, rsa, ocsp) = (key("tsu-ecdsa")?, key("tsu-rsa")?, key("ocsp")?);
    Ok(format!(
        r##"{MARKER}
# Paths are relative to this file. What is commented out shows the default.

# Clients connect here: POST /tsa, POST /tsa/NAME, and OCSP at /ocsp.
listen = ["{listen}"]
# The console, metrics and readiness, for all of this host. For others it wants HTTPS and rules (docs/access.md).
admin = "{admin}"

[clock]
# "chrony" and "kernel" sign only while the clock is proven (docs/clock.md). "unproven" asks nobody, and only a TSU with
# `demo = true` signs by it.
source = "unproven"

[journal]
# Every token is recorded here before it leaves.
dir = "journal"
# checkpoint_interval = "5s"
# The log of what was issued is shown under /log/.
publish = true

[ocsp]
# nonce = true
# sealed_answers = 100000

[[tsu]]
name = "ecdsa"
default = true   # serves /tsa as well
demo = true      # signs without a proven clock; its tokens prove nothing
key = {ecdsa}
certificate = "tsu-ecdsa.pem"
chain = "issuing.pem"
# The first one is what a request without a policy gets. 2.999 is the arc for examples.
policies = ["2.999.3161.1"]
# digests = ["sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512"]
# precision = "ms"          # of genTime: "s", "ms" or "us"
# accuracy = "1s"
# signing_delay = "100ms"
# tsa_field = false
# qualified = false

[[tsu]]
name = "rsa"
demo = true
key = {rsa}
# signature = "rsa-sha256"  # or rsa-sha384, rsa-sha512, rsa-pss-sha256, rsa-pss-sha384, rsa-pss-sha512
certificate = "tsu-rsa.pem"
chain = "issuing.pem"
policies = ["2.999.3161.2"]

[[issuer]]
name = "demo"
certificate = "issuing.pem"
crl = ["issuing.crl"]
# The serials ever issued: those that are not on the CRL are good.
issued = ["issued.txt"]
# Of any other serial: "unauthorized", "unknown", "revoked" or "good".
# unlisted = "unauthorized"
# validity = "8h"           # of an answer
# archive_cutoff = false
responder = {{ key = {ocsp}, certificate = "ocsp.pem" }}
"##
    ))
}

/// The value of `key` for a key on the token. Paths are made absolute, since the file's are relative to it.
fn on_token(token: &DemoToken, stem: &str) -> Result<String, DemoError> {
    let absolute = |path: &Path| -> Result<String, DemoError> {
        let path =
            std::path::absolute(path).map_err(|error| DemoError::Token(error.to_string()))?;
        Ok(serde_json::Value::String(path.display().to_string()).to_string())
    };
    let (module, pin_file) = (absolute(&token.module)?, absolute(&token.pin_file)?);
    let name = serde_json::Value::String(token.label()?).to_string();
    let label = key_label(stem);
    Ok(format!(
        "{{ module = {module}, token = {name}, label = \"{label}\", pin_file = {pin_file} }}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quoted("/tmp/demo/ca.pem"), "/tmp/demo/ca.pem");
        assert_eq!(quoted("my demo/ca.pem"), "'my demo/ca.pem'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("~/x"), "'~/x'");
        assert_eq!(operand(Path::new("-d"), "x"), "./-d/x");
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_by_loopback() {
        let reach = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reach("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(reach("[::]:1"), "[::1]:1");
        assert_eq!(reach("192.0.2.1:1"), "192.0.2.1:1");
    }
}
