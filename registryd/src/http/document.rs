//! Answers of any size, written in pieces: what was sent needs no memory any more, what is not asked for yet none
//! either. A million endpoints are half a gigabyte of JSON.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use futures_util::stream;
use registry_core::{Endpoint, Service, Str};

use super::json;

/// A piece is handed on as soon as it is this large.
const CHUNK: usize = 32 * 1024;

/// JSON that is still to be written.
#[derive(Default)]
pub(super) struct Document {
    parts: VecDeque<Part>,
}

enum Part {
    Text(Vec<u8>),
    Services(Services),
    #[cfg(feature = "xds")]
    Elements {
        left: Box<dyn Iterator<Item = Vec<u8>> + Send>,
        first: bool,
    },
    Names {
        left: std::vec::IntoIter<Str>,
        first: bool,
    },
}

impl Document {
    /// Adds text as it is.
    pub(super) fn text(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.parts.push_back(Part::Text(text.into()));
        self
    }

    /// Adds services, separated by commas.
    pub(super) fn services(self, services: Vec<Arc<Service>>) -> Self {
        self.framed(services, Frame::LIST, Vec::new())
    }

    /// Adds services, each an event of its own.
    pub(super) fn events(self, services: Vec<Arc<Service>>) -> Self {
        self.framed(services, Frame::EVENT, Vec::new())
    }

    fn framed(mut self, services: Vec<Arc<Service>>, frame: Frame, more: Vec<u8>) -> Self {
        self.parts.push_back(Part::Services(Services {
            left: services.into_iter(),
            open: None,
            first: true,
            frame,
            more,
        }));
        self
    }

    /// Adds one service with further members, such as `,"a":1`.
    pub(super) fn service(self, service: Arc<Service>, more: Vec<u8>) -> Self {
        self.framed(vec![service], Frame::LIST, more)
    }

    /// Adds names, separated by commas.
    pub(super) fn names(mut self, names: Vec<Str>) -> Self {
        self.parts.push_back(Part::Names {
            left: names.into_iter(),
            first: true,
        });
        self
    }

    /// Adds elements, separated by commas, each of which is written when it is its turn.
    #[cfg(feature = "xds")]
    pub(super) fn elements(mut self, elements: impl Iterator<Item = Vec<u8>> + Send + 'static) -> Self {
        self.parts.push_back(Part::Elements {
            left: Box::new(elements),
            first: true,
        });
        self
    }

    /// Adds all of another one.
    pub(super) fn then(mut self, mut other: Self) -> Self {
        self.parts.append(&mut other.parts);
        self
    }

    /// The next piece; `None` at the end.
    pub(super) fn next_chunk(&mut self) -> Option<Bytes> {
        let mut out = Vec::new();
        while out.len() < CHUNK {
            let Some(part) = self.parts.front_mut() else { break };
            let more = match part {
                Part::Text(text) => {
                    out.append(text);
                    false
                }
                Part::Services(services) => services.step(&mut out),
                #[cfg(feature = "xds")]
                Part::Elements { left, first } => match left.next() {
                    Some(element) => {
                        separate(&mut out, first);
                        out.extend(element);
                        true
                    }
                    None => false,
                },
                Part::Names { left, first } => match left.next() {
                    Some(name) => {
                        separate(&mut out, first);
                        json::append(&mut out, &name.as_str());
                        true
                    }
                    None => false,
                },
            };
            if !more {
                self.parts.pop_front();
            }
        }
        (!out.is_empty()).then(|| out.into())
    }

    /// The whole as the body of an answer. What fits into one piece is sent with its length.
    pub(super) fn into_body(mut self) -> Body {
        let first = self.next_chunk().unwrap_or_default();
        if self.parts.is_empty() {
            return Body::from(first);
        }
        let pieces = stream::unfold((Some(first), self), |(first, mut document)| async move {
            let piece = first.or_else(|| document.next_chunk())?;
            Some((Ok::<_, Infallible>(piece), (None, document)))
        });
        Body::from_stream(pieces)
    }
}

fn separate(out: &mut Vec<u8>, first: &mut bool) {
    if !std::mem::take(first) {
        out.push(b',');
    }
}

struct Services {
    left: std::vec::IntoIter<Arc<Service>>,
    open: Option<Open>,
    first: bool,
    frame: Frame,
    more: Vec<u8>,
}

/// What stands around each service.
#[derive(Clone, Copy)]
struct Frame {
    before: &'static [u8],
    between: &'static [u8],
    after: &'static [u8],
}

impl Frame {
    const LIST: Self = Self {
        before: b"",
        between: b",",
        after: b"",
    };
    const EVENT: Self = Self {
        before: b"event: service\ndata: ",
        between: b"",
        after: b"\n\n",
    };
}

/// A service whose endpoints are being written.
struct Open {
    service: Arc<Service>,
    endpoints: std::vec::IntoIter<Arc<Endpoint>>,
    first: bool,
}

impl Services {
    /// Writes a little more. False where there is nothing left.
    fn step(&mut self, out: &mut Vec<u8>) -> bool {
        if let Some(open) = &mut self.open {
            match open.endpoints.next() {
                Some(endpoint) => {
                    separate(out, &mut open.first);
                    json::endpoint(out, &open.service, &endpoint);
                }
                None => {
                    json::rest_of_service(out, &open.service);
                    out.append(&mut self.more);
                    out.push(b'}');
                    out.extend_from_slice(self.frame.after);
                    self.open = None;
                }
            }
            return true;
        }
        let Some(service) = self.left.next() else {
            return false;
        };
        if !std::mem::take(&mut self.first) {
            out.extend_from_slice(self.frame.between);
        }
        out.extend_from_slice(self.frame.before);
        json::open_service(out, &service);
        self.open = Some(Open {
            endpoints: sorted(&service).into_iter(),
            service,
            first: true,
        });
        true
    }
}

/// The endpoints in the order of their addresses, ports and ids: the same in every process that holds them. Those that
/// are held back come last.
fn sorted(service: &Service) -> Vec<Arc<Endpoint>> {
    let mut endpoints: Vec<Arc<Endpoint>> = service.endpoints().iter().cloned().collect();
    endpoints.sort_by(|a, b| {
        (a.held(), a.address(), a.network(), a.ports(), a.id()).cmp(&(
            b.held(),
            b.address(),
            b.network(),
            b.ports(),
            b.id(),
        ))
    });
    endpoints
}
