//! The check of a signature's times: `created`, a covered Date field, and `expires`.

use std::time::UNIX_EPOCH;

use http::HeaderMap;
use http::header::DATE;
use httpdate::HttpDate;
use sfv::InnerList;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::ComponentError;
use super::coverage::covers;
use super::error::SignatureError;
use super::parameters::integer;
use super::time_source::{FRESHNESS, TimeSource};

/// Checks that each time of a signature is within [`FRESHNESS`] of `now` (Unix seconds), that it has at least one, and
/// that it has not expired.
pub(super) fn check(input: &InnerList, headers: &HeaderMap, now: i64) -> Result<(), SignatureError> {
    let created = integer(input, "created")?;
    let date = if covers(input, "date") { Some(date(headers)?) } else { None };
    if created.is_none() && date.is_none() {
        return Err(SignatureError::Undated);
    }
    for (source, time) in [(TimeSource::Created, created), (TimeSource::Date, date)] {
        let age = time.map_or(0, |time| now.saturating_sub(time));
        if age > FRESHNESS {
            return Err(SignatureError::Old(source, age));
        }
        if age < -FRESHNESS {
            return Err(SignatureError::Future(source, age.saturating_neg()));
        }
    }
    match integer(input, "expires")? {
        Some(expires) if expires <= now => Err(SignatureError::Expired(now.saturating_sub(expires))),
        Some(_) | None => Ok(()),
    }
}

/// Returns the single Date field in Unix seconds. Accepts the three forms of RFC 9110 §5.6.7 and numeric zones (RFC
/// 5322).
fn date(headers: &HeaderMap) -> Result<i64, SignatureError> {
    let mut dates = headers.get_all(DATE).iter();
    let date = dates.next().ok_or_else(|| ComponentError::Absent("date".to_owned()))?;
    let malformed = SignatureError::Malformed("Date");
    if dates.next().is_some() {
        return Err(malformed);
    }
    let Ok(text) = date.to_str().map(str::trim) else { return Err(malformed) };
    if let Ok(date) = text.parse::<HttpDate>() {
        let since = std::time::SystemTime::from(date).duration_since(UNIX_EPOCH);
        return since.ok().and_then(|since| i64::try_from(since.as_secs()).ok()).ok_or(malformed);
    }
    OffsetDateTime::parse(text, &Rfc2822).map(OffsetDateTime::unix_timestamp).map_err(|_| malformed)
}
