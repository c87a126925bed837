use super::*;

fn rule(name: &str, networks: &[&str], quota: Quota) -> RuleSettings {
    RuleSettings {
        name: name.to_owned(),
        users: None,
        tokens: None,
        certificates: None,
        addresses: networks.iter().map(|net| net.parse().unwrap()).collect(),
        quota,
    }
}

fn named(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// What a request from this address by plain HTTP comes to.
fn enters<'a>(access: &'a Access, address: &str, for_tsu: bool) -> Result<Caller<'a>, Denial> {
    let peer = Peer::new(address.parse().unwrap(), Door::Plain);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let headers = HeaderMap::new();
    let entering = access.enter(&peer, &headers, for_tsu);
    let entered = runtime.unwrap().block_on(entering);
    entered.map_err(|refused| refused.denial)
}

#[test]
fn counts_outlive_the_rules_that_they_were_made_by() {
    let once = Quota {
        rate: None,
        daily: Some(1),
    };
    let mut settings = Settings {
        rules: vec![rule("few", &[], once)],
        plain: named(&["few"]),
        ..Settings::default()
    };
    let old = Access::open(&settings, None).unwrap();
    assert!(enters(&old, "192.0.2.1", false).is_ok());
    assert!(enters(&old, "192.0.2.1", false).is_err());
    // Another stands before it now.
    settings.rules.insert(0, rule("none", &["::1/128"], once));
    let new = Access::open(&settings, Some(&old)).unwrap();
    let denial = enters(&new, "192.0.2.1", false).unwrap_err();
    assert!(matches!(denial, Denial::Quota(_)), "{denial:?}");
    assert!(enters(&new, "192.0.2.2", false).is_ok());
    let fresh = Access::open(&settings, None).unwrap();
    assert!(enters(&fresh, "192.0.2.1", false).is_ok());
}

#[test]
fn a_name_without_a_rule_lets_nobody_through() {
    let settings = Settings {
        plain: named(&["gone"]),
        ..Settings::default()
    };
    let access = Access::open(&settings, None).unwrap();
    assert!(!access.is_open());
    let denial = enters(&access, "127.0.0.1", false).unwrap_err();
    assert_eq!(denial, Denial::Forbidden);
}

#[test]
fn the_listener_and_the_tsu_must_both_agree() {
    let settings = Settings {
        rules: vec![
            rule("ten", &["10.0.0.0/8"], Quota::default()),
            rule("eleven", &["11.0.0.0/8"], Quota::default()),
            rule("twelve", &["12.0.0.0/8"], Quota::default()),
        ],
        plain: named(&["ten", "eleven"]),
        tsus: vec![
            ("open".into(), vec![]),
            ("a".into(), named(&["eleven", "twelve"])),
        ],
        ..Settings::default()
    };
    let access = Access::open(&settings, None).unwrap();
    let mut eleven = enters(&access, "11.0.0.1", true).unwrap();
    assert!(eleven.may_reach("a") && eleven.may_reach("open"));
    assert_eq!(eleven.to_tsu("a"), Ok(()));
    let mut ten = enters(&access, "10.0.0.1", true).unwrap();
    assert!(!ten.may_reach("a") && ten.may_reach("open"));
    assert_eq!(ten.to_tsu("a"), Err(Denial::Absent));
    assert_eq!(ten.no_tsu(), Denial::Absent);
    assert!(enters(&access, "12.0.0.1", true).is_err());
}
