//! An answer without an end in sight, passed on as it comes.

use std::convert::Infallible;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;
use tokio::time::sleep;

use super::Shared;
use super::client::{Client, End};
use super::fault::{Fault, LineMap, RuleId};
use super::http1::{BodyReader, Framing};
use super::lines::Lines;
use super::plan::Plan;
use super::rules::Struck;
use super::upstream::Upstream;

/// The most that goes into one chunk; so a rule that comes takes effect soon.
const CHUNK_SIZE: usize = 16 << 10;

/// A stream under way. It asks the server for more only when the client has taken what there was.
pub(super) struct Stream<'a, 'b> {
    pub(super) shared: &'a Shared,
    pub(super) client: &'a mut Client<'b>,
    pub(super) upstream: &'a mut Upstream,
    pub(super) target: &'a str,
    /// How upstream tells the end; to the client it is always told in chunks.
    pub(super) framing: Framing,
    pub(super) course: Course,
}

/// The faults of a stream, and how far each has come.
pub(super) struct Course {
    struck: Struck,
    changed: watch::Receiver<u64>,
    in_force: Vec<InForce>,
}

struct InForce {
    id: RuleId,
    fault: Fault,
    /// How many bytes are left before it strikes, where it is one that waits.
    left: usize,
}

/// What stands in the way of the next byte.
enum Obstacle {
    Stall,
    Cut,
}

// === impl Stream ===

impl Stream<'_, '_> {
    /// Writes the answer. `Ok` means that it was written completely and the connection may go on.
    pub(super) async fn send(mut self, plan: &Plan) -> Result<(), End> {
        let mut body = BodyReader::new(self.framing);
        let mut lines = Lines::default();
        let mut ready = BytesMut::new();
        let mut complete = false;
        self.course.refresh(self.shared, self.target);
        self.wire(&plan.answer.encode_head(0)).await?;
        loop {
            if self.course.changed.has_changed().unwrap_or_default() {
                self.course.refresh(self.shared, self.target);
                // A line may have been kept back for a function that is gone.
                ready.unsplit(lines.push(&[], &self.course.maps()));
            }
            match self.course.obstacle(complete && ready.is_empty()) {
                Some(Obstacle::Cut) => return Err(End::Close),
                Some(Obstacle::Stall) => {
                    self.until_changed().await?;
                    continue;
                }
                None => {}
            }
            if !ready.is_empty() {
                self.pass(&mut ready).await?;
            } else if complete {
                break;
            } else {
                complete = self.upstream.advance(&mut body)?;
                let came = body.take();
                if !came.is_empty() {
                    if let Some(latency) = self.course.latency() {
                        self.client.while_open(sleep(latency)).await?;
                        self.course.refresh(self.shared, self.target);
                    }
                    ready.unsplit(lines.push(&came, &self.course.maps()));
                } else if !complete {
                    complete = self.more(&body).await?;
                }
                if complete {
                    ready.unsplit(lines.finish(&self.course.maps()));
                }
            }
        }
        if plan.lacks_its_end() {
            return Err(End::Close);
        }
        self.wire(b"0\r\n\r\n").await?;
        if plan.answer.close || self.course.is_cut() {
            Err(End::Close)
        } else {
            Ok(())
        }
    }

    /// Writes as much of what is ready as may go at once.
    async fn pass(&mut self, ready: &mut BytesMut) -> Result<(), End> {
        let most = if let Some(interval) = self.course.drip() {
            self.client.while_open(sleep(interval)).await?;
            1
        } else {
            CHUNK_SIZE
        };
        let part = ready.split_to(ready.len().min(most).min(self.course.left_of_body()));
        self.course.count_body(part.len());
        let mut chunk = format!("{:x}\r\n", part.len()).into_bytes();
        chunk.extend_from_slice(&part);
        chunk.extend_from_slice(b"\r\n");
        self.wire(&Bytes::from(chunk)).await
    }

    /// Writes bytes of the answer, up to where it is cut.
    async fn wire(&mut self, bytes: &[u8]) -> Result<(), End> {
        let shown = &bytes[..bytes.len().min(self.course.left_of_answer())];
        self.course.count_answer(shown.len());
        self.client.write(shown).await?;
        if shown.len() < bytes.len() {
            Err(End::Close)
        } else {
            Ok(())
        }
    }

    /// Waits for more from upstream, or for other faults; true where there will be no more.
    async fn more(&mut self, body: &BodyReader) -> Result<bool, End> {
        let (upstream, changed) = (&mut self.upstream, &mut self.course.changed);
        let read = self.client.while_open(async {
            tokio::select! {
                biased;
                () = change(changed) => Ok(()),
                read = upstream.read_more() => read,
            }
        });
        let read = read.await?;
        if read.is_err() {
            self.client.pass_gate().await?;
        }
        match read {
            Ok(()) => Ok(false),
            Err(End::Close) if body.ends_with_stream() => Ok(true),
            Err(end) => Err(end),
        }
    }

    async fn until_changed(&mut self) -> Result<(), End> {
        self.client.while_open(change(&mut self.course.changed)).await
    }
}

/// Waits until rules have come or gone, and leaves it to be found out which.
async fn change(changed: &mut watch::Receiver<u64>) {
    if changed.changed().await.is_ok() {
        changed.mark_changed();
    } else {
        // Nobody is left who could inject a rule.
        std::future::pending::<Infallible>().await;
    }
}

// === impl Course ===

impl Course {
    pub(super) fn new(struck: Struck, changed: watch::Receiver<u64>) -> Self {
        Self {
            struck,
            changed,
            in_force: Vec::new(),
        }
    }

    /// Finds out which faults are in force.
    fn refresh(&mut self, shared: &Shared, target: &str) {
        // Seen before the look: what comes after it has to be looked at again.
        self.changed.mark_unchanged();
        let faults = shared.rules().on_stream(&mut self.struck, target);
        let before = std::mem::take(&mut self.in_force);
        let left_of = |id: RuleId, fault: &Fault| {
            let known = before.iter().find(|known| known.id == id);
            known.map(|known| known.left).unwrap_or(match fault {
                Fault::StallAfter(bytes) | Fault::CutBody(bytes) | Fault::CutAnswer(bytes) => *bytes,
                _ => usize::MAX,
            })
        };
        self.in_force = faults
            .into_iter()
            .map(|(id, fault)| InForce {
                left: left_of(id, &fault),
                id,
                fault,
            })
            .collect();
    }

    /// What is in the way now; at the end of the body, whatever is there to come stands before the end mark.
    fn obstacle(&self, at_end: bool) -> Option<Obstacle> {
        let reached = |wanted: fn(&Fault) -> bool| {
            let mut waiting = self.in_force.iter().filter(|one| wanted(&one.fault));
            waiting.any(|one| at_end || one.left == 0)
        };
        if self
            .in_force
            .iter()
            .any(|one| matches!(one.fault, Fault::CutAnswer(_)) && one.left == 0)
        {
            Some(Obstacle::Cut)
        } else if reached(|fault| matches!(fault, Fault::StallAfter(_))) {
            Some(Obstacle::Stall)
        } else if reached(|fault| matches!(fault, Fault::CutBody(_))) {
            Some(Obstacle::Cut)
        } else {
            None
        }
    }

    /// Whether the answer is to be cut somewhere, and be it after its end.
    fn is_cut(&self) -> bool {
        self.left_of_answer() < usize::MAX
    }

    fn left_of_body(&self) -> usize {
        self.left(|fault| matches!(fault, Fault::StallAfter(_) | Fault::CutBody(_)))
    }

    fn left_of_answer(&self) -> usize {
        self.left(|fault| matches!(fault, Fault::CutAnswer(_)))
    }

    fn left(&self, wanted: fn(&Fault) -> bool) -> usize {
        let wanted = self.in_force.iter().filter(|one| wanted(&one.fault));
        wanted.map(|one| one.left).min().unwrap_or(usize::MAX)
    }

    fn count_body(&mut self, bytes: usize) {
        self.count(bytes, |fault| {
            matches!(fault, Fault::StallAfter(_) | Fault::CutBody(_))
        });
    }

    fn count_answer(&mut self, bytes: usize) {
        self.count(bytes, |fault| matches!(fault, Fault::CutAnswer(_)));
    }

    fn count(&mut self, bytes: usize, wanted: fn(&Fault) -> bool) {
        for one in self.in_force.iter_mut().filter(|one| wanted(&one.fault)) {
            one.left = one.left.saturating_sub(bytes);
        }
    }

    fn maps(&self) -> Vec<LineMap> {
        let maps = self.in_force.iter().filter_map(|one| match &one.fault {
            Fault::MapLine(map) => Some(map.clone()),
            _ => None,
        });
        maps.collect()
    }

    fn latency(&self) -> Option<Duration> {
        let latencies = self.in_force.iter().filter_map(|one| match one.fault {
            Fault::Latency(latency) => Some(latency),
            _ => None,
        });
        latencies.reduce(|sum, latency| sum + latency)
    }

    fn drip(&self) -> Option<Duration> {
        self.in_force.iter().rev().find_map(|one| match one.fault {
            Fault::Drip(interval) => Some(interval),
            _ => None,
        })
    }
}
