//! A transport that answers from a script, and a feed over it whose words are told in short.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use registry_core::{Control, ErrorKind, PortDefaults, RegistryError, async_trait};
use tokio::time::{Instant, sleep, timeout};

use crate::transport::{Ask, Body, Form, Refusal, Transport};
use crate::watch::{Feed, Manner, Resource, Told};

/// A piece of a body.
#[derive(Debug, Clone)]
pub(super) enum Part {
    Bytes(Bytes),
    Wait(Duration),
    /// The connection is reset.
    Reset,
    /// Nothing comes any more, and no end either.
    Hang,
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Body(Vec<Part>),
    Refuse {
        code: u16,
        retry_after: Option<Duration>,
        body: String,
    },
    /// Nobody answers.
    Never,
}

/// Answers one after the other, and notes what was asked when. After the last one every answer is a body that hangs.
#[derive(Debug)]
pub(super) struct Script {
    replies: Mutex<VecDeque<Reply>>,
    asked: Mutex<Vec<(Duration, Ask)>>,
    start: Instant,
}

#[async_trait]
impl Transport for Script {
    async fn get(&self, ask: Ask) -> Result<Body, Refusal> {
        let path = ask.path.clone();
        self.asked.lock().unwrap().push((self.start.elapsed(), ask));
        let reply = self.replies.lock().unwrap().pop_front();
        // As over a network: what was said before is told before the answer.
        tokio::task::yield_now().await;
        match reply.unwrap_or(Reply::Body(vec![Part::Hang])) {
            Reply::Body(parts) => Ok(Box::pin(body(parts))),
            Reply::Refuse {
                code,
                retry_after,
                body,
            } => Err(Refusal::answered(
                &format!("GET http://server{path}"),
                Some(code),
                retry_after,
                body.as_bytes(),
            )),
            Reply::Never => std::future::pending().await,
        }
    }
}

/// The pieces as they come.
pub(super) fn body(parts: Vec<Part>) -> impl Stream<Item = Result<Bytes, RegistryError>> + Send {
    stream::unfold(VecDeque::from(parts), |mut parts| async move {
        loop {
            match parts.pop_front()? {
                Part::Bytes(bytes) => return Some((Ok(bytes), parts)),
                Part::Wait(time) => sleep(time).await,
                Part::Reset => {
                    let error = RegistryError::new(ErrorKind::Unreachable, "connection reset");
                    return Some((Err(error), parts));
                }
                Part::Hang => std::future::pending().await,
            }
        }
    })
}

/// A feed over a script.
pub(super) struct Play {
    pub(super) feed: Feed,
    pub(super) control: Control,
    script: Arc<Script>,
}

pub(super) fn manner(streaming_lists: bool) -> Manner {
    Manner {
        timeout: secs(30),
        page_size: 2,
        streaming_lists,
        patience: secs(10),
        max_page_bytes: 1 << 20,
        max_object_bytes: 4096,
    }
}

pub(super) fn resource() -> Resource {
    Resource {
        path: "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices".to_owned(),
        selector: None,
        form: Form::Object,
    }
}

impl Play {
    /// Asks for pages.
    pub(super) fn pages(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::new(resource(), manner(false), replies)
    }

    pub(super) fn streaming(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::new(resource(), manner(true), replies)
    }

    pub(super) fn new(resource: Resource, manner: Manner, replies: impl IntoIterator<Item = Reply>) -> Self {
        let script = Arc::new(Script {
            replies: Mutex::new(replies.into_iter().collect()),
            asked: Mutex::default(),
            start: Instant::now(),
        });
        let control = Control::new("k8s".parse().unwrap(), PortDefaults::default());
        let transport: Arc<dyn Transport> = script.clone();
        Self {
            feed: Feed::new(transport, resource, manner, control.clone()),
            control,
            script,
        }
    }

    /// What is told next.
    pub(super) async fn next(&mut self) -> Vec<String> {
        let told = timeout(secs(3600), self.feed.next()).await;
        told.expect("the feed says something within an hour")
            .iter()
            .map(short)
            .collect()
    }

    /// All that is told up to something that starts like this.
    pub(super) async fn until(&mut self, start: &str) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..1000 {
            all.extend(self.next().await);
            if all.iter().any(|told| told.starts_with(start)) {
                return all;
            }
        }
        panic!("{start:?} was not told: {all:#?}");
    }

    /// All that is told within a time.
    pub(super) async fn within(&mut self, time: Duration) -> Vec<String> {
        let end = Instant::now() + time;
        let mut all = Vec::new();
        while let Ok(told) = tokio::time::timeout_at(end, self.feed.next()).await {
            all.extend(told.iter().map(short));
        }
        all
    }

    /// When something was asked for, and for what, in short.
    pub(super) fn asked(&self) -> Vec<(Duration, String)> {
        let asked = self.script.asked.lock().unwrap();
        asked.iter().map(|(at, ask)| (*at, kind(ask))).collect()
    }

    /// What was asked for, in short.
    pub(super) fn kinds(&self) -> Vec<String> {
        self.asked().into_iter().map(|(_, kind)| kind).collect()
    }

    /// The requests as they were sent.
    pub(super) fn asks(&self) -> Vec<Ask> {
        let asked = self.script.asked.lock().unwrap();
        asked.iter().map(|(_, ask)| ask.clone()).collect()
    }
}

/// `list`, `list TOKEN`, `stream SECONDS`, `watch VERSION SECONDS` or `check VERSION`.
fn kind(ask: &Ask) -> String {
    let parameter = |key: &str| {
        let (_, query) = ask.path.split_once('?').unwrap();
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
    };
    let seconds = parameter("timeoutSeconds").unwrap_or("-");
    assert_eq!(ask.watch, parameter("watch").is_some(), "{ask:?}");
    match (
        parameter("watch"),
        parameter("resourceVersion"),
        parameter("continue"),
    ) {
        (Some(_), Some(version), _) => format!("watch {version} {seconds}"),
        (Some(_), None, _) => {
            assert_eq!(parameter("sendInitialEvents"), Some("true"));
            assert_eq!(parameter("resourceVersionMatch"), Some("NotOlderThan"));
            format!("stream {seconds}")
        }
        (None, Some(version), _) => {
            assert_eq!(parameter("resourceVersionMatch"), Some("NotOlderThan"));
            assert_eq!((parameter("limit"), ask.form), (Some("1"), Form::Metadata));
            format!("check {version}")
        }
        (None, None, Some(token)) => format!("list {token}"),
        (None, None, None) => "list".to_owned(),
    }
}

/// What was told, in short: `listed a@3`, `failed GET …`.
pub(super) fn short(told: &Told) -> String {
    match told {
        Told::Begin => "begin".to_owned(),
        Told::Listed(object) => format!("listed {}", name(object)),
        Told::Complete => "complete".to_owned(),
        Told::Changed(object) => format!("changed {}", name(object)),
        Told::Removed(object) => format!("removed {}", name(object)),
        Told::Skipped(what) => format!("skipped {what}"),
        Told::Confirmed => "confirmed".to_owned(),
        Told::Failed(error) => format!("failed {}", error.report()),
    }
}

/// The name and the version of an object.
pub(super) fn name(object: &Bytes) -> String {
    let object: serde_json::Value = serde_json::from_slice(object).expect("an object in JSON");
    let field = |name: &str| object["metadata"][name].as_str().unwrap_or("?").to_owned();
    format!("{}@{}", field("name"), field("resourceVersion"))
}

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

// --- answers

pub(super) fn object(name: &str, version: u64) -> String {
    format!(r#"{{"metadata":{{"name":"{name}","namespace":"shop","resourceVersion":"{version}"}},"x":1}}"#)
}

pub(super) fn list_text(version: u64, token: &str, objects: &[(&str, u64)]) -> String {
    let items: Vec<_> = objects
        .iter()
        .map(|(name, version)| object(name, *version))
        .collect();
    format!(
        r#"{{"kind":"EndpointSliceList","metadata":{{"resourceVersion":"{version}","continue":"{token}"}},"items":[{}]}}"#,
        items.join(",")
    )
}

/// A page, with a token for the next one unless that is empty.
pub(super) fn list(version: u64, token: &str, objects: &[(&str, u64)]) -> Reply {
    text(&list_text(version, token, objects))
}

pub(super) fn text(text: &str) -> Reply {
    Reply::Body(vec![bytes(text)])
}

pub(super) fn bytes(text: &str) -> Part {
    Part::Bytes(Bytes::copy_from_slice(text.as_bytes()))
}

/// A line of a watch.
pub(super) fn event(kind: &str, name: &str, version: u64) -> Part {
    bytes(&format!(
        "{{\"type\":\"{kind}\",\"object\":{}}}\n",
        object(name, version)
    ))
}

pub(super) fn bookmark(version: u64) -> Part {
    bytes(&format!(
        "{{\"type\":\"BOOKMARK\",\"object\":{{\"metadata\":{{\"resourceVersion\":\"{version}\"}},\"endpoints\":null}}}}\n"
    ))
}

/// The end mark of a streaming list.
pub(super) fn end_mark(version: u64) -> Part {
    bytes(&format!(
        "{{\"type\":\"BOOKMARK\",\"object\":{{\"metadata\":{{\"resourceVersion\":\"{version}\",\"annotations\":{{\"k8s.io/initial-events-end\":\"true\"}}}}}}}}\n"
    ))
}

pub(super) fn status(code: u16, reason: &str) -> String {
    format!(
        r#"{{"kind":"Status","metadata":{{}},"status":"Failure","message":"it says {reason}","reason":"{reason}","code":{code}}}"#
    )
}

/// An `ERROR` event.
pub(super) fn error(code: u16, reason: &str) -> Part {
    bytes(&format!(
        "{{\"type\":\"ERROR\",\"object\":{}}}\n",
        status(code, reason)
    ))
}

pub(super) fn refuse(code: u16, reason: &str) -> Reply {
    refuse_for(code, reason, None)
}

pub(super) fn refuse_for(code: u16, reason: &str, seconds: Option<u64>) -> Reply {
    Reply::Refuse {
        code,
        retry_after: seconds.map(secs),
        body: status(code, reason),
    }
}

/// 504, as for a version that the server does not have.
pub(super) fn ahead() -> Reply {
    Reply::Refuse {
        code: 504,
        retry_after: Some(secs(1)),
        body: r#"{"kind":"Status","message":"Timeout: Too large resource version: 9, current: 5","reason":"Timeout","details":{"causes":[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}],"retryAfterSeconds":1},"code":504}"#.to_owned(),
    }
}

/// A watch that the server ends after so many seconds in which it says nothing.
pub(super) fn quiet(seconds: u64) -> Reply {
    Reply::Body(vec![Part::Wait(secs(seconds))])
}

/// A watch that says this and is then left open.
pub(super) fn open(mut parts: Vec<Part>) -> Reply {
    parts.push(Part::Hang);
    Reply::Body(parts)
}
