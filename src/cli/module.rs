//! The compiled module: built from the source tree when it is missing or old, or named by path.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cli::home;

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
}

/// The module to load: `named`, or the one that `cargo wasm` builds, brought up to date.
///
/// `progress` is told before a build; cargo itself decides whether there is anything to do.
pub fn module(
    named: Option<&Path>,
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, ModuleError> {
    match named {
        Some(path) => check(path),
        None => build(progress),
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
