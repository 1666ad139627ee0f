//! The XML shape: `<applications><application><name>…</name><instance>…</instance></application></applications>`,
//! elements in any order, namespaces ignored.
//!
//! An instance that is not well-formed, as its metadata may make it, is passed over up to its end: the others are not
//! lost with it.

mod cursor;
mod instance;
mod name;

use super::error::{DecodeError, quoted};
use super::format::html;
use super::{Application, Head, MOST_UNREAD};
use cursor::{Cursor, Token};

/// Reads a document, handing over its applications one by one.
pub(super) fn read<'a>(text: &'a str, sink: &mut impl FnMut(Application<'a>)) -> Result<Head, DecodeError> {
    let mut document = Document {
        cursor: Cursor::new(text),
        passed_over: 0,
    };
    let mut head = None;
    loop {
        match document.cursor.next()? {
            Token::Start(start) if head.is_some() => {
                let found = quoted(start.name());
                return Err(document
                    .cursor
                    .error(format!("{found} behind the end of the document")));
            }
            Token::Start(start) if start.name() == "applications" => {
                head = Some(document.applications(sink)?);
            }
            Token::Start(start) if start.name().eq_ignore_ascii_case("html") => return Err(html()),
            Token::Start(start) => {
                let found = quoted(start.name());
                return Err(document
                    .cursor
                    .error(format!("expected `applications`, found {found}")));
            }
            Token::Text(text) if text.trim_ascii().is_empty() => {}
            Token::Text(_) => return Err(document.cursor.error("text outside of `applications`")),
            Token::End | Token::Eof => {
                return head.ok_or_else(|| document.cursor.error("expected `applications`, found nothing"));
            }
        }
    }
}

struct Document<'a> {
    cursor: Cursor<'a>,
    /// How many instances were passed over.
    passed_over: usize,
}

impl<'a> Document<'a> {
    /// What is in the root, whose start was read.
    fn applications(&mut self, sink: &mut impl FnMut(Application<'a>)) -> Result<Head, DecodeError> {
        let mut head = Head::default();
        loop {
            match self.cursor.next()? {
                Token::Start(start) => match start.name() {
                    // The second underscore escapes the first.
                    "apps__hashcode" | "apps_hashcode" => {
                        head.hash = self.cursor.text()?.map(|hash| hash.trim_ascii().to_owned());
                    }
                    "application" => sink(self.application()?),
                    _ => self.cursor.skip()?,
                },
                Token::Text(_) => {}
                Token::End | Token::Eof => return Ok(head),
            }
        }
    }

    fn application(&mut self) -> Result<Application<'a>, DecodeError> {
        let mut application = Application::default();
        loop {
            match self.cursor.next()? {
                Token::Start(start) => match start.name() {
                    "name" => {
                        let name = self.cursor.text()?;
                        application.name = name
                            .filter(|name| !name.trim_ascii().is_empty())
                            .unwrap_or_default();
                    }
                    "instance" => self.instance(start.whole_name(), &mut application)?,
                    _ => self.cursor.skip()?,
                },
                Token::Text(_) => {}
                Token::End | Token::Eof => {
                    application.name_by_instances();
                    return Ok(application);
                }
            }
        }
    }

    fn instance(&mut self, name: &str, application: &mut Application<'a>) -> Result<(), DecodeError> {
        let (from, outside) = (self.cursor.offset(), self.cursor.depth() - 1);
        match instance::read(&mut self.cursor) {
            Ok(instance) => application
                .add(Ok(instance))
                .map_err(|problem| self.cursor.error(problem)),
            // Each may cost a look through the whole document.
            Err(error) if self.passed_over >= MOST_UNREAD || !self.cursor.resume(from, name, outside) => {
                Err(error)
            }
            Err(error) => {
                self.passed_over += 1;
                application
                    .add(Err(error.message()))
                    .map_err(|problem| self.cursor.error(problem))
            }
        }
    }
}
