//! The accepted sets of covered components and times, including the form of the predecessor of this project.

use super::*;
use crate::httpsig::RequiredComponent;

/// The time `Sun, 06 Nov 1994 08:49:37 GMT`, the example of RFC 9110 §5.6.7.
const THEN: i64 = 784_111_777;
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const PREDECESSOR: &str = r#"("@request-target" "date" "content-digest")"#;

/// Returns a request that is signed by hand over `covered`, with a Date field if one is given.
fn manually_signed(url: &str, covered: &str, date: Option<&str>) -> Request<Bytes> {
    let mut request = Request::post(url).body(Bytes::from_static(b"{}")).unwrap();
    let digest = crate::httpsig::content_digest(request.body());
    request.headers_mut().insert("content-digest", digest);
    request.headers_mut().insert("content-type", "application/json".parse().unwrap());
    if let Some(date) = date {
        request.headers_mut().insert("date", date.parse().unwrap());
    }
    let input = format!(r#"{covered};keyid="user1.pub""#);
    request.headers_mut().insert("signature-input", format!("sig1={input}").parse().unwrap());
    request.headers_mut().insert("signature", "sig1=:AAAA:".parse().unwrap());
    let signature = candidates(request.headers()).unwrap().remove(0).signature.unwrap();
    let message = Message { method: request.method(), uri: request.uri(), headers: request.headers() };
    if let Ok(base) = message.base(&signature.input) {
        use base64::Engine as _;
        let signature = base64::engine::general_purpose::STANDARD.encode(key().sign(&base));
        request.headers_mut().insert("signature", format!("sig1=:{signature}:").parse().unwrap());
    }
    request
}

const URL: &str = "https://gw.example/rpc";

#[test]
fn the_predecessors_form_is_accepted_in_any_order() {
    for covered in [
        PREDECESSOR,
        r#"("date" "content-digest" "@request-target")"#,
        r#"("content-digest" "@request-target" "date")"#,
        r#"("@request-target" "date" "content-digest" "content-type")"#,
        r#"("@method" "@request-target" "date" "content-digest");alg="ed25519""#,
        r#"("@method" "@path" "date" "content-digest")"#,
        r#"("@method" "@path" "@query" "date" "content-digest")"#,
        r#"("@method" "@path" "@authority" "date" "content-digest")"#,
    ] {
        assert_eq!(verdict(&manually_signed(URL, covered, Some(DATE)), THEN), Ok(()), "{covered}");
    }
}

#[test]
fn the_whole_target_must_be_covered() {
    let query = "https://gw.example/rpc?a=b";
    for (url, covered, failure) in [
        (URL, r#"("date" "content-digest")"#, Some("@method")),
        (URL, r#"("@path" "date" "content-digest")"#, Some("@method")),
        (URL, r#"("@method" "@authority" "date" "content-digest")"#, Some("@target-uri")),
        (URL, r#"("@method" "@query" "date" "content-digest")"#, Some("@target-uri")),
        (URL, r#"("@request-target" "date")"#, Some("content-digest")),
        (query, r#"("@method" "@path" "date" "content-digest")"#, Some("@query")),
        (query, r#"("@method" "@path" "@query" "date" "content-digest")"#, None),
        (query, PREDECESSOR, None),
    ] {
        let failure = failure.map_or(Ok(()), |name: &str| Err(SignatureError::Uncovered(name.to_owned())));
        assert_eq!(verdict(&manually_signed(url, covered, Some(DATE)), THEN), failure, "{url} {covered}");
    }
    for elsewhere in ["https://gw.example/other", "https://gw.example/rpc?a", "https://gw.example/"] {
        let mut request = manually_signed(URL, PREDECESSOR, Some(DATE));
        *request.uri_mut() = elsewhere.parse().unwrap();
        assert_eq!(verdict(&request, THEN), Err(SignatureError::Forged), "{elsewhere}");
    }
}

#[test]
fn a_covered_date_is_accepted_in_each_of_its_forms() {
    for date in [
        DATE,
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 09:49:37 +0100",
        "  Sun, 06 Nov 1994 08:49:37 GMT ",
    ] {
        assert_eq!(verdict(&manually_signed(URL, PREDECESSOR, Some(date)), THEN), Ok(()), "{date}");
    }
    for bad in
        ["", "yesterday", "784111777", "1994-11-06T08:49:37Z", "Sun, 06 Nov 1994", "Sun, 06 Nov 94 08:49:37"]
    {
        let malformed = Err(SignatureError::Malformed("Date"));
        assert_eq!(verdict(&manually_signed(URL, PREDECESSOR, Some(bad)), THEN), malformed, "{bad}");
    }
    let absent = SignatureError::Component(ComponentError::Absent("date".into()));
    assert_eq!(verdict(&manually_signed(URL, PREDECESSOR, None), THEN), Err(absent));
    let mut twice = manually_signed(URL, PREDECESSOR, Some(DATE));
    twice.headers_mut().append("date", DATE.parse().unwrap());
    assert_eq!(verdict(&twice, THEN), Err(SignatureError::Malformed("Date")));
    let uncovered = r#"("@request-target" "content-digest")"#;
    assert_eq!(verdict(&manually_signed(URL, uncovered, Some(DATE)), THEN), Err(SignatureError::Undated));
    let mut changed = manually_signed(URL, PREDECESSOR, Some(DATE));
    changed.headers_mut().insert("date", "Sun, 06 Nov 1994 08:49:38 GMT".parse().unwrap());
    assert_eq!(verdict(&changed, THEN), Err(SignatureError::Forged));
}

#[test]
fn every_time_of_a_signature_is_checked_and_its_distance_reported() {
    let dated = || manually_signed(URL, PREDECESSOR, Some(DATE));
    let both = |created: i64| manually_signed(URL, &format!("{PREDECESSOR};created={created}"), Some(DATE));
    let (by_date, by_created) = (TimeSource::Date, TimeSource::Created);
    for (request, now, verdict_then) in [
        (dated(), THEN + FRESHNESS, Ok(())),
        (dated(), THEN - FRESHNESS, Ok(())),
        (dated(), THEN + 301, Err(SignatureError::Old(by_date, 301))),
        (dated(), THEN - 3600, Err(SignatureError::Future(by_date, 3600))),
        (both(THEN), THEN, Ok(())),
        (both(THEN - 200), THEN + 50, Ok(())),
        (both(THEN - 400), THEN, Err(SignatureError::Old(by_created, 400))),
        (both(THEN + 400), THEN, Err(SignatureError::Future(by_created, 400))),
        (both(THEN + 1000), THEN + 1000, Err(SignatureError::Old(by_date, 1000))),
        (
            manually_signed(URL, &format!("{PREDECESSOR};expires={THEN}"), Some(DATE)),
            THEN + 7,
            Err(SignatureError::Expired(7)),
        ),
    ] {
        assert_eq!(verdict(&request, now), verdict_then, "{:?}", request.headers());
    }
    let text = SignatureError::Old(by_date, 3600).to_string();
    assert_eq!(
        text,
        "by its `date` the signature was made 3600 s ago, at most 300 s are allowed: check the clock"
    );
    assert!(SignatureError::Future(by_created, 3600).to_string().contains("from 3600 s in the future"));
}

#[test]
fn a_covered_date_replaces_the_nonce() {
    let token = |covered: &str, date: &str| {
        let request = manually_signed(URL, covered, Some(date));
        let signature = candidates(request.headers()).unwrap().remove(0).signature.unwrap();
        signature.one_time_token().unwrap()
    };
    let first = token(PREDECESSOR, DATE).unwrap();
    assert_eq!(token(PREDECESSOR, DATE), Some(first.clone()), "one signature, one token");
    assert_ne!(token(PREDECESSOR, "Sun, 06 Nov 1994 08:49:38 GMT"), Some(first));
    assert_eq!(token(&format!(r#"{PREDECESSOR};nonce="n""#), DATE).as_deref(), Some("n"));
    let undated = format!(r#"("@method" "@target-uri" "content-digest");created={THEN}"#);
    assert_eq!(token(&undated, DATE), None);
}

#[test]
fn a_required_component_is_covered_by_itself_or_within_another() {
    let missing = |covered: &str, required: &str| {
        let request = manually_signed(URL, covered, Some(DATE));
        let signature = candidates(request.headers()).unwrap().remove(0).signature.unwrap();
        let required: RequiredComponent = required.parse().unwrap();
        signature.check_coverage(request.uri(), &[required]).err()
    };
    let whole = r#"("@method" "@target-uri" "content-digest")"#;
    for part in ["@method", "@target-uri", "@authority", "@scheme", "@path", "@query", "@request-target"] {
        assert_eq!(missing(whole, part), None, "{part}");
    }
    for (required, is_covered) in [
        ("@path", true),
        ("@query", true),
        ("date", true),
        ("@authority", false),
        ("@method", false),
        ("content-type", false),
    ] {
        let failure = (!is_covered).then(|| SignatureError::Uncovered(required.to_owned()));
        assert_eq!(missing(PREDECESSOR, required), failure, "{required}");
    }
    for bad in ["", "@status", "@query-param", "Date", "a b", "@", "nonce="] {
        assert!(bad.parse::<RequiredComponent>().is_err(), "{bad}");
    }
}
