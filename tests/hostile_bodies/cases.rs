//! Bodies and queries made to cost much, each for a schema that would let them.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

const JSON: &str = "application/json";
const MIB: usize = 1 << 20;

/// A request, and the code of its refusal.
pub struct Case {
    pub name: &'static str,
    /// The route's `request`.
    pub rule: Value,
    pub query: String,
    pub fields: Vec<(&'static str, &'static str)>,
    pub body: Vec<u8>,
    pub expected: Option<&'static str>,
}

impl Case {
    /// A JSON body of up to a mebibyte.
    fn json(
        name: &'static str,
        schema: &Value,
        body: impl Into<Vec<u8>>,
        expected: Option<&'static str>,
    ) -> Self {
        Self {
            name,
            rule: json!({"body": {"maxBytes": MIB, "schema": schema}}),
            query: String::new(),
            fields: vec![("content-type", JSON)],
            body: body.into(),
            expected,
        }
    }
}

/// Schemas that cases refer to.
pub fn schemas() -> Value {
    json!({
        // Every error of a branch would be kept, at every level: 2^levels of them.
        "Node": {"anyOf": [
            {"type": "object", "required": ["v"], "properties": {"l": {"$ref": "#"}, "v": {"const": 1}}},
            {"type": "object", "required": ["w"], "properties": {"l": {"$ref": "#"}, "w": {"const": 2}}},
            {"type": "array", "items": {"$ref": "#"}},
        ]},
        // The branch is named, so its errors can be told.
        "Kind": {"discriminator": {"propertyName": "t"}, "oneOf": [{"$ref": "#/schemas/And"}, {"$ref": "#/schemas/Or"}]},
        "And": {"type": "object", "properties": {"t": {}, "of": {"$ref": "#/schemas/Kind"}}},
        "Or": {"type": "object", "properties": {"t": {}, "of": {"$ref": "#/schemas/Kind"}}},
    })
}

pub fn cases() -> Vec<Case> {
    let mut cases = of_schemas();
    cases.extend(of_values());
    cases.extend(of_encodings());
    cases
}

fn of_schemas() -> Vec<Case> {
    let broken = Some("schema_mismatch");
    let tree = (0..60).fold(
        json!({"v": 3}),
        |inner, _| json!({"l": inner, "v": 1, "w": 2}),
    );
    let kinds = (0..60).fold(
        json!({"t": "Neither"}),
        |inner, level| json!({"t": if level % 2 == 0 { "And" } else { "Or" }, "of": inner}),
    );
    let text = format!("\"{}!\"", "a".repeat(MIB - 10));
    let name = format!("{{{}: 1}}", &text);
    let members: Vec<_> = (0..20_000).map(|n| format!("\"m{n}\":{n}")).collect();
    let members = format!("{{{}}}", members.join(","));
    let differing: Vec<_> = (0..20_000)
        .chain([0])
        .map(|n| format!("{{\"a\":{n}}}"))
        .collect();
    let differing = format!("[{}]", differing.join(","));
    let words: Vec<_> = (0..100)
        .map(|n| json!({"const": format!("w{n}")}))
        .collect();
    let formats = [
        "date-time",
        "duration",
        "email",
        "hostname",
        "ipv6",
        "iri",
        "json-pointer",
        "regex",
        "time",
        "uri",
        "uri-template",
        "uuid",
    ];
    let formats: Vec<_> = formats
        .iter()
        .map(|name| json!({"not": {"format": name}}))
        .collect();
    vec![
        Case::json(
            "errors that double at every level",
            &json!({"$ref": "#/schemas/Node"}),
            tree.to_string(),
            broken,
        ),
        Case::json(
            "a tree of named kinds",
            &json!({"$ref": "#/schemas/Kind"}),
            kinds.to_string(),
            broken,
        ),
        Case::json(
            "as many errors as elements",
            &json!({"items": {"type": "string"}}),
            format!("[{}1]", "1,".repeat(99_000)),
            broken,
        ),
        Case::json(
            "a pattern that others backtrack on",
            &json!({"pattern": "^(a+)+$"}),
            text.clone(),
            broken,
        ),
        Case::json(
            "alternatives that others backtrack on",
            &json!({"pattern": "^(a|aa|[a-z])*$"}),
            text,
            broken,
        ),
        Case::json(
            "a name that others backtrack on",
            &json!({"patternProperties": {"^(a|a)*$": {}}, "additionalProperties": false}),
            name,
            broken,
        ),
        Case::json(
            "members that no keyword evaluates",
            &json!({"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}], "unevaluatedProperties": false}),
            members,
            broken,
        ),
        Case::json(
            "elements that must all differ",
            &json!({"uniqueItems": true}),
            differing,
            broken,
        ),
        Case::json(
            "a hundred alternatives an element",
            &json!({"items": {"anyOf": words}}),
            format!("[{}\"w\"]", "\"w99\",".repeat(10_000)),
            broken,
        ),
        Case::json(
            "formats of long texts",
            &json!({"anyOf": formats}),
            format!("\"{}\"", "a.".repeat(100_000)),
            None,
        ),
        Case::json(
            "a regular expression to be judged",
            &json!({"format": "regex"}),
            "\"((a{999}){999}){999}\"",
            None,
        ),
        Case::json(
            "a multiple of next to nothing",
            &json!({"multipleOf": 1e-300}),
            "1.7e308",
            None,
        ),
    ]
}

fn of_values() -> Vec<Case> {
    let any = json!(true);
    let repeated = format!("{{{}\"a\":1}}", "\"a\":1,".repeat(100_000));
    let strings = format!("[{}\"\"]", "\"\",".repeat(99_000));
    let escapes = format!("\"{}\"", "\\u00e9".repeat(MIB / 6 - 10));
    vec![
        Case::json(
            "brackets without end",
            &any,
            vec![b'['; MIB],
            Some("json_too_deep"),
        ),
        Case::json(
            "members without end",
            &any,
            "{\"a\":".repeat(MIB / 5),
            Some("json_too_deep"),
        ),
        Case::json(
            "half a million numbers",
            &any,
            format!("[{}1]", "1,".repeat(MIB / 2 - 10)),
            Some("json_too_many_values"),
        ),
        Case::json("a hundred thousand empty texts", &any, strings, None),
        Case::json(
            "one member, again and again",
            &any,
            repeated,
            Some("json_duplicate_member"),
        ),
        Case::json(
            "a number of a million digits",
            &any,
            vec![b'9'; MIB],
            Some("json_invalid"),
        ),
        Case::json("a text of escapes", &any, escapes, None),
    ]
}

fn of_encodings() -> Vec<Case> {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    // Piece by piece: what the test itself takes at once would hide what the check takes.
    for _ in 0..64 * MIB / 4096 {
        bomb.write_all(&[b' '; 4096]).unwrap();
    }
    let form = json!({"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}});
    let of = |media: &str| json!({"body": {"maxBytes": MIB, "content": {media: {"schema": form}}}});
    let fields = (0..90_000)
        .map(|n| format!("f{n}=1"))
        .collect::<Vec<_>>()
        .join("&");
    let part = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n";
    let query: Vec<_> = (0..999).map(|n| format!("q[m{n}]=x")).collect();
    vec![
        Case {
            rule: json!({"body": {"maxBytes": MIB, "contentEncoding": "inflate", "schema": true}}),
            fields: vec![("content-type", JSON), ("content-encoding", "gzip")],
            ..Case::json(
                "a bomb",
                &json!(true),
                bomb.finish().unwrap(),
                Some("body_too_large"),
            )
        },
        Case {
            rule: of("application/x-www-form-urlencoded"),
            fields: vec![("content-type", "application/x-www-form-urlencoded")],
            ..Case::json("a form of many fields", &json!(true), fields, None)
        },
        Case {
            rule: of("application/x-www-form-urlencoded"),
            fields: vec![("content-type", "application/x-www-form-urlencoded")],
            ..Case::json(
                "a field of many values",
                &json!(true),
                "a=x&".repeat(99_000),
                Some("schema_mismatch"),
            )
        },
        Case {
            rule: of("multipart/form-data"),
            fields: vec![("content-type", "multipart/form-data; boundary=b")],
            ..Case::json(
                "parts without end",
                &json!(true),
                part.repeat(MIB / part.len()),
                Some("form_invalid"),
            )
        },
        Case {
            rule: of("multipart/form-data"),
            fields: vec![("content-type", "multipart/form-data; boundary=b")],
            ..Case::json(
                "a part that almost ends at every byte",
                &json!(true),
                format!("{part}{}", "\r\n--".repeat(MIB / 4 - 100)),
                Some("form_invalid"),
            )
        },
        Case {
            rule: json!({"limits": {"maxQueryBytes": 50_000}, "parameters": [{"name": "q", "in": "query", "style": "deepObject",
                "schema": {"type": "object", "additionalProperties": {"type": "integer"}}}]}),
            query: query.join("&"),
            ..Case::json(
                "a query of many members",
                &json!(true),
                "",
                Some("parameter_invalid"),
            )
        },
    ]
}
