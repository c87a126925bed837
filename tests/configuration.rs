//! The configuration as operators meet it: the shipped example is served when its files exist, `check`
//! gives advice, and whatever is wrong is said in one line each before anything is started.

mod support;

use std::fs;

use support::{Folder, free_port, gnomon, prepare, run, text};

/// The shipped example with the demo's files in place of an operator's.
fn example(dir: &Folder) -> String {
    let example = fs::read_to_string("config/gnomon.toml").unwrap();
    let mut config = example;
    for (theirs, ours) in [
        ("/etc/gnomon/tsu-chain.pem", "issuing.pem"),
        ("/etc/gnomon/issuing-ca-1.pem", "issuing.pem"),
        ("/var/lib/gnomon/crl/issuing-ca-1.crl", "issuing.crl"),
        ("/var/lib/gnomon/issued/issuing-ca-1.txt", "issued.txt"),
        ("/var/lib/gnomon/journal", "journal"),
        ("/etc/gnomon/", ""),
    ] {
        assert!(config.contains(theirs), "{theirs}");
        config = config.replace(theirs, ours);
    }
    config
        // The helper's user is there only where the package is.
        .replace("# helper = \"gnomon-clockwatch\"", "helper = \"0\"")
        .replace("0.0.0.0:3180", &free_port().to_string())
        .replace("127.0.0.1:3181", &free_port().to_string())
        + &format!("# in {}\n", dir.display())
}

/// Runs `check` and `serve` on this configuration; both must fail and say the same. Gives the lines.
fn refused(dir: &Folder, config: &str) -> Vec<String> {
    let file = dir.path("wrong.toml");
    fs::write(&file, config).unwrap();
    let [check, serve] = ["check", "serve"].map(|command| {
        let output = gnomon(&[command, "--config", &file]).output().unwrap();
        let status = if command == "serve" { 78 } else { 1 };
        assert_eq!(
            output.status.code(),
            Some(status),
            "{command}: {}",
            text(&output)
        );
        assert!(output.stdout.is_empty(), "{command}: {}", text(&output));
        String::from_utf8(output.stderr).unwrap()
    });
    assert_eq!(check, serve);
    assert!(!dir.join("journal").exists(), "nothing is half started");
    check
        .lines()
        .map(|line| {
            line.strip_prefix(&format!("error: {file}: "))
                .unwrap_or(line)
                .to_owned()
        })
        .collect()
}

#[test]
fn the_shipped_example_is_served_when_its_files_exist() {
    let dir = Folder::new();
    prepare(&dir);
    fs::write(dir.join("example.toml"), example(&dir)).unwrap();
    let said = run(
        env!("CARGO_BIN_EXE_gnomon"),
        &["check", "--config", &dir.path("example.toml")],
    );
    assert!(
        said.contains("example.toml: can be served (2 TSUs, 1 issuers)"),
        "{said}"
    );
}

#[test]
fn every_default_in_the_example_is_the_default() {
    let dir = Folder::new();
    prepare(&dir);
    let plain = example(&dir);
    let spelt_out: String = plain
        .lines()
        .map(|line| {
            let setting = line.strip_prefix("# ").filter(|rest| {
                rest.split_once(" = ").is_some_and(|(name, _)| {
                    name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
                })
            });
            // These depend on the machine, on the key, and on who runs it.
            let own = ["workers", "signature", "origin"];
            let setting = setting.filter(|s| !own.iter().any(|own| s.starts_with(own)));
            format!("{}\n", setting.unwrap_or(line))
        })
        .collect();
    let read = |text: &str| {
        let config = gnomon::config::Config::parse(text, &dir.join("example.toml"));
        let mut config = config.unwrap();
        config.sha256 = [0; 32];
        format!("{config:?}")
    };
    assert_ne!(plain, spelt_out);
    assert_eq!(read(&plain), read(&spelt_out));
}

#[test]
fn what_is_unwise_in_chrony_conf_is_said() {
    let dir = Folder::new();
    prepare(&dir);
    fs::write(dir.join("example.toml"), example(&dir)).unwrap();
    let check = |chrony: &str| {
        let config = dir.path("example.toml");
        let arguments = ["check", "--config", &config, "--chrony", chrony];
        run(env!("CARGO_BIN_EXE_gnomon"), &arguments)
    };
    assert!(!check("config/chrony.conf").contains("chrony.conf"));
    assert!(check("/nonexistent").contains("advice: /nonexistent: cannot be read"));

    // As Debian has it, with something in conf.d and a server from elsewhere.
    for folder in ["conf.d", "sources.d"] {
        fs::create_dir(dir.join(folder)).unwrap();
    }
    let file = dir.path("chrony.conf");
    let text = format!(
        "! a comment\nconfdir {0}\nsourcedir /run/chrony-dhcp\nsourcedir {1}\nPool 2.debian.pool.ntp.org iburst\n\
         include {2}\nmakestep 1 -1\ninclude {file}\n",
        dir.path("conf.d"),
        dir.path("sources.d"),
        dir.path("more*.inc"),
    );
    fs::write(&file, text).unwrap();
    fs::write(dir.join("conf.d/a.conf"), "leapsecmode slew\n").unwrap();
    fs::write(dir.join("conf.d/a.off"), "manual\n").unwrap();
    fs::write(dir.join("sources.d/a.sources"), "server 192.0.2.1\n").unwrap();
    fs::write(dir.join("more-1.inc"), "local stratum 10\nallow\n").unwrap();
    let said = check(&file);
    for part in [
        "pool",
        "sourcedir",
        "server`: 1 without `nts",
        "authselectmode require",
        "maxdistance 0.1",
        "local",
        "allow",
        "leapsecmode",
        "leapsectz right/UTC",
        "rtcsync",
        "minsources 3",
        "maxclockerror 15",
        "maxslewrate 100",
        "maxchange 0.5 1 0",
        "makestep",
    ] {
        let line = format!("advice: {file}: `{part}`");
        assert!(said.contains(&line), "{part}: {said}");
    }
    assert!(!said.contains("`manual`"), "{said}");

    // The shipped one with one line changed.
    let shipped = fs::read_to_string("config/chrony.conf").unwrap();
    for (line, other, told) in [
        ("authselectmode require", "authselectmode prefer", 1),
        ("maxdistance 0.1", "maxdistance 3", 1),
        ("maxdistance 0.1", "maxdistance 0.05", 0),
        ("maxslewrate 100", "maxslewrate 1000", 1),
        ("maxslewrate 100", "maxslewrate 50", 0),
        ("nts1.example.net nts", "nts1.example.net key 1", 0),
    ] {
        assert!(shipped.contains(line), "{line}");
        fs::write(&file, shipped.replacen(line, other, 1)).unwrap();
        let said = check(&file);
        let lines = said.lines().filter(|said| said.contains(&file)).count();
        assert_eq!(lines, told, "{other}: {said}");
        let names_it = said.contains(&format!("{file}: `{line}`: "));
        assert_eq!(names_it, told == 1, "{other}: {said}");
    }
}

#[test]
fn the_demo_is_advised_against_in_production() {
    let dir = Folder::new();
    prepare(&dir);
    let said = run(
        env!("CARGO_BIN_EXE_gnomon"),
        &["check", "--config", &dir.path("gnomon.toml")],
    );
    assert!(
        said.contains("advice: clock.source: \"unproven\" vouches for nothing"),
        "{said}"
    );
    assert!(said.contains("advice: tsu[0].demo: "), "{said}");
    assert!(!said.contains(".dir: "), "{said}");
}

#[test]
fn who_reads_no_further_is_no_trouble_and_a_full_disk_is() {
    let dir = Folder::new();
    prepare(&dir);
    let check = || gnomon(&["check", "--config", &dir.path("gnomon.toml")]);
    // As `gnomon check ... | head -n 0` has it.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = check().stdout(writer).output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        text(&output)
    );
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = check().stdout(full).output().unwrap();
    assert!(!output.status.success(), "{}", text(&output));
    let said = text(&output);
    assert!(said.starts_with("error: standard output: "), "{said}");
}

#[test]
fn what_is_wrong_is_said_in_one_line_each() {
    let dir = Folder::new();
    prepare(&dir);
    let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    fs::write(
        dir.join("truncated.crl"),
        &fs::read(dir.join("issuing.crl")).unwrap()[..200],
    )
    .unwrap();
    fs::create_dir(dir.join("folder.pem")).unwrap();
    let cases = [
        (
            "key = \"tsu-ecdsa.key\"",
            "key = \"tsu-rsa.key\"",
            "tsu[0].certificate: the key does not belong to the certificate",
        ),
        (
            "key = \"tsu-ecdsa.key\"",
            "key = \"nowhere.key\"",
            "tsu[0].key: ",
        ),
        (
            "certificate = \"tsu-ecdsa.pem\"",
            "certificate = \"nowhere.pem\"",
            "tsu[0].certificate: ",
        ),
        (
            "certificate = \"tsu-ecdsa.pem\"",
            "certificate = \"folder.pem\"",
            "tsu[0].certificate: ",
        ),
        (
            "certificate = \"tsu-ecdsa.pem\"",
            "certificate = \"tsu-ecdsa.key\"",
            "tsu[0].certificate: ",
        ),
        (
            "key = \"tsu-ecdsa.key\"\ncertificate = \"tsu-ecdsa.pem\"",
            "key = \"good.key\"\ncertificate = \"good.pem\"",
            "tsu[0].certificate: the certificate of ",
        ),
        (
            "chain = \"issuing.pem\"",
            "chain = \"ca.pem\"",
            "tsu[0].certificate: the chain of ",
        ),
        (
            "crl = [\"issuing.crl\"]",
            "crl = [\"nowhere.crl\"]",
            "issuer[0].crl: ",
        ),
        (
            "crl = [\"issuing.crl\"]",
            "crl = [\"truncated.crl\"]",
            "issuer[0].crl: ",
        ),
        (
            "certificate = \"ocsp.pem\"",
            "certificate = \"good.pem\"",
            "issuer[0].responder[0].certificate: ",
        ),
        (
            "2.999.3161.2",
            "2.999.3161.1",
            "tsu.policies: policy 2.999.3161.1 is offered by both `ecdsa` and `rsa`",
        ),
        (
            "# accuracy = \"1s\"",
            "accuracy = \"100ms\"",
            "tsu[0].accuracy: ",
        ),
        (
            "source = \"unproven\"",
            "source = \"sundial\"",
            "unknown variant `sundial`",
        ),
        (
            "default = true ",
            "defualt = true ",
            "unknown field `defualt`",
        ),
        (
            "listen = [\"127.0.0.1:",
            "listen = [\"localhost:",
            " is no IP address with a port; write one such as \"0.0.0.0:3180\"",
        ),
    ];
    for (right, wrong, expected) in cases {
        assert!(config.contains(right), "{right}");
        let lines = refused(&dir, &config.replacen(right, wrong, 1));
        let all = lines.join("\n");
        assert!(all.contains(expected), "{wrong}: {all}");
        // A TOML error shows the place over several lines; all others are one.
        assert!(
            lines.len() == 1 || all.contains("TOML parse error"),
            "{wrong}: {all}"
        );
    }
    // A CRL of another issuer: the root's certificate stands as issuer.
    let lines = refused(
        &dir,
        &config.replacen(
            "certificate = \"issuing.pem\"",
            "certificate = \"ca.pem\"",
            1,
        ),
    );
    assert!(
        lines.iter().any(|line| line.contains("issuer[0].crl: ")),
        "{lines:?}"
    );
    // Several at once.
    let both = config.replacen("key = \"tsu-ecdsa.key\"", "key = \"a.key\"", 1);
    let both = both.replacen("crl = [\"issuing.crl\"]", "crl = [\"b.crl\"]", 1);
    assert_eq!(refused(&dir, &both).len(), 2);
}

#[test]
fn expired_certificates_and_taken_ports_stop_the_start() {
    let dir = Folder::new();
    let (listen, _) = prepare(&dir);
    let config = fs::read_to_string(dir.join("gnomon.toml")).unwrap();
    let (csr, ext) = (dir.path("old.csr"), dir.path("old.ext"));
    fs::write(&ext, "extendedKeyUsage=critical,timeStamping\n").unwrap();
    let key = dir.path("tsu-ecdsa.key");
    run(
        "openssl",
        &[
            "req", "-new", "-key", &key, "-subj", "/CN=old", "-out", &csr,
        ],
    );
    run(
        "openssl",
        &[
            "x509",
            "-req",
            "-in",
            &csr,
            "-CA",
            &dir.path("issuing.pem"),
            "-CAkey",
            &dir.path("issuing.key"),
            "-days",
            "-1",
            "-extfile",
            &ext,
            "-out",
            &dir.path("old.pem"),
        ],
    );
    let lines = refused(&dir, &config.replacen("tsu-ecdsa.pem", "old.pem", 1));
    assert!(
        lines.len() == 1 && lines[0].contains("the certificate of CN=old ended at "),
        "{lines:?}"
    );

    let _taken = std::net::TcpListener::bind(listen).unwrap();
    let output = gnomon(&["serve", "--config", &dir.path("gnomon.toml")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    assert!(
        said.contains(&format!("listen: {listen}: cannot be listened on: ")),
        "{said}"
    );
    assert!(!dir.join("journal").exists(), "nothing is half started");
}

#[test]
fn a_standard_error_that_takes_nothing_is_no_trouble_but_for_a_secret() {
    let said = |arguments: &[&str]| {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = gnomon(arguments).stderr(full).output().unwrap();
        (output.status.code(), output.stdout)
    };
    for arguments in [&["journal", "verify", "/nowhere"][..], &["clock"]] {
        let (status, _) = said(arguments);
        assert!(matches!(status, Some(1 | 2)), "{arguments:?}: {status:?}");
    }
    // Nobody has seen the token, so that its hash is of no use.
    assert_eq!(said(&["access", "token", "ca"]), (Some(1), Vec::new()));
}
