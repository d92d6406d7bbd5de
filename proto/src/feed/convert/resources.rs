//! Conversions of resources from and to the wire.

use bytes::Bytes;
use zeroize::Zeroizing;

use super::error::InvalidMessageError;
use super::{options, report};
use crate::feed::resource::{
    Challenge, ChallengeResponse, FeedRoute, Resource, Settings, TicketKey, TicketKeys,
};
use crate::feed::wire;
use crate::model::{
    Backends, Certificate, CertificateId, Destination, Host, InvalidBackendsError, InvalidCertificateError,
    InvalidHostError, Mode, Prefixes, RouteId,
};

/// Reads a resource; `None` if this build does not know its kind. A backend outside `allowed` is an error.
pub(super) fn read(
    resource: wire::Resource,
    allowed: &Prefixes,
) -> Result<Option<Resource>, InvalidMessageError> {
    use wire::resource::Kind;
    let name = resource.name;
    let read = match resource.kind {
        Some(Kind::Route(route)) => read_route(route, allowed).map(Resource::Route)?,
        Some(Kind::Certificate(cert)) => read_certificate(&name, cert).map(Resource::Certificate)?,
        Some(Kind::Settings(settings)) => read_settings(settings).map(Resource::Settings)?,
        Some(Kind::Challenge(challenge)) => match read_challenge(challenge)? {
            Some(challenge) => Resource::Challenge(challenge),
            None => return Ok(None),
        },
        Some(Kind::TicketKeys(keys)) => read_ticket_keys(&keys).map(Resource::TicketKeys)?,
        None => return Ok(None),
    };
    if read.name().to_string() == name { Ok(Some(read)) } else { Err(InvalidMessageError::Name(name)) }
}

fn read_route(route: wire::Route, allowed: &Prefixes) -> Result<FeedRoute, InvalidMessageError> {
    let id: [u8; 16] =
        route.id.as_ref().try_into().map_err(|_| InvalidMessageError::RouteId(route.id.len()))?;
    let mode = match wire::Mode::try_from(route.mode) {
        Ok(wire::Mode::Terminate) => Mode::Terminate,
        Ok(wire::Mode::Passthrough) => Mode::Passthrough,
        Err(_) => return Err(InvalidMessageError::Enum("mode", route.mode)),
    };
    let backends = Backends::parse(&route.backends, allowed)?;
    let options = options::read(&route)?;
    options.check_backends(allowed).map_err(|(_, error)| InvalidBackendsError::from(error))?;
    Ok(FeedRoute {
        id: RouteId::from_bytes(id),
        host: Host::parse(&route.host)?,
        destination: Destination::new(mode, backends, options)?,
    })
}

fn read_ticket_keys(keys: &wire::TicketKeys) -> Result<TicketKeys, InvalidMessageError> {
    let one = |key: &wire::TicketKey| {
        let name = key.name.as_ref().try_into().map_err(|_| InvalidMessageError::TicketKeys)?;
        let secret: [u8; 32] = key.secret.as_ref().try_into().map_err(|_| InvalidMessageError::TicketKeys)?;
        Ok(TicketKey { name, secret: Zeroizing::new(secret) })
    };
    let keys: Vec<TicketKey> = keys.keys.iter().map(one).collect::<Result<_, InvalidMessageError>>()?;
    if keys.is_empty() { Err(InvalidMessageError::TicketKeys) } else { Ok(TicketKeys(keys)) }
}

fn read_certificate(name: &str, cert: wire::Certificate) -> Result<Certificate, InvalidMessageError> {
    let id = name.strip_prefix("certificate/").ok_or_else(|| InvalidMessageError::Name(name.to_owned()))?;
    let names: Result<Vec<_>, InvalidHostError> = cert.names.iter().map(|name| name.parse()).collect();
    let names = names.map_err(InvalidCertificateError::from)?;
    if names.is_empty() {
        return Err(InvalidCertificateError::NoNames.into());
    }
    if cert.chain.is_empty() || cert.key.is_empty() {
        return Err(InvalidCertificateError::Incomplete.into());
    }
    Ok(Certificate {
        id: CertificateId::parse(id)?,
        names,
        chain: cert.chain.iter().map(|der| der.to_vec()).collect(),
        key: Zeroizing::new(cert.key.to_vec()),
    })
}

fn read_settings(settings: wire::Settings) -> Result<Settings, InvalidMessageError> {
    let parse = |text: &String| text.parse().map_err(|_| InvalidMessageError::Prefix(text.clone()));
    let prefixes: Result<Vec<_>, _> = settings.allowed_backends.iter().map(parse).collect();
    Ok(Settings {
        base_domain: Host::parse(&settings.base_domain)?,
        allowed_backends: Prefixes::new(prefixes?),
        listeners: settings.listeners.into_iter().map(report::read_listeners).collect(),
    })
}

fn read_challenge(challenge: wire::Challenge) -> Result<Option<Challenge>, InvalidMessageError> {
    use wire::challenge::Response;
    let response = match challenge.response {
        Some(Response::TlsAlpn(tls)) => ChallengeResponse::TlsAlpn {
            certificate: tls.certificate.to_vec(),
            key: Zeroizing::new(tls.key.to_vec()),
        },
        Some(Response::Http(http)) => {
            ChallengeResponse::Http { token: http.token, key_authorization: http.key_authorization }
        }
        None => return Ok(None),
    };
    Ok(Some(Challenge { host: Host::parse(&challenge.host)?, response }))
}

fn write_challenge(challenge: &Challenge) -> wire::Challenge {
    use wire::challenge::Response;
    let response = match &challenge.response {
        ChallengeResponse::TlsAlpn { certificate, key } => Response::TlsAlpn(wire::TlsAlpn {
            certificate: Bytes::copy_from_slice(certificate),
            key: Bytes::copy_from_slice(key),
        }),
        ChallengeResponse::Http { token, key_authorization } => Response::Http(wire::HttpToken {
            token: token.clone(),
            key_authorization: key_authorization.clone(),
        }),
    };
    wire::Challenge { host: challenge.host.to_string(), response: Some(response) }
}

/// Writes a resource.
pub(super) fn write(resource: &Resource) -> wire::Resource {
    use wire::resource::Kind;
    let kind = match resource {
        Resource::Route(route) => Kind::Route(write_route(route)),
        Resource::Challenge(challenge) => Kind::Challenge(write_challenge(challenge)),
        Resource::TicketKeys(keys) => Kind::TicketKeys(write_ticket_keys(keys)),
        Resource::Certificate(cert) => Kind::Certificate(wire::Certificate {
            names: cert.names.iter().map(ToString::to_string).collect(),
            chain: cert.chain.iter().map(|der| Bytes::copy_from_slice(der)).collect(),
            key: Bytes::copy_from_slice(&cert.key),
        }),
        Resource::Settings(settings) => Kind::Settings(wire::Settings {
            base_domain: settings.base_domain.to_string(),
            allowed_backends: settings.allowed_backends.iter().map(ToString::to_string).collect(),
            listeners: settings.listeners.iter().map(report::write_listeners).collect(),
        }),
    };
    wire::Resource { name: resource.name().to_string(), kind: Some(kind) }
}

fn write_route(route: &FeedRoute) -> wire::Route {
    let mode = match route.destination.mode {
        Mode::Terminate => wire::Mode::Terminate,
        Mode::Passthrough => wire::Mode::Passthrough,
    };
    let message = wire::Route {
        id: Bytes::copy_from_slice(route.id.as_bytes()),
        host: route.host.to_string(),
        mode: mode.into(),
        backends: route.destination.backends.as_slice().iter().map(ToString::to_string).collect(),
        ..wire::Route::default()
    };
    options::write(&route.destination.options, message)
}

fn write_ticket_keys(keys: &TicketKeys) -> wire::TicketKeys {
    let one = |key: &TicketKey| wire::TicketKey {
        name: Bytes::copy_from_slice(&key.name),
        secret: Bytes::copy_from_slice(&*key.secret),
    };
    wire::TicketKeys { keys: keys.0.iter().map(one).collect() }
}
