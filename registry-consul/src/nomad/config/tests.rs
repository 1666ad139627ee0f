use super::*;

fn namespaces(names: &[&str]) -> NomadConfig {
    NomadConfig {
        namespaces: names.iter().map(|&name| name.to_owned()).collect(),
        ..NomadConfig::default()
    }
}

#[test]
fn wrong_settings_name_their_field() {
    let base = NomadConfig::default;
    let checks = |interval, concurrency| NomadConfig {
        checks: Some(ChecksConfig {
            interval,
            concurrency,
        }),
        ..base()
    };
    for (config, field) in [
        (
            NomadConfig {
                wait: Duration::from_secs(601),
                ..base()
            },
            "wait",
        ),
        (
            NomadConfig {
                list_interval: Duration::from_secs(31),
                ..base()
            },
            "list_interval: found 31s, expected at most wait = 30s",
        ),
        (
            NomadConfig {
                max_stale: Duration::ZERO,
                ..base()
            },
            "max_stale",
        ),
        (
            NomadConfig {
                reads_per_second: 0,
                ..base()
            },
            "reads_per_second",
        ),
        (
            NomadConfig {
                addresses: vec!["http://a:4646".into(), "b:4646".into()],
                ..base()
            },
            "addresses",
        ),
        (
            NomadConfig {
                token_file: Some("a".into()),
                token_env: Some("b".into()),
                ..base()
            },
            "token_env",
        ),
        (namespaces(&[]), "namespaces"),
        (namespaces(&["default", "*"]), "namespaces"),
        (namespaces(&["default", ""]), "namespaces"),
        (namespaces(&["a", "b", "a"]), "namespaces"),
        (checks(Duration::ZERO, 1), "checks.interval"),
        (checks(Duration::from_secs(10), 0), "checks.concurrency"),
    ] {
        let error = config.validate().unwrap_err().to_string();
        assert!(error.starts_with(field), "{error}");
    }
    assert!(base().validate().is_ok());
}

#[test]
fn connections_grow_with_the_namespaces_unless_they_are_set() {
    assert_eq!(namespaces(&["*"]).http().max_connections, 10);
    assert_eq!(namespaces(&["a", "b"]).http().max_connections, 10);
    let many: Vec<String> = (0..20).map(|n| format!("team{n}")).collect();
    let many = NomadConfig {
        namespaces: many,
        ..NomadConfig::default()
    };
    assert_eq!(
        many.http().max_connections,
        47,
        "40 that are parked, 4 reads, a twentieth"
    );
    assert!(many.validate().is_ok());
    let mut few = many.clone();
    few.http.max_connections = 46;
    let error = few.validate().unwrap_err().to_string();
    assert!(error.contains("http.max_connections = 47, found 46"), "{error}");
    few.events = false;
    assert!(few.validate().is_ok());
}

#[test]
fn the_target_is_the_same_for_the_same_region_and_shows_no_secret() {
    let config = NomadConfig {
        addresses: vec!["http://user:secret@b:4646".into(), "http://a:4646/".into()],
        region: Some("eu".into()),
        token_env: Some("TOKEN".into()),
        ..NomadConfig::default()
    };
    assert_eq!(config.target(), "http://a:4646 http://b:4646 region=eu");
    assert_eq!(NomadConfig::default().target(), "http://127.0.0.1:4646");
}

#[test]
fn names_and_tags_select_services() {
    let config = NomadConfig {
        services: vec!["web-*".into(), "api".into()],
        exclude_services: vec!["*-canary".into()],
        tags: vec!["prod".into()],
        ..NomadConfig::default()
    };
    let prod = ["prod".into(), "v1".into()];
    assert!(config.wants("web-1", &prod));
    assert!(!config.wants("web-1", &[]));
    assert!(!config.wants("web-canary", &prod));
    assert!(!config.wants("db", &prod));
}
