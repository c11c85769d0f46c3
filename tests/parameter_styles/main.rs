//! Every parameter style of OpenAPI × explode × type × location, from the tables of the
//! specification (3.1.1, "Style Examples"), through the policy's own compilation and check, and
//! through the real module in real Envoy.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test's helpers fail by panicking"
)]
#![allow(clippy::disallowed_methods, reason = "tests read the clock")]

mod hostile;
mod in_envoy;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "shared with other test binaries")]
mod support;
mod table;

use std::collections::BTreeMap;

use forecourt::config::problem::{Place, Problems};
use forecourt::config::request::RawRequest;
use forecourt::config::schemas::SchemaTable;
use forecourt::head::Headers;
use forecourt::reply::{Code, Refusal};
use forecourt::schema::params::ParamRule;
use forecourt::trace::Trace;
use serde_json::{Value, json};
use table::{STYLES, exactly};

/// One parameter, and a request to check it with.
struct Sent<'a> {
    location: &'a str,
    text: &'a str,
}

fn compile(request: Value, path_names: &[&str]) -> Result<ParamRule, String> {
    let raw: RawRequest =
        deserr::deserialize(request).map_err(|problems: Problems| problems.to_string())?;
    let at = Place::root();
    let mut problems = Problems::default();
    let none = BTreeMap::new();
    let table = SchemaTable::compile(&none, &at, raw.schemas(&at), &mut problems);
    let names: Vec<_> = path_names.iter().map(ToString::to_string).collect();
    let rule = raw.compile_parameters(&at, &names, &table, &mut problems);
    raw.compile(&at, &table, &mut problems);
    if problems.is_empty() {
        Ok(rule.unwrap())
    } else {
        Err(problems.to_string())
    }
}

fn send(rule: &ParamRule, sent: &Sent<'_>) -> Result<(), Refusal> {
    let mut path = Vec::new();
    let mut query = None;
    let mut fields = Vec::new();
    match sent.location {
        "path" => path.push(("color", sent.text)),
        "query" => query = Some(sent.text.as_bytes()),
        "header" => fields.extend(sent.text.split('\n').map(|line| ("color", line))),
        _ => fields.push(("cookie", sent.text)),
    }
    let fields = fields.into_iter();
    let headers = fields.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    rule.check(
        &path,
        query,
        &Headers::new(headers.collect()),
        &mut Trace::off(),
    )
}

fn param(location: &str, style: &str, explode: bool, schema: &Value) -> Value {
    json!({"parameters": [{"name": "color", "in": location, "required": true, "style": style,
        "explode": explode, "schema": schema}]})
}

fn outcome(location: &str, style: &str, explode: bool, schema: &Value, text: &str) -> Option<Code> {
    let rule = compile(param(location, style, explode, schema), &["color"]).unwrap();
    let sent = Sent { location, text };
    send(&rule, &sent).err().map(|refusal| refusal.code)
}

#[test]
fn every_row_of_the_table_is_read_as_the_specification_writes_it() {
    for (location, style, explode, kind, text) in STYLES {
        let found = outcome(location, style, *explode, &exactly(kind), text);
        assert_eq!(found, None, "{location} {style} {explode} {kind} {text}");
    }
}

#[test]
fn no_row_passes_as_another_value() {
    for (location, style, explode, kind, text) in STYLES.iter().filter(|row| row.3 != "empty") {
        let other = text
            .replace("blue", "red")
            .replace("150", "151")
            .replace('1', "3")
            .replace("true", "false");
        let found = outcome(location, style, *explode, &exactly(kind), &other);
        assert!(
            found.is_some(),
            "{location} {style} {explode} {kind} {other}"
        );
    }
}

#[test]
fn styles_that_a_location_does_not_have_are_problems_of_the_policy() {
    let all = [
        "simple",
        "label",
        "matrix",
        "form",
        "spaceDelimited",
        "pipeDelimited",
        "deepObject",
    ];
    for location in ["path", "query", "header", "cookie"] {
        for style in all {
            let known = STYLES.iter().any(|row| (row.0, row.1) == (location, style));
            let compiled = compile(
                param(location, style, false, &exactly("object")),
                &["color"],
            );
            assert_eq!(compiled.is_ok(), known, "{location} {style}");
        }
    }
    let scalar = compile(param("query", "deepObject", true, &exactly("string")), &[]);
    assert!(
        scalar
            .unwrap_err()
            .contains("needs a schema with `type: object`")
    );
}

#[test]
fn several_parameters_share_a_query() {
    let request = |additional: &str| {
        json!({"additionalParameters": additional, "parameters": [
            {"name": "page", "in": "query", "schema": {"type": "integer", "minimum": 1}},
            {"name": "filter", "in": "query", "schema": {"type": "object", "additionalProperties": {"type": "string"}}},
            {"name": "where", "in": "query", "contentType": "application/json", "schema": {"type": "object", "required": ["a"]}},
            {"name": "flag", "in": "query", "allowEmptyValue": true, "schema": {"type": "boolean"}},
        ]})
    };
    let strict = compile(request("refuse"), &[]).unwrap();
    let query = |text| {
        send(
            &strict,
            &Sent {
                location: "query",
                text,
            },
        )
        .map_err(|refusal| refusal.code)
    };
    assert_eq!(
        query("page=1&x=a&y=b"),
        Ok(()),
        "the open object takes the rest"
    );
    assert_eq!(query("page=0"), Err(Code::ParameterInvalid));
    assert_eq!(query("where=%7B%22a%22:1%7D&flag"), Ok(()));
    assert_eq!(query("where={}"), Err(Code::ParameterInvalid));
    assert_eq!(
        query("where={\"a\":1,\"a\":2}"),
        Err(Code::ParameterMalformed)
    );
    assert_eq!(query("where=[[[["), Err(Code::ParameterMalformed));
    assert_eq!(query("where={}&where={}"), Err(Code::ParameterRepeated));
    assert_eq!(query("flag=yes"), Err(Code::ParameterInvalid));
}

#[test]
fn unknown_parameters_pass_where_the_route_allows_them() {
    let one = json!([{"name": "page", "in": "query", "schema": {"type": "integer"}}]);
    let open = compile(
        json!({"additionalParameters": "allow", "parameters": one}),
        &[],
    )
    .unwrap();
    let query = |rule: &ParamRule, text| {
        let sent = Sent {
            location: "query",
            text,
        };
        send(rule, &sent).map_err(|refusal| refusal.code)
    };
    assert_eq!(query(&open, "page=1&utm=x"), Ok(()));
    assert_eq!(query(&open, "page=x&utm=x"), Err(Code::ParameterInvalid));
    let closed = compile(json!({"parameters": []}), &[]).unwrap();
    assert_eq!(query(&closed, "page=1"), Err(Code::ParameterUnknown));
    let unsaid = compile(json!({}), &[]).unwrap();
    assert_eq!(
        query(&unsaid, "page=%zz"),
        Ok(()),
        "nobody asked to look at it"
    );
}

#[test]
fn sizes_are_bounded() {
    let rule = compile(
        json!({"limits": {"maxQueryBytes": 10, "maxHeaderBytes": 20}}),
        &[],
    )
    .unwrap();
    let code = |location, text| {
        send(&rule, &Sent { location, text })
            .err()
            .map(|refusal| refusal.code)
    };
    assert_eq!(code("query", "a=45678901"), None);
    assert_eq!(code("query", "a=456789012"), Some(Code::QueryTooLong));
    assert_eq!(code("header", "123456789012345"), None);
    assert_eq!(
        code("header", "1234567890123456"),
        Some(Code::HeadersTooLarge)
    );
}

#[test]
fn refusals_list_what_to_mend_and_never_the_value() {
    let request = |errors: &str| {
        json!({"errors": errors, "parameters": [
            {"name": "size", "in": "query", "schema": {"type": "integer", "maximum": 9}},
            {"name": "filter", "in": "query", "style": "deepObject", "schema": {"type": "object",
                "properties": {"age": {"type": "integer"}}}},
            {"name": "X-Key", "in": "header", "required": true},
        ]})
    };
    let query = "size=secret&filter[age]=secret&extra=secret";
    let sent = Sent {
        location: "query",
        text: query,
    };
    let refusal = send(&compile(request("on"), &[]).unwrap(), &sent).unwrap_err();
    let told: Vec<_> = refusal
        .errors
        .iter()
        .map(|one| {
            format!(
                "{} {} {}: {}",
                one.location, one.pointer, one.keyword, one.expected
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "header x-key required: this parameter is required",
            "query extra additionalParameters: no such parameter",
            "query filter/age type: type integer",
            "query size type: type integer",
        ]
    );
    assert_eq!(refusal.code, Code::ParameterUnknown);
    let quiet = send(&compile(request("off"), &[]).unwrap(), &sent).unwrap_err();
    assert_eq!(
        (quiet.code, quiet.errors.len()),
        (Code::ParameterUnknown, 0)
    );
}

#[test]
fn problems_of_parameters_say_where_and_what_to_write() {
    for (param, expected) in [
        (
            json!({"name": "a", "in": "body"}),
            "parameters[0].in: unknown value `body`",
        ),
        (
            json!({"name": "colour", "in": "path"}),
            "parameters[0].name: the route's path has no `{colour}`, did you mean `color`?",
        ),
        (
            json!({"name": "color", "in": "path", "required": false}),
            "a path parameter is always there",
        ),
        (
            json!({"name": "Authorization", "in": "header"}),
            "is decided by `access`",
        ),
        (json!({"name": "a b", "in": "header"}), "is no field name"),
        (json!({"name": "", "in": "query"}), "is empty"),
        (
            json!({"name": "a", "in": "header", "style": "form"}),
            "header parameters are never written so; write `simple`",
        ),
        (
            json!({"name": "a", "in": "query", "contentType": "text/xml"}),
            "write `application/json`",
        ),
        (
            json!({"name": "a", "in": "query", "contentType": "application/json", "style": "form"}),
            "no meaning beside `contentType`",
        ),
        (
            json!({"name": "a", "in": "cookie", "allowEmptyValue": true}),
            "only has a meaning in a query",
        ),
        (
            json!({"name": "a", "in": "query", "schema": {"typ": "string"}}),
            "parameters[0].schema.typ",
        ),
    ] {
        let problems = compile(json!({"parameters": [param.clone()]}), &["color"]).unwrap_err();
        assert!(problems.contains(expected), "{param}: {problems}");
    }
    let twice =
        json!({"parameters": [{"name": "A", "in": "header"}, {"name": "a", "in": "header"}]});
    assert!(compile(twice, &[]).unwrap_err().contains("is there twice"));
    let refuse = json!({"additionalParameters": "refuse"});
    assert!(
        compile(refuse, &[])
            .unwrap_err()
            .contains("write `parameters: []`")
    );
    for (limits, expected) in [
        (json!({"maxDepth": 0}), "limits.maxDepth: is 0"),
        (
            json!({"maxValues": 2_000_000}),
            "limits.maxValues: is more than 1000000",
        ),
        (
            json!({"maxQueryBytes": 9_000_000}),
            "limits.maxQueryBytes: is more than 1048576",
        ),
    ] {
        let found = compile(json!({"limits": limits}), &[]).unwrap_err();
        assert!(found.contains(expected), "{found}");
    }
}
