//! What is told, step by step: no server is asked.

use registry_core::PortDefaults;
use registry_http::fuzzing::response;

use super::*;
use crate::nomad::answer::id;

/// A watch that never asks anybody.
pub(super) fn session(namespaces: &[&str]) -> Session {
    registry_testkit::init_tls();
    let config = Arc::new(NomadConfig {
        namespaces: namespaces.iter().map(|&name| name.to_owned()).collect(),
        ..NomadConfig::default()
    });
    let control = Control::new("nomad".parse().unwrap(), PortDefaults::default());
    let queries = Queries::new(config.clone(), None).unwrap();
    Session::new(queries, config, control, Arc::default())
}

pub(super) fn keep(session: &mut Session, services: &[&ServiceId]) {
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

/// What the last listing that was opened holds.
fn listed(batch: &[Event]) -> &[Event] {
    let opened = |event: &Event| matches!(event, Event::Init(Scope::Registry));
    &batch[batch.iter().rposition(opened).unwrap() + 1..]
}

#[tokio::test]
async fn a_removal_that_is_announced_before_a_listing_is_begun_anew_is_announced_in_it() {
    let (web, api) = (id("default", "web"), id("default", "api"));
    let mut session = session(&["*"]);
    keep(&mut session, &[&web, &api]);
    take_lists(&mut session, &[0]);
    take_read(&mut session, &web, Ok(answer(&web, 7, &[80, 81])));
    session.begin_round(false, Instant::now());
    // The first listing is open still.
    session
        .services
        .get_mut(&web)
        .unwrap()
        .announce("web-81".into(), 8);
    take_read(&mut session, &web, Ok(answer(&web, 8, &[80])));
    take_lists(&mut session, &[0]);
    take_read(&mut session, &web, Ok(answer(&web, 8, &[80])));
    take_read(&mut session, &api, Ok(answer(&api, 8, &[80])));
    let (batch, unread) = told(&mut session);
    assert_eq!(unread, Some(vec![]));
    let removed = |event: &Event| matches!(event, Event::Announced { id, gone } if *id == web && gone[..] == [Str::from("web-81")]);
    assert!(listed(&batch).iter().any(removed), "{batch:?}");
    assert!(!session.is_round_open());
}

#[tokio::test]
async fn what_a_listing_that_is_begun_anew_drops_is_told_again_where_a_list_fails_in_it() {
    let (web, api) = (id("one", "web"), id("two", "api"));
    let mut session = session(&["one", "two"]);
    keep(&mut session, &[&web, &api]);
    take_lists(&mut session, &[0, 1]);
    take_read(&mut session, &api, Ok(answer(&api, 7, &[80])));
    session.begin_round(false, Instant::now());
    take_lists(&mut session, &[0]);
    assert!(session.plan.is_due(&api));
    take_read(&mut session, &web, Ok(answer(&web, 7, &[80])));
    assert_eq!(told(&mut session).1, Some(vec![Scope::Group("two".into())]));
    take_read(&mut session, &api, Ok(answer(&api, 7, &[80])));
    let (batch, _) = told(&mut session);
    assert!(
        matches!(&batch[..], [Event::Apply { record, .. }] if *record.id() == api),
        "{batch:?}"
    );
}
