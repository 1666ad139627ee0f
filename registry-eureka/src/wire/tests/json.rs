//! What JSON may look like.

use super::*;

/// A registry of one instance with those fields.
fn document(fields: &str) -> String {
    format!(r#"{{"applications":{{"application":[{{"name":"A","instance":[{{{fields}}}]}}]}}}}"#)
}

/// Reads one instance with those fields, and looks at it.
fn instance<T>(fields: &str, look: impl FnOnce(&Instance<'_>) -> T) -> T {
    let document = document(fields);
    look(&only(read(document.as_bytes(), Some("application/json"))))
}

fn port(number: i64, enabled: bool) -> Port {
    Port {
        number: Some(number),
        enabled,
    }
}

#[test]
fn older_shapes_are_the_same_instances_as_the_modern_ones() {
    let (body, _) = captured("apps-full.json.http");
    let modern = read(&body, None);
    let text = std::str::from_utf8(&body).expect("text");
    // Lists of one without brackets, ports as strings, the override in lower case, timestamps as numbers.
    let start = text.find(r#"{"name":"PAYMENTS""#).expect("the first application");
    let end = text
        .find(r#"]},{"name":"ORDERS""#)
        .expect("the second application");
    let payments = text[start..end].replace(r#""instance":["#, r#""instance":"#);
    let rest = &text[end + 3..];
    let old = format!("{}{payments}}},{rest}", &text[..start])
        .replace(r#"{"$":7001,"#, r#"{"$":"7001","#)
        .replace(
            r#"{"$":8080,"@enabled":"true"}"#,
            r#"{"@enabled":true,"$":" 8080"}"#,
        )
        .replace("overriddenStatus", "overriddenstatus")
        .replace(
            r#""lastUpdatedTimestamp":"1795215316511""#,
            r#""lastUpdatedTimestamp":1795215316511"#,
        );
    assert_ne!(old, text);
    assert_eq!(read(old.as_bytes(), None), modern);
    // And an application alone.
    let alone = format!(r#"{{"applications":{{"application":{payments}}},"apps__hashcode":"X"}}}}"#);
    assert_eq!(
        read(alone.as_bytes(), None).applications[..],
        modern.applications[..1]
    );
}

#[test]
fn lists_may_be_objects_null_or_missing() {
    for (application, applications, instances) in [
        (r#"{"name":"A","instance":{}}"#, 1, 1),
        (r#"{"name":"A","instance":[{}]}"#, 1, 1),
        (r#"{"name":"A","instance":null}"#, 1, 0),
        (r#"{"name":"A","instance":""}"#, 1, 0),
        (r#"{"name":"A","instance":[]}"#, 1, 0),
        (r#"{"name":"A"}"#, 1, 0),
        (r#"[{"name":"A","instance":[{},{}]}]"#, 1, 2),
        (r#"[{"name":"A"},{"name":"B"}]"#, 2, 0),
        ("null", 0, 0),
        ("\"\"", 0, 0),
        ("[]", 0, 0),
    ] {
        let body = format!(r#"{{"applications":{{"application":{application}}}}}"#);
        let registry = read(body.as_bytes(), None);
        assert_eq!(registry.applications.len(), applications, "{body}");
        let found: usize = registry
            .applications
            .iter()
            .map(|found| found.instances.len())
            .sum();
        assert_eq!(found, instances, "{body}");
        assert!(registry.applications.iter().all(|found| found.unread.is_empty()));
    }
}

#[test]
fn what_is_no_instance_is_told_and_the_others_are_read() {
    let body = r#"{"applications":{"application":[7,{"name":"A","instance":[{"app":"A"},null,"x",[{}],1e3,true,{}]},
                   {"name":"B","instance":5}]}}"#;
    let registry = read(body.as_bytes(), None);
    let unread: Vec<&[String]> = registry
        .applications
        .iter()
        .map(|found| &found.unread[..])
        .collect();
    assert_eq!(
        unread[0],
        ["in the place of an application: a number, expected an object"]
    );
    assert_eq!(
        unread[1],
        [
            "instance 1: null, expected an object",
            "instance 2: a string, expected an object",
            "instance 3: an array, expected an object",
            "instance 4: a number, expected an object",
            "instance 5: a boolean, expected an object",
        ]
    );
    assert_eq!(registry.applications[1].instances.len(), 2);
    assert_eq!(unread[2], ["instance 0: a number, expected an object"]);
}

#[test]
fn the_name_may_come_last_or_only_from_an_instance() {
    for (application, name) in [
        (r#"{"instance":[{"app":"B"}],"name":"A"}"#, "A"),
        (r#"{"instance":[{},{"app":"B"},{"app":"C"}]}"#, "B"),
        (r#"{"instance":{"app":"B"},"name":null}"#, "B"),
        (r#"{"instance":{"app":"B"},"name":["A"]}"#, "B"),
        (r#"{"instance":{"app":"B"},"name":" "}"#, "B"),
        (r#"{"instance":{}}"#, ""),
    ] {
        let body = format!(r#"{{"applications":{{"application":{application}}}}}"#);
        let registry = read(body.as_bytes(), None);
        assert_eq!(registry.applications[0].name, name, "{body}");
    }
}

#[test]
fn ports_are_read_in_every_shape() {
    for (shape, plain, secure) in [
        (
            r#"{"$":8080,"@enabled":"true"}"#,
            port(8080, true),
            port(8080, true),
        ),
        (
            r#"{"@enabled":false,"$":"8080"}"#,
            port(8080, false),
            port(8080, false),
        ),
        (
            r#"{"$":"8080","enabled":" True "}"#,
            port(8080, true),
            port(8080, true),
        ),
        (
            r#"{"value":8080,"enabled":true,"more":{"x":[1]}}"#,
            port(8080, true),
            port(8080, true),
        ),
        // Nothing says whether it is enabled.
        (r#"{"$":8080}"#, port(8080, true), port(8080, false)),
        (
            r#"{"$":8080,"@enabled":"maybe"}"#,
            port(8080, true),
            port(8080, false),
        ),
        ("8080", port(8080, true), port(8080, false)),
        (r#""8080""#, port(8080, true), port(8080, false)),
        (r#"{"$":-1,"@enabled":"true"}"#, port(-1, true), port(-1, true)),
        ("0", port(0, true), port(0, false)),
    ] {
        let fields = format!(r#""port":{shape},"securePort":{shape}"#);
        let found = instance(&fields, |instance| (instance.port, instance.secure_port));
        assert_eq!(found, (plain, secure), "{shape}");
    }
    for shape in [
        "null",
        "[8080]",
        "true",
        "80.5",
        "18446744073709551615",
        "\"http\"",
        "{}",
        r#"{"$":{}}"#,
    ] {
        let fields = format!(r#""port":{shape},"securePort":{shape}"#);
        let found = instance(&fields, |instance| (instance.port, instance.secure_port));
        assert_eq!(found, (Port::default(), Port::default()), "{shape}");
    }
}

#[test]
fn only_the_exact_words_are_statuses() {
    for status in Status::ALL {
        let word = status.as_str();
        let fields = format!(r#""status":"{word}","overriddenStatus":" {word}\n""#);
        assert_eq!(
            instance(&fields, |instance| (instance.status, instance.overridden)),
            (status, status)
        );
    }
    for word in [
        "\"up\"",
        "\"BOGUS\"",
        "\"\"",
        "null",
        "5",
        "{}",
        "[\"UP\"]",
        "\"UP!\"",
    ] {
        let fields = format!(r#""status":{word}"#);
        assert_eq!(
            instance(&fields, |instance| instance.status),
            Status::Unknown,
            "{word}"
        );
    }
    for name in ["overriddenStatus", "overriddenstatus", "overridden_status"] {
        let fields = format!(r#""{name}":"DOWN""#);
        assert_eq!(instance(&fields, |instance| instance.overridden), Status::Down);
    }
}

#[test]
fn timestamps_may_be_numbers_or_strings() {
    for (shape, time) in [
        ("1795215316589", Some(1_795_215_316_589)),
        ("\"1795215316589\"", Some(1_795_215_316_589)),
        ("0", Some(0)),
        ("-1", None),
        ("1.5", None),
        ("1e999", None),
        ("\"now\"", None),
        ("null", None),
        ("{\"a\":[]}", None),
    ] {
        let fields = format!(r#""lastUpdatedTimestamp":{shape},"lastDirtyTimestamp":{shape}"#);
        let found = instance(&fields, |instance| (instance.last_updated, instance.last_dirty));
        assert_eq!(found, (time, time), "{shape}");
    }
}

#[test]
fn actions_are_words() {
    for (shape, action) in [
        ("\"ADDED\"", Action::Added),
        ("\"MODIFIED\"", Action::Modified),
        ("\"DELETED\"", Action::Deleted),
        ("\"deleted\"", Action::Added),
        ("null", Action::Added),
        ("{}", Action::Added),
    ] {
        let fields = format!(r#""actionType":{shape}"#);
        assert_eq!(instance(&fields, |instance| instance.action), action, "{shape}");
    }
}

#[test]
fn a_text_that_is_none_is_absent_and_scalars_are_texts() {
    for (shape, text) in [
        ("\"a\"", Some("a")),
        ("\" a \"", Some(" a ")),
        (r#""a\u00e9\n\"""#, Some("aé\n\"")),
        ("5", Some("5")),
        ("1.50", Some("1.50")),
        ("1e999", Some("1e999")),
        ("true", Some("true")),
        ("\"\"", None),
        ("\" \"", None),
        ("null", None),
        ("[\"a\"]", None),
        ("{\"a\":\"b\"}", None),
        // Half of a surrogate pair is no text.
        (r#""a\ud800""#, None),
    ] {
        let names = [
            "instanceId",
            "app",
            "hostName",
            "ipAddr",
            "vipAddress",
            "secureVipAddress",
            "asgName",
            "appGroupName",
        ];
        let fields: Vec<String> = names.iter().map(|name| format!(r#""{name}":{shape}"#)).collect();
        instance(&fields.join(","), |instance| {
            for found in [
                &instance.instance_id,
                &instance.app,
                &instance.host_name,
                &instance.ip_addr,
                &instance.vip_address,
                &instance.secure_vip_address,
                &instance.asg_name,
                &instance.app_group_name,
            ] {
                assert_eq!(found.as_deref(), text, "{shape}");
            }
        });
    }
}

#[test]
fn metadata_are_texts_by_their_keys() {
    for (shape, expected) in [
        (r#"{"@class":"java.util.Collections$EmptyMap"}"#, &[][..]),
        (r#"{"@class":"x","zone":"a"}"#, &[("zone", "a")]),
        (
            r#"{"a":5,"b":1.50,"c":true,"d":null,"e":"","f":" "}"#,
            &[("a", "5"), ("b", "1.50"), ("c", "true"), ("e", ""), ("f", " ")],
        ),
        (
            r#"{"a":{"b": [1]},"c":[ ]}"#,
            &[("a", "{\"b\": [1]}"), ("c", "[ ]")],
        ),
        (r#"{"\u0061\"":"\\"}"#, &[("a\"", "\\")]),
        ("null", &[]),
        ("\"zone\"", &[]),
        ("[{\"zone\":\"a\"}]", &[]),
        ("5", &[]),
        ("true", &[]),
    ] {
        let fields = format!(r#""metadata":{shape},"app":"A""#);
        instance(&fields, |instance| {
            assert_eq!(metadata(instance), pairs(expected), "{shape}");
            assert_eq!(instance.app.as_deref(), Some("A"));
        });
    }
}

#[test]
fn metadata_of_a_data_centre_are_read_where_there_are_any() {
    for (shape, expected) in [
        (
            r#"{"name":"Amazon","metadata":{"instance-id":"i-1","@class":"x"}}"#,
            &[("instance-id", "i-1")][..],
        ),
        (r#"{"@class":"x","name":"MyOwn"}"#, &[]),
        (r#"{"name":"Amazon","metadata":null}"#, &[]),
        (r#"{"name":"Amazon","metadata":["i-1"]}"#, &[]),
        ("null", &[]),
        ("\"Amazon\"", &[]),
    ] {
        let fields = format!(r#""dataCenterInfo":{shape}"#);
        instance(&fields, |instance| {
            let found: Vec<(&str, &str)> = instance
                .data_center
                .iter()
                .map(|(key, value)| (&**key, &**value))
                .collect();
            assert_eq!(found, expected, "{shape}");
        });
    }
}

#[test]
fn of_what_is_told_twice_the_last_word_counts_and_no_instance_is_lost() {
    instance(
        r#""status":"UP","status":"DOWN","app":"A","app":null,"metadata":{"x":"1"},"metadata":{"a":"1","b":"2","a":"3"}"#,
        |instance| {
            assert_eq!((instance.status, &instance.app), (Status::Down, &None));
            assert_eq!(metadata(instance), pairs(&[("a", "3"), ("b", "2")]));
        },
    );
    let many: Vec<String> = (0..100).map(|i| format!(r#""k{}":"{i}""#, i % 50)).collect();
    instance(&format!(r#""metadata":{{{}}}"#, many.join(",")), |instance| {
        assert_eq!(instance.metadata.len(), 50);
        for (key, value) in &instance.metadata {
            let last: usize = value.parse().expect("a number");
            assert_eq!(*key, format!("k{}", last - 50));
        }
    });
    let body = r#"{"applications":{"apps__hashcode":"A","apps__hashcode":"B","application":{"name":"A"},
                   "application":[{"name":"B","instance":{},"instance":[{}]}]},
                   "applications":{"application":{"name":"C"}}}"#;
    let registry = read(body.as_bytes(), None);
    assert_eq!(registry.head.hash.as_deref(), Some("B"));
    let found: Vec<(&str, usize)> = registry
        .applications
        .iter()
        .map(|application| (&*application.name, application.instances.len()))
        .collect();
    assert_eq!(found, [("A", 0), ("B", 2), ("C", 0)]);
}

#[test]
fn what_nobody_needs_is_passed_over_at_any_depth() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = document(&format!(
        r#""leaseInfo":{deep},"app":"A","metadata":{{"x":{deep}}},"x":{deep}"#
    ));
    let instance = only(read(body.as_bytes(), None));
    assert_eq!(instance.app.as_deref(), Some("A"));
    assert_eq!(instance.metadata[0].1.len(), 200_000);
}

#[test]
fn the_hash_may_be_named_without_the_escape_and_be_no_string() {
    for (shape, hash) in [
        (r#""apps_hashcode":"UP_1_""#, Some("UP_1_")),
        (r#""apps__hashcode":" UP_1_ ""#, Some("UP_1_")),
        (r#""apps__hashcode":null"#, None),
        (r#""apps__hashcode":{}"#, None),
    ] {
        let body = format!(r#"{{"x":1,"applications":{{{shape}}}}}"#);
        assert_eq!(read(body.as_bytes(), None).head.hash.as_deref(), hash, "{shape}");
    }
}

#[test]
fn a_document_of_nothing_but_junk_is_refused() {
    let instances = |count: usize| {
        let junk = vec!["1"; count].join(",");
        format!(r#"{{"applications":{{"application":{{"instance":[{junk}]}}}}}}"#)
    };
    assert_eq!(
        read(instances(64).as_bytes(), None).applications[0].unread.len(),
        64
    );
    assert!(refusal(instances(65).as_bytes(), None).contains("more than 64 unreadable instances: a number"));
    let applications = |count: usize| {
        let junk = vec!["1"; count].join(",");
        format!(r#"{{"applications":{{"application":[{junk}]}}}}"#)
    };
    assert_eq!(read(applications(64).as_bytes(), None).applications.len(), 64);
    assert!(refusal(applications(65).as_bytes(), None).contains("more than 64 applications that are none"));
}
