//! The play behaves as a real Nomad: what is asked of both is answered alike.
//!
//! Each test runs on the play, and on a real server where the environment names one.

mod contract;
mod play;
mod rights;

use std::time::Duration;

use registry_testkit::nomad::Lines;
use serde_json::Value;

/// Longer than anything takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// The next line of a stream that is no heartbeat, as JSON.
async fn frame(lines: &mut Lines) -> Value {
    let next = async {
        loop {
            let line = lines.next().await.expect("the stream goes on");
            if line != "{}" {
                return serde_json::from_str(&line).unwrap();
            }
        }
    };
    tokio::time::timeout(DEADLINE, next)
        .await
        .expect("a frame in time")
}

/// The first event about a service, whatever else is told.
async fn event(lines: &mut Lines, service: &str) -> Value {
    loop {
        let frame = frame(lines).await;
        let events = frame["Events"].as_array().unwrap();
        let about = |event: &&Value| event["Payload"]["Service"]["ServiceName"] == service;
        if let Some(event) = events.iter().find(about) {
            return event.clone();
        }
    }
}
