//! The schema engine against another one, the `jsonschema` crate: generated schemas and those of
//! the official suite, mutated, with values of every kind. Both must decide alike.
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
use forecourt::config::schemas::SchemaTable;
use forecourt::schema::{Limits, Schema, parse_json};
use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value, json};

const DRAFT_7: &str = "http://json-schema.org/draft-07/schema#";

/// xorshift64*: the same cases in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides
    }

    fn one<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.roll(list.len())]
    }
}

const NAMES: [&str; 5] = ["a", "b", "c", "a/b", "long name"];
const TEXTS: [&str; 9] = [
    "",
    "a",
    "ab",
    "é",
    "A1-b",
    "2024-02-29",
    "127.0.0.1",
    "x@y.example",
    "aab",
];
const PATTERNS: [&str; 10] = [
    "^a",
    "b$",
    "^a*b?$",
    "^[a-z]{2}$",
    "^(a|b)+$",
    "[0-9]",
    "é",
    "^.$",
    r"^\w+$",
    "a.*b",
];
const FORMATS: [&str; 8] = [
    "date", "ipv4", "email", "ipv6", "time", "uri", "regex", "hostname",
];

fn number(dice: &mut Dice) -> Value {
    dice.one(&[
        json!(0),
        json!(1),
        json!(1.0),
        json!(-1),
        json!(2),
        json!(0.5),
        json!(0.1),
        json!(0.3),
        json!(100),
        json!(1e2),
        json!(-0.0),
        json!(9007199254740993_i64),
        json!(9007199254740992.0),
        json!(u64::MAX),
        json!(i64::MIN),
    ])
    .clone()
}

fn value(dice: &mut Dice, depth: usize) -> Value {
    match dice.roll(if depth == 0 { 5 } else { 9 }) {
        0 => Value::Null,
        1 => json!(dice.roll(2) == 0),
        2 | 3 => number(dice),
        4 => json!(dice.one(&TEXTS)),
        5 | 6 => {
            let length = dice.roll(4);
            Value::Array((0..length).map(|_| value(dice, depth - 1)).collect())
        }
        _ => {
            let length = dice.roll(4);
            let member = |dice: &mut Dice| ((*dice.one(&NAMES)).to_owned(), value(dice, depth - 1));
            Value::Object((0..length).map(|_| member(dice)).collect())
        }
    }
}

fn schema(dice: &mut Dice, depth: usize, draft7: bool) -> Value {
    if dice.roll(12) == 0 {
        return json!(dice.roll(3) > 0);
    }
    let mut keywords = Map::new();
    for _ in 0..=dice.roll(3) {
        let (keyword, held) = keyword(dice, depth, draft7);
        keywords.insert(keyword.to_owned(), held);
    }
    Value::Object(keywords)
}

fn keyword(dice: &mut Dice, depth: usize, draft7: bool) -> (&'static str, Value) {
    const TYPES: [&str; 7] = [
        "null", "boolean", "integer", "number", "string", "array", "object",
    ];
    let leaf = [
        ("type", 4),
        ("enum", 1),
        ("const", 1),
        ("minimum", 1),
        ("maximum", 1),
        ("exclusiveMinimum", 1),
        ("exclusiveMaximum", 1),
        ("multipleOf", 2),
        ("minLength", 1),
        ("maxLength", 1),
        ("pattern", 2),
        ("format", 2),
        ("minItems", 1),
        ("maxItems", 1),
        ("uniqueItems", 1),
        ("minProperties", 1),
        ("maxProperties", 1),
        ("required", 2),
        ("dependentRequired", 1),
    ];
    let inner = [
        ("properties", 5),
        ("patternProperties", 2),
        ("additionalProperties", 3),
        ("propertyNames", 1),
        ("items", 3),
        ("prefixItems", 2),
        ("contains", 2),
        ("minContains", 1),
        ("maxContains", 1),
        ("allOf", 2),
        ("anyOf", 3),
        ("oneOf", 2),
        ("not", 1),
        ("if", 2),
        ("then", 2),
        ("else", 2),
        ("dependentSchemas", 1),
        ("dependencies", 1),
        ("additionalItems", 1),
        ("unevaluatedItems", 2),
        ("unevaluatedProperties", 3),
        ("$ref", 3),
    ];
    let all: Vec<&str> = leaf
        .iter()
        .chain(if depth == 0 { &[][..] } else { &inner })
        .flat_map(|(keyword, weight)| std::iter::repeat_n(*keyword, *weight))
        .collect();
    let keyword = *dice.one(&all);
    let next = |dice: &mut Dice| schema(dice, depth.saturating_sub(1), draft7);
    let held = match keyword {
        "type" if dice.roll(4) == 0 => {
            let (first, second) = (dice.roll(3), 3 + dice.roll(4));
            json!([TYPES[first], TYPES[second]])
        }
        "type" => json!(dice.one(&TYPES)),
        "enum" => Value::Array((0..=dice.roll(3)).map(|_| value(dice, 1)).collect()),
        "const" => value(dice, 1),
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => number(dice),
        "multipleOf" => dice
            .one(&[json!(1), json!(0.1), json!(2), json!(0.5), json!(3.0)])
            .clone(),
        "pattern" => json!(dice.one(&PATTERNS)),
        "format" => json!(dice.one(&FORMATS)),
        "uniqueItems" => json!(dice.roll(3) > 0),
        "required" => json!([dice.one(&NAMES)]),
        "dependentRequired" => json!({*dice.one(&NAMES): [dice.one(&NAMES)]}),
        "properties" | "dependentSchemas" => {
            let named = |dice: &mut Dice| ((*dice.one(&NAMES)).to_owned(), next(dice));
            Value::Object((0..=dice.roll(3)).map(|_| named(dice)).collect())
        }
        "dependencies" if dice.roll(2) == 0 => json!({*dice.one(&NAMES): [dice.one(&NAMES)]}),
        "dependencies" => json!({*dice.one(&NAMES): next(dice)}),
        "patternProperties" => json!({*dice.one(&PATTERNS): next(dice)}),
        "items" if draft7 && dice.roll(2) == 0 => json!([next(dice), next(dice)]),
        "prefixItems" | "allOf" | "anyOf" | "oneOf" => {
            Value::Array((0..=dice.roll(3)).map(|_| next(dice)).collect())
        }
        "$ref" => json!(dice.one(&["#", "#/$defs/x", "#/$defs/y", "#/$defs/x", "#/$defs/y"])),
        keyword
            if leaf.iter().any(|(known, _)| *known == keyword)
                || matches!(keyword, "minContains" | "maxContains") =>
        {
            json!(dice.roll(4))
        }
        _ => next(dice),
    };
    (keyword, held)
}

fn document(dice: &mut Dice) -> Value {
    let draft7 = dice.roll(3) == 0;
    let mut root = match schema(dice, 3, draft7) {
        Value::Object(keywords) => keywords,
        other => Map::from_iter([("not".to_owned(), other)]),
    };
    let named = ["x", "y"].map(|name| (name.to_owned(), schema(dice, 2, draft7)));
    root.insert("$defs".into(), Value::Object(named.into_iter().collect()));
    if draft7 {
        root.insert("$schema".into(), DRAFT_7.into());
    }
    Value::Object(root)
}

fn ours(schema: &Value) -> Result<Schema, String> {
    let at = Place::root().key("s");
    let mut problems = Problems::default();
    let table = SchemaTable::compile(&BTreeMap::new(), &at, [(at.clone(), schema)], &mut problems);
    table.get(&at).ok_or_else(|| problems.to_string())
}

fn theirs(schema: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .offline()
        .should_validate_formats(true)
        .with_pattern_options(PatternOptions::regex())
        .build(schema)
        .map_err(|error| error.to_string())
}

/// What passed, and how much of it was accepted while it was read.
#[derive(Default)]
struct Passed {
    all: usize,
    read: usize,
}

/// Both engines over one schema and some values, if both took the schema.
fn compare(schema: &Value, values: &[Value], dice: &mut Dice) -> Option<Passed> {
    let (ours, theirs) = match (ours(schema), theirs(schema)) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        // The other engine gives endless references a meaning; a policy refuses them.
        (Err(problems), _) if problems.contains("leads back to itself") => return None,
        (Err(_), Err(_)) => return None,
        (Ok(_), Err(error)) => panic!("only refused there: {error}\n{schema}"),
        (Err(problems), Ok(_)) => panic!("only refused here: {problems}\n{schema}"),
    };
    let mut passed = Passed::default();
    for value in values {
        let read = accepted_is_valid(&ours, value, schema, dice);
        let checked = ours.check(value.clone(), "body");
        let expected = theirs.is_valid(value);
        assert_eq!(checked.is_ok(), expected, "{value}\n{schema}");
        match checked {
            Ok(()) => {
                passed.all += 1;
                passed.read += usize::from(read);
            }
            Err(mismatch) => assert!(!mismatch.violations.is_empty(), "{value}\n{schema}"),
        }
    }
    Some(passed)
}

/// What is accepted while it is read must be what the same engine takes as a whole: the value, its
/// text with a byte changed, and both within tight limits. Whether the value itself was accepted.
fn accepted_is_valid(ours: &Schema, value: &Value, schema: &Value, dice: &mut Dice) -> bool {
    let text = value.to_string();
    let tight = Limits {
        depth: 1 + dice.roll(4),
        values: dice.roll(8),
        string: dice.roll(6),
    };
    let hurt = hurt(&text, dice);
    for text in [&text, &hurt] {
        for limits in [&tight, &Limits::default()] {
            if ours.accepts(text, limits) {
                let read = parse_json(text.as_bytes(), limits);
                let valid = read.is_ok_and(|value| ours.check(value, "body").is_ok());
                assert!(valid, "{text}\n{limits:?}\n{schema}");
            }
        }
    }
    ours.accepts(&text, &Limits::default())
}

/// The text with one thing changed that is often still JSON.
fn hurt(text: &str, dice: &mut Dice) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let at = dice.roll(chars.len());
    match dice.roll(4) {
        0 => drop(chars.remove(at)),
        1 => chars.insert(at, chars[at]),
        2 => chars[at] = *dice.one(&['0', '1', 'a', 'b', '"', ',', ' ', '.', '[', ']', '}']),
        _ => return text.replacen("\"b\":", "\"a\":", 1),
    }
    chars.into_iter().collect()
}

#[test]
fn generated_schemas_are_decided_alike() {
    let mut dice = Dice(0x5EED);
    let (mut schemas, mut passed, mut read) = (0, 0, 0);
    for _ in 0..4_000 {
        let document = document(&mut dice);
        let values: Vec<Value> = (0..16).map(|_| value(&mut dice, 3)).collect();
        if let Some(count) = compare(&document, &values, &mut dice) {
            schemas += 1;
            passed += count.all;
            read += count.read;
        }
    }
    assert!(schemas > 3_000, "only {schemas} schemas were compared");
    let all = schemas * 16;
    assert!(
        passed > all / 5 && passed < all * 4 / 5,
        "{passed} of {all} passed"
    );
    assert!(
        read > passed / 2,
        "{read} of {passed} were accepted while they were read"
    );
}

#[test]
fn mutated_schemas_of_the_official_suite_are_decided_alike() {
    let Some(folder) = suite_folder() else { return };
    let mut dice = Dice(0xC0FFEE);
    let mut compared = 0;
    for draft in ["draft2020-12", "draft7"] {
        for entry in std::fs::read_dir(folder.join("tests").join(draft)).unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                compared += compare_file(&path, draft == "draft7", &mut dice);
            }
        }
    }
    assert!(compared > 3_000, "only {compared} mutants were compared");
}

fn compare_file(path: &Path, draft7: bool, dice: &mut Dice) -> usize {
    let groups: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let data = groups
        .iter()
        .flat_map(|group| group["tests"].as_array().unwrap());
    let values: Vec<Value> = data.map(|test| test["data"].clone()).collect();
    let mut compared = 0;
    for group in &groups {
        let mut schema = group["schema"].clone();
        let text = schema.to_string();
        // Other dialects are for the suite's own test to refuse; not all formats are theirs too.
        if ["localhost", "\"format\"", "draft2019"]
            .iter()
            .any(|word| text.contains(word))
        {
            continue;
        }
        if draft7 && let Value::Object(keywords) = &mut schema {
            keywords.entry("$schema").or_insert_with(|| DRAFT_7.into());
        }
        for _ in 0..8 {
            let mut mutant = schema.clone();
            for _ in 0..=dice.roll(2) {
                mutate(&mut mutant, dice);
            }
            // What a policy refuses on purpose the other engine takes.
            if ours(&mutant).is_ok() && theirs(&mutant).is_ok() {
                compare(&mutant, &values, dice);
                compared += 1;
            }
        }
    }
    compared
}

/// Changes one thing somewhere in a schema.
fn mutate(schema: &mut Value, dice: &mut Dice) {
    match schema {
        Value::Object(members) if !members.is_empty() => {
            let at = dice.roll(members.len());
            let name = members.keys().nth(at).unwrap().clone();
            if name.starts_with("$s") {
                return;
            }
            if dice.roll(6) == 0 && !name.starts_with('$') {
                members.remove(&name);
            } else {
                mutate(members.get_mut(&name).unwrap(), dice);
            }
        }
        Value::Array(elements) if !elements.is_empty() => {
            let at = dice.roll(elements.len());
            match dice.roll(4) {
                0 => drop(elements.remove(at)),
                1 => elements.reverse(),
                _ => mutate(&mut elements[at], dice),
            }
        }
        Value::Bool(held) => *held = !*held,
        // Of units beyond the precision of doubles the other engine knows no multiples.
        Value::Number(_) => {
            *schema = dice
                .one(&[json!(0), json!(1), json!(2.0), json!(0.5)])
                .clone()
        }
        Value::String(held)
            if ["string", "integer", "object", "array"].contains(&held.as_str()) =>
        {
            *schema = json!(dice.one(&["null", "number", "string", "object", "array"]));
        }
        _ => {}
    }
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
    assert!(
        std::env::var_os("FORECOURT_REQUIRE_CONFORMANCE").is_none(),
        "no JSON Schema suite at {}",
        folder.display()
    );
    eprintln!("skipped: no JSON Schema suite at {}", folder.display());
    None
}
