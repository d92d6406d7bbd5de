//! The environment variables in all variants, and a proxy over real sockets.

use hyper_util::client::legacy::connect::HttpConnector;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

type Variables = &'static [(&'static str, &'static str)];

fn proxies(variables: Variables) -> Proxies {
    Proxies::new(|wanted| {
        variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
    })
}

/// Returns the proxy for a server as `HOST:PORT VARIABLE`, `-` for none.
fn found(variables: Variables, server: &'static str) -> String {
    match proxies(variables).find(&Uri::from_static(server)) {
        Ok(None) => "-".to_owned(),
        Ok(Some((proxy, variable))) => format!("{} {variable}", proxy.uri().authority().unwrap()),
        Err(ProxyError::Invalid(variable)) => format!("invalid {variable}"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_variables_name_the_proxy() {
    const SERVER: &str = "https://ca.example.com/dir";
    let cases: [(Variables, &str); 14] = [
        (&[], "-"),
        (&[("HTTPS_PROXY", "")], "-"),
        (&[("HTTPS_PROXY", "http://p.example:3128")], "p.example:3128 HTTPS_PROXY"),
        (&[("https_proxy", "http://p.example:3128/")], "p.example:3128 https_proxy"),
        (&[("https_proxy", "p.example:3128")], "p.example:3128 https_proxy"),
        (&[("HTTPS_PROXY", " "), ("https_proxy", "http://p.example")], "p.example https_proxy"),
        (
            &[("HTTPS_PROXY", "http://a.example"), ("https_proxy", "http://b.example")],
            "a.example HTTPS_PROXY",
        ),
        (&[("ALL_PROXY", "http://[2001:db8::1]:8080")], "[2001:db8::1]:8080 ALL_PROXY"),
        (&[("all_proxy", "http://u:p@p.example:1")], "p.example:1 all_proxy"),
        (&[("HTTP_PROXY", "http://p.example")], "-"),
        (&[("HTTPS_PROXY", "https://p.example")], "invalid HTTPS_PROXY"),
        (&[("HTTPS_PROXY", "socks5://p.example")], "invalid HTTPS_PROXY"),
        (&[("HTTPS_PROXY", "http://p p")], "invalid HTTPS_PROXY"),
        (&[("HTTPS_PROXY", "what?"), ("NO_PROXY", "example.com")], "-"),
    ];
    for (variables, expected) in cases {
        assert_eq!(found(variables, SERVER), expected, "{variables:?}");
        assert_eq!(found(variables, "http://ca.example.com/"), "-", "plain http: {variables:?}");
    }
}

#[test]
fn servers_of_no_proxy_are_reached_directly() {
    const VARIABLES: Variables = &[
        ("HTTPS_PROXY", "http://p"),
        ("no_proxy", "localhost, .in.example,out.example, 10.0.0.0/8,192.0.2.1,2001:db8::/32"),
    ];
    for (server, direct) in [
        ("https://localhost:14000/dir", true),
        ("https://a.in.example/", true),
        ("https://out.example/", true),
        ("https://a.OUT.example/", true),
        ("https://10.1.2.3/", true),
        ("https://192.0.2.1:8443/", true),
        ("https://[2001:db8::5]/", true),
        ("https://throughout.example/", false),
        ("https://192.0.2.2/", false),
        ("https://[2001:db9::5]/", false),
        ("https://ca.example.com/", false),
    ] {
        assert_eq!(found(VARIABLES, server) == "-", direct, "{server}");
    }
    assert_eq!(found(&[("HTTPS_PROXY", "http://p"), ("NO_PROXY", "*")], "https://a.example/"), "-");
}

/// Responds to one connection with `answer`, and returns the request.
async fn answers(listener: TcpListener, answer: &'static str) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let (mut asked, mut buffer) = (String::new(), [0; 1024]);
    while !asked.ends_with("\r\n\r\n") {
        let read = stream.read(&mut buffer).await.unwrap();
        asked.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    asked
}

async fn connect(port: u16, credentials: &'static str) -> Result<(), BoxError> {
    let proxy = format!("http://{credentials}127.0.0.1:{port}");
    let proxies = Proxies::new(|name| (name == "https_proxy").then(|| proxy.clone()));
    let mut direct = HttpConnector::new();
    direct.enforce_http(false);
    let connector = ProxyConnector { direct, proxies };
    connector.oneshot(Uri::from_static("https://ca.invalid/dir")).await.map(drop)
}

#[tokio::test]
async fn a_tunnel_is_requested_and_its_refusal_is_reported() {
    for (answer, credentials, error) in [
        ("HTTP/1.1 200 Connection established\r\n\r\n", "", None),
        ("HTTP/1.0 200 OK\r\nvia: p\r\n\r\n", "user:p%40ss@", None),
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "", Some("authorization required")),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "", Some("unsuccessful")),
        ("", "", Some("end of file")),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connected, asked) = tokio::join!(connect(port, credentials), answers(listener, answer));
        assert!(asked.starts_with("CONNECT ca.invalid:443 HTTP/1.1\r\n"), "{asked}");
        assert_eq!(
            asked.contains("Proxy-Authorization: Basic dXNlcjpwQHNz"),
            !credentials.is_empty(),
            "{asked}"
        );
        match (connected, error) {
            (Ok(()), None) => {}
            (Err(refused), Some(error)) => {
                assert!(refused.to_string().contains("of `https_proxy` does not lead there"), "{refused}");
                assert!(refused.source().unwrap().to_string().contains(error), "{answer}: {refused:?}");
            }
            (connected, _) => panic!("{answer}: {connected:?}"),
        }
    }
    assert!(connect(1, "").await.unwrap_err().to_string().contains("127.0.0.1:1"), "nobody there");
}
