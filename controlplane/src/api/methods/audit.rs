//! The methods `audit.*`.

use webgateway_proto::api::{AuditExport, AuditExportParams, AuditList, AuditListParams, method};

use super::method::{Example, Method, Services};
use super::samples;
use crate::api::errors::ErrorKind;
use crate::domain::{AuditQuery, Caller, DomainError, MAX_RECORDS};

const _: () =
    assert!(MAX_RECORDS == webgateway_proto::api::MAX_RECORDS, "the documented limit must be the real one");

pub(super) struct List;
pub(super) struct Export;

impl Method for List {
    const NAME: &'static str = method::AUDIT_LIST;
    const SUMMARY: &'static str =
        "Lists the changes that the caller made, newest first; for the admin, the changes of all users";
    const DESCRIPTION: &'static str = "\
        A record has the caller, the time, the client address, and the object before and after the change. \
        For the next page, pass the `id` of the last record as `before`.";
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
    ) -> Result<AuditList, DomainError> {
        let AuditListParams { limit, before, caller: changed_by, target } = params;
        let query = AuditQuery { limit, before, caller: changed_by, target };
        Ok(AuditList { records: services.domain.audit(&caller, query).await? })
    }
}

impl Method for Export {
    const NAME: &'static str = method::AUDIT_EXPORT;
    const SUMMARY: &'static str =
        "Returns the complete audit with the signed requests in pages, oldest first";
    const DESCRIPTION: &'static str = "\
        For the admin. Each record has the hash of the previous record and the signed request that caused \
        it, so that a third party can verify both.";
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
    ) -> Result<AuditExport, DomainError> {
        let (records, requests) = services.domain.export_audit(&caller, params.after, params.limit).await?;
        Ok(AuditExport { records, requests })
    }
}
