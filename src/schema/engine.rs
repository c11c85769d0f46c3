//! Every JSON Schema of a policy, compiled once into one validator that all routes share.
//!
//! The engine keeps one copy of a subschema per validator, so a thousand routes that share a
//! hundred schemas must share one validator too. Its root schema has one property per entry, and a
//! body is checked as the only member of an object that has the entry's name.

use std::fmt;
use std::sync::Arc;

use jsonschema::{PatternOptions, ValidationOptions, Validator};
use serde_json::{Map, Value};

use super::explain;
use super::shape::Shapes;
use crate::reply::Violation;

/// Compiled bytes that one `pattern` may take, and its matcher may cache.
const PATTERN_BYTES: usize = 1 << 20;

/// All schemas that the routes of a policy use.
pub struct Schemas {
    validator: Validator,
    shapes: Shapes,
}

impl Schemas {
    /// Compiles a root schema of the form `{"$defs": …, "properties": {ENTRY: schema, …}}`.
    ///
    /// References are resolved inside the root alone; nothing is ever fetched.
    pub fn build(root: &Value, shapes: Shapes) -> Result<Self, SchemaError> {
        match options().build(root) {
            Ok(validator) => Ok(Self { validator, shapes }),
            Err(error) => Err(SchemaError {
                pointer: error.instance_path().as_str().to_owned(),
                message: error.to_string(),
            }),
        }
    }
}

impl fmt::Debug for Schemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schemas").finish_non_exhaustive()
    }
}

/// A schema that cannot be compiled.
#[derive(Clone, Debug)]
pub struct SchemaError {
    /// JSON Pointer into the root, as far as the engine knows it.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
}

/// The settings every schema is compiled with; without `$schema` it is of draft 2020-12.
///
/// Patterns run on a matcher without backtracking, and formats are asserted in every draft.
pub fn options() -> ValidationOptions<'static> {
    jsonschema::options()
        .offline()
        .should_validate_formats(true)
        .with_pattern_options(
            PatternOptions::regex()
                .size_limit(PATTERN_BYTES)
                .dfa_size_limit(PATTERN_BYTES),
        )
        .with_format("byte", is_base64)
}

/// `format: byte` of OpenAPI: padded base64 (RFC 4648 §4).
fn is_base64(text: &str) -> bool {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .is_ok()
}

/// One schema of the policy, ready to check values against.
#[derive(Clone, Debug)]
pub struct Schema {
    schemas: Arc<Schemas>,
    entry: Arc<str>,
}

/// A value that broke its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What to mend, sorted, at most [`explain::MOST`]. Empty where finding out would cost too
    /// much.
    pub violations: Vec<Violation>,
}

impl Schema {
    /// The schema compiled under that name in the root's `properties`.
    pub fn new(schemas: Arc<Schemas>, entry: &str) -> Self {
        Self {
            schemas,
            entry: entry.into(),
        }
    }

    /// Checks a value that stood at `location` of the request.
    ///
    /// `is_valid` alone decides: the engine's error paths can cost exponentially more, so they run
    /// only for a value that is known to be wrong and under a bound worked out beforehand.
    pub fn check(&self, value: Value, location: &'static str) -> Result<(), Mismatch> {
        let mut instance = Map::new();
        instance.insert(self.entry.to_string(), value);
        let instance = Value::Object(instance);
        if self.schemas.validator.is_valid(&instance) {
            return Ok(());
        }
        let affordable = instance
            .get(&*self.entry)
            .is_some_and(|value| self.schemas.shapes.affordable(&self.entry, value));
        let violations = if affordable {
            explain::violations(&self.schemas.validator, &instance, location)
        } else {
            Vec::new()
        };
        Err(Mismatch { violations })
    }
}
