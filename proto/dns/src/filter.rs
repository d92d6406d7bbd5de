//! The filter of incoming messages: it drops those that are no questions, and limits the rate of each network.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use webgateway_process::{Network, NetworkRateLimit, Quota};

use super::{DnsMetrics, HEADER, Transport};

/// The sustained rate of one network, in questions per second. A CA sends a few per name, from several networks.
const RATE: NonZeroU32 = NonZeroU32::new(100).unwrap();
/// The maximum burst of questions of one network.
const BURST: NonZeroU32 = NonZeroU32::new(400).unwrap();
/// The maximum length of a name, in bytes (RFC 1035 §2.3.4).
const NAME: usize = 255;
/// The flag "truncated", in the first flag byte of a header (RFC 1035 §4.1.1).
const TRUNCATED: u8 = 0x02;
/// The code "server failure", in the second flag byte of a header.
const SERVER_FAILURE: u8 = 2;

/// A filter of questions. Clones share the rate limit.
#[derive(Debug, Clone)]
pub struct QuestionFilter {
    limit: NetworkRateLimit,
    metrics: DnsMetrics,
    /// Toggles for questions over the limit: every other one gets a truncated answer, the rest are dropped.
    tell: Arc<AtomicBool>,
}

impl QuestionFilter {
    /// Makes a filter with the limits of a public name server.
    #[must_use]
    pub fn new(metrics: DnsMetrics) -> Self {
        Self::with_quota(Quota::per_second(RATE).allow_burst(BURST), metrics)
    }

    /// Makes a filter with this quota for each network.
    #[must_use]
    pub fn with_quota(quota: Quota, metrics: DnsMetrics) -> Self {
        Self { limit: NetworkRateLimit::new(quota), metrics, tell: Arc::default() }
    }

    /// Returns the metrics of the server.
    #[must_use]
    pub fn metrics(&self) -> &DnsMetrics {
        &self.metrics
    }

    /// Admits a question to be answered. The error is the message to send instead, if any.
    pub fn admit(
        &self,
        question: &[u8],
        from: SocketAddr,
        transport: Transport,
    ) -> Result<(), Option<Vec<u8>>> {
        self.metrics.questions.inc();
        let is_response = question.get(2).is_none_or(|flags| flags & 0x80 != 0);
        if question.len() < HEADER || is_response {
            return Err(None);
        }
        if !self.limit.admits(Network::of(from.ip())) {
            self.metrics.limited.inc();
            // Over TCP the source is genuine, and its connections are limited.
            if transport == Transport::Udp {
                let tell = self.tell.fetch_xor(true, Ordering::Relaxed);
                return Err(if tell { empty_answer(question, TRUNCATED, 0) } else { None });
            }
        }
        Ok(())
    }
}

/// Returns the answer "server failure" to a question, which makes resolvers retry.
#[must_use]
pub fn server_failure(question: &[u8]) -> Option<Vec<u8>> {
    empty_answer(question, 0, SERVER_FAILURE)
}

/// Returns an answer with the question only, if there is one, which is no larger than the message.
fn empty_answer(question: &[u8], flags: u8, code: u8) -> Option<Vec<u8>> {
    if question.get(4..6)? == [0, 0] {
        return header(question, flags, code).filter(|header| header.len() <= question.len());
    }
    let mut end = HEADER;
    loop {
        match usize::from(*question.get(end)?) {
            0 if end < HEADER + NAME => break,
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

/// Returns the header of an answer to `question`, with its id, opcode and "recursion desired", and empty sections.
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
    fn a_failure_repeats_the_question() {
        let answer = server_failure(QUESTION).unwrap();
        assert_eq!(answer, b"\x12\x34\x81\x02\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x10\x00\x01");
        for cut in 0..19 {
            assert_eq!(server_failure(&QUESTION[..cut]), None, "cut at {cut}");
        }
        let named =
            |labels: usize| [&QUESTION[..HEADER], &b"\x01a".repeat(labels), b"\x00\x00\x10\x00\x01"].concat();
        assert_eq!(server_failure(&named(127)).unwrap().len(), named(127).len(), "the longest name");
        assert_eq!(server_failure(&named(128)), None, "no name is that long");
        let mut none = QUESTION.to_vec();
        none[5] = 0;
        assert_eq!(server_failure(&none).unwrap(), b"\x12\x34\x81\x02\0\0\0\0\0\0\0\0", "nothing was asked");
    }

    #[test]
    fn answers_and_truncated_headers_are_dropped() {
        let filter = QuestionFilter::new(DnsMetrics::default());
        let from = "192.0.2.1:53".parse().unwrap();
        assert_eq!(filter.admit(QUESTION, from, Transport::Udp), Ok(()));
        assert_eq!(filter.admit(&QUESTION[..11], from, Transport::Udp), Err(None));
        let mut answer = QUESTION.to_vec();
        answer[2] |= 0x80;
        assert_eq!(filter.admit(&answer, from, Transport::Udp), Err(None));
    }
}
