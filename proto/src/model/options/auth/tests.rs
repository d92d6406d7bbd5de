//! The hashes, users and services that authentication accepts.

use serde_json::json;

use super::*;

/// A hash of the reference implementation's command `argon2`.
const ARGON2ID: &str =
    "$argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHQ$lAGLMHJxVDzVlYOUlcLLSbRkf/IAtoDYY3IQ5ik/Szw";
/// A hash of Apache's `htpasswd -B`.
const BCRYPT: &str = "$2y$05$q2zW0BbTSSV/nrWcGEZwn.wPBzpcgh4FkZWYBXa9lM0FM5M4m7bFu";

fn parse(text: &str) -> Result<PasswordHash, InvalidPasswordHashError> {
    PasswordHash::parse(text)
}

#[test]
fn only_hashes_of_bounded_cost_are_accepted() {
    use InvalidPasswordHashError as Error;
    let argon2 = |params: &str| ARGON2ID.replace("m=4096,t=3,p=1", params);
    let bcrypt = |prefix: &str| BCRYPT.replace("$2y$05$", prefix);
    for accepted in [
        ARGON2ID.to_owned(),
        argon2("m=19456,t=2,p=1"),
        argon2("m=65536,t=4,p=1"),
        argon2("m=65536,t=3,p=4"),
        argon2("m=16384,t=16,p=8"),
        BCRYPT.to_owned(),
        bcrypt("$2a$10$"),
        bcrypt("$2b$12$"),
    ] {
        assert!(parse(&accepted).is_ok(), "{accepted}");
    }
    for (refused, error) in [
        ("secret".to_owned(), Error::Plain),
        (String::new(), Error::Plain),
        ("$ecret".to_owned(), Error::Plain),
        ("$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/".to_owned(), Error::Algorithm),
        ("$6$salt$hash".to_owned(), Error::Algorithm),
        (ARGON2ID.replace("argon2id", "argon2i"), Error::Algorithm),
        (ARGON2ID.replace("argon2id", "argon2d"), Error::Algorithm),
        (ARGON2ID.replace("v=19", "v=16"), Error::Algorithm),
        (argon2("m=4095,t=3,p=1"), Error::Argon2Cost),
        (argon2("m=65537,t=1,p=1"), Error::Argon2Cost),
        (argon2("m=65536,t=5,p=1"), Error::Argon2Cost),
        (argon2("m=4096,t=17,p=1"), Error::Argon2Cost),
        (argon2("m=4096,t=0,p=1"), Error::Argon2Cost),
        (argon2("m=4096,t=3,p=9"), Error::Argon2Cost),
        (argon2("m=4096,t=3,p=0"), Error::Argon2Cost),
        (argon2("m=99999999999,t=3,p=1"), Error::Argon2Cost),
        (argon2("m=4096,t=4294967295,p=1"), Error::Argon2Cost),
        (argon2("m=+4096,t=3,p=1"), Error::Malformed("argon2id")),
        (argon2("m=,t=3,p=1"), Error::Malformed("argon2id")),
        (argon2("t=3,m=4096,p=1"), Error::Malformed("argon2id")),
        (argon2("m=4096,t=3,p=1,keyid=x"), Error::Malformed("argon2id")),
        (format!("{ARGON2ID}$"), Error::Malformed("argon2id")),
        (format!("{ARGON2ID}="), Error::Malformed("argon2id")),
        (ARGON2ID.replace("c29tZXNhbHQ", "c2FsdA"), Error::Malformed("argon2id")),
        (
            ARGON2ID.replace("lAGLMHJxVDzVlYOUlcLLSbRkf/IAtoDYY3IQ5ik/Szw", "lAGL"),
            Error::Malformed("argon2id"),
        ),
        ("$argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHQ".to_owned(), Error::Malformed("argon2id")),
        (bcrypt("$2b$13$"), Error::BcryptCost),
        (bcrypt("$2b$31$"), Error::BcryptCost),
        (bcrypt("$2b$04$"), Error::BcryptCost),
        (bcrypt("$2b$5$"), Error::Malformed("bcrypt")),
        (bcrypt("$2b$+5$"), Error::Malformed("bcrypt")),
        (bcrypt("$2x$05$"), Error::Algorithm),
        (format!("{BCRYPT}x"), Error::Malformed("bcrypt")),
        (BCRYPT.replace("q2z", "q2é"), Error::Malformed("bcrypt")),
        ("$2y$05$".to_owned(), Error::Malformed("bcrypt")),
    ] {
        assert_eq!(parse(&refused), Err(error), "{refused}");
    }
}

#[test]
fn an_invalid_authentication_is_refused_without_its_passwords() {
    let users = |value| json!({"basic": {"users": {"alice": value}}});
    let forward = |fields: Value| {
        let mut forward = json!({"backend": "[400::5]:9091"});
        forward.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({"forward": forward})
    };
    let name = |name: &str| json!({"basic": {"users": {name: ARGON2ID}}});
    let many: serde_json::Map<_, _> = (0..=MAX_USERS).map(|n| (format!("u{n}"), ARGON2ID.into())).collect();
    for (auth, word) in [
        (json!({}), "needs `basic` or `forward`"),
        (json!({"basic": {"users": {"a": BCRYPT}}, "forward": {"backend": "[400::5]:80"}}), "not both"),
        (json!([]), "sequence"),
        (json!({"basic": {}}), "users"),
        (json!({"basic": {"users": {}}}), "at least one user"),
        (json!({"basic": {"users": many}}), "101 users"),
        (users(json!("s3cret")), "gwctl hash-password"),
        (users(json!(1_234_567)), "gwctl hash-password"),
        (users(json!(["s3cret"])), "gwctl hash-password"),
        (users(json!(null)), "gwctl hash-password"),
        (json!({"basic": {"users": {"a": BCRYPT}, "relm": "x"}}), "unknown field"),
        (json!({"basic": {"users": {"a": BCRYPT}, "realm": "a\"b"}}), "`realm`"),
        (json!({"basic": {"users": {"a": BCRYPT}, "realm": ""}}), "`realm`"),
        (name(""), "user name"),
        (name("a:b"), "user name"),
        (name("a b"), "user name"),
        (name("a\r\nx: y"), "user name"),
        (name("zoë"), "user name"),
        (name(&"x".repeat(65)), "user name"),
        (json!({"forward": {}}), "backend"),
        (json!({"forward": {"backend": "auth.example:80"}}), "auth.example"),
        (json!({"forward": {"backend": "[400::5]"}}), "no port"),
        (forward(json!({"path": "verify"})), "`path`"),
        (forward(json!({"path": "/a b"})), "`path`"),
        (forward(json!({"timeout": 0})), "`timeout`"),
        (forward(json!({"timeout": 61})), "`timeout`"),
        (forward(json!({"headers": ["a b"]})), "`a b`"),
        (forward(json!({"headers": ["Host"]})), "`Host`"),
        (forward(json!({"headers": ["X-Forwarded-For"]})), "`X-Forwarded-For`"),
        (forward(json!({"headers": ["remote_user"]})), "`remote_user`"),
        (forward(json!({"headers": vec!["x-a"; 33]})), "33 headers"),
    ] {
        let error = serde_json::from_value::<Auth>(auth.clone()).unwrap_err().to_string();
        assert!(error.contains(word), "{auth}: {error}");
        assert!(!error.contains("s3cret") && !error.contains("1234567"), "{error}");
    }
}

#[test]
fn an_authentication_is_written_as_it_was_read() {
    for auth in [
        json!({"basic": {"users": {"alice": ARGON2ID, "bob": BCRYPT}}}),
        json!({"basic": {"realm": "The office", "users": {"alice": ARGON2ID}}}),
        json!({"forward": {"backend": "[400::5]:9091", "path": "/verify?rd=1", "timeout": 5,
            "headers": ["remote-user", "x-forwarded-user"]}}),
    ] {
        let read: Auth = serde_json::from_value(auth.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), auth);
        assert!(!format!("{read:?}{}", read.describe()).contains('$'), "{read:?}");
    }
    let defaults: Auth = serde_json::from_value(json!({"forward": {"backend": "[400::5]:9091"}})).unwrap();
    let written = serde_json::to_value(defaults).unwrap();
    assert_eq!(written, json!({"forward": {"backend": "[400::5]:9091", "path": "/", "timeout": 10}}));
}
