//! The official JSON Schema test suite, drafts 2020-12 and 7 with their optional parts, through
//! the policy's own compilation and body check.
//!
//! Every case that comes out otherwise is listed with its reason; a listed one that comes out
//! right fails the test too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use forecourt::config::problem::{Place, Problems};
use forecourt::config::request::RawRequest;
use forecourt::config::schemas::SchemaTable;
use forecourt::schema::{BodyPlan, BodyRule};
use forecourt::trace::Trace;
use serde_json::{Map, Value, json};

const DRAFT_7: &str = "http://json-schema.org/draft-07/schema#";

/// Files or groups (`file` or `file | group`), how many of their cases come out otherwise, and why.
const EXPECTED: &[(&str, usize, &str)] = &[
    (
        "draft2020-12/format.json",
        24,
        "asks for formats as annotations, which a policy asserts; six cases name `idn-hostname`, which it refuses",
    ),
    (
        "draft2020-12/optional/cross-draft.json",
        1,
        "refers to draft 2019-09, which a policy refuses",
    ),
    (
        "draft2020-12/optional/format/idn-email.json",
        2,
        "needs the tables of IDNA, 160 kB of the module; all but full-width signs is checked",
    ),
    (
        "draft2020-12/optional/format/idn-hostname.json",
        90,
        "needs the tables of IDNA, 160 kB of the module; a policy that names the format is refused",
    ),
    (
        "draft2020-12/optional/format-assertion.json",
        4,
        "has a meta-schema of its own, which a policy refuses",
    ),
    (
        "draft2020-12/vocabulary.json",
        5,
        "has a meta-schema of its own, which a policy refuses",
    ),
    (
        "draft7/format.json | idn-hostname format",
        6,
        "names a format that a policy refuses",
    ),
    (
        "draft7/optional/format/idn-email.json",
        2,
        "needs the tables of IDNA, 160 kB of the module; all but full-width signs is checked",
    ),
    (
        "draft7/optional/format/idn-hostname.json",
        89,
        "needs the tables of IDNA, 160 kB of the module; a policy that names the format is refused",
    ),
    (
        "draft7/optional/cross-draft.json",
        2,
        "refers to draft 2019-09, which a policy refuses",
    ),
];

struct Suite {
    folder: PathBuf,
    draft: &'static str,
    failures: Vec<String>,
    otherwise: BTreeMap<&'static str, usize>,
    cases: usize,
}

#[test]
fn draft_2020_12() {
    run("draft2020-12", 2_000);
}

#[test]
fn draft_7() {
    run("draft7", 1_500);
}

fn run(draft: &'static str, at_least: usize) {
    let Some(folder) = suite_folder() else { return };
    let mut suite = Suite {
        folder,
        draft,
        failures: Vec::new(),
        otherwise: BTreeMap::new(),
        cases: 0,
    };
    suite.run();
    assert_eq!(suite.failures, Vec::<String>::new());
    assert!(suite.cases >= at_least, "only {} cases", suite.cases);
    let listed: BTreeMap<_, _> = EXPECTED
        .iter()
        .filter(|(name, ..)| name.starts_with(draft))
        .map(|(name, count, _)| (*name, *count))
        .collect();
    assert_eq!(suite.otherwise, listed, "cases that come out otherwise");
}

fn suite_folder() -> Option<PathBuf> {
    let base = std::env::var_os("FORECOURT_CONFORMANCE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance"),
        PathBuf::from,
    );
    let folder = base.join("json-schema");
    if folder.is_dir() {
        return Some(folder);
    }
    let place = folder.display();
    assert!(
        std::env::var_os("FORECOURT_REQUIRE_CONFORMANCE").is_none(),
        "no JSON Schema suite at {place}"
    );
    eprintln!("skipped: no JSON Schema suite at {place}");
    None
}

impl Suite {
    fn run(&mut self) {
        let tests = self.folder.join("tests").join(self.draft);
        let remotes = self.remotes();
        for path in json_files(&tests) {
            let name = path.strip_prefix(&tests).unwrap().display().to_string();
            let groups: Vec<Value> = read(&path);
            for group in &groups {
                self.run_group(&name, group, &remotes);
            }
        }
    }

    fn run_group(&mut self, file: &str, group: &Value, remotes: &BTreeMap<String, Value>) {
        let title = format!("{}/{file} | {}", self.draft, text(&group["description"]));
        let schema = self.with_dialect(&group["schema"]);
        let none = BTreeMap::new();
        let asks_remotes = schema.to_string().contains("localhost:1234");
        let rule = compile(&schema, if asks_remotes { remotes } else { &none });
        for case in group["tests"].as_array().unwrap() {
            let name = format!("{title} | {}", text(&case["description"]));
            let outcome = match &rule {
                Ok(rule) => check(rule, &case["data"], case["valid"].as_bool().unwrap()),
                Err(problems) => Err(format!("schema refused: {problems}")),
            };
            self.record(name, outcome);
        }
    }

    fn record(&mut self, name: String, outcome: Result<(), String>) {
        self.cases += 1;
        let Err(why) = outcome else { return };
        let listed = EXPECTED.iter().find(|(listed, ..)| {
            name.strip_prefix(listed)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(" | "))
        });
        match listed {
            Some((listed, ..)) => *self.otherwise.entry(listed).or_default() += 1,
            None => self.failures.push(format!("{name}: {why}")),
        }
    }

    /// A policy's default is 2020-12; the suite's files of draft 7 leave the dialect to the folder.
    fn with_dialect(&self, schema: &Value) -> Value {
        let mut schema = schema.clone();
        if self.draft == "draft7"
            && let Value::Object(keywords) = &mut schema
        {
            keywords
                .entry("$schema")
                .or_insert_with(|| Value::from(DRAFT_7));
        }
        schema
    }

    /// The documents that the suite expects under `http://localhost:1234/`, as shared schemas.
    fn remotes(&self) -> BTreeMap<String, Value> {
        let folder = self.folder.join("remotes");
        let of_draft = json_files(&folder.join(self.draft));
        let of_all = json_files(&folder)
            .into_iter()
            .filter(|path| !path.strip_prefix(&folder).unwrap().starts_with("draft"))
            .filter(|path| !path.strip_prefix(&folder).unwrap().starts_with("v1"))
            .filter(|path| !path.display().to_string().contains("/draft"));
        let mut remotes = BTreeMap::new();
        for path in of_draft.into_iter().chain(of_all) {
            let name = path.strip_prefix(&folder).unwrap().display().to_string();
            if !name.contains("metaschema") && !name.contains("format-assertion") {
                let uri = format!("http://localhost:1234/{name}");
                remotes.insert(name, self.remote(&uri, self.with_dialect(&read(&path))));
            }
        }
        remotes
    }

    fn remote(&self, uri: &str, document: Value) -> Value {
        match document {
            Value::Object(mut keywords)
                if keywords
                    .get("$id")
                    .is_none_or(|id| id.as_str() == Some(uri)) =>
            {
                keywords.insert("$id".into(), uri.into());
                Value::Object(keywords)
            }
            other => {
                let dialect = other.get("$schema").cloned();
                let mut wrapper = Map::from_iter([
                    ("$id".to_owned(), Value::from(uri)),
                    ("allOf".to_owned(), json!([other])),
                ]);
                if let Some(dialect) = dialect {
                    wrapper.insert("$schema".into(), dialect);
                }
                Value::Object(wrapper)
            }
        }
    }
}

fn compile(schema: &Value, shared: &BTreeMap<String, Value>) -> Result<BodyRule, Problems> {
    let raw = json!({"body": {"schema": schema, "maxBytes": 1 << 20}});
    let raw: RawRequest = deserr::deserialize(raw)?;
    let at = Place::root();
    let mut problems = Problems::default();
    let uses = raw.schemas(&at);
    let table = SchemaTable::compile(shared, &at.key("schemas"), uses, &mut problems);
    let rule = raw.compile(&at, &table, &mut problems);
    if problems.is_empty() {
        Ok(rule.unwrap())
    } else {
        Err(problems)
    }
}

fn check(rule: &BodyRule, data: &Value, valid: bool) -> Result<(), String> {
    let plan = BodyPlan::Check {
        content: 0,
        coding: None,
        boundary: String::new(),
    };
    let body = data.to_string();
    let passed = rule.check(&plan, body.as_bytes(), &mut Trace::off());
    if passed.is_ok() == valid {
        Ok(())
    } else {
        Err(format!("valid {valid}, but {passed:?}"))
    }
}

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(json_files(&path));
        } else if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
