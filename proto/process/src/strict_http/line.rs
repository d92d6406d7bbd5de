//! Lines of HTTP/1 that may be split among several reads.

/// The number of bytes kept of a line that arrives in several reads.
pub(super) const LINE: usize = 128;

/// The part of a line that arrived in earlier reads.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) kept: Vec<u8>,
    last: Option<u8>,
    is_cut: bool,
}

/// A complete line without its line end.
pub(super) struct CompleteLine<'a> {
    /// The line; only its first [`LINE`] bytes if it is cut.
    pub text: &'a [u8],
    /// True if the rest of the line was not kept.
    pub is_cut: bool,
    /// True if the line ended in CRLF, false for a bare LF.
    pub has_cr: bool,
}

impl Line {
    /// Keeps bytes of a line that is not complete yet.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        let room = LINE.saturating_sub(self.kept.len()).min(bytes.len());
        self.kept.extend(bytes.iter().take(room));
        self.is_cut |= bytes.len() > room;
        self.last = bytes.last().copied().or(self.last);
    }

    /// Returns the line that ends with `rest`, the bytes before its LF.
    pub(super) fn end<'a>(&'a mut self, rest: &'a [u8]) -> CompleteLine<'a> {
        let has_cr = rest.last().copied().or(self.last) == Some(b'\r');
        let text = if self.last.is_none() {
            rest
        } else {
            self.keep(rest);
            &self.kept
        };
        let text = text.strip_suffix(b"\r").filter(|_| has_cr && !self.is_cut).unwrap_or(text);
        CompleteLine { text, is_cut: self.is_cut, has_cr }
    }

    /// Resets the state for a new line.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
        (self.last, self.is_cut) = (None, false);
    }
}

impl<'a> CompleteLine<'a> {
    /// Returns the value if this is a line of the field `name`, which is given with its colon.
    pub(super) fn value_of(&self, name: &[u8]) -> Option<&'a [u8]> {
        let (begin, value) = self.text.split_at_checked(name.len())?;
        begin.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
    }
}
