//! Rules 13 to 15, and make before break.

use registry_testkit::xds::Service as On;

use super::*;

/// Runs a transcript in both protocols.
macro_rules! in_both {
    ($($(#[$doc:meta])* $name:ident => $test:ident;)*) => {$(
        $(#[$doc])*
        #[tokio::test]
        async fn $name() {
            tokio::join!($test::<Sotw>(), $test::<Delta>());
        }
    )*};
}

in_both! {
    rule_13_endpoints_of_a_cluster_that_changed_are_sent_again => again;
    rule_14_endpoints_do_not_wait_for_an_acknowledgement_and_routes_do => gated;
    rule_15_who_comes_back_may_ask_in_any_order => any_order;
    a_removed_service_goes_from_routes_then_clusters_then_endpoints => removal;
    a_port_with_another_number_is_made_before_the_old_one_is_broken => renumbered;
    a_service_that_is_back_before_it_went_never_went => back_again;
    who_refuses_everything_gets_each_change_once => refusing;
    streams_of_single_types_wait_for_nothing => alone;
}

async fn again<P: Words>() {
    let (served, handle) = serve([plain("web", 1), plain("api", 1)]).await;
    let mut client = envoy::<P>(&served, &["web", "api"]).await;
    let before = client.versions(E);
    handle.set([touched("web", 1), plain("api", 1)]);
    assert_eq!(client.hear().await, either::<P>("c +api +web", "c +web"));
    // Envoy acknowledges the cluster only after these.
    assert_eq!(client.hear().await, "e +web");
    let web = long(E, "web");
    assert_eq!(client.versions(E)[&web], before[&web], "though they are the same");
    client.ack(E);
    client.ack(C);
    client.quiet().await;
}

async fn gated<P: Words>() {
    let (served, handle) = serve([plain("web", 1)]).await;
    let mut client = envoy::<P>(&served, &["web"]).await;
    handle.set([plain("web", 1), plain("new", 1)]);
    assert_eq!(client.hear().await, either::<P>("c +new +web", "c +new"));
    client.ask(E, &["web", "new"]);
    // In delta both are new subscriptions; one that was there is sent again.
    assert_eq!(client.hear().await, either::<P>("e +new", "e +new +web"));
    client.ack(E);
    // Nothing of routes yet, which would come before this.
    handle.set([plain("web", 2), plain("new", 1)]);
    assert_eq!(client.hear().await, "e +web");
    client.ack(E);
    client.ack(C);
    assert_eq!(client.hear().await, "r +http.15001");
    client.ack(R);
    client.quiet().await;
}

async fn any_order<P: Words>() {
    let (served, _handle) = serve([plain("web", 1), plain("api", 1)]).await;
    let before = envoy::<P>(&served, &["web", "api"]).await;
    for order in [[E, L, R, C], [R, L, E, C], [C, L, R, E], [L, C, E, R]] {
        let channel = channel(served.address).unwrap();
        let stream = Stream::open(channel, On::Aggregated, envoy_node("vm-1", "")).resuming(&before.stream);
        let mut client = Client::<P> {
            stream,
            last: BTreeMap::new(),
            questions: 0,
        };
        for type_ in order {
            let names: &[&str] = match type_ {
                E => &["web", "api"],
                R => &[ROUTES],
                _ => &[],
            };
            let held = before.versions(type_);
            let held: Vec<_> = held
                .iter()
                .map(|(name, version)| (name.as_str(), version.as_str()))
                .collect();
            client.resume(type_, names, &[], &held);
        }
        // Each type is answered once it may be, and none twice but endpoints, where their clusters came after them.
        while client.last.len() < 4 {
            let heard = client.hear().await;
            let type_ = [C, E, L, R]["celr".find(&heard[..1]).unwrap()];
            assert_eq!(client.version(type_), before.version(type_), "{order:?}: {heard}");
            client.ack(type_);
        }
    }
}

async fn removal<P: Words>() {
    let (served, handle) = serve([plain("web", 1), plain("old", 1)]).await;
    let mut client = envoy::<P>(&served, &["web", "old"]).await;
    handle.set([plain("web", 1)]);
    assert_eq!(client.hear().await, "r +http.15001");
    // Not before the routes are acknowledged; endpoints flow meanwhile.
    handle.set([plain("web", 2)]);
    assert_eq!(client.hear().await, "e +web");
    client.ack(E);
    client.ack(R);
    assert_eq!(client.hear().await, either::<P>("c +web", "c -old"));
    client.ack(C);
    assert_eq!(client.hear().await, either::<P>("e !old", "e !old -old"));
}

async fn renumbered<P: Words>() {
    let (served, handle) = serve([plain("web", 1)]).await;
    let mut client = envoy::<P>(&served, &["web"]).await;
    let other = "outbound|81||web.static";
    handle.set([spoken(&plain("web", 1), "http", 81)]);
    let both = either::<P>("c +outbound|81||web +web", "c +outbound|81||web");
    assert_eq!(client.hear().await, both);
    let kept = Some("web").filter(|_| P::METHOD == Sotw::METHOD);
    let names: Vec<_> = kept.into_iter().chain([other]).collect();
    client.ask(E, &names);
    assert_eq!(client.hear().await, "e +outbound|81||web");
    client.ack(E);
    client.ack(C);
    assert_eq!(client.hear().await, "r +http.15001");
    client.ack(R);
    assert_eq!(client.hear().await, either::<P>("c +outbound|81||web", "c -web"));
}

async fn back_again<P: Words>() {
    let (served, handle) = serve([plain("web", 1), plain("api", 1)]).await;
    let mut client = envoy::<P>(&served, &["web", "api"]).await;
    handle.set([plain("web", 1)]);
    assert_eq!(client.hear().await, "r +http.15001");
    handle.set([plain("web", 1), plain("api", 1)]);
    assert_eq!(client.hear().await, "r +http.15001");
    client.ack(R);
    client.quiet().await;
}

async fn refusing<P: Words>() {
    let (served, handle) = serve([plain("web", 1)]).await;
    let mut client = Client::<P>::open(&served);
    client.ask(C, &[]);
    client.hear().await;
    client.nack(C, "I refuse");
    client.ask(E, &["web"]);
    client.hear().await;
    client.nack(E, "I refuse");
    for round in 0..5 {
        handle.set([if round % 2 == 0 {
            touched("web", 1)
        } else {
            plain("web", 1)
        }]);
        assert_eq!(client.hear().await, "c +web");
        client.nack(C, "I refuse");
        assert_eq!(client.hear().await, "e +web");
        client.nack(E, "I refuse");
        client.quiet().await;
    }
}

async fn alone<P: Words>() {
    let (served, handle) = serve([plain("web", 1)]).await;
    let mut routes = Client::<P>::of(&served, On::Routes);
    let mut clusters = Client::<P>::of(&served, On::Clusters);
    assert_eq!(routes.get(R, &[ROUTES]).await, "r +http.15001");
    clusters.ask(C, &[]);
    assert_eq!(clusters.hear().await, "c +web");
    // Nothing is acknowledged here, and nothing waits for that.
    handle.set([plain("new", 1)]);
    assert_eq!(routes.hear().await, "r +http.15001");
    assert_eq!(clusters.hear().await, either::<P>("c +new", "c +new -web"));
}
