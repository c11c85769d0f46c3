//! Replays the fuzz corpus of the request checks' parsers: the seeds, every input that once failed,
//! and each of them with single bytes changed, dropped and doubled.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

#[path = "fuzz/schema.rs"]
mod schema;

use std::path::Path;

/// Bytes that mean something to one of the parsers.
const TELLING: &[u8] = b"\0\r\n\t \"%&'+,-./09:;=[\\]{|}\x7f\xc3\xff";

#[test]
fn every_input_of_the_corpus_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for (target, check) in schema::ALL {
        let folder = corpus.join(target);
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
fn every_target_has_its_program() {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/fuzz_targets");
    for (target, _) in schema::ALL {
        assert!(programs.join(format!("{target}.rs")).is_file(), "{target}");
    }
}
