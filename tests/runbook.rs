//! docs/runbook.md and the program know the same codes: every line of level warn or error has one, every code is used and
//! explained, and what the alerts name exists.

#[path = "support/sources.rs"]
mod sources;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use sources::sources;

const CODES: &str = "src/service/code.rs";
const RUNBOOK: &str = "docs/runbook.md";

/// What stands under each code.
const PARTS: [&str; 4] = ["Means", "Meanwhile", "Do", "Over when"];

fn read(file: impl AsRef<Path>) -> String {
    let file = file.as_ref();
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The names and their codes, which must be unique.
fn codes() -> BTreeMap<String, String> {
    let mut codes = BTreeMap::new();
    for line in read(CODES).lines() {
        let Some(rest) = line.strip_prefix("pub const ") else {
            continue;
        };
        let (name, code) = rest.split_once(": &str = \"").unwrap();
        let code = code.strip_suffix("\";").unwrap();
        assert!(is_code(code), "{code}");
        codes.insert(name.to_owned(), code.to_owned());
    }
    assert!(codes.len() > 40);
    let unique: BTreeSet<_> = codes.values().collect();
    assert_eq!(unique.len(), codes.len(), "a code stands twice in {CODES}");
    codes
}

fn is_code(word: &str) -> bool {
    let digits = word.strip_prefix("GN");
    digits.is_some_and(|digits| digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// All codes that a text names.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words
        .filter(|word| is_code(word))
        .map(str::to_owned)
        .collect()
}

/// Each macro that says something to the operator, with what stands between its brackets at first.
fn said(source: &str) -> Vec<(usize, &str)> {
    let mut said = Vec::new();
    for level in ["warn!(", "error!("] {
        for (at, _) in source.match_indices(&format!("tracing::{level}")) {
            let inside = &source[at + "tracing::".len() + level.len()..];
            said.push((source[..at].lines().count(), inside.trim_start()));
        }
    }
    said
}

/// A source without its tests, which stand last.
fn program(path: &Path) -> String {
    let text = read(path);
    let end = text.find("\n#[cfg(test)]\nmod tests").unwrap_or(text.len());
    text[..end].to_owned()
}

#[test]
fn every_line_that_needs_an_operator_has_a_code() {
    let codes = codes();
    let (mut used, mut lines) = (BTreeSet::new(), 0);
    for path in sources(Path::new("src")) {
        let source = program(&path);
        for (line, inside) in said(&source) {
            assert!(
                inside.starts_with("code = "),
                "{}:{line}: no code; choose one of {CODES}, or add one and explain it in {RUNBOOK}",
                path.display()
            );
            lines += 1;
        }
        if path != Path::new(CODES) {
            let words = source.split("code::").skip(1);
            let name = |c: char| c.is_ascii_uppercase() || c == '_';
            used.extend(
                words.map(|rest| rest.chars().take_while(|c| name(*c)).collect::<String>()),
            );
        }
        // No other way around it.
        for other in ["tracing::event!", "use tracing::error", "use tracing::warn"] {
            assert!(!source.contains(other), "{}: {other}", path.display());
        }
    }
    assert!(lines > 40, "{lines}");
    used.remove("");
    assert_eq!(used, codes.into_keys().collect());
}

#[test]
fn every_code_is_explained_and_no_other() {
    let mut explained = BTreeSet::new();
    let runbook = read(RUNBOOK);
    let mut last = String::new();
    for section in runbook.split("\n### ").skip(1) {
        let section = section.split("\n## ").next().unwrap();
        let (code, title) = section.split_once(' ').unwrap();
        assert!(!title.lines().next().unwrap().is_empty(), "{code}");
        assert!(last.as_str() < code, "{code} is not where it belongs");
        code.clone_into(&mut last);
        assert!(explained.insert(code.to_owned()), "{code} stands twice");
        for part in PARTS {
            let count = section.matches(&format!("\n- **{part}:** ")).count();
            assert_eq!(count, 1, "{code}: {part}");
        }
    }
    let known: BTreeSet<_> = codes().into_values().collect();
    assert_eq!(explained, known);
    let named = named(&runbook);
    assert!(named.is_subset(&known), "{:?}", named.difference(&known));
}

#[test]
fn what_alerts_name_exists() {
    let known: BTreeSet<_> = codes().into_values().collect();
    let named = named(&read("deploy/prometheus/gnomon.rules.yml"));
    assert!(named.len() > 15);
    assert!(named.is_subset(&known), "{:?}", named.difference(&known));
}

#[test]
fn the_checks_above_see_what_they_should() {
    let source = "tracing::warn!(\n    \"x\"\n);\ntracing::error!(code = 1, \"y\");\n";
    let found = said(source);
    assert_eq!(found.len(), 2);
    assert!(!found[0].1.starts_with("code = ") && found[1].1.starts_with("code = "));
    assert_eq!(
        named("see GN1101, GN12, GN1202."),
        ["GN1101", "GN1202"].map(str::to_owned).into()
    );
}
