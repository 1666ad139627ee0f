//! A client of `/v1/watch`.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

/// How long an event may take that is waited for.
const DEADLINE: Duration = Duration::from_secs(60);

/// An open watch; events are read only when they are asked for.
pub(crate) struct Stream {
    answer: reqwest::Response,
    buffer: Vec<u8>,
}

/// One event.
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) data: Value,
}

impl Stream {
    /// Opens a watch, and takes the state that it begins with.
    pub(crate) async fn open(url: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let answer = timeout(DEADLINE, http.get(format!("{url}/v1/watch")).send()).await;
        let answer = answer.expect("a watch in time").expect("a watch");
        let mut stream = Self {
            answer,
            buffer: Vec::new(),
        };
        assert_eq!(stream.next().await.kind, "reset");
        stream
    }

    /// The next event.
    pub(crate) async fn next(&mut self) -> Event {
        match timeout(DEADLINE, self.read()).await {
            Ok(event) => event,
            Err(_) => panic!("no event within {DEADLINE:?}"),
        }
    }

    /// The next event, if it comes within that time.
    pub(crate) async fn within(&mut self, time: Duration) -> Option<Event> {
        timeout(time, self.read()).await.ok()
    }

    async fn read(&mut self) -> Event {
        let mut seen = 0;
        loop {
            let end = self.buffer[seen..].windows(2).position(|pair| pair == b"\n\n");
            if let Some(end) = end {
                let event: Vec<u8> = self.buffer.drain(..seen + end + 2).collect();
                seen = 0;
                let field = |name: &str| {
                    let mut lines = event.split(|byte| *byte == b'\n');
                    lines
                        .find_map(|line| line.strip_prefix(name.as_bytes()))
                        .map(<[u8]>::trim_ascii)
                };
                if let (Some(kind), Some(data)) = (field("event:"), field("data:")) {
                    let kind = String::from_utf8_lossy(kind).into_owned();
                    return Event {
                        kind,
                        data: serde_json::from_slice(data).expect("JSON"),
                    };
                }
                continue;
            }
            seen = self.buffer.len().saturating_sub(1);
            let chunk = self
                .answer
                .chunk()
                .await
                .expect("a whole answer")
                .expect("no end of the watch");
            self.buffer.extend_from_slice(&chunk);
        }
    }

    /// Waits for a delta with a service of that name for which this holds, and returns the service.
    pub(crate) async fn until(&mut self, hostname: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let delta = self.next().await.data;
            let updated = delta["updated"].as_array().expect("updated services");
            if let Some(found) = updated
                .iter()
                .find(|service| service["hostname"] == hostname && wanted(service))
            {
                return found.clone();
            }
        }
    }
}

/// The raw statuses that registries give the endpoints of a service.
pub(crate) fn statuses(service: &Value) -> Vec<&str> {
    let endpoints = service["endpoints"].as_array().into_iter().flatten();
    let sources = endpoints.flat_map(|endpoint| endpoint["sources"].as_array().into_iter().flatten());
    sources.filter_map(|source| source["status"].as_str()).collect()
}
