//! `forecourt render`: configuration for the proxies that run the module.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::envoy::{Bootstrap, Cache, Filter, NamedUpstream, backends, extended};
use super::istio::{Kind, Manifest, Place};
use super::output::{Failure, exit, say};
use super::policy_file::PolicyFile;
use super::run::{listen_address, load_policy};

/// Print the configuration that runs a policy: for Envoy, or for Istio
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    target: Target,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Target {
    Envoy(EnvoyArgs),
    Istio(IstioArgs),
}

/// Print a whole Envoy bootstrap: listener, filter, service, admin interface
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = ENVOY_EXAMPLES)]
struct EnvoyArgs {
    /// The policy, YAML or JSON; `-` for standard input
    file: PathBuf,
    /// The service: http://HOST:PORT, https://HOST, or h2c://HOST:PORT for HTTP/2 without TLS
    ///
    /// May be left out where the policy has `services` with a `url`. NAME=URL, repeated, puts one of
    /// them elsewhere; a URL alone all that are not named.
    #[arg(long, value_name = "[NAME=]URL")]
    upstream: Vec<NamedUpstream>,
    /// Where clients connect; a port alone is on loopback
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10000", value_parser = listen_address)]
    listen: SocketAddr,
    /// Where Envoy's admin interface is; it can stop Envoy, so keep it on loopback
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9901", value_parser = listen_address)]
    admin: SocketAddr,
    /// Where Envoy finds the module
    #[arg(long, value_name = "FILE", default_value = "/etc/envoy/forecourt.wasm")]
    module: PathBuf,
    /// Keep answers in Envoy's own cache as the policy's hints allow
    #[arg(long, value_enum)]
    cache: Option<Cache>,
    /// The authorities an https service may be certified by, PEM; this system's own if not given
    #[arg(long, value_name = "FILE")]
    trusted_ca: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Form,
}

const ENVOY_EXAMPLES: &str = "\
Examples:
  forecourt render envoy shop.yaml --upstream http://127.0.0.1:8080 --listen 0.0.0.0:80
  forecourt render envoy shop.yaml --upstream http://127.0.0.1:8080 --module ./forecourt.wasm
  forecourt render envoy shop.yaml --upstream https://shop-abc123-ew.a.run.app > envoy.yaml
  forecourt render envoy services.yaml --upstream orders=http://127.0.0.1:8081 > envoy.yaml";

/// Print manifests for Istio
///
/// The module with its policy, and for each server outside the mesh that the policy names a ServiceEntry
/// and, where it speaks TLS, a DestinationRule. The clusters in the policy get the mesh's names,
/// `outbound|PORT||HOST`, unless they have that form already.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = ISTIO_EXAMPLES)]
struct IstioArgs {
    /// The policy, YAML or JSON; `-` for standard input
    file: PathBuf,
    /// Where proxies fetch the module: oci://, https://, http:// or file://
    #[arg(long, value_name = "URL", value_parser = module_url)]
    url: String,
    /// The module's SHA-256
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    sha256: Option<String>,
    /// The kind of manifest
    #[arg(long, value_enum, default_value_t)]
    kind: Kind,
    /// The manifest's name
    #[arg(long, default_value = "forecourt")]
    name: String,
    /// The manifest's namespace
    #[arg(long, default_value = "default")]
    namespace: String,
    /// Which proxies get the module
    #[arg(long, value_enum, default_value_t)]
    place: Place,
    /// Attach to this Kubernetes Gateway
    #[arg(long, value_name = "NAME", conflicts_with = "labels")]
    gateway: Option<String>,
    /// Select pods by a label; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Accept that the service sees the head of a request whose body is then refused
    #[arg(long)]
    stream_bodies: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Form,
}

const ISTIO_EXAMPLES: &str = "\
Examples:
  forecourt render istio shop.yaml --url oci://REGISTRY/forecourt:0.1.0 --gateway public
  forecourt render istio shop.yaml --url https://HOST/forecourt.wasm --sha256 HEX \\
      --namespace shop --place sidecar --label app=orders
  forecourt render istio shop.yaml --url oci://REGISTRY/forecourt:0.1.0 \\
      --kind wasmplugin --stream-bodies

Which kind to take, and what the simpler ones cannot promise: istio/README.md in the sources.";

/// How configuration is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// To read and keep
    #[default]
    Yaml,
    /// For machines
    Json,
}

impl Args {
    /// Runs the command.
    pub fn run(&self) -> ExitCode {
        let (file, format) = match &self.target {
            Target::Envoy(args) => (&args.file, args.format),
            Target::Istio(args) => (&args.file, args.format),
        };
        exit(
            load_policy(file)
                .and_then(|policy| say(&print(&self.target.render(&policy)?, format)?)),
        )
    }
}

impl Target {
    fn render(&self, policy: &PolicyFile) -> Result<Vec<Value>, Failure> {
        match self {
            Self::Envoy(args) => Ok(vec![args.bootstrap(policy)?.to_value()]),
            Self::Istio(args) => args.manifests(policy),
        }
    }
}

fn print(values: &[Value], format: Form) -> Result<String, Failure> {
    match (format, values) {
        (Form::Json, [value]) => Ok(format!("{value:#}\n")),
        (Form::Json, values) => {
            let list = json!({ "apiVersion": "v1", "kind": "List", "items": values });
            Ok(format!("{list:#}\n"))
        }
        (Form::Yaml, values) => {
            let documents: Result<Vec<_>, _> = values.iter().map(super::print::yaml).collect();
            let documents = documents.map_err(Failure::no)?.join("---\n");
            Ok(format!(
                "# Made by `forecourt render`; change the policy and render again.\n{documents}"
            ))
        }
    }
}

impl EnvoyArgs {
    fn bootstrap(&self, policy: &PolicyFile) -> Result<Bootstrap, Failure> {
        let filter = Filter {
            module: self.module.clone(),
            policy: super::print::json(policy.json()),
        };
        let compiled = policy.policy();
        let backends = backends(&compiled, &self.upstream).map_err(Failure::usage)?;
        let mut bootstrap = Bootstrap::before(backends, Some(filter));
        bootstrap.listen = self.listen;
        bootstrap.admin = self.admin;
        bootstrap.trusted_ca = self.trusted_ca.clone();
        bootstrap.cache = self.cache;
        bootstrap.fit(&compiled);
        Ok(bootstrap)
    }
}

impl IstioArgs {
    fn manifests(&self, policy: &PolicyFile) -> Result<Vec<Value>, Failure> {
        let manifest = Manifest {
            kind: self.kind,
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            url: self.url.clone(),
            sha256: self.sha256.clone(),
            place: self.place,
            gateway: self.gateway.clone(),
            labels: self.labels.iter().cloned().collect(),
            largest_body: policy.policy().largest_body(),
        };
        let document = match self.stream_bodies {
            true => extended(policy.json().clone(), json!({ "bodyChecks": "stream" })),
            false => policy.json().clone(),
        };
        let compiled = policy.policy();
        manifest
            .render_all(document, &compiled)
            .map_err(Failure::no)
    }
}

fn module_url(text: &str) -> Result<String, String> {
    let schemes = ["oci://", "https://", "http://", "file://"];
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
    match rest {
        Some(rest) if !rest.is_empty() => Ok(text.to_owned()),
        _ => Err("must begin with oci://, https://, http:// or file://".to_owned()),
    }
}

fn sha256(text: &str) -> Result<String, String> {
    let text = text.to_ascii_lowercase();
    let good = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    good.then_some(text)
        .ok_or_else(|| "must be 64 hexadecimal digits".to_owned())
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_before_they_reach_a_manifest() {
        for good in ["oci://r/x:1", "https://h/x.wasm", "file:///x.wasm"] {
            assert_eq!(module_url(good), Ok(good.to_owned()));
        }
        for bad in ["", "oci://", "r/x:1", "ftp://h/x"] {
            assert!(module_url(bad).is_err(), "{bad}");
        }
        assert_eq!(sha256(&"AB".repeat(32)), Ok("ab".repeat(32)));
        assert!(sha256("ab").is_err());
        assert!(sha256(&"zz".repeat(32)).is_err());
        assert_eq!(label("app=shop"), Ok(("app".to_owned(), "shop".to_owned())));
        assert!(label("app").is_err());
    }
}
