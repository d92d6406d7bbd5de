//! `gwctl audit …`

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use gwctl::Client;
use serde::{Deserialize, Serialize};
use serde_json::json;
use webgateway_proto::api::{AuditExport, AuditExportParams, AuditList, AuditListParams, method};
use webgateway_proto::audit::{AuditRecord, Broken};
use webgateway_proto::httpsig::Evidence;

use crate::error::{CommandError, Kind};
use crate::output::{Report, table};
use crate::printable::printable;

/// The longest line of an exported file, in bytes: a request of 1 MiB with room for its escapes.
const MAX_LINE: u64 = 16 * 1024 * 1024;

/// A line of an exported file; each request comes before the first record that names it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Request { hash: String, evidence: Evidence },
    Record(AuditRecord),
}

/// `gwctl audit list`
pub(super) async fn list(client: &Client, params: &AuditListParams) -> Result<Report, CommandError> {
    Ok(Report::of(client.call(method::AUDIT_LIST, params).await?, |list| listed(&list)))
}

/// `gwctl audit export`: JSON lines on stdout or in a file.
pub(super) async fn export(client: &Client, out: Option<&Path>) -> Result<Report, CommandError> {
    let unwritable = |error: io::Error| {
        CommandError::new(Kind::Unexpected, format!("the export cannot be written: {error}")).flag("--out")
    };
    let mut sink: Box<dyn Write> = match out {
        Some(path) => Box::new(BufWriter::new(File::create_new(path).map_err(unwritable)?)),
        None => Box::new(BufWriter::new(io::stdout().lock())),
    };
    let (mut written, mut known) = (0_u64, HashMap::new());
    pages(client, |page| {
        for (hash, evidence) in page.requests {
            if known.insert(hash.clone(), ()).is_none() {
                write(&mut sink, &Line::Request { hash, evidence }).map_err(unwritable)?;
            }
        }
        for record in page.records {
            write(&mut sink, &Line::Record(record)).map_err(unwritable)?;
            written += 1;
        }
        Ok(())
    })
    .await?;
    sink.flush().map_err(unwritable)?;
    Ok(match out {
        Some(path) => {
            let path = path.display().to_string();
            let text = format!(
                "{written} records in {path}. Anybody can check them: gwctl audit verify --file {path}"
            );
            Report::new(json!({ "records": written, "file": path }), text)
        }
        None => Report::silent(),
    })
}

/// `gwctl audit verify`: what the gateway holds.
pub(super) async fn verify(client: &Client, head: Option<&str>) -> Result<Report, CommandError> {
    let mut chain = Chain::default();
    pages(client, |page| {
        chain.requests = page.requests;
        page.records.into_iter().try_for_each(|record| chain.take(&record))
    })
    .await?;
    chain.finish(head)
}

/// `gwctl audit verify --file`: an exported file; needs no gateway and no key.
pub(super) fn verify_file(path: &Path, head: Option<&str>) -> Result<Report, CommandError> {
    let invalid =
        |what: String| CommandError::new(Kind::Usage, format!("{}: {what}", path.display())).flag("--file");
    let mut reader = BufReader::new(File::open(path).map_err(|error| {
        invalid(error.to_string()).hint("`gwctl audit export --out FILE` writes such a file")
    })?);
    let (mut chain, mut number) = (Chain::default(), 0_u64);
    loop {
        let mut line = String::new();
        let read =
            io::Read::take(&mut reader, MAX_LINE).read_line(&mut line).map_err(|e| invalid(e.to_string()))?;
        number += 1;
        match read {
            0 => return chain.finish(head),
            _ => match serde_json::from_str(&line).map_err(|e| invalid(format!("line {number}: {e}")))? {
                Line::Request { hash, evidence } => drop(chain.requests.insert(hash, evidence)),
                Line::Record(record) => chain.take(&record)?,
            },
        }
    }
}

/// Every page of the export, until there is none.
async fn pages(
    client: &Client,
    mut take: impl FnMut(AuditExport) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let mut after = 0;
    loop {
        let params = AuditExportParams { after, limit: None };
        let page: AuditExport = client.call(method::AUDIT_EXPORT, &params).await?;
        match page.records.last().map(|record| record.id) {
            Some(last) if last > after => after = last,
            Some(_) | None => return Ok(()),
        }
        take(page)?;
    }
}

fn write(sink: &mut dyn Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *sink, line)?;
    sink.write_all(b"\n")
}

/// The state of a check.
#[derive(Debug, Default)]
struct Chain {
    previous: Option<String>,
    requests: BTreeMap<String, Evidence>,
    records: u64,
    signed: u64,
    before: u64,
    /// The hashes of all records so far.
    heads: Vec<String>,
}

impl Chain {
    fn take(&mut self, record: &AuditRecord) -> Result<(), CommandError> {
        let request = record.request.as_ref().and_then(|hash| self.requests.get(hash));
        record.check(self.previous.as_deref(), request).map_err(|broken| refuse(record, &broken))?;
        self.records += 1;
        self.signed += u64::from(record.request.is_some());
        match &record.hash {
            Some(hash) => {
                self.heads.push(hash.clone());
                self.previous = Some(hash.clone());
            }
            None => self.before += 1,
        }
        Ok(())
    }

    fn finish(self, remembered: Option<&str>) -> Result<Report, CommandError> {
        if let Some(head) = remembered.filter(|head| !self.heads.iter().any(|hash| hash == head)) {
            let message = format!(
                "no record has the hash {head}: the end of the audit was cut off, or it is another one"
            );
            return Err(CommandError {
                word: "audit_broken".to_owned(),
                ..CommandError::new(Kind::Conflict, message).flag("--head")
            });
        }
        let head = self.previous.clone();
        let mut text = format!(
            "{} records, the chain is whole; {} with the request their caller signed, all good.",
            self.records, self.signed
        );
        if self.before > 0 {
            text += &format!("\n{} records are from before the chain.", self.before);
        }
        if let Some(head) = &head {
            text += &format!(
                "\nIts head is {head}; with --head, a later check proves that nothing up to here was lost."
            );
        }
        let Self { records, signed, before, .. } = self;
        Ok(Report::new(
            json!({ "records": records, "signed": signed, "before_the_chain": before, "head": head }),
            text,
        ))
    }
}

fn refuse(record: &AuditRecord, broken: &Broken) -> CommandError {
    let message = format!("record {} ({} by {}): {broken}", record.id, record.method, record.caller);
    let failure = CommandError::new(Kind::Conflict, message).hint("what comes before it is whole");
    CommandError { word: "audit_broken".to_owned(), ..failure }
}

fn listed(list: &AuditList) -> String {
    if list.records.is_empty() {
        return "Nothing was changed yet.".to_owned();
    }
    let head = ["ID", "WHEN", "WHO", "FROM", "METHOD", "TARGET", "CHANGE"];
    table(
        head,
        list.records.iter().map(|record| {
            let AuditRecord { id, at, caller, client, method, target, .. } = record;
            [
                id.to_string(),
                at.clone(),
                caller.clone(),
                client.clone(),
                method.clone(),
                target.clone(),
                change(record),
            ]
        }),
    )
}

/// Returns a change in a few words.
fn change(record: &AuditRecord) -> String {
    let word = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let changed = match (record.before.as_object(), record.after.as_object()) {
        (Some(before), Some(after)) => {
            let differs = |name: &&String| before.get(*name) != after.get(*name) && *name != "version";
            let said = |name: &String| format!("{name}: {} -> {}", word(&before[name]), word(&after[name]));
            after
                .keys()
                .filter(|name| before.contains_key(*name))
                .filter(differs)
                .map(said)
                .collect::<Vec<_>>()
        }
        (None, Some(after)) => {
            after.get("host").map(|host| format!("+ {}", word(host))).into_iter().collect()
        }
        (Some(before), None) => {
            before.get("host").map(|host| format!("- {}", word(host))).into_iter().collect()
        }
        (None, None) => Vec::new(),
    };
    if changed.is_empty() { "-".to_owned() } else { printable(&changed.join(", ")).into_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn record(id: u64, previous: Option<&str>) -> AuditRecord {
        let mut record = AuditRecord {
            id,
            at: "2026-11-23T12:00:00Z".into(),
            caller: webgateway_proto::audit::GATEWAY.into(),
            client: "::1".into(),
            method: "admin.unsuspend".into(),
            target: "route/x".into(),
            before: json!({ "suspended": true, "until": "2026-11-23T12:00:00Z" }),
            after: json!({ "suspended": false }),
            revision: id,
            request: None,
            hash: None,
        };
        record.hash = Some(record.link(previous));
        record
    }

    #[test]
    fn a_file_is_checked_record_by_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let (first, mut lines) = (record(1, None), Vec::new());
        let second = record(2, first.hash.as_deref());
        for record in [first.clone(), second.clone()] {
            write(&mut lines, &Line::Record(record)).unwrap();
        }
        std::fs::write(&path, &lines).unwrap();
        assert!(verify_file(&path, None).is_ok());
        assert!(verify_file(&path, first.hash.as_deref()).is_ok());
        assert!(verify_file(&path, Some("00")).unwrap_err().message.contains("cut off"));
        let changed = String::from_utf8(lines).unwrap().replace("::1", "::2");
        std::fs::write(&path, &changed).unwrap();
        let broken = verify_file(&path, None).unwrap_err();
        assert!(broken.message.starts_with("record 1 (admin.unsuspend by (gateway))"), "{}", broken.message);
        std::fs::write(&path, "{}").unwrap();
        assert!(verify_file(&path, None).unwrap_err().message.contains("line 1"));
    }

    #[test]
    fn a_change_reads_in_a_few_words() {
        let before = json!({ "host": "a", "balance": "random", "version": 1 });
        let after = json!({ "host": "b", "balance": "random", "version": 2 });
        let update = AuditRecord { before, after, ..record(1, None) };
        assert_eq!(change(&update), "host: a -> b");
        assert_eq!(change(&AuditRecord { before: Value::Null, ..update.clone() }), "+ b");
        assert_eq!(change(&AuditRecord { after: Value::Null, ..update.clone() }), "- a");
        assert_eq!(change(&AuditRecord { before: Value::Null, after: Value::Null, ..update }), "-");
    }
}
