//! The commands of `gwctl certificates`.

use gwctl::{CallError, Client};
use serde_json::json;
use webgateway_proto::api::{
    CertificateList, CertificateListParams, CertificateRef, CertificateView, DnsRecord, MAX_PAGE,
    RootCertificate, method,
};

use super::pages;
use crate::error::CommandError;
use crate::output::{Report, details, table};
use crate::printable::printable;

const NO_CERTIFICATES: &str =
    "No certificates. Only routes with a host of their own (-f) that are not passed through (-t) need one.";

/// Runs `gwctl certificates list`.
pub(super) async fn list(client: &Client, params: &CertificateListParams) -> Result<Report, CommandError> {
    let result = pages::fetch_all("certificates", params.limit, async |limit, cursor| {
        let limit = Some(limit).filter(|limit| *limit < MAX_PAGE);
        client.call(method::CERTIFICATES_LIST, &CertificateListParams { limit, cursor }).await
    })
    .await?;
    Ok(Report::from_result(result, |list| certificates_table(&list)))
}

/// Runs `gwctl certificates get`.
pub(super) async fn get(client: &Client, params: &CertificateRef) -> Result<Report, CommandError> {
    let result = client.call(method::CERTIFICATES_GET, params).await.map_err(about_certificate)?;
    Ok(Report::from_result(result, |view| certificate_details(&view)))
}

/// Runs `gwctl certificates renew`.
pub(super) async fn renew(client: &Client, params: &CertificateRef) -> Result<Report, CommandError> {
    let result = client.call(method::CERTIFICATES_RENEW, params).await.map_err(about_certificate)?;
    let id = printable(&params.id).into_owned();
    let text = format!("Renewal requested. Check its state with: gwctl certificates get -c {id}");
    Ok(Report::from_result(result, |view| format!("{}\n\n{text}", certificate_details(&view))))
}

/// Names the flag of a certificate in an error about the param `id`, which is the flag of a route otherwise.
fn about_certificate(error: CallError) -> CommandError {
    let failure = CommandError::from(error);
    match failure.field.as_deref() {
        Some("id") => failure.flag("-c/--certificate"),
        _ => failure,
    }
}

/// Runs `gwctl certificates root`, which prints the PEM unchanged so that it can be redirected to a file.
pub(super) async fn root(client: &Client) -> Result<Report, CommandError> {
    let result = client.call(method::CERTIFICATES_ROOT, &json!({})).await?;
    Ok(Report::from_result(result, |root: RootCertificate| {
        let lines: Vec<_> = root.pem.lines().map(printable).collect();
        lines.join("\n")
    }))
}

/// Returns a paragraph with the DNS records to create, in a form that fits into a zone file; empty without records.
pub(super) fn dns_records_text(records: &[DnsRecord]) -> String {
    if records.is_empty() {
        return String::new();
    }
    format!("\n\nDNS records to create:{}", records.iter().map(zone_line).collect::<String>())
}

/// Formats a record as a line of a zone file (RFC 1035 §5.1), ready to be pasted.
fn zone_line(record: &DnsRecord) -> String {
    let [name, kind, value] = [&record.name, &record.kind, &record.value].map(|text| printable(text));
    // A name without a trailing dot would be relative to the zone.
    let dot = if matches!(kind.as_ref(), "CNAME" | "NS") { "." } else { "" };
    format!("\n  {name}. IN {kind} {value}{dot}")
}

fn certificates_table(list: &CertificateList) -> String {
    if list.certificates.is_empty() {
        return NO_CERTIFICATES.to_owned();
    }
    let head = ["ID", "NAMES", "CA", "STATE", "EXPIRES", "NEXT ATTEMPT", "LAST ERROR"];
    let rows = list.certificates.iter().map(|view| {
        let CertificateView { id, names, issuer, state, .. } = view;
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let (until, next, error) =
            (or_dash(&view.not_after), or_dash(&view.next_attempt), or_dash(&view.last_error));
        [id.clone(), names.join(","), issuer.clone(), state.as_str().to_owned(), until, next, error]
    });
    table(head, rows)
}

fn certificate_details(view: &CertificateView) -> String {
    let mut properties = vec![
        ("ID", view.id.clone()),
        ("NAMES", view.names.join(", ")),
        ("CA", view.issuer.clone()),
        ("STATE", view.state.as_str().to_owned()),
    ];
    let failures = (view.failures > 0).then(|| view.failures.to_string());
    for (name, value) in [
        ("BEGINS", &view.not_before),
        ("EXPIRES", &view.not_after),
        ("NEXT ATTEMPT", &view.next_attempt),
        ("FAILURES", &failures),
        ("LAST ERROR", &view.last_error),
    ] {
        properties.extend(value.clone().map(|value| (name, value)));
    }
    details(&properties) + &dns_records_text(&view.records)
}

#[cfg(test)]
mod tests {
    use webgateway_proto::api::CertificateState;

    use super::*;

    fn waiting() -> CertificateView {
        CertificateView {
            id: "app.example.org".into(),
            names: vec!["app.example.org".into()],
            issuer: "acme".into(),
            state: CertificateState::Waiting,
            not_before: None,
            not_after: None,
            next_attempt: Some("2026-01-01T00:01:00Z".into()),
            failures: 2,
            last_error: Some("no\u{1b}[2J address".into()),
            records: vec![DnsRecord {
                name: "app.example.org".into(),
                kind: "CNAME".into(),
                value: "gw.example".into(),
            }],
        }
    }

    #[test]
    fn a_waiting_certificate_shows_the_error_and_the_dns_records() {
        let expected = "\
ID            app.example.org
NAMES         app.example.org
CA            acme
STATE         waiting
NEXT ATTEMPT  2026-01-01T00:01:00Z
FAILURES      2
LAST ERROR    no\\u{1b}[2J address

DNS records to create:
  app.example.org. IN CNAME gw.example.";
        assert_eq!(certificate_details(&waiting()), expected);
    }

    #[test]
    fn a_list_has_one_line_per_certificate() {
        let valid = CertificateView {
            state: CertificateState::Valid,
            not_after: Some("2026-03-01T00:00:00Z".into()),
            next_attempt: None,
            last_error: None,
            ..waiting()
        };
        let expected = "\
ID               NAMES            CA    STATE  EXPIRES               NEXT ATTEMPT  LAST ERROR
app.example.org  app.example.org  acme  valid  2026-03-01T00:00:00Z  -             -";
        assert_eq!(
            certificates_table(&CertificateList { certificates: vec![valid], next_cursor: None }),
            expected
        );
        assert_eq!(
            certificates_table(&CertificateList { certificates: vec![], next_cursor: None }),
            NO_CERTIFICATES
        );
    }
}
