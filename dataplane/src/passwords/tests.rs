//! Hashes of other programs, and the bounds on failures and pending verifications.

use std::time::Instant as Clock;

use super::*;

/// Hashes of other programs, each with its password: of the command `argon2`, of PHP, of `htpasswd -B`, of Python.
const HASHES: &[(&str, &str)] = &[
    ("password", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"),
    ("password", "$argon2id$v=19$m=65536,t=2,p=1$ZGlmZnNhbHQ$vfMrBczELrFdWP0ZsfhWsRPaHppYdP3MVEMIVlqoFBw"),
    ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    ("", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy"),
];

fn pool() -> PasswordPool {
    PasswordPool::new(Arc::default())
}

fn sign_in<'a>(name: &'a str, password: &'a [u8], hash: &'a PasswordHash) -> SignIn<'a> {
    let (route, client) = (RouteId::from_bytes([1; 16]), "192.0.2.1".parse().unwrap());
    SignIn { route, client, name, password, hash, is_known: true }
}

#[test]
fn hashes_of_other_programs_are_verified() {
    for (password, hash) in HASHES {
        let parsed = PasswordHash::parse(hash).unwrap();
        assert!(matches(parsed.scheme(), password.as_bytes()), "{hash}");
        assert!(!matches(parsed.scheme(), format!("{password}x").as_bytes()), "{hash}");
    }
}

#[test]
fn bcrypt_takes_a_password_of_any_length() {
    let PasswordScheme::Bcrypt { cost, salt, .. } =
        PasswordHash::parse(HASHES[2].1).unwrap().scheme().clone()
    else {
        panic!("not bcrypt");
    };
    for length in [0, 1, 71, 72, 73, 1000] {
        let password = vec![b'x'; length];
        let mut terminated = [password.as_slice(), &[0]].concat();
        terminated.truncate(BCRYPT_PASSWORD);
        let output = bcrypt::bcrypt(cost, salt, &terminated)[..23].try_into().unwrap();
        assert!(matches(&PasswordScheme::Bcrypt { cost, salt, output }, &password), "{length}");
    }
}

/// The cost of each accepted extreme. The bounds of `PasswordHash` keep a verification below a second or so.
#[test]
#[ignore = "a measurement, for release builds"]
fn the_cost_of_hashes() {
    let argon2 = |memory, passes, lanes| PasswordScheme::Argon2id {
        memory,
        passes,
        lanes,
        salt: [1; 16].into(),
        output: [2; 32].into(),
    };
    let bcrypt = |cost| PasswordScheme::Bcrypt { cost, salt: [1; 16], output: [2; 23] };
    for (name, scheme) in [
        ("argon2id m=4096 t=3", argon2(4096, 3, 1)),
        ("argon2id m=19456 t=2 (gwctl)", argon2(19456, 2, 1)),
        ("argon2id m=65536 t=3 p=4 (Python)", argon2(65536, 3, 4)),
        ("argon2id m=65536 t=4 (PHP, the maximum)", argon2(65536, 4, 1)),
        ("bcrypt 5 (htpasswd)", bcrypt(5)),
        ("bcrypt 10", bcrypt(10)),
        ("bcrypt 12 (the maximum)", bcrypt(12)),
    ] {
        let start = Clock::now();
        assert!(!matches(&scheme, b"password"));
        println!("{name}: {:?}", start.elapsed());
    }
}

fn run(test: impl AsyncFnOnce(Rc<Passwords>, LocalTasks)) {
    let passwords = Passwords::new(pool());
    tokio::runtime::LocalRuntime::new().unwrap().block_on(test(passwords, LocalTasks::default()));
}

#[test]
fn equal_sign_ins_are_verified_once_and_remembered() {
    run(async |passwords, tasks| {
        let hash = PasswordHash::parse(HASHES[2].1).unwrap();
        // More than may be pending, and more than may fail.
        let many = (0..100).map(|_| passwords.verify(&tasks, sign_in("alice", b"U*U", &hash)));
        assert!(futures_util::future::join_all(many).await.iter().all(Result::is_ok));
        let wrong = (0..100).map(|_| passwords.verify(&tasks, sign_in("alice", b"wrong", &hash)));
        let wrong = futures_util::future::join_all(wrong).await;
        assert!(wrong.iter().all(|outcome| *outcome == Err(SignInError::Wrong)), "they count as one");
        assert_eq!(passwords.entries.borrow().len(), 1, "a wrong password is not remembered");
    });
}

#[test]
fn a_changed_password_or_user_is_not_remembered() {
    run(async |passwords, tasks| {
        let hashes = [HASHES[2].1, HASHES[3].1].map(|text| PasswordHash::parse(text).unwrap());
        let verify = async |sign_in| passwords.verify(&tasks, sign_in).await;
        assert_eq!(verify(sign_in("alice", b"U*U", &hashes[0])).await, Ok(()));
        assert_eq!(verify(sign_in("alice", b"U*U", &hashes[1])).await, Err(SignInError::Wrong));
        let removed = SignIn { is_known: false, ..sign_in("alice", b"U*U", &hashes[0]) };
        assert_eq!(verify(removed).await, Err(SignInError::Wrong));
        assert_eq!(verify(sign_in("alice", b"U*U", &hashes[0])).await, Ok(()));
    });
}

#[test]
fn failures_are_limited_by_network_and_successes_are_not() {
    run(async |passwords, tasks| {
        let hash = PasswordHash::parse(HASHES[2].1).unwrap();
        let texts: Vec<String> = (0..=FAILURE_BURST).map(|n| format!("wrong {n}")).collect();
        let verify = async |sign_in| passwords.verify(&tasks, sign_in).await;
        for text in &texts[1..] {
            let outcome = verify(sign_in("alice", text.as_bytes(), &hash)).await;
            assert_eq!(outcome, Err(SignInError::Wrong), "{text}");
            // One in between is right, which does not count, nor does it reset the count.
            if text.ends_with('5') {
                assert_eq!(verify(sign_in("bob", b"U*U", &hash)).await, Ok(()));
            }
        }
        let next = verify(sign_in("alice", b"U*U", &hash)).await;
        assert!(matches!(next, Err(SignInError::TooManyFailures(_))), "{next:?}");
        let known = verify(sign_in("bob", b"U*U", &hash)).await;
        assert_eq!(known, Ok(()), "a remembered password is not affected");
        let elsewhere = SignIn { client: "198.51.100.1".parse().unwrap(), ..sign_in("alice", b"U*U", &hash) };
        assert_eq!(verify(elsewhere).await, Ok(()));
    });
}

#[test]
fn pending_verifications_are_bounded_by_route() {
    run(async |passwords, tasks| {
        let hash = PasswordHash::parse(HASHES[2].1).unwrap();
        let texts: Vec<String> = (0..30).map(|n| format!("wrong {n}")).collect();
        let many = texts.iter().enumerate().map(|(n, text)| {
            // Each client has a network of its own.
            let client = std::net::Ipv4Addr::from([192, 0, u8::try_from(n).unwrap(), 1]).into();
            let sign_in = SignIn { client, ..sign_in("alice", text.as_bytes(), &hash) };
            passwords.verify(&tasks, sign_in)
        });
        let outcomes = futures_util::future::join_all(many).await;
        let wrong = outcomes.iter().filter(|outcome| **outcome == Err(SignInError::Wrong)).count();
        let busy = outcomes.iter().filter(|outcome| **outcome == Err(SignInError::Busy)).count();
        assert_eq!((wrong, busy), (MAX_PENDING_OF_ROUTE, 30 - MAX_PENDING_OF_ROUTE));
        assert_eq!(passwords.verify(&tasks, sign_in("alice", b"U*U", &hash)).await, Ok(()));
    });
}
