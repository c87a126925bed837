//! `gnomon keys` as an operator uses it: from an empty token to a TSU and a responder that serve, and what is
//! said on the way when something is wrong.

mod support;

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use support::{
    Folder, Gnomon, gnomon, prepare, run,
    stamps::openssl_verifies,
    text,
    token::{SOFTHSM, Token},
};

struct Bench {
    dir: Folder,
    token: Token,
}

impl Bench {
    fn new() -> Self {
        let dir = Folder::new();
        prepare(&dir);
        let token = Token::new(&dir);
        Self { dir, token }
    }

    fn around(&self, command: Command) -> Command {
        self.token.around(command)
    }

    /// Runs `gnomon keys WHAT` on the token; whether it did, and what it said.
    fn keys(&self, what: &str, arguments: &[&str], typed: &str) -> (bool, String) {
        let pin = self.dir.path("pin");
        let place = [
            "keys",
            what,
            "--module",
            SOFTHSM,
            "--token",
            "gnomon",
            "--pin-file",
            &pin,
        ];
        let mut child = self
            .around(gnomon(&[&place[..], arguments].concat()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
        let output = child.wait_with_output().unwrap();
        (output.status.success(), text(&output))
    }

    fn done(&self, what: &str, arguments: &[&str]) -> String {
        let (done, said) = self.keys(what, arguments, "");
        assert!(done, "{what} {arguments:?}: {said}");
        said
    }

    fn refused(&self, what: &str, arguments: &[&str], expected: &str) {
        let (done, said) = self.keys(what, arguments, "");
        assert!(
            !done && said.contains(expected),
            "{what} {arguments:?}: {said}"
        );
        assert_eq!(said.matches("error: ").count(), 1, "{said}");
    }

    /// The demo's CA issues what a request asks for.
    fn issue(&self, request: &str, to: &str) {
        self.issue_by(&["openssl"], request, to, "30");
    }

    /// The same by this command, for so many days.
    fn issue_by(&self, openssl: &[&str], request: &str, to: &str, days: &str) {
        let path = |name: &str| self.dir.path(name);
        let arguments = [
            "x509",
            "-req",
            "-in",
            &path(request),
            "-CA",
            &path("issuing.pem"),
            "-CAkey",
            &path("issuing.key"),
            "-days",
            days,
            "-copy_extensions",
            "copyall",
            "-out",
            &path(to),
        ];
        run("env", &[openssl, &arguments].concat());
    }
}

#[test]
fn from_an_empty_token_to_tokens_that_verify() {
    let bench = Bench::new();
    let path = |name: &str| bench.dir.path(name);
    for (label, kind, purpose) in [
        ("tsu", "p256", "tsu"),
        ("tsu-rsa", "rsa3072", "tsu"),
        ("ocsp", "p384", "ocsp"),
    ] {
        bench.done("generate", &["--label", label, "--kind", kind]);
        let (request, issued, installed) = (
            path("request.pem"),
            format!("{label}-issued.pem"),
            path(&format!("{label}.pem")),
        );
        let subject = format!("CN={label},O=Example");
        bench.done(
            "csr",
            &[
                "--label",
                label,
                "--subject",
                &subject,
                "--for",
                purpose,
                "--out",
                &request,
            ],
        );
        let said = run(
            "openssl",
            &["req", "-in", &request, "-noout", "-verify", "-text"],
        );
        assert!(
            said.contains("self-signature verify OK") && said.contains(&format!("CN = {label}")),
            "{said}"
        );
        bench.issue("request.pem", &issued);
        let _ = fs::remove_file(&installed);
        let said = bench.done(
            "install",
            &[
                "--label",
                label,
                "--for",
                purpose,
                "--certificate",
                &path(&issued),
                "--issuer",
                &path("issuing.pem"),
                "--to",
                &installed,
            ],
        );
        assert!(
            said.contains(&format!("CN={label}")) && fs::exists(&installed).unwrap(),
            "{said}"
        );
    }
    let said = bench.done("list", &["--certificate", &path("tsu.pem")]);
    assert!(
        said.contains("key `tsu`, id ") && said.contains("P-256, never leaves the token, signs"),
        "{said}"
    );
    assert!(
        said.contains(&format!("certificate {}", path("tsu.pem"))),
        "{said}"
    );
    let json = bench.done("list", &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["keys"].as_array().unwrap().len(), 3);
    assert_eq!(json["keys"][0]["extractable"], false);
    let said = bench.done("test", &["--label", "tsu", "--sessions", "2"]);
    assert!(
        said.contains("a signature verifies as ecdsa-sha256") && said.contains("   2 sessions: "),
        "{said}"
    );

    let on_token = |label: &str| {
        format!(
            "key = {{ module = \"{SOFTHSM}\", token = \"gnomon\", label = \"{label}\", pin_file = \"pin\" }}"
        )
    };
    let (listen, admin) = (support::free_port(), support::free_port());
    let config = format!(
        "listen = [\"{listen}\"]\nadmin = \"{admin}\"\n[clock]\nsource = \"unproven\"\n[journal]\ndir = \"j\"\n\
         [[tsu]]\nname = \"a\"\ndefault = true\ndemo = true\n{}\ncertificate = \"tsu.pem\"\nchain = \"issuing.pem\"\npolicies = [\"1.2.3.1\"]\n\
         [[tsu]]\nname = \"b\"\ndemo = true\n{}\ncertificate = \"tsu-rsa.pem\"\nchain = \"issuing.pem\"\npolicies = [\"1.2.3.2\"]\n\
         [[issuer]]\nname = \"i\"\ncertificate = \"issuing.pem\"\ncrl = [\"issuing.crl\"]\nissued = [\"issued.txt\"]\n\
         [[issuer.responder]]\n{}\ncertificate = \"ocsp.pem\"\n",
        on_token("tsu"),
        on_token("tsu-rsa"),
        on_token("ocsp")
    );
    fs::write(bench.dir.join("gnomon.toml"), config).unwrap();
    let command = bench.around(gnomon(&["serve", "--config", &path("gnomon.toml")]));
    let gnomon = Gnomon::started(command, bench.dir, listen, admin);
    let path = |name: &str| gnomon.dir.path(name);
    for tsa in ["/tsa/a", "/tsa/b"] {
        let (query, reply, chain) = (path("q.tsq"), path("r.tsr"), path("chain.pem"));
        run(
            "openssl",
            &[
                "ts", "-query", "-data", &chain, "-sha256", "-cert", "-out", &query,
            ],
        );
        fs::write(
            &reply,
            gnomon.post(tsa, "", &fs::read(&query).unwrap()).body,
        )
        .unwrap();
        openssl_verifies(&gnomon.dir, &query, &reply);
    }
    let said = gnomon.ask("good.pem", &[]);
    assert!(said.contains("Response verify OK"), "{said}");
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_destroyed_by_mistake() {
    let bench = Bench::new();
    let path = |name: &str| bench.dir.path(name);
    bench.done("generate", &["--label", "one"]);
    bench.done("generate", &["--label", "two"]);
    bench.refused(
        "generate",
        &["--label", "one"],
        "a key of this label, or half of one, is there already",
    );
    let request = path("request.pem");
    bench.refused(
        "csr",
        &[
            "--label",
            "nobody",
            "--subject",
            "CN=x",
            "--for",
            "tsu",
            "--out",
            &request,
        ],
        "nobody",
    );
    bench.refused(
        "csr",
        &[
            "--label",
            "one",
            "--subject",
            "CN=x, O=y",
            "--for",
            "tsu",
            "--out",
            &request,
        ],
        "--subject `CN=x, O=y`: no name as RFC 4514 has it",
    );
    assert!(!bench.dir.join("request.pem").exists());
    // A certificate of another key, and one for another use.
    bench.done(
        "csr",
        &[
            "--label",
            "one",
            "--subject",
            "CN=x",
            "--for",
            "tsu",
            "--out",
            &request,
        ],
    );
    bench.issue("request.pem", "one.pem");
    let (one, to, issuer) = (path("one.pem"), path("installed.pem"), path("issuing.pem"));
    let install = |label, purpose| {
        [
            "--label",
            label,
            "--for",
            purpose,
            "--certificate",
            &one,
            "--issuer",
            &issuer,
            "--to",
            &to,
        ]
        .map(str::to_owned)
    };
    for (label, purpose, expected) in [
        ("two", "tsu", "the key does not belong to the certificate"),
        ("one", "ocsp", "has no extended key usage OCSPSigning"),
        ("nobody", "tsu", "no private key labelled `nobody`"),
    ] {
        let arguments = install(label, purpose);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        bench.refused("install", &arguments, expected);
        assert!(!bench.dir.join("installed.pem").exists());
    }
    // Good for its certificate's life, but not for signatures of code.
    let old = ["faketime", "-f", "-500d", "openssl"];
    bench.issue_by(&old, "request.pem", "one.pem", "1000");
    let arguments = install("one", "tsu");
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let for_code = [&arguments[..], &["--code-signing"]].concat();
    bench.refused("install", &for_code, "the key of CN=x could sign until");
    assert!(!bench.dir.join("installed.pem").exists());
    let said = bench.done("install", &arguments);
    assert!(!said.contains("chain"), "{said}");
    // A chain is checked, and put where it is told.
    let chain = path("chain-installed.pem");
    let to = ["--chain-to", &chain];
    bench.refused(
        "install",
        &[&arguments[..], &to].concat(),
        "--chain <CHAIN>",
    );
    let with_chain = [&arguments[..], &["--chain", &issuer]].concat();
    let said = bench.done("install", &with_chain);
    assert!(
        said.contains("checked its chain, and put it nowhere"),
        "{said}"
    );
    let said = bench.done("install", &[&with_chain[..], &to].concat());
    assert!(
        said.contains(&format!("installed its chain in {chain}")),
        "{said}"
    );
    assert_eq!(fs::read(&chain).unwrap(), fs::read(&issuer).unwrap());
    for typed in ["", "two\n", "one \tand more\n", "ONE\n"] {
        let (done, said) = bench.keys("destroy", &["--label", "one"], typed);
        assert!(!done && said.contains("nothing was destroyed"), "{said}");
    }
    assert!(bench.done("list", &[]).contains("key `one`"));
    let (journal, nowhere) = (path("journal"), path("nowhere"));
    bench.refused(
        "destroy",
        &["--label", "one", "--journal", &nowhere],
        "nowhere: there is no such folder",
    );
    fs::create_dir(&journal).unwrap();
    let arguments = ["--label", "one", "--journal", &journal];
    let (done, said) = bench.keys("destroy", &arguments, "one\n");
    assert!(done && said.contains("destroyed key `one`"), "{said}");
    assert!(!said.contains("Nothing of it goes on record"), "{said}");
    // What lies there now is put on record by the appliance; tests/journal_command.rs shows it.
    let mut left: Vec<_> = fs::read_dir(bench.dir.join("journal/inbox"))
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .map(|event| serde_json::from_slice::<serde_json::Value>(&event).unwrap())
        .collect();
    left.sort_by_key(|event| event["action"] == "destroyed");
    assert_eq!(left.len(), 2);
    assert_eq!(left[0]["action"], "to be destroyed");
    let line = &left[1]["details"];
    assert_eq!(
        (&line["label"], &line["kind"]),
        (&"one".into(), &"P-256".into())
    );
    assert_eq!(line["public_key_sha256"].as_str().unwrap().len(), 64);
    let left = bench.done("list", &[]);
    assert!(
        !left.contains("key `one`") && left.contains("key `two`"),
        "{left}"
    );
}

#[test]
fn of_keys_with_one_label_each_is_told_by_its_id() {
    let bench = Bench::new();
    let path = |name: &str| bench.dir.path(name);
    for (key, id) in [("tsu-ecdsa", "0a"), ("ocsp", "0b")] {
        let file = path(&format!("{key}.key"));
        let mut import = bench.around(Command::new("softhsm2-util"));
        import.args(["--import", &file, "--token", "gnomon", "--pin", "1234"]);
        import.args(["--label", "same", "--id", id]);
        assert!(import.output().unwrap().status.success());
    }
    let (first, second) = (path("tsu-ecdsa.pem"), path("ocsp.pem"));
    let listed = || {
        let said = bench.done(
            "list",
            &["--json", "--certificate", &first, "--certificate", &second],
        );
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        let keys = said["keys"].as_array().unwrap().clone();
        let mut keys: Vec<_> = keys
            .iter()
            .map(|key| (key["id"].clone(), key["certificates"].clone()))
            .collect();
        keys.sort_by_key(|(id, _)| id.to_string());
        keys
    };
    let only = |path: &str| serde_json::json!([path]);
    let (one, other) = (("0a".into(), only(&first)), ("0b".into(), only(&second)));
    assert_eq!(listed(), [one, other.clone()]);
    for what in ["destroy", "test"] {
        bench.refused(
            what,
            &["--label", "same"],
            "2 private keys are labelled `same`",
        );
    }
    let named = |id: &'static str| ["--label", "same", "--id", id];
    bench.refused("destroy", &named("0c"), "labelled `same` has that id");
    let said = bench.done("test", &[&named("0b")[..], &["--sessions", "3"]].concat());
    assert!(said.contains("   3 sessions: "), "{said}");
    let (done, said) = bench.keys("destroy", &named("0a"), "same\n");
    assert!(done, "{said}");
    assert_eq!(listed(), [other]);
}

#[test]
fn the_public_half_that_a_key_left_behind_can_be_destroyed() {
    let bench = Bench::new();
    bench.done("generate", &["--label", "one", "--kind", "p256"]);
    let mut delete = bench.around(Command::new("pkcs11-tool"));
    let arguments = "--module /usr/lib/softhsm/libsofthsm2.so --token-label gnomon --login --pin 1234 --delete-object \
                     --type privkey --label one";
    let deleted = delete.args(arguments.split_whitespace()).output().unwrap();
    assert!(deleted.status.success(), "{deleted:?}");
    let named = ["--label", "one"];
    bench.refused("test", &named, "no private key labelled `one`");
    bench.refused("generate", &named, "destroy it");
    let (done, said) = bench.keys("destroy", &named, "one\n");
    let what = "destroyed what was left behind of key `one`";
    assert!(done && said.contains(what), "{said}");
    // Before it asks.
    let asked = said.find("Type its label").unwrap();
    let told = said.find("Nothing of it goes on record; with --journal DIR");
    assert!(told.is_some_and(|told| told < asked), "{said}");
    bench.refused("destroy", &named, "no private key labelled `one`");
    bench.done("generate", &named);
}

#[test]
fn what_has_no_label_is_not_destroyed_by_typing_nothing() {
    let bench = Bench::new();
    for what in ["generate", "destroy"] {
        bench.refused(what, &["--label", ""], "--label");
    }
    // The token is not asked with what cannot be a PIN: it would count a wrong one.
    fs::write(bench.dir.join("pin"), "\n").unwrap();
    bench.refused("list", &[], "has nothing in its first line");
}

#[test]
fn the_demo_runs_on_a_token_and_finds_its_keys_again() {
    use std::io::{BufRead, BufReader};
    let bench = Bench::new();
    let (dir, pin) = (bench.dir.path("on-token"), bench.dir.path("pin"));
    let (listen, admin) = (
        support::free_port().to_string(),
        support::free_port().to_string(),
    );
    let demo = || {
        let arguments = [
            "demo",
            "--dir",
            &dir,
            "--listen",
            &listen,
            "--admin",
            &admin,
            "--pkcs11",
            SOFTHSM,
            "--pin-file",
            &pin,
        ];
        let mut child = bench
            .around(gnomon(&arguments))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = Vec::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            said.push(line.unwrap());
            if said.last().unwrap().contains("held.pem -url") {
                break;
            }
        }
        for command in said.iter().filter_map(|line| line.strip_prefix("  $ ")) {
            run("sh", &["-c", command]);
        }
        run("kill", &["-TERM", &child.id().to_string()]);
        assert!(child.wait().unwrap().success());
        said.join("\n")
    };
    let first = demo();
    assert!(
        first.contains("tsu-ecdsa.pem                  signs time-stamps, P-256"),
        "{first}"
    );
    for key in ["tsu-ecdsa.key", "tsu-rsa.key", "ocsp.key"] {
        assert!(
            !bench.dir.join("on-token").join(key).exists(),
            "{key} is on the token alone"
        );
    }
    assert!(demo().contains("is as the last start left it"));
    let listed = bench.done("list", &[]);
    assert_eq!(
        listed.matches("never leaves the token").count(),
        3,
        "{listed}"
    );
}
