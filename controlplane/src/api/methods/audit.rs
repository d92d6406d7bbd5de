//! `audit.*`

use webgateway_proto::api::{AuditExport, AuditExportParams, AuditList, AuditListParams, method};

use super::method::{Example, Method, Services};
use super::samples;
use crate::api::fault::Kind;
use crate::domain::{AuditQuery, Caller, DomainError, MAX_RECORDS};

const _: () = assert!(MAX_RECORDS == webgateway_proto::api::MAX_RECORDS, "what clients are told must hold");

pub(super) struct List;
pub(super) struct Export;

impl Method for List {
    const NAME: &'static str = method::AUDIT_LIST;
    const SUMMARY: &'static str =
        "Lists what the caller changed, newest first; the admin's list has everybody's";
    const DESCRIPTION: &'static str =
        "Who, when, from where, before and after. The next page is asked for with `before`.";
    const ERRORS: &'static [Kind] = &[Kind::InvalidLimit];
    type Who = Caller;
    type Params = AuditListParams;
    type Outcome = AuditList;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        vec![samples::audit()]
    }

    async fn call(
        services: &Services,
        who: Caller,
        params: AuditListParams,
    ) -> Result<AuditList, DomainError> {
        let AuditListParams { limit, before, caller, target } = params;
        let query = AuditQuery { limit, before, caller, target };
        Ok(AuditList { records: services.domain.audit(&who, query).await? })
    }
}

impl Method for Export {
    const NAME: &'static str = method::AUDIT_EXPORT;
    const SUMMARY: &'static str =
        "The whole audit with what was signed, oldest first, a page at a time; for the admin";
    const DESCRIPTION: &'static str = "Each record has the hash of the one before it, and the signed request it came from: a third party can check both.";
    const ERRORS: &'static [Kind] = &[Kind::AdminOnly, Kind::InvalidLimit];
    type Who = Caller;
    type Params = AuditExportParams;
    type Outcome = AuditExport;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        vec![samples::export()]
    }

    async fn call(
        services: &Services,
        who: Caller,
        params: AuditExportParams,
    ) -> Result<AuditExport, DomainError> {
        let (records, requests) = services.domain.export_audit(&who, params.after, params.limit).await?;
        Ok(AuditExport { records, requests })
    }
}
