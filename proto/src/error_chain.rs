//! An error and what caused it, in one line. anyhow's `{:#}` does the same, but takes the error, and says a cause twice
//! whose text its error repeats.

use std::error::Error;
use std::io;

/// Iterates over an error and its causes, from the outermost in.
pub fn error_chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // An io::Error hides the error it was made of from `source`.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

/// Formats an error and its causes, joined by colons; repeated texts are said once.
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
    struct Outer(#[source] io::Error);

    #[test]
    fn every_cause_is_said_once() {
        let reset = io::Error::other(io::Error::other("the peer sent an alert"));
        assert_eq!(describe_error(&Outer(reset)), "the exchange failed: the peer sent an alert");
        let gone = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(error_chain(&Outer(gone)).count(), 2);
    }
}
