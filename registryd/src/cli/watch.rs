//! `watch`: changes as they come.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;

use serde_json::Value;

use super::client::Client;
use super::output::{print, warn, yaml};
use super::{Output, ServerArgs};
use crate::error::Error;

const PATH: &str = "/v1/watch";

pub(super) async fn watch(server: &ServerArgs) -> Result<(), Error> {
    let client = Client::new(server)?;
    let (status, readiness) = client.ask("/readyz", &[]).await?;
    if !status.is_success() {
        let why = readiness["detail"].as_str().unwrap_or("not ready");
        warn(&format!("changes follow once registryd is ready; {why}"));
    }
    let mut response = client.stream(PATH).await?;
    let mut events = Events::default();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| client.failed(PATH, &error))?
    {
        for (kind, data) in events.take(&chunk) {
            let Ok(value) = serde_json::from_slice::<Value>(&data) else {
                continue;
            };
            let text = match server.output.output {
                Output::Table => lines(&kind, &value),
                Output::Json => format!("{}\n", serde_json::json!({ "event": kind, "data": value })),
                Output::Yaml => {
                    let event = serde_json::json!({ "event": kind, "data": value });
                    format!("---\n{}", yaml(&event)?)
                }
            };
            print(&text)?;
        }
    }
    Err(Error::Server {
        url: format!("{}{PATH}", server.server.trim_end_matches('/')),
        problem: "the daemon has ended the watch".to_owned(),
    })
}

/// Takes server-sent events out of a stream of bytes.
#[derive(Debug, Default)]
struct Events {
    line: Vec<u8>,
    kind: String,
    data: Vec<u8>,
}

impl Events {
    fn take(&mut self, mut bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut events = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            if line.is_empty() {
                let event = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
                if !event.1.is_empty() {
                    events.push(event);
                }
            } else if let Some(kind) = line.strip_prefix(b"event: ") {
                self.kind = String::from_utf8_lossy(kind).into_owned();
            } else if let Some(data) = line.strip_prefix(b"data: ") {
                self.data.extend_from_slice(data);
            }
        }
        self.line.extend_from_slice(bytes);
        events
    }
}

/// One line for each service and registry that an event speaks of.
fn lines(kind: &str, value: &Value) -> String {
    let mut text = String::new();
    let mut line = |mark: &str, words: String| {
        text.push_str(&format!("{mark} {}\n", words.replace(char::is_control, " ")));
    };
    let list = |field: &str| value[field].as_array().cloned().unwrap_or_default();
    if kind == "reset" {
        line(
            "=",
            format!(
                "revision {}, {} services",
                value["revision"],
                list("services").len()
            ),
        );
    }
    for service in list("services").iter().chain(&list("updated")) {
        let endpoints = service["endpoints"].as_array().map_or(0, Vec::len);
        let hostname = service["hostname"].as_str().unwrap_or_default();
        line(
            "+",
            format!(
                "{hostname}   {endpoints} endpoints, revision {}",
                service["revision"]
            ),
        );
    }
    for hostname in list("removed").iter().filter_map(Value::as_str) {
        line("-", hostname.to_owned());
    }
    for (registry, phase) in value["phases"].as_object().into_iter().flatten() {
        line(
            "*",
            format!("registry {registry} is {}", phase.as_str().unwrap_or("removed")),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_together_from_any_pieces() {
        let text = b": quiet\n\nevent: delta\nid: 1.2\ndata: {\"a\":1}\n\nevent: reset\ndata: {}\n\n";
        for size in [1, 7, text.len()] {
            let mut events = Events::default();
            let found: Vec<_> = text.chunks(size).flat_map(|chunk| events.take(chunk)).collect();
            let expected = [("delta", "{\"a\":1}"), ("reset", "{}")];
            assert_eq!(
                found,
                expected.map(|(kind, data)| (kind.to_owned(), data.as_bytes().to_vec()))
            );
        }
    }

    #[test]
    fn changes_are_lines() {
        let value = serde_json::json!({
            "updated": [{ "hostname": "web", "endpoints": [1, 2], "revision": 7 }],
            "removed": ["api"],
            "phases": { "consul": "stale", "old": null },
        });
        assert_eq!(
            lines("delta", &value),
            "+ web   2 endpoints, revision 7\n- api\n* registry consul is stale\n* registry old is removed\n"
        );
    }
}
