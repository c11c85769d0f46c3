//! The policy's JSON Schemas, shared (`schemas`) and inline, compiled together.
//!
//! `#/$defs/…`, `#anchor` and relative references mean in each what they would mean in a file of its
//! own; `#/schemas/NAME` means the policy's shared schema everywhere.
mod choose;
mod findings;
mod keywords;

use std::collections::BTreeMap;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::problem::{Place, Problems};
use crate::schema::{Schema, SchemaSource, Schemas, compile_schemas};
use findings::place_below;

/// Whether values of that `format` are checked, numbers included.
pub fn is_asserted(format: &str) -> bool {
    keywords::asserted_formats().any(|known| known == format)
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
    entries: BTreeMap<Place, usize>,
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
        let mut documents = Documents::default();
        for (name, schema) in shared {
            documents.share(name, schema, at.key(name));
        }
        let mut entries = BTreeMap::new();
        for (place, schema) in uses {
            let entry = documents.entry(&place, schema, shared);
            entries.insert(place, entry);
        }
        Self {
            shared: shared.clone(),
            schemas: documents.compile(problems).map(Arc::new),
            entries,
        }
    }

    /// The shared schemas as written.
    pub fn shared(&self) -> &BTreeMap<String, Value> {
        &self.shared
    }

    /// The schema used at that place; `None` where it could not be compiled.
    pub fn get(&self, place: &Place) -> Option<Schema> {
        let entry = self.entries.get(place)?;
        Some(Schema::new(self.schemas.clone()?, *entry))
    }
}

/// The policy's schemas, each with the place it stands at.
#[derive(Default)]
struct Documents<'a> {
    sources: Vec<SchemaSource<'a>>,
    places: Vec<Place>,
    /// Shared schemas by name.
    shared: BTreeMap<&'a str, usize>,
    /// The document of each entry.
    entries: Vec<usize>,
    /// Entries by the text of their schema: equal uses are one.
    by_text: BTreeMap<String, usize>,
}

impl<'a> Documents<'a> {
    fn share(&mut self, name: &'a str, schema: &'a Value, place: Place) {
        let name_in_uri = utf8_percent_encode(name, RESERVED);
        let uri = format!("forecourt:///schemas/{name_in_uri}");
        let document = self.add(uri, Some(name), schema, place);
        self.shared.insert(name, document);
    }

    fn add(
        &mut self,
        uri: String,
        name: Option<&'a str>,
        schema: &'a Value,
        place: Place,
    ) -> usize {
        self.sources.push(SchemaSource { uri, name, schema });
        self.places.push(place);
        self.sources.len() - 1
    }

    /// The entry for a use of a schema.
    fn entry(
        &mut self,
        place: &Place,
        schema: &'a Value,
        shared: &BTreeMap<String, Value>,
    ) -> usize {
        let text = schema.to_string();
        if let Some(known) = self.by_text.get(&text) {
            return *known;
        }
        let entry = self.entries.len();
        let named = plain_reference(schema, shared);
        let document = match named.and_then(|name| self.shared.get(name)) {
            Some(document) => *document,
            None => {
                let uri = format!("forecourt:///inline/{entry}");
                self.add(uri, None, schema, place.clone())
            }
        };
        self.entries.push(document);
        self.by_text.insert(text, entry);
        entry
    }

    fn compile(&self, problems: &mut Problems) -> Option<Schemas> {
        let before = problems.0.len();
        let place = |document: usize, pointer: &str| {
            let known = self.places.get(document).zip(self.sources.get(document));
            known.map(|(place, source)| place_below(place, source.schema, pointer))
        };
        let compiled = compile_schemas(&self.sources, &self.entries, &mut |path, keywords| {
            let mut tell = |below: &[&str], message: String| {
                if let Some(mut place) = place(path.document, &path.pointer()) {
                    for key in below {
                        place = place.key(key);
                    }
                    problems.add(&place, message);
                }
            };
            keywords::check(keywords, &mut |keyword, message| tell(&[keyword], message));
            choose::choice(self, keywords, path.document, &mut tell)
        });
        match compiled {
            Ok(schemas) => (problems.0.len() == before).then_some(schemas),
            Err(findings) => {
                for finding in findings {
                    if let Some(place) = place(finding.document, &finding.pointer) {
                        let message = findings::message(&finding.fault, &self.sources);
                        problems.add(&place, message);
                    }
                }
                None
            }
        }
    }
}

/// The name of the shared schema that `schema` is nothing but a reference to.
fn plain_reference<'a>(schema: &'a Value, shared: &BTreeMap<String, Value>) -> Option<&'a str> {
    let keywords = schema.as_object().filter(|keywords| keywords.len() == 1)?;
    let name = keywords.get("$ref")?.as_str()?.strip_prefix("#/schemas/")?;
    shared.contains_key(name).then_some(name)
}

#[cfg(test)]
mod tests;
