use std::collections::BTreeMap;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use serde_json::json;

use super::*;
use crate::head::{Headers, RequestHead};
use crate::reply::{Code, Refusal};
use crate::schema::BodyPlan;
use crate::trace::Trace;

fn compile(request: Value) -> (Option<BodyRule>, Vec<String>) {
    let at = Place::root().key("request");
    let mut problems = Problems::default();
    let raw: RawRequest = match deserr::deserialize::<RawRequest, Value, Problems>(request) {
        Ok(raw) => raw,
        Err(refused) => return (None, refused.0.iter().map(ToString::to_string).collect()),
    };
    let table = SchemaTable::compile(&BTreeMap::new(), &at, raw.schemas(&at), &mut problems);
    let rule = raw.compile(&at, &table, &mut problems);
    (rule, problems.0.iter().map(ToString::to_string).collect())
}

fn rule(body: Value) -> BodyRule {
    let (rule, problems) = compile(json!({"body": body}));
    assert_eq!(problems, Vec::<String>::new());
    rule.unwrap()
}

fn order() -> BodyRule {
    rule(
        json!({"maxBytes": 100, "schema": {"type": "object", "required": ["sku"],
        "properties": {"sku": {"type": "string"}}}}),
    )
}

fn head(fields: &[(&str, &str)]) -> RequestHead {
    let method = (b":method".to_vec(), b"POST".to_vec());
    let fields = fields
        .iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    RequestHead {
        headers: Headers::new(std::iter::once(method).chain(fields).collect()),
    }
}

fn code<T>(result: Result<T, Refusal>) -> Option<Code> {
    result.err().map(|refusal| refusal.code)
}

fn check_head(rule: &BodyRule, fields: &[(&str, &str)]) -> Result<BodyPlan, Refusal> {
    rule.check_head(&head(fields), false, &mut Trace::off())
}

/// The plan for a JSON body of that content.
fn held(content: usize) -> BodyPlan {
    BodyPlan::Check {
        content,
        coding: None,
        boundary: String::new(),
    }
}

fn check_body(rule: &BodyRule, body: &[u8]) -> Result<(), Refusal> {
    let plan = check_head(rule, &[("content-type", "application/json")]).unwrap();
    rule.check(&plan, body, &mut Trace::off())
}

#[test]
fn the_content_type_is_settled_in_the_head() {
    let rule = order();
    for (value, expected) in [
        ("application/json", None),
        ("application/json; charset=utf-8", None),
        ("application/vnd.shop+json", None),
        (
            "application/json; charset=utf-16",
            Some(Code::ContentTypeUnsupported),
        ),
        ("text/plain", Some(Code::ContentTypeUnsupported)),
        (
            "text/plain; a=\"application/json\"",
            Some(Code::ContentTypeUnsupported),
        ),
        (
            "application/json, text/plain",
            Some(Code::ContentTypeMissing),
        ),
        ("application/json; a=\"b,c\"", None),
        ("", Some(Code::ContentTypeUnsupported)),
    ] {
        assert_eq!(
            code(check_head(&rule, &[("content-type", value)])),
            expected,
            "{value}"
        );
    }
    assert_eq!(code(check_head(&rule, &[])), Some(Code::ContentTypeMissing));
    let twice = [
        ("content-type", "application/json"),
        ("content-type", "application/json"),
    ];
    assert_eq!(
        code(check_head(&rule, &twice)),
        Some(Code::ContentTypeMissing)
    );
    let refusal = check_head(&rule, &[("content-type", "text/plain")]).unwrap_err();
    assert_eq!(
        refusal.headers,
        [("accept".to_owned(), "application/json".to_owned())]
    );
}

#[test]
fn the_closest_of_the_accepted_types_decides() {
    let rule = rule(json!({"contentTypes": ["*/*", "application/json", "image/*"]}));
    let plan = |media| check_head(&rule, &[("content-type", media)]).unwrap();
    assert_eq!(plan("application/json"), held(1));
    assert_eq!(plan("text/vnd.a+json"), held(1));
    assert_eq!(plan("image/png"), BodyPlan::SizeOnly);
}

#[test]
fn content_codings_are_refused() {
    let rule = order();
    for (value, expected) in [
        ("identity", None),
        ("Identity, identity", None),
        ("", None),
        ("gzip", Some(Code::ContentTypeUnsupported)),
        ("identity, br", Some(Code::ContentTypeUnsupported)),
    ] {
        let fields = [
            ("content-type", "application/json"),
            ("content-encoding", value),
        ];
        assert_eq!(code(check_head(&rule, &fields)), expected, "{value}");
    }
}

#[test]
fn a_declared_length_over_the_cap_is_refused_before_the_body() {
    let rule = order();
    for (value, expected) in [
        ("100", None),
        ("101", Some(Code::BodyTooLarge)),
        ("99999999999999999999999999", Some(Code::BodyTooLarge)),
        ("-1", Some(Code::RequestMalformed)),
        ("1, 1", Some(Code::RequestMalformed)),
        ("0x10", Some(Code::RequestMalformed)),
        ("", Some(Code::RequestMalformed)),
    ] {
        let fields = [
            ("content-type", "application/json"),
            ("content-length", value),
        ];
        assert_eq!(code(check_head(&rule, &fields)), expected, "{value}");
    }
    let twice = [("content-length", "1"), ("content-length", "1")];
    assert_eq!(
        code(check_head(&rule, &twice)),
        Some(Code::RequestMalformed)
    );
}

#[test]
fn a_missing_body_is_refused_where_one_is_required() {
    let absent = |rule: &BodyRule, method: &str| {
        let mut head = head(&[]);
        head.headers = Headers::new(vec![(b":method".to_vec(), method.as_bytes().to_vec())]);
        rule.check_head(&head, true, &mut Trace::off())
    };
    assert_eq!(code(absent(&order(), "POST")), Some(Code::BodyMissing));
    assert_eq!(absent(&order(), "GET"), Ok(BodyPlan::NoBody));
    assert_eq!(
        absent(&rule(json!({"maxBytes": 5})), "POST"),
        Ok(BodyPlan::NoBody)
    );
    assert_eq!(code(check_body(&order(), b"")), Some(Code::BodyMissing));
    let optional = rule(json!({"required": false, "schema": {"type": "object"}}));
    assert_eq!(absent(&optional, "POST"), Ok(BodyPlan::NoBody));
    assert_eq!(check_body(&optional, b""), Ok(()));
}

#[test]
fn bodies_are_checked_whole() {
    let rule = order();
    for (body, expected) in [
        (&br#"{"sku":"a"}"#[..], None),
        (br#"{"sku":1}"#, Some(Code::SchemaMismatch)),
        (br#"{"sku":"a","sku":"b"}"#, Some(Code::JsonDuplicateMember)),
        (br#"{"sku":"a"} x"#, Some(Code::JsonInvalid)),
        (b"\xef\xbb\xbf{\"sku\":\"a\"}", Some(Code::JsonInvalid)),
        (b"{\"sku\":\"\xff\"}", Some(Code::JsonInvalid)),
        (&[b'['; 80], Some(Code::JsonTooDeep)),
        (&[b' '; 101], Some(Code::BodyTooLarge)),
    ] {
        let found = code(check_body(&rule, body));
        assert_eq!(found, expected, "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn json_without_a_schema_is_still_read_strictly() {
    let rule = rule(json!({"contentTypes": ["application/json"]}));
    assert_eq!(check_body(&rule, b"[1]"), Ok(()));
    assert_eq!(code(check_body(&rule, b"[1")), Some(Code::JsonInvalid));
}

#[test]
fn a_body_of_a_mebibyte_is_checked_or_refused_by_its_values() {
    let rule = rule(json!({"maxBytes": 2 << 20, "schema": {"items": {"type": "string"}}}));
    let long = format!("[\"{}\"]", "a".repeat(1 << 20));
    assert_eq!(check_body(&rule, long.as_bytes()), Ok(()));
    let wide = format!("[{}1]", "1,".repeat(1 << 19));
    assert_eq!(
        code(check_body(&rule, wide.as_bytes())),
        Some(Code::JsonTooManyValues)
    );
}

#[test]
fn any_type_passes_by_size_where_none_is_named() {
    let rule = rule(json!({"maxBytes": 5}));
    assert_eq!(check_head(&rule, &[]), Ok(BodyPlan::SizeOnly));
    let plan = BodyPlan::SizeOnly;
    assert_eq!(rule.check(&plan, b"12345", &mut Trace::off()), Ok(()));
    let over = rule.check(&plan, b"123456", &mut Trace::off());
    assert_eq!(code(over), Some(Code::BodyTooLarge));
}

#[test]
fn problems_say_where_and_what_to_write() {
    for (body, expected) in [
        (
            json!({"contentType": []}),
            "body.contentType: unknown key `contentType`, did you mean `contentTypes`?",
        ),
        (
            json!({"contentTypes": []}),
            "request.body.contentTypes: is empty",
        ),
        (
            json!({"contentTypes": ["json"]}),
            "request.body.contentTypes[0]: `json` is not a media type",
        ),
        (
            json!({"contentTypes": ["a/b; c=d"]}),
            "write the type alone",
        ),
        (
            json!({"contentTypes": ["a/b", "A/B"]}),
            "request.body.contentTypes[1]: `a/b` is there twice",
        ),
        (
            json!({"contentTypes": ["text/plain"], "schema": {}}),
            "names neither JSON nor a form",
        ),
        (json!({"maxBytes": 0}), "request.body.maxBytes: is 0"),
        (
            json!({"maxBytes": 9_000_000, "schema": {}}),
            "is more than the 8388608 bytes",
        ),
        (
            json!({"maxBytes": 2_000_000_000_u64}),
            "is more than the 1073741824 bytes",
        ),
        (
            json!({"schema": {"typo": 1, "requird": []}}),
            "request.body.schema.requird",
        ),
    ] {
        let (_, problems) = compile(json!({"body": body.clone()}));
        assert!(
            problems.join("\n").contains(expected),
            "{body}: {problems:?}"
        );
    }
}
