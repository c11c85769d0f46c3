//! Turns schema documents into nodes: each subschema once, each reference into a number.

mod form;
mod keywords;
mod link;

use std::cell::OnceCell;
use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value};

use super::format::Labels;
use super::node::{ANYTHING, Arena, NOTHING, Node, NodeId, ResourceId, Rule, Types};
use super::path::Path;
use super::pattern;
use super::plan::plan;
use super::registry::{Registry, Target, address};
pub use keywords::NUMBER_FORMATS;

use super::{Fault, Finding, Schemas, Source};

/// What is called with each subschema, so that more can be said about it than the engine has to; it
/// returns what chooses among the branches of `oneOf` or `anyOf`, if anything does.
pub type Visit<'v> = dyn FnMut(&Path<'_>, &Map<String, Value>) -> Option<Choice> + 'v;

/// What chooses among the branches of one keyword.
#[derive(Clone, Debug)]
pub struct Choice {
    /// `oneOf` or `anyOf`.
    pub keyword: &'static str,
    /// The member whose value chooses.
    pub property: String,
    /// Branches, by their number, by the names that choose them.
    pub by_name: BTreeMap<String, usize>,
    /// Whether `null` passes without being chosen.
    pub null: bool,
}

/// Compiles documents; `entries` lists those that values are checked against.
pub fn compile<'s>(
    sources: &[Source<'s>],
    entries: &[usize],
    visit: &mut Visit<'_>,
) -> Result<Schemas, Vec<Finding>> {
    let meta = OnceCell::new();
    let mut findings = Vec::new();
    let mut registry = Registry::new(&meta);
    for source in sources {
        registry.add(source, &mut findings);
    }
    let mut compiler = Compiler {
        registry,
        nodes: vec![Node::default(), nothing()],
        known: BTreeMap::new(),
        queue: VecDeque::new(),
        patterns: pattern::Builder::default(),
        needs_labels: false,
        anchors: BTreeMap::new(),
        dynamic: BTreeMap::new(),
        findings,
        visit,
    };
    let roots: Vec<NodeId> = (0..sources.len())
        .map(|index| compiler.document(index))
        .collect();
    compiler.run();
    compiler.check_endless(sources);
    if !compiler.findings.is_empty() {
        return Err(compiler.findings);
    }
    let entries = entries.iter().map(|index| roots.get(*index).copied());
    let entries = entries.map(|id| id.unwrap_or(NOTHING)).collect();
    Ok(compiler.finish(entries))
}

fn nothing() -> Node {
    Node {
        rules: Box::new([Rule::Nothing]),
        ..Node::default()
    }
}

struct Compiler<'s, 'v, 'c> {
    registry: Registry<'s>,
    nodes: Vec<Node>,
    /// Nodes by the address of their schema in memory.
    known: BTreeMap<usize, NodeId>,
    /// What references lead to and has not been compiled yet.
    queue: VecDeque<(Target<'s>, NodeId)>,
    patterns: pattern::Builder,
    needs_labels: bool,
    /// Numbers of the dynamic anchors that references ask for.
    anchors: BTreeMap<String, u32>,
    dynamic: BTreeMap<(ResourceId, u32), NodeId>,
    findings: Vec<Finding>,
    visit: &'c mut Visit<'v>,
}

impl<'s> Compiler<'s, '_, '_> {
    fn document(&mut self, index: usize) -> NodeId {
        let Some((schema, resource)) = self.registry.root(index) else {
            return NOTHING;
        };
        self.schema(schema, resource, &Path::root(index, ""))
    }

    /// Compiles what references lead to, until nothing is left.
    fn run(&mut self) {
        loop {
            while let Some((target, id)) = self.queue.pop_front() {
                if let Value::Object(keywords) = target.value {
                    let path = Path::root(target.document, &target.pointer);
                    self.fill(id, keywords, target.resource, &path);
                }
            }
            if !self.find_dynamic() {
                break;
            }
        }
    }

    /// Adds the places that dynamic references may lead to; whether there were new ones.
    fn find_dynamic(&mut self) -> bool {
        if self.anchors.is_empty() {
            return false;
        }
        let mut found = Vec::new();
        for (id, resource) in self.registry.resources.iter().enumerate() {
            for (anchor, target) in &resource.dynamic {
                if let Some(anchor) = self.anchors.get(anchor) {
                    found.push(((id as ResourceId, *anchor), target.clone()));
                }
            }
        }
        found.retain(|(key, _)| !self.dynamic.contains_key(key));
        let any = !found.is_empty();
        for (key, target) in found {
            let id = self.lead_to(target);
            self.dynamic.insert(key, id);
        }
        any
    }

    /// The node of a subschema.
    fn schema(&mut self, schema: &'s Value, around: ResourceId, path: &Path<'_>) -> NodeId {
        match schema {
            Value::Bool(true) => ANYTHING,
            Value::Bool(false) => NOTHING,
            Value::Object(keywords) => {
                if let Some(known) = self.known.get(&address(schema)) {
                    return *known;
                }
                let id = self.reserve(schema);
                let resource = self.registry.resource_at(schema, around);
                self.fill(id, keywords, resource, path);
                id
            }
            _ => {
                self.report(
                    path,
                    Fault::Form("a JSON Schema: a mapping, `true` or `false`"),
                );
                ANYTHING
            }
        }
    }

    fn reserve(&mut self, schema: &'s Value) -> NodeId {
        let id = self.nodes.len() as NodeId;
        self.nodes.push(Node::default());
        self.known.insert(address(schema), id);
        id
    }

    fn fill(
        &mut self,
        id: NodeId,
        keywords: &'s Map<String, Value>,
        resource: ResourceId,
        path: &Path<'_>,
    ) {
        if path.is_too_deep() {
            self.report(path, Fault::TooDeep);
            return;
        }
        let draft = self.registry.draft(resource);
        let choice = (self.visit)(path, keywords);
        let mut node = self.node(keywords, resource, draft, choice, path);
        node.resource = resource;
        node.tracks = node.rules.iter().any(|rule| {
            matches!(
                rule,
                Rule::UnevaluatedItems(_) | Rule::UnevaluatedMembers(_)
            )
        });
        node.cost = 1 + node.rules.iter().map(Rule::cost).sum::<u64>();
        node.rules.iter_mut().for_each(|rule| {
            rule.edges(&mut |_, _| node.branches = true);
        });
        if let Some(held) = self.nodes.get_mut(id as usize) {
            *held = node;
        }
    }

    /// The node that a reference leads to, compiled later.
    fn lead_to(&mut self, target: Target<'s>) -> NodeId {
        match target.value {
            Value::Object(_) => match self.known.get(&address(target.value)) {
                Some(known) => *known,
                None => {
                    let id = self.reserve(target.value);
                    self.queue.push_back((target, id));
                    id
                }
            },
            other => {
                let path = Path::root(target.document, &target.pointer);
                self.schema(other, target.resource, &path)
            }
        }
    }

    fn report(&mut self, path: &Path<'_>, fault: Fault) {
        self.findings.push(path.finding(fault));
    }

    /// Keeps what the entries lead to.
    fn finish(mut self, mut entries: Vec<NodeId>) -> Schemas {
        link::skip_references(&mut self.nodes, &mut entries, &mut self.dynamic);
        link::keep_reachable(&mut self.nodes, &mut entries, &mut self.dynamic);
        let labels = if self.needs_labels {
            Labels::load()
        } else {
            Labels::default()
        };
        let arena = Arena {
            nodes: self.nodes,
            patterns: self.patterns.finish(),
            labels,
            dynamic: self.dynamic,
        };
        let (plans, planned) = plan(&arena, &entries);
        Schemas {
            arena,
            plans,
            entries: entries.into_iter().zip(planned).collect(),
        }
    }

    /// Reports schemas that lead back to themselves for the same value.
    fn check_endless(&mut self, sources: &[Source<'_>]) {
        let Some(id) = link::endless(&mut self.nodes) else {
            return;
        };
        let wanted = self.known.iter().find(|(_, known)| **known == id);
        let Some(wanted) = wanted.map(|(address, _)| *address) else {
            return;
        };
        for (document, source) in sources.iter().enumerate() {
            let path = Path::root(document, "");
            if let Some(pointer) = locate(source.schema, wanted, &path) {
                let path = Path::root(document, &pointer);
                self.report(&path, Fault::Endless);
            }
        }
    }
}

/// Where in a document a value is.
fn locate(value: &Value, wanted: usize, path: &Path<'_>) -> Option<String> {
    if address(value) == wanted {
        return Some(path.pointer());
    }
    match value {
        Value::Object(members) => members
            .iter()
            .find_map(|(name, member)| locate(member, wanted, &path.key(name))),
        Value::Array(elements) => elements
            .iter()
            .enumerate()
            .find_map(|(index, element)| locate(element, wanted, &path.index(index))),
        _ => None,
    }
}

/// What `type` names.
fn types(value: &Value, mut unknown: impl FnMut(String)) -> Types {
    let names = match value {
        Value::Array(names) => names.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut types = Types::NONE;
    for name in names {
        match name.as_str().and_then(Types::named) {
            Some(named) => types = types.with(named),
            None => unknown(name.to_string()),
        }
    }
    types
}
