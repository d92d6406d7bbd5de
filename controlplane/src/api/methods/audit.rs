//! `audit.*`

use webgateway_proto::api::{AuditExport, AuditExportParams, AuditList, AuditListParams, method};

use super::method::{Example, Method, Services};
use super::samples;
use crate::api::errors::ErrorKind;
use crate::domain::{AuditQuery, Caller, MAX_RECORDS, Refusal};

const _: () = assert!(MAX_RECORDS == webgateway_proto::api::MAX_RECORDS, "what clients are told must hold");

pub(super) struct List;
pub(super) struct Export;

impl Method for List {
    const NAME: &'static str = method::AUDIT_LIST;
    const SUMMARY: &'static str =
        "Lists what the caller changed, newest first; the admin's list has everybody's";
    const DESCRIPTION: &'static str =
        "Caller, when, from where, before and after. The next page is asked for with `before`.";
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::InvalidLimit];
    type Caller = Caller;
    type Params = AuditListParams;
    type Output = AuditList;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        vec![samples::audit()]
    }

    async fn call(
        services: &Services,
        caller: Caller,
        params: AuditListParams,
    ) -> Result<AuditList, Refusal> {
        let AuditListParams { limit, before, caller: changed_by, target } = params;
        let query = AuditQuery { limit, before, caller: changed_by, target };
        Ok(AuditList { records: services.domain.audit(&caller, query).await? })
    }
}

impl Method for Export {
    const NAME: &'static str = method::AUDIT_EXPORT;
    const SUMMARY: &'static str =
        "The whole audit with what was signed, oldest first, a page at a time; for the admin";
    const DESCRIPTION: &'static str = "Each record has the hash of the one before it, and the signed request it came from: a third party can check both.";
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::AdminOnly, ErrorKind::InvalidLimit];
    type Caller = Caller;
    type Params = AuditExportParams;
    type Output = AuditExport;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        vec![samples::export()]
    }

    async fn call(
        services: &Services,
        caller: Caller,
        params: AuditExportParams,
    ) -> Result<AuditExport, Refusal> {
        let (records, requests) = services.domain.export_audit(&caller, params.after, params.limit).await?;
        Ok(AuditExport { records, requests })
    }
}
