//! Which schemas have an address, and what a reference leads to.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::keyword::{Draft, Holds, SUBSCHEMAS};
use super::node::ResourceId;
use super::path::{Path, escape};
use super::uri::resolve;
use super::{Fault, Finding, Source};

/// What a policy's shared schemas are referred to by, from everywhere.
const SHARED: &str = "#/schemas/";

/// A schema resource: a document, or a part of one with an `$id`.
pub struct Resource<'s> {
    pub uri: String,
    pub draft: Draft,
    pub root: Target<'s>,
    anchors: BTreeMap<String, Target<'s>>,
    pub dynamic: BTreeMap<String, Target<'s>>,
}

/// What a reference leads to.
#[derive(Clone)]
pub struct Target<'s> {
    pub value: &'s Value,
    pub resource: ResourceId,
    pub document: usize,
    /// JSON Pointer from the document's root.
    pub pointer: String,
}

/// All resources.
pub struct Registry<'s> {
    pub resources: Vec<Resource<'s>>,
    by_uri: BTreeMap<String, ResourceId>,
    /// Resources by the address of their root in memory.
    by_root: BTreeMap<usize, ResourceId>,
    shared: BTreeMap<&'s str, ResourceId>,
    /// The meta-schemas, read only where a policy refers to one.
    meta: &'s OnceCell<Vec<Value>>,
    /// The resource that each document is.
    roots: Vec<ResourceId>,
}

pub fn address(value: &Value) -> usize {
    std::ptr::from_ref(value).addr()
}

impl<'s> Registry<'s> {
    pub fn new(meta: &'s OnceCell<Vec<Value>>) -> Self {
        Self {
            resources: Vec::new(),
            by_uri: BTreeMap::new(),
            by_root: BTreeMap::new(),
            shared: BTreeMap::new(),
            meta,
            roots: Vec::new(),
        }
    }

    /// Adds a document and every resource in it.
    pub fn add(&mut self, source: &Source<'s>, findings: &mut Vec<Finding>) {
        let document = self.roots.len();
        let path = Path::root(document, "");
        let draft = draft(source.schema, &path, findings).unwrap_or(Draft::V2020);
        let id = self.insert(&source.uri, source.schema, &path, draft);
        self.roots.push(id);
        if let Some(name) = source.name {
            self.shared.insert(name, id);
        }
        self.by_uri.insert(source.uri.clone(), id);
        if let Some(own) = own_id(source.schema, draft) {
            let (uri, _) = resolve(&source.uri, own);
            self.name(id, uri, &path, findings);
        }
        self.survey(source.schema, id, &path, findings);
    }

    fn insert(&mut self, uri: &str, root: &'s Value, path: &Path<'_>, draft: Draft) -> ResourceId {
        let id = self.resources.len() as ResourceId;
        self.by_root.insert(address(root), id);
        self.resources.push(Resource {
            uri: uri.to_owned(),
            draft,
            root: Target {
                value: root,
                resource: id,
                document: path.document,
                pointer: path.pointer(),
            },
            anchors: BTreeMap::new(),
            dynamic: BTreeMap::new(),
        });
        id
    }

    fn name(&mut self, id: ResourceId, uri: String, path: &Path<'_>, findings: &mut Vec<Finding>) {
        if self
            .by_uri
            .insert(uri.clone(), id)
            .is_some_and(|held| held != id)
        {
            findings.push(path.key("$id").finding(Fault::SameId(uri.clone())));
        }
        if let Some(resource) = self.resources.get_mut(id as usize) {
            resource.uri = uri;
        }
    }

    /// Looks for resources and anchors by keyword position.
    fn survey(
        &mut self,
        schema: &'s Value,
        resource: ResourceId,
        path: &Path<'_>,
        findings: &mut Vec<Finding>,
    ) {
        let Value::Object(keywords) = schema else {
            return;
        };
        if path.is_too_deep() {
            return;
        }
        let draft = self.draft(resource);
        let resource = match own_id(schema, draft) {
            Some(own) if !path.is_root() => {
                let base = self.uri(resource).to_owned();
                let draft = draft_of(keywords, path, findings).unwrap_or(draft);
                let id = self.insert(&base, schema, path, draft);
                let (uri, _) = resolve(&base, own);
                self.name(id, uri, path, findings);
                id
            }
            _ => resource,
        };
        self.note_anchors(keywords, schema, resource, path);
        for (keyword, holds, ..) in SUBSCHEMAS {
            let Some(held) = keywords.get(*keyword) else {
                continue;
            };
            let here = path.key(keyword);
            each(held, *holds, &here, &mut |one, path| {
                self.survey(one, resource, path, findings);
            });
        }
    }

    fn note_anchors(
        &mut self,
        keywords: &'s Map<String, Value>,
        schema: &'s Value,
        resource: ResourceId,
        path: &Path<'_>,
    ) {
        let text = |keyword| keywords.get(keyword).and_then(Value::as_str);
        let draft = self.draft(resource);
        let target = || Target {
            value: schema,
            resource,
            document: path.document,
            pointer: path.pointer(),
        };
        let Some(held) = self.resources.get_mut(resource as usize) else {
            return;
        };
        if draft == Draft::V7 {
            // Draft 7 writes anchors as an `$id` that is nothing but a fragment.
            let anchor = text("$id").and_then(|id| id.strip_prefix('#'));
            if let Some(anchor) = anchor.filter(|_| !keywords.contains_key("$ref")) {
                held.anchors.insert(anchor.to_owned(), target());
            }
            return;
        }
        if let Some(anchor) = text("$anchor") {
            held.anchors.insert(anchor.to_owned(), target());
        }
        if let Some(anchor) = text("$dynamicAnchor") {
            held.anchors.insert(anchor.to_owned(), target());
            held.dynamic.insert(anchor.to_owned(), target());
        }
    }

    /// The schema of a document, and the resource that it is.
    pub fn root(&self, document: usize) -> Option<(&'s Value, ResourceId)> {
        let id = self.roots.get(document)?;
        let resource = self.resources.get(*id as usize)?;
        Some((resource.root.value, *id))
    }

    pub fn draft(&self, resource: ResourceId) -> Draft {
        let resource = self.resources.get(resource as usize);
        resource.map_or(Draft::V2020, |resource| resource.draft)
    }

    fn uri(&self, resource: ResourceId) -> &str {
        let resource = self.resources.get(resource as usize);
        resource.map_or("", |resource| &resource.uri)
    }

    /// The resource that a subschema belongs to: its own, or that around it.
    pub fn resource_at(&self, schema: &Value, around: ResourceId) -> ResourceId {
        let own = self.by_root.get(&address(schema));
        own.copied().unwrap_or(around)
    }

    /// What a reference in a resource leads to.
    pub fn find(&mut self, resource: ResourceId, reference: &str) -> Result<Target<'s>, Fault> {
        if let Some(path) = reference.strip_prefix(SHARED) {
            return self.find_shared(path, reference);
        }
        let (uri, fragment) = resolve(self.uri(resource), reference);
        let Some(found) = self.known(&uri) else {
            return Err(Fault::Outside(reference.to_owned()));
        };
        let fragment = decode(fragment);
        let target = if fragment.is_empty() || fragment.starts_with('/') {
            self.below(found, &fragment)
        } else {
            let resource = self.resources.get(found as usize);
            resource.and_then(|resource| resource.anchors.get(&fragment).cloned())
        };
        target.ok_or_else(|| self.nowhere(found, reference, fragment))
    }

    fn find_shared(&self, path: &str, reference: &str) -> Result<Target<'s>, Fault> {
        let (name, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
        let name = decode(name).replace("~1", "/").replace("~0", "~");
        let Some(found) = self.shared.get(name.as_str()).copied() else {
            return Err(Fault::NotShared(name));
        };
        let pointer = decode(rest);
        let target = self.below(found, &pointer);
        target.ok_or_else(|| self.nowhere(found, reference, pointer))
    }

    fn nowhere(&self, found: ResourceId, reference: &str, pointer: String) -> Fault {
        let resource = self.resources.get(found as usize);
        Fault::Nowhere {
            reference: reference.to_owned(),
            document: resource.map_or(0, |resource| resource.root.document),
            pointer,
        }
    }

    /// The resource of that address; the meta-schemas are known without being in the policy.
    fn known(&mut self, uri: &str) -> Option<ResourceId> {
        if let Some(known) = self.by_uri.get(uri) {
            return Some(*known);
        }
        let draft = Draft::of(uri)?;
        let meta = self.meta.get_or_init(super::meta::schemas);
        let schema = meta.get(usize::from(draft == Draft::V7))?;
        let source = Source {
            uri: uri.to_owned(),
            name: None,
            schema,
        };
        self.add(&source, &mut Vec::new());
        self.by_uri.get(uri).copied()
    }

    /// Follows a JSON Pointer from the root of a resource, into those inside it too.
    fn below(&self, found: ResourceId, pointer: &str) -> Option<Target<'s>> {
        let mut target = self.resources.get(found as usize)?.root.clone();
        for step in pointer.split('/').skip(1) {
            let name = step.replace("~1", "/").replace("~0", "~");
            target.value = match target.value {
                Value::Object(members) => members.get(&name)?,
                Value::Array(elements) => elements.get(name.parse::<usize>().ok()?)?,
                _ => return None,
            };
            target.resource = self.resource_at(target.value, target.resource);
            target.pointer.push('/');
            target.pointer.push_str(&escape(&name));
        }
        Some(target)
    }
}

/// Calls `visit` with each subschema that a keyword holds.
pub fn each<'s>(
    held: &'s Value,
    holds: Holds,
    path: &Path<'_>,
    visit: &mut dyn FnMut(&'s Value, &Path<'_>),
) {
    match (holds, held) {
        (Holds::List | Holds::OneOrList, Value::Array(list)) => {
            for (index, one) in list.iter().enumerate() {
                visit(one, &path.index(index));
            }
        }
        (Holds::Named, Value::Object(named)) => {
            for (name, one) in named {
                visit(one, &path.key(name));
            }
        }
        (Holds::One | Holds::OneOrList, one) => visit(one, path),
        _ => {}
    }
}

/// The `$id` that makes a schema a resource of its own.
fn own_id(schema: &Value, draft: Draft) -> Option<&str> {
    let keywords = schema.as_object()?;
    let id = keywords.get("$id")?.as_str()?;
    // Draft 7 ignores what stands beside `$ref`, and writes anchors as an `$id` too.
    let ignored = draft == Draft::V7 && (id.starts_with('#') || keywords.contains_key("$ref"));
    (!ignored).then_some(id)
}

fn draft(schema: &Value, path: &Path<'_>, findings: &mut Vec<Finding>) -> Option<Draft> {
    draft_of(schema.as_object()?, path, findings)
}

fn draft_of(
    keywords: &Map<String, Value>,
    path: &Path<'_>,
    findings: &mut Vec<Finding>,
) -> Option<Draft> {
    let dialect = keywords.get("$schema")?;
    let known = dialect.as_str().and_then(Draft::of);
    if known.is_none() {
        findings.push(path.key("$schema").finding(Fault::Dialect));
    }
    known
}

/// The text of a URI fragment (RFC 3986 §3.5).
fn decode(fragment: &str) -> String {
    percent_decode_str(fragment)
        .decode_utf8_lossy()
        .into_owned()
}
