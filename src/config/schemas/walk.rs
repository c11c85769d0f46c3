//! A walk over schema documents by keyword position: a property may be *named* `type` or `$ref`.
//!
//! It reports what the engine would take silently, rewrites references to the policy's shared
//! schemas into absolute ones, turns the number formats of OpenAPI into bounds, and draws the
//! outline of every subschema.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::keywords::{
    ANNOTATIONS, APPLICATORS, Applies, FORMATS, Holds, NUMBER_FORMATS, OTHER_KEYWORDS, TYPES,
};
use crate::config::problem::{Place, Problems, did_you_mean};
use crate::schema::{Shape, ShapeId};

/// How deep a schema may nest.
const MAX_DEPTH: usize = 100;

/// One schema of the policy with the address it is compiled under.
pub(super) struct Document {
    pub place: Place,
    pub uri: String,
    pub schema: Value,
    pub root: ShapeId,
    pub draft7: bool,
}

/// A regular expression and the subschema it stands in.
pub(super) struct Pattern {
    pub place: Place,
    pub text: String,
    pub shape: ShapeId,
}

/// A reference that waits for its target to be walked.
struct Link {
    from: ShapeId,
    to: Target,
    place: Place,
    written: String,
}

/// A subschema by document and JSON Pointer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    document: usize,
    pointer: String,
}

/// Where the walk is.
#[derive(Clone)]
struct Here {
    document: usize,
    pointer: String,
    place: Place,
    depth: usize,
    /// Inside a subschema with an `$id` of its own: local references mean that subschema.
    foreign: bool,
}

impl Here {
    fn key(&self, key: &str) -> Self {
        let step = key.replace('~', "~0").replace('/', "~1");
        self.to(step, self.place.key(key))
    }

    fn index(&self, index: usize) -> Self {
        self.to(index.to_string(), self.place.index(index))
    }

    fn to(&self, step: String, place: Place) -> Self {
        Self {
            document: self.document,
            pointer: format!("{}/{step}", self.pointer),
            place,
            depth: self.depth + 1,
            foreign: self.foreign,
        }
    }
}

/// The walk over all documents of a policy.
pub(super) struct Walk<'p> {
    problems: &'p mut Problems,
    documents: Vec<Document>,
    /// Shared schemas by name.
    names: BTreeMap<String, usize>,
    /// Documents by the absolute `$id` they gave themselves.
    ids: BTreeMap<String, usize>,
    shapes: Vec<Shape>,
    walked: BTreeMap<Target, ShapeId>,
    links: Vec<Link>,
    patterns: Vec<Pattern>,
    outside: Vec<(Place, String)>,
}

/// What the walk brings home.
pub(super) struct Walked {
    pub documents: Vec<Document>,
    pub shapes: Vec<Shape>,
    pub patterns: Vec<Pattern>,
    /// References to what is not one of the policy's documents, as far as the walk can tell.
    pub outside: Vec<(Place, String)>,
}

impl<'p> Walk<'p> {
    pub(super) fn new(problems: &'p mut Problems) -> Self {
        Self {
            problems,
            documents: Vec::new(),
            names: BTreeMap::new(),
            ids: BTreeMap::new(),
            shapes: Vec::new(),
            walked: BTreeMap::new(),
            links: Vec::new(),
            patterns: Vec::new(),
            outside: Vec::new(),
        }
    }

    /// Adds a document; one with a name can be referred to as `#/schemas/NAME`.
    pub(super) fn add(&mut self, name: Option<&str>, uri: String, schema: &Value, place: Place) {
        let document = self.documents.len();
        if let Some(name) = name {
            self.names.insert(name.to_owned(), document);
        }
        if let Some(id) = schema.get("$id").and_then(Value::as_str) {
            let id = id.strip_suffix('#').unwrap_or(id);
            if self.ids.insert(id.to_owned(), document).is_some() {
                self.problems.add(
                    &place.key("$id"),
                    format!("`{id}` is the `$id` of another schema too; give each its own"),
                );
            }
        }
        let draft7 = self.draft7(schema, &place);
        self.documents.push(Document {
            place,
            uri,
            schema: schema.clone(),
            root: 0,
            draft7,
        });
    }

    fn draft7(&mut self, schema: &Value, place: &Place) -> bool {
        let Some(dialect) = schema.get("$schema") else {
            return false;
        };
        let known = dialect.as_str().map(|uri| uri.trim_end_matches('#'));
        match known.and_then(|uri| uri.split_once("://")) {
            Some(("http" | "https", "json-schema.org/draft-07/schema")) => true,
            Some(("http" | "https", "json-schema.org/draft/2020-12/schema")) => false,
            _ => {
                self.problems.add(
                    &place.key("$schema"),
                    "is not a dialect that is checked; write \
                     `https://json-schema.org/draft/2020-12/schema` or \
                     `http://json-schema.org/draft-07/schema#`",
                );
                false
            }
        }
    }

    /// Walks every document, then every place that references lead to.
    pub(super) fn run(mut self) -> Walked {
        for document in 0..self.documents.len() {
            let root = self.walk_at(&Target {
                document,
                pointer: String::new(),
            });
            if let (Some(held), Some(root)) = (self.documents.get_mut(document), root) {
                held.root = root;
            }
        }
        while let Some(link) = self.links.pop() {
            match self.walk_at(&link.to) {
                Some(target) => {
                    if let Some(shape) = self.shapes.get_mut(link.from) {
                        shape.same.push(target);
                    }
                }
                None => self.refuse_link(&link),
            }
        }
        Walked {
            documents: self.documents,
            shapes: self.shapes,
            patterns: self.patterns,
            outside: self.outside,
        }
    }

    /// The outline of the subschema at `target`, which is walked unless it has been; `None` where
    /// there is nothing.
    fn walk_at(&mut self, target: &Target) -> Option<ShapeId> {
        if let Some(known) = self.walked.get(target) {
            return Some(*known);
        }
        let held = self.documents.get_mut(target.document)?;
        let place = place_below(&held.place, &held.schema, &target.pointer);
        // Taken out for the walk, so that it can be rewritten while the walk goes on.
        let mut schema = std::mem::take(held.schema.pointer_mut(&target.pointer)?);
        let here = Here {
            document: target.document,
            pointer: target.pointer.clone(),
            place,
            depth: 0,
            foreign: false,
        };
        let id = self.visit(&mut schema, &here);
        let held = self.documents.get_mut(target.document)?;
        *held.schema.pointer_mut(&target.pointer)? = schema;
        Some(id)
    }

    fn refuse_link(&mut self, link: &Link) {
        let near = self
            .documents
            .get(link.to.document)
            .map(|document| known_pointers(&document.schema))
            .unwrap_or_default();
        let mend = did_you_mean(&link.to.pointer, near.iter().map(String::as_str));
        self.problems.add(
            &link.place,
            format!("`{}` leads to nothing{mend}", link.written),
        );
    }

    fn visit(&mut self, schema: &mut Value, here: &Here) -> ShapeId {
        let id = self.shapes.len();
        self.shapes.push(Shape::default());
        self.walked.insert(
            Target {
                document: here.document,
                pointer: here.pointer.clone(),
            },
            id,
        );
        if here.depth > MAX_DEPTH {
            let most = format!("nests deeper than {MAX_DEPTH} levels; refer to parts by `$ref`");
            self.problems.add(&here.place, most);
            return id;
        }
        let shape = match schema {
            Value::Bool(_) => Shape {
                errors: 1,
                ..Shape::default()
            },
            Value::Object(keywords) => self.visit_object(keywords, here, id),
            _ => {
                let message = "must be a JSON Schema: a mapping, `true` or `false`";
                self.problems.add(&here.place, message);
                Shape::default()
            }
        };
        if let Some(held) = self.shapes.get_mut(id) {
            *held = shape;
        }
        id
    }

    fn visit_object(
        &mut self,
        keywords: &mut Map<String, Value>,
        here: &Here,
        id: ShapeId,
    ) -> Shape {
        let mut here = here.clone();
        here.foreign |= here.depth > 0 && keywords.contains_key("$id");
        self.check_keywords(keywords, &here, id);
        let mut shape = Shape {
            errors: keywords.len() + keywords.get("required").map_or(0, list_length),
            ..Shape::default()
        };
        for (keyword, holds, applies) in APPLICATORS {
            if let Some(held) = keywords.get_mut(*keyword) {
                self.visit_keyword(held, *holds, *applies, &here.key(keyword), &mut shape);
            }
        }
        self.visit_reference(keywords, &here, id, &mut shape);
        if keywords.contains_key("$dynamicRef") {
            // Where it leads depends on the way that was taken.
            shape.errors = usize::MAX;
        }
        bound_numbers(keywords);
        shape
    }

    fn visit_keyword(
        &mut self,
        held: &mut Value,
        holds: Holds,
        applies: Applies,
        here: &Here,
        shape: &mut Shape,
    ) {
        match (holds, held) {
            (Holds::List | Holds::OneOrList, Value::Array(list)) => {
                for (index, one) in list.iter_mut().enumerate() {
                    let id = self.visit(one, &here.index(index));
                    apply(shape, applies, "", id);
                }
            }
            (Holds::Named, Value::Object(named)) => {
                for (name, one) in named.iter_mut().filter(|(_, one)| !one.is_array()) {
                    let id = self.visit(one, &here.key(name));
                    apply(shape, applies, name, id);
                }
            }
            (Holds::One | Holds::OneOrList, one) => {
                let id = self.visit(one, here);
                apply(shape, applies, "", id);
            }
            (Holds::List, _) => self.problems.add(&here.place, "must be a list of schemas"),
            (Holds::Named, _) => {
                self.problems
                    .add(&here.place, "must be a mapping of names to schemas");
            }
        }
    }

    fn check_keywords(&mut self, keywords: &Map<String, Value>, here: &Here, id: ShapeId) {
        let known = || {
            let applicators = APPLICATORS.iter().map(|(name, ..)| *name);
            applicators.chain(OTHER_KEYWORDS.iter().copied())
        };
        for (keyword, value) in keywords {
            let at = here.place.key(keyword);
            match (keyword.as_str(), value) {
                ("nullable", _) => self.problems.add(
                    &at,
                    "is OpenAPI 3.0 and means nothing in JSON Schema; add `null` to `type` instead",
                ),
                ("type", _) => self.check_type(value, &at),
                ("format", Value::String(format)) => self.check_format(format, &at),
                ("pattern", Value::String(pattern)) => self.check_pattern(pattern, at, id),
                ("patternProperties", Value::Object(named)) => {
                    for pattern in named.keys() {
                        self.check_pattern(pattern, at.key(pattern), id);
                    }
                }
                (name, _) if known().any(|one| one == name) || ANNOTATIONS.contains(&name) => {}
                (name, _) => {
                    let near = did_you_mean(name, known());
                    if !near.is_empty() {
                        self.problems
                            .add(&at, format!("`{name}` is no keyword of JSON Schema{near}"));
                    }
                }
            }
        }
    }

    fn check_type(&mut self, value: &Value, at: &Place) {
        let names: Vec<&Value> = match value {
            Value::Array(names) => names.iter().collect(),
            one => vec![one],
        };
        for name in names {
            let text = name.as_str().unwrap_or_default();
            if !TYPES.contains(&text) {
                let near = did_you_mean(text, TYPES.iter().copied());
                let message = format!("{name} is no type; known are {}{near}", TYPES.join(", "));
                self.problems.add(at, message);
            }
        }
    }

    fn check_format(&mut self, format: &str, at: &Place) {
        let numbers = NUMBER_FORMATS.iter().map(|(name, ..)| *name);
        let asserted = FORMATS.iter().copied().chain(numbers);
        if format == "idn-hostname" {
            self.problems.add(
                at,
                "is not asserted: its tables would make the module much larger; write `hostname` \
                 for names in their ASCII form, or a `pattern`",
            );
        } else if !asserted.clone().any(|known| known == format) {
            let near = did_you_mean(format, asserted);
            if !near.is_empty() {
                let message = format!("`{format}` is no known format{near}");
                self.problems.add(at, message);
            }
        }
    }

    fn check_pattern(&mut self, pattern: &str, place: Place, shape: ShapeId) {
        if pattern.starts_with("/^") || pattern.len() > 2 && pattern.ends_with("$/") {
            self.problems.add(
                &place,
                "can never match: JSON Schema patterns stand without slashes around them",
            );
        }
        let text = pattern.to_owned();
        self.patterns.push(Pattern { place, text, shape });
    }

    fn visit_reference(
        &mut self,
        keywords: &mut Map<String, Value>,
        here: &Here,
        id: ShapeId,
        shape: &mut Shape,
    ) {
        let Some(Value::String(reference)) = keywords.get_mut("$ref") else {
            return;
        };
        let place = here.place.key("$ref");
        let written = reference.clone();
        let target = if let Some(path) = reference.strip_prefix("#/schemas/") {
            let Some((target, absolute)) = self.shared(path, &place) else {
                return;
            };
            *reference = absolute;
            Some(target)
        } else if here.foreign {
            None
        } else if reference == "#" || reference.starts_with("#/") {
            Some(Target {
                document: here.document,
                pointer: decode(reference.trim_start_matches('#')),
            })
        } else {
            let bare = reference.strip_suffix('#').unwrap_or(reference);
            self.ids.get(bare).map(|document| Target {
                document: *document,
                pointer: String::new(),
            })
        };
        match target {
            Some(to) => self.links.push(Link {
                from: id,
                to,
                place,
                written,
            }),
            // An anchor or another document: the engine follows it, the outline cannot.
            None => {
                shape.errors = usize::MAX;
                self.outside.push((place, written));
            }
        }
    }

    /// Resolves what follows `#/schemas/`: the target, and the reference to compile.
    fn shared(&mut self, path: &str, place: &Place) -> Option<(Target, String)> {
        let (name, rest) = match path.find('/') {
            Some(end) => path.split_at_checked(end)?,
            None => (path, ""),
        };
        let name = decode(name).replace("~1", "/").replace("~0", "~");
        let Some(document) = self.names.get(&name).copied() else {
            let near = did_you_mean(&name, self.names.keys().map(String::as_str));
            let message = format!("the policy's `schemas` have no `{name}`{near}");
            self.problems.add(place, message);
            return None;
        };
        let held = self.documents.get(document)?;
        let wrapped = if wraps(held) { "/allOf/0" } else { "" };
        let absolute = match rest {
            "" => held.uri.clone(),
            _ => format!("{}#{wrapped}{rest}", held.uri),
        };
        let pointer = decode(rest);
        Some((Target { document, pointer }, absolute))
    }
}

/// Whether the document is compiled below a wrapper that carries its address: it has an `$id`.
pub(super) fn wraps(document: &Document) -> bool {
    document.schema.get("$id").is_some()
}

fn apply(shape: &mut Shape, applies: Applies, name: &str, id: ShapeId) {
    match applies {
        Applies::Same => shape.same.push(id),
        Applies::Alternatives => shape.alternatives.push(id),
        Applies::Member => {
            shape.members.insert(name.to_owned(), id);
        }
        Applies::AnyMember => shape.any_member.push(id),
        Applies::AnyElement => shape.any_element.push(id),
        Applies::Nowhere => {}
    }
}

/// Adds the bounds that a number format stands for.
fn bound_numbers(keywords: &mut Map<String, Value>) {
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

/// The JSON Pointer of a URI fragment (RFC 6901 §6).
fn decode(fragment: &str) -> String {
    percent_decode_str(fragment)
        .decode_utf8_lossy()
        .into_owned()
}

fn list_length(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len)
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
