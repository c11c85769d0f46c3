//! What `forecourt render envoy` prints for Cloud Run, in real Envoy against services that speak TLS
//! as Cloud Run's front end does: by which name they are called, and whom Envoy refuses to talk to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};

use forecourt::cli::client::{self, Protocol, Request};
use forecourt::cli::envoy::{Envoy, Options, find};
use forecourt::cli::module::module;
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

/// A certification authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = called(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A server's TLS configuration with a certificate for that name.
    fn certify(&self, name: &str, expired: bool) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name = called(name);
        if expired {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let private = PrivatePkcs8KeyDer::from(key.serialize_der());
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private.into())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}

fn called(name: &str) -> DistinguishedName {
    let mut called = DistinguishedName::new();
    called.push(DnType::CommonName, name);
    called
}

/// A request as a front end saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    server_name: String,
    protocol: String,
    authority: String,
    forwarded_host: String,
}

/// A front end of Cloud Run, which remembers what reached it.
struct FrontEnd {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Why clients ended the handshake.
    alerts: Arc<Mutex<Vec<String>>>,
}

impl FrontEnd {
    async fn start(config: ServerConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let alerts = Arc::<Mutex<Vec<String>>>::default();
        let (acceptor, held) = (TlsAcceptor::from(Arc::new(config)), Arc::clone(&seen));
        let told = Arc::clone(&alerts);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, held) = (acceptor.clone(), Arc::clone(&held));
                let told = Arc::clone(&told);
                tokio::spawn(async move {
                    let stream = match acceptor.accept(stream).await {
                        Ok(stream) => stream,
                        Err(error) => return told.lock().unwrap().push(error.to_string()),
                    };
                    let (_, tls) = stream.get_ref();
                    let server_name = tls.server_name().unwrap_or_default().to_owned();
                    let protocol = tls.alpn_protocol().unwrap_or_default();
                    let protocol = String::from_utf8_lossy(protocol).into_owned();
                    let service = service_fn(move |request: hyper::Request<Incoming>| {
                        let host = request.headers().get("x-forwarded-host");
                        let authority = request.uri().authority().unwrap();
                        held.lock().unwrap().push(Seen {
                            server_name: server_name.clone(),
                            protocol: protocol.clone(),
                            authority: authority.to_string(),
                            forwarded_host: host.unwrap().to_str().unwrap().to_owned(),
                        });
                        let body = Empty::<Bytes>::new();
                        async move { Ok::<_, Infallible>(hyper::Response::new(body)) }
                    });
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            address,
            seen,
            alerts,
        }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn host(service: &str) -> String {
    format!("{service}-abc123-ew.a.run.app")
}

/// What the command prints for a policy with these services, the authority's file put in.
fn rendered(services: &[&str], authority: &str, folder: &std::path::Path) -> Value {
    let services: BTreeMap<&str, Value> = services
        .iter()
        .map(|name| (*name, json!({ "url": format!("https://{}", host(name)) })))
        .collect();
    let routes = services.keys().map(
        |name| json!({ "match": { "path": format!("/{name}") }, "access": "public", "to": name }),
    );
    let policy = json!({
        "version": "forecourt/v1",
        "services": services,
        "routes": routes.collect::<Vec<_>>(),
    });
    let (file, roots) = (folder.join("policy.json"), folder.join("roots.pem"));
    fs::write(&file, policy.to_string()).unwrap();
    fs::write(&roots, authority).unwrap();
    let module = module(None, &mut |note| eprintln!("{note}")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_forecourt"))
        .args(["render", "envoy", "--format", "json"])
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .arg("--trusted-ca")
        .arg(&roots)
        .arg("--module")
        .arg(module)
        .arg(&file)
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Puts the service on this machine: nothing else of its cluster changes.
fn move_here(bootstrap: &mut Value, service: &str, address: SocketAddr) {
    let clusters = bootstrap["static_resources"]["clusters"].as_array_mut();
    let cluster = clusters
        .unwrap()
        .iter_mut()
        .find(|cluster| cluster["name"] == service);
    let cluster = cluster.unwrap();
    cluster["type"] = json!("STATIC");
    let place = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";
    let place = cluster.pointer_mut(place).unwrap();
    assert_eq!(place["address"], host(service));
    assert_eq!(place["port_value"], 443);
    *place = json!({ "address": address.ip().to_string(), "port_value": address.port() });
}

#[tokio::test]
async fn cloud_run_is_called_by_its_name_and_nobody_else_in_its_place() {
    let (authority, stranger) = (Authority::new("Roots"), Authority::new("Strangers"));
    let servers = [
        ("orders", authority.certify(&host("orders"), false)),
        ("shop", authority.certify(&host("shop"), false)),
        ("other-name", authority.certify(&host("orders"), false)),
        (
            "other-authority",
            stranger.certify(&host("other-authority"), false),
        ),
        ("expired", authority.certify(&host("expired"), true)),
    ];
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<_> = servers.iter().map(|(name, _)| *name).collect();
    let mut bootstrap = rendered(&names, &authority.pem, folder.path());
    let mut front_ends = BTreeMap::new();
    for (name, config) in servers {
        let front_end = FrontEnd::start(config).await;
        move_here(&mut bootstrap, name, front_end.address);
        front_ends.insert(name, front_end);
    }
    let binary = find(None, &mut |note| eprintln!("{note}")).unwrap();
    let envoy = Envoy::start_with(&binary, &bootstrap, &Options::default())
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    for name in ["orders", "shop"] {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let mut request = Request::new("GET", &format!("/{name}")).over(protocol);
            request.authority = Some("www.shop.example".into());
            let answer = client::send(envoy.listener(), &request).await.unwrap();
            assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        }
        let expected = Seen {
            server_name: host(name),
            protocol: "h2".into(),
            authority: host(name),
            forwarded_host: "www.shop.example".into(),
        };
        assert_eq!(front_ends[name].seen(), vec![expected; 2]);
    }
    for (name, alert) in [
        ("other-name", "CertificateUnknown"),
        ("other-authority", "UnknownCA"),
        ("expired", "CertificateExpired"),
    ] {
        let answer = client::get(envoy.listener(), &format!("/{name}"))
            .await
            .unwrap();
        assert_eq!(answer.status, 503, "{name}");
        let front_end = &front_ends[name];
        assert_eq!(front_end.seen(), [], "{name}");
        let alerts = front_end.alerts.lock().unwrap().clone();
        assert!(
            !alerts.is_empty() && alerts.iter().all(|told| told.contains(alert)),
            "{alerts:?}"
        );
    }
}
