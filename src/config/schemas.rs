//! The policy's JSON Schemas, shared (`schemas`) and inline, compiled together.
//!
//! Each becomes a resource with an address of its own, so `#/$defs/…` and `#anchor` mean what they
//! mean in a file of its own; `#/schemas/NAME` means the policy's shared schema everywhere.
mod keywords;
mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::problem::{Place, Problems};
use crate::schema::{Schema, SchemaError, Schemas, Shapes, options};
use walk::{Document, Pattern, Walk, Walked, place_below, wraps};

/// What stays readable in an address (RFC 3986 §2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Every schema of a policy, by the place it is used at.
#[derive(Debug, Default)]
pub struct SchemaTable {
    shared: BTreeMap<String, Value>,
    schemas: Option<Arc<Schemas>>,
    entries: BTreeMap<Place, String>,
}

impl SchemaTable {
    /// Compiles the shared schemas and those that `uses` lists with the place each stands at.
    ///
    /// Shared schemas that nothing uses are checked, but not kept.
    pub fn compile<'a>(
        shared: &BTreeMap<String, Value>,
        at: &Place,
        uses: impl IntoIterator<Item = (Place, &'a Value)>,
        problems: &mut Problems,
    ) -> Self {
        let before = problems.0.len();
        let mut walk = Walk::new(problems);
        for (name, schema) in shared {
            walk.add(Some(name), shared_uri(name), schema, at.key(name));
        }
        let mut entries = Entries::default();
        for (place, schema) in uses {
            entries.add(place, schema, shared, &mut walk);
        }
        let walked = walk.run();
        let root = root(&walked.documents, &entries);
        let shapes = entries.shapes(&walked);
        let used = shapes.reachable();
        let broken = problems.0.len() > before;
        let built = Schemas::build(&root, shapes);
        if let Err(error) = &built {
            diagnose(error, &root, &walked, at, before, problems);
        } else {
            // What no route uses was not compiled, but shall not lie in wait either.
            let unused = |pattern: &&Pattern| !used.get(pattern.shape).is_some_and(|used| *used);
            check_patterns(walked.patterns.iter().filter(unused), before, problems);
        }
        Self {
            shared: shared.clone(),
            schemas: built.ok().filter(|_| !broken).map(Arc::new),
            entries: entries.by_place,
        }
    }

    /// The shared schemas as written.
    pub fn shared(&self) -> &BTreeMap<String, Value> {
        &self.shared
    }

    /// The schema used at that place; `None` where it could not be compiled.
    pub fn get(&self, place: &Place) -> Option<Schema> {
        let entry = self.entries.get(place)?;
        Some(Schema::new(self.schemas.clone()?, entry))
    }
}

/// The uses of schemas, equal ones once.
#[derive(Default)]
struct Entries {
    by_place: BTreeMap<Place, String>,
    by_text: BTreeMap<String, String>,
    uris: Vec<String>,
}

impl Entries {
    fn add(
        &mut self,
        place: Place,
        schema: &Value,
        shared: &BTreeMap<String, Value>,
        walk: &mut Walk<'_>,
    ) {
        let text = schema.to_string();
        let entry = match self.by_text.get(&text) {
            Some(entry) => entry.clone(),
            None => {
                let entry = self.uris.len().to_string();
                let uri = plain_reference(schema, shared).map_or_else(
                    || {
                        let uri = format!("forecourt:///inline/{entry}");
                        walk.add(None, uri.clone(), schema, place.clone());
                        uri
                    },
                    shared_uri,
                );
                self.uris.push(uri);
                self.by_text.insert(text, entry.clone());
                entry
            }
        };
        self.by_place.insert(place, entry);
    }

    fn iter(&self) -> impl Iterator<Item = (String, &str)> {
        self.uris
            .iter()
            .enumerate()
            .map(|(index, uri)| (index.to_string(), uri.as_str()))
    }

    fn shapes(&self, walked: &Walked) -> Shapes {
        let roots: BTreeMap<&str, usize> = walked
            .documents
            .iter()
            .map(|document| (document.uri.as_str(), document.root))
            .collect();
        let entries = self
            .iter()
            .filter_map(|(entry, uri)| Some((entry, *roots.get(uri)?)))
            .collect();
        Shapes::new(walked.shapes.clone(), entries)
    }
}

/// The name of the shared schema that `schema` is nothing but a reference to.
fn plain_reference<'a>(schema: &'a Value, shared: &BTreeMap<String, Value>) -> Option<&'a str> {
    let keywords = schema.as_object().filter(|keywords| keywords.len() == 1)?;
    let name = keywords.get("$ref")?.as_str()?.strip_prefix("#/schemas/")?;
    shared.contains_key(name).then_some(name)
}

fn shared_uri(name: &str) -> String {
    format!(
        "forecourt:///schemas/{}",
        utf8_percent_encode(name, RESERVED)
    )
}

/// The one schema that holds all documents, and an entry per use.
fn root(documents: &[Document], entries: &Entries) -> Value {
    let resources: Map<String, Value> = documents
        .iter()
        .enumerate()
        .map(|(index, document)| (index.to_string(), resource(document)))
        .collect();
    let properties: Map<String, Value> = entries
        .iter()
        .map(|(entry, uri)| (entry, json!({"$ref": uri})))
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "forecourt:///policy",
        "$defs": resources,
        "properties": properties,
    })
}

/// A document as a resource with its address and dialect.
fn resource(document: &Document) -> Value {
    let mut keywords = match &document.schema {
        Value::Object(keywords) if !wraps(document) => keywords.clone(),
        other => Map::from_iter([("allOf".to_owned(), json!([other]))]),
    };
    if document.draft7
        && let Some(reference) = keywords.remove("$ref")
    {
        // Draft 7 ignores everything beside `$ref`, the address included.
        keywords.retain(|keyword, _| matches!(keyword.as_str(), "definitions" | "$defs"));
        keywords.insert("allOf".into(), json!([{"$ref": reference}]));
    }
    keywords.insert("$id".into(), document.uri.clone().into());
    keywords.insert("$schema".into(), dialect(document).into());
    Value::Object(keywords)
}

fn dialect(document: &Document) -> &'static str {
    if document.draft7 {
        "http://json-schema.org/draft-07/schema#"
    } else {
        "https://json-schema.org/draft/2020-12/schema"
    }
}

const MEND: &str = "copy it to `schemas` and refer to it as `#/schemas/NAME`";

/// Finds everything that may have made the build fail; runs only for a policy that is refused.
fn diagnose(
    error: &SchemaError,
    root: &Value,
    walked: &Walked,
    at: &Place,
    before: usize,
    problems: &mut Problems,
) {
    check_patterns(&walked.patterns, before, problems);
    for document in &walked.documents {
        check_form(document, before, problems);
    }
    for (place, reference) in &walked.outside {
        let uri = reference.trim_end_matches('#');
        if error.message.contains(&format!("'{uri}'")) {
            let message =
                format!("`{reference}` is not in this policy, and nothing is fetched; {MEND}");
            add_new(place, message, before, problems);
        }
    }
    if problems.0.len() == before {
        let place = place_in_root(&error.pointer, root, walked).unwrap_or_else(|| at.clone());
        problems.add(&place, error.message.clone());
    }
}

/// Reports every pattern that the linear matcher cannot run.
fn check_patterns<'w>(
    patterns: impl IntoIterator<Item = &'w Pattern>,
    before: usize,
    problems: &mut Problems,
) {
    for Pattern { place, text, .. } in patterns {
        if options().build(&json!({"pattern": text})).is_err() {
            add_new(place, pattern_problem(text), before, problems);
        }
    }
}

fn pattern_problem(pattern: &str) -> String {
    let looks_around = ["(?=", "(?!", "(?<=", "(?<!"]
        .iter()
        .any(|group| pattern.contains(group));
    if looks_around {
        "uses look-around, which needs a matcher that can take exponential time; write it without, \
         for instance as several patterns under `allOf` and `not`"
            .into()
    } else {
        "is not a regular expression that runs in linear time: a syntax error, a back-reference, or \
         too large once compiled"
            .into()
    }
}

/// Reports what the dialect's own meta-schema refuses.
fn check_form(document: &Document, before: usize, problems: &mut Problems) {
    let mut schema = document.schema.clone();
    if let Value::Object(keywords) = &mut schema {
        keywords.insert("$schema".into(), dialect(document).into());
    }
    let Ok(validator) = jsonschema::meta::validator_for(&schema) else {
        return;
    };
    for error in validator.iter_errors(&schema) {
        let pointer = error.instance_path().as_str();
        let place = place_below(&document.place, &document.schema, pointer);
        add_new(&place, error.to_string(), before, problems);
    }
}

/// Adds a finding unless this compilation already has one at that place.
fn add_new(place: &Place, message: String, before: usize, problems: &mut Problems) {
    if !problems
        .0
        .iter()
        .skip(before)
        .any(|held| held.place == *place)
    {
        problems.add(place, message);
    }
}

fn place_in_root(pointer: &str, root: &Value, walked: &Walked) -> Option<Place> {
    let (index, rest) = pointer.strip_prefix("/$defs/")?.split_once('/')?;
    let document = walked.documents.get(index.parse::<usize>().ok()?)?;
    let resource = root.pointer(&format!("/$defs/{index}"))?;
    Some(place_below(&document.place, resource, &format!("/{rest}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn at() -> Place {
        Place::root().key("schemas")
    }

    fn here() -> Place {
        Place::root().key("routes").index(0).key("schema")
    }

    fn compile(shared: Value, used: &Value) -> (Option<Schema>, Vec<String>) {
        let shared: BTreeMap<String, Value> = serde_json::from_value(shared).unwrap();
        let mut problems = Problems::default();
        let table = SchemaTable::compile(&shared, &at(), [(here(), used)], &mut problems);
        let lines = problems.0.iter().map(ToString::to_string).collect();
        (table.get(&here()), lines)
    }

    fn good(shared: Value, used: Value) -> Schema {
        let (schema, problems) = compile(shared, &used);
        assert_eq!(problems, Vec::<String>::new());
        schema.unwrap()
    }

    fn problems(shared: Value, used: Value) -> String {
        let (_, problems) = compile(shared, &used);
        problems.join("\n")
    }

    fn passes(schema: &Schema, value: Value) -> bool {
        schema.check(value, "body").is_ok()
    }

    /// `pointer keyword: expected` of each violation.
    fn told(schema: &Schema, value: Value) -> Vec<String> {
        let mismatch = schema.check(value, "body").unwrap_err();
        let lines = mismatch.violations.iter();
        lines
            .map(|one| format!("{} {}: {}", one.pointer, one.keyword, one.expected))
            .collect()
    }

    #[test]
    fn a_shared_schema_is_reached_from_everywhere() {
        let shared = json!({
            "Order": {"type": "object", "properties": {"lines": {"type": "array", "items": {"$ref": "#/schemas/Line"}}}},
            "Line": {"type": "object", "required": ["sku"], "properties": {"sku": {"$ref": "#/$defs/sku"}},
                     "$defs": {"sku": {"type": "string"}}},
        });
        let order = good(shared.clone(), json!({"$ref": "#/schemas/Order"}));
        assert!(passes(&order, json!({"lines": [{"sku": "a"}]})));
        assert!(!passes(&order, json!({"lines": [{"sku": 1}]})));
        let deep = good(
            shared,
            json!({"items": {"$ref": "#/schemas/Line/properties/sku"}}),
        );
        assert!(passes(&deep, json!(["a"])));
        assert!(!passes(&deep, json!([1])));
    }

    #[test]
    fn names_of_any_form_can_be_referred_to() {
        let shared = json!({"a b/c~é": {"type": "string"}});
        let schema = good(shared, json!({"$ref": "#/schemas/a%20b~1c~0%C3%A9"}));
        assert!(passes(&schema, json!("x")) && !passes(&schema, json!(1)));
    }

    #[test]
    fn local_references_and_anchors_stay_in_their_schema() {
        let shared = json!({
            "A": {"$ref": "#/$defs/x", "$defs": {"x": {"type": "string"}, "y": {"$anchor": "y", "minLength": 2}}, "allOf": [{"$ref": "#y"}]},
            "B": {"$ref": "#/$defs/x", "$defs": {"x": {"$anchor": "y", "type": "integer"}}},
        });
        let a = good(shared.clone(), json!({"$ref": "#/schemas/A"}));
        assert!(passes(&a, json!("xy")) && !passes(&a, json!("x")) && !passes(&a, json!(1)));
        let b = good(shared, json!({"$ref": "#/schemas/B"}));
        assert!(passes(&b, json!(1)) && !passes(&b, json!("xy")));
    }

    #[test]
    fn a_schema_may_name_itself() {
        let shared = json!({
            "A": {"$id": "https://example.com/a", "properties": {"b": {"$ref": "b"}}, "$defs": {"n": {"type": "null"}}},
            "B": {"$id": "https://example.com/b", "anyOf": [{"type": "integer"}, {"$ref": "a#/$defs/n"}]},
        });
        let schema = good(shared.clone(), json!({"$ref": "#/schemas/A"}));
        assert!(passes(&schema, json!({"b": 1})) && passes(&schema, json!({"b": null})));
        assert!(!passes(&schema, json!({"b": "x"})));
        let deep = good(shared, json!({"$ref": "#/schemas/A/$defs/n"}));
        assert!(passes(&deep, json!(null)) && !passes(&deep, json!(1)));
    }

    #[test]
    fn draft_7_is_spoken_where_schema_says_so() {
        let draft7 = "http://json-schema.org/draft-07/schema#";
        let shared = json!({
            "Tuple": {"$schema": draft7, "items": [{"type": "string"}], "additionalItems": false},
            "Ref": {"$schema": draft7, "$ref": "#/definitions/x", "type": "string", "definitions": {"x": {"type": "integer"}}},
            "Both": {"items": [{"type": "string"}]},
        });
        let mut both = shared.clone();
        both.as_object_mut().unwrap().remove("Tuple");
        let refused = problems(both, json!({"$ref": "#/schemas/Both"}));
        assert!(refused.contains("schemas.Both.items"), "{refused}");
        let mut shared = shared;
        shared.as_object_mut().unwrap().remove("Both");
        let tuple = good(shared.clone(), json!({"$ref": "#/schemas/Tuple"}));
        assert!(passes(&tuple, json!(["a"])) && !passes(&tuple, json!(["a", "b"])));
        let lone = good(
            shared,
            json!({"properties": {"r": {"$ref": "#/schemas/Ref"}}}),
        );
        assert!(
            passes(&lone, json!({"r": 1})),
            "draft 7 ignores what stands beside `$ref`"
        );
        assert!(!passes(&lone, json!({"r": "x"})));
        let other = json!({"$schema": "http://json-schema.org/draft-04/schema#"});
        assert!(problems(json!({}), other).contains("not a dialect that is checked"));
    }

    #[test]
    fn formats_are_asserted_in_every_draft() {
        let uuid = good(json!({}), json!({"format": "uuid"}));
        assert!(!passes(&uuid, json!("x")));
        for (format, value, passed) in [
            ("int32", json!(2_147_483_647), true),
            ("int32", json!(2_147_483_648_i64), false),
            ("int64", json!(i64::MIN), true),
            ("int64", json!(u64::MAX), false),
            ("uint8", json!(-1), false),
            ("byte", json!("aGk="), true),
            ("byte", json!("aGk"), false),
            ("date-time", json!("2020-02-30T00:00:00Z"), false),
        ] {
            let schema = good(json!({}), json!({"format": format}));
            assert_eq!(passes(&schema, value.clone()), passed, "{format} {value}");
        }
    }

    #[test]
    fn what_the_engine_would_take_silently_is_reported_with_its_mend() {
        for (schema, expected) in [
            (
                json!({"requird": ["a"]}),
                "schema.requird: `requird` is no keyword of JSON Schema, did you mean `required`?",
            ),
            (
                json!({"properties": {"a": {"maxlength": 3}}}),
                "schema.properties.a.maxlength: `maxlength` is no keyword",
            ),
            (
                json!({"type": "strin"}),
                "schema.type: \"strin\" is no type",
            ),
            (
                json!({"type": "string", "nullable": true}),
                "add `null` to `type`",
            ),
            (
                json!({"pattern": "/^a$/"}),
                "schema.pattern: can never match",
            ),
            (
                json!({"$ref": "#/schemas/Ordr"}),
                "schema.$ref: the policy's `schemas` have no `Ordr`, did you mean `Order`?",
            ),
            (
                json!({"$ref": "#/$defs/b", "$defs": {"a": true}}),
                "`#/$defs/b` leads to nothing",
            ),
            (
                json!({"allOf": {"a": 1}}),
                "schema.allOf: must be a list of schemas",
            ),
            (
                json!({"properties": {"a": 1}}),
                "schema.properties.a: must be a JSON Schema",
            ),
            (
                json!({"$ref": "https://example.com/x"}),
                "schema.$ref: `https://example.com/x` is not in this policy",
            ),
            (
                json!({"format": "datetime"}),
                "schema.format: `datetime` is no known format, did you mean `date-time`?",
            ),
            (
                json!({"format": "idn-hostname"}),
                "schema.format: is not asserted",
            ),
            (json!({"minimum": "1"}), "schema.minimum"),
            (
                json!({"exclusiveMinimum": true, "minimum": 1}),
                "schema.exclusiveMinimum",
            ),
            (json!(1), "schema: must be a JSON Schema"),
        ] {
            let told = problems(json!({"Order": {}}), schema.clone());
            assert!(told.contains(expected), "{schema}: {told}");
        }
        let twice = json!({"A": {"$id": "urn:x"}, "B": {"$id": "urn:x#"}});
        assert!(problems(twice, json!(true)).contains("`$id` of another schema too"));
    }

    #[test]
    fn names_of_properties_are_not_keywords() {
        let schema = json!({"properties": {
            "type": {"type": "string"}, "$ref": {"type": "integer"}, "requird": {}, "nullable": {},
            "properties": {"properties": {"pattern": {"type": "string"}}},
        }, "default": {"requird": 1}, "enum": [{"type": "strin"}, {"$ref": 1}]});
        let schema = good(json!({}), schema);
        assert!(passes(&schema, json!({"$ref": 1})));
        assert!(!passes(&schema, json!({"$ref": "a"})));
    }

    #[test]
    fn patterns_must_run_in_linear_time() {
        for (pattern, expected) in [
            ("^(?=a)b", "look-around"),
            ("(?<!a)b", "look-around"),
            ("(a)\\1", "back-reference"),
            ("(", "syntax error"),
            ("((a{1000}){1000}){1000}", "too large"),
        ] {
            let used = problems(
                json!({}),
                json!({"properties": {"p": {"pattern": pattern}}}),
            );
            assert!(used.contains("schema.properties.p.pattern: "), "{used}");
            assert!(used.contains(expected), "{pattern}: {used}");
            let unused = problems(
                json!({"A": {"patternProperties": {pattern: {}}}}),
                json!(true),
            );
            assert!(unused.contains("schemas.A.patternProperties["), "{unused}");
        }
        let evil = good(json!({}), json!({"pattern": "^(a+)+$"}));
        assert!(!passes(&evil, json!(format!("{}!", "a".repeat(1 << 20)))));
    }

    #[test]
    fn violations_are_sorted_capped_and_hold_no_value() {
        let schema = good(
            json!({}),
            json!({
                "type": "object", "additionalProperties": false, "required": ["sku", "quantity"],
                "properties": {"sku": {"type": "string", "pattern": "^[A-Z]+$"}, "quantity": {"type": "integer", "minimum": 1},
                               "size": {"enum": ["S", "M"]}, "a/b": {"maxLength": 3}},
            }),
        );
        assert_eq!(
            told(
                &schema,
                json!({"sku": "secret", "size": "secret", "a/b": "secret", "more": "secret"})
            ),
            [
                "/a~1b maxLength: at most 3 characters",
                "/more additionalProperties: no such member",
                "/quantity required: this member is required",
                "/size enum: one of [\"S\",\"M\"]",
                "/sku pattern: a match of ^[A-Z]+$",
            ]
        );
        assert_eq!(told(&schema, json!("secret")), [" type: type object"]);
        let many = good(json!({}), json!({"items": {"type": "string"}}));
        let capped = told(&many, json!(vec![1; 500]));
        assert_eq!(capped.len(), crate::schema::MOST_VIOLATIONS);
    }

    fn recursive() -> Value {
        json!({"Node": {"anyOf": [
            {"type": "object", "required": ["v"], "properties": {"l": {"$ref": "#"}, "v": {"const": 1}}},
            {"type": "object", "required": ["w"], "properties": {"l": {"$ref": "#"}, "w": {"const": 2}}},
            {"type": "array", "items": {"$ref": "#"}},
        ]}})
    }

    fn deep(levels: usize) -> Value {
        (0..levels).fold(
            json!({"v": 3}),
            |inner, _| json!({"l": inner, "v": 1, "w": 2}),
        )
    }

    #[test]
    fn errors_that_would_grow_exponentially_are_not_collected() {
        let schema = good(recursive(), json!({"$ref": "#/schemas/Node"}));
        assert_eq!(told(&schema, deep(2)).len(), 1);
        for levels in [18, 30, 60] {
            let mismatch = schema.check(deep(levels), "body").unwrap_err();
            assert!(mismatch.violations.is_empty(), "{levels}");
        }
        let good = (0..60).fold(json!({"v": 1}), |inner, _| json!({"l": inner, "v": 1}));
        assert!(passes(&schema, good));
    }

    #[test]
    fn a_body_with_too_many_errors_is_refused_without_a_list() {
        let schema = good(json!({}), json!({"items": {"type": "string"}}));
        let mismatch = schema.check(json!(vec![1; 90_000]), "body").unwrap_err();
        assert!(mismatch.violations.is_empty());
    }

    #[test]
    fn equal_uses_share_an_entry() {
        let shared = BTreeMap::from([("A".to_owned(), json!({"type": "string"}))]);
        let schema = json!({"$ref": "#/schemas/A"});
        let places: Vec<_> = (0..1000).map(|index| Place::root().index(index)).collect();
        let uses = places.iter().map(|place| (place.clone(), &schema));
        let mut problems = Problems::default();
        let table = SchemaTable::compile(&shared, &at(), uses, &mut problems);
        assert!(problems.is_empty());
        let entries: std::collections::BTreeSet<_> = table.entries.values().collect();
        assert_eq!(entries.len(), 1);
        assert!(table.get(&Place::root()).is_none());
    }
}
