//! As much of MongoDB's wire protocol as a driver's first words need.
//!
//! A message is a head of four little-endian 32-bit numbers (its length, its own number, the one it answers, the kind)
//! and a body that holds a document in BSON.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The answer to `OP_QUERY`.
const OP_REPLY: i32 = 1;
/// A question in the old form, which drivers still begin with.
const OP_QUERY: i32 = 2004;
/// Questions and answers in the new form.
const OP_MSG: i32 = 2013;

const HEAD: usize = 16;

/// The longest message that is read.
const LONGEST: usize = 1 << 20;

/// A message, without its length.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    pub(super) number: i32,
    pub(super) answers: i32,
    pub(super) kind: i32,
    pub(super) body: Vec<u8>,
}

/// Which of the two forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MongoForm {
    /// `OP_QUERY`, which is answered by `OP_REPLY`.
    Query,
    /// `OP_MSG`
    Message,
}

impl Message {
    /// A command of one field whose value is 1, such as `hello` or `ping`, to the database `admin`.
    pub(super) fn command(number: i32, form: MongoForm, command: &str) -> Self {
        let mut body = vec![0; 4]; // no flags
        let (kind, document) = match form {
            MongoForm::Query => {
                body.extend(b"admin.$cmd\0");
                body.extend(0_i32.to_le_bytes()); // to skip
                body.extend((-1_i32).to_le_bytes()); // to return
                (OP_QUERY, Document::default().double(command, 1.0))
            }
            MongoForm::Message => {
                body.push(0); // one document follows
                (
                    OP_MSG,
                    Document::default().double(command, 1.0).text("$db", "admin"),
                )
            }
        };
        body.extend(document.encode());
        Self {
            number,
            answers: 0,
            kind,
            body,
        }
    }

    /// The answer to it: everything is in order, and who says so.
    fn answer(&self, id: &str) -> Option<Self> {
        let mut body = Vec::new();
        let kind = match self.kind {
            OP_QUERY => {
                body.extend(8_i32.to_le_bytes()); // can await
                body.extend(0_i64.to_le_bytes()); // no cursor
                body.extend(0_i32.to_le_bytes()); // from the first
                body.extend(1_i32.to_le_bytes()); // one document
                OP_REPLY
            }
            OP_MSG => {
                body.extend([0; 5]); // no flags, one document
                OP_MSG
            }
            _ => return None,
        };
        let document = Document::default()
            .double("ok", 1.0)
            .flag("ismaster", true)
            .flag("isWritablePrimary", true)
            .number("minWireVersion", 0)
            .number("maxWireVersion", 21)
            .number("maxBsonObjectSize", 16 << 20)
            .number("maxMessageSizeBytes", 48_000_000)
            .text("setName", id);
        body.extend(document.encode());
        Some(Self {
            number: self.number.wrapping_add(1_000_000),
            answers: self.number,
            kind,
            body,
        })
    }

    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let length = usize::try_from(stream.read_i32_le().await?).unwrap_or_default();
        if !(HEAD..=LONGEST).contains(&length) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut message = Self {
            number: stream.read_i32_le().await?,
            answers: stream.read_i32_le().await?,
            kind: stream.read_i32_le().await?,
            body: vec![0; length - HEAD],
        };
        stream.read_exact(&mut message.body).await?;
        Ok(message)
    }

    pub(super) async fn write(&self, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let length = i32::try_from(self.body.len() + HEAD).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut bytes = Vec::new();
        for number in [length, self.number, self.answers, self.kind] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(&self.body);
        stream.write_all(&bytes).await
    }

    /// The text of a field of its document, found by its name.
    pub(super) fn text(&self, field: &str) -> Option<String> {
        let mut needle = vec![2]; // text
        needle.extend(field.as_bytes());
        needle.push(0);
        let at = self
            .body
            .windows(needle.len())
            .position(|bytes| bytes == needle)?
            + needle.len();
        let length = self
            .body
            .get(at..at + 4)?
            .try_into()
            .ok()
            .map(u32::from_le_bytes)?;
        let end = usize::try_from(length).ok()?.checked_sub(1)?;
        let text = self.body.get(at + 4..)?.get(..end)?;
        String::from_utf8(text.to_vec()).ok()
    }
}

/// Answers every message until the client goes; a kind that it does not know ends the connection.
pub(super) async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, id: &str) -> io::Result<()> {
    loop {
        let message = Message::read(&mut stream).await?;
        match message.answer(id) {
            Some(answer) => answer.write(&mut stream).await?,
            None => return Ok(()),
        }
    }
}

/// A document under construction: its fields, encoded.
#[derive(Debug, Default)]
struct Document(Vec<u8>);

impl Document {
    fn field(mut self, kind: u8, name: &str, value: &[u8]) -> Self {
        self.0.push(kind);
        self.0.extend(name.as_bytes());
        self.0.push(0);
        self.0.extend(value);
        self
    }

    fn double(self, name: &str, value: f64) -> Self {
        self.field(1, name, &value.to_le_bytes())
    }

    fn text(self, name: &str, value: &str) -> Self {
        let length = u32::try_from(value.len() + 1).unwrap_or(u32::MAX);
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(value.as_bytes());
        bytes.push(0);
        self.field(2, name, &bytes)
    }

    fn flag(self, name: &str, value: bool) -> Self {
        self.field(8, name, &[u8::from(value)])
    }

    fn number(self, name: &str, value: i32) -> Self {
        self.field(16, name, &value.to_le_bytes())
    }

    fn encode(self) -> Vec<u8> {
        // The length counts itself and the end.
        let length = u32::try_from(self.0.len() + 5).unwrap_or(u32::MAX);
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(self.0);
        bytes.push(0);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_encoded_as_bson_says() {
        // The example of bsonspec.org.
        let encoded = Document::default().text("hello", "world").encode();
        assert_eq!(
            encoded,
            b"\x16\x00\x00\x00\x02hello\x00\x06\x00\x00\x00world\x00\x00"
        );
    }

    #[test]
    fn an_answer_names_its_question_and_the_server() {
        for form in [MongoForm::Query, MongoForm::Message] {
            let question = Message::command(7, form, "hello");
            let answer = question.answer("mongo-1").expect("it is known");
            assert_eq!(answer.answers, 7);
            assert_eq!(answer.text("setName").as_deref(), Some("mongo-1"));
        }
    }

    #[tokio::test]
    async fn a_length_beyond_the_limit_ends_the_connection() {
        for length in [i32::MAX, 3, -1] {
            let bytes = [length.to_le_bytes(); 4].concat();
            let error = Message::read(&mut bytes.as_slice()).await.expect_err("too long");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }
}
