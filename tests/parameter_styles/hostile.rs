//! Texts that two readers could read differently, or that are not what their schema asks for.

use forecourt::reply::Code;
use serde_json::{Value, json};

use crate::outcome;
use crate::table::exactly;

/// Location, style, explode, schema, text, and the code of the refusal.
pub type Row = (
    &'static str,
    &'static str,
    bool,
    Value,
    &'static str,
    Option<Code>,
);

pub fn hostile() -> Vec<Row> {
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
