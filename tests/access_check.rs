//! What `gnomon check` says of rules and of the files that they name.

mod support;

use support::{
    access::{Setup, client_ca, password_line},
    run,
};

#[test]
fn check_proves_every_line_and_warns() {
    let setup = Setup::new()
        .rule(
            "all",
            "users = \"users\"\ntokens = \"tokens\"\ncertificates = \"devices\"\nclient_ca = \"none.pem\"",
        )
        .tls("access = \"all\"")
        .file("users", "# ours\nalice\nbob:$2y$05$abc\n")
        .file("tokens", "ci:00\n")
        .file("devices", "one cn=x\n");
    let (good, said) = setup.check();
    assert!(!good);
    for what in [
        "access[0].users: ",
        "users: line 2: no `:` behind the name",
        "line 3: the hash is no argon2id PHC string",
        "access[0].tokens: ",
        "tokens: line 1: the digest must be a SHA-256",
        "devices: line 1: neither `subject=` nor `spki=`",
        "access[0].client_ca: ",
        "none.pem: cannot be read",
    ] {
        assert!(said.contains(what), "{what} in {said}");
    }
    assert!(!said.contains("2y"), "{said}");

    let listen = support::free_port().port();
    let setup = Setup::new();
    let old = setup.listen.to_string();
    let setup = setup
        .users("users", &["alice"])
        .rule("people", "users = \"users\"")
        .with(&old, &format!("0.0.0.0:{listen}"))
        .http("access = \"people\"")
        .tls("");
    run("chmod", &["644", &setup.dir.path("users")]);
    let (good, said) = setup.check();
    assert!(good, "{said}");
    for what in [
        "advice: http.access: passwords and tokens come over plain HTTP",
        "advice: tls.access: not set though http.access is",
        "advice: access[0].users: ",
        "can be read by others than its owner (mode 644)",
    ] {
        assert!(said.contains(what), "{what} in {said}");
    }

    // One name is one client.
    let setup = Setup::new()
        .file("a", &password_line("alice", "one"))
        .file("b", &password_line("alice", "two"))
        .rule("a", "users = \"a\"")
        .rule("b", "users = \"b\"")
        .http("access = [\"a\", \"b\"]");
    let (good, said) = setup.check();
    assert!(
        !good && said.contains("`alice` stands in the file of another rule"),
        "{said}"
    );

    // And one certificate, too.
    let setup = Setup::new();
    client_ca(&setup.dir, "ours");
    let setup = setup
        .file("devices", "one subject=CN=x\ntwo subject=CN=X\n")
        .rule(
            "devices",
            "certificates = \"devices\"\nclient_ca = \"ours.pem\"",
        )
        .tls("access = \"devices\"");
    let (good, said) = setup.check();
    assert!(
        !good && said.contains("`one` and `two` have the same certificate"),
        "{said}"
    );

    for (rules, what) in [
        (
            "access = \"x\"",
            "http.access: there is no [[access]] named `x`",
        ),
        (
            "access = [\"a\", 1]",
            "the name of an [[access]], or a list of such names",
        ),
        (
            "access = []",
            "no name; leave access out to let everybody ask",
        ),
        ("forwarded_from = [\"10.0.0.1/8\"]", "write \"10.0.0.0/8\""),
    ] {
        let (good, said) = Setup::new().http(rules).check();
        assert!(!good && said.contains(what), "{rules}: {said}");
    }
    for (lines, what) in [
        ("", "asks for nothing"),
        ("rate = \"10\"", "is no rate; write one as"),
        ("daily = 0", "access[0].daily: must be at least 1"),
        ("certificates = \"x\"", "access[0].client_ca: missing"),
        ("client_ca = \"x\"", "access[0].certificates: missing"),
        ("addresses = [\"x\"]", "`x` is no network"),
        ("user = \"x\"", "unknown field `user`"),
    ] {
        let setup = Setup::new().rule("a", lines).http("access = \"a\"");
        let (good, said) = setup.check();
        assert!(!good && said.contains(what), "{lines}: {said}");
    }
    let (good, said) = Setup::new().rule("a", "daily = 1").check();
    assert!(
        !good && said.contains("no `access` names this rule"),
        "{said}"
    );
}
