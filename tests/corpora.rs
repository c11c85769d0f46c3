//! Replays the fuzz corpora of every parser: the seeds, every input that once failed, and each of
//! them with single bytes changed, dropped and doubled.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

#[path = "fuzz/hints.rs"]
mod hints;
#[path = "fuzz/import.rs"]
mod import;
#[path = "fuzz/schema.rs"]
mod schema;
#[path = "fuzz/token.rs"]
mod token;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

type Target = (&'static str, fn(&[u8]));

fn targets() -> impl Iterator<Item = &'static Target> {
    [hints::ALL, import::ALL, schema::ALL, token::ALL]
        .into_iter()
        .flatten()
}

fn fuzz(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz")
        .join(folder)
}

/// Bytes that mean something to one of the parsers.
const TELLING: &[u8] = b"\0\r\n\t \"%&'+,-./09:;=[\\]{|}\x7f\xc3\xff";

#[test]
fn every_input_of_the_corpus_holds() {
    for (target, check) in targets() {
        let folder = fuzz("corpus").join(target);
        let mut inputs = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let input = std::fs::read(entry.unwrap().path()).unwrap();
            check(&input);
            for changed in neighbours(&input) {
                check(&changed);
            }
            inputs += 1;
        }
        assert!(inputs > 0, "no input in {}", folder.display());
    }
}

fn neighbours(input: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for at in 0..input.len().min(400) {
        let mut dropped = input.to_vec();
        let byte = dropped.remove(at);
        let mut doubled = input.to_vec();
        doubled.insert(at, byte);
        all.extend([dropped, doubled]);
        for other in TELLING {
            let mut changed = input.to_vec();
            changed[at] = *other;
            all.push(changed);
        }
    }
    all
}

#[test]
fn every_target_has_its_program_and_no_other_is_there() {
    let programs: BTreeSet<String> = std::fs::read_dir(fuzz("fuzz_targets"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let named: BTreeSet<String> = targets().map(|(name, _)| format!("{name}.rs")).collect();
    assert_eq!(programs, named);
}
