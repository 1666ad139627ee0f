use registry_http::BasicConfig;

use super::*;

fn urls(urls: &[&str]) -> EurekaConfig {
    EurekaConfig {
        urls: urls.iter().map(|&url| url.to_owned()).collect(),
        ..EurekaConfig::default()
    }
}

fn zones(zone: Option<&str>, zones: &[(&str, &[&str])]) -> EurekaConfig {
    let list = |urls: &[&str]| urls.iter().map(|&url| url.to_owned()).collect();
    EurekaConfig {
        zone: zone.map(str::to_owned),
        zones: zones
            .iter()
            .map(|(zone, urls)| ((*zone).to_owned(), list(urls)))
            .collect(),
        ..EurekaConfig::default()
    }
}

fn problem(config: &EurekaConfig) -> String {
    config.validate().unwrap_err().to_string()
}

#[test]
fn the_defaults_are_valid() {
    EurekaConfig::default().validate().unwrap();
    urls(&["http://user:secret@a:8761/eureka/", "https://b/ctx/eureka"])
        .validate()
        .unwrap();
}

#[test]
fn wrong_settings_name_their_field() {
    let seconds = Duration::from_secs;
    let base = EurekaConfig::default;
    for (config, field) in [
        (
            EurekaConfig {
                interval: Duration::ZERO,
                ..base()
            },
            "interval",
        ),
        (
            EurekaConfig {
                interval: seconds(91),
                ..base()
            },
            "interval",
        ),
        (
            EurekaConfig {
                interval: Duration::MAX,
                ..base()
            },
            "interval",
        ),
        (
            EurekaConfig {
                full_interval: Duration::ZERO,
                ..base()
            },
            "full_interval",
        ),
        (
            EurekaConfig {
                full_interval: seconds(29),
                ..base()
            },
            "full_interval",
        ),
        (
            EurekaConfig {
                full_timeout: Duration::ZERO,
                ..base()
            },
            "full_timeout",
        ),
        (
            EurekaConfig {
                delta_retention: Duration::ZERO,
                ..base()
            },
            "delta_retention",
        ),
        (
            EurekaConfig {
                cache_interval: Duration::ZERO,
                ..base()
            },
            "cache_interval",
        ),
        (
            EurekaConfig {
                alignment: Alignment::Fixed,
                cache_offset: seconds(30),
                ..base()
            },
            "cache_offset",
        ),
        (
            EurekaConfig {
                remote_regions: vec!["a,b".to_owned()],
                ..base()
            },
            "remote_regions",
        ),
        (zones(None, &[("a", &[])]), "zones"),
        (zones(Some("c"), &[("a", &["http://a/eureka"])]), "zone"),
        (zones(None, &[("a", &["a:8761"])]), "zones"),
        (urls(&["127.0.0.1:8761/eureka"]), "urls"),
        (urls(&["ftp://x/eureka"]), "urls"),
        (urls(&["http:///eureka"]), "urls"),
        (urls(&["http://x/eureka?a=b"]), "urls"),
        (urls(&["http://x/eureka#a"]), "urls"),
        (urls(&[""]), "urls"),
    ] {
        let problem = problem(&config);
        assert!(problem.starts_with(&format!("{field}: found")), "{problem}");
    }
    let only_full = EurekaConfig {
        delta: false,
        interval: seconds(120),
        ..base()
    };
    only_full.validate().unwrap();
}

#[test]
fn a_url_of_a_request_is_refused_with_the_base_url_that_it_means() {
    for (given, base) in [
        ("http://h:8761/eureka/apps", "http://h:8761/eureka"),
        ("http://h:8761/eureka/apps/", "http://h:8761/eureka"),
        ("http://h:8080/eureka/v2/apps/delta", "http://h:8080/eureka/v2"),
        (
            "https://user:hunter2@h/eureka/apps/ORDERS/host1",
            "https://h/eureka",
        ),
        ("http://h/apps", "http://h"),
    ] {
        let problem = problem(&urls(&[given]));
        assert!(
            problem.ends_with(&format!("the base URL alone: {base:?}")),
            "{problem}"
        );
        assert!(!problem.contains("hunter2"), "{problem}");
    }
    // Only whole segments count, and a host may have any name.
    urls(&["http://apps/my-apps/eureka", "http://h/apps/eureka"])
        .validate()
        .unwrap();
}

#[test]
fn no_secret_of_a_url_is_shown_whatever_is_wrong_with_it() {
    for url in [
        "http://user:hunter2@h/eureka/apps",
        "http://user:hunter2@h/eureka?x=1",
        "http://user:hunter2@ho st/eureka",
        "http://user:hunter2@/eureka",
        "http://user:hunt er2@h/eureka",
        "user:hunter2@h/eureka",
        "http://user:hunter2@h:port/eureka",
    ] {
        let config = urls(&[url]);
        let shown = format!("{} {} {config:?}", problem(&config), config.target());
        assert!(!shown.contains("hunt"), "{shown}");
    }
}

#[test]
fn a_user_name_in_a_url_excludes_other_credentials() {
    let config = EurekaConfig {
        credentials: CredentialConfig {
            basic: Some(BasicConfig {
                username: "u".to_owned(),
                password_file: Some("p".into()),
                password_env: None,
            }),
            ..CredentialConfig::default()
        },
        ..urls(&["http://user:hunter2@h/eureka"])
    };
    let problem = problem(&config);
    assert!(problem.starts_with("credentials: found"), "{problem}");
    let apart = EurekaConfig {
        urls: vec!["http://h/eureka".to_owned()],
        ..config
    };
    apart.validate().unwrap();
}

#[test]
fn servers_of_the_own_zone_come_first_and_none_comes_twice() {
    let config = EurekaConfig {
        urls: vec!["http://u".to_owned(), "http://b1".to_owned()],
        ..zones(
            Some("b"),
            &[
                ("a", &["http://a1"]),
                ("b", &["http://b1", "http://b2"]),
                ("c", &["http://c1"]),
            ],
        )
    };
    let servers: Vec<(String, u8)> = config
        .servers()
        .into_iter()
        .map(|server| (server.url, server.rank))
        .collect();
    let expected = [
        ("http://b1", 0),
        ("http://b2", 0),
        ("http://a1", 1),
        ("http://c1", 1),
        ("http://u", 2),
    ];
    assert_eq!(servers, expected.map(|(url, rank)| (url.to_owned(), rank)));
    assert_eq!(EurekaConfig::default().servers().len(), 1);
}

#[test]
fn the_target_is_the_same_for_the_same_servers_and_shows_no_secret() {
    let target = |list: &[&str]| urls(list).target();
    assert_eq!(target(&[]), "http://127.0.0.1:8761/eureka");
    let two = target(&["http://a:8761/eureka", "https://b/eureka"]);
    assert_eq!(two, "http://a:8761/eureka https://b/eureka");
    let again = [
        "HTTPS://user:secret@B:443/eureka/",
        "http://a:8761/eureka/",
        "http://a:8761/eureka",
    ];
    assert_eq!(target(&again), two);
    assert_ne!(target(&["http://a:8761/eureka", "https://b/eureka/v2"]), two);
    let regions = EurekaConfig {
        remote_regions: vec!["us".to_owned(), "eu".to_owned()],
        ..urls(&["http://a/eureka"])
    };
    assert_eq!(regions.target(), "http://a/eureka regions=eu,us");
}

#[test]
fn names_select_applications_in_any_case() {
    let config = EurekaConfig {
        apps: vec!["ord*".to_owned(), "Payments".to_owned()],
        exclude_apps: vec!["*-CANARY".to_owned()],
        ..EurekaConfig::default()
    };
    assert!(config.wants("ORDERS") && config.wants("payments"));
    assert!(!config.wants("ORDERS-canary") && !config.wants("USERS"));
}
