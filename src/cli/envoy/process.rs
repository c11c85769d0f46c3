//! A running Envoy: started, waited for, asked, and ended with whoever started it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use super::bootstrap::{Bootstrap, LISTENER};
use super::find::EnvoyBinary;
use super::log::Lines;
use crate::cli::client::{self, ClientError};

/// How long Envoy may take until it is ready. Compiling the module is most of it.
const START: Duration = Duration::from_secs(120);

/// How often a state that cannot be waited for is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How long Envoy may take to end when asked to.
const STOP: Duration = Duration::from_secs(5);

/// How an Envoy is run, beside its configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// `trace`, `debug`, `info`, `warning`, `error`, `critical` or `off`.
    pub log_level: String,
    /// Worker threads; one for each core if `None`.
    pub workers: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            log_level: "warning".to_owned(),
            workers: Some(1),
        }
    }
}

/// A running Envoy; dropping it ends it.
#[derive(Debug)]
pub struct Envoy {
    child: Mutex<Child>,
    listener: SocketAddr,
    admin: SocketAddr,
    log: Lines,
    access_log: Lines,
    /// Holds the configuration for as long as Envoy may read it.
    _folder: TempDir,
}

/// Why Envoy did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The executable does not run.
    #[error("{path} does not run: {source}")]
    Spawn {
        /// The executable.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Somebody else listens there.
    #[error(
        "{0} is in use already; choose another address with --listen or --admin, or end what listens there"
    )]
    AddressInUse(String),
    /// This user may not listen there.
    #[error(
        "this user may not listen on {0}; ports below 1024 are reserved, choose another with --listen or --admin"
    )]
    AddressDenied(String),
    /// The machine has no such address.
    #[error("{0} is not an address of this machine")]
    AddressUnknown(String),
    /// The module refused its policy.
    #[error("the module refused the policy:\n{}", indent(.0))]
    PolicyRefused(Vec<String>),
    /// This Envoy was built without a Wasm runtime.
    #[error(
        "this Envoy was built without V8 and cannot load the module; take another version with --envoy VERSION"
    )]
    NoWasm,
    /// Envoy ended and its log says why.
    #[error("Envoy did not start ({status}):\n{}", indent(.log))]
    Exited {
        /// How it ended.
        status: ExitStatus,
        /// The last that it said.
        log: Vec<String>,
    },
    /// Envoy runs, but was not ready in time.
    #[error("Envoy was not ready within {} seconds:\n{}", START.as_secs(), indent(.0))]
    NotReady(Vec<String>),
    /// Its configuration could not be written, or its admin interface not be read.
    #[error("{0}")]
    Io(#[from] io::Error),
}

fn indent(lines: &[String]) -> String {
    let lines: Vec<_> = lines.iter().map(|line| format!("  {line}")).collect();
    lines.join("\n")
}

impl Envoy {
    /// Starts Envoy quietly with one worker and waits until it serves.
    pub async fn start(binary: &EnvoyBinary, bootstrap: &Bootstrap) -> Result<Self, StartError> {
        Self::start_with(binary, &bootstrap.to_value(), &Options::default()).await
    }

    /// Starts Envoy with any configuration and waits until it serves. The address of
    /// [`Envoy::listener`] is that of the listener named `forecourt`, or of the first one.
    pub async fn start_with(
        binary: &EnvoyBinary,
        configuration: &Value,
        options: &Options,
    ) -> Result<Self, StartError> {
        let folder = tempfile::Builder::new().prefix("forecourt-").tempdir()?;
        let file = folder.path().join("envoy.json");
        fs::write(&file, configuration.to_string())?;
        let admin_file = folder.path().join("admin");

        let mut child = spawn(command(binary, &file, &admin_file, options))
            .await
            .map_err(|source| StartError::Spawn {
                path: binary.path.clone(),
                source,
            })?;
        let unread = || io::Error::other("an output of Envoy is missing");
        let log = Lines::follow(child.stderr.take().ok_or_else(unread)?);
        let access_log = Lines::follow(child.stdout.take().ok_or_else(unread)?);

        // Owned from here on, so that every way out ends it.
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut envoy = Self {
            child: Mutex::new(child),
            listener: nowhere,
            admin: nowhere,
            log,
            access_log,
            _folder: folder,
        };
        envoy.wait_until_ready(&admin_file).await?;
        Ok(envoy)
    }

    /// Where clients connect.
    pub fn listener(&self) -> SocketAddr {
        self.listener
    }

    /// Where clients connect to the listener of that name.
    pub async fn listener_named(&self, name: &str) -> Option<SocketAddr> {
        address_of(&listeners(self.admin).await?, |held| held == name)
    }

    /// The port clients connect to.
    pub fn listener_port(&self) -> u16 {
        self.listener.port()
    }

    /// The admin interface.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The admin interface's port.
    pub fn admin_port(&self) -> u16 {
        self.admin.port()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child().id()
    }

    /// What Envoy and the module log.
    pub fn log(&self) -> &Lines {
        &self.log
    }

    /// One line a request.
    pub fn access_log(&self) -> &Lines {
        &self.access_log
    }

    /// Every counter and gauge by name.
    pub async fn stats(&self) -> Result<BTreeMap<String, u64>, ClientError> {
        let answer = client::get(self.admin, "/stats").await?;
        Ok(answer
            .text()
            .lines()
            .filter_map(|line| line.split_once(": "))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect())
    }

    /// How it ended, if it did.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.child().try_wait().ok().flatten()
    }

    /// Returns when it has ended by itself.
    pub async fn ended(&self) -> ExitStatus {
        loop {
            match self.exit_status() {
                Some(status) => return status,
                None => sleep(LOOK * 5).await,
            }
        }
    }

    /// Asks it to end and waits; forces it after a few seconds.
    pub async fn stop(self) {
        // SAFETY: the child has not been waited for (`exit_status` says so), so its id is still its own.
        if self.exit_status().is_none()
            && let Ok(pid) = libc::pid_t::try_from(self.pid())
        {
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
        let _ = tokio::time::timeout(STOP, self.ended()).await;
        // Dropping does the rest.
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait_until_ready(&mut self, admin_file: &Path) -> Result<(), StartError> {
        let ready = async {
            loop {
                if let Some(status) = self.exit_status() {
                    return Err(self.post_mortem(status).await);
                }
                if let Some(found) = serving(admin_file).await {
                    return Ok(found);
                }
                sleep(LOOK).await;
            }
        };
        let found = tokio::time::timeout(START, ready).await;
        let (admin, listener) =
            found.map_err(|_| StartError::NotReady(last(&self.log.all())))??;
        self.admin = admin;
        self.listener = listener;
        Ok(())
    }

    async fn post_mortem(&self, status: ExitStatus) -> StartError {
        // The log is complete once its end was read.
        let mut seen = 0;
        while let Some((_, total)) = self.log.after(seen).await {
            seen = total;
        }
        explain(status, &self.log.all())
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let mut child = self.child();
        // Both fail only when it has ended already.
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn command(binary: &EnvoyBinary, file: &Path, admin_file: &Path, options: &Options) -> Command {
    let mut command = Command::new(&binary.path);
    command
        .arg("--config-path")
        .arg(file)
        .arg("--admin-address-path")
        .arg(admin_file)
        .args(["--log-level", &options.log_level])
        .args(["--log-format", "%l %n: %v"])
        .args(["--disable-hot-restart"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(workers) = options.workers {
        command.args(["--concurrency", &workers.to_string()]);
    }
    // SAFETY: between fork and exec only async-signal-safe calls are made.
    unsafe {
        command.pre_exec(|| {
            // A session of its own: Ctrl-C on the terminal reaches us alone, and we end Envoy.
            libc::setsid();
            // However we end, Envoy ends too.
            #[cfg(target_os = "linux")]
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    command
}

/// Starts a process from a thread that lives as long as we do: Linux sends the parent-death signal
/// when the *thread* that forked ends, and a runtime's or test's threads come and go.
async fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, tokio::sync::oneshot::Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in orders {
                // Nobody waits any more if the receiver is gone; the child must not stay then.
                if let Err(Ok(mut child)) = reply.send(command.spawn()) {
                    let _ = child.kill();
                    let _ = child.wait();
                }
            }
        });
        sender
    });
    let gone = || io::Error::other("the thread that starts processes is gone");
    let (reply, child) = tokio::sync::oneshot::channel();
    spawner.send((command, reply)).map_err(|_| gone())?;
    child.await.map_err(|_| gone())?
}

/// Where admin interface and listener are, once both serve.
async fn serving(admin_file: &Path) -> Option<(SocketAddr, SocketAddr)> {
    let admin = fs::read_to_string(admin_file).ok()?.trim().parse().ok()?;
    let ready = client::get(admin, "/ready").await.ok()?;
    if ready.status != 200 {
        return None;
    }
    let listeners = listeners(admin).await?;
    let ours = address_of(&listeners, |name| name == LISTENER);
    Some((admin, ours.or_else(|| address_of(&listeners, |_| true))?))
}

/// What the admin interface says of the listeners.
async fn listeners(admin: SocketAddr) -> Option<Vec<Value>> {
    let answer = client::get(admin, "/listeners?format=json").await.ok()?;
    let statuses = answer.json()?;
    Some(statuses.get("listener_statuses")?.as_array()?.clone())
}

/// The address of the first listener whose name is wanted.
fn address_of(listeners: &[Value], wanted: impl Fn(&str) -> bool) -> Option<SocketAddr> {
    let named = |status: &&Value| {
        status
            .get("name")
            .and_then(Value::as_str)
            .is_some_and(&wanted)
    };
    let socket = listeners
        .iter()
        .find(named)?
        .pointer("/local_address/socket_address")?;
    let ip = socket.get("address")?.as_str()?.parse().ok()?;
    let port = u16::try_from(socket.get("port_value")?.as_u64()?).ok()?;
    Some(SocketAddr::new(ip, port))
}

/// What went wrong, out of the log of an Envoy that ended before it was ready.
fn explain(status: ExitStatus, log: &[String]) -> StartError {
    if let Some((address, reason)) = log.iter().find_map(|line| cannot_bind(line)) {
        return match reason {
            "Permission denied" => StartError::AddressDenied(address),
            "Cannot assign requested address" => StartError::AddressUnknown(address),
            _ => StartError::AddressInUse(address),
        };
    }
    let said = module_said(log);
    let refused = |line: &String| line.contains("Failed to configure base Wasm plugin");
    if log.iter().any(refused) && !said.is_empty() {
        return StartError::PolicyRefused(said);
    }
    if log
        .iter()
        .any(|line| line.contains("Failed to create Wasm VM using envoy.wasm.runtime.v8"))
    {
        return StartError::NoWasm;
    }
    StartError::Exited {
        status,
        log: last(log),
    }
}

/// Address and reason out of `cannot bind '127.0.0.1:80': Permission denied`.
fn cannot_bind(line: &str) -> Option<(String, &str)> {
    let (_, rest) = line.split_once("cannot bind '")?;
    let (address, rest) = rest.split_once("': ")?;
    let reason = ["Permission denied", "Cannot assign requested address"]
        .into_iter()
        .find(|reason| rest.starts_with(reason));
    Some((
        address.to_owned(),
        reason.unwrap_or("Address already in use"),
    ))
}

/// What the module itself logged as an error; what it logs may have several lines.
fn module_said(log: &[String]) -> Vec<String> {
    let mut said = Vec::new();
    let mut within = false;
    for line in log {
        if let Some((level, rest)) = entry(line) {
            let module = rest.strip_prefix("wasm: wasm log ");
            let text = module.and_then(|text| text.split_once(": "));
            within = text.is_some() && matches!(level, "error" | "critical");
            if let (true, Some((_, text))) = (within, text) {
                let problem = text.strip_prefix("policy refused: ").unwrap_or(text);
                said.push(problem.to_owned());
            }
        } else if within {
            said.push(line.clone());
        }
    }
    said
}

/// Level and rest of a line that begins an entry of the log, as `--log-format` above writes it.
fn entry(line: &str) -> Option<(&str, &str)> {
    let (level, rest) = line.split_once(' ')?;
    let known = ["trace", "debug", "info", "warning", "error", "critical"];
    known.contains(&level).then_some((level, rest))
}

/// The last things said.
fn last(log: &[String]) -> Vec<String> {
    let said: Vec<_> = log
        .iter()
        .map(|line| line.trim_end())
        .filter(|line| !line.is_empty())
        .collect();
    let skipped = said.len().saturating_sub(8);
    said.into_iter().skip(skipped).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn explained(log: &str) -> StartError {
        let log: Vec<_> = log.lines().map(str::to_owned).collect();
        explain(ExitStatus::from_raw(256), &log)
    }

    #[test]
    fn an_address_that_cannot_be_had_is_named() {
        let line =
            "critical main: error `cannot bind '127.0.0.1:80': REASON` initializing config 'x";
        let error = explained(&line.replace("REASON", "Address already in use"));
        assert!(matches!(error, StartError::AddressInUse(at) if at == "127.0.0.1:80"));
        let error = explained(&line.replace("REASON", "Permission denied"));
        assert!(matches!(error, StartError::AddressDenied(_)));
        let error = explained(&line.replace("REASON", "Cannot assign requested address"));
        assert!(matches!(error, StartError::AddressUnknown(_)));
    }

    #[test]
    fn a_refused_policy_is_told_in_the_modules_own_words() {
        let error = explained(
            "warning main: nothing of interest\n\
             error wasm: wasm log forecourt forecourt forecourt: policy refused: routes[3].access: unknown key\n\
             routes[4].cache: and a second line\n\
             error wasm: Wasm VM failed Failed to configure base Wasm plugin\n\
             critical wasm: Plugin forecourt failed to load\n",
        );
        let StartError::PolicyRefused(said) = error else {
            panic!("{error:?}")
        };
        assert_eq!(
            said,
            [
                "routes[3].access: unknown key",
                "routes[4].cache: and a second line"
            ]
        );
    }

    #[test]
    fn an_envoy_without_v8_is_told() {
        let error = explained(
            "warning wasm: Failed to create Wasm VM using envoy.wasm.runtime.v8 runtime. Envoy was compiled without support for it\n\
             error wasm: Wasm VM failed Failed to load Wasm code",
        );
        assert!(matches!(error, StartError::NoWasm));
    }

    #[test]
    fn anything_else_is_shown_as_it_was_said() {
        let error = explained("a\n\ncritical main: error `Invalid path: /x.wasm`\n");
        assert_eq!(
            error.to_string(),
            "Envoy did not start (exit status: 1):\n  a\n  critical main: error `Invalid path: /x.wasm`"
        );
    }
}
