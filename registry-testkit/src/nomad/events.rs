//! The event stream: a short memory of what was written, and those who listen.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::state::Event;

/// What one write published.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    pub(super) index: u64,
    pub(super) events: Vec<Event>,
}

/// What reaches a subscriber.
#[derive(Debug, Clone)]
pub(super) enum Word {
    Batch(Arc<Batch>),
    /// The rights of tokens have changed; whoever lost them hears nothing any more.
    Rights,
}

/// The memory and the subscribers.
#[derive(Debug)]
pub(super) struct Broker {
    /// How many writes are remembered, whatever their topic.
    pub(super) size: usize,
    ring: VecDeque<Arc<Batch>>,
    subscribers: Vec<UnboundedSender<Word>>,
    /// What is written is not told to anybody, nor remembered.
    pub(super) loses: bool,
}

impl Broker {
    pub(super) fn new(size: usize) -> Self {
        Self {
            size,
            ring: VecDeque::new(),
            subscribers: Vec::new(),
            loses: false,
        }
    }

    pub(super) fn publish(&mut self, batch: Batch) {
        if self.loses {
            return;
        }
        let batch = Arc::new(batch);
        self.ring.push_back(batch.clone());
        while self.ring.len() > self.size {
            self.ring.pop_front();
        }
        self.tell(&Word::Batch(batch));
    }

    pub(super) fn tell(&mut self, word: &Word) {
        self.subscribers
            .retain(|subscriber| subscriber.send(word.clone()).is_ok());
    }

    /// Forgets everything and everybody, as a restart does.
    pub(super) fn restart(&mut self) {
        self.ring.clear();
        self.cut();
    }

    /// Ends all streams.
    pub(super) fn cut(&mut self) {
        self.subscribers.clear();
    }

    /// What a subscriber from that index on gets at once, and what it gets later.
    ///
    /// An index that is not remembered means the next one that is; one that has not come yet means the last one. 0 means
    /// all that is remembered.
    pub(super) fn subscribe(&mut self, index: u64) -> (Vec<Arc<Batch>>, UnboundedReceiver<Word>) {
        let from = self
            .ring
            .iter()
            .position(|batch| batch.index >= index)
            .unwrap_or(self.ring.len().saturating_sub(1));
        let (sender, receiver) = unbounded_channel();
        self.subscribers.push(sender);
        (self.ring.iter().skip(from).cloned().collect(), receiver)
    }

    /// How many listen.
    pub(super) fn listeners(&self) -> usize {
        self.subscribers
            .iter()
            .filter(|subscriber| !subscriber.is_closed())
            .count()
    }
}

/// What a subscriber asked for.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    /// Topic and key, `*` standing for all.
    pub(super) topics: Vec<(String, String)>,
    /// The namespace that was asked for.
    pub(super) asked: String,
    /// Those that it stands for: settled when the stream begins.
    pub(super) namespaces: BTreeSet<String>,
}

impl Wish {
    /// The frame of a batch, if anything of it is wished for.
    pub(super) fn frame(&self, batch: &Batch) -> Option<String> {
        let wanted = |event: &&Event| {
            let topics = self.topics.iter();
            self.namespaces.contains(&event.namespace)
                && topics.clone().any(|(topic, key)| {
                    let keys = event.keys.iter().flatten();
                    (topic == "*" || topic == event.topic)
                        && (key == "*" || keys.clone().any(|held| held == key))
                })
        };
        let events: Vec<_> = batch
            .events
            .iter()
            .filter(wanted)
            .map(|event| &*event.text)
            .collect();
        (!events.is_empty()).then(|| json!({ "Index": batch.index, "Events": events }).to_string())
    }
}
