//! What is told, step by step: no server is asked.

use registry_core::PortDefaults;
use registry_http::fuzzing::response;

use super::*;
use crate::nomad::answer::id;

/// A watch that never asks anybody.
fn session(namespaces: &[&str]) -> Session {
    registry_testkit::init_tls();
    let config = Arc::new(NomadConfig {
        namespaces: namespaces.iter().map(|&name| name.to_owned()).collect(),
        ..NomadConfig::default()
    });
    let control = Control::new("nomad".parse().unwrap(), PortDefaults::default());
    let queries = Queries::new(config.clone(), None).unwrap();
    Session::new(queries, config, control, Arc::default())
}

fn keep(session: &mut Session, services: &[&ServiceId]) {
    for service in services {
        session.track(service).listed = true;
    }
}

/// Says that these lists were read, and all others not.
fn take_lists(session: &mut Session, read: &[usize]) {
    let now = Instant::now();
    for feed in 0..session.feeds.len() {
        let error = (!read.contains(&feed)).then(|| Arc::new(RegistryError::from(denied())));
        session.feeds[feed].error.clone_from(&error);
        session.list_in_round(feed, error, now, now);
    }
}

fn denied() -> Error {
    Error::status(&response(b"403\n\nPermission denied"))
}

/// What a service is, by the numbers of its instances.
fn answer(service: &ServiceId, index: u64, instances: &[u16]) -> Response {
    let (namespace, name) = (service.namespace(), service.name());
    let instance = |number: &u16| {
        format!(
            r#"{{"ID":"{name}-{number}","ServiceName":"{name}","Namespace":"{namespace}","Address":"10.0.0.1","Port":{number}}}"#
        )
    };
    let instances: Vec<String> = instances.iter().map(instance).collect();
    response(format!("200\nX-Nomad-Index: {index}\n\n[{}]", instances.join(",")).as_bytes())
}

/// Answers one read of a service.
fn take_read(session: &mut Session, service: &ServiceId, result: Result<Response, Error>) {
    let read = Read {
        reading: Reading {
            service: service.clone(),
            needed: 0,
        },
        leader: false,
        wished: None,
        high: 0,
        history: session.history,
    };
    let now = Instant::now();
    session.take_service(&read, result, now, now);
}

/// What was told since the last time, and what the listing that ended in it left out.
fn told(session: &mut Session) -> (Vec<Event>, Option<Vec<Scope>>) {
    let batch = std::mem::take(&mut session.batch);
    let unread = batch.iter().rev().find_map(|event| match event {
        Event::InitDone {
            scope: Scope::Registry,
            unread,
        } => Some(unread.iter().map(|(scope, _)| scope.clone()).collect()),
        _ => None,
    });
    (batch, unread)
}

#[tokio::test]
async fn a_service_that_recovers_within_a_complete_listing_is_not_left_out_of_it() {
    let (web, api) = (id("default", "web"), id("default", "api"));
    let mut session = session(&["*"]);
    keep(&mut session, &[&web, &api]);
    take_lists(&mut session, &[0]);
    take_read(&mut session, &web, Err(denied()));
    take_read(&mut session, &web, Ok(answer(&web, 7, &[80])));
    assert_eq!(told(&mut session).1, None, "api is awaited");
    take_read(&mut session, &api, Ok(answer(&api, 7, &[80])));
    assert_eq!(told(&mut session).1, Some(vec![]));
}

#[tokio::test]
async fn a_namespace_that_recovers_within_a_complete_listing_is_confirmed_after_it() {
    let (web, api, old) = (id("one", "web"), id("two", "api"), id("two", "old"));
    let mut session = session(&["one", "two"]);
    keep(&mut session, &[&web, &api, &old]);
    take_lists(&mut session, &[0]);
    // Its list is read again, and nothing is left to be read of it, before the listing ends.
    session.feeds[1].error = None;
    take_read(&mut session, &old, Ok(answer(&old, 7, &[])));
    take_read(&mut session, &web, Ok(answer(&web, 7, &[80])));
    let two = Scope::Group("two".into());
    let (batch, unread) = told(&mut session);
    assert_eq!(unread, Some(vec![two.clone()]));
    let deleted = |event: &Event| matches!(event, Event::Delete { id, .. } if *id == old);
    let end = batch
        .iter()
        .position(|event| matches!(event, Event::InitDone { .. }));
    assert!(
        batch[end.unwrap()..].iter().any(deleted),
        "the listing keeps what it could not read: {batch:?}"
    );
    while session.plan.begin(Haste::Now).is_some() {}
    session.confirm_recovered();
    let (batch, _) = told(&mut session);
    assert!(
        matches!(&batch[..], [Event::Confirmed(scope), ..] if *scope == two),
        "{batch:?}"
    );
}
