//! Tests of connections: refused, lost, silent, TLS, through a proxy.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::gateway::{Gateway, Reply};
use crate::program::{Program, public_key};

/// Returns a bound socket that does not listen, and its port: connections to it are refused.
pub(crate) fn closed_port() -> (Socket, u16) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    (socket, port)
}

#[test]
fn a_refused_connection_is_exit_code_3() {
    let program = Program::new();
    let (_socket, port) = closed_port();
    let url = format!("http://127.0.0.1:{port}");
    let output = program.call(&url, &["routes", "list"]);
    assert_eq!(output.code, 3);
    assert!(
        output.stderr.contains("cannot connect") && output.stderr.contains("refused"),
        "{}",
        output.stderr
    );
    assert!(output.stderr.contains("WEBGATEWAY_URL"), "{}", output.stderr);
    assert_eq!(program.run(&["-u", &url, "health"]).code, 3);

    let output = program.run(&["-u", &url, "version"]);
    assert_eq!((output.code, output.stdout.lines().count()), (0, 1), "{}", output.stdout);
    assert!(output.stderr.starts_with("warning: the controlplane's version is unknown"), "{}", output.stderr);
}

#[test]
fn localhost_means_ipv4_and_ipv6() {
    let gateway = Gateway::with_result(json!({ "status": "ok", "nodes": 1 }));
    let program = Program::new();
    for host in ["localhost", "gw.localhost", "LOCALHOST"] {
        let output = program.run(&["-u", &format!("http://{host}:{}", gateway.port), "health"]);
        assert_eq!((output.code, output.stdout.as_str()), (0, "ok, 1 node connected\n"), "{}", output.stderr);
    }
}

#[test]
fn a_truncated_response_is_a_lost_connection() {
    let gateway = Gateway::start(|_| Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"json"));
    let output = Program::new().call(&gateway.url(), &["routes", "list"]);
    assert_eq!(output.code, 3);
    assert!(output.stderr.contains("was lost before the response"), "{}", output.stderr);
}

#[test]
fn a_silent_server_is_a_timeout() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let output = Program::new().run(&["-u", &format!("https://127.0.0.1:{port}"), "health"]);
    assert_eq!(output.code, 3);
    assert!(output.stderr.contains("within 5 s"), "{}", output.stderr);
}

#[test]
fn plain_http_over_the_network_is_a_warning() {
    let variables = [("WEBGATEWAY_KEY", "user1.priv")];
    // `.invalid` never resolves (RFC 6761 §6.4).
    let output = Program::new().run_with(&["-u", "http://gw.invalid", "routes", "list"], &variables);
    assert_eq!(output.code, 3);
    let warning = "warning: -u/--url: http://gw.invalid/rpc is plain http";
    assert!(output.stderr.starts_with(warning), "{}", output.stderr);
}

/// Returns a CA certificate in PEM, and a server configuration for `localhost` with a certificate of this CA.
fn tls() -> (String, ServerConfig) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "gwctl test CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let leaf =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    (root.pem(), config)
}

#[test]
fn https_trusts_only_the_ca_in_ssl_cert_file() {
    let (root, config) = tls();
    let (other, _) = tls();
    let gateway = Gateway::start_tls(config, |_| Reply::result(json!({ "routes": [] })));
    let program = Program::new();
    program.write("ca.pem", &root, 0o644);
    program.write("other.pem", &other, 0o644);
    let list = |host: &str, ca: &str| {
        let url = format!("https://{host}:{}/rpc", gateway.port);
        program.run_with(&["-u", &url, "-k", "user1.priv", "routes", "list"], &[("SSL_CERT_FILE", ca)])
    };
    let output = list("localhost", "ca.pem");
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    assert!(gateway.received()[0].verify("https", &public_key()).is_ok());
    for (host, ca) in [("localhost", "other.pem"), ("127.0.0.1", "ca.pem")] {
        let output = list(host, ca);
        assert_eq!(output.code, 3, "{}", output.stderr);
        assert!(
            output.stderr.contains("certificate of") && output.stderr.contains("SSL_CERT_FILE"),
            "{}",
            output.stderr
        );
    }
    assert_eq!(list("localhost", "absent.pem").code, 3);
    assert_eq!(gateway.received().len(), 1);
}

#[test]
fn https_to_an_http_port_and_http_to_an_https_port_are_errors() {
    let program = Program::new();
    let plain = Gateway::with_result(json!({}));
    let output = program.run(&["-u", &format!("https://localhost:{}", plain.port), "health"]);
    assert_eq!(output.code, 3);
    assert!(output.stderr.starts_with("error: the TLS handshake with localhost:"), "{}", output.stderr);
    assert!(output.stderr.contains("for plain HTTP, write http:// in -u"), "{}", output.stderr);

    let (_, config) = tls();
    let secure = Gateway::start_tls(config, |_| Reply::Nothing);
    let output = program.run(&["-u", &format!("http://localhost:{}", secure.port), "health"]);
    assert_eq!(output.code, 3, "{}", output.stderr);
}

/// Starts a proxy that connects every CONNECT request to `port`. Returns its URL and a receiver of the request heads.
fn proxy(port: u16) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://user:secret@{}", listener.local_addr().unwrap());
    let (heads, receiver) = mpsc::channel();
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                client.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            heads.send(String::from_utf8(head).unwrap()).unwrap();
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            let (mut from_server, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            // Two threads, because either side may close first.
            thread::spawn(move || drop(io::copy(&mut from_server, &mut to_client)));
            thread::spawn(move || drop(io::copy(&mut client, &mut server)));
        }
    });
    (url, receiver)
}

#[test]
fn https_goes_through_the_proxy_of_the_environment() {
    let (root, config) = tls();
    let gateway = Gateway::start_tls(config, |_| Reply::result(json!({ "routes": [] })));
    let (proxy, heads) = proxy(gateway.port);
    let program = Program::new();
    program.write("ca.pem", &root, 0o644);
    // The URL's port does not listen: only a request through the proxy can succeed.
    let (_socket, port) = closed_port();
    let list = |port: u16, variables: &[(&str, &str)]| {
        let url = format!("https://localhost:{port}/rpc");
        let variables = [&[("SSL_CERT_FILE", "ca.pem")], variables].concat();
        program.run_with(&["-u", &url, "-k", "user1.priv", "routes", "list"], &variables)
    };
    for name in ["HTTPS_PROXY", "https_proxy"] {
        let output = list(port, &[(name, &proxy)]);
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{name}");
        let head = heads.try_recv().unwrap();
        assert!(head.starts_with(&format!("CONNECT localhost:{port} HTTP/1.1\r\n")), "{head}");
        assert!(head.contains("Proxy-Authorization: Basic dXNlcjpzZWNyZXQ="), "{head}");
    }
    for name in ["NO_PROXY", "no_proxy"] {
        assert_eq!(list(gateway.port, &[("HTTPS_PROXY", &proxy), (name, "example.com, localhost")]).code, 0);
        assert!(heads.try_recv().is_err(), "{name}");
    }
    let output = list(gateway.port, &[("HTTPS_PROXY", &format!("http://localhost:{port}"))]);
    assert_eq!(output.code, 3);
    assert!(output.stderr.contains("of `HTTPS_PROXY` does not lead there"), "{}", output.stderr);
    let output = list(gateway.port, &[("HTTPS_PROXY", "socks5://localhost:1")]);
    assert!(
        output.stderr.contains("`HTTPS_PROXY` does not name a proxy that can be used"),
        "{}",
        output.stderr
    );
    let plain = Gateway::with_result(json!({ "routes": [] }));
    let output = program.run_with(
        &["-u", &plain.url(), "-k", "user1.priv", "routes", "list"],
        &[("HTTPS_PROXY", &proxy), ("HTTP_PROXY", &proxy)],
    );
    assert_eq!(
        (output.code, heads.try_recv().is_err()),
        (0, true),
        "plain http does not use the proxy: {}",
        output.stderr
    );
}
