//! A server behind a proxy that speaks TLS: its certificate is checked.
//!
//! The certificates beside this file are good for a hundred years, for `localhost`, and for nothing
//! else; the key of their authority was thrown away.

use std::{
    fs::File,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Output,
    sync::Arc,
    thread,
};

use rustls::{
    ServerConfig, ServerConnection, Stream,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::server::{Server, throttle};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/https").join(name)
}

/// A whole request or answer; `None` where there is no more.
fn read_message(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let mut piece = [0; 4_096];
    loop {
        let text = String::from_utf8_lossy(&message).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() == length.map_or(0, |length| length.trim().parse().unwrap()) {
                return Some(message);
            }
        }
        match stream.read(&mut piece) {
            Ok(length @ 1..) => message.extend(&piece[..length]),
            _ => return None,
        }
    }
}

/// Hands one request a connection on to a server, and its answer back, until the test ends.
fn start_proxy(server: SocketAddr) -> u16 {
    let chain = CertificateDer::from_pem_file(fixture("localhost.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(fixture("localhost.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let config = config.clone();
            thread::spawn(move || {
                let mut session = ServerConnection::new(config).unwrap();
                let mut client = Stream::new(&mut session, &mut client);
                let mut upstream = TcpStream::connect(server).unwrap();
                // Whoever does not trust us ends it here.
                while let Some(request) = read_message(&mut client) {
                    upstream.write_all(&request).unwrap();
                    let answer = read_message(&mut upstream).unwrap();
                    client.write_all(&answer).unwrap();
                }
            });
        }
    });
    port
}

/// Runs `throttle run` against a server, trusting the authorities in this file.
fn run(url: &str, authorities: &Path) -> Output {
    throttle()
        .args(["run", "--url", url, "--timeout", "20s", "A", "--", "echo", "inside"])
        .env("SSL_CERT_FILE", authorities)
        .output()
        .unwrap()
}

#[test]
fn trusted_server_is_asked() {
    let server = Server::with_max(1);
    let port = start_proxy(server.address);

    let output = run(&format!("https://localhost:{port}/"), &fixture("ca.pem"));

    assert_eq!("inside\n", String::from_utf8_lossy(&output.stdout), "{output:?}");
    assert_eq!(1, server.remainder("A"));
}

#[test]
fn server_that_nobody_vouches_for_is_refused_at_once() {
    let server = Server::with_max(1);
    let port = start_proxy(server.address);
    let nobody = server.file().with_file_name("empty.pem");
    File::create(&nobody).unwrap();

    let output = run(&format!("https://localhost:{port}"), &nobody);

    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(Some(125), output.status.code(), "{stderr}");
    assert!(stderr.contains(&format!("no TLS connection to https://localhost:{port}")), "{stderr}");
    assert_eq!("", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn certificate_of_another_name_is_refused() {
    let server = Server::with_max(1);
    let port = start_proxy(server.address);

    let output = run(&format!("https://127.0.0.1:{port}"), &fixture("ca.pem"));

    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(Some(125), output.status.code(), "{stderr}");
    assert!(stderr.contains("not valid for name"), "{stderr}");
}

/// Whoever forgets the proxy, or the `s`.
#[test]
fn server_without_tls_is_refused_at_once() {
    let server = Server::with_max(1);

    let output = run(&format!("https://{}", server.address), &fixture("ca.pem"));

    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(Some(125), output.status.code(), "{stderr}");
    assert!(stderr.contains("no TLS connection") && stderr.contains("http://"), "{stderr}");
}
