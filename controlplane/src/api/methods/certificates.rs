//! `certificates.*`

use webgateway_proto::api::{
    self, CertificateList, CertificateListParams, CertificateRef, CertificateView, DnsRecord,
    RootCertificate, method,
};

use super::method::{Example, Method, Services};
use super::samples;
use super::system::NoParams;
use crate::api::fault::Kind;
use crate::clock::rfc3339;
use crate::domain::{Caller, CertificateState, CertificateStatus, DomainError, MAX_PAGE, PageRequest};

const _: () = assert!(MAX_PAGE == api::MAX_PAGE, "what clients are told must hold");

pub(super) struct List;
pub(super) struct Get;
pub(super) struct Renew;
pub(super) struct Root;

impl Method for List {
    const NAME: &'static str = method::CERTIFICATES_LIST;
    const SUMMARY: &'static str =
        "Lists the certificates that the caller's routes need; the admin's list has all";
    const DESCRIPTION: &'static str = "One per host of one's own that is terminated; subdomains are under the gateway's, which the admin sees. A page may have fewer than `limit`, or none: the last one is that without `next_cursor`.";
    const ERRORS: &'static [Kind] = &[Kind::InvalidLimit, Kind::InvalidCursor];
    type Who = Caller;
    type Params = CertificateListParams;
    type Outcome = CertificateList;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
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
                name: "The page after it",
                params: CertificateListParams { limit: Some(1), cursor: Some(cursor) },
                result: result(Vec::new(), None),
            },
        ]
    }

    async fn call(
        services: &Services,
        who: Caller,
        params: CertificateListParams,
    ) -> Result<CertificateList, DomainError> {
        let CertificateListParams { limit, cursor } = params;
        let page = services.domain.list_certificates(&who, &PageRequest { limit, cursor }).await?;
        let certificates = page.entries.into_iter().map(view).collect();
        Ok(CertificateList { certificates, next_cursor: page.next })
    }
}

impl Method for Get {
    const NAME: &'static str = method::CERTIFICATES_GET;
    const SUMMARY: &'static str =
        "Shows one certificate: its state, the next attempt, why the last one failed";
    const DESCRIPTION: &'static str = "For who owns the route that needs it, and the admin.";
    const ERRORS: &'static [Kind] = &[Kind::CertificateNotFound];
    type Who = Caller;
    type Params = CertificateRef;
    type Outcome = CertificateView;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        vec![Example {
            name: "A certificate",
            params: samples::certificate_ref(),
            result: samples::certificate(),
        }]
    }

    async fn call(
        services: &Services,
        who: Caller,
        params: CertificateRef,
    ) -> Result<CertificateView, DomainError> {
        services.domain.certificate(&who, &params.id).await.map(view)
    }
}

impl Method for Renew {
    const NAME: &'static str = method::CERTIFICATES_RENEW;
    const SUMMARY: &'static str = "Has one certificate renewed, as soon as the CA's limits allow";
    const DESCRIPTION: &'static str = "For who owns the route that needs it, and the admin. It returns at once; `certificates.get` shows how it goes.";
    const ERRORS: &'static [Kind] = &[Kind::Suspended, Kind::CertificateNotFound];
    const MUTATES: bool = true;
    type Who = Caller;
    type Params = CertificateRef;
    type Outcome = CertificateView;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        vec![Example {
            name: "A renewal",
            params: samples::certificate_ref(),
            result: samples::certificate(),
        }]
    }

    async fn call(
        services: &Services,
        who: Caller,
        params: CertificateRef,
    ) -> Result<CertificateView, DomainError> {
        services.domain.renew_certificate(&who, &params.id).await.map(view)
    }
}

impl Method for Root {
    const NAME: &'static str = method::CERTIFICATES_ROOT;
    const SUMMARY: &'static str = "Returns the root of the internal CA, for development";
    const DESCRIPTION: &'static str = "For everybody whose request is signed, where certificates are the gateway's own. Public CAs are trusted without.";
    const ERRORS: &'static [Kind] = &[Kind::NoInternalCa];
    type Who = Caller;
    type Params = NoParams;
    type Outcome = RootCertificate;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        vec![Example { name: "A root for development", params: NoParams {}, result: samples::root() }]
    }

    async fn call(services: &Services, _: Caller, _: NoParams) -> Result<RootCertificate, DomainError> {
        services.domain.root().await.map(|pem| RootCertificate { pem })
    }
}

fn view(certified: CertificateStatus) -> CertificateView {
    let CertificateStatus { id, names, state, held, issuance } = certified;
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
