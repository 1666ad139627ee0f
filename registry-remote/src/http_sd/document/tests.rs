use super::*;

/// The targets and the labels of a group.
type Said = (Vec<String>, Vec<(String, String)>);

fn groups(text: &str, format: Format) -> Result<Vec<Said>, String> {
    let mut groups = Vec::new();
    read(text.as_bytes(), format, &mut |raw| {
        let targets = raw.targets.iter().map(ToString::to_string).collect();
        let pairs = raw.labels.into_iter();
        let labels = pairs
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect();
        groups.push((targets, labels));
        Ok(())
    })?;
    Ok(groups)
}

fn refusal(text: &str, format: Format) -> String {
    groups(text, format).expect_err(text)
}

#[test]
fn the_same_document_reads_the_same_in_both_formats() {
    let json = r#"[
        {"targets": ["10.0.0.7:9100", "[2001:db8::7]:9100"], "labels": {"job": "node", "rack": "12"}},
        {"labels": {"job": "b\u00e4r"}, "targets": ["db.example.com"]},
        {"targets": null, "labels": null},
        {}
    ]"#;
    let yaml = "- targets: ['10.0.0.7:9100', '[2001:db8::7]:9100']\n  labels: { job: node, rack: 12 }\n\
                - labels:\n    job: \"b\\u00e4r\"\n  targets:\n  - db.example.com\n\
                - targets:\n  labels: ~\n- {}\n";
    let read = groups(json, Format::Json).unwrap();
    assert_eq!(read, groups(yaml, Format::Yaml).unwrap());
    assert_eq!(read[0].0, ["10.0.0.7:9100", "[2001:db8::7]:9100"]);
    assert_eq!(read[1].1, [("job".to_owned(), "bär".to_owned())]);
    assert_eq!(read[3], (Vec::new(), Vec::new()));
    for nothing in [("[]", Format::Json), ("[]", Format::Yaml)] {
        assert!(groups(nothing.0, nothing.1).unwrap().is_empty());
    }
}

#[test]
fn what_is_wrong_is_told_with_its_path() {
    for (text, expected) in [
        ("", "EOF"),
        ("null", "expected a list of groups"),
        ("{}", "found map, expected a list of groups"),
        ("<html>", "expected value at line 1"),
        (r#"[{"targets": ["a:1"]}"#, "EOF"),
        (r#"[] []"#, "trailing characters"),
        ("[{}, 5]", "[1]: found integer `5`, expected a group"),
        ("[null]", "[0]: found null, expected a group"),
        (
            r#"[{"targets": ["a:1"]}, {"Targets": []}]"#,
            "[1]: found the key \"Targets\", expected",
        ),
        (
            r#"[{"targets": [], "targets": []}]"#,
            "[0]: found the key \"targets\" a second time",
        ),
        (
            r#"[{"targets": "a:1"}]"#,
            "[0].targets: found string \"a:1\", expected a list",
        ),
        (
            r#"[{"targets": ["a:1", 9100]}]"#,
            "[0].targets[1]: found integer `9100`, expected a text such as",
        ),
        (r#"[{"targets": ["a:1", null]}]"#, "[0].targets[1]: found null"),
        (
            r#"[{}, {"targets": ["a:1", "b:2", "c:x"]}]"#,
            "[1].targets[2]: found \"c:x\", expected a port",
        ),
        (
            r#"[{"labels": ["job"]}]"#,
            "[0].labels: found sequence, expected labels",
        ),
        (
            r#"[{"labels": {"rack": 12}}]"#,
            "[0].labels.rack: found integer `12`, expected a text",
        ),
        (
            r#"[{"labels": {"": "x"}}]"#,
            "[0].labels: found a label without a name",
        ),
    ] {
        let refusal = refusal(text, Format::Json);
        assert!(refusal.contains(expected), "{text}: {refusal}");
        assert!(refusal.contains("at line 1 column"), "{text}: {refusal}");
    }
}

#[test]
fn what_is_wrong_in_yaml_is_told_with_its_path_as_well() {
    for (text, expected) in [
        ("", "unexpected end"),
        ("# nothing but words\n", "unexpected end"),
        ("~", "a list of groups"),
        ("- ", "[0]: "),
        ("targets: []", "a list of groups"),
        (
            "- targets: [a:1, 'b:2:3']",
            "[0].targets[1]: found \"b:2:3\", expected an IPv6 address in brackets",
        ),
        ("- labels: { rack: [12] }", "[0].labels.rack: "),
        ("- labels: { rack: 1, rack: 2 }", "[0].labels"),
        ("- target: [a:1]", "[0]: found the key \"target\""),
        ("- targets: [a:1\n", "[0].targets"),
        ("- targets: []\n---\n- targets: [b:1]\n", "document"),
    ] {
        let refusal = refusal(text, Format::Yaml);
        assert!(refusal.contains(expected), "{text}: {refusal}");
    }
    let latin = read(b"- labels: { a: \xe4 }", Format::Yaml, &mut |_| Ok(()));
    assert_eq!(latin.unwrap_err(), "found no text after 15 bytes, expected UTF-8");
}

#[test]
fn what_the_sink_says_has_a_place_too() {
    let text = r#"[{}, {"targets": ["a:1"]}]"#;
    let mut count = 0;
    let refusal = read(text.as_bytes(), Format::Json, &mut |_| {
        count += 1;
        if count == 2 {
            Err("found no service".to_owned())
        } else {
            Ok(())
        }
    });
    let refusal = refusal.unwrap_err();
    assert!(
        refusal.starts_with("[1]: found no service at line 1"),
        "{refusal}"
    );
}

#[test]
fn a_document_of_few_bytes_cannot_become_many() {
    let many = r#"[{"targets": ["a", "b"]}, {"targets": ["a", "a"]}]"#;
    for (most, refused) in [(4, false), (3, true), (1, true)] {
        let read = read_at_most(most, many.as_bytes(), Format::Json, &mut |_| Ok(()));
        assert_eq!(read.is_err(), refused);
    }
    let refusal = read_at_most(3, many.as_bytes(), Format::Json, &mut |_| Ok(())).unwrap_err();
    assert!(
        refusal.starts_with("[1].targets[1]: found one target more"),
        "{refusal}"
    );
    let refusal = read_at_most(3, b"[{}, {}, {}, {}]", Format::Json, &mut |_| Ok(())).unwrap_err();
    assert!(refusal.starts_with("[3]: found one group more"), "{refusal}");
    let alias = format!("- labels: {{ a: &a {} }}\n", "x".repeat(100_000));
    let bomb = alias + &"- labels: { a: *a }\n".repeat(1_000);
    assert!(groups(&bomb, Format::Yaml).is_err());
}

#[test]
fn a_message_is_short_whatever_is_quoted() {
    let long = "x".repeat(1_000_000);
    for text in [
        format!("[{{\"{long}\": 1}}]"),
        format!("[{{\"targets\": \"{long}\"}}]"),
        format!("[{{\"labels\": {{\"{long}\": 1}}}}]"),
    ] {
        assert!(refusal(&text, Format::Json).chars().count() <= SHOWN + 1);
    }
}

#[test]
fn the_format_is_told_by_names_and_types() {
    for (name, format) in [
        ("a.json", Some(Format::Json)),
        ("a.JSON", Some(Format::Json)),
        ("a.yml", Some(Format::Yaml)),
        ("*.YAML", Some(Format::Yaml)),
        ("json", None),
        ("a.txt", None),
    ] {
        assert_eq!(Format::of_file(Path::new(name)), format, "{name}");
    }
    for (text, format) in [
        ("application/json", Some(Format::Json)),
        ("Application/JSON; charset=\"utf-8\"", Some(Format::Json)),
        ("application/yaml", Some(Format::Yaml)),
        ("text/plain", None),
        ("application/json-seq", None),
        ("", None),
    ] {
        assert_eq!(Format::of_type(text), format, "{text}");
    }
}
