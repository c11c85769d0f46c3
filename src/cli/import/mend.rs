//! What the policy language refuses is taken out of an imported policy and reported, so that
//! `forecourt check` accepts what is left. Who may call is never touched.

use serde_json::{Map, Value, json};

use super::draft::Draft;
use super::report::{Kind, Report};
use crate::config;
use crate::config::problem::Problem;

/// How often the policy is checked anew: what is taken out may have hidden something.
const MAX_ROUNDS: usize = 64;

/// A step of a place in a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// Takes out what a policy cannot say; the problems that are left where that cannot be done.
pub fn mend(draft: &mut Draft, report: &mut Report) -> Result<(), Vec<Problem>> {
    let mut left = Vec::new();
    for _ in 0..MAX_ROUNDS {
        let checked = config::raw(opened(draft)).and_then(|raw| raw.compile());
        let Err(problems) = checked else {
            return Ok(());
        };
        let mut done = Vec::new();
        let mut routes = Vec::new();
        for problem in &problems.0 {
            let steps = steps(problem.place.as_str());
            // What lies in a place that has gone in this round is looked at in the next.
            if done.iter().any(|gone: &Vec<Step>| steps.starts_with(gone)) {
                continue;
            }
            let origin = take_out(draft, &steps, &mut routes);
            let Some(origin) = origin else {
                return Err(problems.0);
            };
            let message = format!("a policy cannot say this: {}", problem.message);
            report.add(
                Kind::Unchecked,
                format!("{origin} ({})", problem.place),
                message,
            );
            done.push(steps);
        }
        routes.sort_unstable();
        routes.dedup();
        for index in routes.into_iter().rev() {
            draft.routes.remove(index);
        }
        left = problems.0;
    }
    Err(left)
}

/// The policy with its checks alone.
fn opened(draft: &Draft) -> Value {
    let mut document = draft.document();
    if let Value::Object(keys) = &mut document {
        keys.remove("issuers");
        keys.remove("services");
        keys.remove("defaultService");
        if let Some(Value::Array(routes)) = keys.get_mut("routes") {
            for route in routes.iter_mut().filter_map(Value::as_object_mut) {
                route.remove("to");
                route.insert("access".into(), "public".into());
            }
        }
    }
    document
}

/// Takes out what stands at a place; where that came from.
fn take_out(draft: &mut Draft, steps: &[Step], routes: &mut Vec<usize>) -> Option<String> {
    match steps {
        [Step::Key(top), Step::Key(name), rest @ ..] if top == "schemas" => {
            let schema = draft.schemas.get_mut(name)?;
            if rest.is_empty() || !remove(schema, rest) {
                *schema = outline(schema);
            }
            Some(format!("the schema `{name}`"))
        }
        [Step::Key(top), Step::Index(index), rest @ ..] if top == "routes" => {
            let route = draft.routes.get_mut(*index)?;
            let origin = route.origin.clone();
            let of_request = matches!(rest.first(), Some(Step::Key(key)) if key == "request");
            if !(of_request && rest.len() > 1 && remove(&mut route.value, rest)) {
                routes.push(*index);
            }
            Some(origin)
        }
        _ => None,
    }
}

/// A schema's type alone.
fn outline(schema: &Value) -> Value {
    let kind = schema
        .get("type")
        .filter(|_| schema.as_object().is_some_and(|all| all.len() > 1));
    kind.map_or_else(|| json!({}), |kind| json!({"type": kind}))
}

/// Removes what is at the end of the way; a schema among others becomes one that says nothing.
fn remove(value: &mut Value, steps: &[Step]) -> bool {
    match steps {
        [] => false,
        [Step::Index(_)] => false,
        [Step::Key(list), Step::Index(index)] => {
            let held = value.get_mut(list).and_then(Value::as_array_mut);
            let Some(elements) = held.filter(|elements| *index < elements.len()) else {
                return false;
            };
            elements.remove(*index);
            if matches!(list.as_str(), "allOf" | "anyOf" | "oneOf" | "prefixItems") {
                elements.insert(*index, Value::Bool(true));
            }
            true
        }
        [Step::Key(named), Step::Key(name)]
            if matches!(named.as_str(), "properties" | "patternProperties") =>
        {
            let held = value.get_mut(named).and_then(|held| held.get_mut(name));
            held.map(|held| *held = Value::Bool(true)).is_some()
        }
        [Step::Key(key)] => {
            let members = value.as_object_mut();
            members.is_some_and(|members: &mut Map<_, _>| members.remove(key).is_some())
        }
        [first, rest @ ..] => {
            let below = match first {
                Step::Key(key) => value.get_mut(key),
                Step::Index(index) => value.get_mut(index),
            };
            // What is not there as such is a matter of the nearest thing that is.
            below.is_some_and(|below| remove(below, rest))
                || remove(value, std::slice::from_ref(first))
        }
    }
}

/// Reads a place such as `schemas["a b"].properties.x[3]`.
fn steps(place: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = place;
    while !rest.is_empty() {
        if let Some(behind) = rest.strip_prefix("[\"") {
            let (name, after) = unquoted(behind);
            steps.push(Step::Key(name));
            rest = after;
        } else if let Some(behind) = rest.strip_prefix('[') {
            let (number, after) = behind.split_once(']').unwrap_or((behind, ""));
            steps.push(Step::Index(number.parse().unwrap_or(usize::MAX)));
            rest = after;
        } else {
            let plain = rest.strip_prefix('.').unwrap_or(rest);
            let end = plain.find(['.', '[']).unwrap_or(plain.len());
            let (name, after) = plain.split_at_checked(end).unwrap_or((plain, ""));
            steps.push(Step::Key(name.to_owned()));
            rest = after;
        }
    }
    steps
}

/// A name as `{:?}` writes it, behind its opening quote, and what follows `"]`.
fn unquoted(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('n') => name.push('\n'),
                Some('t') => name.push('\t'),
                Some('r') => name.push('\r'),
                Some('0') => name.push('\0'),
                Some('u') => {
                    let code: String = chars.by_ref().take_while(|c| *c != '}').collect();
                    let code = u32::from_str_radix(code.trim_start_matches('{'), 16);
                    name.extend(code.ok().and_then(char::from_u32));
                }
                Some(other) => name.push(other),
                None => break,
            },
            other => name.push(other),
        }
    }
    (name, chars.as_str().strip_prefix(']').unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::problem::Place;

    #[test]
    fn places_are_read_as_they_are_written() {
        for name in [
            "a",
            "a b",
            "a.b",
            "a[0]",
            "a\"]b",
            "\\",
            "\n\0\u{7f}é\u{200b}",
            "",
        ] {
            let place = Place::root().key("schemas").key(name).index(3).key(name);
            let key = Step::Key(name.to_owned());
            let schemas = Step::Key("schemas".to_owned());
            assert_eq!(
                steps(place.as_str()),
                [schemas, key.clone(), Step::Index(3), key]
            );
        }
    }

    #[test]
    fn what_is_taken_out_leaves_its_neighbours() {
        let mut schema = json!({
            "properties": {"a": {"pattern": "(", "type": "string"}, "b": 5},
            "allOf": [{"format": "x"}, {"type": "string"}],
            "required": ["a"]
        });
        for place in [
            "properties.a.pattern",
            "properties.b",
            "allOf[0]",
            "required[0].x",
        ] {
            assert!(remove(&mut schema, &steps(place)), "{place}");
        }
        let left = json!({
            "properties": {"a": {"type": "string"}, "b": true},
            "allOf": [true, {"type": "string"}]
        });
        assert_eq!(schema, left);
        assert!(!remove(&mut schema, &steps("none")));
    }
}
