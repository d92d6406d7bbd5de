//! The parameters of a signature (RFC 9421 §2.3).

use sfv::InnerList;

use super::failure::Failure;

/// The text of a parameter, if it is there.
pub(super) fn text<'a>(input: &'a InnerList, name: &'static str) -> Result<Option<&'a str>, Failure> {
    let Some(value) = input.params.get(name) else { return Ok(None) };
    value.as_string().map(|text| Some(text.as_str())).ok_or(Failure::Param(name))
}

/// The number of a parameter, if it is there.
pub(super) fn integer(input: &InnerList, name: &'static str) -> Result<Option<i64>, Failure> {
    let Some(value) = input.params.get(name) else { return Ok(None) };
    value.as_integer().map(|integer| Some(i64::from(integer))).ok_or(Failure::Param(name))
}
