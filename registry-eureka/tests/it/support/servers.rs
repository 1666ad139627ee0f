//! Servers with the properties that most tests can do with, shared by those that run at the same time: starting one takes
//! longer than most of what is done to it. Each test has applications of its own there.

use std::sync::{Arc, Weak};

use registry_testkit::eureka::{Eureka, EurekaApi, Flavor};
use tokio::sync::Mutex;

/// Those that are in use. The last test that lets go of one ends it, so none outlives the tests.
static SHARED: Mutex<Vec<(Flavor, Weak<Eureka>)>> = Mutex::const_new(Vec::new());

/// A server as it is started without options, and calls to it.
///
/// Nobody may stop it, change its options, or look at what is not theirs. Who overrides a status does it under an id that
/// nobody else has: servers keep overrides by the id alone, and an instance of another application that registers under
/// it gets the same status.
#[derive(Debug)]
pub(crate) struct Shared {
    eureka: Arc<Eureka>,
    /// Not the server's own: its connections would belong to the runtime of the test that made them.
    api: EurekaApi,
}

impl Shared {
    pub(crate) async fn war() -> Self {
        Self::of(Flavor::War).await
    }

    pub(crate) async fn spring() -> Self {
        Self::of(Flavor::Spring).await
    }

    pub(crate) async fn of(flavor: Flavor) -> Self {
        let mut shared = SHARED.lock().await;
        let running = shared.iter().find(|(held, _)| *held == flavor);
        let eureka = match running.and_then(|(_, eureka)| eureka.upgrade()) {
            Some(eureka) => eureka,
            None => {
                let builder = match flavor {
                    Flavor::War => Eureka::war(),
                    Flavor::Spring => Eureka::spring(),
                };
                let eureka = Arc::new(builder.start().await.unwrap());
                shared.retain(|(held, _)| *held != flavor);
                shared.push((flavor, Arc::downgrade(&eureka)));
                eureka
            }
        };
        Self {
            api: EurekaApi::new(eureka.base_url()).unwrap(),
            eureka,
        }
    }

    pub(crate) fn api(&self) -> &EurekaApi {
        &self.api
    }

    pub(crate) fn base_url(&self) -> &str {
        self.eureka.base_url()
    }

    pub(crate) fn server(&self) -> &Eureka {
        &self.eureka
    }
}
