//! From the faults that struck to the bytes of the answer.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::client::{Client, End};
use super::fault::Fault;
use super::http1::{Answer, Headers};
use super::lines::map_lines;
use super::paths::Paths;

/// An answer that is not to be given at all.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Withheld {
    /// The connection ends instead.
    Ended(End),
    /// Nothing happens instead.
    Silence,
}

impl Withheld {
    pub(crate) fn by(faults: &[Fault]) -> Option<Self> {
        faults.iter().find_map(|fault| match fault {
            Fault::Reset => Some(Self::Ended(End::Reset)),
            Fault::Close => Some(Self::Ended(End::Close)),
            Fault::BlackHole => Some(Self::Silence),
            _ => None,
        })
    }
}

/// The proxy's own answer, if one of the faults is to give one.
pub(crate) fn own_answer(faults: &[Fault]) -> Option<Answer> {
    faults.iter().rev().find_map(|fault| match fault {
        Fault::Respond {
            status,
            headers,
            body,
        } => Some(respond(*status, headers, body)),
        _ => None,
    })
}

fn respond(status: u16, headers: &[(String, String)], body: &Bytes) -> Answer {
    let headers: Headers = headers
        .iter()
        .map(|(name, value)| (name.clone(), Bytes::from(value.clone())))
        .collect();
    Answer::new(status, headers, body.clone())
}

/// What is sent in the end, and how.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) answer: Answer,
    /// The answer has another body than upstream gave it.
    pub(crate) replaced: bool,
    pub(crate) latency: Option<Duration>,
    pub(crate) hold: Option<Duration>,
    drip: Option<Duration>,
    excess: usize,
    unterminated: bool,
    duplicate: bool,
    stall: Option<usize>,
    cut_body: Option<usize>,
    cut_answer: Option<usize>,
}

impl Plan {
    /// Applies the faults, in their order, to what upstream (or the proxy itself) answered.
    pub(crate) fn new(answer: Answer, faults: &[Fault], path: &str, paths: &Paths) -> Self {
        let (close, bodiless) = (answer.close, answer.bodiless);
        let mut plan = Self {
            answer,
            replaced: false,
            latency: None,
            hold: None,
            drip: None,
            excess: 0,
            unterminated: false,
            duplicate: false,
            stall: None,
            cut_body: None,
            cut_answer: None,
        };
        for fault in faults {
            plan.apply(fault, path, paths);
        }
        // What ends the connection to upstream ends this one, whichever answer goes out.
        plan.answer.close |= close;
        // No answer to the request may have a body, whichever status it has got.
        plan.answer.bodiless |= bodiless;
        plan.answer.chunked = (plan.answer.chunked || plan.unterminated) && !plan.answer.bodiless;
        plan
    }

    fn apply(&mut self, fault: &Fault, path: &str, paths: &Paths) {
        match fault {
            Fault::Respond {
                status,
                headers,
                body,
            } => self.replace(respond(*status, headers, body)),
            Fault::ReplaceBody(body) => {
                self.answer.body = body.clone();
                self.replaced = true;
            }
            Fault::MapLine(map) => self.answer.body = map_lines(map, &self.answer.body),
            Fault::MapBody(map) => self.answer.body = map.apply(std::mem::take(&mut self.answer.body)),
            Fault::SetHeader(name, value) => self.answer.set_header(name, Bytes::from(value.clone())),
            Fault::AddHeader(name, value) => {
                self.answer
                    .headers
                    .push((name.clone(), Bytes::from(value.clone())));
            }
            Fault::RemoveHeader(name) => self.answer.remove_header(name),
            Fault::ReplayFirst => self.replay(paths.first(path)),
            Fault::ReplayPrevious => self.replay(paths.previous(path)),
            Fault::Latency(latency) => {
                self.latency = Some(self.latency.unwrap_or_default() + *latency);
            }
            Fault::HoldUntilNext(at_most) => self.hold = Some(*at_most),
            Fault::Drip(interval) => self.drip = Some(*interval),
            Fault::ExcessLength(excess) => self.excess = *excess,
            Fault::Unterminated => self.unterminated = true,
            Fault::Duplicate => self.duplicate = true,
            Fault::StallAfter(bytes) => self.stall = Some(*bytes),
            Fault::CutBody(bytes) => self.cut_body = Some(*bytes),
            Fault::CutAnswer(bytes) => self.cut_answer = Some(*bytes),
            Fault::ConnectReset
            | Fault::ConnectClose
            | Fault::TooManyRequests
            | Fault::BlackHole
            | Fault::Reset
            | Fault::Close => {}
        }
    }

    fn replay(&mut self, old: Option<Answer>) {
        if let Some(old) = old {
            self.replace(old);
        }
    }

    fn replace(&mut self, answer: Answer) {
        self.answer = answer;
        self.replaced = true;
    }

    /// Whether the end of the body is not marked, and the connection is closed after it.
    pub(crate) fn lacks_its_end(&self) -> bool {
        self.unterminated || self.excess > 0
    }

    /// Writes the answer. `Ok` means that it was written completely and the connection may go on.
    pub(crate) async fn send(&self, client: &mut Client<'_>) -> Result<(), End> {
        for _ in 0..if self.duplicate { 2 } else { 1 } {
            let mut out = Out {
                client,
                left: self.cut_answer,
            };
            self.send_once(&mut out).await?;
        }
        if self.answer.close {
            Err(End::Close)
        } else {
            Ok(())
        }
    }

    async fn send_once(&self, out: &mut Out<'_, '_>) -> Result<(), End> {
        let answer = &self.answer;
        out.write(&answer.encode_head(self.excess)).await?;
        if !answer.bodiless {
            let limit = self
                .stall
                .into_iter()
                .chain(self.cut_body)
                .min()
                .unwrap_or(usize::MAX);
            let shown = answer.body.slice(..limit.min(answer.body.len()));
            match self.drip {
                None => out.write(&answer.encode_part(&shown)).await?,
                Some(interval) => {
                    for at in 0..shown.len() {
                        out.client.while_open(sleep(interval)).await?;
                        out.write(&answer.encode_part(&shown.slice(at..=at))).await?;
                    }
                }
            }
            if self.stall == Some(limit) {
                return Err(out.client.gone().await);
            }
            if self.cut_body.is_some() || self.unterminated || self.excess > 0 {
                return Err(End::Close);
            }
            if answer.chunked {
                out.write(b"0\r\n\r\n").await?;
            }
        }
        if self.cut_answer.is_some() {
            Err(End::Close)
        } else {
            Ok(())
        }
    }
}

/// Writes up to a limit.
struct Out<'a, 'b> {
    client: &'a mut Client<'b>,
    left: Option<usize>,
}

impl Out<'_, '_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        let Some(left) = self.left else {
            return self.client.write(bytes).await;
        };
        let shown = &bytes[..left.min(bytes.len())];
        self.left = Some(left - shown.len());
        self.client.write(shown).await?;
        if shown.len() < bytes.len() {
            Err(End::Close)
        } else {
            Ok(())
        }
    }
}
