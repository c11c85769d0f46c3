//! What must hold for any text that is imported as an OpenAPI document. The fuzz target and the
//! replay of its corpus run the same check.

use forecourt::cli::import::{Diff, Documents, Options, import as convert};
use forecourt::cli::yaml::Document;

/// A check of one input.
pub type Check = fn(&[u8]);

/// Every check with the name of its target.
pub const ALL: &[(&str, Check)] = &[("import", import)];

/// Longest input: keys of a mapping may have 1,024 characters in YAML.
const LONGEST: usize = 900;

/// A document is refused, or becomes a policy whose text reads as what was meant and which differs
/// from itself in nothing.
pub fn import(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if text.len() > LONGEST {
        return;
    }
    let mut none = |path: &str| Err(format!("cannot read {path}"));
    let Ok(docs) = Documents::load("api.yaml", text.to_owned(), &mut none) else {
        return;
    };
    let Ok(imported) = convert(&docs, &Options::default()) else {
        return;
    };
    let policy = imported.draft.document();
    let written = imported.draft.yaml();
    match Document::parse(&written) {
        Ok(read) => assert_eq!(read.value, policy, "{written}"),
        Err(error) => panic!("{error:?}\n{written}"),
    }
    assert!(Diff::of(&policy, &policy).0.is_empty(), "{written}");
}
