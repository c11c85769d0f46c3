//! `discriminator`: which of several schemas a value has to be, chosen by one of its members.
//!
//! JSON Schema has no such keyword. One `if`/`then` a value says the same, and unlike `oneOf` it
//! does not fail where two branches overlap.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::convert::Converter;
use super::documents::{Node, Spot};
use super::report::Kind;
use super::schema::{Names, or_null};

/// Most generations of `allOf` that are followed from child to parent.
const MAX_GENERATIONS: usize = 32;

/// Schemas with a discriminator and those that inherit from them through `allOf`.
#[derive(Default)]
pub(super) struct Families {
    /// By parent: the children's names and places.
    children: BTreeMap<Spot, Vec<(String, Spot)>>,
}

impl Families {
    /// Looks through the named schemas of a document.
    pub fn of(schemas: &[(&str, Node<'_>)]) -> Self {
        let mut parents: BTreeMap<Spot, Vec<Node<'_>>> = BTreeMap::new();
        for (_, node) in schemas {
            let named = node.list("allOf");
            let found = named
                .iter()
                .filter_map(|part| part.target(part.text("$ref")?).ok());
            parents.insert(node.spot(), found.collect());
        }
        let mut families = Self::default();
        for (name, node) in schemas {
            let mut seen = BTreeSet::new();
            let mut generation = vec![node.spot()];
            for _ in 0..MAX_GENERATIONS {
                let above: Vec<&Node<'_>> = generation
                    .iter()
                    .filter_map(|spot| parents.get(spot))
                    .flatten()
                    .filter(|parent| seen.insert(parent.spot()))
                    .collect();
                for parent in &above {
                    let inherits = property(parent).is_some() && !has_branches(parent);
                    if inherits && parent.spot() != node.spot() {
                        let child = ((*name).to_owned(), node.spot());
                        families
                            .children
                            .entry(parent.spot())
                            .or_default()
                            .push(child);
                    }
                }
                generation = above.iter().map(|parent| parent.spot()).collect();
            }
        }
        families
    }

    /// Whether `child` inherits from `parent`.
    pub fn related(&self, child: &Spot, parent: &Spot) -> bool {
        let children = self.children.get(parent);
        children.is_some_and(|children| children.iter().any(|(_, spot)| spot == child))
    }

    /// The schemas that inherit from `parent`.
    pub fn children(&self, parent: &Spot) -> &[(String, Spot)] {
        self.children.get(parent).map_or(&[], Vec::as_slice)
    }
}

fn has_branches(node: &Node<'_>) -> bool {
    node.get("oneOf").is_some() || node.get("anyOf").is_some()
}

/// The name of the member that decides: an object since 3.0, a text in 2.0.
fn property<'d>(node: &Node<'d>) -> Option<&'d str> {
    let discriminator = node.get("discriminator")?;
    discriminator
        .value
        .as_str()
        .or_else(|| discriminator.text("propertyName"))
}

/// The last step of a reference: a schema's name.
fn last_step(pointer: &str) -> String {
    let step = pointer.rsplit('/').next().unwrap_or_default();
    step.replace("~1", "/").replace("~0", "~")
}

/// Values of the deciding member and the schema that each chooses.
#[derive(Default)]
struct Choices(Vec<(Vec<String>, Value)>);

impl Choices {
    fn add(&mut self, values: Vec<String>, schema: Value) {
        if !values.is_empty() {
            self.0.push((values, schema));
        }
    }

    fn schema(self, property: &str) -> Value {
        let mut values: Vec<String> = self
            .0
            .iter()
            .flat_map(|(values, _)| values.clone())
            .collect();
        values.sort();
        values.dedup();
        let choices: Vec<Value> = self
            .0
            .into_iter()
            .map(|(values, schema)| {
                let test = match values.as_slice() {
                    [one] => json!({"const": one}),
                    several => json!({"enum": several}),
                };
                json!({"if": {"properties": {property: test}}, "then": schema})
            })
            .collect();
        json!({
            "type": "object",
            "required": [property],
            "properties": {property: {"enum": values}},
            "allOf": choices,
        })
    }
}

impl<'d> Converter<'d> {
    /// Puts the choice in place of `oneOf` or `anyOf`, where a discriminator says how to make it.
    pub(super) fn discriminate(
        &mut self,
        node: &Node<'d>,
        unwritten: &Names,
        out: &mut Map<String, Value>,
    ) {
        let Some(property) = property(node) else {
            return;
        };
        for keyword in ["oneOf", "anyOf"] {
            let branches = node.list(keyword);
            if branches.is_empty() || !out.contains_key(keyword) {
                continue;
            }
            let Some((choices, null)) = self.choices(node, property, &branches, unwritten) else {
                self.note(
                    Kind::Unchecked,
                    node,
                    "a branch of its `discriminator` has no value to be chosen by; the branches \
                     are tried one by one",
                );
                return;
            };
            out.remove(keyword);
            let chosen = choices.schema(property);
            let chosen = if null { or_null(chosen) } else { chosen };
            match (chosen, out.is_empty()) {
                (Value::Object(chosen), true) => *out = chosen,
                (chosen, _) => match out.get_mut("allOf") {
                    Some(Value::Array(list)) => list.push(chosen),
                    _ => {
                        out.insert("allOf".into(), json!([chosen]));
                    }
                },
            }
        }
    }

    /// What each branch is chosen by, and whether `null` is one.
    fn choices(
        &mut self,
        node: &Node<'d>,
        property: &str,
        branches: &[Node<'d>],
        unwritten: &Names,
    ) -> Option<(Choices, bool)> {
        let mapping = self.mapping(node);
        let mut choices = Choices::default();
        let mut null = false;
        let mut placed = BTreeSet::new();
        for branch in branches {
            if branch.text("type") == Some("null") {
                null = true;
                continue;
            }
            if branch.text("$ref").is_none() {
                choices.add(
                    stated(branch, property)?,
                    self.object(branch, unwritten, &[]),
                );
                continue;
            }
            let first = branch.target(branch.text("$ref")?).ok()?;
            let target = self.follow(branch)?;
            let mut values: Vec<String> = mapping
                .iter()
                .filter(|(_, spot)| *spot == first.spot() || *spot == target.spot())
                .map(|(value, _)| value.clone())
                .collect();
            placed.extend(values.iter().cloned());
            if values.is_empty() {
                values = child_value(&first, &last_step(&first.pointer));
            }
            choices.add(values, self.member(&target, unwritten, false));
        }
        for (value, spot) in mapping {
            if !placed.contains(&value)
                && let Some(target) = self.docs.node(&spot)
            {
                choices.add(vec![value], self.member(&target, unwritten, false));
            }
        }
        Some((choices, null))
    }

    /// The values of a discriminator's `mapping`, with the schemas they lead to.
    fn mapping(&mut self, node: &Node<'d>) -> Vec<(String, Spot)> {
        let Some(discriminator) = node.get("discriminator") else {
            return Vec::new();
        };
        let mut mapping = Vec::new();
        for (value, entry) in discriminator.map("mapping") {
            let Some(text) = entry.value.as_str() else {
                continue;
            };
            let target = match self.named_schema(text) {
                Some(target) => Ok(target),
                None => entry.target(text),
            };
            match target {
                Ok(target) => mapping.push((value.to_owned(), target.spot())),
                Err(message) => {
                    self.faults.push(entry.fault(message));
                }
            }
        }
        mapping
    }

    /// A schema that others inherit from: the child that the member chooses, or the schema itself.
    pub(super) fn parent(&mut self, node: &Node<'d>) -> Option<Value> {
        let children = self.families.children(&node.spot()).to_vec();
        let property = property(node).filter(|_| !children.is_empty())?;
        let mapping = self.mapping(node);
        let mut choices = Choices::default();
        let mut known: Names = mapping.iter().map(|(value, _)| value.clone()).collect();
        for (name, spot) in &children {
            let Some(child) = self.docs.node(spot) else {
                continue;
            };
            let mut values: Vec<String> = mapping
                .iter()
                .filter(|(_, mapped)| mapped == spot)
                .map(|(value, _)| value.clone())
                .collect();
            if values.is_empty() {
                values = child_value(&child, name);
            }
            known.extend(values.iter().cloned());
            choices.add(values, self.refer(&child, false));
        }
        for (value, spot) in &mapping {
            let inherits = children.iter().any(|(_, child)| child == spot);
            if !inherits && let Some(target) = self.docs.node(spot) {
                let own = *spot == node.spot();
                choices.add(vec![value.clone()], self.refer(&target, own));
            }
        }
        // Values of its own that no child stands for: the parent's name, and what its `enum` lists.
        let mut own = child_value(node, &last_step(&node.pointer));
        own.extend(stated(node, property).unwrap_or_default());
        own.retain(|value| !known.contains(value));
        own.sort();
        own.dedup();
        let base = self.base(node);
        choices.add(own, base);
        Some(choices.schema(property))
    }
}

/// What a schema is chosen by where no mapping says so: its name, or what extensions in wide use
/// give it instead.
fn child_value(node: &Node<'_>, name: &str) -> Vec<String> {
    let given = ["x-discriminator-value", "x-ms-discriminator-value"];
    let given = given.into_iter().find_map(|key| node.text(key));
    vec![given.unwrap_or(name).to_owned()]
}

/// The values that a schema itself allows its member.
fn stated(node: &Node<'_>, property: &str) -> Option<Vec<String>> {
    let member = node.get("properties")?.get(property)?;
    if let Some(one) = member.text("const") {
        return Some(vec![one.to_owned()]);
    }
    let values: Vec<String> = member
        .list("enum")
        .iter()
        .filter_map(|value| value.value.as_str().map(str::to_owned))
        .collect();
    (!values.is_empty()).then_some(values)
}
