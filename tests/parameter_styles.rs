//! Every parameter style of OpenAPI × explode × type × location, from the tables of the
//! specification (3.1.1, "Style Examples"), through the policy's own compilation and check.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helpers fail by panicking"
)]

use std::collections::BTreeMap;

use forecourt::config::problem::{Place, Problems};
use forecourt::config::request::RawRequest;
use forecourt::config::schemas::SchemaTable;
use forecourt::head::Headers;
use forecourt::reply::{Code, Refusal};
use forecourt::schema::params::ParamRule;
use forecourt::trace::Trace;
use serde_json::{Value, json};

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

/// A schema that only the very value of the specification's tables passes.
fn exactly(kind: &str) -> Value {
    match kind {
        "empty" => json!({"type": "string", "const": ""}),
        "string" => json!({"type": "string", "const": "blue"}),
        "number" => json!({"type": "integer", "const": 150}),
        "boolean" => json!({"type": "boolean", "const": true}),
        "array" => {
            json!({"type": "array", "items": {"type": "string"}, "const": ["blue", "black", "brown"]})
        }
        "numbers" => json!({"type": "array", "items": {"type": "integer"}, "const": [1, 2]}),
        "object" => {
            json!({"type": "object", "additionalProperties": false, "const": {"R": 100, "G": 200, "B": 150},
            "properties": {"R": {"type": "integer"}, "G": {"type": "integer"}, "B": {"type": "integer"}}})
        }
        other => panic!("{other}"),
    }
}

const STYLES: &[(&str, &str, bool, &str, &str)] = &[
    ("path", "simple", false, "string", "blue"),
    ("path", "simple", false, "number", "150"),
    ("path", "simple", false, "boolean", "true"),
    ("path", "simple", false, "array", "blue,black,brown"),
    ("path", "simple", false, "numbers", "1,2"),
    ("path", "simple", false, "object", "R,100,G,200,B,150"),
    ("path", "simple", true, "string", "blue"),
    ("path", "simple", true, "number", "150"),
    ("path", "simple", true, "boolean", "true"),
    ("path", "simple", true, "array", "blue,black,brown"),
    ("path", "simple", true, "numbers", "1,2"),
    ("path", "simple", true, "object", "R=100,G=200,B=150"),
    ("path", "label", false, "empty", "."),
    ("path", "label", false, "string", ".blue"),
    ("path", "label", false, "number", ".150"),
    ("path", "label", false, "boolean", ".true"),
    ("path", "label", false, "array", ".blue,black,brown"),
    ("path", "label", false, "numbers", ".1,2"),
    ("path", "label", false, "object", ".R,100,G,200,B,150"),
    ("path", "label", true, "empty", "."),
    ("path", "label", true, "string", ".blue"),
    ("path", "label", true, "number", ".150"),
    ("path", "label", true, "boolean", ".true"),
    ("path", "label", true, "array", ".blue.black.brown"),
    ("path", "label", true, "numbers", ".1.2"),
    ("path", "label", true, "object", ".R=100.G=200.B=150"),
    ("path", "matrix", false, "empty", ";color"),
    ("path", "matrix", false, "string", ";color=blue"),
    ("path", "matrix", false, "number", ";color=150"),
    ("path", "matrix", false, "boolean", ";color=true"),
    ("path", "matrix", false, "array", ";color=blue,black,brown"),
    ("path", "matrix", false, "numbers", ";color=1,2"),
    (
        "path",
        "matrix",
        false,
        "object",
        ";color=R,100,G,200,B,150",
    ),
    ("path", "matrix", true, "empty", ";color"),
    ("path", "matrix", true, "string", ";color=blue"),
    ("path", "matrix", true, "number", ";color=150"),
    ("path", "matrix", true, "boolean", ";color=true"),
    (
        "path",
        "matrix",
        true,
        "array",
        ";color=blue;color=black;color=brown",
    ),
    ("path", "matrix", true, "numbers", ";color=1;color=2"),
    ("path", "matrix", true, "object", ";R=100;G=200;B=150"),
    ("query", "form", false, "empty", "color="),
    ("query", "form", false, "string", "color=blue"),
    ("query", "form", false, "number", "color=150"),
    ("query", "form", false, "boolean", "color=true"),
    ("query", "form", false, "array", "color=blue,black,brown"),
    ("query", "form", false, "numbers", "color=1,2"),
    ("query", "form", false, "object", "color=R,100,G,200,B,150"),
    ("query", "form", true, "empty", "color="),
    ("query", "form", true, "string", "color=blue"),
    ("query", "form", true, "number", "color=150"),
    ("query", "form", true, "boolean", "color=true"),
    (
        "query",
        "form",
        true,
        "array",
        "color=blue&color=black&color=brown",
    ),
    ("query", "form", true, "numbers", "color=1&color=2"),
    ("query", "form", true, "object", "R=100&G=200&B=150"),
    (
        "query",
        "spaceDelimited",
        false,
        "array",
        "color=blue%20black%20brown",
    ),
    (
        "query",
        "spaceDelimited",
        false,
        "array",
        "color=blue+black+brown",
    ),
    ("query", "spaceDelimited", false, "numbers", "color=1%202"),
    (
        "query",
        "spaceDelimited",
        false,
        "object",
        "color=R%20100%20G%20200%20B%20150",
    ),
    (
        "query",
        "spaceDelimited",
        true,
        "array",
        "color=blue&color=black&color=brown",
    ),
    (
        "query",
        "pipeDelimited",
        false,
        "array",
        "color=blue%7Cblack%7Cbrown",
    ),
    (
        "query",
        "pipeDelimited",
        false,
        "array",
        "color=blue|black%7cbrown",
    ),
    ("query", "pipeDelimited", false, "numbers", "color=1|2"),
    (
        "query",
        "pipeDelimited",
        false,
        "object",
        "color=R%7C100%7CG%7C200%7CB%7C150",
    ),
    (
        "query",
        "pipeDelimited",
        true,
        "array",
        "color=blue&color=black&color=brown",
    ),
    (
        "query",
        "deepObject",
        false,
        "object",
        "color[R]=100&color[G]=200&color[B]=150",
    ),
    (
        "query",
        "deepObject",
        true,
        "object",
        "color%5BR%5D=100&color%5BG%5D=200&color%5BB%5D=150",
    ),
    ("header", "simple", false, "string", "blue"),
    ("header", "simple", false, "number", "150"),
    ("header", "simple", false, "boolean", "true"),
    ("header", "simple", false, "array", "blue, black,brown"),
    ("header", "simple", false, "numbers", "1,2"),
    ("header", "simple", false, "object", "R,100,G,200,B,150"),
    ("header", "simple", true, "string", "blue"),
    ("header", "simple", true, "number", "150"),
    ("header", "simple", true, "boolean", "true"),
    ("header", "simple", true, "array", "blue,black\nbrown"),
    ("header", "simple", true, "numbers", "1\n2"),
    ("header", "simple", true, "object", "R=100,G=200,B=150"),
    ("cookie", "form", false, "empty", "color="),
    ("cookie", "form", false, "string", "color=blue"),
    ("cookie", "form", false, "number", "color=150"),
    ("cookie", "form", false, "boolean", "color=true"),
    ("cookie", "form", false, "array", "color=blue,black,brown"),
    ("cookie", "form", false, "numbers", "color=1,2"),
    ("cookie", "form", false, "object", "color=R,100,G,200,B,150"),
    ("cookie", "form", true, "empty", "color="),
    ("cookie", "form", true, "string", "color=blue"),
    ("cookie", "form", true, "number", "color=150"),
    ("cookie", "form", true, "boolean", "color=true"),
    (
        "cookie",
        "form",
        true,
        "array",
        "color=blue; color=black; color=brown",
    ),
    ("cookie", "form", true, "numbers", "color=1; color=2"),
    ("cookie", "form", true, "object", "R=100; G=200; B=150"),
];

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

/// Location, style, explode, schema, text, and the code of the refusal.
type Row = (
    &'static str,
    &'static str,
    bool,
    Value,
    &'static str,
    Option<Code>,
);

fn hostile() -> Vec<Row> {
    let text = || json!({"type": "string"});
    let number = || json!({"type": "integer"});
    let list =
        || json!({"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2});
    let object = || exactly("object");
    let open = || json!({"type": "object", "additionalProperties": {"type": "integer"}});
    use Code::{
        ParameterInvalid as Invalid, ParameterMalformed as Malformed, ParameterMissing as Missing,
        ParameterRepeated as Repeated, ParameterUnknown as Unknown,
    };
    vec![
        // Splitting comes before decoding: an encoded delimiter belongs to a value.
        ("query", "form", false, list(), "color=a%2Cb,c", None),
        ("query", "form", false, list(), "color=a%2Cb", Some(Invalid)),
        ("query", "form", true, list(), "color=a,b&color=c", None),
        (
            "query",
            "form",
            true,
            json!({"const": "a&color=b"}),
            "color=a%26color=b",
            None,
        ),
        ("path", "simple", false, list(), "a%2Cb,c", None),
        (
            "path",
            "simple",
            false,
            json!({"const": "a/b"}),
            "a%2Fb",
            None,
        ),
        ("path", "label", true, list(), ".a%2Eb.c", None),
        (
            "path",
            "matrix",
            true,
            list(),
            ";color=a%3Bcolor=b;color=c",
            None,
        ),
        (
            "query",
            "pipeDelimited",
            false,
            list(),
            "color=a|b|c",
            Some(Invalid),
        ),
        // A scalar that comes twice has two readers.
        (
            "query",
            "form",
            true,
            text(),
            "color=a&color=b",
            Some(Repeated),
        ),
        (
            "query",
            "form",
            true,
            text(),
            "color=a&col%6Fr=a",
            Some(Repeated),
        ),
        (
            "query",
            "form",
            false,
            list(),
            "color=a,b&color=c,d",
            Some(Repeated),
        ),
        ("header", "simple", false, text(), "a\nb", Some(Repeated)),
        (
            "cookie",
            "form",
            true,
            text(),
            "color=a; color=b",
            Some(Repeated),
        ),
        (
            "query",
            "deepObject",
            true,
            open(),
            "color[a]=1&color[a]=2",
            Some(Repeated),
        ),
        (
            "query",
            "form",
            true,
            object(),
            "R=100&R=100&G=200&B=150",
            Some(Repeated),
        ),
        (
            "path",
            "simple",
            true,
            object(),
            "R=100,R=100,G=200,B=150",
            Some(Repeated),
        ),
        // Types are those of JSON, and nothing that merely looks like one.
        ("query", "form", true, number(), "color=1", None),
        ("query", "form", true, number(), "color=1.0", None),
        ("query", "form", true, number(), "color=1.5", Some(Invalid)),
        ("query", "form", true, number(), "color=%2B1", Some(Invalid)),
        ("query", "form", true, number(), "color=+1", Some(Invalid)),
        ("query", "form", true, number(), "color=0x1", Some(Invalid)),
        ("query", "form", true, number(), "color=01", Some(Invalid)),
        ("query", "form", true, number(), "color=", Some(Invalid)),
        ("query", "form", true, number(), "color", Some(Invalid)),
        (
            "query",
            "form",
            true,
            json!({"type": "boolean"}),
            "color=1",
            Some(Invalid),
        ),
        (
            "query",
            "form",
            true,
            json!({"type": "boolean"}),
            "color=TRUE",
            Some(Invalid),
        ),
        (
            "query",
            "form",
            true,
            json!({"type": "string", "maxLength": 3}),
            "color=1234",
            Some(Invalid),
        ),
        (
            "query",
            "form",
            true,
            json!({"type": ["string", "integer"], "maxLength": 3, "maximum": 9}),
            "color=12",
            None,
        ),
        (
            "query",
            "form",
            true,
            json!({"type": ["string", "integer"], "maxLength": 1, "maximum": 9}),
            "color=12",
            Some(Invalid),
        ),
        (
            "query",
            "form",
            true,
            json!({"type": ["integer", "null"]}),
            "color=",
            None,
        ),
        (
            "query",
            "form",
            true,
            json!({"type": "string", "format": "int32"}),
            "color=99999999999",
            None,
        ),
        (
            "query",
            "form",
            true,
            json!({"type": "integer", "format": "int32"}),
            "color=99999999999",
            Some(Invalid),
        ),
        (
            "query",
            "form",
            true,
            json!({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]}),
            "color=1",
            None,
        ),
        (
            "query",
            "form",
            true,
            json!({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]}),
            "color=1&color=2",
            None,
        ),
        (
            "query",
            "form",
            true,
            json!({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]}),
            "color=x",
            Some(Invalid),
        ),
        // What does not decode, or is not in its style.
        ("query", "form", true, text(), "color=%", Some(Malformed)),
        ("query", "form", true, text(), "color=%zz", Some(Malformed)),
        ("query", "form", true, text(), "color=%ff", Some(Malformed)),
        (
            "query",
            "form",
            true,
            text(),
            "%ff=1&color=a",
            Some(Malformed),
        ),
        ("path", "simple", false, text(), "%c3", Some(Malformed)),
        ("path", "label", false, text(), "blue", Some(Malformed)),
        (
            "path",
            "matrix",
            false,
            text(),
            ";colour=blue",
            Some(Malformed),
        ),
        ("path", "matrix", false, text(), "blue", Some(Malformed)),
        (
            "path",
            "simple",
            false,
            object(),
            "R,100,G",
            Some(Malformed),
        ),
        ("path", "simple", true, object(), "R,100", Some(Malformed)),
        (
            "query",
            "deepObject",
            true,
            open(),
            "color[a][b]=1&color[a]=2",
            Some(Malformed),
        ),
        ("cookie", "form", true, text(), "color=%zz", Some(Malformed)),
        // Missing and unknown ones.
        ("query", "form", true, text(), "", Some(Missing)),
        ("query", "form", true, text(), "Color=a", Some(Unknown)),
        ("query", "form", true, text(), "color=a&x=1", Some(Unknown)),
        (
            "query",
            "form",
            true,
            text(),
            "color=a&color[]=1",
            Some(Unknown),
        ),
        ("query", "form", true, object(), "color=1", Some(Unknown)),
        (
            "query",
            "deepObject",
            true,
            open(),
            "color=1",
            Some(Unknown),
        ),
        (
            "query",
            "deepObject",
            true,
            open(),
            "color[a=1",
            Some(Unknown),
        ),
        (
            "query",
            "deepObject",
            true,
            open(),
            "color[a]=x",
            Some(Invalid),
        ),
        ("cookie", "form", true, text(), "other=a", Some(Missing)),
        ("header", "simple", false, text(), "", None),
    ]
}

#[test]
fn hostile_texts_are_refused_each_for_its_reason() {
    for (location, style, explode, schema, text, expected) in hostile() {
        let found = outcome(location, style, explode, &schema, text);
        assert_eq!(
            found, expected,
            "{location} {style} {explode} {schema} {text}"
        );
    }
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
