use std::collections::BTreeMap;

use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn try_compile(shared: &BTreeMap<&str, Value>) -> Result<Arc<Schemas>, Vec<Finding>> {
    let sources: Vec<Source<'_>> = shared
        .iter()
        .map(|(name, schema)| Source {
            uri: format!("test:///{name}"),
            name: Some(name),
            schema,
        })
        .collect();
    compile(&sources, &[0], &mut |_, _| None).map(Arc::new)
}

fn schema(schema: Value) -> Schema {
    let compiled = try_compile(&BTreeMap::from([("a", schema.clone())]));
    Schema::new(
        compiled.unwrap_or_else(|found| panic!("{schema}: {found:?}")),
        0,
    )
}

fn faults(schema: Value) -> Vec<(String, Fault)> {
    let found = try_compile(&BTreeMap::from([("a", schema)])).unwrap_err();
    found
        .into_iter()
        .map(|finding| (finding.pointer, finding.fault))
        .collect()
}

fn passes(schema: &Schema, value: Value) -> bool {
    schema.check(value, "body").is_ok()
}

fn told(schema: &Schema, value: Value) -> Vec<String> {
    let mismatch = schema.check(value, "body").unwrap_err();
    let lines = mismatch.violations.iter();
    lines
        .map(|one| format!("{} {}: {}", one.pointer, one.keyword, one.expected))
        .collect()
}

#[test]
fn equal_subschemas_are_compiled_once_and_plain_references_cost_nothing() {
    let compiled = try_compile(&BTreeMap::from([
        ("a", json!({"properties": {"x": {"$ref": "#/schemas/b"}, "y": {"allOf": [{"$ref": "#/schemas/b/items"}]}}})),
        ("b", json!({"items": {"$ref": "#/schemas/c"}})),
        ("c", json!({"type": "string"})),
        ("d", json!({"properties": {"unused": {"minLength": 1}}})),
    ]))
    .unwrap();
    // `true`, `false`, a, b, c, and the `allOf`.
    assert_eq!(compiled.arena.nodes.len(), 6);
    let schema = Schema::new(compiled, 0);
    assert!(passes(&schema, json!({"x": ["s"], "y": "s"})));
    assert!(!passes(&schema, json!({"x": [1]})) && !passes(&schema, json!({"y": 1})));
}

#[test]
fn every_keyword_that_has_another_form_is_reported_with_its_place() {
    for keyword in [
        "$anchor",
        "$comment",
        "$defs",
        "$dynamicAnchor",
        "$dynamicRef",
        "$id",
        "$ref",
        "$schema",
        "$vocabulary",
        "additionalProperties",
        "allOf",
        "anyOf",
        "contains",
        "contentEncoding",
        "contentMediaType",
        "definitions",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "deprecated",
        "description",
        "else",
        "enum",
        "examples",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "if",
        "items",
        "maxContains",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minContains",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "not",
        "oneOf",
        "pattern",
        "patternProperties",
        "prefixItems",
        "properties",
        "propertyNames",
        "readOnly",
        "required",
        "then",
        "title",
        "type",
        "unevaluatedItems",
        "unevaluatedProperties",
        "uniqueItems",
        "writeOnly",
    ] {
        for wrong in [json!(-1.5), json!([[]])] {
            if wrong.is_number()
                && ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"].contains(&keyword)
                || wrong.is_array() && ["enum", "examples"].contains(&keyword)
            {
                continue;
            }
            let found = faults(json!({"properties": {"p": {keyword: wrong}}}));
            let place = format!("/properties/p/{keyword}");
            assert!(
                found.iter().any(|(pointer, _)| pointer.starts_with(&place)),
                "{keyword} {wrong}: {found:?}"
            );
        }
    }
    for (keyword, wrong) in [
        ("minLength", json!(1.5)),
        ("multipleOf", json!(0)),
        ("required", json!(["a", "a"])),
        ("allOf", json!([])),
        ("type", json!("strin")),
    ] {
        assert!(!faults(json!({keyword: wrong})).is_empty(), "{keyword}");
    }
    assert!(passes(
        &schema(json!({"maxLength": 2.0, "minItems": 1e3})),
        json!("ab")
    ));
}

#[test]
fn references_that_lead_nowhere_are_told_apart() {
    let nowhere = |reference: &str, pointer: &str| Fault::Nowhere {
        reference: reference.into(),
        document: 0,
        pointer: pointer.into(),
    };
    for (reference, fault) in [
        ("#/a", nowhere("#/a", "/a")),
        ("#a", nowhere("#a", "a")),
        ("#/$ref/x", nowhere("#/$ref/x", "/$ref/x")),
        ("b", Fault::Outside("b".into())),
        (
            "http://a.example/",
            Fault::Outside("http://a.example/".into()),
        ),
        ("#/schemas/b", Fault::NotShared("b".into())),
        ("#", Fault::Endless),
    ] {
        let found = faults(json!({"$ref": reference}));
        assert_eq!(
            found.first().map(|(_, fault)| fault),
            Some(&fault),
            "{reference}"
        );
    }
}

#[test]
fn meta_schemas_are_known_without_being_in_the_policy() {
    for draft in [
        "https://json-schema.org/draft/2020-12/schema",
        "http://json-schema.org/draft-07/schema#",
    ] {
        let schema = schema(json!({"properties": {"s": {"$ref": draft}}}));
        assert!(
            passes(
                &schema,
                json!({"s": {"allOf": [{"properties": {"a": {"minLength": 1}}}]}})
            ),
            "{draft}"
        );
        assert!(
            !passes(
                &schema,
                json!({"s": {"allOf": [{"properties": {"a": {"minLength": -1}}}]}})
            ),
            "{draft}"
        );
        assert!(
            !passes(&schema, json!({"s": {"not": {"type": "strin"}}})),
            "{draft}"
        );
    }
}

#[test]
fn what_is_told_of_each_keyword_comes_out_of_the_schema() {
    for (keywords, value, expected) in [
        (
            json!({"type": ["string", "null"]}),
            json!(1),
            " type: type null or string",
        ),
        (json!({"const": {"a": 1}}), json!(1), " const: {\"a\":1}"),
        (
            json!({"enum": ["b", 1, "a"]}),
            json!("c"),
            " enum: one of [\"b\",1,\"a\"]",
        ),
        (json!({"minimum": 1.5}), json!(1), " minimum: at least 1.5"),
        (json!({"maximum": 1}), json!(2), " maximum: at most 1"),
        (
            json!({"exclusiveMinimum": 1}),
            json!(1),
            " exclusiveMinimum: more than 1",
        ),
        (
            json!({"exclusiveMaximum": 1}),
            json!(1),
            " exclusiveMaximum: less than 1",
        ),
        (
            json!({"multipleOf": 0.1}),
            json!(0.25),
            " multipleOf: a multiple of 0.1",
        ),
        (
            json!({"minLength": 2}),
            json!("é"),
            " minLength: at least 2 characters",
        ),
        (
            json!({"maxLength": 1}),
            json!("éé"),
            " maxLength: at most 1 characters",
        ),
        (
            json!({"pattern": "^a$"}),
            json!("b"),
            " pattern: a match of ^a$",
        ),
        (
            json!({"format": "uuid"}),
            json!("b"),
            " format: format uuid",
        ),
        (
            json!({"format": "int8"}),
            json!(200),
            " maximum: at most 127",
        ),
        (
            json!({"minItems": 1}),
            json!([]),
            " minItems: at least 1 elements",
        ),
        (
            json!({"maxItems": 0}),
            json!([1]),
            " maxItems: at most 0 elements",
        ),
        (
            json!({"uniqueItems": true}),
            json!([1, 1.0]),
            " uniqueItems: no element twice",
        ),
        (
            json!({"contains": {"type": "null"}}),
            json!([1]),
            " contains: as many matching elements as the schema asks for",
        ),
        (
            json!({"minProperties": 1}),
            json!({}),
            " minProperties: at least 1 members",
        ),
        (
            json!({"maxProperties": 0}),
            json!({"a": 1}),
            " maxProperties: at most 0 members",
        ),
        (
            json!({"required": ["a/b"]}),
            json!({}),
            "/a~1b required: this member is required",
        ),
        (
            json!({"dependentRequired": {"a": ["b"]}}),
            json!({"a": 1}),
            "/b required: this member is required",
        ),
        (
            json!({"dependentSchemas": {"a": {"maxProperties": 0}}}),
            json!({"a": 1}),
            " maxProperties: at most 0 members",
        ),
        (
            json!({"additionalProperties": false}),
            json!({"a": 1}),
            "/a additionalProperties: no such member",
        ),
        (
            json!({"additionalProperties": {"type": "null"}}),
            json!({"a": 1}),
            "/a type: type null",
        ),
        (
            json!({"patternProperties": {"^a": false}}),
            json!({"a": 1}),
            "/a falseSchema: no value here",
        ),
        (
            json!({"propertyNames": {"maxLength": 1}}),
            json!({"ab": 1}),
            " propertyNames: member names: at most 1 characters",
        ),
        (
            json!({"anyOf": [false, {"type": "null"}]}),
            json!(1),
            " anyOf: a match of at least one of 2 schemas",
        ),
        (
            json!({"oneOf": [true, true]}),
            json!(1),
            " oneOf: a match of exactly one of 2 schemas",
        ),
        (
            json!({"not": {}}),
            json!(1),
            " not: no match of the schema under `not`",
        ),
        (
            json!({"if": {"minimum": 1}, "then": {"maximum": 1}}),
            json!(2),
            " maximum: at most 1",
        ),
        (
            json!({"if": {"minimum": 1}, "else": false}),
            json!(0),
            " falseSchema: no value here",
        ),
        (
            json!({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"type": "null"}}}),
            json!(0),
            " type: type null",
        ),
        (
            json!({"prefixItems": [true], "items": {"type": "null"}}),
            json!([1, 2]),
            "/1 type: type null",
        ),
        (
            json!({"prefixItems": [true], "unevaluatedItems": false}),
            json!([1, 2]),
            " unevaluatedItems: no further elements",
        ),
        (
            json!({"properties": {"a": true}, "unevaluatedProperties": false}),
            json!({"a": 1, "b": 2}),
            "/b unevaluatedProperties: no such member",
        ),
        (
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "items": [true], "additionalItems": false}),
            json!([1, 2]),
            " additionalItems: no more than 1 elements",
        ),
        (
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "contentEncoding": "base64"}),
            json!("a"),
            " contentEncoding: encoded as base64",
        ),
        (
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "contentMediaType": "application/json"}),
            json!("a"),
            " contentMediaType: content of application/json",
        ),
    ] {
        assert_eq!(
            told(&schema(keywords.clone()), value),
            [expected],
            "{keywords}"
        );
    }
    assert_eq!(
        told(&schema(json!(false)), json!(1)),
        [" falseSchema: no value here"]
    );
}

#[test]
fn long_texts_of_a_schema_are_cut() {
    let choices: Vec<String> = (0..10_000).map(|at| format!("é{at}")).collect();
    let schema = schema(json!({"enum": choices}));
    assert!(passes(&schema, json!("é9999")) && !passes(&schema, json!("é10000")));
    let told = told(&schema, json!(1));
    assert!(told[0].ends_with('…') && told[0].len() < 300, "{told:?}");
}

#[test]
fn dynamic_references_lead_to_the_outermost_anchor() {
    let tree = json!({
        "$id": "http://a.example/strict", "$dynamicAnchor": "node", "$ref": "tree",
        "unevaluatedProperties": false,
        "$defs": {"tree": {"$id": "tree", "$dynamicAnchor": "node", "type": "object",
            "properties": {"data": true, "children": {"items": {"$dynamicRef": "#node"}}}}},
    });
    let schema = schema(tree);
    assert!(passes(&schema, json!({"children": [{"data": 1}]})));
    assert!(!passes(&schema, json!({"children": [{"daat": 1}]})));
}

#[test]
fn checks_that_would_take_too_long_fail_whatever_the_schema_says() {
    // What is remembered does not help where a reference is dynamic.
    let twice = |next: Value| json!({"anyOf": [{"properties": {"a": next}, "not": true}, {"properties": {"a": next}}]});
    let mut schema_json = twice(json!({"$dynamicRef": "#node"}));
    schema_json["$dynamicAnchor"] = "node".into();
    let exponential = schema(schema_json.clone());
    let deep = |levels| (0..levels).fold(json!(1), |inner, _| json!({"a": inner}));
    assert!(passes(&exponential, deep(8)));
    let mismatch = exponential.check(deep(60), "body").unwrap_err();
    assert!(mismatch.violations.is_empty());
    // Not even where failing is what is asked for.
    let not = schema(json!({"not": schema_json}));
    assert!(!passes(&not, deep(60)));
}

#[test]
fn values_of_any_depth_keep_the_stack() {
    let list = schema(
        json!({"$ref": "#/$defs/l", "$defs": {"l": {"anyOf": [{"type": "null"}, {"allOf": [{"type": "array", "items": {"$ref": "#/$defs/l"}}]}]}}}),
    );
    let deep = |levels| (0..levels).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    assert!(passes(&list, deep(120)));
    assert!(!passes(&list, deep(2_000)));
}

#[test]
fn names_are_each_looked_at_however_long_the_check_takes() {
    let schema =
        schema(json!({"propertyNames": {"anyOf": [{"pattern": "^a(b|c)*"}, {"maxLength": 0}]}}));
    let mut object: serde_json::Map<String, Value> = (0..200_000)
        .map(|n| (format!("a{n}"), Value::Null))
        .collect();
    assert!(passes(&schema, Value::Object(object.clone())));
    object.insert("z".into(), Value::Null);
    assert_eq!(told(&schema, Value::Object(object)).len(), 1);
}

#[test]
fn looking_up_the_tables_of_unicode_has_its_price() {
    let schema = schema(json!({"items": {"format": "regex"}}));
    assert!(passes(&schema, json!([r"^\p{Lu}\P{Script=Greek}$"])));
    let many = vec![r"\p{L}".repeat(1_000); 1_000];
    assert!(!passes(&schema, json!(many)));
}

#[test]
fn large_values_take_linear_time() {
    let unique = schema(json!({"uniqueItems": true, "items": {"maxLength": 8}}));
    let many: Vec<Value> = (0..100_000).map(|n| json!(n.to_string())).collect();
    assert!(passes(&unique, Value::Array(many)));
    let wide = schema(
        json!({"additionalProperties": {"type": "integer"}, "propertyNames": {"pattern": "^k[0-9]+$"}}),
    );
    let object: serde_json::Map<String, Value> =
        (0..100_000).map(|n| (format!("k{n}"), n.into())).collect();
    assert!(passes(&wide, Value::Object(object)));
}
