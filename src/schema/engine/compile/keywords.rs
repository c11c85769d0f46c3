//! What each keyword asserts.

use serde_json::{Map, Value};

use super::form::Here;
use super::{Choice, Compiler, types};
use crate::schema::engine::Fault;
use crate::schema::engine::format::Format;
use crate::schema::engine::keyword::{Draft, Holds, SUBSCHEMAS};
use crate::schema::engine::node::{
    ANYTHING, Bound, BoundKind, Choices, Chosen, Contains, If, Items, Members, Node, NodeId,
    ResourceId, Rule, Types,
};
use crate::schema::engine::number::Decimal;
use crate::schema::engine::path::Path;

/// Bytes of an `enum` that are kept for errors.
const MAX_TEXT: usize = 256;

/// Number formats of the OpenAPI format registry, and their bounds.
pub const NUMBER_FORMATS: &[(&str, i64, i64)] = &[
    ("int8", -128, 127),
    ("int16", -32_768, 32_767),
    ("int32", -2_147_483_648, 2_147_483_647),
    ("int64", i64::MIN, i64::MAX),
    ("uint8", 0, 255),
    ("uint16", 0, 65_535),
    ("uint32", 0, 4_294_967_295),
];

const BOUNDS: [(&str, BoundKind); 4] = [
    ("minimum", BoundKind::Minimum),
    ("maximum", BoundKind::Maximum),
    ("exclusiveMinimum", BoundKind::ExclusiveMinimum),
    ("exclusiveMaximum", BoundKind::ExclusiveMaximum),
];

type Counted = fn(u64) -> Rule;
type Listed = fn(Box<[NodeId]>) -> Rule;

/// Keywords with a count, and what they assert.
const COUNTS: [(&str, Counted); 6] = [
    ("minLength", Rule::MinLength),
    ("maxLength", Rule::MaxLength),
    ("minItems", Rule::MinItems),
    ("maxItems", Rule::MaxItems),
    ("minProperties", Rule::MinMembers),
    ("maxProperties", Rule::MaxMembers),
];

/// Keywords that draft 7 does not know.
const SINCE_7: &[&str] = &[
    "dependentSchemas",
    "prefixItems",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// The nodes of all subschemas that an object holds, by keyword.
type Held<'s> = Vec<(&'static str, Vec<(&'s str, NodeId)>)>;

impl<'s> Compiler<'s, '_, '_> {
    pub(super) fn node(
        &mut self,
        keywords: &'s Map<String, Value>,
        resource: ResourceId,
        draft: Draft,
        choice: Option<Choice>,
        path: &Path<'_>,
    ) -> Node {
        let here = Here { keywords, path };
        self.check_annotations(&here);
        let mut node = Node {
            types: self.types(&here),
            ..Node::default()
        };
        let held = self.subschemas(&here, resource, draft);
        let mut rules = Vec::new();
        self.add_values(&here, &mut rules);
        self.add_text(&here, draft, &mut rules);
        self.add_members(&here, &held, draft, &mut rules);
        self.add_elements(&here, &held, draft, &mut rules);
        self.add_references(&here, resource, draft, &mut rules);
        add_alternatives(&held, choice.as_ref(), &mut rules);
        if draft == Draft::V7
            && let Some(reference) = rules.iter().position(|rule| matches!(rule, Rule::Ref(_)))
        {
            // Draft 7 ignores what stands beside `$ref`.
            let reference = rules.swap_remove(reference);
            rules.clear();
            rules.push(reference);
            node.types = Types::ALL;
        }
        node.rules = rules.into();
        node
    }

    fn types(&mut self, here: &Here<'s, '_>) -> Types {
        let Some(value) = here.get("type") else {
            return Types::ALL;
        };
        let path = here.path.key("type");
        types(value, |name| self.report(&path, Fault::Type(name)))
    }

    /// Compiles every subschema, asked for by an assertion or not.
    fn subschemas(&mut self, here: &Here<'s, '_>, resource: ResourceId, draft: Draft) -> Held<'s> {
        let mut all = Vec::new();
        for (keyword, holds) in SUBSCHEMAS {
            let Some(value) = here.get(keyword) else {
                continue;
            };
            let holds = match (*keyword, draft) {
                ("items", Draft::V2020) => Holds::One,
                (keyword, Draft::V7) if SINCE_7.contains(&keyword) => continue,
                _ => *holds,
            };
            let held = self.held(value, keyword, holds, resource, here);
            all.push((*keyword, held));
        }
        all
    }

    fn held(
        &mut self,
        value: &'s Value,
        keyword: &str,
        holds: Holds,
        resource: ResourceId,
        here: &Here<'s, '_>,
    ) -> Vec<(&'s str, NodeId)> {
        let path = here.path.key(keyword);
        match (holds, value) {
            (Holds::List, Value::Array(list)) if list.is_empty() => {
                self.report(&path, Fault::Form("a list of at least one schema"));
                Vec::new()
            }
            (Holds::List | Holds::OneOrList, Value::Array(list)) => list
                .iter()
                .enumerate()
                .map(|(index, one)| ("", self.schema(one, resource, &path.index(index))))
                .collect(),
            (Holds::Named, Value::Object(named)) => named
                .iter()
                .filter(|(_, one)| keyword != "dependencies" || !one.is_array())
                .map(|(name, one)| (name.as_str(), self.schema(one, resource, &path.key(name))))
                .collect(),
            (Holds::One, Value::Array(_)) if keyword == "items" => {
                let form = "a JSON Schema: a mapping, `true` or `false`; lists are `prefixItems`";
                self.report(&path, Fault::Form(form));
                Vec::new()
            }
            (Holds::One | Holds::OneOrList, one) => vec![("", self.schema(one, resource, &path))],
            (Holds::List, _) => {
                self.report(&path, Fault::Form("a list of schemas"));
                Vec::new()
            }
            (Holds::Named, _) => {
                self.report(&path, Fault::Form("a mapping of names to schemas"));
                Vec::new()
            }
        }
    }

    fn add_values(&mut self, here: &Here<'s, '_>, rules: &mut Vec<Rule>) {
        if let Some(expected) = here.get("const") {
            rules.push(Rule::Const(Box::new(expected.clone())));
        }
        match here.get("enum") {
            Some(Value::Array(choices)) => rules.push(Rule::Enum(Box::new(choose(choices)))),
            Some(_) => self.misformed(here, "enum", "a list of values"),
            None => {}
        }
        for (keyword, kind) in BOUNDS {
            if let Some(limit) = self.number(here, keyword) {
                let limit = limit.clone();
                rules.push(Rule::Bound(Box::new(Bound { kind, limit })));
            }
        }
        if let Some(unit) = self.number(here, "multipleOf") {
            if unit.as_f64().is_some_and(|unit| unit > 0.0) {
                let decimal = Decimal::of(unit);
                rules.push(Rule::MultipleOf(Box::new((unit.clone(), decimal))));
            } else {
                self.misformed(here, "multipleOf", "a number above 0");
            }
        }
        for (keyword, rule) in COUNTS {
            rules.extend(self.count(here, keyword).map(rule));
        }
    }

    fn add_text(&mut self, here: &Here<'s, '_>, draft: Draft, rules: &mut Vec<Rule>) {
        if let Some(text) = self.text(here, "pattern") {
            match self.patterns.add(text) {
                Ok(id) => rules.push(Rule::Pattern(id)),
                Err(bad) => self.report(&here.path.key("pattern"), Fault::Pattern(bad)),
            }
        }
        if let Some(name) = self.text(here, "format") {
            self.add_format(name, rules);
        }
        if draft == Draft::V7 {
            let is = |keyword, text| here.get(keyword).and_then(Value::as_str) == Some(text);
            let json = is("contentMediaType", "application/json");
            if is("contentEncoding", "base64") {
                rules.push(Rule::Encoded(json));
            } else if json {
                rules.push(Rule::Json);
            }
        }
    }

    fn add_format(&mut self, name: &str, rules: &mut Vec<Rule>) {
        if let Some(format) = Format::named(name) {
            self.needs_labels |= format.needs_labels();
            rules.push(Rule::Format(format));
        }
        let number = NUMBER_FORMATS.iter().find(|(known, ..)| *known == name);
        if let Some((_, least, most)) = number {
            for (kind, limit) in [(BoundKind::Minimum, *least), (BoundKind::Maximum, *most)] {
                let limit = limit.into();
                rules.push(Rule::Bound(Box::new(Bound { kind, limit })));
            }
        }
    }

    fn add_members(
        &mut self,
        here: &Here<'s, '_>,
        held: &Held<'s>,
        draft: Draft,
        rules: &mut Vec<Rule>,
    ) {
        if let Some(names) = here.get("required") {
            let names = self.names(names, &here.path.key("required"));
            rules.push(Rule::Required(names));
        }
        let mut dependent = Vec::new();
        if draft == Draft::V2020 {
            match here.get("dependentRequired") {
                Some(Value::Object(all)) => dependent.extend(all),
                Some(_) => self.misformed(here, "dependentRequired", "a mapping of names to lists"),
                None => {}
            }
        }
        if let Some(Value::Object(all)) = here.get("dependencies") {
            dependent.extend(all.iter().filter(|(_, names)| names.is_array()));
        }
        if !dependent.is_empty() {
            let path = here.path.key("dependentRequired");
            let named = dependent.into_iter().map(|(name, names)| {
                let names = self.names(names, &path.key(name));
                (name.as_str().into(), names)
            });
            rules.push(Rule::DependentRequired(named.collect()));
        }
        self.add_member_schemas(here, held, rules);
    }

    fn add_member_schemas(&mut self, here: &Here<'s, '_>, held: &Held<'s>, rules: &mut Vec<Rule>) {
        let mut patterns = Vec::new();
        for (text, id) in all(held, "patternProperties") {
            match self.patterns.add(text) {
                Ok(pattern) => patterns.push((pattern, *id)),
                Err(bad) => {
                    let path = here.path.key("patternProperties");
                    self.report(&path.key(text), Fault::Pattern(bad));
                }
            }
        }
        let named = all(held, "properties").iter();
        // Mappings are in the order of their names already.
        let members = Members {
            named: named.map(|(name, id)| ((*name).into(), *id)).collect(),
            patterns: patterns.into(),
            others: one(held, "additionalProperties"),
        };
        if !members.named.is_empty() || !members.patterns.is_empty() || members.others.is_some() {
            rules.push(Rule::Members(Box::new(members)));
        }
        rules.extend(one(held, "propertyNames").map(Rule::Names));
        let dependent = ["dependentSchemas", "dependencies"];
        let dependent: Box<[_]> = dependent
            .iter()
            .flat_map(|keyword| all(held, keyword))
            .map(|(name, id)| ((*name).into(), *id))
            .collect();
        if !dependent.is_empty() {
            rules.push(Rule::DependentSchemas(dependent));
        }
    }

    fn add_elements(
        &mut self,
        here: &Here<'s, '_>,
        held: &Held<'s>,
        draft: Draft,
        rules: &mut Vec<Rule>,
    ) {
        if here.get("uniqueItems") == Some(&Value::Bool(true)) {
            rules.push(Rule::Unique);
        }
        let listed = draft == Draft::V7 && here.get("items").is_some_and(Value::is_array);
        let (first, rest) = match draft {
            Draft::V7 if listed => ("items", one(held, "additionalItems")),
            _ => ("prefixItems", one(held, "items")),
        };
        let first: Box<[_]> = all(held, first).iter().map(|(_, id)| *id).collect();
        if !first.is_empty() || rest.is_some() {
            rules.push(Rule::Items(Box::new(Items {
                first,
                rest,
                additional: listed,
            })));
        }
        let evaluates = draft == Draft::V2020;
        let count = |compiler: &mut Self, keyword| {
            evaluates.then(|| compiler.count(here, keyword)).flatten()
        };
        let least = count(self, "minContains").unwrap_or(1);
        let most = count(self, "maxContains").unwrap_or(u64::MAX);
        if let Some(node) = one(held, "contains") {
            rules.push(Rule::Contains(Box::new(Contains {
                node,
                least,
                most,
                evaluates,
            })));
        }
    }

    fn add_references(
        &mut self,
        here: &Here<'s, '_>,
        resource: ResourceId,
        draft: Draft,
        rules: &mut Vec<Rule>,
    ) {
        if let Some(reference) = self.text(here, "$ref") {
            match self.registry.find(resource, reference) {
                Ok(target) => rules.push(Rule::Ref(self.lead_to(target))),
                Err(fault) => self.report(&here.path.key("$ref"), fault),
            }
        }
        if draft == Draft::V7 {
            return;
        }
        if let Some(reference) = self.text(here, "$dynamicRef") {
            match self.registry.find(resource, reference) {
                Ok(target) => {
                    let anchor = target.value.get("$dynamicAnchor").and_then(Value::as_str);
                    let asked = reference.split_once('#').map(|(_, fragment)| fragment);
                    let anchor = anchor.filter(|anchor| asked == Some(*anchor));
                    let anchor = anchor.map(|anchor| self.anchor(anchor));
                    let id = self.lead_to(target);
                    rules.push(match anchor {
                        Some(anchor) => Rule::DynamicRef(id, anchor),
                        // Without such an anchor at first, it is a plain reference.
                        None => Rule::Ref(id),
                    });
                }
                Err(fault) => self.report(&here.path.key("$dynamicRef"), fault),
            }
        }
    }

    fn anchor(&mut self, name: &str) -> u32 {
        let next = self.anchors.len() as u32;
        *self.anchors.entry(name.to_owned()).or_insert(next)
    }
}

/// The branches of a keyword, of which a member of the value chooses one.
fn chosen(choice: &Choice, branches: &[NodeId]) -> Rule {
    let named = choice.by_name.iter();
    let by_name = named.filter_map(|(name, index)| {
        let id = branches.get(*index)?;
        Some((name.as_str().into(), *id))
    });
    Rule::Choose(Box::new(Chosen {
        property: choice.property.as_str().into(),
        by_name: by_name.collect(),
        null: choice.null,
    }))
}

fn add_alternatives(held: &Held<'_>, choice: Option<&Choice>, rules: &mut Vec<Rule>) {
    let ids = |keyword| all(held, keyword).iter().map(|(_, id)| *id);
    let lists: [(&str, Listed); 3] = [
        ("allOf", Rule::AllOf),
        ("anyOf", Rule::AnyOf),
        ("oneOf", Rule::OneOf),
    ];
    for (keyword, rule) in lists {
        let ids: Box<[NodeId]> = ids(keyword).collect();
        match choice.filter(|choice| choice.keyword == keyword) {
            Some(choice) => rules.push(chosen(choice, &ids)),
            None if ids.is_empty() => {}
            None => rules.push(rule(ids)),
        }
    }
    rules.extend(one(held, "not").map(Rule::Not));
    if let Some(test) = one(held, "if") {
        rules.push(Rule::If(Box::new(If {
            test,
            then: one(held, "then").unwrap_or(ANYTHING),
            otherwise: one(held, "else").unwrap_or(ANYTHING),
        })));
    }
    rules.extend(one(held, "unevaluatedItems").map(Rule::UnevaluatedItems));
    rules.extend(one(held, "unevaluatedProperties").map(Rule::UnevaluatedMembers));
}

fn all<'h, 's>(held: &'h Held<'s>, keyword: &str) -> &'h [(&'s str, NodeId)] {
    let found = held.iter().find(|(known, _)| *known == keyword);
    found.map_or(&[], |(_, ids)| ids)
}

fn one(held: &Held<'_>, keyword: &str) -> Option<NodeId> {
    all(held, keyword).first().map(|(_, id)| *id)
}

fn choose(choices: &[Value]) -> Choices {
    let text = Value::Array(choices.to_vec()).to_string();
    let end = (0..=MAX_TEXT.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    let mut strings: Vec<Box<str>> = choices
        .iter()
        .filter_map(|choice| choice.as_str().map(Into::into))
        .collect();
    strings.sort_unstable();
    let others = choices.iter().filter(|choice| !choice.is_string());
    Choices {
        strings: strings.into(),
        others: others.cloned().collect(),
        text: text
            .get(..end.unwrap_or_default())
            .unwrap_or_default()
            .into(),
    }
}
