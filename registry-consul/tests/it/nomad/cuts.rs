//! Event streams and answers that break off, at every byte.

use futures_util::{StreamExt, stream};
use registry_testkit::nomad::{NomadApi, NomadPlay, Registration, StreamFault};
use registry_testkit::witness::Witness;
use registry_testkit::{Fault, FaultProxy, Match, Rule};

use super::{config, discover, instances, play, until_healthy, until_true};
use crate::support::ready;

/// A head is not longer.
const HEAD: usize = 130;

/// An answer about three instances is not longer.
const ANSWER: usize = 1500;

/// How many are tried at once.
const AT_ONCE: usize = 20;

/// How many namespaces one registry watches, each with a stream of its own.
const STREAMS: usize = 20;

/// A server with two instances of a service in each of so many namespaces, whose event stream remembers nothing of them.
async fn forgetful(namespaces: usize) -> NomadPlay {
    let nomad = play(&[]).await;
    for namespace in 0..namespaces {
        nomad.register(&web(namespace, 2));
    }
    nomad.restart();
    nomad
}

fn web(namespace: usize, count: u8) -> Vec<Registration> {
    let namespace = format!("ns-{namespace:02}");
    (1..=count)
        .map(|number| Registration::within(&namespace, "web", number))
        .collect()
}

/// One registry whose streams are cut after so many bytes each.
async fn cut_streams(cuts: Vec<usize>) {
    let nomad = forgetful(cuts.len()).await;
    nomad.fail_streams(cuts.iter().map(|bytes| StreamFault::CutAfter(*bytes)));
    let mut config = config(&nomad.url());
    config.namespaces = nomad
        .namespaces()
        .into_iter()
        .filter(|name| name != "default")
        .collect();
    let discovery = discover(config);
    ready(&discovery).await;
    until_true("the start", &discovery, &nomad).await;
    let witness = Witness::call(&discovery);
    for namespace in 0..cuts.len() {
        nomad.register(&web(namespace, 3));
    }
    until_true(&format!("cut after {cuts:?} bytes"), &discovery, &nomad).await;
    witness.saw_everything(&format!("cut after {cuts:?} bytes"), &discovery);
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_19_a_stream_that_is_cut_at_any_byte_loses_no_change() {
    // As long as the stream is that tells of the change.
    let nomad = forgetful(1).await;
    let api = NomadApi::new(&nomad.url(), None).unwrap();
    let (_, mut lines) = api.events("topic=Service&namespace=*").await.unwrap();
    let heartbeat = lines.next().await.unwrap();
    nomad.register(&web(0, 3));
    let frame = lines.next().await.unwrap();
    let longest = HEAD + heartbeat.len() + frame.len() + 2;
    assert!(longest > 500, "{frame}");
    let all: Vec<usize> = (0..longest).collect();
    stream::iter(all.chunks(STREAMS).map(<[usize]>::to_vec))
        .for_each_concurrent(AT_ONCE, cut_streams)
        .await;
}

async fn cut_answer(path: &str, bytes: usize) {
    let nomad = play(&[("web", 2), ("api", 1)]).await;
    let proxy = FaultProxy::start(nomad.addr()).await.unwrap();
    let discovery = discover(config(&proxy.url()));
    ready(&discovery).await;
    until_true("the start", &discovery, &nomad).await;
    let witness = Witness::call(&discovery);
    proxy.inject(Rule::new(Match::path(path).times(1), Fault::CutAnswer(bytes)));
    nomad.register(&instances("web", 3));
    until_true(&format!("{path} cut after {bytes} bytes"), &discovery, &nomad).await;
    until_healthy(&discovery).await;
    witness.saw_everything(&format!("{path} cut after {bytes} bytes"), &discovery);
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_cut_at_any_byte_removes_nothing() {
    // Every 29th byte: no boundary of the format repeats so.
    let cases = ["/v1/services", "/v1/service/web"]
        .into_iter()
        .flat_map(|path| (0..ANSWER).step_by(29).map(move |bytes| (path, bytes)));
    stream::iter(cases)
        .for_each_concurrent(None, |(path, bytes)| cut_answer(path, bytes))
        .await;
}
