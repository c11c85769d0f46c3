//! Decides whether a value is what its schema asks for, without a list of reasons.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

use super::budget::{Budget, parts};
use super::equal::{equal, unique};
use super::node::{
    ANYTHING, Arena, Bound, BoundKind, Choices, Chosen, Contains, If, Items, Members, NOTHING,
    Node, NodeId, ResourceId, Rule,
};
use super::number::{Decimal, compare};
use super::pattern::{PatternId, Scratch};
use crate::schema::json::{self, Limits};

/// How deep subschemas may nest, along the value and at one place of it together. V8 gives a
/// module a megabyte of stack; this takes half of it.
const MAX_DEPTH: usize = 640;

/// Most remembered results, 2 MB.
const MAX_REMEMBERED: usize = 1 << 16;

/// One check of a value.
pub struct Check<'s, 'v> {
    pub arena: &'s Arena,
    pub budget: Budget<'v>,
    scratch: Scratch,
    depth: usize,
    /// Resources that the check has come through, where dynamic references ask for them.
    scope: Vec<ResourceId>,
    /// Results by node and address of the value, for checks that have become long: alternatives
    /// that lead to the same places would otherwise multiply with the depth of the value.
    known: BTreeMap<(NodeId, usize), bool>,
    /// Whether the value being checked is one that was made for it: its address means nothing.
    made: bool,
}

/// Which members or elements of one value have been evaluated.
#[derive(Debug)]
pub struct Seen(Vec<bool>);

impl Seen {
    pub fn of(value: &Value) -> Self {
        let length = match value {
            Value::Array(elements) => elements.len(),
            Value::Object(members) => members.len(),
            _ => 0,
        };
        Self(vec![false; length])
    }

    fn add(&mut self, index: usize) {
        if let Some(held) = self.0.get_mut(index) {
            *held = true;
        }
    }

    fn add_all(&mut self) {
        self.0.fill(true);
    }

    fn merge(&mut self, other: &Self) {
        for (held, more) in self.0.iter_mut().zip(&other.0) {
            *held |= more;
        }
    }

    pub fn holds(&self, index: usize) -> bool {
        self.0.get(index).copied().unwrap_or_default()
    }
}

impl<'s, 'v> Check<'s, 'v> {
    pub fn new(arena: &'s Arena, value: &'v Value) -> Self {
        Self::with(arena, Budget::for_value(value))
    }

    pub fn with(arena: &'s Arena, budget: Budget<'v>) -> Self {
        Self {
            arena,
            budget,
            scratch: Scratch::default(),
            depth: 0,
            scope: Vec::new(),
            known: BTreeMap::new(),
            made: false,
        }
    }

    /// Whether the value is valid. Means nothing once the budget is spent.
    pub fn valid(&mut self, id: NodeId, value: &Value, seen: Option<&mut Seen>) -> bool {
        if id <= NOTHING {
            return id == ANYTHING;
        }
        let arena = self.arena;
        let Some(node) = arena.node(id) else {
            return false;
        };
        if !node.types.hold(value) {
            return false;
        }
        if node.rules.is_empty() {
            return true;
        }
        if !self.enter(node) {
            return false;
        }
        let remember = node.branches && seen.is_none() && self.remembers();
        let key = (id, std::ptr::from_ref(value).addr());
        let valid = match self.known.get(&key) {
            Some(known) if remember => *known,
            _ => self.rules(node, value, seen),
        };
        if remember && self.known.len() < MAX_REMEMBERED && !self.budget.is_spent() {
            self.known.insert(key, valid);
        }
        self.leave();
        valid
    }

    /// Where dynamic references are, a result depends on the way that led there.
    fn remembers(&self) -> bool {
        self.budget.is_long() && self.arena.dynamic.is_empty() && !self.made
    }

    /// Whether the name of a member is valid.
    pub fn valid_name(&mut self, id: NodeId, name: &str) -> bool {
        // A name is text, so there are no names inside it.
        self.made = true;
        let valid = self.valid(id, &Value::String(name.to_owned()), None);
        self.made = false;
        valid
    }

    /// Begins with a node; `false` where that would go too deep, or on for too long.
    pub fn enter(&mut self, node: &Node) -> bool {
        if self.depth >= MAX_DEPTH {
            self.budget.give_up();
        }
        if !self.budget.spend(node.cost) {
            return false;
        }
        self.depth += 1;
        if !self.arena.dynamic.is_empty() {
            self.scope.push(node.resource);
        }
        true
    }

    /// Begins with several nodes at once, nested so deep; `false` where that would go too deep, or
    /// on for too long.
    pub fn descend(&mut self, nesting: usize, cost: u64) -> bool {
        self.depth += nesting;
        if self.depth > MAX_DEPTH {
            self.budget.give_up();
        }
        self.budget.spend(cost)
    }

    pub fn ascend(&mut self, nesting: usize) {
        self.depth -= nesting;
    }

    /// Turns to another value: the addresses of the last one mean nothing from here on.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    pub fn leave(&mut self) {
        self.depth -= 1;
        self.scope.pop();
    }

    fn rules(&mut self, node: &Node, value: &Value, mut seen: Option<&mut Seen>) -> bool {
        if !node.tracks {
            return node
                .rules
                .iter()
                .all(|rule| self.rule(rule, value, seen.as_deref_mut()));
        }
        let mut own = Seen::of(value);
        let valid = node
            .rules
            .iter()
            .all(|rule| self.rule(rule, value, Some(&mut own)));
        if let Some(seen) = seen {
            seen.merge(&own);
        }
        valid
    }

    /// Whether the value keeps one rule.
    pub fn rule(&mut self, rule: &Rule, value: &Value, seen: Option<&mut Seen>) -> bool {
        match rule {
            Rule::Nothing => false,
            Rule::Const(expected) => equal(value, expected),
            Rule::Enum(choices) => chosen(choices, value),
            Rule::Ref(id) => self.valid(*id, value, seen),
            Rule::DynamicRef(id, anchor) => {
                let id = self.dynamic(*id, *anchor);
                self.valid(id, value, seen)
            }
            Rule::AllOf(all) => self.all_of(all, value, seen),
            Rule::AnyOf(all) => self.any_of(all, value, seen),
            Rule::OneOf(all) => self.one_of(all, value, seen),
            Rule::Not(id) => !self.valid(*id, value, None),
            Rule::If(branches) => self.branch(branches, value, seen),
            Rule::Choose(chosen) => self.choose(chosen, value, seen),
            _ => match value {
                Value::Number(number) => keeps_number(rule, number),
                Value::String(text) => self.keeps_text(rule, text),
                Value::Array(elements) => self.keeps_elements(rule, elements, value, seen),
                Value::Object(members) => self.keeps_members(rule, members, value, seen),
                Value::Null | Value::Bool(_) => true,
            },
        }
    }

    /// Where a dynamic reference leads: the outermost resource on the way that has the anchor.
    pub fn dynamic(&self, id: NodeId, anchor: u32) -> NodeId {
        let mut scope = self.scope.iter();
        scope
            .find_map(|resource| self.arena.dynamic.get(&(*resource, anchor)).copied())
            .unwrap_or(id)
    }

    fn all_of(&mut self, all: &[NodeId], value: &Value, mut seen: Option<&mut Seen>) -> bool {
        all.iter()
            .all(|id| self.valid(*id, value, seen.as_deref_mut()))
    }

    fn any_of(&mut self, all: &[NodeId], value: &Value, seen: Option<&mut Seen>) -> bool {
        let Some(seen) = seen else {
            return all.iter().any(|id| self.valid(*id, value, None));
        };
        let mut any = false;
        for id in all {
            let mut own = Seen::of(value);
            if self.valid(*id, value, Some(&mut own)) {
                any = true;
                seen.merge(&own);
            }
        }
        any
    }

    fn one_of(&mut self, all: &[NodeId], value: &Value, mut seen: Option<&mut Seen>) -> bool {
        let mut found = false;
        for id in all {
            let mut own = seen.as_ref().map(|_| Seen::of(value));
            if !self.valid(*id, value, own.as_mut()) {
                continue;
            }
            if std::mem::replace(&mut found, true) {
                return false;
            }
            if let (Some(seen), Some(own)) = (seen.as_deref_mut(), own) {
                seen.merge(&own);
            }
        }
        found
    }

    fn branch(&mut self, branches: &If, value: &Value, seen: Option<&mut Seen>) -> bool {
        let mut own = seen.as_ref().map(|_| Seen::of(value));
        let passed = self.valid(branches.test, value, own.as_mut());
        let mut seen = seen;
        if passed && let (Some(seen), Some(own)) = (seen.as_deref_mut(), own) {
            seen.merge(&own);
        }
        let next = if passed {
            branches.then
        } else {
            branches.otherwise
        };
        self.valid(next, value, seen)
    }

    fn choose(&mut self, chosen: &Chosen, value: &Value, seen: Option<&mut Seen>) -> bool {
        let Value::Object(members) = value else {
            return chosen.null && value.is_null();
        };
        let mut found = members.iter().enumerate();
        let found = found.find(|(_, (name, _))| **name == *chosen.property);
        let Some((index, (_, member))) = found else {
            return false;
        };
        let mut seen = seen;
        if let Some(seen) = seen.as_deref_mut() {
            seen.add(index);
        }
        match chosen.branch(member) {
            Some(id) => self.valid(id, value, seen),
            None => false,
        }
    }

    /// Whether text keeps one rule that leads to no further node.
    pub fn keeps_text(&mut self, rule: &Rule, text: &str) -> bool {
        match rule {
            Rule::Const(expected) => expected.as_str() == Some(text),
            Rule::Enum(choices) => choices.hold_text(text),
            Rule::MinLength(least) => is_at_least(text, *least),
            Rule::MaxLength(most) => {
                text.len() as u64 <= *most || !is_at_least(text, most.saturating_add(1))
            }
            Rule::Pattern(pattern) => self.matches(*pattern, text),
            Rule::Format(format) => {
                self.budget.spend(format.cost(text)) && format.holds(text, &self.arena.labels)
            }
            Rule::Encoded(json) => is_encoded(text, *json),
            Rule::Json => is_json(text.as_bytes()),
            _ => true,
        }
    }

    pub fn matches(&mut self, pattern: PatternId, text: &str) -> bool {
        self.arena
            .patterns
            .is_match(pattern, text, &mut self.scratch, &mut self.budget)
    }

    fn keeps_elements(
        &mut self,
        rule: &Rule,
        elements: &[Value],
        value: &Value,
        seen: Option<&mut Seen>,
    ) -> bool {
        let length = elements.len() as u64;
        match rule {
            Rule::MinItems(least) => length >= *least,
            Rule::MaxItems(most) => length <= *most,
            Rule::Unique => length < 2 || self.budget.spend(parts(value)) && unique(elements),
            Rule::Items(items) => self.items(items, elements, seen),
            Rule::Contains(contains) => self.contains(contains, elements, seen),
            Rule::UnevaluatedItems(id) => self.unevaluated(*id, elements.iter(), seen),
            _ => true,
        }
    }

    fn items(&mut self, items: &Items, elements: &[Value], seen: Option<&mut Seen>) -> bool {
        if let Some(seen) = seen {
            match items.rest {
                Some(_) => seen.add_all(),
                None => (0..items.first.len()).for_each(|index| seen.add(index)),
            }
        }
        let mut rules = items.first.iter().copied().map(Some);
        self.budget.spend(elements.len() as u64)
            && elements
                .iter()
                .all(|element| match rules.next().flatten().or(items.rest) {
                    Some(id) => self.valid(id, element, None),
                    None => true,
                })
    }

    fn contains(
        &mut self,
        contains: &Contains,
        elements: &[Value],
        mut seen: Option<&mut Seen>,
    ) -> bool {
        if !self.budget.spend(elements.len() as u64) {
            return false;
        }
        let mut count = 0;
        for (index, element) in elements.iter().enumerate() {
            if !self.valid(contains.node, element, None) {
                continue;
            }
            count += 1;
            if let Some(seen) = seen.as_deref_mut().filter(|_| contains.evaluates) {
                seen.add(index);
            } else if count >= contains.least && contains.most == u64::MAX {
                return true;
            }
        }
        (contains.least..=contains.most).contains(&count)
    }

    fn keeps_members(
        &mut self,
        rule: &Rule,
        members: &Map<String, Value>,
        value: &Value,
        seen: Option<&mut Seen>,
    ) -> bool {
        let has = |name: &str| members.contains_key(name);
        match rule {
            Rule::MinMembers(least) => members.len() as u64 >= *least,
            Rule::MaxMembers(most) => members.len() as u64 <= *most,
            Rule::Required(names) => names.iter().all(|name| has(name)),
            Rule::Members(rule) => self.members(rule, members, seen),
            Rule::Names(id) => members.keys().all(|name| self.valid_name(*id, name)),
            Rule::DependentRequired(all) => all
                .iter()
                .all(|(name, names)| !has(name) || names.iter().all(|name| has(name))),
            Rule::DependentSchemas(all) => {
                let mut seen = seen;
                all.iter()
                    .all(|(name, id)| !has(name) || self.valid(*id, value, seen.as_deref_mut()))
            }
            Rule::UnevaluatedMembers(id) => self.unevaluated(*id, members.values(), seen),
            _ => true,
        }
    }

    fn members(
        &mut self,
        rule: &Members,
        members: &Map<String, Value>,
        mut seen: Option<&mut Seen>,
    ) -> bool {
        if !self.budget.spend(members.len() as u64) {
            return false;
        }
        for (index, (name, member)) in members.iter().enumerate() {
            let named = named(rule, name);
            let mut known = named.is_some();
            if named.is_some_and(|id| !self.valid(id, member, None)) {
                return false;
            }
            for (pattern, id) in &rule.patterns {
                if self.matches(*pattern, name) {
                    known = true;
                    if !self.valid(*id, member, None) {
                        return false;
                    }
                }
            }
            if let Some(others) = rule.others.filter(|_| !known) {
                known = true;
                if !self.valid(others, member, None) {
                    return false;
                }
            }
            if known && let Some(seen) = seen.as_deref_mut() {
                seen.add(index);
            }
        }
        true
    }

    fn unevaluated<'m>(
        &mut self,
        id: NodeId,
        values: impl Iterator<Item = &'m Value>,
        seen: Option<&mut Seen>,
    ) -> bool {
        let Some(seen) = seen else { return true };
        for (index, value) in values.enumerate() {
            if !seen.holds(index) && !self.valid(id, value, None) {
                return false;
            }
        }
        seen.add_all();
        true
    }
}

/// The node for the member of that name.
pub fn named(rule: &Members, name: &str) -> Option<NodeId> {
    let at = rule.named.binary_search_by(|(held, _)| (**held).cmp(name));
    let found = at.ok().and_then(|at| rule.named.get(at));
    found.map(|(_, id)| *id)
}

fn chosen(choices: &Choices, value: &Value) -> bool {
    match value {
        Value::String(text) => choices.hold_text(text),
        other => choices.others.iter().any(|choice| equal(choice, other)),
    }
}

fn keeps_number(rule: &Rule, number: &Number) -> bool {
    match rule {
        Rule::Bound(bound) => keeps_bound(bound, number),
        Rule::MultipleOf(unit) => Decimal::of(number).is_multiple_of(unit.1),
        _ => true,
    }
}

fn keeps_bound(bound: &Bound, number: &Number) -> bool {
    let order = compare(number, &bound.limit);
    match bound.kind {
        BoundKind::Minimum => order != Ordering::Less,
        BoundKind::Maximum => order != Ordering::Greater,
        BoundKind::ExclusiveMinimum => order == Ordering::Greater,
        BoundKind::ExclusiveMaximum => order == Ordering::Less,
    }
}

/// Whether the text has at least so many characters.
fn is_at_least(text: &str, least: u64) -> bool {
    let Some(before) = least.checked_sub(1) else {
        return true;
    };
    // No character takes less than a byte.
    text.len() as u64 > before
        && usize::try_from(before).is_ok_and(|before| text.chars().nth(before).is_some())
}

fn is_encoded(text: &str, with_json: bool) -> bool {
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD.decode(text);
    decoded.is_ok_and(|decoded| !with_json || is_json(&decoded))
}

fn is_json(text: &[u8]) -> bool {
    json::parse(text, &Limits::default()).is_ok()
}
