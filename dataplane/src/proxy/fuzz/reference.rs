//! A strict reference parser of HTTP/1.1 messages, which refuses everything ambiguous (RFC 9112).

/// The field lines of a section, with names in lower case.
pub(super) type Fields = Vec<(String, Vec<u8>)>;

/// The reason why no message was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReadError {
    /// The message is incomplete.
    Incomplete,
    /// The message is invalid or ambiguous.
    Invalid(&'static str),
}

/// A parser of the bytes of one direction of a connection.
#[derive(Debug, Clone)]
pub(super) struct MessageReader<'a> {
    pub(super) rest: &'a [u8],
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// The three parts of the start line.
    pub(super) start: [Vec<u8>; 3],
    /// The header section.
    pub(super) fields: Fields,
    /// The content, decoded.
    pub(super) content: Vec<u8>,
    /// The trailer section.
    pub(super) trailers: Fields,
    /// Is true if the end of the connection ended the content.
    pub(super) is_ended_by_close: bool,
}

/// The side that a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// A client, which sends requests.
    Client,
    /// A backend, which sends responses; a response to HEAD has no content.
    Backend { is_head: bool },
}

impl MessageReader<'_> {
    /// Reads one message; the bytes after it stay in `rest`.
    pub(super) fn message(&mut self, side: Side) -> Result<Message, ReadError> {
        while side == Side::Client && self.rest.starts_with(b"\r\n") {
            self.rest = &self.rest[2..];
        }
        let line = self.line()?.to_vec();
        let mut parts = line.splitn(3, |byte| *byte == b' ').map(<[u8]>::to_vec);
        let start = std::array::from_fn(|_| parts.next().unwrap_or_default());
        let fields = self.section()?;
        let mut message =
            Message { start, fields, content: vec![], trailers: vec![], is_ended_by_close: false };
        let is_coded = message.is_chunked()?;
        let length = message.length()?;
        if is_coded && length.is_some() {
            return Err(ReadError::Invalid("a length and a coding"));
        }
        let is_bodiless = match side {
            Side::Client => !is_coded && length.is_none(),
            Side::Backend { is_head } => {
                let status = &message.start[1];
                is_head || status.starts_with(b"1") || status == b"204" || status == b"304"
            }
        };
        match length {
            _ if is_bodiless => {}
            _ if is_coded => self.chunks(&mut message)?,
            Some(length) => message.content = self.take(length)?.to_vec(),
            None => {
                message.content = std::mem::take(&mut self.rest).to_vec();
                message.is_ended_by_close = true;
            }
        }
        Ok(message)
    }

    /// Reads a line and its CRLF; a lone CR or LF is invalid.
    fn line(&mut self) -> Result<&[u8], ReadError> {
        let end = self.rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let Some(end) = end else { return Err(ReadError::Incomplete) };
        match &self.rest[end..] {
            [b'\r', b'\n', rest @ ..] => {
                let line = &self.rest[..end];
                self.rest = rest;
                Ok(line)
            }
            [b'\r'] => Err(ReadError::Incomplete),
            _ => Err(ReadError::Invalid("a line end that is none")),
        }
    }

    /// Reads field lines up to the empty line.
    fn section(&mut self) -> Result<Fields, ReadError> {
        let mut fields = Fields::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let colon = line.iter().position(|byte| *byte == b':').ok_or(ReadError::Invalid("no colon"))?;
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.is_empty() || !name.iter().copied().all(is_token) {
                return Err(ReadError::Invalid("a field name"));
            }
            if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
                return Err(ReadError::Invalid("a field value"));
            }
            fields.push((String::from_utf8_lossy(name).to_ascii_lowercase(), value.to_vec()));
        }
    }

    fn take(&mut self, length: u64) -> Result<&[u8], ReadError> {
        let length = usize::try_from(length).map_err(|_| ReadError::Incomplete)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ReadError::Incomplete)?;
        self.rest = rest;
        Ok(taken)
    }

    fn chunks(&mut self, message: &mut Message) -> Result<(), ReadError> {
        loop {
            let line = self.line()?;
            let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            // Spaces before an extension are bad, but harmless (RFC 9112 §7.1.1).
            let is_clear = matches!(line[digits..].trim_ascii().first(), None | Some(b';'));
            let size = std::str::from_utf8(&line[..digits]).ok().filter(|_| is_clear);
            let size = size.and_then(|size| u64::from_str_radix(size, 16).ok());
            match size.ok_or(ReadError::Invalid("the size of a chunk"))? {
                0 => break,
                size => message.content.extend_from_slice(self.take(size)?),
            }
            if !self.line()?.is_empty() {
                return Err(ReadError::Invalid("the end of a chunk"));
            }
        }
        message.trailers = self.section()?;
        Ok(())
    }
}

impl Message {
    /// Returns the values of a field, one for each line.
    pub(super) fn values(&self, name: &str) -> Vec<&[u8]> {
        self.fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_slice()).collect()
    }

    /// Returns whether the only transfer coding is `chunked`.
    fn is_chunked(&self) -> Result<bool, ReadError> {
        match self.values("transfer-encoding")[..] {
            [] => Ok(false),
            [value] if value.eq_ignore_ascii_case(b"chunked") => Ok(true),
            _ => Err(ReadError::Invalid("a coding")),
        }
    }

    /// Returns the value of Content-Length, which may be repeated.
    fn length(&self) -> Result<Option<u64>, ReadError> {
        let mut length = None;
        for value in self.values("content-length").iter().flat_map(|value| value.split(|byte| *byte == b','))
        {
            let text = std::str::from_utf8(value.trim_ascii()).unwrap_or_default();
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            let number: Option<u64> = text.parse().ok().filter(|_| is_number);
            let number = number.ok_or(ReadError::Invalid("a length"))?;
            if length.replace(number).is_some_and(|before| before != number) {
                return Err(ReadError::Invalid("two lengths"));
            }
        }
        Ok(length)
    }
}

/// Returns whether a byte may stand in a token (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
