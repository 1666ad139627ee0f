//! The event stream on the wire: close-delimited lines, which Nomad writes past its own HTTP server.

use std::collections::BTreeSet;
use std::convert::Infallible;

use tokio::time::{Instant, sleep, sleep_until};

use super::access::Rights;
use super::answer::Asked;
use super::events::{Wish, Word};
use super::{Denied, Shared, StreamFault};
use crate::proxy::client::{Client, End};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: no-cache\r\n\
    Content-Type: application/json\r\nVary: Accept-Encoding\r\n\r\n";

/// Serves a subscriber to its end.
pub(super) async fn serve(
    shared: &Shared,
    client: &mut Client<'_>,
    asked: &Asked,
    answering: impl FnOnce(u16),
) -> Result<Infallible, End> {
    let fault = shared.play().stream_faults.pop_front();
    let mut out = Out {
        client,
        left: usize::MAX,
        piece: shared.settings.piece,
    };
    match fault {
        Some(StreamFault::Refuse) => return Err(End::Close),
        Some(StreamFault::Respond(status, text)) => {
            answering(status);
            let answer = crate::proxy::http1::Answer::text(status, text);
            out.write(&answer.encode_head(0)).await?;
            out.write(&answer.body).await?;
            return Err(End::Close);
        }
        Some(StreamFault::CutAfter(bytes)) => out.left = bytes,
        Some(StreamFault::Silent | StreamFault::Close) | None => {}
    }
    answering(200);
    out.write(HEAD).await?;
    match fault {
        Some(StreamFault::Silent) => return Err(out.client.gone().await),
        Some(StreamFault::Close) => return Err(End::Close),
        _ => {}
    }
    let subscribed = {
        let mut play = shared.play();
        let (topics, namespaces) = (
            topics(asked),
            namespaces(&play.state.namespaces, asked.namespace()),
        );
        let rights = play.state.access.rights(asked.token.as_deref());
        if may(rights.as_ref(), &topics, &namespaces) {
            let wish = Wish {
                topics,
                asked: asked.namespace().to_owned(),
                namespaces,
            };
            let index = asked.query("index").and_then(|text| text.parse().ok());
            let (first, later) = play.broker.subscribe(index.unwrap_or_default());
            Some((wish, first, later))
        } else {
            None
        }
    };
    let Some((wish, first, mut later)) = subscribed else {
        return Err(out.deny(shared.settings.denied).await);
    };
    out.line("{}").await?;
    for batch in first {
        if let Some(frame) = wish.frame(&batch) {
            out.line(&frame).await?;
        }
    }
    let mut muted = shared.muted.subscribe();
    let mut beat = Instant::now() + shared.settings.heartbeat;
    loop {
        let word = out.client.while_open(async {
            tokio::select! {
                biased;
                _ = muted.changed() => Heard::Mute,
                word = later.recv() => word.map_or(Heard::End, Heard::Word),
                () = sleep_until(beat) => Heard::Beat,
            }
        });
        match word.await? {
            Heard::Mute => return Err(out.client.gone().await),
            Heard::End => return Err(End::Close),
            Heard::Beat => {
                beat = Instant::now() + shared.settings.heartbeat;
                out.line("{}").await?;
            }
            Heard::Word(Word::Batch(batch)) => {
                if let Some(frame) = wish.frame(&batch) {
                    out.line(&frame).await?;
                }
            }
            Heard::Word(Word::Rights) => {
                let lost = {
                    let state = &shared.play().state;
                    let rights = state.access.rights(asked.token.as_deref());
                    !may(
                        rights.as_ref(),
                        &wish.topics,
                        &namespaces(&state.namespaces, &wish.asked),
                    )
                };
                if lost {
                    drop(later);
                    return Err(out.deny(shared.settings.denied).await);
                }
            }
        }
    }
}

/// What a stream wakes for.
enum Heard {
    Word(Word),
    Beat,
    /// It says nothing any more, and nobody knows why.
    Mute,
    End,
}

/// All namespaces have to be allowed, which for `*` are those that there are; all topics at once are for those who may
/// do everything.
fn may(rights: Option<&Rights>, topics: &[(String, String)], namespaces: &BTreeSet<String>) -> bool {
    const OF_JOBS: [&str; 5] = ["Service", "Job", "Allocation", "Evaluation", "Deployment"];
    rights.is_some_and(|rights| {
        let of_jobs = topics.iter().all(|(topic, _)| OF_JOBS.contains(&topic.as_str()));
        *rights == Rights::All || of_jobs && namespaces.iter().all(|name| rights.allow(name))
    })
}

fn namespaces(all: &BTreeSet<String>, asked: &str) -> BTreeSet<String> {
    if asked == "*" {
        all.clone()
    } else {
        BTreeSet::from([asked.to_owned()])
    }
}

fn topics(asked: &Asked) -> Vec<(String, String)> {
    let topics = asked.all("topic").map(|topic| {
        let (topic, key) = topic.split_once(':').unwrap_or((topic, "*"));
        (topic.to_owned(), key.to_owned())
    });
    let topics: Vec<_> = topics.collect();
    if topics.is_empty() {
        vec![("*".to_owned(), "*".to_owned())]
    } else {
        topics
    }
}

/// Writes, up to where the stream is cut.
struct Out<'a, 'b> {
    client: &'a mut Client<'b>,
    left: usize,
    /// The most that is written at once.
    piece: usize,
}

impl Out<'_, '_> {
    async fn line(&mut self, line: &str) -> Result<(), End> {
        self.write(format!("{line}\n").as_bytes()).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        let shown = &bytes[..bytes.len().min(self.left)];
        self.left -= shown.len();
        for piece in shown.chunks(self.piece) {
            self.client.write(piece).await?;
            if self.piece < usize::MAX {
                // The reader gets to see it before there is more.
                tokio::task::yield_now().await;
            }
        }
        // A cut at the very end of what there is to say is a cut, too.
        if self.left == 0 { Err(End::Close) } else { Ok(()) }
    }

    /// No status says it, the head is out: nothing follows, and sometimes the end.
    async fn deny(&mut self, denied: Denied) -> End {
        match denied {
            Denied::Silence => self.client.gone().await,
            Denied::End(after) => match self.client.while_open(sleep(after)).await {
                Ok(()) => End::Close,
                Err(end) => end,
            },
        }
    }
}
