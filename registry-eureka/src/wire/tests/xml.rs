//! What XML may look like.

use super::*;

/// A registry of one instance with those elements.
fn document(elements: &str) -> String {
    format!(
        "<applications><application><name>A</name><instance>{elements}</instance></application></applications>"
    )
}

/// Reads one instance with those elements, and looks at it.
fn instance<T>(elements: &str, look: impl FnOnce(&Instance<'_>) -> T) -> T {
    let document = document(elements);
    look(&only(read(document.as_bytes(), Some("application/xml"))))
}

#[test]
fn references_sections_and_comments_are_part_of_a_text() {
    for (text, expected) in [
        ("a", "a"),
        (" a ", " a "),
        ("a&amp;b&lt;c&gt;d&quot;e&apos;f", "a&b<c>d\"e'f"),
        ("&#65;&#x42;&#X43;", "ABC"),
        ("&#xd;\r\nb\rc", "\r\nb\nc"),
        ("x&#0;&#x1;", "x\0\u{1}"),
        ("&#xd800;&#x110000;", "\u{fffd}\u{fffd}"),
        ("<![CDATA[<a>&amp;]]>b", "<a>&amp;b"),
        ("a<!-- no -->b<?no no?>c", "abc"),
        // What nothing declares, and what is no reference at all, is taken as it stands.
        ("&nbsp;a & b &#z;", "&nbsp;a & b &#z;"),
    ] {
        let elements = format!("<hostName>{text}</hostName><metadata><k>{text}</k></metadata>");
        instance(&elements, |instance| {
            assert_eq!(instance.host_name.as_deref(), Some(expected));
            assert_eq!(metadata(instance), pairs(&[("k", expected)]));
        });
    }
}

#[test]
fn entities_that_a_document_declares_are_not_expanded() {
    let body = format!(
        "<!DOCTYPE applications [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\"> <!ENTITY f SYSTEM \"file:///etc/passwd\">]>{}",
        document("<hostName>&b;&f;</hostName>")
    );
    let instance = only(read(body.as_bytes(), None));
    assert_eq!(instance.host_name.as_deref(), Some("&b;&f;"));
}

#[test]
fn namespaces_and_attributes_are_ignored() {
    let body = "<?xml version=\"1.0\"?>\n<e:applications xmlns:e=\"urn:x\" e:a='>'><e:application><e:name>A</e:name>\
                <e:instance id=\"1\"><e:app>A</e:app><e:port e:enabled='false' >80</e:port ></e:instance></e:application>\
                </e:applications>";
    let instance = only(read(body.as_bytes(), None));
    assert_eq!(instance.app.as_deref(), Some("A"));
    assert_eq!(
        instance.port,
        Port {
            number: Some(80),
            enabled: false
        }
    );
}

#[test]
fn ports_are_enabled_by_their_attribute() {
    for (attributes, plain, secure) in [
        (" enabled=\"true\"", true, true),
        (" enabled=\"false\"", false, false),
        (" x='1' enabled = ' TRUE '", true, true),
        (" enabled", true, false),
        ("", true, false),
    ] {
        let elements = format!("<port{attributes}> 80\n</port><securePort{attributes}>443</securePort>");
        instance(&elements, |instance| {
            assert_eq!(
                (instance.port.number, instance.secure_port.number),
                (Some(80), Some(443))
            );
            assert_eq!(
                (instance.port.enabled, instance.secure_port.enabled),
                (plain, secure),
                "{attributes}"
            );
        });
    }
    for port in [
        "<port/>",
        "<port>http</port>",
        "<port enabled=''><x>80</x></port>",
    ] {
        assert_eq!(
            instance(port, |instance| instance.port),
            Port::default(),
            "{port}"
        );
    }
}

#[test]
fn a_field_with_elements_in_it_is_absent() {
    instance(
        "<app><x>A</x></app><hostName>h<x/></hostName><status><x>UP</x></status><vipAddress/><ipAddr> </ipAddr>\
         <metadata>text<a>1</a><b><c>2</c></b><d/></metadata><dataCenterInfo>Amazon</dataCenterInfo><asgName>g</asgName>",
        |instance| {
            let absent = [
                &instance.app,
                &instance.host_name,
                &instance.vip_address,
                &instance.ip_addr,
            ];
            assert_eq!(absent, [&None; 4]);
            assert_eq!(instance.status, Status::Unknown);
            assert_eq!(metadata(instance), pairs(&[("a", "1"), ("d", "")]));
            assert_eq!(instance.data_center, []);
            assert_eq!(instance.asg_name.as_deref(), Some("g"));
        },
    );
}

#[test]
fn of_what_is_told_twice_the_last_word_counts() {
    instance(
        "<status>UP</status><status>DOWN</status><app>A</app><app/><metadata><x>1</x></metadata>\
         <metadata><a>1</a><b>2</b><a>3</a></metadata>",
        |instance| {
            assert_eq!((instance.status, &instance.app), (Status::Down, &None));
            assert_eq!(metadata(instance), pairs(&[("a", "3"), ("b", "2")]));
        },
    );
}

#[test]
fn a_key_may_be_named_like_anything() {
    instance(
        "<metadata><instance>1</instance><applications>2</applications><metadata>3</metadata><a b=\"c\">4</a>\
         <a b='d'>5</a b='d'><_.0040class>x</_.0040class></metadata><app>A</app>",
        |instance| {
            assert_eq!(
                metadata(instance),
                pairs(&[
                    ("instance", "1"),
                    ("applications", "2"),
                    ("metadata", "3"),
                    ("a", "4"),
                    ("a b='d'", "5")
                ])
            );
            assert_eq!(instance.app.as_deref(), Some("A"));
        },
    );
}

#[test]
fn an_instance_that_is_not_well_formed_is_told_and_the_others_are_read() {
    for key in ["a/", "a\"", "/a", "!", "?", "a>b<c"] {
        let body = format!(
            "<applications>\n<application>\n<name>A</name><instance><app>A</app></instance>\n<instance><metadata>\
             <{key}>1</{key}></metadata><app>A</app></instance><instance><hostName>h</hostName></instance>\
             </application>\n<application><name>B</name><instance/></application></applications>"
        );
        let registry = read(body.as_bytes(), None);
        let [a, b] = &registry.applications[..] else {
            panic!("two applications: {registry:?}");
        };
        assert_eq!((a.instances.len(), b.instances.len()), (2, 1), "{key}");
        assert_eq!(a.instances[1].host_name.as_deref(), Some("h"));
        let [problem] = &a.unread[..] else {
            panic!("one problem: {:?}", a.unread);
        };
        assert!(problem.starts_with("instance 1: line 4, column "), "{problem}");
    }
}

#[test]
fn a_document_of_nothing_but_broken_instances_is_refused() {
    let broken = "<instance><a></b></instance>";
    let document = |count: usize| {
        format!(
            "<applications><application><name>A</name>{}</application></applications>",
            broken.repeat(count)
        )
    };
    assert_eq!(
        read(document(64).as_bytes(), None).applications[0].unread.len(),
        64
    );
    assert!(refusal(document(65).as_bytes(), None).contains("the end of `b`, expected that of `a`"));
}

#[test]
fn depth_is_bounded() {
    let within = |depth: usize| document(&format!("<x>{}{}</x>", "<y>".repeat(depth), "</y>".repeat(depth)));
    assert_eq!(only(read(within(50).as_bytes(), None)), Instance::default());
    let deep = within(1_000_000);
    let registry = read(deep.as_bytes(), None);
    let [problem] = &registry.applications[0].unread[..] else {
        panic!("one problem");
    };
    assert!(
        problem.ends_with("more than 64 elements within each other"),
        "{problem}"
    );
    let deep = format!("<applications>{}", "<y>".repeat(1_000_000));
    assert!(refusal(deep.as_bytes(), None).ends_with("more than 64 elements within each other"));
}

#[test]
fn what_is_not_well_formed_outside_of_instances_is_refused() {
    for (body, said) in [
        (
            "<applications><application></applications>",
            "the end of `applications`, expected that of `application`",
        ),
        (
            "<applications>\n  <application>",
            "line 2, column 16: the document breaks off within `application`",
        ),
        ("<applications", "tag not closed"),
        ("<applications><!-- ", "comment not closed"),
        (
            "<applications><application><instance></application></applications>",
            "expected that of `instance`",
        ),
        (
            "</applications>",
            "the end of `applications`, which was not started",
        ),
    ] {
        let message = refusal(body.as_bytes(), None);
        assert!(message.contains(said), "{message}");
    }
}

#[test]
fn a_byte_order_mark_in_the_midst_of_a_document_is_text() {
    let body = "<applications><application><name>A</name><instance><a></b></instance>\u{feff}\u{feff}<instance><app>A\
                </app></instance></application>\u{feff}<x>\u{feff}</x></applications>";
    let registry = read(body.as_bytes(), None);
    let application = &registry.applications[0];
    assert_eq!((application.instances.len(), application.unread.len()), (1, 1));
    assert_eq!(application.instances[0].app.as_deref(), Some("A"));
}
