//! What a line of the event stream says.

use registry_core::{ServiceId, Str};
use serde_json::Error;

use super::answer::id;
use super::wire::Frame;
use crate::json::bounded;

/// Something happened to one instance.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The service.
    pub(super) service: ServiceId,
    /// The index at which it happened.
    pub(super) index: u64,
    /// The instance, where it was removed.
    pub(super) removed: Option<Str>,
}

/// What a line says, in the order in which it happened; nothing where it is a heartbeat.
///
/// # Errors
///
/// Where it cannot be read, or lacks what is needed to know which service it is about: whatever it told is lost then.
pub(super) fn read(line: &[u8]) -> Result<Vec<Change>, Error> {
    let frame: Frame<'_> = serde_json::from_slice(line).map_err(bounded)?;
    let of_services = frame.events.into_iter().filter(|event| event.topic == "Service");
    let changes = of_services.map(|event| {
        let missing = |what| serde::de::Error::custom(format_args!("an event of a service without {what}"));
        let Some(instance) = event.payload.service else {
            return Err(missing("one"));
        };
        let index = if event.index == 0 {
            frame.index
        } else {
            event.index
        };
        if instance.service_name.is_empty() || instance.namespace.is_empty() {
            return Err(missing("its name"));
        }
        if index == 0 {
            return Err(missing("an index"));
        }
        // A removal that goes with something else, such as the end of an allocation, has the type of that.
        let removed = event.kind != "ServiceRegistration";
        Ok(Change {
            service: id(&instance.namespace, &instance.service_name),
            index,
            removed: removed.then(|| Str::from(&*instance.id)),
        })
    });
    changes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, name: &str, index: u64) -> String {
        format!(
            r#"{{"Topic":"Service","Type":"{kind}","Key":"i-{name}","Namespace":"default","Index":{index},
                "Payload":{{"Service":{{"ID":"i-{name}","ServiceName":"{name}","Namespace":"default"}}}}}}"#
        )
        .replace('\n', "")
    }

    fn frame(events: &[String]) -> String {
        format!(r#"{{"Index":95,"Events":[{}]}}"#, events.join(","))
    }

    #[test]
    fn a_heartbeat_says_nothing() {
        assert_eq!(read(b"{}").unwrap(), []);
        assert_eq!(read(br#"{"Index":7,"Events":null}"#).unwrap(), []);
    }

    #[test]
    fn one_line_tells_all_that_happened_at_an_index() {
        let line = frame(&[
            event("ServiceRegistration", "web", 95),
            event("ServiceDeregistration", "api", 0),
        ]);
        let changes = read(line.as_bytes()).unwrap();
        assert_eq!(
            changes,
            [
                Change {
                    service: id("default", "web"),
                    index: 95,
                    removed: None
                },
                Change {
                    service: id("default", "api"),
                    index: 95,
                    removed: Some("i-api".into())
                },
            ]
        );
    }

    #[test]
    fn a_service_event_of_any_other_type_is_a_removal() {
        for kind in ["AllocationUpdated", "JobDeregistered", "NodeDeregistration", ""] {
            let changes = read(frame(&[event(kind, "web", 3)]).as_bytes()).unwrap();
            assert_eq!(changes[0].removed, Some("i-web".into()), "{kind}");
        }
    }

    #[test]
    fn other_topics_are_passed_over_and_nameless_services_are_errors() {
        let job =
            r#"{"Topic":"Job","Type":"JobRegistered","Index":4,"Payload":{"Job":{"ID":"x"}}}"#.to_owned();
        assert_eq!(read(frame(&[job]).as_bytes()).unwrap(), []);
        for broken in [
            r#"{"Index":4,"Events":[{"Topic":"Service","Type":"ServiceRegistration","Payload":{}}]}"#,
            r#"{"Index":4,"Events":[{"Topic":"Service","Payload":{"Service":{"ID":"i"}}}]}"#,
            r#"{"Events":[{"Topic":"Service","Payload":{"Service":{"ID":"i","ServiceName":"a","Namespace":"b"}}}]}"#,
            r#"{"Index":4,"Events":[{"#,
            "",
            "7",
        ] {
            assert!(read(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_line_that_was_cut_short_is_never_taken() {
        let line = frame(&[event("ServiceRegistration", "web", 95)]);
        for cut in 0..line.len() {
            assert!(read(&line.as_bytes()[..cut]).is_err(), "{cut}");
        }
    }
}
