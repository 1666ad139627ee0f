//! Reading where a service is listened for: a number is a port, a text an address.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use super::LocalPort;

impl<'de> Deserialize<'de> for LocalPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LocalPortVisitor)
    }
}

struct LocalPortVisitor;

impl Visitor<'_> for LocalPortVisitor {
    type Value = LocalPort;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a port of this host such as 16379, or an IP address and a port such as 127.0.0.5:6379")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<LocalPort, E> {
        u16::try_from(value)
            .map(LocalPort::Port)
            .map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<LocalPort, E> {
        u16::try_from(value)
            .map(LocalPort::Port)
            .map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<LocalPort, E> {
        // A variable that stands for a port is a text.
        let port = text.parse().map(LocalPort::Port);
        port.or_else(|_| text.parse().map(LocalPort::Address))
            .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}
