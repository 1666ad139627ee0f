use super::*;

fn problems(text: &str) -> Vec<String> {
    match parse_with(text, "r.yaml", Path::new("/base"), &|_| None) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.0.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn all_faults_are_reported_at_once_in_the_order_of_the_file() {
    let text = "\
registries:
  - nam: a
    required: perhaps
  - name: B
merge:
  - { hosts: \"*\", policy: onion }
start_deadline: 30
htp: {}
log: { level: info, format: xml }
";
    let problems = problems(text);
    let expected = [
        "r.yaml:2:5: registries[0].nam: found the unknown field \"nam\", expected one of name,",
        "r.yaml:2:5: registries[0].name: found nothing, expected the field \"name\"",
        "r.yaml:3:15: registries[0].required: found \"perhaps\", expected true or false",
        "r.yaml:4:11: registries[1].name: found \"B\", expected a name of at most 63 lower-case letters",
        "r.yaml:6:27: merge[0].policy: found \"onion\", expected one of union, fallback, exclusive",
        "r.yaml:7:17: start_deadline: found the number 30, expected a duration such as `30s`",
        "r.yaml:8:1: htp: found the unknown field \"htp\", expected one of registries,",
        "r.yaml:9:29: log.format: found \"xml\", expected one of text, json",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{problem}\n{expected}");
    }
    for (problem, meant) in [(0, "name"), (4, "union")] {
        let hint = format!("did you mean {meant:?}?");
        assert!(problems[problem].ends_with(&hint), "{}", problems[problem]);
    }
}

#[cfg(feature = "file")]
#[test]
fn what_follows_from_a_fault_is_not_reported() {
    let text = "registries:\n  - { name: a, file: 5 }\n";
    assert_eq!(
        problems(text),
        ["r.yaml:2:22: registries[0].file: found the number 5, expected a mapping"]
    );
}

#[test]
fn yaml_errors_have_a_place() {
    for (text, start, expected) in [
        ("a: [1\n", "r.yaml:", "expected YAML"),
        (
            "registries: []\nregistries: []\n",
            "r.yaml:2:1: found ",
            "expected each key once",
        ),
        ("a: b: c\n", "r.yaml:1:", "expected YAML"),
    ] {
        let problems = problems(text);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(start), "{}", problems[0]);
        assert!(problems[0].contains(expected), "{}", problems[0]);
    }
}

#[test]
fn an_empty_file_is_no_configuration() {
    assert_eq!(problems("\n"), ["r.yaml:1:1: found nothing, expected a mapping"]);
    assert_eq!(
        problems("registries: []\n"),
        ["r.yaml:1:1: registries: found no registries, expected at least one registry"]
    );
}

#[cfg(feature = "file")]
#[test]
fn variables_stand_for_texts_and_numbers() {
    let text = "registries:\n  - { name: \"${NAME}\", port_number: \"${PORT:-80}\", file: { path: \"${NAME}.yaml\" } }\n";
    let lookup = |name: &str| (name == "NAME").then(|| "vms".to_owned());
    let config = parse_with(text, "r.yaml", Path::new("/base"), &lookup).unwrap();
    let registry = &config.registries[0];
    assert_eq!(registry.id().as_str(), "vms");
    assert_eq!(registry.port_number.map(std::num::NonZeroU16::get), Some(80));
    let file = registry.file.as_ref().unwrap();
    assert_eq!(file.path.as_deref(), Some(Path::new("/base/vms.yaml")));
}

#[cfg(all(feature = "file", feature = "consul"))]
#[test]
fn the_sample_is_fine_and_survives_being_shown() {
    let config = parse(crate::sample::CONFIGURATION, "sample", Path::new("")).unwrap();
    let yaml = serde_saphyr::to_string(&Shown::new(&config)).unwrap();
    assert_eq!(parse(&yaml, "shown", Path::new("")).unwrap(), config, "{yaml}");
}

#[test]
fn faults_of_any_size_and_number_are_told_briefly() {
    let long = "x\\n".repeat(50_000);
    let key = "y".repeat(100_000);
    let text = format!("? {key}\n: 1\nstart_deadline: \"{long}\"\n");
    let told = problems(&text);
    assert!(told.iter().any(|problem| problem.contains("unknown field")));
    for problem in &told {
        assert!(
            problem.chars().count() < 2000 && !problem.contains(char::is_control),
            "{problem}"
        );
    }
    for line in ["  - { name: a }\n", "  - { name: \"${X}\" }\n"] {
        let text = format!("registries:\n{}", line.repeat(2_000));
        assert_eq!(problems(&text).len(), MOST_PROBLEMS, "{line}");
    }
}

#[test]
fn a_text_that_is_nested_too_deep_is_no_configuration() {
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("&a [", "]"), ("- ", ""), ("? ", "")] {
        for depth in [20, 64, 5000] {
            let text = format!("{}1{}\n", open.repeat(depth), close.repeat(depth));
            let told = problems(&text);
            assert!(told.len() == 1 && told[0].ends_with("expected YAML"), "{told:?}");
        }
    }
}

#[cfg(feature = "mcs")]
#[test]
fn hostnames_of_exports_merge_as_a_clusterset_unless_a_rule_says_otherwise() {
    let rules = |text: &str| -> Vec<(String, PolicyName)> {
        let config = parse(text, "r.yaml", Path::new("")).unwrap();
        let rules = config.merge_rules().into_iter();
        rules.map(|(hosts, policy)| (hosts.to_string(), policy)).collect()
    };
    let rule = |hosts: &str, policy| (hosts.to_owned(), policy);
    let text = "registries:
  - { name: set, mcs: { clusters: [{ name: a }], domain: set.example } }
  - { name: other, hostname: \"{name}.{namespace}.Mesh\", mcs: { kubernetes: { directory: d } } }
  - { name: imports, hostname: \"{name}.imported\", mcs: { import: {} } }
merge: [{ hosts: \"db.*\", policy: fallback }]
";
    let found = rules(text);
    assert_eq!(
        found,
        [
            rule("db.*", PolicyName::Fallback),
            rule("*.*.svc.set.example", PolicyName::ClusterSet),
            rule("*.*.mesh", PolicyName::ClusterSet),
        ]
    );
    // What is imported was merged already, and is not merged with anything unless it is told to.
    let config = parse(text, "r.yaml", Path::new("")).unwrap();
    let hostnames = [0, 1, 2].map(|position| {
        let hostname = config.registries[position].options(position).hostname;
        hostname.map(|template| template.as_str().to_owned())
    });
    let hostnames = hostnames.each_ref().map(Option::as_deref);
    assert_eq!(
        hostnames,
        [
            Some("{name}.{namespace}.svc.set.example"),
            Some("{name}.{namespace}.Mesh"),
            Some("{name}.imported"),
        ]
    );
    let bare = "registries: [{ name: imports, mcs: { import: {} } }]\n";
    let bare = parse(bare, "r.yaml", Path::new("")).unwrap();
    assert_eq!(bare.registries[0].options(0).hostname, None);
    let yaml = serde_saphyr::to_string(&Shown::new(&config)).unwrap();
    assert_eq!(parse(&yaml, "shown", Path::new("")).unwrap(), config, "{yaml}");
}
