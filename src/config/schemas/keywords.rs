//! The keywords of JSON Schema: drafts 2020-12 and 7.

use serde_json::{Map, Value, json};

/// Where the keywords that hold subschemas apply them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Applies {
    /// To the same value.
    Same,
    /// To the same value, errors kept as alternatives.
    Alternatives,
    /// To the member of that name.
    Member,
    /// To any member, or to members' names.
    AnyMember,
    /// To any element.
    AnyElement,
    /// Nowhere by itself: a place to refer to.
    Nowhere,
}

/// How a keyword holds subschemas.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    One,
    List,
    /// One, or a list of them (draft 7 `items`).
    OneOrList,
    /// A mapping of names to subschemas; other values (draft 7 `dependencies`) are passed over.
    Named,
}

pub(super) const APPLICATORS: &[(&str, Holds, Applies)] = &[
    ("not", Holds::One, Applies::Same),
    ("if", Holds::One, Applies::Same),
    ("then", Holds::One, Applies::Same),
    ("else", Holds::One, Applies::Same),
    ("allOf", Holds::List, Applies::Same),
    ("anyOf", Holds::List, Applies::Alternatives),
    ("oneOf", Holds::List, Applies::Alternatives),
    ("dependentSchemas", Holds::Named, Applies::Same),
    ("dependencies", Holds::Named, Applies::Same),
    ("properties", Holds::Named, Applies::Member),
    ("patternProperties", Holds::Named, Applies::AnyMember),
    ("additionalProperties", Holds::One, Applies::AnyMember),
    ("unevaluatedProperties", Holds::One, Applies::AnyMember),
    ("propertyNames", Holds::One, Applies::AnyMember),
    ("items", Holds::OneOrList, Applies::AnyElement),
    ("prefixItems", Holds::List, Applies::AnyElement),
    ("additionalItems", Holds::One, Applies::AnyElement),
    ("unevaluatedItems", Holds::One, Applies::AnyElement),
    ("contains", Holds::One, Applies::AnyElement),
    ("$defs", Holds::Named, Applies::Nowhere),
    ("definitions", Holds::Named, Applies::Nowhere),
];

pub(super) const OTHER_KEYWORDS: &[&str] = &[
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
pub(super) const ANNOTATIONS: &[&str] = &["discriminator", "example", "externalDocs", "xml"];

pub(super) const TYPES: &[&str] = &[
    "array", "boolean", "integer", "null", "number", "object", "string",
];

/// Number formats of the OpenAPI format registry, which no engine asserts, and their bounds.
pub(super) const NUMBER_FORMATS: &[(&str, i64, i64)] = &[
    ("int8", -128, 127),
    ("int16", -32_768, 32_767),
    ("int32", -2_147_483_648, 2_147_483_647),
    ("int64", i64::MIN, i64::MAX),
    ("uint8", 0, 255),
    ("uint16", 0, 65_535),
    ("uint32", 0, 4_294_967_295),
];

/// Formats that are asserted.
pub(super) const FORMATS: &[&str] = &[
    "byte",
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "idn-email",
    "ipv4",
    "ipv6",
    "iri",
    "iri-reference",
    "json-pointer",
    "regex",
    "relative-json-pointer",
    "time",
    "uri",
    "uri-reference",
    "uri-template",
    "uuid",
];

/// Adds the bounds that a number format stands for.
pub(super) fn bound_numbers(keywords: &mut Map<String, Value>) {
    let format = keywords.get("format").and_then(Value::as_str);
    let known = NUMBER_FORMATS
        .iter()
        .find(|(name, ..)| Some(*name) == format);
    let Some((_, least, most)) = known else {
        return;
    };
    let bounds = json!({"minimum": least, "maximum": most});
    match keywords.get_mut("allOf") {
        Some(Value::Array(list)) => list.push(bounds),
        Some(_) => {}
        None => {
            keywords.insert("allOf".into(), json!([bounds]));
        }
    }
}
