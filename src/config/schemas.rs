//! The policy's JSON Schemas, shared (`schemas`) and inline, compiled together.
//!
//! `#/$defs/…`, `#anchor` and relative references mean in each what they would mean in a file of its
//! own; `#/schemas/NAME` means the policy's shared schema everywhere.
mod document;
mod keywords;
mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::problem::{Place, Problems};
use crate::schema::{Cost, Schema, SchemaError, Schemas, Shapes, options};
use document::{Document, POLICY, container, place_below, wraps};
use walk::{Pattern, Walk, Walked};

/// Whether values of that `format` are checked, numbers included.
pub fn is_asserted(format: &str) -> bool {
    let numbers = keywords::NUMBER_FORMATS.iter().map(|(name, ..)| *name);
    let mut asserted = keywords::FORMATS.iter().copied().chain(numbers);
    asserted.any(|known| known == format)
}

/// What stays readable in an address (RFC 3986 §2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Every schema of a policy, by the place it is used at.
#[derive(Debug, Default)]
pub struct SchemaTable {
    shared: BTreeMap<String, Value>,
    schemas: Option<Arc<Schemas>>,
    entries: BTreeMap<Place, String>,
}

impl SchemaTable {
    /// Compiles the shared schemas and those that `uses` lists with the place each stands at.
    ///
    /// Shared schemas that nothing uses are checked, but not kept.
    pub fn compile<'a>(
        shared: &'a BTreeMap<String, Value>,
        at: &Place,
        uses: impl IntoIterator<Item = (Place, &'a Value)>,
        problems: &mut Problems,
    ) -> Self {
        let before = problems.0.len();
        let mut walk = Walk::new(problems);
        for (name, schema) in shared {
            walk.add(Some(name), shared_uri(name), schema, at.key(name));
        }
        let mut entries = Entries::default();
        for (place, schema) in uses {
            entries.add(place, schema, shared, &mut walk);
        }
        let walked = walk.run();
        let root = root(&walked, &entries);
        let shapes = entries.shapes(&walked);
        check_costs(&shapes, &walked, problems);
        let table = |schemas| Self {
            shared: shared.clone(),
            schemas,
            entries: entries.by_place.clone(),
        };
        if problems.0.len() > before {
            // What has been found may make the build itself take very long.
            check_parts(&walked, before, problems);
            return table(None);
        }
        let used = shapes.reachable();
        match Schemas::build(&root, shapes) {
            Ok(schemas) => {
                // What no route uses was not compiled, but shall not lie in wait either.
                let used = |pattern: &Pattern| used.get(pattern.shape) == Some(&true);
                let unused = walked.patterns.iter().filter(|pattern| !used(pattern));
                check_patterns(unused, before, problems);
                table(Some(Arc::new(schemas)))
            }
            Err(error) => {
                diagnose(&error, &root, &walked, at, before, problems);
                table(None)
            }
        }
    }

    /// The shared schemas as written.
    pub fn shared(&self) -> &BTreeMap<String, Value> {
        &self.shared
    }

    /// The schema used at that place; `None` where it could not be compiled.
    pub fn get(&self, place: &Place) -> Option<Schema> {
        let entry = self.entries.get(place)?;
        Some(Schema::new(self.schemas.clone()?, entry))
    }
}

/// The uses of schemas, equal ones once.
#[derive(Default)]
struct Entries {
    by_place: BTreeMap<Place, String>,
    by_text: BTreeMap<String, String>,
    uris: Vec<String>,
}

impl Entries {
    fn add<'s>(
        &mut self,
        place: Place,
        schema: &'s Value,
        shared: &BTreeMap<String, Value>,
        walk: &mut Walk<'_, 's>,
    ) {
        let text = schema.to_string();
        let entry = match self.by_text.get(&text) {
            Some(entry) => entry.clone(),
            None => {
                let entry = self.uris.len().to_string();
                let uri = plain_reference(schema, shared).map_or_else(
                    || {
                        let uri = format!("forecourt:///inline/{entry}");
                        walk.add(None, uri.clone(), schema, place.clone());
                        uri
                    },
                    shared_uri,
                );
                self.uris.push(uri);
                self.by_text.insert(text, entry.clone());
                entry
            }
        };
        self.by_place.insert(place, entry);
    }

    fn iter(&self) -> impl Iterator<Item = (String, &str)> {
        self.uris
            .iter()
            .enumerate()
            .map(|(index, uri)| (index.to_string(), uri.as_str()))
    }

    fn shapes(&self, walked: &Walked) -> Shapes {
        let roots: BTreeMap<&str, usize> = walked
            .documents
            .iter()
            .map(|document| (document.uri.as_str(), document.root))
            .collect();
        let entries = self
            .iter()
            .filter_map(|(entry, uri)| Some((entry, *roots.get(uri)?)))
            .collect();
        Shapes::new(walked.shapes.clone(), entries)
    }
}

/// The name of the shared schema that `schema` is nothing but a reference to.
fn plain_reference<'a>(schema: &'a Value, shared: &BTreeMap<String, Value>) -> Option<&'a str> {
    let keywords = schema.as_object().filter(|keywords| keywords.len() == 1)?;
    let name = keywords.get("$ref")?.as_str()?.strip_prefix("#/schemas/")?;
    shared.contains_key(name).then_some(name)
}

fn shared_uri(name: &str) -> String {
    format!(
        "forecourt:///schemas/{}",
        utf8_percent_encode(name, RESERVED)
    )
}

/// The one schema that holds all documents, and an entry per use.
///
/// The documents are parts of one resource wherever that is possible: the engine compiles a
/// resource once per way that leads to it, and those ways multiply where schemas refer to each
/// other in rings.
fn root(walked: &Walked, entries: &Entries) -> Value {
    let container = container(walked.draft7);
    let mut addresses = BTreeMap::new();
    let mut parts = Map::new();
    for (index, document) in walked.documents.iter().enumerate() {
        let (address, part) = if document.apart {
            (document.uri.clone(), resource(document))
        } else {
            (format!("#/{container}/{index}"), document.schema.clone())
        };
        addresses.insert(document.uri.as_str(), address);
        parts.insert(index.to_string(), part);
    }
    let properties: Map<String, Value> = entries
        .iter()
        .filter_map(|(entry, uri)| Some((entry, json!({"$ref": addresses.get(uri)?}))))
        .collect();
    json!({
        "$schema": dialect(walked.draft7),
        "$id": POLICY,
        container: parts,
        "properties": properties,
    })
}

/// A document as a resource of its own.
fn resource(document: &Document) -> Value {
    let mut keywords = match &document.schema {
        Value::Object(keywords) if !wraps(document) => keywords.clone(),
        other => Map::from_iter([("allOf".to_owned(), json!([other]))]),
    };
    if document.draft7
        && let Some(reference) = keywords.remove("$ref")
    {
        // Draft 7 ignores everything beside `$ref`, the address included.
        keywords.retain(|keyword, _| matches!(keyword.as_str(), "definitions" | "$defs"));
        keywords.insert("allOf".into(), json!([{"$ref": reference}]));
    }
    keywords.insert("$id".into(), document.uri.clone().into());
    keywords.insert("$schema".into(), dialect(document.draft7).into());
    Value::Object(keywords)
}

fn dialect(draft7: bool) -> &'static str {
    if draft7 {
        "http://json-schema.org/draft-07/schema#"
    } else {
        "https://json-schema.org/draft/2020-12/schema"
    }
}

/// Reports subschemas that could make checking a small value take very long, or very much stack.
fn check_costs(shapes: &Shapes, walked: &Walked, problems: &mut Problems) {
    let costs = shapes.costs();
    let roots = walked.documents.iter().map(|document| document.root);
    for root in roots {
        let (Some(cost), Some(place)) = (costs.get(root), walked.places.get(root)) else {
            continue;
        };
        if cost.times > Cost::MOST_TIMES {
            let most = Cost::MOST_TIMES;
            let message = format!(
                "can make one part of a value be checked more than {most} times; let fewer \
                 `allOf`, `anyOf` and `oneOf` lead to the same schema"
            );
            problems.add(place, message);
        }
    }
    let too_deep = |index: &usize| {
        costs
            .get(*index)
            .is_some_and(|cost| cost.nested > Cost::MOST_NESTED)
    };
    // The innermost one that is too deep; those around it are too.
    if let Some(place) = (0..costs.len())
        .rfind(too_deep)
        .and_then(|id| walked.places.get(id))
    {
        let most = Cost::MOST_NESTED;
        let message = format!(
            "nests more than {most} subschemas for one value, references included; nest fewer \
             `allOf`, `anyOf`, `oneOf` and `$ref`"
        );
        problems.add(place, message);
    }
}

const MEND: &str = "copy it to `schemas` and refer to it as `#/schemas/NAME`";

/// Finds everything that may have made the build fail; runs only for a policy that is refused.
fn diagnose(
    error: &SchemaError,
    root: &Value,
    walked: &Walked,
    at: &Place,
    before: usize,
    problems: &mut Problems,
) {
    check_parts(walked, before, problems);
    for (place, reference) in &walked.outside {
        let uri = reference.trim_end_matches('#');
        if error.message.contains(&format!("'{uri}'")) {
            let message =
                format!("`{reference}` is not in this policy, and nothing is fetched; {MEND}");
            add_new(place, message, before, problems);
        }
    }
    if problems.0.len() == before {
        let place = place_in_root(&error.pointer, root, walked).unwrap_or_else(|| at.clone());
        problems.add(&place, error.message.clone());
    }
}

/// Checks what can be checked without a build.
fn check_parts(walked: &Walked, before: usize, problems: &mut Problems) {
    check_patterns(&walked.patterns, before, problems);
    for document in &walked.documents {
        check_form(document, before, problems);
    }
}

/// Reports every pattern that the linear matcher cannot run.
fn check_patterns<'w>(
    patterns: impl IntoIterator<Item = &'w Pattern>,
    before: usize,
    problems: &mut Problems,
) {
    for Pattern { place, text, .. } in patterns {
        if options().build(&json!({"pattern": text})).is_err() {
            add_new(place, pattern_problem(text), before, problems);
        }
    }
}

fn pattern_problem(pattern: &str) -> String {
    let looks_around = ["(?=", "(?!", "(?<=", "(?<!"]
        .iter()
        .any(|group| pattern.contains(group));
    if looks_around {
        "uses look-around, which needs a matcher that can take exponential time; write it without, \
         for instance as several patterns under `allOf` and `not`"
            .into()
    } else {
        "is not a regular expression that runs in linear time: a syntax error, a back-reference, or \
         too large once compiled"
            .into()
    }
}

/// Reports what the dialect's own meta-schema refuses.
fn check_form(document: &Document, before: usize, problems: &mut Problems) {
    let mut schema = document.schema.clone();
    if let Value::Object(keywords) = &mut schema {
        keywords.insert("$schema".into(), dialect(document.draft7).into());
    }
    let Ok(validator) = jsonschema::meta::validator_for(&schema) else {
        return;
    };
    for error in validator.iter_errors(&schema) {
        let pointer = error.instance_path().as_str();
        let place = place_below(&document.place, &document.schema, pointer);
        add_new(&place, error.to_string(), before, problems);
    }
}

/// Adds a finding unless this compilation already has one at that place.
fn add_new(place: &Place, message: String, before: usize, problems: &mut Problems) {
    if !problems
        .0
        .iter()
        .skip(before)
        .any(|held| held.place == *place)
    {
        problems.add(place, message);
    }
}

fn place_in_root(pointer: &str, root: &Value, walked: &Walked) -> Option<Place> {
    let container = container(walked.draft7);
    let below = pointer.strip_prefix(&format!("/{container}/"))?;
    let (index, rest) = below
        .find('/')
        .map_or((below, ""), |end| below.split_at(end));
    let document = walked.documents.get(index.parse::<usize>().ok()?)?;
    let resource = root.pointer(&format!("/{container}/{index}"))?;
    Some(place_below(&document.place, resource, rest))
}

#[cfg(test)]
mod tests;
