//! The official JSON Schema test suite, drafts 2020-12 and 7 with their optional parts, through
//! the policy's own compilation and body check; natively, and inside Wasm under Node.js (`.ci/run`).
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

use forecourt::config::problem::{Place, Problems};
use forecourt::config::request::RawRequest;
use forecourt::config::schemas::SchemaTable;
use forecourt::schema::{BodyPlan, BodyRule};
use forecourt::trace::Trace;
use serde_json::{Map, Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const DRAFT_7: &str = "http://json-schema.org/draft-07/schema#";

/// Files or groups (`file` or `file | group`), how many of their cases come out otherwise, and why.
const EXPECTED: &[(&str, usize, &str)] = &[
    (
        "draft2020-12/format.json",
        25,
        "asks for formats as annotations, which a policy asserts; six cases name `idn-hostname`, which it refuses",
    ),
    (
        "draft2020-12/optional/cross-draft.json",
        1,
        "refers to draft 2019-09, which a policy refuses",
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
    folder: String,
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

fn suite_folder() -> Option<String> {
    let base = files::setting("FORECOURT_CONFORMANCE")
        .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/conformance").into());
    let folder = format!("{base}/json-schema");
    if !files::below(&format!("{folder}/tests")).is_empty() {
        return Some(folder);
    }
    assert!(
        files::setting("FORECOURT_REQUIRE_CONFORMANCE").is_none(),
        "no JSON Schema suite at {folder}"
    );
    files::say(&format!("skipped: no JSON Schema suite at {folder}"));
    None
}

impl Suite {
    fn run(&mut self) {
        let tests = format!("{}/tests/{}", self.folder, self.draft);
        let remotes = self.remotes();
        for name in files::below(&tests) {
            let groups: Vec<Value> = read(&format!("{tests}/{name}"));
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
        let folder = format!("{}/remotes", self.folder);
        let wanted = |name: &String| {
            let of_draft = name.starts_with(&format!("{}/", self.draft));
            let of_one =
                name.starts_with("draft") || name.starts_with("v1") || name.contains("/draft");
            let asserted = name.contains("metaschema") || name.contains("format-assertion");
            (of_draft || !of_one) && !asserted
        };
        let names = files::below(&folder).into_iter().filter(wanted);
        names
            .map(|name| {
                let uri = format!("http://localhost:1234/{name}");
                let document = self.with_dialect(&read(&format!("{folder}/{name}")));
                (name, self.remote(&uri, document))
            })
            .collect()
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

fn read<T: serde::de::DeserializeOwned>(path: &str) -> T {
    serde_json::from_str(&files::read(path)).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The suite's files, from the disk.
#[cfg(not(target_arch = "wasm32"))]
mod files {
    use std::fs;
    use std::path::Path;

    pub fn read(path: &str) -> String {
        fs::read_to_string(path).unwrap()
    }

    /// Every JSON file below a folder, by its path from there, sorted.
    pub fn below(folder: &str) -> Vec<String> {
        let mut found = Vec::new();
        let entries = fs::read_dir(folder).into_iter().flatten();
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                let inner = below(path.to_str().unwrap());
                found.extend(inner.into_iter().map(|file| format!("{name}/{file}")));
            } else if Path::new(&name)
                .extension()
                .is_some_and(|end| end == "json")
            {
                found.push(name);
            }
        }
        found.sort();
        found
    }

    pub fn setting(name: &str) -> Option<String> {
        std::env::var_os(name)?.into_string().ok()
    }

    pub fn say(note: &str) {
        eprintln!("{note}");
    }
}

/// The suite's files, from the disk of the machine that Node.js runs on.
#[cfg(target_arch = "wasm32")]
mod files {
    use wasm_bindgen::prelude::wasm_bindgen;

    #[wasm_bindgen(module = "fs")]
    extern "C" {
        #[wasm_bindgen(js_name = readFileSync)]
        fn read_file(path: &str, encoding: &str) -> String;
        #[wasm_bindgen(js_name = readdirSync)]
        fn read_folder(path: &str) -> Vec<String>;
        #[wasm_bindgen(js_name = existsSync)]
        fn exists(path: &str) -> bool;
    }

    #[wasm_bindgen]
    extern "C" {
        #[wasm_bindgen(js_namespace = console, js_name = log)]
        pub fn say(note: &str);
    }

    pub fn read(path: &str) -> String {
        read_file(path, "utf8")
    }

    /// Every JSON file below a folder, by its path from there, sorted.
    pub fn below(folder: &str) -> Vec<String> {
        let mut found = Vec::new();
        let names = if exists(folder) {
            read_folder(folder)
        } else {
            Vec::new()
        };
        for name in names {
            if name.ends_with(".json") {
                found.push(name);
            } else if !name.contains('.') {
                let inner = below(&format!("{folder}/{name}"));
                found.extend(inner.into_iter().map(|file| format!("{name}/{file}")));
            }
        }
        found.sort();
        found
    }

    /// Settings are those of the build: there is no environment inside Wasm.
    pub fn setting(name: &str) -> Option<String> {
        let value = match name {
            "FORECOURT_CONFORMANCE" => option_env!("FORECOURT_CONFORMANCE"),
            _ => option_env!("FORECOURT_REQUIRE_CONFORMANCE"),
        };
        value.map(str::to_owned)
    }
}
