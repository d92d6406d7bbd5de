//! Conversions of a node's reports from and to the wire.

use bytes::Bytes;

use crate::feed::report::{BackendHealth, Explanation, ServedCertificate};
use crate::feed::wire;
use crate::model::{Backend, CertificateId, MAX_LISTENERS, ProcessListeners, RouteId};

/// The maximum length of a node's reason, in characters. Longer ones are truncated.
const MAX_REASON: usize = 300;

/// Reads the health of backends. Invalid backends are skipped.
pub(super) fn read_health(changed: Vec<wire::BackendHealth>) -> Vec<BackendHealth> {
    let one = |health: wire::BackendHealth| {
        let backend = Backend::parse(&health.backend).ok()?;
        let down = (!health.up).then(|| health.reason.chars().take(MAX_REASON).collect());
        Some(BackendHealth { backend, down })
    };
    changed.into_iter().filter_map(one).collect()
}

/// Writes the health of backends.
pub(super) fn write_health(changed: &[BackendHealth]) -> Vec<wire::BackendHealth> {
    let one = |health: &BackendHealth| wire::BackendHealth {
        backend: health.backend.to_string(),
        up: health.down.is_none(),
        reason: health.down.clone().unwrap_or_default(),
    };
    changed.iter().map(one).collect()
}

/// Reads the listeners of a process. Invalid addresses are skipped.
pub(super) fn read_listeners(listeners: wire::Listeners) -> ProcessListeners {
    let addresses = listeners.addresses.iter().filter_map(|address| address.parse().ok());
    ProcessListeners { stack: listeners.stack, addresses: addresses.take(MAX_LISTENERS).collect() }
}

/// Writes the listeners of a process.
pub(super) fn write_listeners(listeners: &ProcessListeners) -> wire::Listeners {
    let addresses = listeners.addresses.iter().map(ToString::to_string).collect();
    wire::Listeners { stack: listeners.stack.clone(), addresses }
}

/// Reads an explanation; `None` if it is invalid.
pub(super) fn read_explanation(wire: wire::Explanation) -> Option<Explanation> {
    let route: Option<[u8; 16]> = match wire.route.as_ref() {
        [] => None,
        id => Some(id.try_into().ok()?),
    };
    let certificate = match wire.certificate {
        Some(served) => Some(ServedCertificate {
            id: CertificateId::parse(&served.id).ok()?,
            not_after: served.not_after,
            fingerprint: served.fingerprint.as_ref().try_into().ok()?,
        }),
        None => None,
    };
    Some(Explanation {
        id: wire.id,
        version: wire.version,
        route: route.map(RouteId::from_bytes),
        certificate,
        backends: read_health(wire.backends),
    })
}

/// Writes an explanation.
pub(super) fn write_explanation(explanation: &Explanation) -> wire::Explanation {
    let certificate = explanation.certificate.as_ref().map(|served| wire::ServedCertificate {
        id: served.id.to_string(),
        not_after: served.not_after,
        fingerprint: Bytes::copy_from_slice(&served.fingerprint),
    });
    wire::Explanation {
        id: explanation.id,
        version: explanation.version,
        route: explanation.route.map(|id| Bytes::copy_from_slice(id.as_bytes())).unwrap_or_default(),
        certificate,
        backends: write_health(&explanation.backends),
    }
}
