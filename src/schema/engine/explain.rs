//! What to mend in a value that broke its schema, told without the value: a second pass, which
//! takes as many steps as the first at most.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::check::{Check, Seen, named};
use super::node::{Arena, Bound, BoundKind, Chosen, Items, Members, NOTHING, Node, NodeId, Rule};
use super::path::escape;
use crate::reply::Violation;
use crate::schema::explain::{MOST, below, violation};

/// Lists what is wrong with a value: sorted, at most [`MOST`]. Empty where finding out would take
/// too many steps.
pub fn violations(
    arena: &Arena,
    id: NodeId,
    value: &Value,
    location: &'static str,
) -> Vec<Violation> {
    let mut pass = Pass {
        check: Check::new(arena, value),
        path: Vec::new(),
        found: BTreeSet::new(),
        told: BTreeSet::new(),
        location,
    };
    pass.node(id, value);
    if pass.check.budget.is_spent() {
        return Vec::new();
    }
    pass.found.into_iter().collect()
}

struct Pass<'s, 'v> {
    check: Check<'s, 'v>,
    /// The way to the value being looked at.
    path: Vec<Step<'v>>,
    found: BTreeSet<Violation>,
    /// Nodes and addresses of values that have been looked at: what leads there again adds nothing.
    told: BTreeSet<(NodeId, usize)>,
    location: &'static str,
}

#[derive(Clone, Copy)]
enum Step<'v> {
    Member(&'v str),
    Element(usize),
}

impl<'v> Pass<'_, 'v> {
    fn node(&mut self, id: NodeId, value: &'v Value) {
        if id == NOTHING {
            self.add("falseSchema", "no value here".into());
        }
        let Some(node) = self.check.arena.node(id).filter(|_| id > NOTHING) else {
            return;
        };
        if !node.types.hold(value) {
            let names: Vec<_> = node.types.names().collect();
            self.add("type", format!("type {}", names.join(" or ")));
        }
        if self.is_told(id, node, value) || !self.check.enter(node) {
            return;
        }
        if node.tracks {
            self.tracking(node, value);
        } else {
            for rule in &node.rules {
                self.rule(rule, value);
            }
        }
        self.check.leave();
    }

    /// Where dynamic references are, what is to be told depends on the way that led there.
    fn is_told(&mut self, id: NodeId, node: &Node, value: &Value) -> bool {
        let known = node.branches && self.check.arena.dynamic.is_empty();
        known && !self.told.insert((id, std::ptr::from_ref(value).addr()))
    }

    /// A node some of whose rules ask what the others have evaluated. Where another one is broken,
    /// what it did not get to would be listed too, so nothing is said of that.
    fn tracking(&mut self, node: &Node, value: &'v Value) {
        let mut seen = Seen::of(value);
        let mut others_hold = true;
        for rule in &node.rules {
            let (id, members) = match rule {
                Rule::UnevaluatedItems(id) => (*id, false),
                Rule::UnevaluatedMembers(id) => (*id, true),
                rule => {
                    others_hold &= self.check.rule(rule, value, Some(&mut seen));
                    self.rule(rule, value);
                    continue;
                }
            };
            match value {
                Value::Object(object) if members && others_hold => {
                    self.unevaluated_members(id, object, &seen);
                }
                Value::Array(elements) if !members && others_hold => {
                    let mut rest = elements.iter().enumerate();
                    let wrong = rest.any(|(index, element)| {
                        !seen.holds(index) && !self.check.valid(id, element, None)
                    });
                    if wrong {
                        self.add("unevaluatedItems", "no further elements".into());
                    }
                }
                _ => {}
            }
        }
    }

    fn unevaluated_members(&mut self, id: NodeId, object: &'v Map<String, Value>, seen: &Seen) {
        for (index, (name, member)) in object.iter().enumerate() {
            if !seen.holds(index) && !self.check.valid(id, member, None) {
                self.add_below(name, "unevaluatedProperties", "no such member");
            }
        }
    }

    fn rule(&mut self, rule: &Rule, value: &'v Value) {
        match rule {
            Rule::Ref(id) => self.node(*id, value),
            Rule::DynamicRef(id, anchor) => {
                let id = self.check.dynamic(*id, *anchor);
                self.node(id, value);
            }
            Rule::AllOf(all) => all.iter().for_each(|id| self.node(*id, value)),
            Rule::If(branches) => {
                let passed = self.check.valid(branches.test, value, None);
                let next = if passed {
                    branches.then
                } else {
                    branches.otherwise
                };
                self.node(next, value);
            }
            Rule::Choose(chosen) => self.choose(chosen, value),
            Rule::UnevaluatedItems(_) | Rule::UnevaluatedMembers(_) => {}
            _ => match value {
                Value::Object(object) => self.object(rule, object, value),
                Value::Array(elements) => self.array(rule, elements, value),
                _ => self.leaf(rule, value),
            },
        }
    }

    /// Tells the errors of the branch that counts, or how to name one.
    fn choose(&mut self, chosen: &Chosen, value: &'v Value) {
        let Value::Object(object) = value else {
            if !(chosen.null && value.is_null()) {
                let or_null = if chosen.null { "null or " } else { "" };
                self.add("type", format!("type {or_null}object"));
            }
            return;
        };
        let Some(member) = object.get(&*chosen.property) else {
            return self.add_below(&chosen.property, "required", "this member is required");
        };
        match chosen.branch(member) {
            Some(id) => self.node(id, value),
            None => {
                let names = chosen.by_name.iter().map(|(name, _)| (**name).into());
                let names = Value::Array(names.collect());
                self.add_below(&chosen.property, "enum", &format!("one of {names}"));
            }
        }
    }

    fn object(&mut self, rule: &Rule, object: &'v Map<String, Value>, value: &'v Value) {
        let missing = |name: &str| !object.contains_key(name);
        match rule {
            Rule::Members(rule) => self.members(rule, object),
            Rule::Names(id) => self.names(*id, object),
            Rule::Required(names) => {
                for name in names.iter().filter(|name| missing(name)) {
                    self.add_below(name, "required", "this member is required");
                }
            }
            Rule::DependentRequired(all) => {
                let asked = all.iter().filter(|(name, _)| !missing(name));
                for name in asked
                    .flat_map(|(_, names)| names)
                    .filter(|name| missing(name))
                {
                    self.add_below(name, "required", "this member is required");
                }
            }
            Rule::DependentSchemas(all) => {
                for (_, id) in all.iter().filter(|(name, _)| !missing(name)) {
                    self.node(*id, value);
                }
            }
            _ => self.leaf(rule, value),
        }
    }

    fn members(&mut self, rule: &Members, object: &'v Map<String, Value>) {
        for (name, member) in object {
            let mut known = false;
            if let Some(id) = named(rule, name) {
                known = true;
                self.member(id, name, member);
            }
            for (pattern, id) in &rule.patterns {
                if self.check.matches(*pattern, name) {
                    known = true;
                    self.member(*id, name, member);
                }
            }
            match rule.others {
                Some(NOTHING) if !known => {
                    self.add_below(name, "additionalProperties", "no such member");
                }
                Some(id) if !known => self.member(id, name, member),
                _ => {}
            }
        }
    }

    fn member(&mut self, id: NodeId, name: &'v str, member: &'v Value) {
        self.path.push(Step::Member(name));
        self.node(id, member);
        self.path.pop();
    }

    fn names(&mut self, id: NodeId, object: &'v Map<String, Value>) {
        let mut told = 0;
        for name in object.keys() {
            if told == MOST || self.check.valid_name(id, name) {
                continue;
            }
            told += 1;
            let name = Value::String(name.clone());
            for inner in violations(self.check.arena, id, &name, self.location) {
                self.add("propertyNames", format!("member names: {}", inner.expected));
            }
        }
    }

    fn array(&mut self, rule: &Rule, elements: &'v [Value], value: &'v Value) {
        let Rule::Items(items) = rule else {
            return self.leaf(rule, value);
        };
        let more = elements.len() > items.first.len();
        if items.additional && items.rest == Some(NOTHING) && more {
            let most = items.first.len();
            self.add("additionalItems", format!("no more than {most} elements"));
        }
        for (index, element) in elements.iter().enumerate() {
            if let Some(id) = element_node(items, index) {
                self.path.push(Step::Element(index));
                self.node(id, element);
                self.path.pop();
            }
        }
    }

    /// A rule that is told as a whole.
    fn leaf(&mut self, rule: &Rule, value: &'v Value) {
        if !self.check.rule(rule, value, None)
            && let Some((keyword, expected)) = self.expectation(rule)
        {
            self.add(keyword, expected);
        }
    }

    /// What the schema asks for. Everything here comes out of the schema, nothing out of the value.
    fn expectation(&self, rule: &Rule) -> Option<(&'static str, String)> {
        Some(match rule {
            Rule::Nothing => ("falseSchema", "no value here".into()),
            Rule::Const(expected) => ("const", expected.to_string()),
            Rule::Enum(choices) => ("enum", format!("one of {}", choices.text)),
            Rule::Bound(bound) => bound_expectation(bound),
            Rule::MultipleOf(unit) => ("multipleOf", format!("a multiple of {}", unit.0)),
            Rule::MinLength(least) => ("minLength", format!("at least {least} characters")),
            Rule::MaxLength(most) => ("maxLength", format!("at most {most} characters")),
            Rule::Pattern(id) => {
                let text = self.check.arena.patterns.text(*id);
                ("pattern", format!("a match of {text}"))
            }
            Rule::Format(format) => ("format", format!("format {}", format.name())),
            Rule::Encoded(_) => ("contentEncoding", "encoded as base64".into()),
            Rule::Json => ("contentMediaType", "content of application/json".into()),
            Rule::MinItems(least) => ("minItems", format!("at least {least} elements")),
            Rule::MaxItems(most) => ("maxItems", format!("at most {most} elements")),
            Rule::Unique => ("uniqueItems", "no element twice".into()),
            Rule::Contains(_) => (
                "contains",
                "as many matching elements as the schema asks for".into(),
            ),
            Rule::MinMembers(least) => ("minProperties", format!("at least {least} members")),
            Rule::MaxMembers(most) => ("maxProperties", format!("at most {most} members")),
            Rule::AnyOf(all) => {
                let count = all.len();
                (
                    "anyOf",
                    format!("a match of at least one of {count} schemas"),
                )
            }
            Rule::OneOf(all) => {
                let count = all.len();
                (
                    "oneOf",
                    format!("a match of exactly one of {count} schemas"),
                )
            }
            Rule::Not(_) => ("not", "no match of the schema under `not`".into()),
            _ => return None,
        })
    }

    fn add(&mut self, keyword: &str, expected: String) {
        let pointer = self.pointer();
        self.keep(pointer, keyword, expected);
    }

    fn add_below(&mut self, name: &str, keyword: &str, expected: &str) {
        let pointer = below(&self.pointer(), name);
        self.keep(pointer, keyword, expected.to_owned());
    }

    fn keep(&mut self, pointer: String, keyword: &str, expected: String) {
        self.check.budget.spend(1 + self.path.len() as u64 / 4);
        let found = violation(self.location, pointer, keyword, expected);
        self.found.insert(found);
        if self.found.len() > MOST {
            self.found.pop_last();
        }
    }

    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in &self.path {
            pointer.push('/');
            match step {
                Step::Member(name) => pointer.push_str(&escape(name)),
                Step::Element(index) => pointer.push_str(&index.to_string()),
            }
        }
        pointer
    }
}

fn element_node(items: &Items, index: usize) -> Option<NodeId> {
    let rest = items
        .rest
        .filter(|rest| !(items.additional && *rest == NOTHING));
    items.first.get(index).copied().or(rest)
}

fn bound_expectation(bound: &Bound) -> (&'static str, String) {
    let limit = &bound.limit;
    match bound.kind {
        BoundKind::Minimum => ("minimum", format!("at least {limit}")),
        BoundKind::Maximum => ("maximum", format!("at most {limit}")),
        BoundKind::ExclusiveMinimum => ("exclusiveMinimum", format!("more than {limit}")),
        BoundKind::ExclusiveMaximum => ("exclusiveMaximum", format!("less than {limit}")),
    }
}
