//! A page of a list, and the cursor of the next one: the key of the last entry, so that it costs the same wherever it is.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use webgateway_proto::api::MAX_PAGE;

use super::Refusal;

/// One page of a list.
#[derive(Debug)]
pub struct Paged<T> {
    /// What is on it.
    pub entries: Vec<T>,
    /// The cursor of the next one, if there is one.
    pub next: Option<String>,
}

/// Which page is asked for.
pub(super) struct Page {
    pub(super) limit: u32,
    /// The key of the entry before it.
    pub(super) after: Option<String>,
}

impl Page {
    pub(super) fn parse(limit: Option<u32>, cursor: Option<&str>) -> Result<Self, Refusal> {
        let limit = limit.unwrap_or(MAX_PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(Refusal::Limit(MAX_PAGE));
        }
        let read =
            |cursor: &str| URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|key| String::from_utf8(key).ok());
        let after = cursor.map(|cursor| read(cursor).ok_or(Refusal::Cursor)).transpose()?;
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
