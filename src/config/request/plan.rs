//! What text may stand for under a schema: read off the schema, through its references.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::schema::params::{Members, Plan};

/// How many references and subschemas are followed from one parameter; text has no deeper
/// structure than OpenAPI's styles can write.
const MAX_DEPTH: usize = 12;

const ALL_TYPES: [&str; 7] = [
    "array", "boolean", "integer", "null", "number", "object", "string",
];

/// Keywords that only say something about numbers.
const OF_NUMBERS: [&str; 5] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
];

/// Reads plans off schemas.
pub(super) struct Planner<'s> {
    pub shared: &'s BTreeMap<String, Value>,
}

/// What is known of a value so far.
#[derive(Clone, Default)]
struct Known {
    /// `None` where nothing has been said.
    types: Option<BTreeSet<&'static str>>,
    items: Option<Plan>,
    named: BTreeMap<String, Plan>,
    others: Option<Plan>,
}

impl<'s> Planner<'s> {
    /// The plan for a value of `schema`, whose local references start at `root`.
    pub(super) fn plan(&self, schema: &'s Value, root: &'s Value) -> Plan {
        self.plan_at(schema, root, 0)
    }

    fn follow(&self, reference: &str, root: &'s Value) -> Option<(&'s Value, &'s Value)> {
        let fragment = reference.strip_prefix('#')?;
        let pointer = percent_decode_str(fragment).decode_utf8().ok()?;
        match pointer.strip_prefix("/schemas/") {
            Some(path) => {
                let (name, rest) = path.split_once('/').map_or((path, None), |(name, rest)| {
                    (name, Some(format!("/{rest}")))
                });
                let name = name.replace("~1", "/").replace("~0", "~");
                let document = self.shared.get(&name)?;
                Some((document.pointer(&rest.unwrap_or_default())?, document))
            }
            None => Some((root.pointer(&pointer)?, root)),
        }
    }

    fn plan_at(&self, schema: &'s Value, root: &'s Value, depth: usize) -> Plan {
        let mut known = Known::default();
        self.learn(schema, root, depth, &mut known);
        known.into_plan()
    }

    fn learn(&self, schema: &'s Value, root: &'s Value, depth: usize, known: &mut Known) {
        let Value::Object(keywords) = schema else {
            return;
        };
        if depth > MAX_DEPTH {
            return;
        }
        if let Some(reference) = keywords.get("$ref").and_then(Value::as_str)
            && let Some((target, root)) = self.follow(reference, root)
        {
            self.learn(target, root, depth + 1, known);
        }
        known.narrow(stated_types(schema));
        if let Some(items) = keywords.get("items").filter(|items| items.is_object()) {
            known.items = Some(self.plan_at(items, root, depth + 1));
        }
        if let Some(Value::Object(properties)) = keywords.get("properties") {
            for (name, property) in properties {
                let plan = self.plan_at(property, root, depth + 1);
                known.named.insert(name.clone(), plan);
            }
        }
        if let Some(others) = keywords.get("additionalProperties")
            && *others != Value::Bool(false)
        {
            known.others = Some(self.plan_at(others, root, depth + 1));
        }
        for part in list(keywords.get("allOf")) {
            self.learn(part, root, depth + 1, known);
        }
        for keyword in ["anyOf", "oneOf"] {
            let branches = list(keywords.get(keyword));
            if !branches.is_empty() {
                self.learn_either(branches, root, depth, known);
            }
        }
    }

    /// Any of the branches may hold, so their types add up.
    fn learn_either(
        &self,
        branches: &'s [Value],
        root: &'s Value,
        depth: usize,
        known: &mut Known,
    ) {
        let mut types = Some(BTreeSet::new());
        for branch in branches {
            let mut here = Known::default();
            self.learn(branch, root, depth + 1, &mut here);
            types = match (types, here.types) {
                (Some(held), Some(more)) => Some(&held | &more),
                _ => None,
            };
            known.items = known.items.take().or(here.items);
            known.others = known.others.take().or(here.others);
            for (name, plan) in here.named {
                known.named.entry(name).or_insert(plan);
            }
        }
        known.narrow(types);
    }
}

impl Known {
    fn narrow(&mut self, types: Option<BTreeSet<&'static str>>) {
        self.types = match (self.types.take(), types) {
            (Some(held), Some(more)) => Some(&held & &more),
            (held, more) => held.or(more),
        };
    }

    fn into_plan(self) -> Plan {
        // A schema that says nothing of types takes the text as it is.
        let types = self.types.unwrap_or_else(|| BTreeSet::from(["string"]));
        let items = self.items.unwrap_or_else(Plan::text);
        let members = Members {
            named: self.named,
            others: self.others,
        };
        Plan {
            null: types.contains("null"),
            boolean: types.contains("boolean"),
            number: types.contains("number") || types.contains("integer"),
            string: types.contains("string"),
            array: types.contains("array").then(|| Box::new(items)),
            object: types.contains("object").then(|| Box::new(members)),
        }
    }
}

/// The types that a schema's own keywords leave, if they say anything.
fn stated_types(schema: &Value) -> Option<BTreeSet<&'static str>> {
    let has = |keyword: &str| schema.get(keyword).is_some();
    if let Some(stated) = schema.get("type") {
        let names: Vec<_> = match stated {
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect(),
        };
        let known = ALL_TYPES.into_iter().filter(|one| names.contains(one));
        return Some(known.collect());
    }
    if let Some(constant) = schema.get("const") {
        return Some(BTreeSet::from([type_of(constant)]));
    }
    if let Some(Value::Array(values)) = schema.get("enum") {
        return Some(values.iter().map(type_of).collect());
    }
    if has("properties") || has("additionalProperties") {
        Some(BTreeSet::from(["object"]))
    } else if has("items") || has("prefixItems") {
        Some(BTreeSet::from(["array"]))
    } else if OF_NUMBERS.into_iter().any(has) {
        Some(BTreeSet::from(["number"]))
    } else {
        None
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// The types that the plan reads, in a short form.
    fn types(schema: &Value) -> String {
        let shared = BTreeMap::from([
            (
                "Id".to_owned(),
                json!({"type": "integer", "$defs": {"s": {"type": "string"}}}),
            ),
            (
                "Loop".to_owned(),
                json!({"allOf": [{"$ref": "#/schemas/Loop"}, {"type": "number"}]}),
            ),
        ]);
        let plan = Planner { shared: &shared }.plan(schema, schema);
        show(&plan)
    }

    fn show(plan: &Plan) -> String {
        let mut shown = String::new();
        for (there, letter) in [
            (plan.null, '0'),
            (plan.boolean, 'b'),
            (plan.number, 'n'),
            (plan.string, 's'),
        ] {
            if there {
                shown.push(letter);
            }
        }
        if let Some(items) = &plan.array {
            shown += &format!("[{}]", show(items));
        }
        if let Some(members) = &plan.object {
            let named = members.named.iter();
            let named: Vec<_> = named
                .map(|(name, plan)| format!("{name}:{}", show(plan)))
                .collect();
            let others = members
                .others
                .as_ref()
                .map(|plan| format!("*:{}", show(plan)));
            let all: Vec<_> = named.into_iter().chain(others).collect();
            shown += &format!("{{{}}}", all.join(","));
        }
        shown
    }

    #[test]
    fn plans_follow_every_way_a_schema_states_types() {
        for (schema, expected) in [
            (json!({"type": "integer"}), "n"),
            (json!({"type": ["string", "null"]}), "0s"),
            (json!({}), "s"),
            (json!(true), "s"),
            (json!({"enum": [1, "a"]}), "ns"),
            (json!({"const": true}), "b"),
            (json!({"minimum": 1}), "n"),
            (json!({"minLength": 1}), "s"),
            (json!({"$ref": "#/schemas/Id"}), "n"),
            (json!({"$ref": "#/schemas/Id/$defs/s"}), "s"),
            (
                json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "boolean"}}}),
                "b",
            ),
            (json!({"$ref": "#/schemas/Loop"}), "n"),
            (json!({"$ref": "#/nowhere"}), "s"),
            (
                json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "integer"}}]}),
                "s[n]",
            ),
            (
                json!({"allOf": [{"type": ["string", "integer"]}, {"type": "integer"}]}),
                "n",
            ),
            (json!({"type": "array"}), "[s]"),
            (json!({"items": {"$ref": "#/schemas/Id"}}), "[n]"),
            (
                json!({"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": {"type": "boolean"}}),
                "{a:n,*:b}",
            ),
            (json!({"properties": {"a": {"$ref": "#"}}}), ""),
        ] {
            let found = types(&schema);
            if expected.is_empty() {
                assert!(found.starts_with("{a:{a:"), "{found}");
            } else {
                assert_eq!(found, expected, "{schema}");
            }
        }
    }
}
