//! A page of a list, and the cursor of the next one: the key of the last entry, so that it costs the same wherever it is.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::refusal::Refusal;

/// The most entries on one page.
pub(crate) const MAX_PAGE: u32 = 1000;

/// The page of a list that is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PageRequest {
    /// The most entries on it, from 1 to [`MAX_PAGE`], which it is if it is left out.
    pub limit: Option<u32>,
    /// The cursor that the page before gave; `None` for the first page.
    pub cursor: Option<String>,
}

/// One page of a list.
#[derive(Debug)]
pub(crate) struct Paged<T> {
    /// The entries on it.
    pub entries: Vec<T>,
    /// The cursor of the next one, if there is one.
    pub next: Option<String>,
}

/// A page that can be read.
pub(super) struct Page {
    /// The most entries on it.
    pub(super) limit: u32,
    /// The key of the entry before it.
    pub(super) after: Option<String>,
}

impl Page {
    /// Refuses a limit out of bounds, and a cursor that no page gave.
    pub(super) fn parse(request: &PageRequest) -> Result<Self, Refusal> {
        let limit = request.limit.unwrap_or(MAX_PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(Refusal::Limit(MAX_PAGE));
        }
        let read =
            |cursor: &str| URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|key| String::from_utf8(key).ok());
        let after =
            request.cursor.as_deref().map(|cursor| read(cursor).ok_or(Refusal::Cursor)).transpose()?;
        Ok(Self { limit, after })
    }

    /// The page, of what was found for it and one more.
    pub(super) fn cut<T>(&self, mut found: Vec<T>, key: impl Fn(&T) -> &str) -> Paged<T> {
        let limit = self.limit as usize;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| Self::cursor(key(last)));
        Paged { entries: found, next }
    }

    /// The cursor of what comes after this key.
    pub(super) fn cursor(key: &str) -> String {
        URL_SAFE_NO_PAD.encode(key)
    }
}
