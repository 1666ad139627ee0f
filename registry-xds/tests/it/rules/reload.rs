//! Registries that come while clients are served: what is not known yet is not denied, and holds nothing else up.

use std::sync::Arc;

use registry_testkit::scripted::{ScriptHandle, ScriptedRegistry};

use super::*;

/// Adds a registry that has said nothing.
async fn add_silent(discovery: &Discovery) -> ScriptHandle {
    let silent = ScriptedRegistry::new([]);
    let handle = silent.handle();
    let id = "late".parse().unwrap();
    discovery.add(id, Arc::new(silent), unguarded()).await.unwrap();
    discovery.published().await.unwrap();
    handle
}

async fn goes_on<P: Words>() {
    let (served, handle) = serve([plain("web", 1), plain("old", 1)]).await;
    let mut client = envoy::<P>(&served, &["web", "old"]).await;
    let late = add_silent(&served.discovery).await;

    // Endpoints and clusters of what is served follow, and so do new services, up to their routes.
    handle.set([plain("web", 2), plain("old", 1)]);
    assert_eq!(client.hear().await, "e +web");
    client.ack(E);
    handle.set([touched("web", 2), plain("old", 1), plain("new", 1)]);
    assert_eq!(
        client.hear().await,
        either::<P>("c +new +old +web", "c +new +web")
    );
    assert_eq!(client.hear().await, "e +web");
    client.ack(E);
    client.ack(C);
    assert_eq!(client.hear().await, "r +http.15001");
    client.ack(R);

    // What one registry lost another one may have: it is neither removed nor unrouted until that is known.
    handle.set([touched("web", 2), plain("new", 1)]);
    handle.set([touched("web", 3), plain("new", 1)]);
    assert_eq!(client.hear().await, "e +web");
    client.ack(E);
    late.set([]);
    assert_eq!(client.hear().await, "r +http.15001");
    client.ack(R);
    assert_eq!(client.hear().await, either::<P>("c +new +web", "c -old"));
}

#[tokio::test]
async fn a_registry_that_is_added_and_silent_holds_up_nothing_that_others_say() {
    tokio::join!(goes_on::<Sotw>(), goes_on::<Delta>());
}
