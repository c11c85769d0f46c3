use serde_json::{Map, json};

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

pub(super) fn good(shared: Value, used: Value) -> Schema {
    let (schema, problems) = compile(shared, &used);
    assert_eq!(problems, Vec::<String>::new());
    schema.unwrap()
}

pub(super) fn problems(shared: Value, used: Value) -> String {
    let (_, problems) = compile(shared, &used);
    problems.join("\n")
}

pub(super) fn passes(schema: &Schema, value: Value) -> bool {
    schema.check(value, "body").is_ok()
}

/// `pointer keyword: expected` of each violation.
pub(super) fn told(schema: &Schema, value: Value) -> Vec<String> {
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
fn what_is_wrong_with_a_schema_is_reported_with_its_mend() {
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
fn alternatives_that_lead_to_the_same_places_do_not_multiply() {
    let schema = good(recursive(), json!({"$ref": "#/schemas/Node"}));
    for levels in [2, 18, 30, 60] {
        assert_eq!(
            told(&schema, deep(levels)),
            [" anyOf: a match of at least one of 3 schemas"],
            "{levels}"
        );
    }
    let good = (0..60).fold(json!({"v": 1}), |inner, _| json!({"l": inner, "v": 1}));
    assert!(passes(&schema, good));
}

/// Schemas each of which leads to the next one twice.
fn doubling(levels: usize, keyword: &str) -> Value {
    let one = |level: usize| {
        let next = json!({"$ref": format!("#/schemas/S{}", level + 1)});
        let schema = match keyword {
            "properties" => {
                json!({"allOf": [{"properties": {"a": next}}, {"properties": {"a": next}}]})
            }
            _ => json!({keyword: [next, {"allOf": [next]}]}),
        };
        (format!("S{level}"), schema)
    };
    let mut shared: Map<String, Value> = (0..levels).map(one).collect();
    shared.insert(format!("S{levels}"), json!({"type": "string"}));
    Value::Object(shared)
}

#[test]
fn schemas_that_lead_to_others_many_times_over_are_checked_in_bounded_time() {
    let used = json!({"$ref": "#/schemas/S0"});
    for keyword in ["anyOf", "allOf", "properties"] {
        let schema = good(doubling(60, keyword), used.clone());
        let nested = |leaf| match keyword {
            "properties" => (0..60).fold(leaf, |inner, _| json!({"a": inner})),
            _ => leaf,
        };
        assert!(passes(&schema, nested(json!("x"))), "{keyword}");
        assert!(!passes(&schema, nested(json!(1))), "{keyword}");
    }
}

#[test]
fn schemas_may_nest_deeply_and_never_endlessly() {
    let nested = |levels: usize| {
        (0..levels).fold(
            json!({"type": "string"}),
            |inner, _| json!({"allOf": [inner]}),
        )
    };
    assert!(problems(json!({}), nested(60)).contains("nests deeper than 100 levels"));
    let schema = good(json!({}), nested(40));
    assert!(passes(&schema, json!("x")) && !passes(&schema, json!(1)));
    let told = problems(json!({}), json!({"$ref": "#"}));
    assert!(told.contains("schema: leads back to itself"), "{told}");
    let ring = json!({
        "A": {"anyOf": [{"type": "string"}, {"$ref": "#/schemas/B"}]},
        "B": {"not": {"$ref": "#/schemas/A"}},
    });
    let told = problems(ring, json!(true));
    assert!(told.contains("schemas.A: leads back to itself"), "{told}");
    let chain = |last: Value| {
        let mut shared: Map<String, Value> = (0..5_000)
            .map(|at| {
                (
                    format!("S{at}"),
                    json!({"allOf": [{"$ref": format!("#/schemas/S{}", at + 1)}]}),
                )
            })
            .collect();
        shared.insert("S5000".into(), last);
        Value::Object(shared)
    };
    let endless = problems(chain(json!({"$ref": "#/schemas/S0"})), json!(true));
    assert!(endless.contains("leads back to itself"), "{endless}");
    // More of them for one value than the stack holds: no value passes.
    let long = good(chain(json!(true)), json!({"$ref": "#/schemas/S0"}));
    assert!(told_nothing(&long, json!(1)));
}

fn told_nothing(schema: &Schema, value: Value) -> bool {
    let mismatch = schema.check(value, "body").unwrap_err();
    mismatch.violations.is_empty()
}

#[test]
fn the_first_errors_of_very_many_are_listed() {
    let schema = good(json!({}), json!({"items": {"type": "string"}}));
    let lines = told(&schema, json!(vec![1; 90_000]));
    assert_eq!(lines.len(), crate::schema::MOST_VIOLATIONS);
    assert_eq!(lines[0], "/0 type: type string");
}

/// A hundred schemas, each of which leads to twenty others.
fn ring(extra: &Value) -> Value {
    let one = |index: usize| {
        let member = |to: usize| {
            let next = json!({"$ref": format!("#/schemas/S{}", (index * 7 + to * 3) % 100)});
            (format!("m{to}"), next)
        };
        let mut schema = json!({"type": "object"});
        schema["properties"] = (0..20).map(member).collect::<Map<_, _>>().into();
        for (keyword, value) in extra.as_object().unwrap() {
            schema[keyword] = value
                .as_str()
                .unwrap()
                .replace('N', &index.to_string())
                .into();
        }
        (format!("S{index}"), schema)
    };
    Value::Object((0..100).map(one).collect())
}

#[test]
fn rings_of_schemas_are_compiled_once_each() {
    let draft7 = "http://json-schema.org/draft-07/schema#";
    for extra in [
        json!({}),
        json!({"$id": "https://example.com/sN"}),
        json!({"$anchor": "same"}),
        json!({"$dynamicAnchor": "node"}),
        json!({"$schema": draft7}),
    ] {
        let used = match extra.get("$schema") {
            Some(_) => json!({"$schema": draft7, "items": {"$ref": "#/schemas/S0"}}),
            None => json!({"items": {"$ref": "#/schemas/S0"}}),
        };
        let schema = good(ring(&extra), used);
        assert!(passes(&schema, json!([{"m1": {"m2": {}}}])), "{extra}");
        assert!(!passes(&schema, json!([{"m1": {"m2": 1}}])), "{extra}");
    }
}

#[test]
fn documents_with_an_id_refer_to_each_other_relatively() {
    let shared = json!({
        "Order": {"$id": "https://example.com/shop/order.json", "properties": {"a": {"$ref": "address.json"},
                  "z": {"$ref": "address.json#zip"}, "s": {"$ref": "#/$defs/s"}}, "$defs": {"s": {"type": "string"}}},
        "Address": {"$id": "https://example.com/shop/address.json", "type": "object", "required": ["zip"],
                    "properties": {"zip": {"$anchor": "zip", "type": "string"}}},
    });
    let order = good(
        shared,
        json!({"$ref": "https://example.com/shop/order.json"}),
    );
    assert!(passes(
        &order,
        json!({"a": {"zip": "1"}, "z": "1", "s": "x"})
    ));
    for bad in [json!({"a": {}}), json!({"z": 1}), json!({"s": 1})] {
        assert!(!passes(&order, bad));
    }
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
