//! Replays the fuzz corpus of tokens, keys and claims: the seeds, and every input that once failed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

#[path = "fuzz/token.rs"]
mod token;

use std::path::Path;

#[test]
fn every_input_of_the_corpus_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for (target, check) in token::ALL {
        let folder = corpus.join(target);
        let mut inputs = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            check(&std::fs::read(entry.unwrap().path()).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0, "no input in {}", folder.display());
    }
}

#[test]
fn every_target_has_its_program() {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/fuzz_targets");
    for (target, _) in token::ALL {
        assert!(programs.join(format!("{target}.rs")).is_file(), "{target}");
    }
}
