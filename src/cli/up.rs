//! `forecourt up`: a real Envoy with this policy in front of any service.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::envoy::{
    Backend, Bootstrap, Cache, Envoy, Filter, NamedUpstream, Options, Upstream, backends,
};
use super::output::{Failure, Paint, exit, note, say};
use super::policy_file::PolicyFile;
use super::run::{Parts, asked_to_end, block_on, listen_address, load_policy};

/// Run Envoy with a policy in front of a service
///
/// Finds Envoy (fetching it if there is none), loads the module with the policy, says where it listens
/// once it is ready, and prints a line for each request: method, path, status, decision. Ctrl-C or
/// SIGTERM ends all that it started.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The policy, YAML or JSON
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The service: http://HOST:PORT, https://HOST, or h2c://HOST:PORT for HTTP/2 without TLS
    ///
    /// May be left out where the policy has `services` with a `url`. NAME=URL, repeated, puts one of
    /// them elsewhere; a URL alone all that are not named.
    #[arg(long, value_name = "[NAME=]URL")]
    upstream: Vec<NamedUpstream>,
    /// Where clients connect; a port alone is on loopback, port 0 is any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10000", value_parser = listen_address)]
    listen: SocketAddr,
    /// Where Envoy's admin interface is; it can stop Envoy, so keep it on loopback
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0", value_parser = listen_address)]
    admin: SocketAddr,
    #[command(flatten)]
    parts: Parts,
    /// How much Envoy and the module log: trace, debug, info, warning, error, critical or off
    #[arg(long, value_name = "LEVEL", default_value = "warning", value_parser = LOG_LEVELS)]
    log_level: String,
    /// Envoy's worker threads; one for each core if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Option<u32>,
    /// The authorities an https service may be certified by, PEM; the system's own if not given
    #[arg(long, value_name = "FILE")]
    trusted_ca: Option<PathBuf>,
    /// Keep answers in Envoy's own cache as the policy's hints allow
    #[arg(long, value_enum)]
    cache: Option<Cache>,
    /// Start even if nothing answers at the upstream yet
    #[arg(long)]
    no_upstream_check: bool,
}

const LOG_LEVELS: [&str; 7] = [
    "trace", "debug", "info", "warning", "error", "critical", "off",
];

const EXAMPLES: &str = "\
Examples:
  forecourt up --policy shop.yaml --upstream http://127.0.0.1:8080
  forecourt up --policy shop.yaml --upstream https://shop-abc123-ew.a.run.app --listen 9000
  forecourt up --policy shop.yaml --upstream http://127.0.0.1:8080 --envoy 1.37.0 --log-level debug";

/// How long the upstream may take to answer the knock.
const KNOCK: Duration = Duration::from_secs(5);

impl Args {
    /// Runs the command.
    pub fn run(&self) -> ExitCode {
        exit(load_policy(&self.policy).and_then(|policy| block_on(self.serve(&policy))))
    }

    async fn serve(&self, policy: &PolicyFile) -> Result<(), Failure> {
        let backends = backends(&policy.policy(), &self.upstream).map_err(Failure::usage)?;
        if !self.no_upstream_check {
            for backend in &backends {
                knock(&backend.upstream).await?;
            }
        }
        let envoy_binary = self.parts.envoy()?;
        let configuration = self.bootstrap(policy, backends.clone())?.to_value();
        let options = Options {
            log_level: self.log_level.clone(),
            workers: self.workers,
        };
        // From before the start, so that an impatient Ctrl-C leaves no Envoy behind.
        let end = asked_to_end();
        tokio::pin!(end);
        note("Starting Envoy, which compiles the module (some seconds)");
        let start = Envoy::start_with(&envoy_binary, &configuration, &options);
        let envoy = tokio::select! {
            envoy = start => envoy.map_err(Failure::no)?,
            ended = &mut end => return Ok(ended?),
        };
        say(&self.banner(&envoy, &backends, &envoy_binary.found))?;
        tokio::select! {
            ended = &mut end => ended?,
            status = envoy.ended() => return Err(Failure::no(format!("Envoy ended by itself ({status})"))),
            told = tell_requests(&envoy) => told?,
            () = tell_log(&envoy) => (),
        }
        envoy.stop().await;
        Ok(())
    }

    fn bootstrap(&self, policy: &PolicyFile, backends: Vec<Backend>) -> Result<Bootstrap, Failure> {
        let filter = Filter {
            module: self.parts.module()?,
            policy: policy.json().to_string(),
        };
        let mut bootstrap = Bootstrap::before(backends, Some(filter));
        bootstrap.listen = self.listen;
        bootstrap.admin = self.admin;
        bootstrap.trusted_ca = self.trusted_ca.clone();
        bootstrap.cache = self.cache;
        bootstrap.fit(&policy.policy());
        Ok(bootstrap)
    }

    fn banner(&self, envoy: &Envoy, backends: &[Backend], found: &str) -> String {
        let paint = Paint::for_stdout();
        let listening = paint.bold(&format!("http://{}", envoy.listener()));
        let mut banner = format!("Forecourt is up.\n\n  listens   {listening}\n");
        for Backend { name, upstream, .. } in backends {
            let name = name
                .as_ref()
                .map_or_else(String::new, |name| format!(" ({name})"));
            banner += &format!("  {:<9} {upstream}{name}\n", "service");
        }
        for (name, value) in [
            ("policy", self.policy.display().to_string()),
            ("envoy", found.to_owned()),
            ("admin", format!("http://{}", envoy.admin())),
        ] {
            banner += &format!("  {name:<9} {value}\n");
        }
        banner + "\nCtrl-C ends it. Requests:\n"
    }
}

/// Whether anybody is at the service's door.
async fn knock(upstream: &Upstream) -> Result<(), Failure> {
    let nobody = |reason: String| {
        Failure::no(format!(
            "nothing answers at {upstream} ({reason}); start the service first, or add --no-upstream-check"
        ))
    };
    match timeout(KNOCK, TcpStream::connect(upstream.host_and_port())).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(nobody(error.to_string())),
        Err(_) => Err(nobody(format!("no answer in {} seconds", KNOCK.as_secs()))),
    }
}

/// Prints a line for each request, until Envoy ends.
async fn tell_requests(envoy: &Envoy) -> Result<(), Failure> {
    let paint = Paint::for_stdout();
    let mut seen = 0;
    while let Some((lines, total)) = envoy.access_log().after(seen).await {
        seen = total;
        for line in lines {
            say(&request_line(&line, paint))?;
        }
    }
    std::future::pending().await
}

/// Passes on what Envoy and the module log, until Envoy ends.
async fn tell_log(envoy: &Envoy) {
    let mut seen = 0;
    while let Some((lines, total)) = envoy.log().after(seen).await {
        seen = total;
        lines.iter().for_each(|line| note(line));
    }
    std::future::pending().await
}

/// One line of the access log, for a person.
fn request_line(line: &str, paint: Paint) -> String {
    let entry: Value = match serde_json::from_str(line) {
        Ok(entry) => entry,
        Err(_) => return format!("{line}\n"),
    };
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or("-");
    let status = entry.get("status").and_then(Value::as_u64).unwrap_or(0);
    let shown = match status {
        200..=399 => paint.green(&status.to_string()),
        _ => paint.red(&status.to_string()),
    };
    // Without a decision the service answered, or else Envoy itself, which says why.
    let decision = match (text("decision"), text("details")) {
        ("-", "via_upstream") => "answered by the service",
        ("-", details) => details,
        (decision, _) => decision,
    };
    format!(
        "  {:<6} {:<32} {shown}  {decision}\n",
        printable(text("method")),
        printable(text("path")),
    )
}

/// What a client sent, without the characters that a terminal would act on.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line() {
        let line = r#"{"method":"GET","path":"/orders","status":401,"decision":"token_missing"}"#;
        let shown = request_line(line, Paint::plain());
        assert_eq!(
            shown,
            format!("  GET    {:<32} 401  token_missing\n", "/orders")
        );
        let line = r#"{"method":"GET","path":"/","status":503,"decision":null,"details":"upstream_reset"}"#;
        assert!(request_line(line, Paint::plain()).ends_with("503  upstream_reset\n"));
        let line =
            r#"{"method":"GET","path":"/\u001b[2J\u009b","status":200,"decision":"forward"}"#;
        assert!(
            !request_line(line, Paint::plain())
                .trim_end()
                .contains(char::is_control)
        );
        assert_eq!(request_line("not JSON", Paint::plain()), "not JSON\n");
    }
}
