//! The layers hold: what each folder of `src` names of this crate, against the table in ARCHITECTURE.md;
//! that every proof type is made in one file; and that no file has grown out of hand.

#[path = "support/sources.rs"]
mod sources;

use std::{collections::BTreeSet, fs, path::Path};

use sources::sources;

/// What each layer may name. `audit` and `tsa` name `signing` and `clock` for what a record holds.
const LAYERS: [(&str, &[&str]); 12] = [
    ("wire", &[]),
    ("clock", &["wire"]),
    ("signing", &["wire"]),
    ("audit", &["wire", "clock", "signing"]),
    ("revocation", &["wire"]),
    ("tsa", &["wire", "clock", "signing", "audit"]),
    ("ocsp", &["wire", "clock", "signing", "revocation"]),
    (
        "service",
        &[
            "wire",
            "clock",
            "signing",
            "audit",
            "revocation",
            "tsa",
            "ocsp",
        ],
    ),
    (
        "io",
        &[
            "wire",
            "clock",
            "signing",
            "audit",
            "revocation",
            "tsa",
            "ocsp",
            "service",
        ],
    ),
    ("config", &["wire", "clock", "tsa", "ocsp"]),
    (
        "daemon",
        &[
            "wire", "clock", "signing", "audit", "tsa", "ocsp", "service", "io", "config",
        ],
    ),
    (
        "cli",
        &[
            "wire",
            "signing",
            "audit",
            "revocation",
            "io",
            "config",
            "daemon",
        ],
    ),
];

/// Where each proof type is made, and nowhere else.
const PROOFS: [(&str, &str); 7] = [
    ("Admitted", "src/tsa/admission.rs"),
    ("TrustedTime", "src/clock/discipline.rs"),
    ("VerifiedCrl", "src/revocation/verify.rs"),
    ("VerifiedDelta", "src/revocation/verify.rs"),
    ("Self", "src/signing/credential.rs"),
    ("Recorded", "src/io/journal/mod.rs"),
    // rustls's: this is the server that was meant.
    ("ServerCertVerified", "src/io/pinned.rs"),
];

/// The top-level names behind every `crate::` of a source, groups in braces included.
fn named(source: &str) -> BTreeSet<String> {
    let word = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let mut names = BTreeSet::new();
    for (at, _) in source.match_indices("crate::") {
        if source[..at].ends_with('$') || source[..at].ends_with("pub(") {
            continue;
        }
        let rest = &source[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.insert(word(rest));
            continue;
        };
        let (mut depth, mut starts) = (0, true);
        for (index, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => starts = true,
                c if starts && !c.is_whitespace() => {
                    names.insert(word(&group[index..]));
                    starts = false;
                }
                _ => {}
            }
        }
    }
    names
}

#[test]
fn layers_name_only_what_is_below_them() {
    for (layer, may_name) in LAYERS {
        for path in sources(&Path::new("src").join(layer)) {
            for name in named(&fs::read_to_string(&path).unwrap()) {
                let allowed = name == layer || may_name.contains(&name.as_str());
                assert!(
                    allowed,
                    "{} names crate::{name}, which {layer} may not",
                    path.display()
                );
            }
        }
    }
    let folders = fs::read_dir("src")
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let folders = folders.filter(|path| path.is_dir()).count();
    assert_eq!(
        folders,
        LAYERS.len(),
        "a folder in src stands in no row of the table"
    );
}

#[test]
fn each_proof_is_made_in_one_file() {
    let mut made = BTreeSet::new();
    for path in sources(Path::new("src")) {
        let source = fs::read_to_string(&path).unwrap();
        for line in source.lines().filter(|line| line.contains("::assertion(")) {
            let before = line.split("::assertion(").next().unwrap();
            let proof = before
                .rsplit(|c: char| !c.is_alphanumeric())
                .next()
                .unwrap();
            made.insert((proof.to_owned(), path.display().to_string()));
        }
    }
    let expected = PROOFS.map(|(proof, file)| (proof.to_owned(), file.to_owned()));
    assert_eq!(made, BTreeSet::from(expected));
}

#[test]
fn no_file_is_longer_than_600_lines() {
    for folder in ["src", "tests", "benches"] {
        for path in sources(Path::new(folder)) {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= 600, "{} has {lines} lines", path.display());
        }
    }
}

#[test]
fn the_checks_above_see_what_they_should() {
    let source = "use crate::{a::{b, c}, d,\n    e::f};\nlet x = crate::g::h();\n";
    assert_eq!(
        named(source),
        ["a", "d", "e", "g"].map(str::to_owned).into()
    );
}
