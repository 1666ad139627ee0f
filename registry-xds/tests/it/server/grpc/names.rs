//! Names that there are not, not yet, or of which nobody can say that there are not.

use std::time::Duration;

use registry_core::{Discovery, RegistryOptions, StaticRegistry};
use registry_testkit::grpc::{Answered, Call, DATA_ERRORS};
use registry_testkit::scripted::{ScriptedRegistry, Step};
use registry_testkit::wait::until;
use registry_xds::{ResourceType, XdsConfig};
use tokio::time::Instant;

use super::{ECHO, Mesh, call, call_until, echo, servers, service, waiting};
use crate::support::{PATIENCE, SILENCE};

/// Less than the 15 s after which a client takes silence for an answer.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Facts §9.10 and A88: the server says that there is no such name, the client believes it, and hears of it when it comes.
#[tokio::test]
async fn acceptance_4_an_unknown_name_is_a_clear_error_at_once_until_it_is_there() {
    let [a] = servers(["a"]).await;
    let mesh = Mesh::start([echo([&a])], XdsConfig::default()).await;
    let mut client = mesh.client(&[DATA_ERRORS]).await;

    let later = "xds:///later.static";
    let answer = client.call(&call(later)).await.unwrap();
    eprintln!("unknown name: {answer:?}");
    assert_eq!(answer.code, "UNAVAILABLE", "{answer:?}");
    assert!(answer.details.contains("no service later.static"), "{answer:?}");
    assert!(answer.seconds < AT_ONCE.as_secs_f64(), "{answer:?}");
    // Known ones are not affected.
    assert_eq!(client.call(&call(ECHO)).await.unwrap().code, "OK");
    let no_port = client.call(&call("xds:///echo.static:1")).await.unwrap();
    assert!(no_port.details.contains("echo.static:1"), "{no_port:?}");

    let start = Instant::now();
    mesh.services.set([echo([&a]), service("later", [super::at(&a)])]);
    // A call that began to wait while there was no such name waits to its deadline, whatever comes: the library gave it
    // no route. Only later ones have one.
    let found = |answer: &Answered| answer.server.as_deref() == Some("a");
    call_until(&mut client, &call(later), "the new name", found).await;
    eprintln!("there after {:?}", start.elapsed());
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
}

/// Facts §4, start-up: a client that comes first waits, and has its answer from the first complete knowledge.
#[tokio::test]
async fn acceptance_3_a_client_that_starts_first_waits_and_then_works() {
    let [a] = servers(["a"]).await;
    let registry = ScriptedRegistry::new([]).with_kind("static");
    let script = registry.handle();
    let discovery = Discovery::builder().registry("here", registry).unwrap();
    let discovery = discovery.start().unwrap();
    let nobody = StaticRegistry::new([]).handle();
    let anywhere = ([127, 0, 0, 1], 0).into();
    let mesh = Mesh::serve(anywhere, discovery, nobody, XdsConfig::default()).await;
    let mut client = mesh.client(&[DATA_ERRORS]).await;

    client.start_load(&waiting(ECHO), 1).await.unwrap();
    has_asked(&mesh, "a question").await;
    tokio::time::sleep(SILENCE).await;
    let clients = mesh.xds.clients();
    assert_eq!(clients.metrics().responses.values().sum::<u64>(), 0);
    // Neither an error nor a wait that ended.
    let impatient = Call {
        timeout: Duration::from_secs(1),
        ..call(ECHO)
    };
    let answer = client.call(&impatient).await.unwrap();
    assert_eq!(answer.code, "DEADLINE_EXCEEDED", "{answer:?}");

    script.play(Step::list([echo([&a])]));
    let answer = client.call(&call(ECHO)).await.unwrap();
    assert_eq!(answer.server.as_deref(), Some("a"), "{answer:?}");
    let report = client.stop_load().await.unwrap();
    assert_eq!(report.by_code.keys().collect::<Vec<_>>(), ["OK"], "{report:?}");
}

/// A name that a registry may own which was not heard yet is no name that there is not.
#[tokio::test]
async fn a_name_that_an_unheard_registry_may_own_is_not_denied() {
    let [a] = servers(["a"]).await;
    let silent = ScriptedRegistry::new([]).with_kind("static");
    let script = silent.handle();
    let optional = RegistryOptions {
        required: false,
        ..RegistryOptions::default()
    };
    let registry = StaticRegistry::new([echo([&a])]);
    let services = registry.handle();
    let discovery = Discovery::builder()
        .registry("here", registry)
        .unwrap()
        .registry_with("there", silent, optional)
        .unwrap()
        .start_deadline(Duration::from_millis(100))
        .start()
        .unwrap();
    let anywhere = ([127, 0, 0, 1], 0).into();
    let mesh = Mesh::serve(anywhere, discovery, services, XdsConfig::default()).await;
    let mut client = mesh.client(&[DATA_ERRORS]).await;

    let known = client.call(&call(ECHO)).await.unwrap();
    assert_eq!(known.code, "OK", "{known:?}");
    let maybe = Call {
        timeout: Duration::from_secs(2),
        ..call("xds:///maybe.static")
    };
    let answer = client.call(&maybe).await.unwrap();
    assert_eq!(answer.code, "DEADLINE_EXCEEDED", "{answer:?}");

    script.play(Step::list([service("other", [super::at(&a)])]));
    let denied = |answer: &Answered| answer.details.contains("no service maybe.static");
    call_until(&mut client, &maybe, "a denial", denied).await;
}

async fn has_asked(mesh: &Mesh, what: &str) {
    until(what, PATIENCE, async || {
        let clients = mesh.xds.clients().list();
        let asked = |client: &registry_xds::ClientStatus| client.types.contains_key(&ResourceType::Listener);
        clients.iter().any(asked).then_some(())
    })
    .await
    .unwrap();
}
