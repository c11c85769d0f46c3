//! All that the chains run on: keys, tokens, a service, and Envoys.

use std::cell::OnceCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forecourt::cli::envoy::{Bootstrap, Envoy, EnvoyBinary, Filter, Options, find};
use forecourt::cli::module::module;
use forecourt::token::algorithm::Algorithm;
use forecourt::token::mint::{SigningKey, mint};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::chains::{self, Chain, Filters, Sent, Then, Tokens};
use crate::idle;
use crate::load::Traffic;
use crate::orders;

pub const ISSUER: &str = "https://issuer.example";

/// More tokens than the module remembers, which are 1,000.
const COLD: usize = 2_500;
/// The file of the module that does nothing.
const IDLE: &str = "idle.wasm";
/// The answer's field in which the service says who asked.
pub const SEEN: &str = "x-seen-user";
const WARM: usize = 16;

/// The lifetime of tokens, in seconds.
const LIFE: u64 = 12 * 3600;

/// What all chains share.
pub struct World {
    binary: EnvoyBinary,
    module: PathBuf,
    service: SocketAddr,
    jwks: Value,
    signers: [SigningKey; 3],
    /// Signed when a chain needs them: that takes long.
    cold: [OnceCell<Arc<[String]>>; 2],
    files: TempDir,
}

impl World {
    /// With that module, or the one that the source tree builds.
    pub fn start(named: Option<&Path>) -> Self {
        let mut progress = |note: &str| eprintln!("{note}");
        let binary = find(None, &mut progress).unwrap_or_else(|error| panic!("{error}"));
        let module = module(named, &mut progress).unwrap_or_else(|error| panic!("{error}"));
        let files = TempDir::new().unwrap();
        std::fs::write(files.path().join(IDLE), idle::module()).unwrap();
        let [rs256, es256, forger] = [Algorithm::Rs256, Algorithm::Es256, Algorithm::Rs256]
            .map(|algorithm| SigningKey::generate(algorithm).unwrap());
        Self {
            binary,
            module,
            service: service(),
            jwks: json!({ "keys": [rs256.public_jwk("rs256"), es256.public_jwk("es256")] }),
            signers: [rs256, es256, forger],
            cold: Default::default(),
            files,
        }
    }

    /// What is measured, in words.
    pub fn about(&self) -> String {
        let size = std::fs::metadata(&self.module).unwrap().len();
        format!(
            "Forecourt {} (a module of {:.2} MB) in {}",
            env!("CARGO_PKG_VERSION"),
            size as f64 / 1e6,
            self.binary.found,
        )
    }

    /// An Envoy with these filters, and what they need beside it.
    pub async fn start_server(&self, filters: Filters) -> Server {
        let processor = match filters {
            Filters::Native {
                then: Then::ExternalProcessor,
                ..
            } => Some(Processor::start(&self.files.path().join("processor"))),
            _ => None,
        };
        let socket = processor.as_ref().map(|processor| &*processor.socket);
        let configuration = self.configuration(filters, socket);
        let envoy = Envoy::start_with(&self.binary, &configuration, &Options::default())
            .await
            .unwrap_or_else(|error| panic!("{filters:?}: {error}"));
        Server { envoy, processor }
    }

    fn configuration(&self, filters: Filters, socket: Option<&Path>) -> Value {
        let upstream = format!("http://{}", self.service).parse().unwrap();
        let filter = match filters {
            Filters::Ours(policy) => Some(Filter {
                module: self.module.clone(),
                policy: policy.document(&self.jwks).to_string(),
            }),
            Filters::Idle => Some(Filter {
                module: self.files.path().join(IDLE),
                policy: String::new(),
            }),
            Filters::None | Filters::Native { .. } => None,
        };
        let mut bootstrap = Bootstrap::new(upstream, filter);
        bootstrap.largest_body = 128 * 1024;
        let mut configuration = bootstrap.to_value();
        let manager = configuration
            .pointer_mut("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config")
            .unwrap();
        // It would cost every chain the same, and hide how they differ.
        manager.as_object_mut().unwrap().remove("access_log");
        if let Filters::Native { cached, then } = filters {
            let filters = manager["http_filters"].as_array_mut().unwrap();
            let before = filters.len() - 1;
            filters.splice(before..before, self.native(cached, then));
        }
        if let Some(socket) = socket {
            let clusters = configuration["static_resources"]["clusters"].as_array_mut();
            clusters.unwrap().push(processor_cluster(socket));
        }
        configuration
    }

    fn native(&self, cached: bool, then: Then) -> Vec<Value> {
        let mut provider = json!({
            "issuer": ISSUER,
            "audiences": ["shop"],
            "require_expiration": true,
            "local_jwks": { "inline_string": self.jwks.to_string() },
            "forward": true,
            "claim_to_headers": [{ "header_name": "x-user-id", "claim_name": "sub" }],
        });
        if cached {
            provider["jwt_cache_config"] = json!({ "jwt_cache_size": 1_024 });
        }
        let tokens = json!({
            "name": "envoy.filters.http.jwt_authn",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
                "providers": { "shop": provider },
                "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "shop" } }],
            },
        });
        let next = match then {
            Then::Nothing => None,
            Then::ExternalProcessor => Some(json!({
                "name": "envoy.filters.http.ext_proc",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
                    "grpc_service": { "envoy_grpc": { "cluster_name": "processor" } },
                    "message_timeout": "5s",
                    "processing_mode": {
                        "request_header_mode": "SEND",
                        "request_body_mode": "BUFFERED",
                        "response_header_mode": "SEND",
                    },
                },
            })),
            Then::Lua => Some(json!({
                "name": "envoy.filters.http.lua",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                    "default_source_code": { "inline_string": include_str!("check.lua") },
                },
            })),
        };
        std::iter::once(tokens).chain(next).collect()
    }

    /// What a chain is sent.
    pub fn traffic(&self, chain: &Chain) -> Traffic {
        let (method, path, tokens, body) = match chain.sent {
            Sent::Get(routes) => {
                let path = chains::route_path(routes - 1).replace("{id}", "42");
                ("GET", path, None, Bytes::new())
            }
            Sent::Token(tokens) => ("GET", "/me".to_owned(), Some(tokens), Bytes::new()),
            Sent::Order(bytes) => {
                let body = orders::of_size(bytes).into();
                ("POST", "/orders".to_owned(), Some(Tokens::Warm), body)
            }
            Sent::BadOrder => {
                let body = orders::bad().into();
                ("POST", "/orders".to_owned(), Some(Tokens::Warm), body)
            }
            Sent::Small(routes) => {
                let index = routes / 2;
                let body = chains::small(index).to_string().into();
                ("POST", format!("/small/{index}"), None, body)
            }
        };
        let [rs256, es256, forger] = &self.signers;
        let [cold_rs256, cold_es256] = &self.cold;
        let cold = |held: &OnceCell<Arc<[String]>>, key, kid| {
            Arc::clone(held.get_or_init(|| signed(key, kid, COLD)))
        };
        let tokens = match tokens {
            None => Arc::from([]),
            Some(Tokens::ColdRs256) => cold(cold_rs256, rs256, "rs256"),
            Some(Tokens::ColdEs256) => cold(cold_es256, es256, "es256"),
            Some(Tokens::Warm) => signed(rs256, "rs256", WARM),
            Some(Tokens::Forged) => signed(forger, "rs256", WARM),
        };
        Traffic {
            method,
            path,
            tokens,
            next: Arc::default(),
            body,
            status: chain.status(),
            http2: chain.http2,
        }
    }
}

fn signed(key: &SigningKey, kid: &str, count: usize) -> Arc<[String]> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    (0..count)
        .map(|index| {
            let claims = json!({
                "iss": ISSUER,
                "aud": "shop",
                "sub": format!("user-{index}"),
                "email": format!("user-{index}@example.com"),
                "email_verified": true,
                "scope": "orders.read orders.write",
                "iat": now,
                "exp": now + LIFE,
            });
            mint(key, kid, &Map::new(), &claims)
        })
        .collect()
}

/// The service behind: a kilobyte of JSON at once, and who it was told is asking.
fn service() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let body = Bytes::from(format!("{{\"data\":\"{}\"}}", "x".repeat(1_000)));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let body = body.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let body = body.clone();
                    async move {
                        let mut answer =
                            Response::builder().header("content-type", "application/json");
                        if let Some(user) = request.headers().get("x-user-id") {
                            answer = answer.header(SEEN, user);
                        }
                        let _ = request.into_body().collect().await;
                        Ok::<_, Infallible>(answer.body(Full::new(body)).unwrap())
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
    });
    address
}

fn processor_cluster(socket: &Path) -> Value {
    json!({
        "name": "processor",
        "type": "STATIC",
        "connect_timeout": "5s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} },
            },
        },
        "load_assignment": {
            "cluster_name": "processor",
            "endpoints": [{ "lb_endpoints": [{ "endpoint": {
                "address": { "pipe": { "path": socket } },
            }}]}],
        },
    })
}

/// An Envoy that serves.
pub struct Server {
    envoy: Envoy,
    processor: Option<Processor>,
}

impl Server {
    pub fn listener(&self) -> SocketAddr {
        self.envoy.listener()
    }

    /// CPU time of everything that its chains need.
    pub fn cpu(&self) -> Duration {
        let processor = self.processor.as_ref();
        cpu(self.envoy.pid()) + processor.map_or(Duration::ZERO, |one| cpu(one.child.id()))
    }

    /// How many tokens this module had met before.
    pub async fn tokens_met(&self) -> u64 {
        let stats = self.envoy.stats().await.unwrap();
        let name = "wasmcustom.forecourt.token_cache.hit";
        stats.get(name).copied().unwrap_or_default()
    }
}

/// The CPU time of a process's threads, to the nanosecond.
fn cpu(pid: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("Linux");
    let nanos = threads
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum();
    Duration::from_nanos(nanos)
}

struct Processor {
    child: Child,
    socket: PathBuf,
}

impl Processor {
    fn start(socket: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .arg("--processor")
            .arg(socket)
            .spawn()
            .unwrap();
        while !socket.exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Self {
            child,
            socket: socket.to_owned(),
        }
    }
}

impl Drop for Processor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
