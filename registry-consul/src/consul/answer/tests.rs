use registry_http::fuzzing::response;

use super::*;

fn parse(headers: &[(&str, &str)]) -> Headers {
    Headers::parse(|name| {
        headers
            .iter()
            .find(|(held, _)| held.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    })
}

#[test]
fn an_index_that_cannot_be_used_is_none() {
    for (text, index) in [
        ("17", 17),
        (" 17 ", 17),
        ("0", 0),
        ("-1", 0),
        ("abc", 0),
        ("", 0),
        ("18446744073709551615", 0),
        ("99999999999999999999999", 0),
    ] {
        assert_eq!(parse(&[("X-Consul-Index", text)]).index, index, "{text:?}");
    }
    assert_eq!(parse(&[]).index, 0);
}

#[test]
fn the_streaming_backend_knows_a_leader_whatever_it_says() {
    assert!(!parse(&[("X-Consul-Knownleader", "false")]).leader);
    assert!(
        parse(&[
            ("X-Consul-Knownleader", "false"),
            ("X-Consul-Query-Backend", "streaming")
        ])
        .leader
    );
    assert!(parse(&[]).leader);
    assert_eq!(
        parse(&[("X-Consul-Lastcontact", "2445")]).behind,
        Duration::from_millis(2445)
    );
}

#[test]
fn admissions_of_filtering_are_read() {
    let headers = parse(&[
        ("X-Consul-Results-Filtered-By-Acls", "true"),
        ("X-Consul-Default-Acl-Policy", "deny"),
    ]);
    assert!(headers.filtered && headers.denied_by_default);
}

#[test]
fn what_a_server_sends_is_shown_shortened_and_on_one_line() {
    let long = "a\\u001b[31m".repeat(10_000);
    let body = format!("[{{\"Node\":{{\"Node\":\"n1\"}},\"Service\":\"{long}\"}}]");
    let error = instances(&response(body.as_bytes()), "web").unwrap_err();
    let report = registry_core::RegistryError::from(error).report();
    assert!(report.contains("invalid type: string"), "{report}");
    let place = format!("… at line 1 column {}", body.len() - "}]".len());
    assert!(report.ends_with(&place), "{report}");
    assert!(
        report.chars().count() < 400 && !report.contains(char::is_control),
        "{report}"
    );

    let version = check_version("1.8.7\nfine", "peer", (1, 13))
        .unwrap_err()
        .to_string();
    assert!(version.contains("found 1.8.7 fine, which"), "{version}");
}

#[test]
fn no_server_is_left_alone_for_longer_than_ten_minutes() {
    for (asked, granted) in [("7", 7), ("601", 600), ("18446744073709551615", 600)] {
        let answer = format!("429\nRetry-After: {asked}\n\nbusy");
        let error = registry_core::RegistryError::from(Error::status(&response(answer.as_bytes())));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(granted)), "{asked}");
    }
}
