//! Flags whose values are words of the API.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use webgateway_proto::model::Words;

/// Returns the parser for an option whose values are words.
pub(super) fn enum_parser<T: Words + Send + Sync>() -> impl TypedValueParser<Value = T> {
    let word = |word: &T| PossibleValue::new(word.as_str()).help(word.meaning().trim_end_matches('.'));
    PossibleValuesParser::new(T::ALL.iter().map(word)).try_map(|text| T::parse(&text))
}
