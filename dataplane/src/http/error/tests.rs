//! The status and the fields of each error.

use super::*;

#[test]
fn refusals_of_policies_say_when_to_try_again_and_how_to_sign_in() {
    let dial = |error| ProxyError::ForwardAuth(Box::new(ProxyError::Dial(error)));
    let text: Box<str> = "Zur\u{fc}ck um 9".into();
    for (error, status, retry_after, proxy_error) in [
        (ProxyError::Maintenance { text, retry_after: 60 }, 503, Some("60"), "destination_unavailable"),
        (ProxyError::RateLimited { retry_after: 7 }, 429, Some("7"), "http_request_denied"),
        (ProxyError::SignInLimited { retry_after: 9 }, 429, Some("9"), "http_request_denied"),
        (ProxyError::SignInBusy, 503, Some("1"), "proxy_internal_error"),
        (dial(DialError::Refused), 502, None, "connection_refused"),
        (dial(DialError::OwnListener), 508, None, "proxy_loop_detected"),
        (ProxyError::ForwardAuth(ProxyError::ResponseTimeout.into()), 504, None, "http_response_timeout"),
        (ProxyError::AuthResponseTooLarge, 502, None, "http_response_body_size"),
    ] {
        let response = error.response();
        let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(response.status().as_u16(), status, "{error:?}");
        assert_eq!(header("retry-after").as_deref(), retry_after, "{error:?}");
        assert_eq!(header("proxy-status").unwrap(), format!("webgateway; error={proxy_error}"));
        assert!(header("www-authenticate").is_none());
    }
    let response = ProxyError::Unauthorized(HeaderValue::from_static("Basic realm=\"x\"")).response();
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], "Basic realm=\"x\"");
}

#[test]
fn each_error_has_its_status_and_proxy_status() {
    for (error, status, proxy_status) in [
        (ProxyError::Dial(DialError::Refused), 502, Some("webgateway; error=connection_refused")),
        (ProxyError::Dial(DialError::Timeout), 504, Some("webgateway; error=connection_timeout")),
        (ProxyError::UnknownHost, 503, Some("webgateway; error=destination_not_found")),
        (ProxyError::Dial(DialError::OwnListener), 508, Some("webgateway; error=proxy_loop_detected")),
        (ProxyError::Loop, 508, Some("webgateway; error=proxy_loop_detected")),
        (ProxyError::Misdirected, 421, None),
        (
            ProxyError::Dial(DialError::Tls(TlsFault::Expired)),
            502,
            Some("webgateway; error=tls_certificate_error; details=\"certificate expired\""),
        ),
        (
            ProxyError::Dial(DialError::Tls(TlsFault::Timeout)),
            504,
            Some("webgateway; error=connection_timeout; details=\"TLS handshake timeout\""),
        ),
        (ProxyError::Dial(DialError::NoHttp2), 502, Some("webgateway; error=http_protocol_error")),
        (ProxyError::Dial(DialError::Busy), 503, Some("webgateway; error=connection_limit_reached")),
        (ProxyError::UpgradeOverHttp2, 501, Some("webgateway; error=http_upgrade_failed")),
        (ProxyError::BodyTooLarge, 413, Some("webgateway; error=http_request_error")),
        (ProxyError::TotalTimeout, 504, Some("webgateway; error=http_response_timeout")),
        (ProxyError::Denied, 403, Some("webgateway; error=http_request_denied")),
    ] {
        let response = error.response();
        assert_eq!(response.status().as_u16(), status);
        let header = response.headers().get("proxy-status").map(|v| v.to_str().unwrap());
        assert_eq!(header, proxy_status);
    }
}
