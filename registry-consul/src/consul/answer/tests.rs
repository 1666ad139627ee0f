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
