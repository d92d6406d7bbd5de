//! The methods `certificates.*`.

use webgateway_proto::api::{
    self, CertificateList, CertificateListParams, CertificateRef, CertificateView, DnsRecord,
    RootCertificate, method,
};

use super::method::{Example, Method, Services};
use super::samples;
use super::system::EmptyParams;
use crate::api::errors::ErrorKind;
use crate::clock::rfc3339;
use crate::domain::{Caller, CertificateState, CertificateStatus, DomainError, MAX_PAGE, PageRequest};

const _: () = assert!(MAX_PAGE == api::MAX_PAGE, "the documented limit must be the real one");

pub(super) struct List;
pub(super) struct Get;
pub(super) struct Renew;
pub(super) struct Root;

impl Method for List {
    const NAME: &'static str = method::CERTIFICATES_LIST;
    const SUMMARY: &'static str =
        "Lists the certificates of the caller's routes in pages; for the admin, all certificates";
    const DESCRIPTION: &'static str = "\
        There is one certificate for each host of a user's own whose TLS the gateway terminates. \
        Subdomains use the gateway's own certificate, which only the admin sees. A page may have fewer \
        entries than `limit`, even none; the last page has no `next_cursor`.";
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::InvalidLimit, ErrorKind::InvalidCursor];
    type Caller = Caller;
    type Params = CertificateListParams;
    type Output = CertificateList;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        // The last host of the page, base64url without padding.
        let cursor = "YXBwLmV4YW1wbGUub3Jn".to_owned();
        let result = |certificates, next_cursor| CertificateList { certificates, next_cursor };
        vec![
            Example {
                name: "A page",
                params: CertificateListParams { limit: Some(1), cursor: None },
                result: result(vec![samples::certificate()], Some(cursor.clone())),
            },
            Example {
                name: "The next page",
                params: CertificateListParams { limit: Some(1), cursor: Some(cursor) },
                result: result(Vec::new(), None),
            },
        ]
    }

    async fn call(
        services: &Services,
        caller: Caller,
        params: CertificateListParams,
    ) -> Result<CertificateList, DomainError> {
        let CertificateListParams { limit, cursor } = params;
        let page = services.domain.list_certificates(&caller, &PageRequest { limit, cursor }).await?;
        let certificates = page.entries.into_iter().map(view).collect();
        Ok(CertificateList { certificates, next_cursor: page.next })
    }
}

impl Method for Get {
    const NAME: &'static str = method::CERTIFICATES_GET;
    const SUMMARY: &'static str =
        "Returns one certificate with its state, its next attempt and its last error";
    const DESCRIPTION: &'static str = "For the owner of the route that needs the certificate, and the admin.";
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::CertificateNotFound];
    type Caller = Caller;
    type Params = CertificateRef;
    type Output = CertificateView;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        vec![Example {
            name: "A certificate",
            params: samples::certificate_ref(),
            result: samples::certificate(),
        }]
    }

    async fn call(
        services: &Services,
        caller: Caller,
        params: CertificateRef,
    ) -> Result<CertificateView, DomainError> {
        services.domain.certificate(&caller, &params.id).await.map(view)
    }
}

impl Method for Renew {
    const NAME: &'static str = method::CERTIFICATES_RENEW;
    const SUMMARY: &'static str = "Renews one certificate as soon as the limits of the CA allow it";
    const DESCRIPTION: &'static str = "\
        For the owner of the route that needs the certificate, and the admin. The call returns at once; \
        `certificates.get` shows the progress.";
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::Suspended, ErrorKind::CertificateNotFound];
    const MUTATES: bool = true;
    type Caller = Caller;
    type Params = CertificateRef;
    type Output = CertificateView;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        vec![Example {
            name: "A renewal",
            params: samples::certificate_ref(),
            result: samples::certificate(),
        }]
    }

    async fn call(
        services: &Services,
        caller: Caller,
        params: CertificateRef,
    ) -> Result<CertificateView, DomainError> {
        services.domain.renew_certificate(&caller, &params.id).await.map(view)
    }
}

impl Method for Root {
    const NAME: &'static str = method::CERTIFICATES_ROOT;
    const SUMMARY: &'static str = "Returns the root certificate of the internal CA, for development";
    const DESCRIPTION: &'static str = "\
        For all users, on gateways whose certificates are from their internal CA. The roots of public CAs \
        are already trusted.";
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::NoInternalCa];
    type Caller = Caller;
    type Params = EmptyParams;
    type Output = RootCertificate;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        vec![Example { name: "A root for development", params: EmptyParams {}, result: samples::root() }]
    }

    async fn call(services: &Services, _: Caller, _: EmptyParams) -> Result<RootCertificate, DomainError> {
        services.domain.root().await.map(|pem| RootCertificate { pem })
    }
}

fn view(status: CertificateStatus) -> CertificateView {
    let CertificateStatus { id, names, state, held, issuance } = status;
    let issuer = held.as_ref().map(|held| held.issuer.clone()).or(issuance.last_ca);
    CertificateView {
        id: id.to_string(),
        names: names.iter().map(ToString::to_string).collect(),
        issuer: issuer.unwrap_or_default(),
        state: state_view(state),
        not_before: held.as_ref().map(|held| rfc3339(held.not_before)),
        not_after: held.as_ref().map(|held| rfc3339(held.not_after)),
        next_attempt: issuance.next_attempt.map(rfc3339),
        failures: issuance.failures,
        last_error: issuance.last_error,
        records: issuance.records.into_iter().map(DnsRecord::from).collect(),
    }
}

const fn state_view(state: CertificateState) -> api::CertificateState {
    match state {
        CertificateState::Valid => api::CertificateState::Valid,
        CertificateState::Waiting => api::CertificateState::Waiting,
        CertificateState::Failing => api::CertificateState::Failing,
        CertificateState::Expired => api::CertificateState::Expired,
    }
}
