//! Is it still the same cluster? After trouble the server behind an address may be another one, or one whose memory was
//! wiped, and its resource versions then mean nothing. The uid of the namespace `kube-system` tells clusters apart. It is
//! looked at after trouble, and from time to time without any.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use registry_core::Str;
use serde::Deserialize;
use tokio::time::Instant;

use crate::transport::{Ask, Class, Form, Refusal, Transport};

const PATH: &str = "/api/v1/namespaces/kube-system";

/// It is looked at so often without any trouble, too: a balancer may lead to another cluster at the end of a watch, and an
/// old server that ends all watches as it should may be followed by a new one before anybody asks again.
const EVERY: Duration = Duration::from_secs(30);

/// A namespace is hardly a kilobyte.
const MOST_BYTES: usize = 1 << 20;

/// Which cluster it is, as far as rights allow to know: it takes `get` on that one namespace.
pub(super) struct Identity {
    transport: Arc<dyn Transport>,
    patience: Duration,
    uid: Option<Str>,
    /// There was trouble between the first word of the server and the first time that it was known.
    late: bool,
    /// It should be looked at as soon as the server answers.
    due: bool,
    asked: Instant,
    /// It cannot be had, and is not asked for again.
    closed: bool,
    asking: Option<BoxFuture<'static, Answer>>,
}

enum Answer {
    Uid(Str),
    /// Rights forbid it, or there is no such thing.
    Never,
    NotNow,
}

impl Identity {
    pub(super) fn new(transport: Arc<dyn Transport>, patience: Duration) -> Self {
        Self {
            transport,
            patience,
            uid: None,
            late: false,
            due: true,
            asked: Instant::now(),
            closed: false,
            asking: None,
        }
    }

    /// The server was in trouble: when it answers again, it may be another one.
    pub(super) fn doubt(&mut self) {
        let was_asked = self.asking.is_some() || !self.due;
        self.late |= self.uid.is_none() && was_asked;
        self.due = true;
    }

    /// The server answers.
    pub(super) fn answers(&mut self) {
        let due = self.due || self.asked.elapsed() >= EVERY;
        if due && !self.closed && self.asking.is_none() {
            self.due = false;
            self.asked = Instant::now();
            self.asking = Some(ask(self.transport.clone(), self.patience).boxed());
        }
    }

    /// Resolves when it is another cluster than before, or may be: the uid before, where it was known, and now. Cancel
    /// safe.
    pub(super) async fn changed(&mut self) -> (Option<Str>, Str) {
        loop {
            let Some(asking) = &mut self.asking else {
                return std::future::pending().await;
            };
            let answer = asking.await;
            self.asking = None;
            match answer {
                // Where it could be had before, the rights of that cluster or its life are others now: this may pass.
                Answer::Never if self.uid.is_some() => self.due = true,
                Answer::Never => self.closed = true,
                Answer::NotNow => {
                    self.due = true;
                    self.late |= self.uid.is_none();
                }
                Answer::Uid(uid) => {
                    let before = self.uid.replace(uid.clone());
                    // What was listed before it was known may be another cluster's.
                    let late = std::mem::take(&mut self.late);
                    if late || before.as_ref().is_some_and(|before| *before != uid) {
                        return (before, uid);
                    }
                }
            }
        }
    }
}

async fn ask(transport: Arc<dyn Transport>, patience: Duration) -> Answer {
    let ask = Ask {
        path: PATH.to_owned(),
        form: Form::Object,
        watch: false,
        patience,
    };
    let read = async {
        let mut body = match transport.get(ask).await {
            Ok(body) => body,
            Err(Refusal {
                class: Class::Forbidden | Class::NotFound,
                ..
            }) => return Answer::Never,
            Err(_) => return Answer::NotNow,
        };
        let mut text = Vec::new();
        while let Some(piece) = body.next().await {
            match piece {
                Ok(piece) if text.len() + piece.len() <= MOST_BYTES => text.extend_from_slice(&piece),
                _ => return Answer::NotNow,
            }
        }
        uid(&text).map_or(Answer::NotNow, Answer::Uid)
    };
    tokio::time::timeout(patience * 2, read)
        .await
        .unwrap_or(Answer::NotNow)
}

fn uid(object: &[u8]) -> Option<Str> {
    #[derive(Deserialize)]
    struct Object {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        uid: String,
    }
    let object: Object = serde_json::from_slice(object).ok()?;
    (!object.metadata.uid.is_empty()).then(|| object.metadata.uid.into())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use futures_util::stream;
    use registry_core::{ErrorKind, RegistryError, async_trait};

    use super::*;
    use crate::transport::Body;

    /// The uids that are answered, one after the other; `None` where nobody answers.
    #[derive(Debug)]
    struct Uids(Mutex<VecDeque<Option<&'static str>>>);

    #[async_trait]
    impl Transport for Uids {
        async fn get(&self, _: Ask) -> Result<Body, Refusal> {
            let uid = self.0.lock().unwrap().pop_front().flatten();
            let Some(uid) = uid else {
                let error = RegistryError::new(ErrorKind::Unreachable, "nobody there");
                return Err(Refusal::trouble(error));
            };
            let body = format!(r#"{{"metadata":{{"uid":"{uid}"}}}}"#);
            Ok(Box::pin(stream::iter([Ok(body.into())])))
        }
    }

    fn identity(uids: &[Option<&'static str>]) -> Identity {
        let uids = Mutex::new(uids.iter().copied().collect());
        Identity::new(Arc::new(Uids(uids)), Duration::from_secs(1))
    }

    /// Whether what is asked by now tells of another cluster.
    fn change(identity: &mut Identity) -> Option<(Option<String>, String)> {
        let (before, after) = identity.changed().now_or_never()?;
        Some((before.map(|uid| uid.to_string()), after.to_string()))
    }

    #[tokio::test]
    async fn another_uid_after_trouble_is_another_cluster() {
        let mut identity = identity(&[Some("a"), Some("a"), Some("b")]);
        identity.answers();
        assert_eq!(change(&mut identity), None);
        for changed in [None, Some((Some("a".to_owned()), "b".to_owned()))] {
            identity.doubt();
            identity.answers();
            assert_eq!(change(&mut identity), changed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_uid_is_noticed_without_any_trouble_within_half_a_minute() {
        let mut identity = identity(&[Some("a"), Some("b")]);
        identity.answers();
        assert_eq!(change(&mut identity), None);
        tokio::time::advance(EVERY - Duration::from_secs(1)).await;
        identity.answers();
        assert_eq!(change(&mut identity), None, "it is not asked for each time");
        tokio::time::advance(Duration::from_secs(1)).await;
        identity.answers();
        let changed = Some((Some("a".to_owned()), "b".to_owned()));
        assert_eq!(change(&mut identity), changed);
    }

    #[tokio::test]
    async fn a_uid_that_is_first_known_after_trouble_may_be_that_of_another_cluster() {
        let late = Some((None, "b".to_owned()));
        // The first question is not answered.
        let mut unanswered = identity(&[None, Some("b")]);
        unanswered.answers();
        assert_eq!(change(&mut unanswered), None);
        unanswered.doubt();
        unanswered.answers();
        assert_eq!(change(&mut unanswered), late);

        // Trouble comes before its answer does.
        let mut overtaken = identity(&[Some("b")]);
        overtaken.answers();
        overtaken.doubt();
        assert_eq!(change(&mut overtaken), late);

        // Trouble before the first word of the server is no reason.
        let mut early = identity(&[Some("b")]);
        early.doubt();
        early.answers();
        assert_eq!(change(&mut early), None);
    }
}
