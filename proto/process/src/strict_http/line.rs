//! A line of HTTP/1, wherever the reads cut it.

/// The bytes that are kept of a line that comes in several reads.
pub(super) const LINE: usize = 128;

/// The beginning of a line that came in earlier reads.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) kept: Vec<u8>,
    last: Option<u8>,
    is_cut: bool,
}

/// A line without its end.
pub(super) struct Whole<'a> {
    /// The line; its first [`LINE`] bytes if it is cut.
    pub text: &'a [u8],
    /// Is true if the rest was not kept.
    pub is_cut: bool,
    /// The line ended in CRLF, not in LF alone.
    pub has_cr: bool,
}

impl Line {
    /// Keeps bytes of a line that goes on.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        let room = LINE.saturating_sub(self.kept.len()).min(bytes.len());
        self.kept.extend(bytes.iter().take(room));
        self.is_cut |= bytes.len() > room;
        self.last = bytes.last().copied().or(self.last);
    }

    /// Returns the line that ends with `rest`, what stands before its LF.
    pub(super) fn end<'a>(&'a mut self, rest: &'a [u8]) -> Whole<'a> {
        let has_cr = rest.last().copied().or(self.last) == Some(b'\r');
        let text = if self.last.is_none() {
            rest
        } else {
            self.keep(rest);
            &self.kept
        };
        let text = text.strip_suffix(b"\r").filter(|_| has_cr && !self.is_cut).unwrap_or(text);
        Whole { text, is_cut: self.is_cut, has_cr }
    }

    /// Begins a new line.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
        (self.last, self.is_cut) = (None, false);
    }
}

impl<'a> Whole<'a> {
    /// Returns the value if this is a line of the field `name`, which ends in its colon.
    pub(super) fn value_of(&self, name: &[u8]) -> Option<&'a [u8]> {
        let (begin, value) = self.text.split_at_checked(name.len())?;
        begin.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
    }
}
