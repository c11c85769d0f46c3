//! Form bodies and content codings, through the policy's own compilation and check.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use forecourt::config::problem::{Place, Problems};
use forecourt::config::request::RawRequest;
use forecourt::config::schemas::SchemaTable;
use forecourt::head::{Headers, RequestHead};
use forecourt::reply::{Code, Refusal};
use forecourt::schema::BodyRule;
use forecourt::trace::Trace;
use serde_json::{Value, json};

const URLENCODED: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data";

fn compile(body: &Value) -> Result<BodyRule, String> {
    let raw: RawRequest = deserr::deserialize(json!({"body": body}))
        .map_err(|problems: Problems| problems.to_string())?;
    let at = Place::root();
    let mut problems = Problems::default();
    let shared = BTreeMap::from([(
        "Pet".to_owned(),
        json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}),
    )]);
    let uses = raw.schemas(&at);
    let table = SchemaTable::compile(&shared, &at.key("schemas"), uses, &mut problems);
    let rule = raw.compile(&at, &table, &mut problems);
    if problems.is_empty() {
        Ok(rule.unwrap())
    } else {
        Err(problems.to_string())
    }
}

fn send(rule: &BodyRule, fields: &[(&str, &str)], body: &[u8]) -> Result<(), Refusal> {
    let fields = fields.iter();
    let fields = fields.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    let head = RequestHead {
        headers: Headers::new(fields.collect()),
    };
    let plan = rule.check_head(&head, false, &mut Trace::off())?;
    rule.check(&plan, body, &mut Trace::off())
}

fn code(outcome: Result<(), Refusal>) -> Option<Code> {
    outcome.err().map(|refusal| refusal.code)
}

fn urlencoded() -> BodyRule {
    compile(&json!({"content": {URLENCODED: {
        "schema": {"type": "object", "required": ["name"], "additionalProperties": false, "properties": {
            "name": {"type": "string", "minLength": 1},
            "age": {"type": "integer", "maximum": 150},
            "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
            "ids": {"type": "array", "items": {"type": "integer"}},
            "pet": {"$ref": "#/schemas/Pet"},
            "deep": {"type": "object", "properties": {"a": {"type": "integer"}, "l": {"type": "array", "items": {"type": "integer"}}}},
            "either": {"type": ["integer", "string"], "maxLength": 2, "maximum": 9},
        }},
        "encoding": {"ids": {"style": "form", "explode": false}, "deep": {"style": "deepObject"}},
    }}}))
    .unwrap()
}

#[test]
fn urlencoded_forms_are_read_by_their_schema() {
    let rule = urlencoded();
    for (body, expected) in [
        ("name=a", None),
        ("name=a+b%26&age=7", None),
        ("name=1", None),
        ("name=a&tags=x&tags=y", None),
        ("name=a&tags=x,y,z", None),
        ("name=a&ids=1,2,3", None),
        ("name=a&pet=%7B%22name%22%3A%22x%22%7D", None),
        ("name=a&deep[a]=1&deep%5Bl%5D=1&deep[l]=2", None),
        ("name=a&either=12", None),
        ("name=a&either=123", Some(Code::SchemaMismatch)),
        ("age=7", Some(Code::SchemaMismatch)),
        ("name=", Some(Code::SchemaMismatch)),
        ("name=a&age=x", Some(Code::SchemaMismatch)),
        ("name=a&age=", Some(Code::SchemaMismatch)),
        ("name=a&tags=x&tags=y&tags=z", Some(Code::SchemaMismatch)),
        ("name=a&ids=1,x", Some(Code::SchemaMismatch)),
        ("name=a&other=1", Some(Code::SchemaMismatch)),
        ("name=a&pet=%7B%7D", Some(Code::SchemaMismatch)),
        ("name=a&deep[a]=x", Some(Code::SchemaMismatch)),
        ("name=a&deep=1", Some(Code::SchemaMismatch)),
        ("name=a&name=b", Some(Code::FormFieldRepeated)),
        ("name=a&n%61me=b", Some(Code::FormFieldRepeated)),
        ("name=a&other=1&other=2", Some(Code::FormFieldRepeated)),
        ("name=a&ids=1&ids=2", Some(Code::FormFieldRepeated)),
        ("name=a&deep[a]=1&deep[a]=2", Some(Code::FormFieldRepeated)),
        ("name=%zz", Some(Code::FormInvalid)),
        ("name=%ff", Some(Code::FormInvalid)),
        ("%ff=a", Some(Code::FormInvalid)),
        ("name=a&pet={", Some(Code::FormInvalid)),
        (
            "name=a&pet={\"name\":1,\"name\":2}",
            Some(Code::FormInvalid),
        ),
        ("name=a&deep[a][b]=1&deep[a]=1", Some(Code::FormInvalid)),
    ] {
        let found = code(send(
            &rule,
            &[("content-type", URLENCODED)],
            body.as_bytes(),
        ));
        assert_eq!(found, expected, "{body}");
    }
}

#[test]
fn many_fields_cost_no_more_than_their_number() {
    let rule = compile(&json!({"maxBytes": 1 << 20, "contentTypes": [URLENCODED],
        "schema": {"type": "object", "additionalProperties": {"type": "string"}}}))
    .unwrap();
    let fields: Vec<_> = (0..90_000).map(|index| format!("f{index}")).collect();
    let content_type = [("content-type", URLENCODED)];
    assert_eq!(
        code(send(&rule, &content_type, fields.join("&").as_bytes())),
        None
    );
    let more = "a&".repeat(200_000);
    let found = code(send(&rule, &content_type, more.as_bytes()));
    assert_eq!(found, Some(Code::FormInvalid));
}

fn multipart() -> BodyRule {
    compile(&json!({"maxBytes": 4096, "content": {MULTIPART: {
        "schema": {"type": "object", "required": ["name", "photo"], "additionalProperties": false, "properties": {
            "name": {"type": "string", "minLength": 1},
            "age": {"type": "integer"},
            "pet": {"$ref": "#/schemas/Pet"},
            "pets": {"type": "array", "items": {"$ref": "#/schemas/Pet"}},
            "photo": {"type": "string", "format": "binary", "minLength": 2},
            "pages": {"type": "array", "items": {"type": "string", "format": "binary"}, "maxItems": 2},
        }},
        "encoding": {"photo": {"contentTypes": ["image/*"], "maxBytes": 8}},
    }}}))
    .unwrap()
}

const PHOTO: &str = "photo\"; filename=\"p.png\"\r\nContent-Type: image/png\r\n\r\n\u{89}PNG";

fn parts(parts: &[&str]) -> Vec<u8> {
    let mut body = String::new();
    for part in parts {
        let head = "Content-Disposition: form-data; name=\"";
        body += &format!("--x\r\n{head}{part}\r\n");
    }
    (body + "--x--\r\n").into_bytes()
}

#[test]
fn multipart_forms_are_read_by_their_schema() {
    let rule = multipart();
    let name = "name\"\r\n\r\nx";
    let page = "pages\"; filename=\"1\"\r\nContent-Type: application/pdf\r\n\r\n%PDF";
    let json = "\r\nContent-Type: application/json\r\n\r\n";
    let pet = format!("pet\"{json}{{\"name\":\"x\"}}");
    for (fields, expected) in [
        (vec![name, PHOTO], None),
        (vec![name, PHOTO, "age\"\r\n\r\n7"], None),
        (vec![name, PHOTO, &pet], None),
        (vec![name, PHOTO, "pet\"\r\n\r\n{\"name\":\"x\"}"], None),
        (
            vec![name, PHOTO, &format!("pets\"{json}{{\"name\":\"x\"}}")],
            None,
        ),
        (
            vec![name, PHOTO, &format!("pets\"{json}[{{\"name\":\"x\"}}]")],
            None,
        ),
        (
            vec![
                name,
                PHOTO,
                &format!("pets\"{json}{{\"name\":\"x\"}}"),
                &format!("pets\"{json}{{\"name\":\"y\"}}"),
            ],
            None,
        ),
        (vec![name, PHOTO, page, page], None),
        (
            vec![name, PHOTO, page, page, page],
            Some(Code::SchemaMismatch),
        ),
        (vec![PHOTO], Some(Code::SchemaMismatch)),
        (vec![name], Some(Code::SchemaMismatch)),
        (
            vec![name, PHOTO, "age\"\r\n\r\nx"],
            Some(Code::SchemaMismatch),
        ),
        (
            vec![name, PHOTO, "age\"; filename=\"a\"\r\n\r\n7"],
            Some(Code::SchemaMismatch),
        ),
        (
            vec![name, PHOTO, "other\"\r\n\r\nx"],
            Some(Code::SchemaMismatch),
        ),
        (
            vec![name, PHOTO, &format!("pet\"{json}{{}}")],
            Some(Code::SchemaMismatch),
        ),
        (
            vec![
                name,
                "photo\"; filename=\"p\"\r\nContent-Type: text/html\r\n\r\nab",
            ],
            Some(Code::SchemaMismatch),
        ),
        (
            vec![name, "photo\"; filename=\"p\"\r\n\r\nab"],
            Some(Code::SchemaMismatch),
        ),
        (
            vec![
                name,
                "photo\"; filename=\"p\"\r\nContent-Type: image/png\r\n\r\na",
            ],
            Some(Code::SchemaMismatch),
        ),
        (
            vec![
                name,
                "photo\"; filename=\"p\"\r\nContent-Type: image/png\r\n\r\nabcdefghi",
            ],
            Some(Code::SchemaMismatch),
        ),
        (vec![name, name, PHOTO], Some(Code::FormFieldRepeated)),
        (vec![name, PHOTO, &pet, &pet], Some(Code::FormFieldRepeated)),
        (
            vec![
                name,
                PHOTO,
                &format!("pet\"{json}{{\"name\":1,\"name\":2}}"),
            ],
            Some(Code::FormInvalid),
        ),
        (
            vec![
                name,
                PHOTO,
                "pet\"\r\nContent-Type: application/json; charset=utf-16\r\n\r\n{}",
            ],
            Some(Code::SchemaMismatch),
        ),
        (vec!["name\r\n\r\nx"], Some(Code::FormInvalid)),
    ] {
        let fields_sent = [("content-type", "multipart/form-data; boundary=x")];
        let found = code(send(&rule, &fields_sent, &parts(&fields)));
        assert_eq!(found, expected, "{fields:?}");
    }
}

#[test]
fn a_multipart_form_needs_its_boundary() {
    let rule = multipart();
    for value in [
        MULTIPART,
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=\"a b \"",
    ] {
        let found = code(send(&rule, &[("content-type", value)], b""));
        assert_eq!(found, Some(Code::ContentTypeUnsupported), "{value}");
    }
    let other = [("content-type", "multipart/form-data; boundary=y")];
    let body = parts(&["name\"\r\n\r\nx", PHOTO]);
    assert_eq!(code(send(&rule, &other, &body)), Some(Code::FormInvalid));
}

#[test]
fn refusals_point_at_the_field() {
    let sent = [("content-type", URLENCODED)];
    let refusal = send(&urlencoded(), &sent, b"name=a&age=secret").unwrap_err();
    let told = &refusal.errors[0];
    assert_eq!(
        (told.location, told.pointer.as_str(), told.expected.as_str()),
        ("body", "/age", "type integer")
    );
    let refusal = send(&urlencoded(), &sent, b"name=a&name=b").unwrap_err();
    assert_eq!(refusal.errors[0].pointer, "/name");
}

#[test]
fn codings_are_undone_for_the_check_where_the_route_says_so() {
    let body =
        json!({"contentEncoding": "inflate", "maxBytes": 1000, "schema": {"type": "object"}});
    let rule = compile(&body).unwrap();
    let gzip = |text: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    zlib.write_all(b"{}").unwrap();
    let zlib = zlib.finish().unwrap();
    let wide = format!("{{\"a\":\"{}\"}}", "a".repeat(2000));
    for (coding, bytes, expected) in [
        ("gzip", gzip(b"{}"), None),
        ("GZIP, identity", gzip(b"{}"), None),
        ("deflate", zlib, None),
        ("gzip", gzip(b"[]"), Some(Code::SchemaMismatch)),
        (
            "gzip",
            gzip(b"{\"a\":1,\"a\":2}"),
            Some(Code::JsonDuplicateMember),
        ),
        ("gzip", b"{}".to_vec(), Some(Code::ContentCodingInvalid)),
        ("gzip", gzip(wide.as_bytes()), Some(Code::BodyTooLarge)),
        (
            "gzip, gzip",
            gzip(&gzip(b"{}")),
            Some(Code::ContentTypeUnsupported),
        ),
        ("br", b"{}".to_vec(), Some(Code::ContentTypeUnsupported)),
    ] {
        let sent = [
            ("content-type", "application/json"),
            ("content-encoding", coding),
        ];
        assert_eq!(code(send(&rule, &sent, &bytes)), expected, "{coding}");
    }
}

#[test]
fn contents_differ_by_type() {
    let rule = compile(&json!({"content": {
        "application/json": {"schema": {"$ref": "#/schemas/Pet"}},
        "application/merge-patch+json": {"schema": {"type": "object"}},
        "image/*": {},
    }}))
    .unwrap();
    let found = |media, body: &[u8]| code(send(&rule, &[("content-type", media)], body));
    assert_eq!(found("application/json", b"{}"), Some(Code::SchemaMismatch));
    assert_eq!(found("application/merge-patch+json", b"{}"), None);
    assert_eq!(
        found("application/other+json", b"{}"),
        Some(Code::SchemaMismatch)
    );
    assert_eq!(found("image/png", b"\x89PNG"), None);
    assert_eq!(
        found("text/plain", b"x"),
        Some(Code::ContentTypeUnsupported)
    );
}

#[test]
fn problems_of_contents_say_where_and_what_to_write() {
    let form = |encoding: Value| {
        let schema = json!({"type": "object", "properties": {"photo": {"type": "string"}}});
        json!({"content": {MULTIPART: {"schema": schema, "encoding": encoding}}})
    };
    for (body, expected) in [
        (json!({"content": {}}), "body.content: is empty"),
        (
            json!({"content": {"json": {}}}),
            "body.content.json: `json` is not a media type",
        ),
        (
            json!({"content": {"a/b": {}}, "contentTypes": ["a/b"]}),
            "body.contentTypes: stands in `content` instead",
        ),
        (
            json!({"content": {"a/b": {"schema": {"typ": 1}}}}),
            "schema.typ",
        ),
        (
            json!({"content": {"application/json": {"encoding": {"a": {}}}}}),
            "only has a meaning for forms",
        ),
        (
            json!({"content": {MULTIPART: {"schema": {"type": "array"}}}}),
            "must have `type: object`",
        ),
        (
            form(json!({"phto": {}})),
            "the schema has no property `phto`, did you mean `photo`?",
        ),
        (
            form(json!({"photo": {"contentTypes": ["png"]}})),
            "photo.contentTypes[0]: `png` is not a media type",
        ),
        (
            form(json!({"photo": {"style": "form"}})),
            "only has a meaning in `application/x-www-form-urlencoded`",
        ),
    ] {
        let problems = compile(&body).unwrap_err();
        assert!(problems.contains(expected), "{body}: {problems}");
    }
}
