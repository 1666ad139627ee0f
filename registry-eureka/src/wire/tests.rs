//! What real servers sent, in both formats, and what breaks off, is no registry, or nothing at all.

mod json;
mod refused;
mod xml;

use super::*;

/// All that a document says.
#[derive(Debug, PartialEq, Eq)]
struct Registry<'a> {
    head: Head,
    applications: Vec<Application<'a>>,
}

/// Reads a document that must be readable.
fn read<'a>(body: &'a [u8], content_type: Option<&str>) -> Registry<'a> {
    let mut applications = Vec::new();
    let head = decode(body, content_type, |application| applications.push(application)).expect("readable");
    Registry { head, applications }
}

/// Why a document cannot be read.
fn refusal(body: &[u8], content_type: Option<&str>) -> String {
    match decode(body, content_type, |_| ()) {
        Ok(head) => panic!(
            "{:?}… was read: {head:?}",
            String::from_utf8_lossy(&body[..body.len().min(400)])
        ),
        Err(error) => error.to_string(),
    }
}

/// The only instance of the only application.
fn only(registry: Registry<'_>) -> Instance<'_> {
    let [application] = <[_; 1]>::try_from(registry.applications).expect("one application");
    assert_eq!(application.unread, Vec::<String>::new());
    let [instance] = <[_; 1]>::try_from(application.instances).expect("one instance");
    instance
}

/// The body of a captured answer, and its type.
fn captured(name: &str) -> (Vec<u8>, String) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    let answer = std::fs::read(&path).expect("a captured answer");
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("a head");
    let head = std::str::from_utf8(&answer[..end]).expect("text");
    let content_type = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Type: "))
        .expect("a type");
    (answer[end + 4..].to_vec(), content_type.to_owned())
}

/// A document in an order that does not depend on the server's maps.
fn sorted(mut registry: Registry<'_>) -> Registry<'_> {
    for application in &mut registry.applications {
        for instance in &mut application.instances {
            instance.metadata.sort();
            instance.data_center.sort();
        }
        application
            .instances
            .sort_by(|a, b| a.instance_id.cmp(&b.instance_id));
    }
    registry.applications.sort_by(|a, b| a.name.cmp(&b.name));
    registry
}

fn metadata(instance: &Instance<'_>) -> Vec<(String, String)> {
    let owned = |(key, value): &(Cow<'_, str>, Cow<'_, str>)| (key.to_string(), value.to_string());
    let mut metadata: Vec<_> = instance.metadata.iter().map(owned).collect();
    metadata.sort();
    metadata
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = expected
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    pairs.sort();
    pairs
}

#[test]
fn a_captured_registry_is_read_to_the_last_field() {
    let (body, content_type) = captured("apps-full.json.http");
    let registry = read(&body, Some(&content_type));
    assert_eq!(
        registry.head.hash.as_deref(),
        Some("OUT_OF_SERVICE_1_STARTING_1_UP_1_")
    );
    let names: Vec<&str> = registry
        .applications
        .iter()
        .map(|application| &*application.name)
        .collect();
    assert_eq!(names, ["PAYMENTS", "ORDERS"]);
    let amazon = &registry.applications[0].instances[0];
    assert_eq!(amazon.status, Status::Starting);
    assert_eq!(
        amazon.port,
        Port {
            number: Some(7001),
            enabled: false
        }
    );
    assert_eq!(
        amazon.secure_port,
        Port {
            number: Some(7443),
            enabled: true
        }
    );
    assert_eq!(amazon.metadata, []);
    let zone = amazon
        .data_center
        .iter()
        .find(|(key, _)| key == "availability-zone");
    assert_eq!(zone.map(|(_, value)| &**value), Some("us-east-1c"));
    assert_eq!(amazon.asg_name.as_deref(), Some("payments-v7"));
    let order = &registry.applications[1].instances[1];
    assert_eq!(
        *order,
        Instance {
            instance_id: Some("host2:orders:8080".into()),
            app: Some("ORDERS".into()),
            host_name: Some("host2.example".into()),
            ip_addr: Some("10.0.0.2".into()),
            status: Status::OutOfService,
            overridden: Status::OutOfService,
            port: Port {
                number: Some(8080),
                enabled: true
            },
            secure_port: Port {
                number: Some(8443),
                enabled: false
            },
            vip_address: Some("orders,orders-alt".into()),
            secure_vip_address: Some("orders-s".into()),
            data_center: vec![],
            metadata: order.metadata.clone(),
            asg_name: None,
            app_group_name: None,
            last_updated: Some(1_795_215_316_589),
            last_dirty: Some(1_700_000_000_000),
            action: Action::Modified,
        }
    );
    assert_eq!(
        metadata(order),
        pairs(&[
            ("zone", "zone1"),
            ("weight", "3"),
            ("management.port", "8081"),
            ("version", "v1")
        ])
    );
}

#[test]
fn a_delta_tells_what_happened_to_each_instance() {
    let (body, content_type) = captured("apps-delta.json.http");
    let registry = read(&body, Some(&content_type));
    let actions: Vec<Action> = registry
        .applications
        .iter()
        .flat_map(|application| &application.instances)
        .map(|instance| instance.action)
        .collect();
    assert_eq!(
        actions,
        [Action::Added, Action::Modified, Action::Deleted, Action::Added]
    );
}

#[test]
fn json_and_xml_of_one_registry_say_the_same() {
    for (json, xml) in [
        ("apps-full.json.http", "apps-full.xml.http"),
        ("apps-delta.json.http", "apps-delta.xml.http"),
        ("apps-compact.json.http", "apps-compact.xml.http"),
        (
            "netflix-war-apps-full.json.http",
            "netflix-war-apps-no-accept-encoding.http",
        ),
        ("netflix-war-odd.json.http", "netflix-war-odd.xml.http"),
    ] {
        let ((json, json_type), (xml, xml_type)) = (captured(json), captured(xml));
        let (json, xml) = (read(&json, Some(&json_type)), read(&xml, Some(&xml_type)));
        assert!(
            json.applications
                .iter()
                .all(|application| application.unread.is_empty())
        );
        assert!(!json.applications.is_empty());
        assert_eq!(sorted(json), sorted(xml));
    }
}

#[test]
fn the_compact_form_says_the_same_but_for_what_it_leaves_out() {
    let ((full, _), (compact, _)) = (
        captured("apps-full.json.http"),
        captured("apps-compact.json.http"),
    );
    let (mut full, compact) = (sorted(read(&full, None)), sorted(read(&compact, None)));
    for (full, compact) in full.applications.iter_mut().zip(&compact.applications) {
        for (full, compact) in full.instances.iter_mut().zip(&compact.instances) {
            full.metadata.clear();
            full.overridden = Status::Unknown;
            full.last_dirty = None;
            full.data_center
                .retain(|entry| compact.data_center.iter().any(|kept| kept == entry));
        }
    }
    assert_eq!(full, compact);
}

#[test]
fn what_only_metadata_can_hold_survives_both_formats() {
    let expected = pairs(&[
        ("esc", "<&>\"' ]]> x"),
        ("_.0020x", "8"),
        ("my_key", "1"),
        ("a__b", "2"),
        ("x:y", "10"),
        ("empty", ""),
        ("1abc", "6"),
        ("ü", "7"),
        ("a$b", "3"),
        ("boo", "true"),
        ("blank", "  "),
        ("num", "5"),
        ("nul", "null"),
        ("ctl", "x\u{1}y\0z"),
        ("a b", "4"),
        ("a_-b", "9"),
        ("emoji", "😀"),
        ("lines", " a\nb\r\nc\td "),
        ("prometheus.io/scrape", "5"),
    ]);
    for name in ["netflix-war-odd.json.http", "netflix-war-odd.xml.http"] {
        let (body, content_type) = captured(name);
        let registry = read(&body, Some(&content_type));
        let [odd, bare] = &registry.applications[0].instances[..] else {
            panic!("two instances");
        };
        assert_eq!(metadata(odd), expected, "{name}");
        assert_eq!(odd.instance_id.as_deref(), Some("odd <1> & \"q\" é ☃"));
        assert_eq!(odd.vip_address.as_deref(), Some("a&b,c<d"));
        assert_eq!(odd.app_group_name.as_deref(), Some("GRP"));
        // No id, no VIP, and a status that the server did not know.
        assert_eq!((&bare.instance_id, &bare.vip_address), (&None, &None));
        assert_eq!(bare.host_name.as_deref(), Some("noid.example"));
        assert_eq!(bare.status, Status::Unknown);
    }
}

#[test]
fn nothing_is_copied_where_nothing_is_escaped() {
    for name in ["apps-full.json.http", "apps-full.xml.http"] {
        let (body, _) = captured(name);
        for application in read(&body, None).applications {
            assert!(matches!(application.name, Cow::Borrowed(_)));
            for instance in application.instances {
                for text in [&instance.instance_id, &instance.host_name, &instance.vip_address] {
                    assert!(matches!(text, Some(Cow::Borrowed(_))), "{text:?}");
                }
                for (key, value) in instance.metadata.iter().chain(&instance.data_center) {
                    assert!(matches!((key, value), (Cow::Borrowed(_), Cow::Borrowed(_))));
                }
            }
        }
    }
}

#[test]
fn an_empty_registry_is_one() {
    for body in [
        r#"{"applications":{"versions__delta":"1","apps__hashcode":"","application":[]}}"#,
        r#"{"applications":{"versions__delta":"1","apps__hashcode":""}}"#,
        r#"{"applications":{"apps__hashcode":"","application":null}}"#,
        "<applications><versions__delta>1</versions__delta><apps__hashcode></apps__hashcode></applications>",
        "<applications>\n  <apps__hashcode/>\n</applications>\n",
    ] {
        let registry = read(body.as_bytes(), None);
        assert_eq!(registry.head.hash.as_deref(), Some(""), "{body}");
        assert_eq!(registry.applications, []);
    }
    for body in [r#"{"applications":{}}"#, "<applications/>"] {
        assert_eq!(read(body.as_bytes(), None).head.hash, None);
    }
}

#[test]
fn each_application_is_handed_over_as_soon_as_it_is_read() {
    let json = r#"{"applications":{"application":[{"name":"A","instance":[{}]},{"name":"B","instance":["#;
    let xml = "<applications><application><name>A</name><instance/></application><application><name>B</name>";
    for body in [json, xml] {
        let mut names = Vec::new();
        let result = decode(body.as_bytes(), None, |application| names.push(application.name));
        assert!(result.is_err());
        assert_eq!(names, ["A"]);
    }
}
