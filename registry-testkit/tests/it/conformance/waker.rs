//! A stream that remembers only the first of those who wait for it.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::Stream;

/// Wakes whoever polled first since it was last ready.
pub(super) struct FirstWaker<S> {
    stream: Pin<Box<S>>,
    waiting: Arc<Waiting>,
}

#[derive(Default)]
struct Waiting(Mutex<Option<Waker>>);

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        let waiting = self.0.lock().unwrap().take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

impl<S> FirstWaker<S> {
    pub(super) fn new(stream: Pin<Box<S>>) -> Self {
        Self {
            stream,
            waiting: Arc::default(),
        }
    }
}

impl<S: Stream> Stream for FirstWaker<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.waiting
            .0
            .lock()
            .unwrap()
            .get_or_insert_with(|| context.waker().clone());
        let waker = Waker::from(self.waiting.clone());
        let polled = self.stream.as_mut().poll_next(&mut Context::from_waker(&waker));
        if polled.is_ready() {
            self.waiting.0.lock().unwrap().take();
        }
        polled
    }
}
