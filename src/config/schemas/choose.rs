//! `discriminator` (OpenAPI 3.1 §4.8.25): the branch of a `oneOf` or `anyOf` that a member names is
//! the one that counts, even where the value matches others too, and the one whose errors are told.
//!
//! JSON Schema knows no such keyword, so the schema engine is told what chooses.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::Documents;
use crate::config::problem::did_you_mean;
use crate::schema::SchemaChoice;

/// How many references are followed to what a branch says of the member.
const MAX_DEPTH: usize = 8;

/// Takes the keys below a subschema and what is wrong there.
type Tell<'t> = dyn FnMut(&[&str], String) + 't;

/// What the `discriminator` of a schema chooses by; `None` where it has none, or where a branch has
/// no name: then `oneOf` and `anyOf` mean what they always mean.
pub(super) fn choice(
    documents: &Documents<'_>,
    keywords: &Map<String, Value>,
    document: usize,
    tell: &mut Tell<'_>,
) -> Option<SchemaChoice> {
    let discriminator = keywords.get("discriminator")?;
    let Some(property) = discriminator.get("propertyName").and_then(Value::as_str) else {
        let message = "must have a `propertyName`, the member that chooses";
        tell(&["discriminator"], message.into());
        return None;
    };
    let (keyword, branches) = ["oneOf", "anyOf"].into_iter().find_map(|keyword| {
        let branches = keywords.get(keyword)?.as_array()?;
        Some((keyword, branches))
    })?;
    let mut by_name = mapped(discriminator, keyword, branches, tell);
    documents.name_others(property, branches, document, &mut by_name);
    let chosen: BTreeSet<_> = by_name.values().copied().collect();
    let mut others = (0..branches.len()).filter(|index| !chosen.contains(index));
    let is_null = |index: usize| branches.get(index).is_some_and(is_null);
    let null = (0..branches.len()).any(is_null);
    others.all(is_null).then(|| SchemaChoice {
        keyword,
        property: property.to_owned(),
        by_name,
        null,
    })
}

/// The branches that the `mapping` names.
fn mapped(
    discriminator: &Value,
    keyword: &str,
    branches: &[Value],
    tell: &mut Tell<'_>,
) -> BTreeMap<String, usize> {
    let references: Vec<Option<&str>> = branches.iter().map(reference).collect();
    let mut by_name = BTreeMap::new();
    let mapping = discriminator.get("mapping").and_then(Value::as_object);
    for (name, target) in mapping.into_iter().flatten() {
        let target = target.as_str().unwrap_or_default();
        match branch_of(target, &references) {
            Some(index) => {
                by_name.insert(name.clone(), index);
            }
            None => {
                let near = did_you_mean(target, references.iter().flatten().copied());
                let message = format!("`{target}` is none of the schemas under `{keyword}`{near}");
                tell(&["discriminator", "mapping", name], message);
            }
        }
    }
    by_name
}

impl<'s> Documents<'s> {
    /// Names for the branches that the mapping does not name: what they say of the member
    /// themselves, as no other value of it could match; else the last step of their reference.
    fn name_others(
        &self,
        property: &str,
        branches: &[Value],
        document: usize,
        by_name: &mut BTreeMap<String, usize>,
    ) {
        let mapped: BTreeSet<_> = by_name.values().copied().collect();
        let mut names: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, branch) in branches.iter().enumerate() {
            let stated = self.stated(branch, property, document, MAX_DEPTH);
            let implied = reference(branch).map(last_step);
            // OpenAPI lets a schema's own name choose it beside the mapping.
            let implied = implied.filter(|name| match &stated {
                Some(stated) => stated.contains(name),
                None => true,
            });
            let own = stated
                .filter(|_| !mapped.contains(&index))
                .unwrap_or_default();
            for name in own.into_iter().chain(implied).collect::<BTreeSet<_>>() {
                names.entry(name).or_default().push(index);
            }
        }
        for (name, indices) in names {
            let own = |index: &&usize| {
                let branch = branches.get(**index).and_then(reference);
                branch.is_some_and(|text| last_step(text) == name)
            };
            // Of several branches with one name, it is the one called so.
            let index = match indices.as_slice() {
                [index] => Some(index),
                several => several.iter().find(own),
            };
            if let Some(index) = index {
                by_name.entry(name).or_insert(*index);
            }
        }
    }

    /// The texts that a schema lets the member be, if it says so by `const` or `enum`.
    fn stated(
        &self,
        schema: &Value,
        property: &str,
        document: usize,
        depth: usize,
    ) -> Option<Vec<String>> {
        let depth = depth.checked_sub(1)?;
        let member = schema.get("properties").and_then(|all| all.get(property));
        if let Some(texts) = member.and_then(|member| self.texts(member, document, depth)) {
            return Some(texts);
        }
        if let Some((target, document)) = self.target(schema, document)
            && let Some(texts) = self.stated(target, property, document, depth)
        {
            return Some(texts);
        }
        let parts = schema.get("allOf").and_then(Value::as_array);
        let mut parts = parts.into_iter().flatten();
        parts.find_map(|part| self.stated(part, property, document, depth))
    }

    fn texts(&self, schema: &Value, document: usize, depth: usize) -> Option<Vec<String>> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        if let Some(constant) = schema.get("const") {
            return Some(vec![text(constant)?]);
        }
        if let Some(Value::Array(values)) = schema.get("enum") {
            return values.iter().map(text).collect();
        }
        let depth = depth.checked_sub(1)?;
        let (target, document) = self.target(schema, document)?;
        self.texts(target, document, depth)
    }

    /// What a reference by JSON Pointer leads to, and the document that it is in.
    fn target(&self, schema: &Value, document: usize) -> Option<(&'s Value, usize)> {
        let fragment = reference(schema)?.strip_prefix('#')?;
        let pointer = percent_decode_str(fragment).decode_utf8().ok()?;
        let (document, pointer) = match pointer.strip_prefix("/schemas/") {
            Some(path) => {
                let (name, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
                (*self.shared.get(unescape(name).as_str())?, rest)
            }
            None => (document, pointer.as_ref()),
        };
        Some((
            self.sources.get(document)?.schema.pointer(pointer)?,
            document,
        ))
    }
}

fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()
}

/// The last step of a reference: the schema's name.
fn last_step(reference: &str) -> String {
    let step = reference.rsplit(['/', '#']).next().unwrap_or_default();
    unescape(&percent_decode_str(step).decode_utf8_lossy())
}

fn unescape(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

/// The branch that a mapping means: by its reference, or by its name alone.
fn branch_of(target: &str, references: &[Option<&str>]) -> Option<usize> {
    let same = |held: &Option<&str>| *held == Some(target);
    let named = |held: &Option<&str>| held.is_some_and(|held| last_step(held) == last_step(target));
    let exact = references.iter().position(same);
    exact.or_else(|| references.iter().position(named))
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "null")
        || schema.get("const").is_some_and(Value::is_null)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use crate::config::schemas::tests::{good, passes, problems, told};
    use serde_json::Value;

    /// Two kinds of pets; every cat could pass for a dog too.
    fn pets(discriminator: Value) -> (Value, Value) {
        let shared = json!({
            "Cat": {"type": "object", "required": ["kind", "lives"], "properties": {
                "kind": {"type": "string"}, "lives": {"type": "integer", "maximum": 9}}},
            "Dog": {"type": "object", "required": ["kind"], "properties": {
                "kind": {"type": "string"}, "tricks": {"type": "array"}}},
        });
        let used = json!({"discriminator": discriminator,
            "oneOf": [{"$ref": "#/schemas/Cat"}, {"$ref": "#/schemas/Dog"}]});
        (shared, used)
    }

    #[test]
    fn the_named_branch_counts_though_others_match_too() {
        let (shared, used) = pets(json!({"propertyName": "kind"}));
        let pet = good(shared, used);
        assert!(passes(&pet, json!({"kind": "Cat", "lives": 9})));
        assert!(passes(&pet, json!({"kind": "Dog", "lives": 9})));
        for bad in [
            json!({"kind": "Cat"}),
            json!({"kind": "cat", "lives": 9}),
            json!({"kind": 1, "lives": 9}),
            json!({"lives": 9}),
            json!([]),
            json!(null),
        ] {
            assert!(!passes(&pet, bad.clone()), "{bad}");
        }
    }

    #[test]
    fn the_errors_are_those_of_the_named_branch() {
        let mapping =
            json!({"propertyName": "kind", "mapping": {"tom": "Cat", "rex": "#/schemas/Dog"}});
        let (shared, used) = pets(mapping);
        let pet = good(shared, used);
        let told = |value| told(&pet, value);
        assert_eq!(
            told(json!({"kind": "tom", "lives": 10, "tricks": 1})),
            ["/lives maximum: at most 9"]
        );
        assert_eq!(
            told(json!({"kind": "rex", "lives": 10, "tricks": 1})),
            ["/tricks type: type array"]
        );
        assert_eq!(
            told(json!({"kind": "bat"})),
            [r#"/kind enum: one of ["Cat","Dog","rex","tom"]"#]
        );
        assert_eq!(told(json!({})), ["/kind required: this member is required"]);
        assert_eq!(told(json!(1)), [" type: type object"]);
    }

    #[test]
    fn what_a_branch_says_of_the_member_is_its_name() {
        let shared = json!({
            "Base": {"properties": {"kind": {"enum": ["text", "image"]}}},
            "Kind": {"const": "image"},
            "Text": {"allOf": [{"properties": {"kind": {"const": "text"}}}, {"$ref": "#/schemas/Base"}], "required": ["body"]},
            "Image": {"properties": {"kind": {"$ref": "#/schemas/Kind"}}, "required": ["url"]},
        });
        let part = good(
            shared,
            json!({"discriminator": {"propertyName": "kind"}, "anyOf": [
                {"$ref": "#/schemas/Text"}, {"$ref": "#/schemas/Image"},
                {"properties": {"kind": {"const": "inline"}, "n": {"type": "integer"}}}, {"type": "null"}]}),
        );
        for good in [
            json!({"kind": "text", "body": ""}),
            json!({"kind": "image", "url": ""}),
            json!({"kind": "inline", "n": 1}),
            json!(null),
        ] {
            assert!(passes(&part, good.clone()), "{good}");
        }
        assert_eq!(
            told(&part, json!({"kind": "inline", "n": "x"})),
            ["/n type: type integer"]
        );
        assert_eq!(
            told(&part, json!({"kind": "image"})),
            ["/url required: this member is required"]
        );
        assert!(!passes(&part, json!({"kind": "Text", "body": ""})));
    }

    #[test]
    fn without_names_for_every_branch_the_keywords_keep_their_meaning() {
        let shared = json!({"Cat": {"required": ["lives"]}});
        let either = good(
            shared,
            json!({"discriminator": {"propertyName": "kind"},
                "anyOf": [{"$ref": "#/schemas/Cat"}, {"type": "string"}]}),
        );
        assert!(passes(&either, json!("x")) && passes(&either, json!({"lives": 1})));
        assert!(!passes(&either, json!({})));
        let alone = good(
            json!({}),
            json!({"type": "object", "discriminator": {"propertyName": "kind"}}),
        );
        assert!(passes(&alone, json!({})));
    }

    #[test]
    fn a_tree_of_named_kinds_has_its_errors_told_however_deep() {
        let shared = json!({
            "Node": {"discriminator": {"propertyName": "t"}, "oneOf": [
                {"$ref": "#/schemas/And"}, {"$ref": "#/schemas/Or"}, {"$ref": "#/schemas/Leaf"}]},
            "And": {"type": "object", "properties": {"t": {}, "of": {"$ref": "#/schemas/Node"}}},
            "Or": {"type": "object", "properties": {"t": {}, "of": {"$ref": "#/schemas/Node"}}},
            "Leaf": {"type": "object", "properties": {"t": {}, "v": {"type": "integer"}}},
        });
        let tree = good(shared, json!({"$ref": "#/schemas/Node"}));
        let deep = |leaf: Value| {
            (0..30).fold(
                leaf,
                |inner, level| json!({"t": if level % 2 == 0 { "And" } else { "Or" }, "of": inner}),
            )
        };
        assert!(passes(&tree, deep(json!({"t": "Leaf", "v": 1}))));
        let found = told(&tree, deep(json!({"t": "Leaf", "v": "x"})));
        assert_eq!(
            found,
            [format!("{}/v type: type integer", "/of".repeat(30))]
        );
    }

    #[test]
    fn discriminators_that_choose_nothing_are_problems() {
        let (shared, used) = pets(json!({"mapping": {}}));
        assert!(problems(shared, used).contains("discriminator: must have a `propertyName`"));
        let (shared, used) =
            pets(json!({"propertyName": "kind", "mapping": {"tom": "#/schemas/Cta"}}));
        let told = problems(shared, used);
        assert!(
            told.contains("discriminator.mapping.tom: `#/schemas/Cta` is none of the schemas under `oneOf`, did you mean `#/schemas/Cat`?"),
            "{told}"
        );
    }
}
