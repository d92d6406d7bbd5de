//! Pages of a list. A cursor is the key of the last entry of a page, so that every page costs the same.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::DomainError;

/// The maximum number of entries on one page.
pub(crate) const MAX_PAGE: u32 = 1000;

/// A request for one page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PageRequest {
    /// The maximum number of entries, from 1 to [`MAX_PAGE`]; [`MAX_PAGE`] by default.
    pub limit: Option<u32>,
    /// The cursor that the previous page returned; `None` for the first page.
    pub cursor: Option<String>,
}

/// One page of a list.
#[derive(Debug)]
pub(crate) struct Page<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// The validated range of one page.
pub(super) struct PageRange {
    /// The maximum number of entries.
    pub(super) limit: u32,
    /// The key of the entry before the page; `None` for the first page.
    pub(super) after: Option<String>,
}

impl PageRange {
    /// Validates a request. Returns an error for a limit out of bounds, and for a cursor that no page returned.
    pub(super) fn parse(request: &PageRequest) -> Result<Self, DomainError> {
        let limit = request.limit.unwrap_or(MAX_PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(DomainError::Limit(MAX_PAGE));
        }
        let decode =
            |cursor: &str| URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|key| String::from_utf8(key).ok());
        let after =
            request.cursor.as_deref().map(|cursor| decode(cursor).ok_or(DomainError::Cursor)).transpose()?;
        Ok(Self { limit, after })
    }

    /// Makes the page from up to `limit + 1` entries; one more than `limit` means that there is a next page.
    pub(super) fn paginate<T>(&self, mut found: Vec<T>, key: impl Fn(&T) -> String) -> Page<T> {
        let limit = self.limit as usize;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| Self::cursor(&key(last)));
        Page { entries: found, next }
    }

    /// Returns the cursor of the page after this key.
    pub(super) fn cursor(key: &str) -> String {
        URL_SAFE_NO_PAD.encode(key)
    }
}
