//! The demo issuer's keys: made once per project, kept private, one for each issuer's name.
//!
//! `forecourt demo` runs with them, and `forecourt token` signs with them, so that a token made in one
//! terminal is good for the demo, or for `forecourt up`, in another.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::home;
use crate::token::algorithm::Algorithm;
use crate::token::mint::{MintError, SigningKey};

/// The folder for keys and for the policy that the demo runs.
pub fn demo_dir() -> PathBuf {
    home::target_dir().join("forecourt-demo")
}

/// A key that signs for one issuer.
#[derive(Clone)]
pub struct IssuerKey {
    /// The `kid` of its tokens.
    pub kid: String,
    /// The key itself.
    pub key: SigningKey,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// An issuer's name that would leave the folder.
    #[error("`{0}` cannot be an issuer's name here; use letters, digits, `-` and `_`")]
    Name(String),
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{0} holds no key any more; delete it and a new one will be made")]
    Damaged(PathBuf),
    /// No key could be made.
    #[error("no key could be made: {0}")]
    Make(#[from] MintError),
}

impl IssuerKey {
    /// The key of that issuer under `folder`, made if it is not there yet. Processes that ask at the
    /// same time get the same key.
    pub fn load_or_make(
        folder: &Path,
        issuer: &str,
        algorithm: Algorithm,
    ) -> Result<Self, KeyError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if issuer.is_empty() || !issuer.bytes().all(plain) {
            return Err(KeyError::Name(issuer.to_owned()));
        }
        let file = folder.join(format!("{issuer}-{algorithm}.key.json"));
        if !file.is_file() {
            make(folder, &file, algorithm)?;
        }
        let text = fs::read(&file).map_err(at(&file))?;
        let damaged = || KeyError::Damaged(file.clone());
        let jwk: Value = serde_json::from_slice(&text).map_err(|_| damaged())?;
        let key = SigningKey::from_jwk(algorithm, &jwk).map_err(|_| damaged())?;
        Ok(Self {
            kid: format!("{issuer}-demo"),
            key,
        })
    }

    /// The key set that verifies its tokens (RFC 7517 §5).
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.key.public_jwk(&self.kid)] })
    }
}

fn make(folder: &Path, file: &Path, algorithm: Algorithm) -> Result<(), KeyError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(at(folder))?;
    let jwk = SigningKey::generate(algorithm)?.private_jwk();
    let mut scratch = tempfile::NamedTempFile::new_in(folder).map_err(at(folder))?;
    scratch
        .write_all(jwk.to_string().as_bytes())
        .map_err(at(file))?;
    match scratch.persist_noclobber(file) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => {
            Err(at(file)(error.error))
        }
        // Made, or somebody else was faster: theirs is as good.
        _ => Ok(()),
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    let path = path.to_owned();
    move |source| KeyError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn es256() -> Algorithm {
        Algorithm::named("ES256").unwrap()
    }

    #[test]
    fn a_key_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("keys");
        let first = IssuerKey::load_or_make(&folder, "customers", es256()).unwrap();
        let again = IssuerKey::load_or_make(&folder, "customers", es256()).unwrap();
        assert_eq!(first.jwks(), again.jwks());
        let other = IssuerKey::load_or_make(&folder, "partners", es256()).unwrap();
        assert_ne!(first.jwks(), other.jwks());

        let file = folder.join("customers-ES256.key.json");
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            fs::metadata(&folder).unwrap().permissions().mode() & 0o777,
            0o700
        );
        let public = first.jwks().to_string();
        assert!(!public.contains("\"d\""), "{public}");
    }

    #[test]
    fn a_name_cannot_leave_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "../x", "a/b", "a.b", "ä"] {
            let refused = IssuerKey::load_or_make(folder.path(), name, es256());
            assert!(matches!(refused, Err(KeyError::Name(_))), "{name}");
        }
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a-ES256.key.json"), "{}").unwrap();
        let refused = IssuerKey::load_or_make(folder.path(), "a", es256());
        assert!(matches!(refused, Err(KeyError::Damaged(_))));
    }
}
