//! Server-sent events, put together from the lines of an answer.
//!
//! What another daemon sends has its data on one line each, which is taken as it is, without a copy.

use bytes::Bytes;

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) kind: Kind,
    pub(crate) id: Option<Bytes>,
    pub(crate) data: Bytes,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// How old what is known of each registry is.
    Ages,
    /// What follows is everything, or what changed.
    Begin,
    /// One service of that.
    Service,
    /// That was all.
    End,
    /// None that is known here.
    Other,
}

/// The lines of the event that is being sent.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    kind: Option<Kind>,
    id: Option<Bytes>,
    data: Option<Bytes>,
    torn: bool,
}

impl Assembly {
    /// Takes a line. An event comes of the empty one at its end.
    ///
    /// # Errors
    ///
    /// Where an event has its data on several lines.
    pub(crate) fn take(&mut self, line: &Bytes) -> Result<Option<Sent>, &'static str> {
        if line.is_empty() {
            let Self { kind, id, data, torn } = std::mem::take(self);
            if torn {
                return Err("found an event with several lines of data, expected one line");
            }
            let kind = kind.unwrap_or(Kind::Other);
            return Ok(data.map(|data| Sent { kind, id, data }));
        }
        // One without a name is a comment.
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], line.slice(colon + 1..)),
            None => (&line[..], Bytes::new()),
        };
        let value = match value.first() {
            Some(b' ') => value.slice(1..),
            _ => value,
        };
        match name {
            b"event" => self.kind = Some(Kind::of(&value)),
            b"id" => self.id = Some(value),
            b"data" => self.torn |= self.data.replace(value).is_some(),
            _ => {}
        }
        Ok(None)
    }
}

impl Kind {
    fn of(word: &[u8]) -> Self {
        match word {
            b"ages" => Self::Ages,
            b"begin" => Self::Begin,
            b"service" => Self::Service,
            b"end" => Self::End,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Vec<Result<Sent, &'static str>> {
        let mut assembly = Assembly::default();
        let lines = text.lines().map(Bytes::from_static_str);
        lines
            .filter_map(|line| assembly.take(&line).transpose())
            .collect()
    }

    trait FromText {
        fn from_static_str(text: &'static str) -> Self;
    }

    impl FromText for Bytes {
        fn from_static_str(text: &'static str) -> Self {
            Self::from_static(text.as_bytes())
        }
    }

    #[test]
    fn an_event_is_told_at_its_empty_line_and_comments_are_none() {
        let found = read(
            ": quiet\n\nevent: end\nid:5f.3\ndata: {}\n\nevent: news\ndata:x\nretry: 3\n\nevent: begin\n\ndata: broken off",
        );
        let sent = |kind, id: Option<&'static str>, data: &'static str| {
            Ok(Sent {
                kind,
                id: id.map(Bytes::from_static_str),
                data: Bytes::from_static_str(data),
            })
        };
        assert_eq!(
            found,
            [sent(Kind::End, Some("5f.3"), "{}"), sent(Kind::Other, None, "x")]
        );
    }

    #[test]
    fn data_on_several_lines_is_an_error_and_the_next_event_is_none() {
        let found = read("event: begin\ndata: {\ndata: }\n\nevent: end\ndata: {}\n\n");
        assert!(
            matches!(found.as_slice(), [Err(_), Ok(Sent { kind: Kind::End, .. })]),
            "{found:?}"
        );
    }
}
