//! One schema of the policy as a document: its address, its dialect, and whether it can be compiled
//! as a part of the policy's one resource.

use std::collections::BTreeMap;

use jsonschema::uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;

use super::keywords::{APPLICATORS, Holds};
use crate::config::problem::Place;
use crate::schema::ShapeId;

/// How deep a schema may nest.
pub(super) const MAX_DEPTH: usize = 100;

/// The resource that all documents are parts of.
pub(super) const POLICY: &str = "forecourt:///policy";

/// What stays readable in the fragment of an address (RFC 3986 §3.5).
const FRAGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// One schema of the policy.
pub(super) struct Document {
    pub place: Place,
    /// What it is known by, and its address if it stays a resource of its own.
    pub uri: String,
    /// What its relative references start from: its own `$id`, else `uri`.
    pub base: String,
    pub schema: Value,
    pub root: ShapeId,
    pub draft7: bool,
    /// Whether it cannot be a part of the policy's resource: it holds resources or dynamic anchors
    /// itself, or is of another draft.
    pub apart: bool,
    /// JSON Pointers of its anchors.
    pub anchors: BTreeMap<String, String>,
    /// Documents it refers to.
    pub refers: Vec<usize>,
}

impl Document {
    /// The reference to compile for a part of it; `index` is its number among the documents of a
    /// policy whose resource is of draft 7 or not.
    pub(super) fn address(&self, index: usize, pointer: &str, draft7: bool) -> String {
        let pointer = utf8_percent_encode(pointer, FRAGMENT);
        if self.apart {
            let wrapped = if wraps(self) { "/allOf/0" } else { "" };
            format!("{}#{wrapped}{pointer}", self.uri)
        } else {
            format!("{POLICY}#/{}/{index}{pointer}", container(draft7))
        }
    }

    /// Drops what would set it apart from the policy's resource; references no longer need it.
    pub(super) fn join(&mut self) {
        if !self.apart
            && let Value::Object(keywords) = &mut self.schema
        {
            keywords.remove("$id");
            keywords.remove("$schema");
        }
    }
}

/// Whether the document is compiled below a wrapper that carries its address: it has an `$id`.
pub(super) fn wraps(document: &Document) -> bool {
    document.schema.get("$id").is_some()
}

/// What a first look finds in a document, by keyword position.
#[derive(Default)]
pub(super) struct Survey {
    pub anchors: BTreeMap<String, String>,
    pub resources: usize,
}

impl Survey {
    pub(super) fn take(&mut self, schema: &Value, pointer: &str, depth: usize, draft7: bool) {
        let Value::Object(keywords) = schema else {
            return;
        };
        if depth > MAX_DEPTH {
            return;
        }
        let text = |keyword| keywords.get(keyword).and_then(Value::as_str);
        let id = text("$id").map(|id| (id, draft7.then(|| id.strip_prefix('#')).flatten()));
        let anchor = match id {
            // Draft 7 writes anchors as an `$id` that is nothing but a fragment.
            Some((_, Some(anchor))) => Some(anchor),
            Some(_) if depth > 0 => {
                self.resources += 1;
                // Its anchors and dynamic anchors are its own.
                return;
            }
            _ => text("$anchor"),
        };
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor.to_owned(), pointer.to_owned());
        }
        for dynamic in ["$dynamicAnchor", "$dynamicRef"] {
            self.resources += usize::from(keywords.contains_key(dynamic));
        }
        for (keyword, holds, _) in APPLICATORS {
            let below = format!("{pointer}/{keyword}");
            match (holds, keywords.get(*keyword)) {
                (Holds::Named, Some(Value::Object(named))) => {
                    for (name, one) in named {
                        let step = name.replace('~', "~0").replace('/', "~1");
                        self.take(one, &format!("{below}/{step}"), depth + 1, draft7);
                    }
                }
                (_, Some(Value::Array(list))) => {
                    for (index, one) in list.iter().enumerate() {
                        self.take(one, &format!("{below}/{index}"), depth + 1, draft7);
                    }
                }
                (_, Some(one)) => self.take(one, &below, depth + 1, draft7),
                (_, None) => {}
            }
        }
    }
}

/// The keyword that holds the documents in the policy's resource.
pub(super) fn container(draft7: bool) -> &'static str {
    if draft7 { "definitions" } else { "$defs" }
}

/// What relative references start from below an `$id`.
pub(super) fn base(uri: &str, id: &str) -> String {
    let resolved = uri::from_str(uri).and_then(|uri| uri::resolve_against(&uri.borrow(), id));
    let base = resolved.map_or_else(|_| uri.to_owned(), |resolved| resolved.as_str().to_owned());
    base.split('#').next().unwrap_or_default().to_owned()
}

/// The JSON Pointer of a URI fragment (RFC 6901 §6).
pub(super) fn decode(fragment: &str) -> String {
    percent_decode_str(fragment)
        .decode_utf8_lossy()
        .into_owned()
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
