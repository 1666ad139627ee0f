//! What a message looks like: as much of its definition as it takes to read its bytes.

/// A message.
#[derive(Debug)]
pub(super) struct Message {
    /// Its full name.
    pub(super) name: &'static str,
    /// Its fields, in the order of their numbers.
    pub(super) fields: &'static [Field],
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    /// True for a list.
    pub(super) repeated: bool,
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Text,
    Bool,
    Unsigned,
    Signed,
    Double,
    /// One of these, by number.
    Enum(&'static [(i64, &'static str)]),
    Nested(&'static Message),
    /// A message with this as its field 1, so that it can be absent.
    Wrapper(&'static Shape),
    /// From texts to these.
    Map(&'static Shape),
    /// `google.protobuf.Duration`
    Duration,
    /// `google.protobuf.Any`
    Any,
    /// `google.protobuf.Struct`
    Struct,
    /// `google.protobuf.Value`
    Dynamic,
}

/// A field that stands alone.
pub(super) const fn one(number: u32, name: &'static str, shape: Shape) -> Field {
    Field {
        number,
        name,
        shape,
        repeated: false,
    }
}

/// A field that is a list.
pub(super) const fn many(number: u32, name: &'static str, shape: Shape) -> Field {
    Field {
        number,
        name,
        shape,
        repeated: true,
    }
}
