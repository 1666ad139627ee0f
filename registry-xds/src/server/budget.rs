//! What all calls of a server together may hold of long requests that have come in part.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Four of the longest requests, or what some hundred clients send that come back at once with ten thousand names each.
const MOST: usize = 256 << 20;

/// Bytes that may be held, and that are.
#[derive(Debug)]
pub(super) struct Budget {
    most: usize,
    held: AtomicUsize,
}

/// What one call holds, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            held: AtomicUsize::new(0),
        }
    }

    /// A share of nothing.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share {
            budget: self.clone(),
            bytes: 0,
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(MOST)
    }
}

impl Share {
    /// Makes it that many bytes. False where there is no room for them: it stays what it was then.
    pub(super) fn resize(&mut self, bytes: usize) -> bool {
        let held = &self.budget.held;
        if let Some(more) = bytes.checked_sub(self.bytes) {
            if held.fetch_add(more, Ordering::Relaxed) + more > self.budget.most && more > 0 {
                held.fetch_sub(more, Ordering::Relaxed);
                return false;
            }
        } else {
            held.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_room_together_for_so_much() {
        let budget = Arc::new(Budget::new(10));
        let (mut a, mut b) = (budget.share(), budget.share());
        assert!(a.resize(4) && b.resize(6));
        assert!(!a.resize(5), "it is full");
        assert!(a.resize(4) && a.resize(3) && b.resize(7));
        drop(b);
        assert!(a.resize(10));
        assert!(!a.resize(11));
        drop(a);
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }
}
