//! What comes before a question is answered: is it one, and may its network ask?

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus_client::metrics::counter::Counter;

use super::limit::Limit;
use super::{HEADER, Transport};
use crate::Network;

/// "Truncated", in the first byte of a header's flags (RFC 1035 §4.1.1).
const TRUNCATED: u8 = 0x02;
/// "Something here is broken", in the second.
const SERVER_FAILURE: u8 = 2;

/// What is counted.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Questions.
    pub questions: Counter,
    /// Questions over a network's limit.
    pub limited: Counter,
    /// Listeners that ended and were started anew.
    pub restarts: Counter,
    /// TCP connections that could not be accepted.
    pub accept_errors: Counter,
}

/// Lets questions in. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Gate {
    limit: Limit,
    counts: Counts,
    /// Every other question over the limit is told to come by TCP, the rest are dropped.
    tell: Arc<AtomicBool>,
}

impl Gate {
    /// Within these limits.
    #[must_use]
    pub fn new(limit: Limit, counts: Counts) -> Self {
        Self { limit, counts, tell: Arc::default() }
    }

    /// The counters.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether a question is to be answered; else what is said instead, which may be nothing.
    pub fn admit(
        &self,
        question: &[u8],
        from: SocketAddr,
        transport: Transport,
    ) -> Result<(), Option<Vec<u8>>> {
        self.counts.questions.inc();
        let is_response = question.get(2).is_none_or(|flags| flags & 0x80 != 0);
        if question.len() < HEADER || is_response {
            return Err(None);
        }
        if !self.limit.admits(Network::of(from.ip())) {
            self.counts.limited.inc();
            // Over TCP the source is true, and its connections are counted.
            if transport == Transport::Udp {
                let tell = self.tell.fetch_xor(true, Ordering::Relaxed);
                return Err(if tell { say_back(question, TRUNCATED, 0) } else { None });
            }
        }
        Ok(())
    }
}

/// The question, said back with "server failure": it can be asked again, here or elsewhere.
#[must_use]
pub fn server_failure(question: &[u8]) -> Option<Vec<u8>> {
    say_back(question, 0, SERVER_FAILURE)
}

/// The question and a header: no larger than it came.
fn say_back(question: &[u8], flags: u8, code: u8) -> Option<Vec<u8>> {
    let mut end = HEADER;
    loop {
        match usize::from(*question.get(end)?) {
            0 => break,
            length @ 1..=63 => end += 1 + length,
            _ => return None,
        }
    }
    let asked = question.get(HEADER..end + 5)?;
    let mut answer = header(question, flags, code)?;
    if let Some(count) = answer.get_mut(5) {
        *count = 1;
    }
    answer.extend_from_slice(asked);
    Some(answer)
}

/// A header that answers `question`: its id, opcode and "recursion desired", and nothing counted.
#[must_use]
pub fn header(question: &[u8], flags: u8, code: u8) -> Option<Vec<u8>> {
    let &[high, low, asked, ..] = question else { return None };
    let mut header = vec![high, low, 0x80 | (asked & 0x79) | flags, code];
    header.resize(HEADER, 0);
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x01a\x00\x00\x10\x00\x01opt";

    #[test]
    fn a_failure_says_the_question_back() {
        let answer = server_failure(QUESTION).unwrap();
        assert_eq!(answer, b"\x12\x34\x81\x02\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x10\x00\x01");
        for cut in 0..19 {
            assert_eq!(server_failure(&QUESTION[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn an_answer_or_half_a_header_is_no_question() {
        let gate = Gate::new(Limit::default(), Counts::default());
        let from = "192.0.2.1:53".parse().unwrap();
        assert_eq!(gate.admit(QUESTION, from, Transport::Udp), Ok(()));
        assert_eq!(gate.admit(&QUESTION[..11], from, Transport::Udp), Err(None));
        let mut answer = QUESTION.to_vec();
        answer[2] |= 0x80;
        assert_eq!(gate.admit(&answer, from, Transport::Udp), Err(None));
    }
}
