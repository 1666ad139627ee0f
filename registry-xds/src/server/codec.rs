//! Messages on the wire. A response is put together from what its resources were encoded to once, and leaves in pieces, so
//! that a client costs a piece and never a response.

use std::sync::Arc;
use std::vec;

use bytes::{BufMut, Bytes, BytesMut};
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use prost::encoding::{DecodeContext, decode_key, encode_varint, skip_field};
use prost::{DecodeError, Message};
use tonic::{Code, Status};

use super::body::LONGEST;
use crate::resource::{Resource, field_length, put_field, put_head};
use crate::session::{Incoming, Response, Variant};

/// The bytes before each message of gRPC: whether it is compressed, and its length.
pub(super) const PREFIX: usize = 5;

/// A message on its way out, its prefix included.
#[derive(Debug)]
pub(super) struct Outgoing {
    variant: Variant,
    /// Prefix and fields other than resources. They come first: the order of fields is free.
    head: Bytes,
    resources: vec::IntoIter<Arc<Resource>>,
    /// How many bytes are still to come.
    left: usize,
}

impl Outgoing {
    /// A response, from the control plane of that name.
    ///
    /// # Errors
    ///
    /// Where it is longer than a message of gRPC can be.
    pub(super) fn new(response: Response, control_plane: &str) -> Result<Self, Status> {
        let fields = fields(&response, control_plane);
        let resources: usize = response
            .resources
            .iter()
            .map(|resource| field_length(body(response.variant, resource).len()))
            .sum();
        let head = with_prefix(&fields, fields.len() + resources)?;
        Ok(Self {
            variant: response.variant,
            left: head.len() + resources,
            head,
            resources: response.resources.into_iter(),
        })
    }

    /// A message that is encoded already, and short.
    pub(super) fn short(message: &[u8]) -> Result<Self, Status> {
        let head = with_prefix(message, message.len())?;
        Ok(Self {
            variant: Variant::Sotw,
            left: head.len(),
            head,
            resources: Vec::new().into_iter(),
        })
    }

    /// How many bytes are still to come.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Moves what comes next to the end of `piece`, until that has `full` bytes or nothing is left; a resource is not
    /// divided.
    pub(super) fn fill(&mut self, piece: &mut BytesMut, full: usize) {
        let before = piece.len();
        piece.put_slice(&std::mem::take(&mut self.head));
        while piece.len() < full
            && let Some(resource) = self.resources.next()
        {
            put_field(piece, 2, body(self.variant, &resource));
        }
        self.left -= piece.len() - before;
    }
}

fn body(variant: Variant, resource: &Resource) -> &[u8] {
    match variant {
        Variant::Sotw => resource.any(),
        Variant::Delta => resource.delta(),
    }
}

fn with_prefix(fields: &[u8], length: usize) -> Result<Bytes, Status> {
    let length = u32::try_from(length).map_err(|_| Status::resource_exhausted("a response of 4 GiB"))?;
    let mut head = BytesMut::with_capacity(PREFIX + fields.len());
    head.put_u8(0);
    head.put_u32(length);
    head.put_slice(fields);
    Ok(head.freeze())
}

/// All fields but the resources, which both messages have at number 2.
fn fields(response: &Response, control_plane: &str) -> Vec<u8> {
    // `DiscoveryResponse` and `DeltaDiscoveryResponse` differ in these numbers alone.
    let (plane, errors) = match response.variant {
        Variant::Sotw => (6, 7),
        Variant::Delta => (7, 9),
    };
    let mut out = Vec::with_capacity(256);
    put_text(&mut out, 1, &response.version);
    put_text(&mut out, 4, response.type_.url());
    put_text(&mut out, 5, &response.nonce);
    let mut identifier = Vec::new();
    put_text(&mut identifier, 1, control_plane);
    put_field(&mut out, plane, &identifier);
    if response.variant == Variant::Delta {
        for name in &response.removed {
            put_field(&mut out, 6, name.as_bytes());
        }
    }
    for (name, why) in &response.errors {
        put_error(&mut out, errors, name, why);
    }
    out
}

/// A `ResourceError`: the `ResourceName`, and a `google.rpc.Status`.
fn put_error(out: &mut Vec<u8>, number: u32, name: &str, why: &str) {
    let mut status = Vec::with_capacity(why.len() + 8);
    status.put_u8(1 << 3);
    encode_varint(Code::NotFound as u64, &mut status);
    put_text(&mut status, 2, why);
    let resource = field_length(name.len());
    put_head(out, number, field_length(resource) + field_length(status.len()));
    put_head(out, 1, resource);
    put_field(out, 1, name.as_bytes());
    put_field(out, 2, &status);
}

/// A text, left out where it is empty, as proto3 has it.
fn put_text(out: &mut Vec<u8>, number: u32, text: &str) {
    if !text.is_empty() {
        put_field(out, number, text.as_bytes());
    }
}

/// Reads a request.
///
/// # Errors
///
/// Where it is none.
pub(crate) fn decode(variant: Variant, message: Bytes) -> Result<Incoming, Status> {
    check_weight(variant, &message)?;
    match variant {
        Variant::Sotw => DiscoveryRequest::decode(message).map(|request| Incoming::Sotw(Box::new(request))),
        Variant::Delta => {
            DeltaDiscoveryRequest::decode(message).map(|request| Incoming::Delta(Box::new(request)))
        }
    }
    .map_err(|error| not_a_request(&error))
}

fn not_a_request(error: &DecodeError) -> Status {
    Status::invalid_argument(format!("not a request: {error}"))
}

/// What a text costs in memory beside its bytes, as part of a decoded list.
const TEXT: usize = 64;

/// The longest of all that is no list of names, in bytes: the node, mostly.
const LONGEST_REST: usize = 1 << 20;

/// Looks at a request before memory is spent on it: a name is three bytes on the wire, and many times that once decoded.
fn check_weight(variant: Variant, message: &[u8]) -> Result<(), Status> {
    // `resource_names`; in delta what is subscribed to, and no longer, and what the client has.
    let lists = match variant {
        Variant::Sotw => 3..=3,
        Variant::Delta => 3..=5,
    };
    let (mut names, mut rest) = (0_usize, 0_usize);
    let mut left = message;
    while !left.is_empty() {
        let before = left.len();
        let (tag, wire_type) = decode_key(&mut left).map_err(|error| not_a_request(&error))?;
        let context = DecodeContext::default();
        skip_field(wire_type, tag, &mut left, context).map_err(|error| not_a_request(&error))?;
        let length = before - left.len();
        match lists.contains(&tag) {
            true => names += length + TEXT,
            false => rest += length,
        }
    }
    if names > LONGEST || rest > LONGEST_REST {
        return Err(Status::resource_exhausted(
            "a request with more names, or more about its node, than any client needs",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
