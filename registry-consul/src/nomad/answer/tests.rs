use registry_http::fuzzing::response;

use super::*;

fn answer(headers: &str, body: &str) -> Response {
    response(format!("200\n{headers}\n\n{body}").as_bytes())
}

fn listed(body: &str, namespace: &str, config: &NomadConfig) -> Result<Vec<String>, Error> {
    let list = list(&answer("X-Nomad-Index: 7", body), namespace, config)?;
    Ok(list.services.iter().map(ToString::to_string).collect())
}

const TWO: &str = r#"[{"Namespace":"default","Services":[{"ServiceName":"web","Tags":["v1","blue"]},
    {"ServiceName":"db","Tags":null}]},{"Namespace":"team1","Services":[{"ServiceName":"web","Tags":["t1"]}]}]"#;

#[test]
fn a_list_names_services_with_their_namespaces() {
    let all = NomadConfig::default();
    assert_eq!(
        listed(TWO, "*", &all).unwrap(),
        ["default/default/web", "default/default/db", "team1/team1/web"]
    );
    assert_eq!(listed("[]", "*", &all).unwrap(), [""; 0]);
    let few = NomadConfig {
        services: vec!["w*".into()],
        tags: vec!["v1".into()],
        ..all
    };
    assert_eq!(listed(TWO, "*", &few).unwrap(), ["default/default/web"]);
    let none = list(
        &answer("X-Nomad-Index: 7", TWO),
        "*",
        &NomadConfig {
            services: vec!["other".into()],
            ..few
        },
    );
    assert!(
        !none.unwrap().is_empty,
        "it lists something, though nothing that is wanted"
    );
}

#[test]
fn a_list_of_another_namespace_is_refused() {
    let error = listed(TWO, "default", &NomadConfig::default()).unwrap_err();
    assert!(error.to_string().contains("team1"), "{error}");
}

#[test]
fn instances_of_another_service_or_namespace_are_refused() {
    let body = r#"[{"ID":"i1","ServiceName":"web","Namespace":"default","Address":"10.0.0.7","Port":80}]"#;
    let response = answer("X-Nomad-Index: 7", body);
    assert_eq!(instances(&response, &id("default", "web")).unwrap().len(), 1);
    for service in [id("team1", "web"), id("default", "db"), id("default", "WEB")] {
        let error = instances(&response, &service).unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
    }
}

#[test]
fn headers_are_read_in_any_case() {
    let bound = Duration::from_secs(10);
    let read = |headers: &str| {
        let response = answer(headers, "[]");
        let headers = Headers::of(&response);
        (
            headers.index,
            headers
                .check(bound, response.url())
                .map_err(|error| error.to_string()),
        )
    };
    assert_eq!(
        read("x-nomad-index: 7\nX-Nomad-Knownleader: true\nX-Nomad-Lastcontact: 3"),
        (7, Ok(()))
    );
    assert_eq!(read("X-Other: 1"), (0, Ok(())));
    assert_eq!(read("X-Nomad-Index: 18446744073709551615").0, 0);
    let leaderless = read("X-Nomad-Index: 7\nX-Nomad-KnownLeader: FALSE")
        .1
        .unwrap_err();
    assert!(leaderless.contains("no leader"), "{leaderless}");
    let behind = read("X-Nomad-Index: 7\nX-Nomad-LastContact: 12000")
        .1
        .unwrap_err();
    assert!(behind.contains("12s behind"), "{behind}");
}

#[test]
fn the_worst_check_of_a_service_counts() {
    let check = |id: &str, service: &str, status: &str| {
        format!(r#""{id}":{{"Check":"c","Service":"{service}","Status":"{status}","Output":"x"}}"#)
    };
    let body = format!(
        "{{{}}}",
        [
            check("1", "web", "success"),
            check("2", "web", "failure"),
            check("3", "web", "pending"),
            check("4", "api", "success"),
            check("5", "db", "pending"),
            check("6", "db", "success"),
            check("7", "new", "a word of later versions"),
        ]
        .join(",")
    );
    let results = checks(&answer("", &body)).unwrap();
    assert_eq!(results["web"], CheckResult::Failure);
    assert_eq!(results["api"], CheckResult::Success);
    assert_eq!(results["db"], CheckResult::Pending);
    assert_eq!(results["new"], CheckResult::Pending);
    assert!(checks(&answer("", "{}")).unwrap().is_empty());
    assert!(checks(&answer("", "null")).unwrap().is_empty());
}

#[test]
fn an_answer_that_was_cut_short_is_refused() {
    let response = answer("X-Nomad-Index: 7", &TWO[..TWO.len() - 1]);
    assert!(list(&response, "*", &NomadConfig::default()).is_err());
    let page = registry_http::fuzzing::response(b"200\nContent-Type: text/html\n\n[]");
    assert!(matches!(allocations(&page), Err(Error::ContentType { .. })));
}
