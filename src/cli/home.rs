//! Where the command line keeps what it builds and fetches.

use std::env;
use std::path::{Path, PathBuf};

/// The source tree this binary was built from, while it is still there.
pub fn source_tree() -> Option<&'static Path> {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    tree.join("Cargo.toml").is_file().then_some(tree)
}

/// Cargo's target folder when run from the source tree, else the user's cache folder.
pub fn target_dir() -> PathBuf {
    if let Some(target) = env::var_os("CARGO_TARGET_DIR") {
        // A relative one is relative to where we were started, wherever cargo is run later.
        return std::path::absolute(&target).unwrap_or_else(|_| PathBuf::from(target));
    }
    if let Some(tree) = source_tree() {
        return tree.join("target");
    }
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    cache.unwrap_or_else(env::temp_dir).join("forecourt")
}
