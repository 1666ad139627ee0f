use std::path::Path;

use super::*;

fn kubeconfig(server: &str) -> String {
    format!(
        "{{current-context: {server}, contexts: [{{name: {server}, context: {{cluster: c, user: u}}}}, \
         {{name: second, context: {{cluster: c, user: u}}}}], \
         clusters: [{{name: c, cluster: {{server: 'https://{server}:6443'}}}}], users: [{{name: u, user: {{token: t}}}}]}}"
    )
}

fn look(config: &KubernetesConfig, variables: &[(&str, &str)]) -> Result<(String, String), String> {
    let environment = Environment::made_up(variables, Path::new("/nowhere"));
    let source = Source::new(config, Origin::Configured, environment);
    let found = source
        .find(&mut Stamps::default())
        .map_err(|error| error.to_string())?;
    assert_eq!(found.server.to_string(), source.target());
    Ok((found.server.to_string(), found.chosen.context))
}

#[test]
fn the_usual_places_are_tried_in_order() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let pod = [
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
        ("KUBERNETES_SERVICE_PORT", "443"),
    ];
    let here = at("");
    let [one, two, both] = [
        at("one"),
        at("two"),
        format!("{}::{}:{}", at("gone"), at("one"), at("two")),
    ];
    std::fs::write(&one, kubeconfig("one")).unwrap();
    std::fs::write(&two, kubeconfig("two")).unwrap();
    let usual = |more: &[(&str, &str)]| {
        let mut variables = pod.to_vec();
        variables.push(("HOME", &here));
        variables.extend(more);
        look(&KubernetesConfig::default(), &variables).map(|(server, _)| server)
    };
    assert_eq!(usual(&[]).as_deref(), Ok("https://10.0.0.1:443/"));
    std::fs::create_dir(at(".kube")).unwrap();
    std::fs::write(at(".kube/config"), kubeconfig("home")).unwrap();
    assert_eq!(usual(&[]).as_deref(), Ok("https://home:6443/"));
    assert_eq!(
        usual(&[("KUBECONFIG", &both)]).as_deref(),
        Ok("https://one:6443/")
    );
    assert_eq!(usual(&[("KUBECONFIG", &two)]).as_deref(), Ok("https://two:6443/"));
    assert_eq!(usual(&[("KUBECONFIG", "")]).as_deref(), Ok("https://home:6443/"));
    let gone = usual(&[("KUBECONFIG", &at("gone"))]).unwrap_err();
    assert!(
        gone.ends_with("gone: found none of these files of $KUBECONFIG, expected at least one"),
        "{gone}"
    );

    let file = KubernetesConfig {
        kubeconfig: Some(two.clone().into()),
        context: Some("second".into()),
        ..KubernetesConfig::default()
    };
    let expected = ("https://two:6443/".to_owned(), "second".to_owned());
    assert_eq!(look(&file, &[("KUBECONFIG", &one)]), Ok(expected));
    let pod_only = KubernetesConfig {
        in_cluster: true,
        ..KubernetesConfig::default()
    };
    let expected = ("https://[fd00::1]:443/".to_owned(), "kubernetes".to_owned());
    let variables = [
        ("KUBERNETES_SERVICE_HOST", "fd00::1"),
        pod[1],
        ("KUBECONFIG", &one),
    ];
    assert_eq!(look(&pod_only, &variables), Ok(expected));
    let error = look(&pod_only, &[pod[0]]).unwrap_err();
    assert_eq!(
        error,
        "in_cluster: $KUBERNETES_SERVICE_PORT: found nothing, expected what every Pod has"
    );
}

#[test]
fn where_nothing_is_found_the_message_says_where_it_was_looked_for() {
    let error = look(&KubernetesConfig::default(), &[("HOME", "/nowhere")]).unwrap_err();
    let expected = "kubeconfig: found neither $KUBECONFIG nor /nowhere/.kube/config nor a service account, expected one \
                    of them, or `kubeconfig`";
    assert_eq!(error, expected);
}

#[test]
fn a_context_that_is_asked_for_is_not_looked_for_in_a_service_account() {
    let config = KubernetesConfig {
        context: Some("prod".into()),
        ..KubernetesConfig::default()
    };
    let pod = [
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
        ("KUBERNETES_SERVICE_PORT", "443"),
    ];
    let error = look(&config, &pod).unwrap_err();
    assert!(
        error.ends_with("expected a kubeconfig with the context \"prod\""),
        "{error}"
    );
}

#[test]
fn addresses_that_cannot_be_used_are_not_repeated() {
    for (server, found) in [
        ("10.0.0.1:6443", "no scheme"),
        ("ftp://a", "no scheme"),
        ("https://me:geheim@a", "credentials in it"),
        ("https://a/?token=geheim", "a query in it"),
        ("/a", "no host"),
        ("https://geheim geheim", "something else"),
        ("", "none"),
        (
            &format!("https://a/{}", "geheim".repeat(200)),
            "more than 1000 bytes",
        ),
    ] {
        let text = kubeconfig("SERVER").replace("https://SERVER:6443", server);
        let origin = Origin::Text {
            kubeconfig: Arc::new(text.into()),
            place: "Secret a/b, key c".into(),
            trusted: true,
        };
        let environment = Environment::made_up(&[], Path::new("/nowhere"));
        let source = Source::new(&KubernetesConfig::default(), origin, environment);
        let error = source.find(&mut Stamps::default()).err().unwrap().to_string();
        let start = format!("Secret a/b, key c: context \"SERVER\": server: found {found}, expected a URL");
        assert!(error.starts_with(&start), "{error}");
        assert_eq!(source.target(), "Secret a/b, key c");
    }
}

#[test]
fn a_kubeconfig_of_a_secret_may_not_reach_into_this_machine() {
    let text = kubeconfig("a").replace("token: t", "tokenFile: /etc/shadow");
    for (trusted, expected) in [(true, true), (false, false)] {
        let origin = Origin::Text {
            kubeconfig: Arc::new(text.clone().into()),
            place: "Secret a/b, key c".into(),
            trusted,
        };
        let environment = Environment::made_up(&[], Path::new("/nowhere"));
        let source = Source::new(&KubernetesConfig::default(), origin, environment);
        match source.find(&mut Stamps::default()) {
            Ok(_) => assert!(expected),
            Err(error) => {
                let error = error.to_string();
                assert!(!expected, "{error}");
                assert!(
                    error.starts_with("Secret a/b, key c: user.tokenFile: found in a kubeconfig"),
                    "{error}"
                );
            }
        }
    }
}
