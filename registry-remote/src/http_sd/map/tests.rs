use super::super::config::LabelNames;
use super::*;

fn reading(change: impl FnOnce(&mut HttpSdConfig)) -> Reading {
    let mut config = HttpSdConfig::default();
    change(&mut config);
    Reading::new(config, PortDefaults::default())
}

fn one(reading: &mut Reading, document: &str) -> (Group, Vec<Endpoint>) {
    let mut groups = reading.document(document.as_bytes(), Format::Json).unwrap();
    let group = groups.pop().unwrap();
    assert!(groups.is_empty());
    let endpoints = group.targets.iter();
    let endpoints = endpoints
        .map(|target| group.endpoint(target, &mut reading.interner))
        .collect();
    (group, endpoints)
}

fn names(name: &str) -> Vec<String> {
    vec![name.to_owned()]
}

fn refusal(reading: &mut Reading, document: &str) -> String {
    reading.document(document.as_bytes(), Format::Json).unwrap_err()
}

#[test]
fn labels_become_what_they_are_configured_to_say() {
    let mut reading = reading(|config| {
        config.labels = LabelNames {
            namespace: names("env"),
            zone: names("__meta_datacenter"),
            weight: names("share"),
            health: names("state"),
            ..LabelNames::default()
        };
    });
    let (group, endpoints) = one(
        &mut reading,
        r#"[{"targets": ["10.0.0.7:9100"], "labels": {"job": "node", "env": "prod", "port_name": "metrics",
            "region": "eu", "__meta_datacenter": "london", "share": "3", "state": "Draining", "rack": "12", "empty": ""}}]"#,
    );
    assert_eq!(group.service, ServiceId::new("", "prod", "node"));
    assert!(!group.port.implicit);
    let endpoint = &endpoints[0];
    assert_eq!(
        (endpoint.id(), endpoint.ports().get("metrics")),
        ("10.0.0.7:9100", Some(9100))
    );
    assert_eq!((endpoint.health(), endpoint.weight()), (Health::Draining, 3));
    assert_eq!(endpoint.claims().next().unwrap().status, "Draining");
    let locality = endpoint.locality();
    assert_eq!(
        (locality.region.as_str(), locality.zone.as_str()),
        ("eu", "london")
    );
    let kept: Vec<&str> = endpoint.labels().iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(
        kept,
        ["env", "job", "port_name", "rack", "region", "share", "state"]
    );
}

#[test]
fn what_no_label_says_has_its_default() {
    let (group, endpoints) = one(
        &mut reading(|_| {}),
        r#"[{"targets": ["a", "b:1"], "labels": {"job": "node", "weight": "heavy", "health": "fine"}}]"#,
    );
    assert_eq!(group.service, ServiceId::named("node"));
    assert!(group.port.implicit && group.port.name == "default");
    assert!(endpoints[0].ports().is_empty());
    assert_eq!(endpoints[1].ports().get("default"), Some(1));
    for endpoint in &endpoints {
        assert_eq!((endpoint.health(), endpoint.weight()), (Health::Unknown, 1));
        assert!(endpoint.locality().is_empty());
    }
}

#[test]
fn ports_without_a_name_are_as_the_registry_is_configured() {
    let ports = PortDefaults {
        name: Some("http".into()),
        number: Some(80),
        app_protocol: Some("http".into()),
    };
    let mut reading = Reading::new(HttpSdConfig::default(), ports);
    let (group, endpoints) = one(
        &mut reading,
        r#"[{"targets": ["a:8080"], "labels": {"job": "web"}}]"#,
    );
    assert_eq!((group.port.name.as_str(), group.port.number), ("http", Some(80)));
    assert_eq!(endpoints[0].ports().get("http"), Some(8080));
}

#[test]
fn the_first_label_that_says_anything_names_the_service() {
    for (labels, service) in [
        (r#""job": "b", "service": "a", "__meta_prometheus_job": "c""#, "a"),
        (r#""job": "b", "service": "", "__meta_prometheus_job": "c""#, "b"),
        (r#""__meta_prometheus_job": "c""#, "c"),
        (r#""job": "b", "job": "d""#, "d"),
        (r#""other": "x""#, "the-default"),
    ] {
        let document = format!(r#"[{{"targets": ["a:1"], "labels": {{{labels}}}}}]"#);
        let (group, _) = one(
            &mut reading(|config| config.service = Some("the-default".to_owned())),
            &document,
        );
        assert_eq!(group.service, ServiceId::named(service), "{labels}");
    }
    let fixed = |config: &mut HttpSdConfig| {
        config.service = Some("fixed".to_owned());
        config.labels.service.clear();
    };
    let (group, _) = one(
        &mut reading(fixed),
        r#"[{"targets": ["a:1"], "labels": {"job": "b"}}]"#,
    );
    assert_eq!(group.service, ServiceId::named("fixed"));
}

#[test]
fn targets_without_a_service_are_refused_and_no_targets_need_none() {
    let mut reading = reading(|_| {});
    let refusal = refusal(
        &mut reading,
        r#"[{}, {"targets": ["a:1"], "labels": {"env": "x"}}]"#,
    );
    assert!(
        refusal.starts_with("[1]: found targets without a service, expected one of the labels service, job,"),
        "{refusal}"
    );
    let none = reading.document(br#"[{}, {"targets": [], "labels": {"env": "x"}}]"#, Format::Json);
    assert!(none.unwrap().is_empty());
    let empty = reading.document(br#"[{"targets": [], "labels": {"job": "x"}}]"#, Format::Json);
    assert_eq!(
        empty.unwrap().len(),
        1,
        "a service that is there, and has no targets"
    );
}

#[test]
fn words_that_cannot_be_read_refuse_the_document() {
    let mut reading = reading(|config| {
        config.labels.weight = names("weight");
        config.labels.health = names("health");
    });
    for (labels, expected) in [
        (r#""weight": "heavy""#, "the weight \"heavy\" in the label weight"),
        (r#""weight": "-1""#, "the weight \"-1\""),
        (r#""weight": "+1""#, "the weight \"+1\""),
        (r#""weight": "4294967296""#, "the weight \"4294967296\""),
        (
            r#""health": "up""#,
            "the health \"up\" in the label health, expected healthy",
        ),
    ] {
        let document = format!(r#"[{{"targets": ["a:1"], "labels": {{"job": "x", {labels}}}}}]"#);
        let refusal = refusal(&mut reading, &document);
        assert!(
            refusal.starts_with("[0]: found ") && refusal.contains(expected),
            "{refusal}"
        );
    }
}

#[test]
fn meta_labels_are_kept_where_that_is_wanted() {
    let document = r#"[{"targets": ["a:1"], "labels": {"job": "x", "__meta_rack": "12"}}]"#;
    for (wanted, kept) in [(false, None), (true, Some("12"))] {
        let (_, endpoints) = one(&mut reading(|config| config.meta_labels = wanted), document);
        let label = endpoints[0].labels().get("__meta_rack");
        assert_eq!(label.map(|text| text.as_str()), kept);
    }
}

#[test]
fn labels_of_a_group_that_cost_time_for_each_target_are_bounded() {
    let labels: Vec<String> = (0..10_000).map(|n| format!("\"l{n}\": \"x\"")).collect();
    let targets = vec!["\"a\""; 3_201].join(",");
    let document = |targets: &str| {
        let labels = labels.join(",");
        format!(r#"[{{"targets": [{targets}], "labels": {{"job": "x", {labels}}}}}]"#)
    };
    let mut reading = reading(|_| {});
    let refusal = refusal(&mut reading, &document(&targets));
    assert!(
        refusal.starts_with("[0]: found more labels of targets"),
        "{refusal}"
    );
    let one = reading.document(document("\"a\"").as_bytes(), Format::Json);
    assert_eq!(one.unwrap()[0].labels.len(), 10_001);
}
