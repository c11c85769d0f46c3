//! A walk over schema documents by keyword position: a property may be *named* `type` or `$ref`.
//!
//! It reports what the engine would take silently, resolves references between documents so that
//! all of them can be compiled as one resource, turns the number formats and discriminators of
//! OpenAPI into keywords that are checked, and draws the outline of every subschema.

mod check;
mod choose;

use std::collections::BTreeMap;

use jsonschema::uri;
use serde_json::{Map, Value};

use super::document::{Document, MAX_DEPTH, Survey, base, decode, place_below};
use super::keywords::{APPLICATORS, Applies, Holds, bound_numbers};
use crate::config::problem::{Place, Problems, did_you_mean};
use crate::schema::{Shape, ShapeId};

/// How many subschemas of one document may have an `$id` or a dynamic anchor.
const MAX_RESOURCES: usize = 8;

/// How many documents that stay resources of their own may be reached from one of them: the engine
/// compiles each once per way that leads to it.
const MAX_REACHED: usize = 4;

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
    /// Inside a subschema with an `$id` of its own: what references start from there.
    inner: Option<String>,
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
            inner: self.inner.clone(),
        }
    }
}

/// The walk over all documents of a policy.
pub(super) struct Walk<'p, 's> {
    problems: &'p mut Problems,
    documents: Vec<Document>,
    /// The documents as they were written.
    written: Vec<&'s Value>,
    /// Shared schemas by name.
    names: BTreeMap<String, usize>,
    /// Documents by the address that references may know them by.
    ids: BTreeMap<String, usize>,
    /// Whether the policy's resource is of draft 7: every document is.
    draft7: bool,
    shapes: Vec<Shape>,
    places: Vec<Place>,
    walked: BTreeMap<Target, ShapeId>,
    links: Vec<Link>,
    patterns: Vec<Pattern>,
    outside: Vec<(Place, String)>,
}

/// What the walk brings home.
pub(super) struct Walked {
    /// Whether the policy's resource is of draft 7.
    pub draft7: bool,
    pub documents: Vec<Document>,
    pub shapes: Vec<Shape>,
    /// Where each of the shapes stands.
    pub places: Vec<Place>,
    pub patterns: Vec<Pattern>,
    /// References to what is not one of the policy's documents, as far as the walk can tell.
    pub outside: Vec<(Place, String)>,
}

impl<'p, 's> Walk<'p, 's> {
    pub(super) fn new(problems: &'p mut Problems) -> Self {
        Self {
            problems,
            documents: Vec::new(),
            written: Vec::new(),
            names: BTreeMap::new(),
            ids: BTreeMap::new(),
            draft7: false,
            shapes: Vec::new(),
            places: Vec::new(),
            walked: BTreeMap::new(),
            links: Vec::new(),
            patterns: Vec::new(),
            outside: Vec::new(),
        }
    }

    /// Adds a document; one with a name can be referred to as `#/schemas/NAME`.
    pub(super) fn add(&mut self, name: Option<&str>, uri: String, schema: &'s Value, place: Place) {
        let document = self.documents.len();
        self.written.push(schema);
        if let Some(name) = name {
            self.names.insert(name.to_owned(), document);
        }
        let draft7 = self.draft7(schema, &place);
        let id = schema.get("$id").and_then(Value::as_str);
        let base = base(&uri, id.unwrap_or_default());
        if self.ids.insert(base.clone(), document).is_some() {
            self.problems.add(
                &place.key("$id"),
                format!("`{base}` is the `$id` of another schema too; give each its own"),
            );
        }
        self.ids.insert(uri.clone(), document);
        let mut survey = Survey::default();
        survey.take(schema, "", 0, draft7);
        if survey.resources > MAX_RESOURCES {
            let message =
                format!("has more than {MAX_RESOURCES} `$id`s and dynamic anchors; have fewer");
            self.problems.add(&place, message);
        }
        self.documents.push(Document {
            place,
            uri,
            base,
            schema: schema.clone(),
            root: 0,
            draft7,
            apart: survey.resources > 0,
            anchors: survey.anchors,
            refers: Vec::new(),
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
        self.draft7 = !self.documents.is_empty() && self.documents.iter().all(|one| one.draft7);
        for document in &mut self.documents {
            document.apart |= document.draft7 != self.draft7;
            document.join();
        }
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
        self.check_apart();
        Walked {
            draft7: self.draft7,
            documents: self.documents,
            shapes: self.shapes,
            places: self.places,
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
            inner: None,
        };
        let id = self.visit(&mut schema, &here);
        let held = self.documents.get_mut(target.document)?;
        *held.schema.pointer_mut(&target.pointer)? = schema;
        Some(id)
    }

    fn check_apart(&mut self) {
        for (index, document) in self.documents.iter().enumerate() {
            if document.apart && self.reached_apart(index) > MAX_REACHED {
                let message = format!(
                    "leads to more than {MAX_REACHED} schemas that have several `$id`s, dynamic \
                     anchors or another draft; write them without, in one draft"
                );
                self.problems.add(&document.place, message);
            }
        }
    }

    /// How many documents apart can be reached from a document.
    fn reached_apart(&self, from: usize) -> usize {
        let mut reached = vec![false; self.documents.len()];
        let mut next = vec![from];
        let mut count = 0;
        while let Some(index) = next.pop() {
            let Some(document) = self.documents.get(index) else {
                continue;
            };
            for other in &document.refers {
                if let Some(seen) = reached.get_mut(*other)
                    && !std::mem::replace(seen, true)
                {
                    count += usize::from(self.documents.get(*other).is_some_and(|one| one.apart));
                    next.push(*other);
                }
            }
        }
        count
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
        self.places.push(here.place.clone());
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
        if here.depth > 0
            && let Some(outer) = self.documents.get(here.document).filter(|one| one.apart)
            && let Some(id) = keywords.get("$id").and_then(Value::as_str)
            && !(outer.draft7 && id.starts_with('#'))
        {
            let start = here.inner.as_deref().unwrap_or(&outer.base);
            here.inner = Some(base(start, id));
        }
        self.check_keywords(keywords, &here, id);
        let mut shape = Shape {
            errors: keywords.len() + keywords.get("required").map_or(0, list_length),
            ..Shape::default()
        };
        let choice = self.choice(keywords, &here);
        for (keyword, holds, applies) in APPLICATORS {
            let before = shape.alternatives.len();
            if let Some(held) = keywords.get_mut(*keyword) {
                self.visit_keyword(held, *holds, *applies, &here.key(keyword), &mut shape);
            }
            if let Some(choice) = choice.as_ref().filter(|one| one.keyword == *keyword) {
                let branches = shape.alternatives.split_off(before);
                shape.choice = Some(choice.outline(&branches));
            }
        }
        self.visit_reference(keywords, &here, id, &mut shape);
        if let Some(choice) = choice {
            choice.write(keywords);
        }
        if !self
            .documents
            .get(here.document)
            .is_some_and(|one| one.apart)
        {
            // References to it have become pointers, and two documents may use one name.
            keywords.remove("$anchor");
            if here.depth > 0 {
                keywords.remove("$id");
            }
        }
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
        let target = match reference.strip_prefix("#/schemas/") {
            Some(path) => match self.shared(path, &place) {
                Some(target) => Some(target),
                None => return,
            },
            None => self.locate(here, reference),
        };
        let Some(to) = target else {
            // Another document, or a resource inside one: the engine follows, the outline cannot.
            shape.errors = usize::MAX;
            self.outside.push((place, written));
            return;
        };
        let local = to.document == here.document
            && self
                .documents
                .get(here.document)
                .is_some_and(|one| one.apart);
        if !local {
            *reference = self.address(&to);
        }
        if let Some(document) = self.documents.get_mut(here.document) {
            document.refers.push(to.document);
        }
        self.links.push(Link {
            from: id,
            to,
            place,
            written,
        });
    }

    /// What a reference of a document leads to, if it is one of the policy's documents.
    fn locate(&self, here: &Here, reference: &str) -> Option<Target> {
        let base = match &here.inner {
            Some(inner) => inner,
            None => &self.documents.get(here.document)?.base,
        };
        let absolute = uri::from_str(base)
            .and_then(|base| uri::resolve_against(&base.borrow(), reference))
            .ok()?;
        let (uri, fragment) = match absolute.as_str().split_once('#') {
            Some((uri, fragment)) => (uri, fragment),
            None => (absolute.as_str(), ""),
        };
        let document = *self
            .ids
            .get(uri)
            .filter(|_| here.inner.as_deref() != Some(uri))?;
        let pointer = if fragment.is_empty() || fragment.starts_with('/') {
            decode(fragment)
        } else {
            let anchors = &self.documents.get(document)?.anchors;
            anchors.get(&decode(fragment))?.clone()
        };
        Some(Target { document, pointer })
    }

    /// The reference to compile for a target.
    fn address(&self, target: &Target) -> String {
        let Some(document) = self.documents.get(target.document) else {
            return String::new();
        };
        document.address(target.document, &target.pointer, self.draft7)
    }

    /// Resolves what follows `#/schemas/`.
    fn shared(&mut self, path: &str, place: &Place) -> Option<Target> {
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
        let pointer = decode(rest);
        Some(Target { document, pointer })
    }
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
