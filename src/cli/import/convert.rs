//! What a conversion carries along: the document, the schemas that are shared, and what there is to
//! say.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::discriminator::Families;
use super::documents::{Documents, Node, Spot};
use super::report::{Kind, Report};
use crate::cli::policy_file::Finding;

/// How many references may lead from one to the next without saying anything else.
const MAX_HOPS: usize = 64;
/// How many shared schemas may be written out in place, where their place changes their meaning.
const MAX_INLINED: usize = 1000;
/// How deep such schemas may lie in each other.
const MAX_INLINED_DEPTH: usize = 8;

/// The kind of document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Swagger 2.0.
    V2,
    /// OpenAPI 3.0.
    V30,
    /// OpenAPI 3.1.
    V31,
}

/// One conversion.
pub struct Converter<'d> {
    pub(super) docs: &'d Documents,
    pub(super) version: Version,
    pub(super) report: Report,
    pub(super) faults: Vec<Finding>,
    pub(super) families: Families,
    /// Schemas by place; the second half tells a schema that others inherit from as they see it.
    names: BTreeMap<(Spot, bool), String>,
    /// How often each name has been wanted.
    wanted: BTreeMap<String, usize>,
    waiting: Vec<(Node<'d>, bool, String)>,
    schemas: BTreeMap<String, Value>,
    /// The shared schema that is being converted.
    current: Option<Spot>,
    /// Shared schemas that are being written out in place.
    inside: Vec<Spot>,
    inlined: usize,
    patterns: BTreeMap<String, bool>,
}

impl<'d> Converter<'d> {
    pub(super) fn new(docs: &'d Documents, version: Version) -> Self {
        let mut converter = Self {
            docs,
            version,
            report: Report::default(),
            faults: Vec::new(),
            families: Families::default(),
            names: BTreeMap::new(),
            wanted: BTreeMap::new(),
            waiting: Vec::new(),
            schemas: BTreeMap::new(),
            current: None,
            inside: Vec::new(),
            inlined: 0,
            patterns: BTreeMap::new(),
        };
        converter.families = Families::of(&converter.named_schemas());
        converter
    }

    /// Adds to the report.
    pub(super) fn note(&mut self, kind: Kind, node: &Node<'d>, message: impl Into<String>) {
        self.report.add(kind, node.place(), message);
    }

    fn schemas_node(&self) -> Option<Node<'d>> {
        let root = self.docs.root()?;
        match self.version {
            Version::V2 => root.get("definitions"),
            _ => root.get("components")?.get("schemas"),
        }
    }

    fn named_schemas(&self) -> Vec<(&'d str, Node<'d>)> {
        self.schemas_node()
            .map(|node| node.members())
            .unwrap_or_default()
    }

    /// The schema of that name in the document.
    pub(super) fn named_schema(&self, name: &str) -> Option<Node<'d>> {
        self.schemas_node()?.get(name)
    }

    /// What a `$ref` leads to, through references that say nothing else; a fault where nothing is
    /// there.
    pub(super) fn follow(&mut self, node: &Node<'d>) -> Option<Node<'d>> {
        let mut target = node.clone();
        for _ in 0..MAX_HOPS {
            let reference = target.text("$ref")?;
            let next = match target.target(reference) {
                Ok(next) => next,
                Err(message) => {
                    self.faults.push(target.fault(message));
                    return None;
                }
            };
            if next.text("$ref").is_none() || !self.only_refers(&next) {
                return Some(next);
            }
            target = next;
        }
        self.faults
            .push(node.fault("its references lead in a circle"));
        None
    }

    /// What a `$ref` of anything but a schema leads to; a fault where nothing is there.
    pub(super) fn resolve(&mut self, node: &Node<'d>) -> Option<Node<'d>> {
        match node.resolved() {
            Ok(node) => Some(node),
            Err(fault) => {
                self.faults.push(fault);
                None
            }
        }
    }

    /// A reference to a schema, which becomes one of the policy's `schemas`.
    pub(super) fn refer(&mut self, target: &Node<'d>, in_all_of: bool) -> Value {
        let current = self.current.as_ref();
        let inherits = current.is_some_and(|child| self.families.related(child, &target.spot()));
        self.reference(target, in_all_of && inherits)
    }

    /// A reference to a schema as those that inherit from it see it.
    pub(super) fn base(&mut self, target: &Node<'d>) -> Value {
        self.reference(target, true)
    }

    fn reference(&mut self, target: &Node<'d>, base: bool) -> Value {
        let key = (target.spot(), base);
        let name = match self.names.get(&key) {
            Some(name) => name.clone(),
            None => {
                let name = self.fresh_name(target, base);
                self.names.insert(key, name.clone());
                self.waiting.push((target.clone(), base, name.clone()));
                name
            }
        };
        json!({"$ref": format!("#/schemas/{name}")})
    }

    /// The last step of the place, in letters that a reference can hold as they are.
    fn fresh_name(&mut self, target: &Node<'d>, base: bool) -> String {
        let steps = target.pointer.split('/').skip(1);
        let of_file = target.other_file().unwrap_or("schema");
        let of_file = of_file
            .rsplit('/')
            .next()
            .and_then(|name| name.split('.').next());
        let last = steps
            .filter(|step| !["schema", "items"].contains(step))
            .last()
            .or(of_file)
            .unwrap_or("schema");
        let last = last.replace("~1", "/").replace("~0", "~");
        let plain = |c: char| match c {
            c if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') => c,
            _ => '_',
        };
        let mut stem: String = last.chars().map(plain).collect();
        if stem.is_empty() {
            stem.push_str("schema");
        }
        if base {
            stem.push_str(".base");
        }
        let mut name = stem.clone();
        loop {
            let times = self.wanted.entry(name.clone()).or_default();
            *times += 1;
            if *times == 1 {
                return name;
            }
            let number = *times;
            name = format!("{stem}_{number}");
        }
    }

    /// Converts every schema that something refers to.
    pub(super) fn shared(mut self) -> (BTreeMap<String, Value>, Report, Vec<Finding>) {
        while let Some((node, base, name)) = self.waiting.pop() {
            self.current = Some(node.spot());
            let parent = match base {
                true => None,
                false => self.parent(&node),
            };
            let schema = match parent {
                Some(schema) => schema,
                None => self.schema(&node),
            };
            self.schemas.insert(name, schema);
        }
        (self.schemas, self.report, self.faults)
    }

    /// Begins to write a shared schema out in place, if that may be done.
    pub(super) fn enter(&mut self, spot: &Spot) -> bool {
        let may = self.inlined < MAX_INLINED
            && self.inside.len() < MAX_INLINED_DEPTH
            && !self.inside.contains(spot)
            && self.current.as_ref() != Some(spot);
        if may {
            self.inlined += 1;
            self.inside.push(spot.clone());
        }
        may
    }

    /// Ends what [`Self::enter`] began.
    pub(super) fn leave(&mut self) {
        self.inside.pop();
    }

    /// Whether the module's matcher can run a regular expression.
    pub(super) fn compiles(&mut self, pattern: &str) -> bool {
        if let Some(known) = self.patterns.get(pattern) {
            return *known;
        }
        let compiles = crate::schema::is_pattern(pattern);
        self.patterns.insert(pattern.to_owned(), compiles);
        compiles
    }
}
