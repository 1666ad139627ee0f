//! Is it still the same cluster? After trouble the server behind an address may be another one, or one whose memory was
//! wiped, and its resource versions then mean nothing. The uid of the namespace `kube-system` tells clusters apart.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use registry_core::Str;
use serde::Deserialize;

use crate::transport::{Ask, Class, Form, Refusal, Transport};

const PATH: &str = "/api/v1/namespaces/kube-system";

/// A namespace is hardly a kilobyte.
const MOST_BYTES: usize = 1 << 20;

/// Which cluster it is, as far as rights allow to know: it takes `get` on that one namespace.
pub(super) struct Identity {
    transport: Arc<dyn Transport>,
    patience: Duration,
    uid: Option<Str>,
    /// It should be looked at as soon as the server answers.
    due: bool,
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
            due: true,
            closed: false,
            asking: None,
        }
    }

    /// The server was in trouble: when it answers again, it may be another one.
    pub(super) fn doubt(&mut self) {
        self.due = true;
    }

    /// The server answers.
    pub(super) fn answers(&mut self) {
        if self.due && !self.closed && self.asking.is_none() {
            self.due = false;
            self.asking = Some(ask(self.transport.clone(), self.patience).boxed());
        }
    }

    /// Resolves when it is another cluster than before: the uid before and now. Cancel safe.
    pub(super) async fn changed(&mut self) -> (Str, Str) {
        loop {
            let Some(asking) = &mut self.asking else {
                return std::future::pending().await;
            };
            let answer = asking.await;
            self.asking = None;
            match answer {
                Answer::Never => self.closed = true,
                Answer::NotNow => self.due = true,
                Answer::Uid(uid) => {
                    let before = self.uid.replace(uid.clone());
                    if let Some(before) = before.filter(|before| *before != uid) {
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
