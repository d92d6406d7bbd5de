//! An error and its causes in one line.
//!
//! Unlike `{:#}` of anyhow, this borrows the error and omits a cause whose text equals that of its error.

use std::error::Error;
use std::io;

/// Iterates over an error and its causes, from the outermost to the root cause.
pub fn error_chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // `io::Error::source` skips the error that it wraps.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

/// Formats an error and its causes, joined by colons. A text that repeats the one before it is omitted.
#[must_use]
pub fn describe_error(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = error_chain(error).map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the exchange failed")]
    struct ExchangeError(#[source] io::Error);

    #[test]
    fn every_cause_is_formatted_once() {
        let reset = io::Error::other(io::Error::other("the peer sent an alert"));
        assert_eq!(describe_error(&ExchangeError(reset)), "the exchange failed: the peer sent an alert");
        let gone = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(error_chain(&ExchangeError(gone)).count(), 2);
    }
}
