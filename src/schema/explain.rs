//! What to mend in a value that broke its schema, told without the value.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use crate::reply::Violation;

/// How many violations a refusal lists.
pub const MOST: usize = 20;

/// Longest pointer and longest expectation, in bytes; more is cut off with an ellipsis.
const MAX_TEXT: usize = 256;

/// Lists what is wrong with `instance`, whose only member is the value that was checked.
///
/// The caller has made sure that the engine's errors fit in memory.
pub fn violations(
    validator: &Validator,
    instance: &Value,
    location: &'static str,
) -> Vec<Violation> {
    let mut found = Vec::new();
    for error in validator.iter_errors(instance) {
        describe(&error, location, &mut found);
    }
    found.sort();
    found.dedup();
    found.truncate(MOST);
    found
}

/// One violation, its texts cut to size.
pub fn violation(
    location: &'static str,
    pointer: String,
    keyword: &str,
    expected: String,
) -> Violation {
    Violation {
        location,
        pointer: cut(pointer),
        keyword: keyword.to_owned(),
        expected: cut(expected),
    }
}

fn describe(error: &ValidationError<'_>, location: &'static str, found: &mut Vec<Violation>) {
    let at = below_entry(error.instance_path().as_str());
    let keyword = error.kind().keyword();
    let mut add = |pointer: String, expected: String| {
        found.push(violation(location, pointer, keyword, expected));
    };
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            for name in unexpected.iter().take(MOST) {
                add(below(at, name), "no such member".into());
            }
        }
        ValidationErrorKind::Required {
            property: Value::String(name),
        } => add(below(at, name), "this member is required".into()),
        kind => add(at.to_owned(), expectation(kind)),
    }
}

/// The pointer without its first step, which names the schema's entry.
fn below_entry(pointer: &str) -> &str {
    pointer
        .get(1..)
        .and_then(|rest| rest.find('/').and_then(|end| rest.get(end..)))
        .unwrap_or_default()
}

/// The pointer to a member of what `pointer` leads to.
pub fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// What the schema asks for. Everything here comes out of the schema, nothing out of the value.
fn expectation(kind: &ValidationErrorKind) -> String {
    use ValidationErrorKind as Kind;
    match kind {
        Kind::Type {
            kind: TypeKind::Single(one),
        } => format!("type {one}"),
        Kind::Type {
            kind: TypeKind::Multiple(types),
        } => {
            let names: Vec<_> = types.iter().map(|one| one.to_string()).collect();
            format!("type {}", names.join(" or "))
        }
        Kind::Enum { options } => format!("one of {options}"),
        Kind::Constant { expected_value } => expected_value.to_string(),
        Kind::Format { format } => format!("format {format}"),
        Kind::Pattern { pattern } => format!("a match of {pattern}"),
        Kind::Maximum { limit } => format!("at most {limit}"),
        Kind::Minimum { limit } => format!("at least {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("less than {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("more than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("a multiple of {multiple_of}"),
        Kind::MaxLength { limit } => format!("at most {limit} characters"),
        Kind::MinLength { limit } => format!("at least {limit} characters"),
        Kind::MaxItems { limit } => format!("at most {limit} elements"),
        Kind::MinItems { limit } => format!("at least {limit} elements"),
        Kind::AdditionalItems { limit } => format!("no more than {limit} elements"),
        Kind::MaxProperties { limit } => format!("at most {limit} members"),
        Kind::MinProperties { limit } => format!("at least {limit} members"),
        Kind::UniqueItems => "no element twice".into(),
        Kind::UnevaluatedItems { .. } => "no further elements".into(),
        Kind::Contains => "as many matching elements as the schema asks for".into(),
        Kind::AnyOf { context } => format!("a match of at least one of {} schemas", context.len()),
        Kind::OneOfNotValid { context } | Kind::OneOfMultipleValid { context } => {
            format!("a match of exactly one of {} schemas", context.len())
        }
        Kind::Not { .. } => "no match of the schema under `not`".into(),
        Kind::PropertyNames { error } => format!("member names: {}", expectation(error.kind())),
        Kind::FalseSchema => "no value here".into(),
        Kind::ContentEncoding { content_encoding } => format!("encoded as {content_encoding}"),
        Kind::ContentMediaType { content_media_type } => format!("content of {content_media_type}"),
        _ => "a value that the schema allows".into(),
    }
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT)
            .rev()
            .find(|end| text.is_char_boundary(*end))
            .unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    text
}
