//! Facts §9.14: a client that does not read costs nothing, and delays nobody.

use prost::Message;
use registry_xds::{ResourceType, XdsConfig};

use crate::support::{ADS_DELTA, Delta, WEB, ack_delta, connect, first_delta, serve, service};

/// Changes; each makes for a response of more than 20 kB.
const CHANGES: u32 = 60;

#[tokio::test]
async fn a_client_that_does_not_read_is_sent_the_newest_state_when_it_does() {
    let big = |weight| [service("web", 1000, weight)];
    let (served, handle) = serve(big(1), XdsConfig::default()).await;
    let lazy = connect(served.address).await;
    let mut lazy = Delta::open(&lazy, ADS_DELTA).await.unwrap();
    lazy.say(first_delta(ResourceType::Endpoints, &[WEB]));
    let held = lazy.hear().await;
    assert!(held.encoded_len() > 20_000, "{}", held.encoded_len());
    lazy.say(ack_delta(&held));

    let eager = connect(served.address).await;
    let mut eager = Delta::open(&eager, ADS_DELTA).await.unwrap();
    eager.say(first_delta(ResourceType::Endpoints, &[WEB]));
    let mut last = eager.hear().await;
    for change in 2..CHANGES + 2 {
        eager.say(ack_delta(&last));
        handle.set(big(change));
        last = eager.hear().await;
    }

    let sent = || -> Vec<u64> {
        let clients = served.xds.clients().list();
        clients
            .iter()
            .map(|client| client.types[&ResourceType::Endpoints].channel.responses)
            .collect()
    };
    let [to_lazy, to_eager] = sent()[..] else {
        panic!("two clients");
    };
    assert_eq!(to_eager, u64::from(CHANGES) + 1);
    // Windows and buffers take some 200 kB.
    assert!(
        to_lazy < 20,
        "{to_lazy} responses were made for a client that reads none"
    );

    let newest = &last.resources[0].version;
    let mut heard = 1;
    loop {
        let response = lazy.hear().await;
        lazy.say(ack_delta(&response));
        heard += 1;
        if response.resources[0].version == *newest {
            break;
        }
    }
    assert!(heard < 20, "{heard}");
}
