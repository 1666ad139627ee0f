//! An instance in XML.

use super::cursor::{Cursor, Start, Token};
use super::name;
use crate::wire::error::DecodeError;
use crate::wire::field::{Entries, Field, boolean, tidy};
use crate::wire::{Instance, Port};

/// The instance whose start was read.
pub(super) fn read<'a>(cursor: &mut Cursor<'a>) -> Result<Instance<'a>, DecodeError> {
    let mut instance = Instance::default();
    loop {
        match cursor.next()? {
            Token::Start(start) => match Field::of(start.name()) {
                Field::Text(field) => instance.set(field, cursor.text()?),
                Field::Port => instance.port = port(cursor, enabled(start), true)?,
                Field::SecurePort => instance.secure_port = port(cursor, enabled(start), false)?,
                Field::DataCenter => instance.data_center = data_center(cursor)?,
                Field::Metadata => instance.metadata = metadata(cursor)?,
                Field::Other => cursor.skip()?,
            },
            Token::Text(_) => {}
            Token::End | Token::Eof => return Ok(instance),
        }
    }
}

fn enabled(port: Start<'_>) -> Option<bool> {
    port.attribute("enabled", boolean)
}

/// `<port enabled="true">8080</port>`.
fn port(cursor: &mut Cursor<'_>, enabled: Option<bool>, otherwise: bool) -> Result<Port, DecodeError> {
    let number = cursor.text()?;
    Ok(Port::of(number.as_deref(), enabled, otherwise))
}

/// `<dataCenterInfo class="…"><name>Amazon</name><metadata>…</metadata></dataCenterInfo>`, of which only the metadata
/// matter.
fn data_center<'a>(cursor: &mut Cursor<'a>) -> Result<Entries<'a>, DecodeError> {
    let mut entries = Entries::new();
    loop {
        match cursor.next()? {
            Token::Start(start) if start.name() == "metadata" => entries = metadata(cursor)?,
            Token::Start(_) => cursor.skip()?,
            Token::Text(_) => {}
            Token::End | Token::Eof => return Ok(entries),
        }
    }
}

/// `<metadata><zone>eu-1a</zone></metadata>`: a map of texts, its keys being names of elements.
fn metadata<'a>(cursor: &mut Cursor<'a>) -> Result<Entries<'a>, DecodeError> {
    let mut entries = Entries::new();
    loop {
        match cursor.next()? {
            Token::Start(_) => {
                let value = cursor.text()?;
                entries.extend(value.map(|value| (name::decode(cursor.closed()), value)));
            }
            Token::Text(_) => {}
            Token::End | Token::Eof => {
                tidy(&mut entries);
                return Ok(entries);
            }
        }
    }
}
