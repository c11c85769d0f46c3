//! Equality of JSON values, where numbers are equal by value (JSON Schema core §4.2.2).

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::number;

/// Up to this many elements, comparing each with each is faster than sorting.
const FEW: usize = 8;

/// Whether both are the same JSON value.
pub fn equal(one: &Value, other: &Value) -> bool {
    compare(one, other) == Ordering::Equal
}

/// An order of all JSON values in which equal ones are next to each other.
pub fn compare(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
        (Value::Number(one), Value::Number(other)) => number::compare(one, other),
        (Value::String(one), Value::String(other)) => one.cmp(other),
        (Value::Array(one), Value::Array(other)) => {
            let elements = || {
                one.iter()
                    .zip(other)
                    .map(|(one, other)| compare(one, other))
            };
            one.len().cmp(&other.len()).then_with(|| first(elements()))
        }
        (Value::Object(one), Value::Object(other)) => compare_members(one, other),
        _ => rank(one).cmp(&rank(other)),
    }
}

/// Whether no two elements are the same value.
pub fn unique(elements: &[Value]) -> bool {
    if elements.len() <= FEW {
        let mut rest = elements;
        while let Some((one, others)) = rest.split_first() {
            if others.iter().any(|other| equal(one, other)) {
                return false;
            }
            rest = others;
        }
        return true;
    }
    let mut sorted: Vec<&Value> = elements.iter().collect();
    sorted.sort_unstable_by(|one, other| compare(one, other));
    sorted.windows(2).all(|pair| match pair {
        [one, other] => !equal(one, other),
        _ => true,
    })
}

/// Objects keep their members in the order of their names.
fn compare_members(one: &Map<String, Value>, other: &Map<String, Value>) -> Ordering {
    let members = || {
        one.iter()
            .zip(other)
            .map(|((name, value), (other_name, other_value))| {
                name.cmp(other_name)
                    .then_with(|| compare(value, other_value))
            })
    };
    one.len().cmp(&other.len()).then_with(|| first(members()))
}

fn first(mut orders: impl Iterator<Item = Ordering>) -> Ordering {
    orders
        .find(|order| *order != Ordering::Equal)
        .unwrap_or(Ordering::Equal)
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn values_are_equal_by_value_and_kind() {
        assert!(equal(&json!({"a": [1, 2.0]}), &json!({"a": [1.0, 2]})));
        for (one, other) in [
            (json!(0), json!(false)),
            (json!(null), json!(false)),
            (json!("1"), json!(1)),
            (json!([1, 2]), json!([2, 1])),
            (json!({"a": 1}), json!({"b": 1})),
            (json!({}), json!([])),
        ] {
            assert!(!equal(&one, &other), "{one} {other}");
        }
    }

    #[test]
    fn repeated_elements_are_found_in_lists_of_any_length() {
        assert!(unique(&[]) && unique(&[json!(1)]));
        assert!(!unique(&[json!(1), json!("1"), json!(1.0)]));
        let mut many: Vec<Value> = (0..5_000)
            .map(|n| json!({"n": n, "s": "x".repeat(20)}))
            .collect();
        assert!(unique(&many));
        many.push(json!({"s": "x".repeat(20), "n": 77.0}));
        assert!(!unique(&many));
    }
}
