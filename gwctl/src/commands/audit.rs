//! The commands of `gwctl audit`.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use gwctl::Client;
use serde::{Deserialize, Serialize};
use serde_json::json;
use webgateway_proto::api::{AuditExport, AuditExportParams, AuditList, AuditListParams, method};
use webgateway_proto::audit::{AuditChainError, AuditRecord};
use webgateway_proto::httpsig::Evidence;

use crate::error::{CommandError, FailureKind};
use crate::output::{Report, table};
use crate::printable::printable;

/// The maximum length of a line in an exported file, in bytes: a request of 1 MiB and its JSON escapes.
const MAX_LINE: u64 = 16 * 1024 * 1024;

/// A line of an exported file. Each signed request precedes the first record that refers to it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ExportLine {
    Request { hash: String, evidence: Evidence },
    Record(AuditRecord),
}

/// Runs `gwctl audit list`.
pub(super) async fn list(client: &Client, params: &AuditListParams) -> Result<Report, CommandError> {
    Ok(Report::from_result(client.call(method::AUDIT_LIST, params).await?, |list| records_table(&list)))
}

/// Runs `gwctl audit export`: prints JSON lines, or writes them to a new file.
pub(super) async fn export(client: &Client, out: Option<&Path>) -> Result<Report, CommandError> {
    let unwritable = |error: io::Error| {
        CommandError::new(FailureKind::Unexpected, format!("the export cannot be written: {error}"))
            .flag("--out")
    };
    let mut sink: Box<dyn Write> = match out {
        Some(path) => Box::new(BufWriter::new(File::create_new(path).map_err(unwritable)?)),
        None => Box::new(BufWriter::new(io::stdout().lock())),
    };
    let (mut records, mut requests) = (0_u64, HashSet::new());
    for_each_page(client, |page| {
        for (hash, evidence) in page.requests {
            if requests.insert(hash.clone()) {
                write_line(&mut sink, &ExportLine::Request { hash, evidence }).map_err(unwritable)?;
            }
        }
        for record in page.records {
            write_line(&mut sink, &ExportLine::Record(record)).map_err(unwritable)?;
            records += 1;
        }
        Ok(())
    })
    .await?;
    sink.flush().map_err(unwritable)?;
    Ok(match out {
        Some(path) => {
            let path = path.display().to_string();
            let text = format!(
                "Exported {records} records to {path}. Verify them with: gwctl audit verify --file {path}"
            );
            Report::new(json!({ "records": records, "file": path }), text)
        }
        None => Report::empty(),
    })
}

/// Runs `gwctl audit verify` on the gateway's audit log.
pub(super) async fn verify(client: &Client, head: Option<&str>) -> Result<Report, CommandError> {
    let mut verifier = ChainVerifier::default();
    for_each_page(client, |page| {
        verifier.requests = page.requests;
        page.records.into_iter().try_for_each(|record| verifier.verify(&record))
    })
    .await?;
    verifier.finish(head)
}

/// Runs `gwctl audit verify --file` on an exported file, without a gateway or a key.
pub(super) fn verify_file(path: &Path, head: Option<&str>) -> Result<Report, CommandError> {
    let invalid = |cause: String| {
        CommandError::new(FailureKind::Usage, format!("{}: {cause}", path.display())).flag("--file")
    };
    let mut reader = BufReader::new(File::open(path).map_err(|error| {
        invalid(error.to_string()).hint("give a file written by `gwctl audit export --out FILE`")
    })?);
    let (mut verifier, mut number) = (ChainVerifier::default(), 0_u64);
    loop {
        let mut line = String::new();
        let read =
            io::Read::take(&mut reader, MAX_LINE).read_line(&mut line).map_err(|e| invalid(e.to_string()))?;
        number += 1;
        match read {
            0 => return verifier.finish(head),
            _ => match serde_json::from_str(&line).map_err(|e| invalid(format!("line {number}: {e}")))? {
                ExportLine::Request { hash, evidence } => drop(verifier.requests.insert(hash, evidence)),
                ExportLine::Record(record) => verifier.verify(&record)?,
            },
        }
    }
}

/// Fetches all pages of the export and passes each one to `handle`.
async fn for_each_page(
    client: &Client,
    mut handle: impl FnMut(AuditExport) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let mut after = 0;
    loop {
        let params = AuditExportParams { after, limit: None };
        let page: AuditExport = client.call(method::AUDIT_EXPORT, &params).await?;
        match page.records.last().map(|record| record.id) {
            Some(last) if last > after => after = last,
            Some(_) | None => return Ok(()),
        }
        handle(page)?;
    }
}

fn write_line(sink: &mut dyn Write, line: &ExportLine) -> io::Result<()> {
    serde_json::to_writer(&mut *sink, line)?;
    sink.write_all(b"\n")
}

/// The verification of the audit log's hash chain, record by record.
#[derive(Debug, Default)]
struct ChainVerifier {
    /// The hash of the previous record.
    previous: Option<String>,
    /// The signed requests by their hash.
    requests: BTreeMap<String, Evidence>,
    /// The number of records.
    records: u64,
    /// The number of records with a signed request.
    signed: u64,
    /// The number of records without a hash: they are older than the hash chain.
    unchained: u64,
    /// The hashes of all records so far.
    hashes: Vec<String>,
}

impl ChainVerifier {
    /// Verifies the next record.
    fn verify(&mut self, record: &AuditRecord) -> Result<(), CommandError> {
        let request = record.request.as_ref().and_then(|hash| self.requests.get(hash));
        record.check(self.previous.as_deref(), request).map_err(|broken| broken_record(record, &broken))?;
        self.records += 1;
        self.signed += u64::from(record.request.is_some());
        match &record.hash {
            Some(hash) => {
                self.hashes.push(hash.clone());
                self.previous = Some(hash.clone());
            }
            None => self.unchained += 1,
        }
        Ok(())
    }

    /// Ends the verification. A record with the hash `expected` must have been among the records.
    fn finish(self, expected: Option<&str>) -> Result<Report, CommandError> {
        if let Some(head) = expected.filter(|head| !self.hashes.iter().any(|hash| hash == head)) {
            let message = format!(
                "no record has the hash {head}: the log was truncated, or it is the log of another gateway"
            );
            return Err(CommandError {
                identifier: "audit_broken".to_owned(),
                ..CommandError::new(FailureKind::Conflict, message).flag("--head")
            });
        }
        let head = self.previous.clone();
        let mut text = format!(
            "{} records: the hash chain is intact, and the signatures of {} requests are valid.",
            self.records, self.signed
        );
        if self.unchained > 0 {
            text += &format!(
                "\n{} records are older than the hash chain and cannot be verified.",
                self.unchained
            );
        }
        if let Some(head) = &head {
            text += &format!(
                "\nThe head is {head}. Give it to a later verification with --head, to prove that no record up to it \
                 was removed."
            );
        }
        let Self { records, signed, unchained, .. } = self;
        Ok(Report::new(
            json!({ "records": records, "signed": signed, "before_the_chain": unchained, "head": head }),
            text,
        ))
    }
}

fn broken_record(record: &AuditRecord, broken: &AuditChainError) -> CommandError {
    let message = format!("record {} ({} by {}): {broken}", record.id, record.method, record.caller);
    let failure = CommandError::new(FailureKind::Conflict, message).hint("all records before it are intact");
    CommandError { identifier: "audit_broken".to_owned(), ..failure }
}

fn records_table(list: &AuditList) -> String {
    if list.records.is_empty() {
        return "No changes yet.".to_owned();
    }
    let head = ["ID", "TIME", "CALLER", "CLIENT", "METHOD", "TARGET", "CHANGE"];
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
                change_text(record),
            ]
        }),
    )
}

/// Returns a short description of a change.
fn change_text(record: &AuditRecord) -> String {
    let value_text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let changed = match (record.before.as_object(), record.after.as_object()) {
        (Some(before), Some(after)) => {
            let differs = |name: &&String| before.get(*name) != after.get(*name) && *name != "version";
            let change = |name: &String| {
                format!("{name}: {} -> {}", value_text(&before[name]), value_text(&after[name]))
            };
            after
                .keys()
                .filter(|name| before.contains_key(*name))
                .filter(differs)
                .map(change)
                .collect::<Vec<_>>()
        }
        (None, Some(after)) => {
            after.get("host").map(|host| format!("+ {}", value_text(host))).into_iter().collect()
        }
        (Some(before), None) => {
            before.get("host").map(|host| format!("- {}", value_text(host))).into_iter().collect()
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
    fn each_record_of_a_file_is_verified() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let (first, mut lines) = (record(1, None), Vec::new());
        let second = record(2, first.hash.as_deref());
        for record in [first.clone(), second.clone()] {
            write_line(&mut lines, &ExportLine::Record(record)).unwrap();
        }
        std::fs::write(&path, &lines).unwrap();
        assert!(verify_file(&path, None).is_ok());
        assert!(verify_file(&path, first.hash.as_deref()).is_ok());
        assert!(verify_file(&path, Some("00")).unwrap_err().message.contains("truncated"));
        let changed = String::from_utf8(lines).unwrap().replace("::1", "::2");
        std::fs::write(&path, &changed).unwrap();
        let broken = verify_file(&path, None).unwrap_err();
        assert!(broken.message.starts_with("record 1 (admin.unsuspend by (gateway))"), "{}", broken.message);
        std::fs::write(&path, "{}").unwrap();
        assert!(verify_file(&path, None).unwrap_err().message.contains("line 1"));
    }

    #[test]
    fn changes_are_described_briefly() {
        let before = json!({ "host": "a", "balance": "random", "version": 1 });
        let after = json!({ "host": "b", "balance": "random", "version": 2 });
        let update = AuditRecord { before, after, ..record(1, None) };
        assert_eq!(change_text(&update), "host: a -> b");
        assert_eq!(change_text(&AuditRecord { before: Value::Null, ..update.clone() }), "+ b");
        assert_eq!(change_text(&AuditRecord { after: Value::Null, ..update.clone() }), "- a");
        assert_eq!(change_text(&AuditRecord { before: Value::Null, after: Value::Null, ..update }), "-");
    }
}
