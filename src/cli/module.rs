//! `forecourt module`: the compiled module, built from the source tree when it is missing or old and
//! trimmed to what a host needs, or named by path.

mod trim;

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{env, path};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::Format;
use super::home;
use super::output::{Failure, exit, note, say};

/// Build the module to deploy
///
/// Compiles it from the source tree where that has changed, and leaves out what no host needs:
/// callbacks that the module has no use for, which Envoy would call on every request, and padding.
/// Prints the file, its size and its SHA-256, which `render istio --sha256` takes.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Where to write it; `forecourt.wasm` in the build's target folder if not given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const AFTER_HELP: &str = "\
Examples:
  forecourt module --out forecourt.wasm";

impl Args {
    /// Runs the command.
    pub fn run(&self) -> ExitCode {
        exit(self.write())
    }

    fn write(&self) -> Result<(), Failure> {
        let built = build(&mut note).map_err(Failure::no)?;
        let content = trimmed(&built).map_err(Failure::no)?;
        let out = match &self.out {
            Some(out) => path::absolute(out)?,
            None => shipped(),
        };
        put(&out, &content).map_err(Failure::no)?;
        let (out, size) = (out.display().to_string(), content.len());
        let sum = hex(&Sha256::digest(&content));
        say(&match self.format {
            Format::Text => format!("{out}\n{:.2} MB\nsha256 {sum}\n", size as f64 / 1e6),
            Format::Json => format!("{}\n", json!({ "file": out, "bytes": size, "sha256": sum })),
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why there is no module to load.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// The file named is not there.
    #[error("--module: {path}: {source}")]
    Unreadable {
        /// What was named.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The file named is something else.
    #[error("--module: {0} is not a WebAssembly module (it does not begin with `\\0asm`)")]
    NotWasm(PathBuf),
    /// There is no source tree to build from.
    #[error(
        "this forecourt runs outside its source tree and cannot build the module; name it with --module PATH"
    )]
    NoSource,
    /// Cargo could not be run.
    #[error("the module cannot be built: running `{cargo}` failed: {source}")]
    NoCargo {
        /// The command tried.
        cargo: String,
        /// What went wrong.
        source: io::Error,
    },
    /// The build failed.
    #[error("the module could not be built with `cargo wasm`:\n{0}")]
    Build(String),
    /// It could not be trimmed.
    #[error("the module cannot be trimmed: {0}")]
    Trim(#[from] trim::TrimError),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// The module to load: `named`, or the one that the source tree makes, brought up to date.
///
/// `progress` is told before a build.
pub fn module(
    named: Option<&Path>,
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, ModuleError> {
    match named {
        Some(path) => check(path),
        None => {
            let content = trimmed(&build(progress)?)?;
            put(&shipped(), &content)?;
            Ok(shipped())
        }
    }
}

/// Where the module that is shipped is kept.
fn shipped() -> PathBuf {
    home::target_dir().join("forecourt.wasm")
}

fn trimmed(built: &Path) -> Result<Vec<u8>, ModuleError> {
    let content = fs::read(built).map_err(at(built))?;
    Ok(trim::trim(&content)?)
}

/// Writes a file that other processes may be reading: in one step, and only if it changes.
fn put(path: &Path, content: &[u8]) -> Result<(), ModuleError> {
    if fs::read(path).is_ok_and(|held| held == content) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(at(path))?;
    file.write_all(content).map_err(at(path))?;
    // Whoever Envoy runs as has to read it.
    fs::set_permissions(file.path(), Permissions::from_mode(0o644)).map_err(at(path))?;
    file.persist(path).map_err(|error| at(path)(error.error))?;
    Ok(())
}

fn at(path: &Path) -> impl Fn(io::Error) -> ModuleError {
    let path = path.to_owned();
    move |source| ModuleError::File {
        path: path.clone(),
        source,
    }
}

fn check(path: &Path) -> Result<PathBuf, ModuleError> {
    let unreadable = |source| ModuleError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut magic = [0; 4];
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    match io::Read::read_exact(&mut file, &mut magic) {
        Ok(()) if &magic == b"\0asm" => path.canonicalize().map_err(unreadable),
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(unreadable(error)),
        _ => Err(ModuleError::NotWasm(path.to_owned())),
    }
}

/// What `cargo wasm` makes; cargo itself decides whether there is anything to do.
fn build(progress: &mut dyn FnMut(&str)) -> Result<PathBuf, ModuleError> {
    let tree = home::source_tree().ok_or(ModuleError::NoSource)?;
    let target = home::target_dir();
    let module = target.join("wasm32-wasip1/release/forecourt.wasm");
    if !module.is_file() {
        progress("Building the module (a minute, the first time)");
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(&cargo)
        .args(["wasm", "--quiet"])
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", &target)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| ModuleError::NoCargo {
            cargo: cargo.to_string_lossy().into_owned(),
            source,
        })?;
    if output.status.success() {
        return Ok(module);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(ModuleError::Build(said.trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_in_one_step_and_only_if_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.wasm");
        let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(&file).unwrap());
        put(&file, b"one").unwrap();
        let first = inode();
        put(&file, b"one").unwrap();
        assert_eq!(inode(), first);
        // What has the old file open goes on reading the old one.
        let mut open = fs::File::open(&file).unwrap();
        put(&file, b"two").unwrap();
        assert_eq!(io::read_to_string(&mut open).unwrap(), "one");
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o644
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let nowhere = folder.path().join("no/x.wasm");
        let error = put(&nowhere, b"one").unwrap_err();
        assert!(matches!(&error, ModuleError::File { path, .. } if *path == nowhere));
    }

    #[test]
    fn a_named_file_must_be_a_wasm_module() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.wasm");
        let named = |file: &Path| module(Some(file), &mut |_| ());
        assert!(matches!(named(&file), Err(ModuleError::Unreadable { .. })));
        for (content, good) in [
            (&b"\0asm\x01\0\0\0"[..], true),
            (b"\0as", false),
            (b"", false),
            (b"#!/bin/sh", false),
        ] {
            std::fs::write(&file, content).unwrap();
            assert_eq!(named(&file).is_ok(), good, "{content:?}");
        }
    }
}
