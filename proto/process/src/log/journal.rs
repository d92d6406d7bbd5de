//! The priorities of log lines for systemd's journal: each line begins with its level, as sd-daemon(3) defines it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::queue::LogQueue;

/// The output for log lines, with their priorities if the journal reads it.
#[derive(Debug, Clone)]
pub(super) struct LogOutput {
    pub(super) queue: LogQueue,
    pub(super) has_priorities: bool,
}

/// The output for one log line.
pub(super) struct LineOutput<'a> {
    queue: &'a LogQueue,
    prefix: &'static str,
}

/// Returns whether the journal reads `output`: `JOURNAL_STREAM` names its device and inode (systemd.exec(5)). A program
/// that was started with another output has inherited the variable only.
pub(super) fn reads(output: &impl AsFd, journal_stream: Option<&str>) -> bool {
    let Some((device, inode)) = journal_stream.and_then(|stream| stream.split_once(':')) else {
        return false;
    };
    let file = output.as_fd().try_clone_to_owned().map(File::from);
    file.and_then(|file| file.metadata())
        .is_ok_and(|metadata| device.parse() == Ok(metadata.dev()) && inode.parse() == Ok(metadata.ino()))
}

/// Returns the priority of a level: err, warning, info or debug of syslog.
pub(super) const fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        Level::DEBUG | Level::TRACE => "<7>",
    }
}

impl<'a> MakeWriter<'a> for LogOutput {
    type Writer = LineOutput<'a>;

    fn make_writer(&'a self) -> LineOutput<'a> {
        LineOutput { queue: &self.queue, prefix: "" }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> LineOutput<'a> {
        let prefix = if self.has_priorities { priority(*metadata.level()) } else { "" };
        LineOutput { queue: &self.queue, prefix }
    }
}

/// Queues each write as one event, because tracing-subscriber writes an event at once.
impl Write for LineOutput<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.prefix.is_empty() {
            self.queue.push(line);
        } else {
            self.queue.push(&[self.prefix.as_bytes(), line].concat());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_journal_is_recognised_by_device_and_inode() {
        let (ours, _journal) = UnixStream::pair().unwrap();
        let metadata = File::from(ours.as_fd().try_clone_to_owned().unwrap()).metadata().unwrap();
        let (device, inode) = (metadata.dev(), metadata.ino());
        for (stream, is_read) in [
            (Some(format!("{device}:{inode}")), true),
            (Some(format!("{device}:{}", inode + 1)), false),
            (Some(format!("{}:{inode}", device + 1)), false),
            (Some(String::new()), false),
            (Some("1".to_owned()), false),
            (Some(format!("{device}:{inode}:")), false),
            (None, false),
        ] {
            assert_eq!(reads(&ours, stream.as_deref()), is_read, "{stream:?}");
        }
    }
}
