//! What must hold for any bytes in the bodies and parameters that the request checks read. The fuzz
//! targets and the replay of their corpus run the same checks.

use std::sync::LazyLock;

use forecourt::config;
use forecourt::config::problem::{Place, Problems};
use forecourt::config::schemas::SchemaTable;
use forecourt::head::{Headers, RequestHead};
use forecourt::policy::Policy;
use forecourt::reply::Refusal;
use forecourt::schema::{
    Coding, Fault, Limits, MAX_RATIO, MediaRange, MediaType, inflate as undo, parse_json,
    parse_multipart,
};
use forecourt::trace::Trace;

/// A check of one input.
pub type Check = fn(&[u8]);

/// Every check with the name of its target.
pub const ALL: &[(&str, Check)] = &[
    ("schema_engine", engine),
    ("schema_form", form),
    ("schema_inflate", inflate),
    ("schema_json", json),
    ("schema_media", media),
    ("schema_multipart", multipart),
    ("schema_parameters", parameters),
    ("schema_stream", stream),
];

/// A route with every kind of parameter, and bodies of every checked type.
const POLICY: &str = r##"{
    "version": "forecourt/v1",
    "schemas": {"Tree": {"type": "object", "properties": {
        "v": {"type": "integer"}, "l": {"$ref": "#"},
        "x": {"anyOf": [{"$ref": "#"}, {"type": "array", "items": {"$ref": "#"}}, {"type": "string"}]}}}},
    "routes": [{
        "match": {"methods": ["POST"], "path": "/a/{p}/{m}/{l}"},
        "access": "public",
        "request": {
            "parameters": [
                {"name": "p", "in": "path", "schema": {"type": "array", "items": {"type": "integer"}}},
                {"name": "m", "in": "path", "style": "matrix", "explode": true, "schema": {"type": "object", "additionalProperties": {"type": "string"}}},
                {"name": "l", "in": "path", "style": "label", "schema": {"type": ["string", "integer"]}},
                {"name": "size", "in": "query", "schema": {"type": "integer"}},
                {"name": "list", "in": "query", "style": "pipeDelimited", "explode": false, "schema": {"type": "array", "items": {"type": "string"}}},
                {"name": "deep", "in": "query", "style": "deepObject", "schema": {"$ref": "#/schemas/Tree"}},
                {"name": "json", "in": "query", "contentType": "application/json", "schema": {"$ref": "#/schemas/Tree"}},
                {"name": "rest", "in": "query", "schema": {"type": "object", "additionalProperties": {"type": "integer"}}},
                {"name": "x-list", "in": "header", "schema": {"type": "array", "items": {"type": "number"}}},
                {"name": "id", "in": "cookie", "schema": {"type": "string", "maxLength": 8}}
            ],
            "body": {"contentEncoding": "inflate", "content": {
                "application/json": {"schema": {"$ref": "#/schemas/Tree"}},
                "application/x-www-form-urlencoded": {"schema": {"type": "object", "properties": {
                    "name": {"type": "string"}, "age": {"type": ["integer", "null"]},
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "tree": {"$ref": "#/schemas/Tree"}, "deep": {"$ref": "#/schemas/Tree"}}},
                    "encoding": {"deep": {"style": "deepObject"}}},
                "multipart/form-data": {"schema": {"type": "object", "properties": {
                    "name": {"type": "string"}, "tree": {"$ref": "#/schemas/Tree"},
                    "files": {"type": "array", "items": {"type": "string", "format": "binary"}}}},
                    "encoding": {"files": {"contentTypes": ["image/*"], "maxBytes": 64}}}
            }}
        }
    }]
}"##;

static COMPILED: LazyLock<Policy> =
    LazyLock::new(|| config::from_json(POLICY.as_bytes()).unwrap_or_else(|told| panic!("{told}")));

/// Whatever passes is what serde_json reads; what serde_json refuses never passes; every text that
/// passes still does when it is printed anew.
pub fn json(data: &[u8]) {
    let reference = serde_json::from_slice::<serde_json::Value>(data);
    match parse_json(data, &Limits::default()) {
        Ok(value) => {
            assert_eq!(reference.ok().as_ref(), Some(&value));
            let printed = value.to_string();
            assert_eq!(
                parse_json(printed.as_bytes(), &Limits::default()),
                Ok(value)
            );
        }
        Err(Fault::Syntax(_)) => assert!(reference.is_err(), "refused as syntax"),
        Err(_) => {}
    }
    let _ = check("application/json", None, data);
}

/// A type fits a range by its parts: with other parameters it fits just the same.
pub fn media(data: &[u8]) {
    let Some(media) = MediaType::parse(data) else {
        return;
    };
    let longer = [data, b";"].concat();
    assert_eq!(MediaType::parse(&longer).as_ref(), Some(&media));
    for range in ["application/json", "text/*", "*/*", "a/*+json"] {
        let range = MediaRange::parse(range);
        let known = range.and_then(|range| range.fit(&media));
        assert!(known.is_none() || data.contains(&b'/'));
    }
}

/// A scalar that passed once does not pass twice.
pub fn parameters(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut next = || lines.next().unwrap_or_default();
    let (query, header, cookie) = (next(), next(), next());
    let texts: Vec<_> = (0..3)
        .map(|_| String::from_utf8_lossy(next()).into_owned())
        .collect();
    let path: Vec<_> = ["p", "m", "l"]
        .into_iter()
        .zip(texts.iter().map(String::as_str))
        .collect();
    let headers = Headers::new(vec![
        (b"x-list".to_vec(), header.to_vec()),
        (b"cookie".to_vec(), cookie.to_vec()),
    ]);
    let Some(rule) = COMPILED
        .routes
        .first()
        .and_then(|route| route.params.as_ref())
    else {
        panic!("the route has parameters");
    };
    let check = |query: &[u8]| rule.check(&path, Some(query), &headers, &mut Trace::off());
    if check(query).is_ok() {
        let once = [query, b"&size=1"].concat();
        let twice = [&once[..], b"&size=1"].concat();
        assert!(check(&twice).is_err());
    }
}

/// A field with one value that passed once does not pass twice.
pub fn form(data: &[u8]) {
    let media = "application/x-www-form-urlencoded";
    if check(media, None, data).is_ok() && !data.is_empty() {
        let twice = [data, b"&name=a&name=a"].concat();
        assert!(check(media, None, &twice).is_err());
    }
}

/// `[schema, value]`: a schema compiles or is refused with its place, and decides the same twice.
pub fn engine(data: &[u8]) {
    let Ok([schema, value]) = serde_json::from_slice::<[serde_json::Value; 2]>(data) else {
        return;
    };
    let at = Place::root().key("schema");
    let shared = [("A".to_owned(), schema.clone())].into();
    let mut problems = Problems::default();
    let table = SchemaTable::compile(&shared, &at, [(at.clone(), &schema)], &mut problems);
    let Some(compiled) = table.get(&at) else {
        assert!(!problems.is_empty());
        return;
    };
    let checked = compiled.check(value.clone(), "body");
    assert_eq!(checked, compiled.check(value, "body"));
}

/// A schema on the first line, a body after it: what is accepted while it is read is what passes as
/// a whole.
pub fn stream(data: &[u8]) {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let schema = lines.next().unwrap_or_default();
    let body = lines.next().unwrap_or_default();
    let (Ok(schema), Ok(text)) = (serde_json::from_slice(schema), std::str::from_utf8(body)) else {
        return;
    };
    let at = Place::root().key("schema");
    let mut problems = Problems::default();
    let table = SchemaTable::compile(&[].into(), &at, [(at.clone(), &schema)], &mut problems);
    let Some(compiled) = table.get(&at) else {
        return;
    };
    let tight = Limits {
        depth: 4,
        values: 16,
        string: 8,
    };
    for limits in [Limits::default(), tight] {
        if compiled.accepts(text, &limits) {
            let read = parse_json(body, &limits);
            assert!(read.is_ok_and(|value| compiled.check(value, "body").is_ok()));
        }
    }
}

/// The parts of a form, put together anew, are the same parts.
pub fn multipart(data: &[u8]) {
    let media = "multipart/form-data; boundary=b";
    let _ = check(media, None, data);
    let Ok(parts) = parse_multipart(data, "b") else {
        return;
    };
    if parts
        .iter()
        .any(|part| part.name.contains(['"', '\\']) || part.media.is_some())
    {
        return;
    }
    let mut again = Vec::new();
    for part in &parts {
        let file = if part.is_file { "; filename=\"f\"" } else { "" };
        let head = format!(
            "--b\r\nContent-Disposition: form-data; name=\"{}\"{file}\r\n\r\n",
            part.name
        );
        again.extend_from_slice(head.as_bytes());
        again.extend_from_slice(part.content);
        again.extend_from_slice(b"\r\n");
    }
    again.extend_from_slice(b"--b--");
    assert_eq!(parse_multipart(&again, "b").as_ref(), Ok(&parts));
}

/// What is inflated keeps to its bounds.
pub fn inflate(data: &[u8]) {
    for coding in [Coding::Gzip, Coding::Deflate] {
        if let Ok(inflated) = undo(coding, data, 1 << 16) {
            assert!(inflated.len() <= 1 << 16);
            assert!(inflated.len() as u64 <= (MAX_RATIO * data.len() as u64).max(4096));
        }
    }
    let _ = check("application/json", Some("gzip"), data);
}

fn check(media: &str, coding: Option<&str>, body: &[u8]) -> Result<(), Refusal> {
    let field = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    let mut fields = vec![field(":method", "POST"), field("content-type", media)];
    fields.extend(coding.map(|coding| field("content-encoding", coding)));
    let head = RequestHead {
        headers: Headers::new(fields),
    };
    let Some(rule) = COMPILED
        .routes
        .first()
        .and_then(|route| route.body.as_ref())
    else {
        panic!("the route has a body");
    };
    let plan = rule.check_head(&head, false, &mut Trace::off())?;
    rule.check(&plan, body, &mut Trace::off())
}
