//! Documents that are no registry, and what is said of them.

use super::*;

/// Whatever was sent: one line, and short.
fn check(message: &str) {
    assert!(!message.is_empty());
    assert!(message.chars().count() <= 401, "{message}");
    assert!(!message.chars().any(char::is_control), "{message:?}");
}

#[test]
fn a_captured_answer_that_breaks_off_anywhere_is_refused() {
    for name in [
        "apps-compact.json.http",
        "apps-compact.xml.http",
        "netflix-war-odd.json.http",
        "netflix-war-odd.xml.http",
    ] {
        let (body, content_type) = captured(name);
        let body = body.trim_ascii_end();
        for end in 0..body.len() {
            check(&refusal(&body[..end], Some(&content_type)));
        }
    }
}

#[test]
fn a_captured_answer_with_a_byte_spoilt_is_read_or_refused_in_short() {
    for name in ["netflix-war-odd.json.http", "netflix-war-odd.xml.http"] {
        let (body, _) = captured(name);
        for at in (0..body.len()).step_by(3) {
            for spoilt in [b'<', b'"', b'&', b'}', 0xff] {
                let mut body = body.clone();
                body[at] = spoilt;
                if let Err(error) = decode(&body, None, |_| ()) {
                    check(&error.to_string());
                }
            }
        }
    }
}

#[test]
fn an_empty_body_is_no_registry() {
    for body in ["", " \r\n\t", "\u{feff}", "\u{feff}\n"] {
        for content_type in [None, Some("application/json"), Some("application/xml")] {
            let message = refusal(body.as_bytes(), content_type);
            assert_eq!(message, "an empty body, expected Eureka's JSON or XML");
        }
    }
}

#[test]
fn a_page_hints_at_the_url() {
    let hint = "an HTML page, expected Eureka's JSON or XML: is the URL the base of the REST API, such as \
                http://host:8761/eureka?";
    for (body, content_type) in [
        ("<!DOCTYPE html><html><body>Sign in</body></html>", None),
        ("\n<!doctype HTML>\n<p>", Some("application/json")),
        ("<html lang=en>", Some("application/xml")),
        ("\u{feff}<HTML>", None),
        ("Sign in", Some("text/html;charset=UTF-8")),
        ("{}", Some("Text/HTML")),
        ("<?xml version=\"1.0\"?><!-- Jetty --><html><head/></html>", None),
        (
            "<?xml version=\"1.0\"?><!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Strict//EN\" \"x\">\n<html/>",
            Some("application/xhtml+xml"),
        ),
    ] {
        assert_eq!(refusal(body.as_bytes(), content_type), hint, "{body}");
    }
}

#[test]
fn the_content_type_decides_in_any_spelling() {
    let (json, xml) = (r#"{"applications":{}}"#, "<applications/>");
    for content_type in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "text/json",
        "application/vnd.netflix.eureka.v2+json",
    ] {
        read(json.as_bytes(), Some(content_type));
        let message = refusal(xml.as_bytes(), Some(content_type));
        assert_eq!(message, "XML, though its Content-Type says JSON");
    }
    for content_type in [
        "application/xml",
        "text/XML;charset=UTF-8",
        "application/vnd.eureka+xml",
    ] {
        read(xml.as_bytes(), Some(content_type));
        let message = refusal(json.as_bytes(), Some(content_type));
        assert_eq!(message, "JSON, though its Content-Type says XML");
    }
}

#[test]
fn without_a_word_on_it_the_first_byte_decides() {
    for content_type in [
        None,
        Some(""),
        Some("json"),
        Some("text/plain"),
        Some("application/octet-stream"),
    ] {
        for body in [
            r#"{"applications":{}}"#,
            "<applications/>",
            "\r\n <applications/>",
            "\u{feff}{\"applications\":{}}",
            "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?><applications/>",
        ] {
            assert_eq!(read(body.as_bytes(), content_type).applications, []);
        }
    }
}

#[test]
fn what_is_neither_is_quoted_in_short() {
    assert_eq!(
        refusal(b"Forbidden\r\n\x1b[1m", Some("application/json")),
        "neither JSON nor XML, begins with `Forbidden   [1m`"
    );
    let long = "no\u{e9} ".repeat(1000);
    check(&refusal(long.as_bytes(), None));
    assert!(refusal(long.as_bytes(), None).chars().count() < 110);
    check(&refusal(&[0xff; 1000], None));
    assert_eq!(
        refusal(b"\x1f\x8b\x08\x00\x00", Some("application/json")),
        "compressed by gzip without a Content-Encoding that says so"
    );
    for body in [&b"\xff\xfe{\0"[..], b"\xfe\xff\0<"] {
        assert_eq!(refusal(body, None), "encoded in UTF-16, expected UTF-8");
    }
}

#[test]
fn another_document_is_told_by_what_is_in_it() {
    let (body, content_type) = captured("app-404.http");
    assert_eq!(
        refusal(&body, Some(&content_type)),
        "not the JSON of Eureka: expected `applications`, found `timestamp`, `status`, `error` and 1 more at line 1 \
         column 105"
    );
    let (body, content_type) = captured("app-one.json.http");
    let message = refusal(&body, Some(&content_type));
    assert!(
        message.contains("expected `applications`, found `application`"),
        "{message}"
    );
    assert!(refusal(b"{}", None).contains("found nothing"));
    assert!(refusal(b"[1]", None).contains("expected an object, found an array"));
    assert!(
        refusal(br#"{"applications":[]}"#, None)
            .contains("expected an object at `applications`, found an array")
    );
    assert!(refusal(br#"{"applications":null}"#, None).contains("found null"));
    assert_eq!(
        refusal(b"<?xml version='1.0'?>\n<Error><Code>5</Code></Error>", None),
        "line 2, column 8: expected `applications`, found `Error`"
    );
    assert!(refusal(b"<!-- nothing -->", None).contains("found nothing"));
    let keys = format!("{{\"{}\":1,\"b\\n\\u0007\":2}}", "key".repeat(1000));
    check(&refusal(keys.as_bytes(), None));
    let name = format!("<{}/>", "name".repeat(1000));
    check(&refusal(name.as_bytes(), None));
}

#[test]
fn what_comes_behind_the_document_is_refused() {
    for body in [
        r#"{"applications":{}}{"applications":{}}"#,
        r#"{"applications":{}}]"#,
        "<applications/><applications/>",
        "<applications></applications>more",
        "<applications></applications></applications>",
        "<applications></applications><",
    ] {
        check(&refusal(body.as_bytes(), None));
    }
    for body in [
        "{\"applications\":{}}\n ",
        "<applications/>\n<!-- end -->\n<?p i?> ",
    ] {
        assert_eq!(read(body.as_bytes(), None).applications, []);
    }
}

#[test]
fn other_encodings_are_refused_by_name() {
    for encoding in ["ISO-8859-1", "windows-1252", "UTF-16"] {
        let mut body =
            format!("<?xml version=\"1.0\" encoding='{encoding}'?><applications><application><name>")
                .into_bytes();
        body.extend(b"\xe9</name></application></applications>");
        assert_eq!(
            refusal(&body, Some("application/xml")),
            format!("encoded in `{encoding}`, expected UTF-8")
        );
    }
    for encoding in ["UTF-8", "utf-8", "US-ASCII"] {
        let body =
            format!("<?xml version=\"1.0\" encoding = \"{encoding}\" standalone=\"yes\"?><applications/>");
        assert_eq!(read(body.as_bytes(), None).applications, []);
    }
    assert_eq!(
        refusal(b"{\"applications\":\"\xe9\"}", None),
        "byte 17 is not UTF-8"
    );
}

#[test]
fn secrets_in_the_midst_of_a_document_are_not_quoted() {
    let json = r#"{"applications":{"application":[{"name":"A","instance":[{"metadata":{"password":"hunter2" "x"}}]}]}}"#;
    let xml = "<applications><application><name>A</name><instance><metadata><password>hunter2</metadata></instance>\
               </application>";
    for body in [json, xml] {
        let message = refusal(body.as_bytes(), None);
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn a_body_cannot_be_made_to_take_any_amount_of_memory() {
    let most = MOST_INSTANCES;
    let json = |count: usize| {
        let instances = vec!["{}"; count].join(",");
        format!(r#"{{"applications":{{"application":{{"instance":[{instances}]}}}}}}"#)
    };
    assert_eq!(
        read(json(most).as_bytes(), None).applications[0].instances.len(),
        most
    );
    let said = "more than 500000 instances of one application";
    assert!(refusal(json(most + 1).as_bytes(), None).contains(said));
    let xml = format!(
        "<applications><application>{}</application></applications>",
        "<instance/>".repeat(most + 1)
    );
    assert!(refusal(xml.as_bytes(), None).ends_with(said));
}
