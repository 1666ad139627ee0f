//! gRPC's own client and server, directly and by a server of HTTP that does not speak it.

use std::collections::BTreeSet;
use std::time::Duration;

use registry_testkit::grpc::{Call, DATA_ERRORS, GrpcClient, GrpcServer};
use registry_testkit::{Error, ports, wait};
use serde_json::json;

#[tokio::test]
async fn a_call_tells_who_answered() {
    let (first, second) = tokio::join!(GrpcServer::start("a"), GrpcServer::start("b"));
    let (mut first, mut second) = (first.unwrap(), second.unwrap());
    let mut client = GrpcClient::start(None, &[]).await.unwrap();

    let direct = Call::to(first.address().to_string());
    let answer = client.call(&direct).await.unwrap();
    assert_eq!(
        (answer.server.as_deref(), answer.code.as_str()),
        (Some("a"), "OK")
    );
    let both = Call::to(format!("ipv4:{},{}", first.address(), second.address()));
    let mut seen = BTreeSet::new();
    for answer in client.calls(&both, 10, 4).await.unwrap() {
        seen.extend(answer.server);
    }
    assert!(seen.is_subset(&BTreeSet::from(["a".to_owned(), "b".to_owned()])) && !seen.is_empty());
    assert_eq!(first.calls().await.unwrap() + second.calls().await.unwrap(), 11);
    let streamed = client.stream(&direct, 3).await.unwrap();
    assert_eq!(streamed.messages, ["a", "a", "a"]);

    client.start_load(&direct, 2).await.unwrap();
    second.set_serving(false).await.unwrap();
    second.end(Duration::from_secs(1)).await.unwrap();
    let before = first.calls().await.unwrap();
    wait::until("five calls", Duration::from_secs(60), async || {
        (first.calls().await.ok()? >= before + 5).then_some(())
    })
    .await
    .unwrap();
    let report = client.stop_load().await.unwrap();
    assert_eq!(report.by_code.keys().collect::<Vec<_>>(), ["OK"], "{report:?}");
    assert!(report.by_server["a"] >= 5);

    first.end(Duration::ZERO).await.unwrap();
    let refused = client.call(&direct).await.unwrap();
    assert_eq!((refused.server, refused.code.as_str()), (None, "UNAVAILABLE"));
    let nothing = client.stop_load().await.unwrap_err();
    assert!(matches!(nothing, Error::Tool { .. }), "{nothing}");
}

#[tokio::test]
async fn a_client_of_a_control_plane_that_is_not_there_says_so() {
    let port = ports::free(1).unwrap()[0];
    let bootstrap = json!({
        "xds_servers": [{
            "server_uri": format!("127.0.0.1:{port}"),
            "channel_creds": [{ "type": "insecure" }],
            "server_features": ["xds_v3"],
        }],
        "node": { "id": "grpc-1" },
    });
    let mut client = GrpcClient::start(Some(&bootstrap.to_string()), &[DATA_ERRORS])
        .await
        .unwrap();
    let answer = client.call(&Call::to("xds:///web")).await.unwrap();
    assert_eq!((answer.server, answer.code.as_str()), (None, "UNAVAILABLE"));
    let csds = client.csds().await.unwrap();
    assert_eq!(csds["config"][0]["node"]["id"], "grpc-1", "{csds}");
    let statuses = client.statuses().await.unwrap();
    let listener = ("Listener".to_owned(), "web".to_owned());
    assert!(statuses.contains_key(&listener), "{statuses:?}");
}
