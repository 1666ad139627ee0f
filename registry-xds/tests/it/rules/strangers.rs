//! Clients that no protocol foresees.

use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use registry_testkit::Error;

use super::*;

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Rpc { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stream_that_does_not_say_whose_it_is_is_told_so() {
    let (served, _handle) = serve([plain("web", 1)]).await;
    let mut client = Client::<Sotw>::open(&served);
    client.stream.send_without_node(DiscoveryRequest {
        type_url: C.to_owned(),
        ..DiscoveryRequest::default()
    });
    assert_eq!(code(client.stream.recv(PATIENCE).await), "InvalidArgument");
}

/// Each would take eighty bytes of memory for three on the wire.
#[tokio::test]
async fn a_request_of_a_million_names_is_refused_before_it_is_read() {
    let (served, _handle) = serve([plain("web", 1)]).await;
    let mut client = Client::<Sotw>::open(&served);
    client.stream.send(DiscoveryRequest {
        type_url: E.to_owned(),
        resource_names: vec!["a".to_owned(); 1 << 20],
        ..DiscoveryRequest::default()
    });
    assert_eq!(code(client.stream.recv(PATIENCE).await), "ResourceExhausted");
    let mut other = Client::<Sotw>::open(&served);
    assert_eq!(other.get(C, &[]).await, "c +web");
}
