//! What the schema engine finds wrong, told with its place and its mend.

use serde_json::Value;

use crate::config::problem::{Place, did_you_mean};
use crate::schema::{BadPattern, MAX_SCHEMA_DEPTH, SchemaFault, SchemaSource, TYPES};

const MEND: &str = "copy it to `schemas` and refer to it as `#/schemas/NAME`";

/// What to write instead.
pub(super) fn message(fault: &SchemaFault, sources: &[SchemaSource<'_>]) -> String {
    match fault {
        SchemaFault::Form(form) => format!("must be {form}"),
        SchemaFault::Type(name) => {
            let mut types = TYPES;
            types.sort_unstable();
            let near = did_you_mean(name.trim_matches('"'), types);
            format!("{name} is no type; known are {}{near}", types.join(", "))
        }
        SchemaFault::TooDeep => {
            format!("nests deeper than {MAX_SCHEMA_DEPTH} levels; refer to parts by `$ref`")
        }
        SchemaFault::Dialect => "is not a dialect that is checked; write \
                                 `https://json-schema.org/draft/2020-12/schema` or \
                                 `http://json-schema.org/draft-07/schema#`"
            .into(),
        SchemaFault::SameId(uri) => {
            format!("`{uri}` is the `$id` of another schema too; give each its own")
        }
        SchemaFault::Pattern(bad) => pattern_message(*bad).into(),
        SchemaFault::Outside(reference) => {
            format!("`{reference}` is not in this policy, and nothing is fetched; {MEND}")
        }
        SchemaFault::NotShared(name) => {
            let near = did_you_mean(name, sources.iter().filter_map(|source| source.name));
            format!("the policy's `schemas` have no `{name}`{near}")
        }
        SchemaFault::Nowhere {
            reference,
            document,
            pointer,
        } => {
            let document = sources.get(*document);
            let known = document.map(|source| known_pointers(source.schema));
            let known = known.unwrap_or_default();
            let near = did_you_mean(pointer, known.iter().map(String::as_str));
            format!("`{reference}` leads to nothing{near}")
        }
        SchemaFault::Endless => "leads back to itself for the same value, so that a check would \
                                 never end; refer to it from a member or an element alone"
            .into(),
    }
}

fn pattern_message(bad: BadPattern) -> &'static str {
    match bad {
        BadPattern::Syntax => "is not a regular expression (ECMA-262): a syntax error",
        BadPattern::LookAround => {
            "uses look-around, which needs a matcher that can take exponential time; write it \
             without, for instance as several patterns under `allOf` and `not`"
        }
        BadPattern::BackReference => {
            "uses a back-reference, which needs a matcher that can take exponential time; write it \
             without"
        }
        BadPattern::Size => "is too large once compiled; repeat less, or nest fewer groups",
    }
}

/// Pointers to the named parts of a document, for what one may have meant.
fn known_pointers(schema: &Value) -> Vec<String> {
    let mut pointers = Vec::new();
    for keyword in ["$defs", "definitions", "properties"] {
        if let Some(Value::Object(named)) = schema.get(keyword) {
            pointers.extend(named.keys().map(|name| format!("/{keyword}/{name}")));
        }
    }
    pointers
}

/// The place in the policy of what `pointer` leads to.
pub(super) fn place_below(base: &Place, document: &Value, pointer: &str) -> Place {
    let mut place = base.clone();
    let mut value = Some(document);
    for step in pointer.split('/').skip(1) {
        let name = step.replace("~1", "/").replace("~0", "~");
        match (value, name.parse::<usize>()) {
            (Some(Value::Array(list)), Ok(index)) => {
                place = place.index(index);
                value = list.get(index);
            }
            (held, _) => {
                place = place.key(&name);
                value = held.and_then(|held| held.get(&name));
            }
        }
    }
    place
}
