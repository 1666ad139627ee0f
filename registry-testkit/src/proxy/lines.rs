//! Bodies line by line, for faults that change some of them.

use bytes::{Bytes, BytesMut};

use super::fault::LineMap;

/// The longest line that is kept back until it is complete.
const MAX_LINE: usize = 16 << 20;

/// Cuts a stream into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The beginning of a line, not passed on yet.
    held: BytesMut,
    /// So much of it was searched for its end.
    searched: usize,
    /// The beginning of the present line has been passed on, so the rest of it has to follow as it is.
    begun: bool,
}

// === impl Lines ===

impl Lines {
    /// Takes what came, and gives what can be passed on: complete lines, each through all functions. Without any
    /// function nothing is kept back.
    pub(crate) fn push(&mut self, bytes: &[u8], maps: &[LineMap]) -> BytesMut {
        self.held.extend_from_slice(bytes);
        let mut out = BytesMut::new();
        if !maps.is_empty() {
            while let Some(end) = self.held[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.held.split_to(self.searched + end + 1);
                self.searched = 0;
                if std::mem::take(&mut self.begun) {
                    out.unsplit(line);
                } else {
                    map_line(maps, &line, &mut out);
                }
            }
            self.searched = self.held.len();
        }
        if maps.is_empty() || self.begun || self.held.len() > MAX_LINE {
            self.searched = 0;
            let rest = self.held.split();
            if let Some(last) = rest.last() {
                self.begun = *last != b'\n';
            }
            out.unsplit(rest);
        }
        out
    }

    /// Gives the last line, which has no end.
    pub(crate) fn finish(&mut self, maps: &[LineMap]) -> BytesMut {
        let mut out = BytesMut::new();
        if !self.held.is_empty() {
            map_line(maps, &self.held.split(), &mut out);
        }
        self.searched = 0;
        out
    }
}

/// A whole body, with each line through the function.
pub(crate) fn map_lines(map: &LineMap, body: &Bytes) -> Bytes {
    let maps = [map.clone()];
    let mut lines = Lines::default();
    let mut out = lines.push(body, &maps);
    out.unsplit(lines.finish(&maps));
    out.freeze()
}

fn map_line(maps: &[LineMap], line: &[u8], out: &mut BytesMut) {
    let (text, end) = match line.split_last() {
        Some((b'\n', text)) => (text, &b"\n"[..]),
        _ => (line, &b""[..]),
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return out.extend_from_slice(line);
    };
    let mut mapped = Some(text.to_owned());
    for map in maps {
        mapped = mapped.and_then(|line| map.apply(&line));
    }
    if let Some(mapped) = mapped {
        out.extend_from_slice(mapped.as_bytes());
        out.extend_from_slice(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn louder() -> LineMap {
        LineMap::new(|line| (line != "drop").then(|| format!("<{}>", line.to_uppercase())))
    }

    #[test]
    fn lines_are_mapped_wherever_they_are_cut() {
        let body = b"one\n\ndrop\ntwo\nlast";
        for first in 0..body.len() {
            for second in first..body.len() {
                let (mut lines, maps) = (Lines::default(), [louder()]);
                let mut out = BytesMut::new();
                for part in [&body[..first], &body[first..second], &body[second..]] {
                    out.unsplit(lines.push(part, &maps));
                }
                assert_eq!(out, "<ONE>\n<>\n<TWO>\n");
                out.unsplit(lines.finish(&maps));
                assert_eq!(out, "<ONE>\n<>\n<TWO>\n<LAST>");
            }
        }
        let whole = map_lines(&louder(), &Bytes::from_static(body));
        assert_eq!(whole, "<ONE>\n<>\n<TWO>\n<LAST>");
        assert_eq!(map_lines(&louder(), &Bytes::new()), "");
    }

    #[test]
    fn a_line_that_was_begun_is_passed_on_as_it_is() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"on", &[]), "on");
        assert_eq!(lines.push(b"e", &[louder()]), "e");
        assert_eq!(lines.push(b"\ntwo\nthr", &[louder()]), "\n<TWO>\n");
        assert_eq!(lines.push(b"ee\n", &[]), "three\n");
        assert_eq!(lines.push(b"four\n", &[louder()]), "<FOUR>\n");
    }

    #[test]
    fn what_is_no_text_and_what_is_too_long_passes() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"\xff\n", &[louder()]), &b"\xff\n"[..]);
        let long = vec![b'x'; MAX_LINE + 1];
        assert_eq!(lines.push(&long, &[louder()]), &long[..]);
        assert_eq!(lines.push(b"x\ny\n", &[louder()]), "x\n<Y>\n");
    }
}
