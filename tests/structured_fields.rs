//! The structured-field test suite of the HTTP working group, through the parser that the hints
//! use.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::path::{Path, PathBuf};

use forecourt::hints::structured;
use serde_json::{Value, json};
use sfv::{BareItem, FieldType, Item, ListEntry, Parameters};

/// The suite's files of parsing cases; those in `serialisation-tests` are about values that no
/// parser gives.
const FILES: usize = 20;

#[test]
fn every_parsing_case_of_the_suite() {
    let Some(folder) = suite() else { return };
    let mut files = 0;
    let mut failures = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            files += 1;
            failures.extend(failures_in(&path));
        }
    }
    assert_eq!(files, FILES, "files in {}", folder.display());
    assert_eq!(failures, Vec::<String>::new());
}

fn suite() -> Option<PathBuf> {
    let base = std::env::var_os("FORECOURT_CONFORMANCE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance"),
        PathBuf::from,
    );
    let folder = base.join("structured-fields");
    if folder.is_dir() {
        return Some(folder);
    }
    let place = folder.display();
    assert!(
        std::env::var_os("FORECOURT_REQUIRE_CONFORMANCE").is_none(),
        "no structured-field suite at {place}"
    );
    eprintln!("skipped: no structured-field suite at {place}");
    None
}

fn failures_in(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(!cases.is_empty(), "{}", path.display());
    cases
        .iter()
        .filter_map(|case| {
            let name = case["name"].as_str().unwrap();
            failure(case).map(|why| format!("{}: {name}: {why}", path.display()))
        })
        .collect()
}

fn failure(case: &Value) -> Option<String> {
    let raw = case["raw"].as_array().unwrap();
    let lines = || raw.iter().map(|line| line.as_str().unwrap().as_bytes());
    let (found, printed) = match case["header_type"].as_str().unwrap() {
        "item" => outcome(structured::item(lines()), from_item, |item| {
            Some(item.serialize())
        }),
        "list" => outcome(
            structured::list(lines()),
            |list| Value::Array(list.iter().map(from_entry).collect()),
            FieldType::serialize,
        ),
        "dictionary" => outcome(
            structured::dictionary(lines()),
            |members| {
                let pair = |(key, entry): (&sfv::Key, _)| json!([key.as_str(), from_entry(entry)]);
                Value::Array(members.iter().map(pair).collect())
            },
            FieldType::serialize,
        ),
        other => return Some(format!("unknown type {other}")),
    };
    match (found, case["must_fail"] == true) {
        (Some(found), true) => Some(format!("must fail, but is {found}")),
        (None, true) => None,
        (None, false) if case["can_fail"] == true => None,
        (None, false) => Some("must parse".into()),
        (Some(found), false) if !same(&found, &case["expected"]) => {
            Some(format!("is {found}, but should be {}", case["expected"]))
        }
        (Some(_), false) => {
            let canonical = case.get("canonical").unwrap_or(&case["raw"]);
            (json!(printed) != *canonical)
                .then(|| format!("prints as {printed:?}, not {canonical}"))
        }
    }
}

/// The value in the suite's own form, and how it prints: nothing empty has a line.
fn outcome<T>(
    parsed: Option<T>,
    form: impl Fn(&T) -> Value,
    print: impl Fn(&T) -> Option<String>,
) -> (Option<Value>, Vec<String>) {
    match parsed {
        Some(value) => (Some(form(&value)), print(&value).into_iter().collect()),
        None => (None, Vec::new()),
    }
}

fn from_entry(entry: &ListEntry) -> Value {
    match entry {
        ListEntry::Item(item) => from_item(item),
        ListEntry::InnerList(inner) => {
            let items: Vec<_> = inner.items.iter().map(from_item).collect();
            json!([items, from_parameters(&inner.params)])
        }
    }
}

fn from_item(item: &Item) -> Value {
    json!([from_bare(&item.bare_item), from_parameters(&item.params)])
}

fn from_parameters(parameters: &Parameters) -> Value {
    let pair = |(key, value): (&sfv::Key, _)| json!([key.as_str(), from_bare(value)]);
    Value::Array(parameters.iter().map(pair).collect())
}

fn from_bare(value: &BareItem) -> Value {
    let typed = |kind: &str, value: Value| json!({ "__type": kind, "value": value });
    match value {
        BareItem::Integer(number) => json!(i64::from(*number)),
        BareItem::Decimal(number) => json!(f64::from(*number)),
        BareItem::String(text) => json!(text.as_str()),
        BareItem::Boolean(truth) => json!(truth),
        BareItem::Token(token) => typed("token", json!(token.as_str())),
        BareItem::ByteSequence(bytes) => typed("binary", json!(base32(bytes))),
        BareItem::Date(date) => typed("date", json!(i64::from(date.unix_seconds()))),
        BareItem::DisplayString(text) => typed("displaystring", json!(text)),
    }
}

/// Numbers by value: the suite writes `1.0` where a decimal may print as an integer.
fn same(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        _ => found == expected,
    }
}

/// RFC 4648 §6, the form in which the suite writes bytes.
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::new();
    for chunk in bytes.chunks(5) {
        let mut block = [0; 8];
        block[3..3 + chunk.len()].copy_from_slice(chunk);
        let bits = u64::from_be_bytes(block);
        let digits = (chunk.len() * 8).div_ceil(5);
        for index in 0..8 {
            let digit = (bits >> (35 - 5 * index)) as usize & 31;
            text.push(if index < digits {
                ALPHABET[digit].into()
            } else {
                '='
            });
        }
    }
    text
}
