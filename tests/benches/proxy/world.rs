//! All that the chains run on: keys, tokens, a service, one Envoy for each chain.

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
use crate::load::Traffic;

pub const ISSUER: &str = "https://issuer.example";

/// More tokens than the module remembers, which are 1,024 by default.
const COLD: usize = 4_000;
const WARM: usize = 16;

/// The lifetime of tokens, in seconds.
const LIFE: u64 = 12 * 3600;

/// What all chains share.
pub struct World {
    binary: EnvoyBinary,
    module: PathBuf,
    service: SocketAddr,
    jwks: Value,
    rs256: Arc<[String]>,
    es256: Arc<[String]>,
    forged: Arc<[String]>,
    sockets: TempDir,
}

impl World {
    pub fn start() -> Self {
        let mut progress = |note: &str| eprintln!("{note}");
        let binary = find(None, &mut progress).unwrap_or_else(|error| panic!("{error}"));
        let module = module(None, &mut progress).unwrap_or_else(|error| panic!("{error}"));
        let size = std::fs::metadata(&module).unwrap().len();
        eprintln!("module of {size} bytes, {}", binary.found);
        let [rs256, es256, forger] = [Algorithm::Rs256, Algorithm::Es256, Algorithm::Rs256]
            .map(|algorithm| SigningKey::generate(algorithm).unwrap());
        Self {
            binary,
            module,
            service: service(),
            jwks: json!({ "keys": [rs256.public_jwk("rs256"), es256.public_jwk("es256")] }),
            rs256: tokens(&rs256, "rs256", COLD),
            es256: tokens(&es256, "es256", COLD),
            forged: tokens(&forger, "rs256", WARM),
            sockets: TempDir::new().unwrap(),
        }
    }

    pub async fn start_chain(&self, chain: &Chain) -> Running {
        let processor = match chain.filters {
            Filters::Native {
                then: Then::ExternalProcessor,
                ..
            } => Some(Processor::start(
                &self.sockets.path().join(chain.name.replace('-', "_")),
            )),
            _ => None,
        };
        let socket = processor.as_ref().map(|processor| &*processor.socket);
        let configuration = self.configuration(chain, socket);
        let envoy = Envoy::start_with(&self.binary, &configuration, &Options::default())
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", chain.name));
        Running {
            envoy,
            processor,
            traffic: self.traffic(chain),
            ours: matches!(chain.filters, Filters::Ours(_)),
            sent: chain.sent,
        }
    }

    fn configuration(&self, chain: &Chain, socket: Option<&Path>) -> Value {
        let upstream = format!("http://{}", self.service).parse().unwrap();
        let filter = match chain.filters {
            Filters::Ours(policy) => Some(Filter {
                module: self.module.clone(),
                policy: policy.document(&self.jwks).to_string(),
            }),
            _ => None,
        };
        let mut bootstrap = Bootstrap::new(upstream, filter);
        bootstrap.largest_body = 128 * 1024;
        let mut configuration = bootstrap.to_value();
        let manager = configuration
            .pointer_mut("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config")
            .unwrap();
        // It would cost every chain the same, and hide how they differ.
        manager.as_object_mut().unwrap().remove("access_log");
        if let Filters::Native { cached, then } = chain.filters {
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

    fn traffic(&self, chain: &Chain) -> Traffic {
        let (method, path, tokens, body) = match chain.sent {
            Sent::Get(routes) => {
                let path = chains::route_path(routes - 1).replace("{id}", "42");
                ("GET", path, None, Bytes::new())
            }
            Sent::Token(tokens) => ("GET", "/me".to_owned(), Some(tokens), Bytes::new()),
            Sent::Order(bytes) => {
                let body = chains::order(bytes).into();
                ("POST", "/orders".to_owned(), Some(Tokens::Warm), body)
            }
            Sent::BadOrder => {
                let body = chains::bad_order().into();
                ("POST", "/orders".to_owned(), Some(Tokens::Warm), body)
            }
            Sent::Small(routes) => {
                let index = routes / 2;
                let body = chains::small(index).to_string().into();
                ("POST", format!("/small/{index}"), None, body)
            }
        };
        let tokens: Arc<[String]> = match tokens {
            None => Arc::from([]),
            Some(Tokens::ColdRs256) => Arc::clone(&self.rs256),
            Some(Tokens::ColdEs256) => Arc::clone(&self.es256),
            Some(Tokens::Warm) => self.rs256.iter().take(WARM).cloned().collect(),
            Some(Tokens::Forged) => Arc::clone(&self.forged),
        };
        Traffic {
            method,
            path,
            tokens,
            next: Arc::default(),
            body,
            status: chain.status,
        }
    }
}

fn tokens(key: &SigningKey, kid: &str, count: usize) -> Arc<[String]> {
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

/// The service behind: a kilobyte of JSON at once.
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
                        let _ = request.into_body().collect().await;
                        let answer = Response::builder().header("content-type", "application/json");
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

/// A chain that serves.
pub struct Running {
    envoy: Envoy,
    processor: Option<Processor>,
    pub traffic: Traffic,
    ours: bool,
    sent: Sent,
}

impl Running {
    pub fn listener(&self) -> SocketAddr {
        self.envoy.listener()
    }

    /// CPU time of everything that the chain needs.
    pub fn cpu(&self) -> Duration {
        let processor = self.processor.as_ref();
        cpu(self.envoy.pid()) + processor.map_or(Duration::ZERO, |one| cpu(one.child.id()))
    }

    /// That the chain did what its name says.
    pub async fn check(&self) {
        if !self.ours {
            return;
        }
        let stats = self.envoy.stats().await.unwrap();
        let count = |name: &str| stats.get(&format!("wasmcustom.forecourt.{name}")).copied();
        let hits = count("token_cache.hit").unwrap_or_default();
        match self.sent {
            Sent::Token(Tokens::ColdRs256 | Tokens::ColdEs256 | Tokens::Forged) => {
                assert_eq!(hits, 0, "tokens were to be new to the cache");
            }
            Sent::Token(Tokens::Warm) | Sent::Order(_) => assert!(hits > 0, "tokens were cached"),
            _ => (),
        }
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
