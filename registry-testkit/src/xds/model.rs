//! A client that behaves as Envoy does.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Channel;

use super::protocol::{Protocol, Service};
use super::state::{Seen, State};
use super::stream::Stream;
use super::{CDS, EDS, LDS, RDS};
use crate::Error;

/// The pause before a stream is opened again.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a stream may be quiet before the client looks whether it is still wanted.
const QUIET: Duration = Duration::from_secs(3600);

/// A client of the aggregated service that behaves as Envoy does, without carrying anything:
///
/// - it asks for all clusters; for the endpoints of each; for all listeners once the first clusters are warm; for the
///   routes of each listener;
/// - a cluster that came or changed is warm when its endpoints have come. In state-of-the-world it asks for them again,
///   in delta it waits;
/// - it acknowledges clusters only when all of them are warm, and everything else at once;
/// - when the stream ends it opens another one, and in delta says what it holds.
///
/// It keeps a record of what came, and of what would have been an error for a request ([`State::violations`]).
#[derive(Debug)]
pub struct Model<P: Protocol> {
    state: watch::Receiver<State>,
    moves: mpsc::UnboundedSender<Channel>,
    _task: AbortOnDropHandle<()>,
    _protocol: PhantomData<P>,
}

impl<P: Protocol> Model<P> {
    /// Begins.
    #[must_use]
    pub fn start(channel: Channel, node: Node) -> Self {
        let (sender, state) = watch::channel(State::default());
        let (moves, orders) = mpsc::unbounded_channel();
        let client = Client::<P> {
            node,
            state: sender,
            stream: None,
            withheld: None,
            asked_endpoints: BTreeSet::new(),
            asked_routes: BTreeSet::new(),
            asked_listeners: false,
        };
        Self {
            state,
            moves,
            _task: AbortOnDropHandle::new(tokio::spawn(client.run(channel, orders))),
            _protocol: PhantomData,
        }
    }

    /// What it holds now, with its whole record.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Ends the stream and goes on with another server, such as a second replica.
    pub fn move_to(&self, channel: Channel) {
        // The task lives as long as this.
        let _ = self.moves.send(channel);
    }

    /// Waits until what it holds is as wanted, and returns that.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] with what it holds instead.
    pub async fn until(
        &self,
        what: &str,
        deadline: Duration,
        mut wanted: impl FnMut(&State) -> bool,
    ) -> Result<State, Error> {
        let mut state = self.state.clone();
        let found = tokio::time::timeout(deadline, state.wait_for(|state| wanted(state))).await;
        match found {
            Ok(Ok(state)) => Ok(state.clone()),
            _ => {
                let state = self.state();
                Err(Error::Deadline {
                    what: format!(
                        "{what}; the client holds {:?}, warming {:?}, ends {:?}",
                        state.held, state.warming, state.ends
                    ),
                    after: deadline,
                })
            }
        }
    }
}

struct Client<P: Protocol> {
    node: Node,
    state: watch::Sender<State>,
    stream: Option<Stream<P>>,
    /// The response about clusters that waits for its clusters to be warm.
    withheld: Option<P::Response>,
    asked_endpoints: BTreeSet<String>,
    asked_routes: BTreeSet<String>,
    asked_listeners: bool,
}

impl<P: Protocol> Client<P> {
    async fn run(mut self, mut channel: Channel, mut moves: mpsc::UnboundedReceiver<Channel>) {
        loop {
            self.open(channel.clone());
            let end = tokio::select! {
                moved = moves.recv() => match moved {
                    Some(moved) => {
                        channel = moved;
                        "moved".to_owned()
                    }
                    None => return,
                },
                end = self.serve() => end,
            };
            self.state.send_modify(|state| state.ends.push(end));
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn open(&mut self, channel: Channel) {
        let mut stream = Stream::open(channel, Service::Aggregated, self.node.clone());
        if let Some(earlier) = self.stream.take() {
            stream = stream.resuming(&earlier);
        }
        self.stream = Some(stream);
        self.withheld = None;
        self.asked_endpoints.clear();
        self.asked_routes.clear();
        self.state.send_modify(|state| state.streams += 1);
        self.ask(CDS, &[], &[]);
        self.follow();
        if self.asked_listeners {
            self.ask(LDS, &[], &[]);
        }
    }

    /// Takes responses until the stream ends, and returns how it did.
    async fn serve(&mut self) -> String {
        loop {
            let Some(stream) = &mut self.stream else {
                return "never opened".to_owned();
            };
            match stream.recv(QUIET).await {
                Ok(response) => self.take(response),
                Err(Error::Deadline { .. }) => {}
                Err(error) => return error.to_string(),
            }
        }
    }

    fn take(&mut self, response: P::Response) {
        let type_url = P::type_url(&response).to_owned();
        let listed = P::listed(&response);
        let mut again = Vec::new();
        self.state.send_modify(|state| {
            let held = state.held.get(&type_url).cloned().unwrap_or_default();
            let mut removed = P::removed(&response, held.keys().map(String::as_str));
            removed.retain(|name| held.contains_key(name));
            again = state.apply(&type_url, &listed, &removed);
            state.seen.push(Seen {
                at: Instant::now(),
                stream: state.streams,
                type_url: type_url.clone(),
                listed: listed.into_iter().map(|listed| listed.name).collect(),
                removed,
            });
        });
        if type_url == CDS {
            self.withheld = Some(response);
        } else if let Some(stream) = &mut self.stream {
            stream.ack(&response);
        }
        if P::ASKS_AGAIN && again.iter().any(|name| self.asked_endpoints.contains(name)) {
            // The same names once more mean: send them although they have not changed.
            self.asked_endpoints.clear();
        }
        self.follow();
        let warm = self.state.borrow().warming.is_empty();
        if warm && let (Some(response), Some(stream)) = (self.withheld.take(), &mut self.stream) {
            stream.ack(&response);
            if !std::mem::replace(&mut self.asked_listeners, true) {
                self.ask(LDS, &[], &[]);
            }
        }
    }

    /// Asks for what clusters and listeners refer to, as far as it is another set than before.
    fn follow(&mut self) {
        let (endpoints, routes) = {
            let state = self.state.borrow();
            (state.wanted_endpoints(), state.wanted_routes())
        };
        if endpoints != self.asked_endpoints {
            let before = std::mem::replace(&mut self.asked_endpoints, endpoints.clone());
            self.change(EDS, &before, &endpoints);
        }
        if routes != self.asked_routes {
            let before = std::mem::replace(&mut self.asked_routes, routes.clone());
            self.change(RDS, &before, &routes);
        }
    }

    fn change(&mut self, type_url: &str, before: &BTreeSet<String>, after: &BTreeSet<String>) {
        let dropped: Vec<String> = before.difference(after).cloned().collect();
        // State-of-the-world names all of them, delta those that are new.
        let names: Vec<String> = if P::ASKS_AGAIN {
            after.iter().cloned().collect()
        } else {
            after.difference(before).cloned().collect()
        };
        self.ask(type_url, &names, &dropped);
    }

    fn ask(&mut self, type_url: &str, names: &[String], dropped: &[String]) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let dropped: Vec<&str> = dropped.iter().map(String::as_str).collect();
        let versions = if stream.has_asked(type_url) {
            BTreeMap::new()
        } else {
            self.state
                .borrow()
                .held
                .get(type_url)
                .cloned()
                .unwrap_or_default()
        };
        stream.subscribe_with(type_url, &names, &dropped, versions);
    }
}
