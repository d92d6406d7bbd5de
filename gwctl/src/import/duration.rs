//! Durations as Go writes them in JSON.

use serde_json::Value;

/// The milliseconds of `"1m30s"`, or of a whole number of nanoseconds; `None` if it is neither.
pub(super) fn go_duration(value: &Value) -> Option<u128> {
    if let Some(nanoseconds) = value.as_u64() {
        return Some(u128::from(nanoseconds) / 1_000_000);
    }
    let mut rest = value.as_str().filter(|text| !text.is_empty())?;
    let mut milliseconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let factor = match unit {
            "ns" => 1e-6,
            "us" | "µs" => 1e-3,
            "ms" => 1.0,
            "s" => 1e3,
            "m" => 60e3,
            "h" => 3600e3,
            _ => return None,
        };
        milliseconds += number.parse::<f64>().ok()? * factor;
        rest = after;
    }
    // A configured duration is far below what the conversion could lose.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "finite, not negative, and small"
    )]
    (milliseconds < 1e15).then_some(milliseconds.round() as u128)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn goes_forms_are_read() {
        for (value, milliseconds) in [
            (json!("60s"), 60_000),
            (json!("1m30s"), 90_000),
            (json!("1.5s"), 1_500),
            (json!("250ms"), 250),
            (json!("2h"), 7_200_000),
            (json!(20_000_000), 20),
        ] {
            assert_eq!(go_duration(&value), Some(milliseconds), "{value}");
        }
        for value in [
            json!(""),
            json!("soon"),
            json!("10"),
            json!("5d"),
            json!("s"),
            json!(true),
            json!(-1),
            json!("1..2s"),
        ] {
            assert_eq!(go_duration(&value), None, "{value}");
        }
    }
}
