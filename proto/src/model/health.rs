//! How each node looks after a route's backends.

use std::time::Duration;

use thiserror::Error;

/// Active checks of a route's backends; without one they are judged by the traffic alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HealthCheck {
    probe: Probe,
    interval: Duration,
    rise: u32,
    fall: u32,
}

/// What is done to see whether a backend lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Probe {
    /// A TCP connection.
    Tcp,
    /// An HTTP GET of this path, answered with 2xx or 3xx.
    Http(String),
}

/// Why a health check is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidHealthCheck {
    /// The path cannot be asked for.
    #[error(
        "the path of a health check begins with `/` and has at most 1024 printable ASCII characters, no space and no `#`"
    )]
    Path,
    /// Too often or too rarely.
    #[error("the interval of a health check is from 1 s to 1 h")]
    Interval,
    /// No count.
    #[error("rise and fall of a health check are from 1 to 10")]
    Count,
}

impl HealthCheck {
    /// How often a backend is looked at.
    pub const INTERVAL: Duration = Duration::from_secs(10);
    /// How many good checks in a row bring it back.
    pub const RISE: u32 = 2;
    /// How many bad checks in a row take it out.
    pub const FALL: u32 = 3;

    /// Checks with a GET of `path`, or with a TCP connection.
    pub fn new(
        path: Option<&str>,
        interval: Duration,
        rise: u32,
        fall: u32,
    ) -> Result<Self, InvalidHealthCheck> {
        let fits = |path: &&str| {
            path.starts_with('/')
                && path.len() <= 1024
                && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
        };
        let probe = match path {
            Some(path) => Probe::Http(Some(path).filter(fits).ok_or(InvalidHealthCheck::Path)?.to_owned()),
            None => Probe::Tcp,
        };
        if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&interval) {
            return Err(InvalidHealthCheck::Interval);
        }
        if !(1..=10).contains(&rise) || !(1..=10).contains(&fall) {
            return Err(InvalidHealthCheck::Count);
        }
        Ok(Self { probe, interval, rise, fall })
    }

    /// What is done.
    #[must_use]
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// How often.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// How many good ones in a row bring a backend back.
    #[must_use]
    pub fn rise(&self) -> u32 {
        self.rise
    }

    /// How many bad ones in a row take it out.
    #[must_use]
    pub fn fall(&self) -> u32 {
        self.fall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_done_is_refused() {
        let check =
            |path, seconds, rise, fall| HealthCheck::new(path, Duration::from_secs(seconds), rise, fall);
        assert!(check(None, 10, 2, 3).is_ok() && check(Some("/healthz?deep=1"), 1, 1, 10).is_ok());
        let long = format!("/{}", "x".repeat(1024));
        for path in ["", "healthz", "/a b", "/a#b", "/\u{e9}", &long] {
            assert_eq!(check(Some(path), 10, 2, 3), Err(InvalidHealthCheck::Path), "{path}");
        }
        assert_eq!(check(None, 0, 2, 3), Err(InvalidHealthCheck::Interval));
        assert_eq!(check(None, 3601, 2, 3), Err(InvalidHealthCheck::Interval));
        assert_eq!(check(None, 10, 0, 3), Err(InvalidHealthCheck::Count));
        assert_eq!(check(None, 10, 2, 11), Err(InvalidHealthCheck::Count));
    }
}
