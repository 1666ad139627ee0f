//! The session against servers that only pretend, in time that is moved by hand.

mod history;
mod world;

use registry_core::{Control, PortDefaults, ServiceId};

use super::*;

#[test]
fn services_of_which_nothing_is_wrong_any_more_are_not_remembered() {
    registry_testkit::init_tls();
    let config = Arc::new(EurekaConfig::default());
    let transport = Transport::new(config.clone()).unwrap();
    let control = Control::new("eureka".parse().unwrap(), PortDefaults::default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let mut session = Session::new(transport, config, control);
    let name = |n: usize| ServiceId::named(format!("build-{n}"));
    let troubled = |n: usize| Changes {
        troubles: vec![(name(n), "port 0".to_owned())],
        ..Changes::default()
    };
    for n in 0..100 {
        session.forget_told(&troubled(n));
        session.note_troubles(&troubled(n));
    }
    // Another full fetch with the same trouble tells nothing anew.
    session.forget_told(&troubled(99));
    assert_eq!(session.told, HashSet::from([name(99)]));
}
