//! A list that comes in pages, as a whole.

use serde_json::{Value, json};
use webgateway_proto::api::MAX_PAGE;

/// Asks for page after page, each with how many entries it may have and its cursor, until there are no more or
/// `limit` are there. The result is one page, its entries in `field`.
pub(super) async fn all<E>(
    field: &str,
    limit: Option<u32>,
    mut page: impl AsyncFnMut(u32, Option<String>) -> Result<Value, E>,
) -> Result<Value, E> {
    let wanted = limit.unwrap_or(u32::MAX) as usize;
    let most = |had: usize| u32::try_from(wanted - had).unwrap_or(MAX_PAGE).min(MAX_PAGE);
    let next = |result: &Value| result["next_cursor"].as_str().map(str::to_owned);
    let mut whole = page(most(0), None).await?;
    loop {
        let had = whole[field].as_array().map_or(0, Vec::len);
        let Some(cursor) = next(&whole).filter(|_| had < wanted) else { return Ok(whole) };
        let mut more = page(most(had), Some(cursor.clone())).await?;
        let following = next(&more);
        let entries = more[field].as_array_mut().map(std::mem::take).unwrap_or_default();
        // A page may be empty and lead on, but not to itself.
        let ends = following.as_ref() == Some(&cursor);
        if let Some(all) = whole[field].as_array_mut() {
            all.extend(entries);
        }
        match following.filter(|_| !ends) {
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

    /// Seven entries, at most three a page.
    fn page(asked: &mut Vec<u32>, limit: u32, cursor: Option<String>) -> Result<Value, ()> {
        asked.push(limit);
        let start: u32 = cursor.map_or(0, |cursor| cursor.parse().unwrap());
        let end = (start + limit.min(3)).min(7);
        let entries: Vec<u32> = (start..end).collect();
        Ok(match end {
            7 => json!({ "x": entries }),
            _ => json!({ "x": entries, "next_cursor": end.to_string() }),
        })
    }

    #[tokio::test]
    async fn all_the_pages_are_one() {
        let mut asked = Vec::new();
        let whole = all("x", None, async |limit, cursor| page(&mut asked, limit, cursor)).await.unwrap();
        assert_eq!(whole, json!({ "x": [0, 1, 2, 3, 4, 5, 6] }));
        assert_eq!(asked, [MAX_PAGE; 3]);
    }

    #[tokio::test]
    async fn no_more_is_asked_for_than_wanted() {
        let mut asked = Vec::new();
        let whole = all("x", Some(5), async |limit, cursor| page(&mut asked, limit, cursor)).await.unwrap();
        assert_eq!(whole, json!({ "x": [0, 1, 2, 3, 4], "next_cursor": "5" }));
        assert_eq!(asked, [5, 2]);
    }

    #[tokio::test]
    async fn pages_that_lead_nowhere_end() {
        let mut asked = 0;
        let whole = all("x", None, async |_, _| {
            asked += 1;
            Ok::<_, ()>(json!({ "x": [], "next_cursor": "again" }))
        })
        .await;
        assert_eq!((whole.unwrap(), asked), (json!({ "x": [] }), 2));
    }
}
