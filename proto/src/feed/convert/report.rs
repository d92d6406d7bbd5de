//! What a node reports, from and to the wire.

use bytes::Bytes;

use crate::feed::report::{BackendHealth, Explanation, ServedCertificate};
use crate::feed::wire;
use crate::model::{Backend, CertificateId, MAX_LISTENERS, ProcessListeners, RouteId};

/// The longest reason taken from a node, in characters.
const MAX_REASON: usize = 300;

/// Reads a list of backends; what is no backend is skipped.
pub(super) fn read_health(changed: Vec<wire::BackendHealth>) -> Vec<BackendHealth> {
    let one = |health: wire::BackendHealth| {
        let backend = Backend::parse(&health.backend).ok()?;
        let down = (!health.up).then(|| health.reason.chars().take(MAX_REASON).collect());
        Some(BackendHealth { backend, down })
    };
    changed.into_iter().filter_map(one).collect()
}

/// Writes a list of backends.
pub(super) fn write_health(changed: &[BackendHealth]) -> Vec<wire::BackendHealth> {
    let one = |health: &BackendHealth| wire::BackendHealth {
        backend: health.backend.to_string(),
        up: health.down.is_none(),
        reason: health.down.clone().unwrap_or_default(),
    };
    changed.iter().map(one).collect()
}

/// Reads the listeners of a process; an address that is written in another way is skipped.
pub(super) fn read_listeners(listeners: wire::Listeners) -> ProcessListeners {
    let addresses = listeners.addresses.iter().filter_map(|address| address.parse().ok());
    ProcessListeners { stack: listeners.stack, addresses: addresses.take(MAX_LISTENERS).collect() }
}

/// Writes the listeners of a process.
pub(super) fn write_listeners(listeners: &ProcessListeners) -> wire::Listeners {
    let addresses = listeners.addresses.iter().map(ToString::to_string).collect();
    wire::Listeners { stack: listeners.stack.clone(), addresses }
}

/// Reads an answer; `None` if it is none.
pub(super) fn read_explanation(answer: wire::Explanation) -> Option<Explanation> {
    let route: Option<[u8; 16]> = match answer.route.as_ref() {
        [] => None,
        id => Some(id.try_into().ok()?),
    };
    let certificate = match answer.certificate {
        Some(served) => Some(ServedCertificate {
            id: CertificateId::parse(&served.id).ok()?,
            not_after: served.not_after,
            fingerprint: served.fingerprint.as_ref().try_into().ok()?,
        }),
        None => None,
    };
    Some(Explanation {
        id: answer.id,
        version: answer.version,
        route: route.map(RouteId::from_bytes),
        certificate,
        backends: read_health(answer.backends),
    })
}

/// Writes an answer.
pub(super) fn write_explanation(answer: &Explanation) -> wire::Explanation {
    let certificate = answer.certificate.as_ref().map(|served| wire::ServedCertificate {
        id: served.id.to_string(),
        not_after: served.not_after,
        fingerprint: Bytes::copy_from_slice(&served.fingerprint),
    });
    wire::Explanation {
        id: answer.id,
        version: answer.version,
        route: answer.route.map(|id| Bytes::copy_from_slice(id.as_bytes())).unwrap_or_default(),
        certificate,
        backends: write_health(&answer.backends),
    }
}
