//! What the schema engine takes silently, as JSON Schema wants it, and an author did not mean.

use serde_json::{Map, Value};

use crate::config::problem::did_you_mean;
use crate::schema::{FORMATS, NUMBER_FORMATS, SUBSCHEMAS};

/// Keywords that hold no subschemas.
const OTHER_KEYWORDS: &[&str] = &[
    "$anchor",
    "$comment",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$ref",
    "$schema",
    "$vocabulary",
    "const",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "default",
    "dependentRequired",
    "deprecated",
    "description",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
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
    "pattern",
    "readOnly",
    "required",
    "title",
    "type",
    "uniqueItems",
    "writeOnly",
];

/// Annotations of OpenAPI: they ask for nothing, so they may stay.
const ANNOTATIONS: &[&str] = &["discriminator", "example", "externalDocs", "xml"];

/// Checks the keywords of one subschema; `tell` takes a keyword and what is wrong with it.
pub(super) fn check(keywords: &Map<String, Value>, tell: &mut dyn FnMut(&str, String)) {
    for (keyword, value) in keywords {
        match (keyword.as_str(), value) {
            ("nullable", _) => tell(
                keyword,
                "is OpenAPI 3.0 and means nothing in JSON Schema; add `null` to `type` instead"
                    .into(),
            ),
            ("format", Value::String(format)) => check_format(format, tell),
            ("pattern", Value::String(pattern)) => check_pattern(pattern, keyword, tell),
            ("patternProperties", Value::Object(named)) => {
                for pattern in named.keys() {
                    check_pattern(pattern, keyword, tell);
                }
            }
            (name, _) if known().any(|known| known == name) || ANNOTATIONS.contains(&name) => {}
            (name, _) => {
                let near = did_you_mean(name, known());
                if !near.is_empty() {
                    tell(name, format!("`{name}` is no keyword of JSON Schema{near}"));
                }
            }
        }
    }
}

fn known() -> impl Iterator<Item = &'static str> {
    let subschemas = SUBSCHEMAS.iter().map(|(name, _)| *name);
    subschemas.chain(OTHER_KEYWORDS.iter().copied())
}

/// The formats that values are checked against.
pub(super) fn asserted_formats() -> impl Iterator<Item = &'static str> + Clone {
    let numbers = NUMBER_FORMATS.iter().map(|(name, ..)| *name);
    FORMATS.iter().map(|(name, _)| *name).chain(numbers)
}

fn check_format(format: &str, tell: &mut dyn FnMut(&str, String)) {
    let asserted = asserted_formats();
    if format == "idn-hostname" {
        tell(
            "format",
            "is not asserted: its tables would make the module much larger; write `hostname` for \
             names in their ASCII form, or a `pattern`"
                .into(),
        );
    } else if !asserted.clone().any(|known| known == format) {
        let near = did_you_mean(format, asserted);
        if !near.is_empty() {
            tell("format", format!("`{format}` is no known format{near}"));
        }
    }
}

fn check_pattern(pattern: &str, keyword: &str, tell: &mut dyn FnMut(&str, String)) {
    if pattern.starts_with("/^") || pattern.len() > 2 && pattern.ends_with("$/") {
        tell(
            keyword,
            "can never match: JSON Schema patterns stand without slashes around them".into(),
        );
    }
}
