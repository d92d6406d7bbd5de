//! What `--verbose` shows, on stderr. The private key is never within reach here.

use std::io::{self, Write};

use bytes::Bytes;
use gwctl::Observer;
use http::{HeaderMap, Request, Response};

use crate::printable::printable;

/// Shows requests and responses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trace;

impl Observer for Trace {
    fn request(&self, request: &Request<Bytes>, base: Option<&str>) {
        let mut lines = vec![format!("{} {} {:?}", request.method(), request.uri(), request.version())];
        lines.extend(message(request.headers(), request.body()));
        show(">", &lines);
        if let Some(base) = base {
            self.note("signature base:");
            show("|", &base.lines().map(str::to_owned).collect::<Vec<_>>());
        }
    }

    fn response(&self, response: &Response<Bytes>) {
        let mut lines = vec![format!("{:?} {}", response.version(), response.status())];
        lines.extend(message(response.headers(), response.body()));
        show("<", &lines);
    }

    fn note(&self, text: &str) {
        show("*", &[text.to_owned()]);
    }
}

fn show(mark: &str, lines: &[String]) {
    let text: String = lines.iter().map(|line| format!("{mark} {}\n", printable(line))).collect();
    // Without stderr there is nobody to tell.
    let _ = io::stderr().write_all(text.as_bytes());
}

fn message(headers: &HeaderMap, body: &Bytes) -> Vec<String> {
    let value = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut lines: Vec<String> = headers.iter().map(|(name, v)| format!("{name}: {}", value(v))).collect();
    lines.push(String::new());
    lines.extend(String::from_utf8_lossy(body).lines().map(str::to_owned));
    lines
}
