//! `forecourt import openapi`: each trap of OpenAPI documents, whole documents whose policies can be
//! read in review, and documents that mean harm.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use forecourt::cli::import::{Documents, Imported, Issuers, Options, import};
use forecourt::cli::policy_file::{Finding, PolicyFile};
use forecourt::cli::yaml::Document;
use forecourt::config::problem::{Place, Problems};
use forecourt::config::schemas::SchemaTable;
use serde_json::{Value, json};

fn read(text: &str, options: &Options) -> Result<Imported, Vec<Finding>> {
    let mut none = |path: &str| Err(format!("cannot read {path}"));
    let docs =
        Documents::load("api.yaml", text.to_owned(), &mut none).map_err(|fault| vec![fault])?;
    import(&docs, options)
}

fn refused(text: &str) -> Vec<Finding> {
    match read(text, &Options::default()) {
        Err(faults) => faults,
        Ok(imported) => panic!("taken:\n{}", imported.draft.yaml()),
    }
}

/// A document with one operation whose JSON body has that schema.
fn with_body(version: &str, schema: &str, others: &str) -> String {
    let others: Value = Document::parse(others).unwrap().value;
    let schema: Value = Document::parse(schema).unwrap().value;
    let document = match version {
        "2.0" => json!({
            "swagger": "2.0",
            "paths": {"/x": {"post": {"parameters": [{"in": "body", "name": "b", "schema": schema}]}}},
            "definitions": others,
        }),
        _ => json!({
            "openapi": format!("{version}.0"),
            "paths": {"/x": {"post": {"requestBody": {
                "required": true, "content": {"application/json": {"schema": schema}}}}}},
            "components": {"schemas": others},
        }),
    };
    document.to_string().replace(
        "#/s/",
        match version {
            "2.0" => "#/definitions/",
            _ => "#/components/schemas/",
        },
    )
}

/// The check of a body that the imported policy makes, and what the import said.
fn checked(version: &str, schema: &str, others: &str) -> (impl Fn(&Value) -> bool, String) {
    let text = with_body(version, schema, others);
    let imported = read(&text, &Options::default()).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let policy = imported.draft.document();
    let shared: BTreeMap<String, Value> = policy
        .get("schemas")
        .map(|schemas| serde_json::from_value(schemas.clone()).unwrap())
        .unwrap_or_default();
    let schema = policy["routes"][0]["request"]["body"]["schema"].clone();
    let mut problems = Problems::default();
    let at = Place::root().key("body");
    let table = SchemaTable::compile(
        &shared,
        &Place::root(),
        [(at.clone(), &schema)],
        &mut problems,
    );
    assert!(problems.is_empty(), "{problems:#?}\n{policy:#}");
    let compiled = table.get(&at).unwrap();
    let valid = move |value: &Value| compiled.check(value.clone(), "body").is_ok();
    (valid, imported.report.to_string())
}

/// One trap: in which versions, the schema, others it refers to, values that are good and bad, and
/// what the report has to say.
struct Trap {
    name: &'static str,
    versions: &'static [&'static str],
    schema: &'static str,
    others: &'static str,
    good: Value,
    bad: Value,
    said: &'static str,
}

const ALL: &[&str] = &["2.0", "3.0", "3.1"];

#[test]
fn schemas_mean_what_their_version_says() {
    let traps = traps();
    assert!(traps.len() > 30);
    for trap in traps {
        for version in trap.versions {
            let (valid, report) = checked(version, trap.schema, trap.others);
            for (values, expected) in [(&trap.good, true), (&trap.bad, false)] {
                for value in values.as_array().unwrap() {
                    assert_eq!(valid(value), expected, "{} ({version}): {value}", trap.name);
                }
            }
            match trap.said {
                "" => assert!(
                    report.lines().all(|line| !line.starts_with("not checked")
                        && !line.starts_with("assumed: stands")),
                    "{} ({version}): {report}",
                    trap.name
                ),
                said => assert!(report.contains(said), "{} ({version}): {report}", trap.name),
            }
        }
    }
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn traps() -> Vec<Trap> {
    let trap = |name, versions, schema, others, good, bad, said| Trap {
        name,
        versions,
        schema,
        others,
        good,
        bad,
        said,
    };
    vec![
        trap(
            "nullable",
            ALL,
            "{ type: string, nullable: true }",
            "{}",
            json!(["a", null]),
            json!([1, {}]),
            "",
        ),
        trap(
            "x-nullable",
            ALL,
            "{ type: string, x-nullable: true }",
            "{}",
            json!(["a", null]),
            json!([1]),
            "",
        ),
        trap(
            "nullable: false",
            ALL,
            "{ type: string, nullable: false }",
            "{}",
            json!(["a"]),
            json!([null]),
            "",
        ),
        trap(
            "nullable with enum",
            ALL,
            "{ type: string, nullable: true, enum: [a, b] }",
            "{}",
            json!(["a", null]),
            json!(["c", 1]),
            "",
        ),
        trap(
            "nullable with enum and no type",
            ALL,
            "{ nullable: true, enum: [a] }",
            "{}",
            json!(["a", null]),
            json!(["b"]),
            "",
        ),
        trap(
            "nullable with allOf",
            ALL,
            "{ nullable: true, allOf: [{ $ref: '#/s/A' }] }",
            "{ A: { type: integer } }",
            json!([1, null]),
            json!(["a"]),
            "",
        ),
        trap(
            "nullable with type and allOf",
            ALL,
            "{ type: object, nullable: true, allOf: [{ $ref: '#/s/A' }] }",
            "{ A: { type: object, required: [a] } }",
            json!([{"a": 1}, null]),
            json!([{}, 1]),
            "",
        ),
        trap(
            "nullable beside $ref before 3.1",
            &["2.0", "3.0"],
            "{ $ref: '#/s/A', nullable: true }",
            "{ A: { type: integer } }",
            json!([1, null]),
            json!(["a"]),
            "assumed: stands beside `$ref`",
        ),
        trap(
            "nullable beside $ref in 3.1",
            &["3.1"],
            "{ $ref: '#/s/A', nullable: true }",
            "{ A: { type: integer } }",
            json!([1, null]),
            json!(["a"]),
            "",
        ),
        trap(
            "type list with null",
            &["3.1"],
            "{ type: [string, 'null'] }",
            "{}",
            json!(["a", null]),
            json!([1]),
            "",
        ),
        trap(
            "exclusiveMinimum: true",
            ALL,
            "{ type: number, minimum: 1, exclusiveMinimum: true }",
            "{}",
            json!([1.5]),
            json!([1, 0]),
            "",
        ),
        trap(
            "exclusiveMaximum: false",
            ALL,
            "{ type: number, maximum: 1, exclusiveMaximum: false }",
            "{}",
            json!([1]),
            json!([1.5]),
            "",
        ),
        trap(
            "exclusiveMaximum as a number",
            ALL,
            "{ type: number, exclusiveMaximum: 5 }",
            "{}",
            json!([4.9]),
            json!([5]),
            "",
        ),
        trap(
            "exclusiveMinimum with nothing beside it",
            ALL,
            "{ exclusiveMinimum: true }",
            "{}",
            json!([0]),
            json!([]),
            "has no `minimum` beside it",
        ),
        trap(
            "siblings of $ref before 3.1",
            &["2.0", "3.0"],
            "{ $ref: '#/s/A', maxLength: 1 }",
            "{ A: { type: string } }",
            json!(["abc"]),
            json!([1]),
            "`maxLength` stands beside `$ref`",
        ),
        trap(
            "siblings of $ref in 3.1",
            &["3.1"],
            "{ $ref: '#/s/A', maxLength: 1 }",
            "{ A: { type: string } }",
            json!(["a"]),
            json!(["abc", 1]),
            "",
        ),
        trap(
            "descriptions beside $ref",
            ALL,
            "{ $ref: '#/s/A', description: x, title: y }",
            "{ A: { type: string } }",
            json!(["a"]),
            json!([1]),
            "",
        ),
        trap(
            "int32",
            ALL,
            "{ type: integer, format: int32 }",
            "{}",
            json!([2_147_483_647, -2_147_483_648_i64]),
            json!([2_147_483_648_i64, 1.5]),
            "",
        ),
        trap(
            "int64",
            ALL,
            "{ type: integer, format: int64 }",
            "{}",
            json!([i64::MAX]),
            json!([9_223_372_036_854_775_808_u64, "1"]),
            "",
        ),
        trap(
            "double",
            ALL,
            "{ type: number, format: double, maximum: 1 }",
            "{}",
            json!([0.5]),
            json!([2, "0.5"]),
            "",
        ),
        trap(
            "byte",
            ALL,
            "{ type: string, format: byte }",
            "{}",
            json!(["aGk=", ""]),
            json!(["a_b", "a"]),
            "",
        ),
        trap(
            "contentEncoding: base64",
            &["3.1"],
            "{ type: string, contentEncoding: base64 }",
            "{}",
            json!(["aGk="]),
            json!(["a_b"]),
            "",
        ),
        trap(
            "formats that are asserted",
            ALL,
            "{ type: string, format: date-time }",
            "{}",
            json!(["2024-01-01T00:00:00Z"]),
            json!(["2024-01-01"]),
            "",
        ),
        trap(
            "formats that nobody knows",
            ALL,
            "{ type: string, format: datetime }",
            "{}",
            json!(["x"]),
            json!([1]),
            "not checked: `format: datetime` is not asserted",
        ),
        trap(
            "int-or-string",
            ALL,
            "{ type: string, format: int-or-string }",
            "{}",
            json!(["a", 1]),
            json!([true, 1.5]),
            "",
        ),
        trap(
            "readOnly and required",
            ALL,
            "{ type: object, required: [id, n], properties: { id: { type: string, readOnly: true }, n: { type: string } } }",
            "{}",
            json!([{"n": "a"}, {"n": "a", "id": "x"}]),
            json!([{}, {"n": "a", "id": 1}]),
            "",
        ),
        trap(
            "readOnly and required through $ref",
            ALL,
            "{ type: object, required: [id], properties: { id: { $ref: '#/s/Id' } } }",
            "{ Id: { type: string, readOnly: true } }",
            json!([{}]),
            json!([{"id": 1}]),
            "",
        ),
        trap(
            "readOnly and required through allOf",
            ALL,
            "{ allOf: [{ $ref: '#/s/Base' }, { required: [id, n], properties: { n: { type: string } } }] }",
            "{ Base: { type: object, properties: { id: { type: string, readOnly: true } } } }",
            json!([{"n": "a"}]),
            json!([{}, 1]),
            "",
        ),
        trap(
            "required in a shared schema, readOnly beside it",
            ALL,
            "{ allOf: [{ $ref: '#/s/Base' }, { properties: { id: { readOnly: true } } }] }",
            "{ Base: { type: object, required: [id, n] } }",
            json!([{"n": "a"}]),
            json!([{}, {"id": 1}]),
            "",
        ),
        trap(
            "writeOnly",
            ALL,
            "{ type: object, required: [p], properties: { p: { type: string, writeOnly: true } } }",
            "{}",
            json!([{"p": "a"}]),
            json!([{}]),
            "",
        ),
        trap(
            "type: file",
            ALL,
            "{ type: file }",
            "{}",
            json!(["x"]),
            json!([1]),
            "",
        ),
        trap(
            "types that are none",
            ALL,
            "{ type: any, maxLength: 1 }",
            "{}",
            json!(["a", 1]),
            json!(["ab"]),
            "is no type; any passes",
        ),
        trap(
            "required: true in a property",
            ALL,
            "{ type: object, properties: { a: { type: string, required: true } } }",
            "{}",
            json!([{}, {"a": "x"}]),
            json!([{"a": 1}]),
            "is a list of its properties",
        ),
        trap(
            "patterns between slashes",
            ALL,
            "{ type: string, pattern: '/^a$/' }",
            "{}",
            json!(["a"]),
            json!(["b", "/a/"]),
            "stands between slashes",
        ),
        trap(
            "patterns with look-around",
            ALL,
            "{ type: string, pattern: '^(?!x).*$' }",
            "{}",
            json!(["x", "a"]),
            json!([1]),
            "no regular expression that runs in linear time",
        ),
        trap(
            "patterns of ECMA 262",
            ALL,
            r"{ type: string, pattern: '^\d{2}\u0041$' }",
            "{}",
            json!(["12A"]),
            json!(["1A", "12B"]),
            "",
        ),
        trap(
            "properties named like keywords",
            ALL,
            "{ type: object, required: [type], properties: { type: { type: string }, properties: { type: integer }, $ref: { type: string }, nullable: { type: boolean }, required: { type: boolean }, enum: { type: string } } }",
            "{}",
            json!([{"type": "a", "$ref": "x", "properties": 1, "nullable": true, "enum": "e"}]),
            json!([{}, {"type": 1}, {"type": "a", "$ref": 1}, {"type": "a", "properties": "x"}]),
            "",
        ),
        trap(
            "schemas named like keywords",
            ALL,
            "{ $ref: '#/s/properties' }",
            "{ properties: { type: object, properties: { a: { $ref: '#/s/$ref' } } }, $ref: { type: integer } }",
            json!([{"a": 1}]),
            json!([{"a": "x"}, 1]),
            "",
        ),
        trap(
            "additionalProperties",
            ALL,
            "{ type: object, additionalProperties: false, properties: { a: {} } }",
            "{}",
            json!([{"a": 1}]),
            json!([{"b": 1}]),
            "",
        ),
        trap(
            "lists of positions",
            ALL,
            "{ type: array, items: [{ type: string }, { type: integer }] }",
            "{}",
            json!([["a", 1]]),
            json!([[1, "a"]]),
            "",
        ),
        trap(
            "recursion",
            ALL,
            "{ $ref: '#/s/Tree' }",
            "{ Tree: { type: object, properties: { l: { $ref: '#/s/Tree' } }, additionalProperties: false } }",
            json!([{"l": {"l": {}}}]),
            json!([{"l": {"x": 1}}]),
            "",
        ),
        trap(
            "discriminator without mapping",
            &["3.0", "3.1"],
            "{ oneOf: [{ $ref: '#/s/Cat' }, { $ref: '#/s/Dog' }], discriminator: { propertyName: kind } }",
            "{ Cat: { type: object, required: [kind], properties: { n: { type: integer } } }, Dog: { type: object, properties: { n: { type: string } } } }",
            json!([{"kind": "Cat"}, {"kind": "Cat", "n": 1}, {"kind": "Dog", "n": "a"}]),
            json!([{}, {"kind": "Cow"}, {"kind": "Cat", "n": "a"}, {"kind": "Dog", "n": 1}, 1]),
            "",
        ),
        trap(
            "discriminator with mapping",
            &["3.0", "3.1"],
            "{ anyOf: [{ $ref: '#/s/Cat' }, { $ref: '#/s/Dog' }], discriminator: { propertyName: kind, mapping: { c: '#/s/Cat', c2: Cat, d: '#/s/Dog' } } }",
            "{ Cat: { type: object, properties: { n: { type: integer } } }, Dog: { type: object, properties: { n: { type: string } } } }",
            json!([{"kind": "c", "n": 1}, {"kind": "c2"}, {"kind": "d", "n": "a"}]),
            json!([{"kind": "Cat"}, {"kind": "c", "n": "a"}, {"kind": "d", "n": 1}]),
            "",
        ),
        trap(
            "discriminator with inheritance",
            ALL,
            "{ $ref: '#/s/Pet' }",
            "{ Pet: { type: object, discriminator: { propertyName: kind }, required: [kind], properties: { kind: { type: string } } }, Cat: { allOf: [{ $ref: '#/s/Pet' }, { required: [n], properties: { n: { type: integer } } }] }, Kitten: { allOf: [{ $ref: '#/s/Cat' }, { properties: { m: { type: integer } } }] } }",
            json!([{"kind": "Pet"}, {"kind": "Cat", "n": 1}, {"kind": "Kitten", "n": 1, "m": 2}]),
            json!([{}, {"kind": "Cat"}, {"kind": "Kitten", "m": 2}, {"kind": "Kitten", "n": 1, "m": "a"}, {"kind": "Cow"}]),
            "",
        ),
        trap(
            "discriminator as text",
            &["2.0"],
            "{ $ref: '#/s/Pet' }",
            "{ Pet: { type: object, discriminator: kind, required: [kind], properties: { kind: { type: string } } }, Cat: { x-discriminator-value: c, allOf: [{ $ref: '#/s/Pet' }, { required: [n] }] } }",
            json!([{"kind": "Pet"}, {"kind": "c", "n": 1}]),
            json!([{"kind": "c"}, {"kind": "Cat"}]),
            "",
        ),
        trap(
            "a branch without a value",
            &["3.0", "3.1"],
            "{ oneOf: [{ $ref: '#/s/Cat' }, { type: object, required: [z] }], discriminator: { propertyName: kind } }",
            "{ Cat: { type: object, required: [c] } }",
            json!([{"c": 1}, {"z": 1}]),
            json!([{}, {"c": 1, "z": 1}]),
            "has no value to be chosen by",
        ),
    ]
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import")
}

/// Imports `tests/import/NAME/api.yaml`, with the issuers beside it.
fn imported(name: &str) -> Imported {
    let folder = folder().join(name);
    let mut beside = |path: &str| {
        fs::read_to_string(folder.join(path)).map_err(|error| format!("{path}: {error}"))
    };
    let text = beside("api.yaml").unwrap();
    let issuers = beside("issuers.yaml").ok().map(|text| {
        let document = Document::parse(&text).unwrap();
        Issuers::read(&document).unwrap_or_else(|problems| panic!("{problems:#?}"))
    });
    let docs = Documents::load("api.yaml", text, &mut beside)
        .unwrap_or_else(|fault| panic!("{name}: {fault}"));
    let options = Options {
        issuers,
        ..Options::default()
    };
    import(&docs, &options).unwrap_or_else(|faults| panic!("{name}: {faults:#?}"))
}

/// Whole documents with the policies and reports they come to, for people to read. With
/// `FORECOURT_BLESS=1` policies and reports are written anew.
#[test]
fn whole_documents_become_the_policies_beside_them() {
    let mut names: Vec<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() >= 5);
    for name in names {
        let imported = imported(&name);
        let made = imported.draft.yaml();
        let read = Document::parse(&made).unwrap_or_else(|error| panic!("{error:?}\n{made}"));
        assert_eq!(read.value, imported.draft.document(), "{name}");
        let report = imported.report.to_string();
        for (file, made) in [("policy.yaml", &made), ("report.txt", &report)] {
            let path = folder().join(&name).join(file);
            if bless() {
                fs::write(&path, made).unwrap();
            }
            let held = fs::read_to_string(&path).unwrap_or_default();
            assert!(
                held == *made,
                "{name}/{file} has changed: FORECOURT_BLESS=1 cargo test --test import\n{made}"
            );
        }
        let compiled = PolicyFile::parse(&made, "policy.yaml", &folder());
        let open = made.contains("# TODO");
        assert_eq!(compiled.is_err(), open, "{name}: {:?}", compiled.err());
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a switch for whoever runs the test"
)]
fn bless() -> bool {
    std::env::var("FORECOURT_BLESS").is_ok()
}

const SMALL: &str = "openapi: 3.0.0\npaths:\n  /a: { get: { tags: [x], operationId: a } }\n  /b: { get: { tags: [y], operationId: b }, put: {} }\n";

fn paths(options: &Options) -> Vec<String> {
    let policy = read(SMALL, options)
        .unwrap_or_else(|faults| panic!("{faults:#?}"))
        .draft
        .document();
    let routes = policy["routes"].as_array().unwrap().iter();
    let written = routes.map(|route| {
        let matching = &route["match"];
        format!(
            "{} {}",
            matching["methods"][0].as_str().unwrap(),
            matching["path"].as_str().unwrap()
        )
    });
    written.collect()
}

#[test]
fn only_what_is_wanted_is_imported() {
    let only = |names: &[&str]| Options {
        only: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Options::default()
    };
    assert_eq!(paths(&only(&[])), ["GET /a", "GET /b", "PUT /b"]);
    assert_eq!(paths(&only(&["x"])), ["GET /a"]);
    assert_eq!(paths(&only(&["b"])), ["GET /b"]);
    assert_eq!(paths(&only(&["a", "PUT /b"])), ["GET /a", "PUT /b"]);
    let faults = read(SMALL, &only(&["a", "z"])).err().unwrap();
    assert!(faults[0].message.contains("`z`"), "{faults:#?}");
    let moved = Options {
        base_path: Some("/v9/".into()),
        ..only(&["a"])
    };
    assert_eq!(paths(&moved), ["GET /v9/a"]);
}

#[test]
fn what_is_no_document_is_refused_with_its_line() {
    for (text, line, said) in [
        ("", Some(1), "empty"),
        ("[]", Some(1), "is no OpenAPI document"),
        ("a: 1", Some(1), "is no OpenAPI document"),
        ("openapi: 3.0.0", Some(1), "has no `paths`"),
        (
            "x: 1\nopenapi: 4.0.0",
            Some(2),
            "is no version that is read here",
        ),
        ("swagger: 1.2", Some(1), "is no version that is read here"),
        ("openapi: 3.0.0\npaths: [", Some(3), ""),
        (
            "{\"openapi\": \"3.0.0\",\n\"paths\": {},\n\"paths\": {}}",
            Some(3),
            "`paths` is here twice",
        ),
        (
            "openapi: 3.0.0\npaths:\n  /a:\n    get:\n      requestBody: { $ref: '#/none' }",
            Some(5),
            "leads to nothing",
        ),
        (
            "openapi: 3.0.0\npaths:\n  /a:\n    get:\n      security: [{ x: [] }]",
            Some(5),
            "no security scheme is called `x`",
        ),
        (
            "openapi: 3.0.0\npaths:\n  /a: { $ref: 'https://example.com/a.yaml' }",
            Some(3),
            "nothing is fetched",
        ),
        (
            "openapi: 3.0.0\npaths:\n  /a: { $ref: '../a.yaml' }",
            Some(3),
            "outside the document's folder",
        ),
        (
            "openapi: 3.0.0\npaths:\n  /a: { $ref: '#/paths/~1b' }\n  /b: { $ref: '#/paths/~1a' }",
            Some(3),
            "circle",
        ),
    ] {
        let faults = refused(text);
        assert_eq!(faults[0].line, line, "{text}: {faults:#?}");
        assert!(faults[0].message.contains(said), "{text}: {faults:#?}");
    }
}

/// Documents whose references, depth, size or numbers are meant to hurt.
#[test]
fn hostile_documents_are_refused_or_taken_but_never_win() {
    let body = |schemas: &str| {
        format!(
            "openapi: 3.1.0\npaths: {{ /a: {{ post: {{ requestBody: {{ content: {{ application/json: {{ schema: {{ $ref: '#/components/schemas/A' }} }} }} }} }} }} }}\ncomponents: {{ schemas: {schemas} }}"
        )
    };
    let circle =
        body("{ A: { $ref: '#/components/schemas/B' }, B: { $ref: '#/components/schemas/A' } }");
    assert!(refused(&circle)[0].message.contains("circle"));
    let itself = body("{ A: { $ref: '#/components/schemas/A' } }");
    assert!(refused(&itself)[0].message.contains("circle"));

    // Each of these is a policy in the end: what cannot be said is left out.
    let many = |count: usize, each: &dyn Fn(usize) -> String| {
        let all: Vec<_> = (0..count).map(each).collect();
        format!(
            "{{ A: {{ $ref: '#/components/schemas/A0' }}, {} }}",
            all.join(", ")
        )
    };
    let twice = many(40, &|n| {
        let next = format!("{{ $ref: '#/components/schemas/A{}' }}", n + 1);
        format!("A{n}: {{ allOf: [{next}, {next}] }}")
    });
    let twice = twice.replace("A40'", "A0'");
    let long = many(200, &|n| {
        format!(
            "A{n}: {{ allOf: [{{ $ref: '#/components/schemas/A{}' }}] }}",
            (n + 1) % 200
        )
    });
    for (name, schemas) in [
        ("all of itself", "{ A: { allOf: [{ $ref: '#/components/schemas/A' }] } }".to_owned()),
        ("not itself", "{ A: { not: { $ref: '#/components/schemas/A' } } }".to_owned()),
        ("doubling", twice),
        ("long chains", long),
        ("a parent of itself", "{ A: { discriminator: { propertyName: k }, allOf: [{ $ref: '#/components/schemas/A' }] } }".to_owned()),
        ("parents in a ring", "{ A: { discriminator: { propertyName: k }, allOf: [{ $ref: '#/components/schemas/B' }] }, B: { discriminator: { propertyName: k }, allOf: [{ $ref: '#/components/schemas/A' }] } }".to_owned()),
        ("branches of itself", "{ A: { oneOf: [{ $ref: '#/components/schemas/A' }], discriminator: { propertyName: k } } }".to_owned()),
        ("nonsense", "{ A: { type: [], enum: 5, allOf: {}, properties: [], required: { a: 1 }, items: 7, maximum: x, minLength: -1, multipleOf: 0, pattern: 5, not: 3, discriminator: 9, $ref: 5, $id: 5, nullable: 5, format: 5, prefixItems: x, dependentRequired: 5, patternProperties: { '(': {} } } }".to_owned()),
        ("a schema that is text", "{ A: text }".to_owned()),
    ] {
        let text = body(&schemas);
        let imported = read(&text, &Options::default());
        let imported = imported.unwrap_or_else(|faults| panic!("{name}: {faults:#?}"));
        let made = imported.draft.yaml();
        if let Err(error) = PolicyFile::parse(&made, "policy.yaml", &folder()) {
            panic!("{name}: {error}\n{made}");
        }
    }
    let deep = format!("{}{}", "{\"a\":".repeat(5000), "}".repeat(5000));
    assert_eq!(refused(&deep).len(), 1);
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let alias = format!("*a{}", level - 1);
        bomb += &format!(
            "a{level}: &a{level} [{}]\n",
            [alias.as_str(); 10].join(", ")
        );
    }
    assert!(refused(&bomb)[0].message.contains("too large"));
}

#[test]
fn issuers_that_do_not_fit_are_refused() {
    for (text, place) in [
        ("[]", ""),
        ("issuer: {}", "issuer"),
        ("securitySchemes: { a: nobody }", "securitySchemes.a"),
        (
            "issuers: { i: {} }\nsecuritySchemes: { a: { issuer: i, audience: x } }",
            "securitySchemes.a.audience",
        ),
        (
            "issuers: { i: {} }\nsecuritySchemes: { a: [i] }",
            "securitySchemes.a",
        ),
        ("issuers: []", "issuers"),
    ] {
        let problems = Issuers::read(&Document::parse(text).unwrap()).unwrap_err();
        assert_eq!(problems[0].place.as_str(), place, "{text}: {problems:#?}");
    }
}

/// The README's document and issuers become the policy that stands below them.
#[test]
fn the_readmes_document_becomes_its_policy() {
    let readme = include_str!("../README.md");
    let section = readme
        .split("## Import an OpenAPI document")
        .nth(1)
        .unwrap();
    let mut blocks = section
        .split("```yaml\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap());
    let (text, issuers, policy) = (
        blocks.next().unwrap(),
        blocks.next().unwrap(),
        blocks.next().unwrap(),
    );
    let issuers = Issuers::read(&Document::parse(issuers).unwrap()).unwrap();
    let options = Options {
        issuers: Some(issuers),
        ..Options::default()
    };
    let imported = read(text, &options).unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert_eq!(imported.draft.yaml(), policy);
    assert!(imported.report.is_empty(), "{}", imported.report);
}
