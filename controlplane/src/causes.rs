//! An error and what it came from, in one line.

use std::error::Error;

/// The error and each of its causes, from the outermost in.
#[must_use]
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        said.push_str(": ");
        said.push_str(&cause.to_string());
        next = cause.source();
    }
    said
}
