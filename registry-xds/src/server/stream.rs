//! The answers to one client's stream. They are pulled: nothing is computed until the connection can take more, so a slow
//! client costs what it has, and misses what changed meanwhile.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, Stream, stream};
use http_body::Body;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::body::{Requests, ends};
use super::clients::{Registration, Sent};
use super::codec::{self, Outgoing};
use crate::node::View;
use crate::resource::{ResourceSet, ResourceType};
use crate::session::{Incoming, Session, Variant};
use crate::views::Views;

/// How soon a session is asked again at the earliest: timers are no finer.
const TICK: Duration = Duration::from_millis(1);

/// One stream of discovery.
#[derive(Debug)]
pub(super) struct Conversation<B> {
    pub(super) variant: Variant,
    pub(super) only: Option<ResourceType>,
    pub(super) requests: Requests<B>,
    pub(super) views: Views,
    pub(super) registration: Registration,
    /// How this server is called in responses.
    pub(super) name: Arc<str>,
    /// Cancelled when the connection is to end.
    pub(super) ending: CancellationToken,
}

struct State<B> {
    conversation: Conversation<B>,
    session: Session,
    sets: Option<watch::Receiver<Option<Arc<ResourceSet>>>>,
    revision: u64,
}

impl<B> Conversation<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// The responses, and the status that ends them where that is not OK.
    pub(super) fn responses(self) -> impl Stream<Item = Result<Outgoing, Status>> {
        let state = State {
            session: Session::new(self.variant, self.only),
            conversation: self,
            sets: None,
            revision: 0,
        };
        stream::unfold(Some(state), |state| async {
            let mut state = state?;
            match state.next().await {
                Ok(Some(response)) => Some((Ok(response), Some(state))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        })
    }
}

impl<B> State<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// The next response; `None` when the client has no more requests.
    async fn next(&mut self) -> Result<Option<Outgoing>, Status> {
        loop {
            // All that the client has said comes before what it is told: an acknowledgement or a change of
            // subscriptions makes for another response.
            while let Some(request) = self.conversation.requests.next().now_or_never() {
                let Some(request) = request else {
                    return Ok(None);
                };
                self.take(request?)?;
            }
            if let Some(set) = self.changed()? {
                self.revision = set.revision();
                self.session.update(set, Instant::now());
            }
            if self.conversation.ending.is_cancelled() {
                return Err(ends());
            }
            if let Some(response) = self.session.next(Instant::now()) {
                let name = format!("{} revision {}", self.conversation.name, self.revision);
                let (type_, resources) = (response.type_, response.resources.len());
                let outgoing = Outgoing::new(response, &name)?;
                let sent = Sent {
                    resources,
                    bytes: outgoing.left(),
                    channel: self.session.channel(type_),
                    revision: self.revision,
                };
                self.conversation.registration.sent(type_, sent);
                return Ok(Some(outgoing));
            }
            let deadline = self.session.deadline();
            tokio::select! {
                biased;
                () = self.conversation.ending.cancelled() => {}
                request = self.conversation.requests.next() => {
                    let Some(request) = request else {
                        return Ok(None);
                    };
                    self.take(request?)?;
                }
                () = change(&mut self.sets) => {}
                () = at(deadline) => {}
            }
        }
    }

    fn take(&mut self, message: Bytes) -> Result<(), Status> {
        let request = codec::decode(self.conversation.variant, message)?;
        let type_ = self.conversation.only.or_else(|| {
            ResourceType::from_url(match &request {
                Incoming::Sotw(request) => &request.type_url,
                Incoming::Delta(request) => &request.type_url,
            })
        });
        self.session.request(request, Instant::now())?;
        let registration = &self.conversation.registration;
        if self.sets.is_none() {
            // Whoever says nothing would hear nothing, and look for the reason elsewhere.
            let node = self.session.node();
            let node = node.ok_or_else(|| Status::invalid_argument("a first request without node"))?;
            let view = View::of(node, &self.conversation.views.config());
            registration.introduce(node, &view);
            let sets = self.conversation.views.admit(view);
            let mut sets = sets.ok_or_else(|| {
                Status::resource_exhausted("nodes that differ in what they want, more than can be served")
            })?;
            sets.mark_changed();
            self.sets = Some(sets);
        }
        if let Some(type_) = type_
            && let Some(channel) = self.session.channel(type_)
        {
            registration.requested(type_, channel);
        }
        Ok(())
    }

    /// The newest set, where it was not looked at.
    fn changed(&mut self) -> Result<Option<Arc<ResourceSet>>, Status> {
        let Some(sets) = &mut self.sets else {
            return Ok(None);
        };
        match sets.has_changed() {
            Ok(true) => Ok(sets.borrow_and_update().clone()),
            Ok(false) => Ok(None),
            // The view broke, or the server is shutting down.
            Err(_) => Err(ends()),
        }
    }
}

/// Resolves when there is a newer set, or will be none any more.
async fn change(sets: &mut Option<watch::Receiver<Option<Arc<ResourceSet>>>>) {
    match sets {
        Some(sets) => {
            // It is still to be looked at; and so is that there will be none.
            if sets.changed().await.is_ok() {
                sets.mark_changed();
            }
        }
        None => pending().await,
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.max(Instant::now() + TICK)).await,
        None => pending().await,
    }
}
