//! The parameters of a signature (RFC 9421 §2.3).

use sfv::InnerList;

use super::error::SignatureError;

/// Returns the text of a parameter; `None` if it is absent.
pub(super) fn text<'a>(input: &'a InnerList, name: &'static str) -> Result<Option<&'a str>, SignatureError> {
    let Some(value) = input.params.get(name) else { return Ok(None) };
    value.as_string().map(|text| Some(text.as_str())).ok_or(SignatureError::Param(name))
}

/// Returns the number of a parameter; `None` if it is absent.
pub(super) fn integer(input: &InnerList, name: &'static str) -> Result<Option<i64>, SignatureError> {
    let Some(value) = input.params.get(name) else { return Ok(None) };
    value.as_integer().map(|integer| Some(i64::from(integer))).ok_or(SignatureError::Param(name))
}
