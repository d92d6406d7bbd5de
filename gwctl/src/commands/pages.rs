//! Fetching all pages of a list.

use serde_json::{Value, json};
use webgateway_proto::api::MAX_PAGE;

/// Calls `page` with a page size and a cursor until there are no more pages or `limit` entries. Returns all pages
/// merged into one, with the entries in `field`.
pub(super) async fn fetch_all<E>(
    field: &str,
    limit: Option<u32>,
    mut page: impl AsyncFnMut(u32, Option<String>) -> Result<Value, E>,
) -> Result<Value, E> {
    let limit = limit.unwrap_or(u32::MAX) as usize;
    let page_size = |count: usize| u32::try_from(limit - count).unwrap_or(MAX_PAGE).min(MAX_PAGE);
    let next = |result: &Value| result["next_cursor"].as_str().map(str::to_owned);
    let mut whole = page(page_size(0), None).await?;
    loop {
        let count = whole[field].as_array().map_or(0, Vec::len);
        let Some(cursor) = next(&whole).filter(|_| count < limit) else { return Ok(whole) };
        let mut more = page(page_size(count), Some(cursor.clone())).await?;
        let following = next(&more);
        let entries = more[field].as_array_mut().map(std::mem::take).unwrap_or_default();
        // A page may be empty although more pages follow, but a cursor that does not advance would loop forever.
        let is_stuck = following.as_ref() == Some(&cursor);
        if let Some(all) = whole[field].as_array_mut() {
            all.extend(entries);
        }
        match following.filter(|_| !is_stuck) {
            Some(cursor) => whole["next_cursor"] = json!(cursor),
            None => {
                whole.as_object_mut().map(|whole| whole.remove("next_cursor"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a page of a list of seven entries, with at most three per page.
    fn page(limits: &mut Vec<u32>, limit: u32, cursor: Option<String>) -> Result<Value, ()> {
        limits.push(limit);
        let start: u32 = cursor.map_or(0, |cursor| cursor.parse().unwrap());
        let end = (start + limit.min(3)).min(7);
        let entries: Vec<u32> = (start..end).collect();
        Ok(match end {
            7 => json!({ "x": entries }),
            _ => json!({ "x": entries, "next_cursor": end.to_string() }),
        })
    }

    #[tokio::test]
    async fn all_pages_are_merged() {
        let mut limits = Vec::new();
        let whole =
            fetch_all("x", None, async |limit, cursor| page(&mut limits, limit, cursor)).await.unwrap();
        assert_eq!(whole, json!({ "x": [0, 1, 2, 3, 4, 5, 6] }));
        assert_eq!(limits, [MAX_PAGE; 3]);
    }

    #[tokio::test]
    async fn a_limit_bounds_the_requested_entries() {
        let mut limits = Vec::new();
        let whole =
            fetch_all("x", Some(5), async |limit, cursor| page(&mut limits, limit, cursor)).await.unwrap();
        assert_eq!(whole, json!({ "x": [0, 1, 2, 3, 4], "next_cursor": "5" }));
        assert_eq!(limits, [5, 2]);
    }

    #[tokio::test]
    async fn a_cursor_that_does_not_advance_ends_the_list() {
        let mut calls = 0;
        let whole = fetch_all("x", None, async |_, _| {
            calls += 1;
            Ok::<_, ()>(json!({ "x": [], "next_cursor": "again" }))
        })
        .await;
        assert_eq!((whole.unwrap(), calls), (json!({ "x": [] }), 2));
    }
}
