//! A walk through an XML document that knows where it is: every element is closed by its own end, and none is left open
//! at the end of the document.
//!
//! Netflix's server writes keys of metadata as element names, whatever is in them: `<prometheus.io/scrape>`, `<a b>`,
//! `<1>` are what it sends. So whether a start has attributes or a name with blanks in it is only known at its end.

use std::borrow::Cow;

use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use crate::wire::error::{DecodeError, quoted};

/// How deep elements may be within each other. The documents of Eureka are 6 deep.
const DEEPEST: usize = 64;

/// What comes next.
#[derive(Debug)]
pub(super) enum Token<'a> {
    Start(Start<'a>),
    /// The end of the innermost element that is open.
    End,
    Text(Cow<'a, str>),
    /// The end of the document.
    Eof,
}

/// The start of an element.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start<'a> {
    /// All that is between `<` and `>`.
    content: &'a str,
    name_length: usize,
}

impl<'a> Start<'a> {
    /// Its name without the prefix of a namespace.
    pub(super) fn name(&self) -> &'a str {
        let name = self.whole_name();
        name.rsplit_once(':').map_or(name, |(_, local)| local)
    }

    /// Its name, prefix included.
    pub(super) fn whole_name(&self) -> &'a str {
        &self.content[..self.name_length]
    }

    /// What can be read from the value of one of its attributes.
    pub(super) fn attribute<T>(&self, name: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let start = BytesStart::from_content(self.content, self.name_length);
        let mut attributes = start.attributes();
        let mut readable = attributes.with_checks(false).map_while(Result::ok);
        readable
            .find(|attribute| attribute.key.local_name().as_ref() == name)
            .and_then(|attribute| read(&attribute.value))
    }
}

/// A walk through a document.
pub(super) struct Cursor<'a> {
    text: &'a str,
    /// Where in the text the reader began.
    base: usize,
    reader: Reader<&'a [u8]>,
    /// The elements that are open, the innermost last.
    open: Vec<Start<'a>>,
    /// True where the last start was of an empty element, so that its end is next.
    empty: bool,
    /// The name of the element that was closed last.
    closed: &'a str,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            base: 0,
            reader: reader(text),
            open: Vec::new(),
            empty: false,
            closed: "",
        }
    }

    /// How many elements are open.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// The whole name of the element that was closed last, prefix included.
    pub(super) fn closed(&self) -> &'a str {
        self.closed
    }

    /// How much of the document was read.
    pub(super) fn offset(&self) -> usize {
        self.base + usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX)
    }

    /// An error at what was read last.
    pub(super) fn error(&self, message: impl AsRef<str>) -> DecodeError {
        DecodeError::at(self.text, self.offset(), message)
    }

    /// Goes on behind the first end of an element of that name that there is from an offset on, where only `depth`
    /// elements are open. False where there is none.
    pub(super) fn resume(&mut self, from: usize, name: &str, depth: usize) -> bool {
        let end = format!("</{name}>");
        let Some(found) = self.text.get(from..).and_then(|rest| rest.find(&end)) else {
            return false;
        };
        // A reader passes over a byte order mark at its beginning, without counting it.
        let rest = self.text[from + found + end.len()..].trim_start_matches('\u{feff}');
        self.base = self.text.len() - rest.len();
        self.reader = reader(rest);
        self.open.truncate(depth);
        self.empty = false;
        true
    }

    /// What comes next; comments and processing instructions are passed over.
    pub(super) fn next(&mut self) -> Result<Token<'a>, DecodeError> {
        if std::mem::take(&mut self.empty) {
            self.close(None)?;
            return Ok(Token::End);
        }
        loop {
            let event = match self.reader.read_event() {
                Ok(event) => event,
                Err(error) => {
                    let at = usize::try_from(self.reader.error_position()).unwrap_or(usize::MAX);
                    return Err(DecodeError::at(
                        self.text,
                        self.base.saturating_add(at),
                        error.to_string(),
                    ));
                }
            };
            return Ok(match event {
                Event::Start(start) => Token::Start(self.start(&start, ">")?),
                Event::Empty(start) => {
                    let start = self.start(&start, "/>")?;
                    self.empty = true;
                    Token::Start(start)
                }
                Event::End(end) => {
                    self.close(Some(&end))?;
                    Token::End
                }
                Event::Text(text) => Token::Text(text.xml10_content()),
                Event::CData(text) => Token::Text(text.xml10_content()),
                Event::GeneralRef(reference) => Token::Text(resolve(&reference)),
                Event::Eof => match self.open.last() {
                    None => Token::Eof,
                    Some(open) => {
                        let name = quoted(open.content);
                        return Err(self.error(format!("the document breaks off within {name}")));
                    }
                },
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => continue,
            });
        }
    }

    /// Passes over what is left of the innermost element that is open.
    pub(super) fn skip(&mut self) -> Result<(), DecodeError> {
        let outside = self.open.len().saturating_sub(1);
        while self.open.len() > outside {
            self.next()?;
        }
        Ok(())
    }

    /// The text of the element that was started last; nothing where there are elements in it.
    pub(super) fn text(&mut self) -> Result<Option<Cow<'a, str>>, DecodeError> {
        let mut text = Cow::Borrowed("");
        let mut plain = true;
        loop {
            match self.next()? {
                Token::Text(more) if text.is_empty() => text = more,
                Token::Text(more) => text.to_mut().push_str(&more),
                Token::Start(_) => {
                    plain = false;
                    self.skip()?;
                }
                Token::End | Token::Eof => return Ok(plain.then_some(text)),
            }
        }
    }

    fn start(&mut self, start: &BytesStart<'_>, bracket: &str) -> Result<Start<'a>, DecodeError> {
        if self.open.len() >= DEEPEST {
            return Err(self.error(format!("more than {DEEPEST} elements within each other")));
        }
        // The event only lends what it holds; the text outlives it.
        let end = self.offset().saturating_sub(bracket.len());
        let content = self.text.get(end.saturating_sub(start.len())..end);
        let start = Start {
            content: content.ok_or_else(|| self.error("a tag that cannot be found again"))?,
            name_length: start.name().as_ref().len(),
        };
        self.open.push(start);
        Ok(start)
    }

    /// Closes the innermost element, by an end of that name if it is not empty.
    fn close(&mut self, end: Option<&str>) -> Result<(), DecodeError> {
        let Some(open) = self.open.pop() else {
            let found = quoted(end.unwrap_or_default());
            return Err(self.error(format!("the end of {found}, which was not started")));
        };
        let name = open.whole_name();
        self.closed = match end {
            None => name,
            Some(end) if end == name => name,
            Some(end) if end == open.content.trim_ascii_end() => open.content.trim_ascii_end(),
            Some(end) => {
                let (found, expected) = (quoted(end), quoted(name));
                return Err(self.error(format!("the end of {found}, expected that of {expected}")));
            }
        };
        Ok(())
    }
}

fn reader(text: &str) -> Reader<&[u8]> {
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    // The cursor does it, with more patience.
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    reader
}

/// What a reference stands for. One that stands for nothing known, as nothing declares any, is taken for the text it is.
///
/// Netflix's server refers to control characters that XML does not have, such as `&#x0;`: they are taken for what they
/// are, as in JSON.
fn resolve(reference: &str) -> Cow<'static, str> {
    Cow::Borrowed(match reference {
        "lt" => "<",
        "gt" => ">",
        "amp" => "&",
        "quot" => "\"",
        "apos" => "'",
        _ => {
            let code = match reference.strip_prefix('#') {
                Some(number) => match number.strip_prefix(['x', 'X']) {
                    Some(number) => u32::from_str_radix(number, 16).ok(),
                    None => number.parse().ok(),
                },
                None => None,
            };
            return Cow::Owned(match code {
                Some(code) => char::from_u32(code)
                    .unwrap_or(char::REPLACEMENT_CHARACTER)
                    .to_string(),
                None => format!("&{reference};"),
            });
        }
    })
}
