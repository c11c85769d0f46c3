//! Accepts values while they are being read, without keeping them.
//!
//! It only ever accepts. Whatever it finds wrong or does not decide ends the reading, and the text
//! is then read and checked as a whole, which is what refuses it and says why. So nothing here may
//! accept what that would not: values are read by the same parser, rules are kept by the same
//! functions, and each step costs at least as much.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use super::budget::Budget;
use super::check::Check;
use super::node::{Arena, Kind, Rule};
use super::number::is_whole;
use super::plan::{ANY, Effort, Fields, Marks, PlanId, Plans, Scalar, Step};
use crate::schema::json::{Limits, Reader, Spent};

/// Up to this many names, comparing each with each is faster than sorting.
const FEW: usize = 8;

/// Whether the text is one JSON text within the limits whose value follows the plan. `false` says
/// nothing.
pub fn accepts(arena: &Arena, plans: &Plans, plan: PlanId, text: &str, limits: &Limits) -> bool {
    let mut stream = Stream {
        plans,
        check: Check::with(arena, Budget::for_reading()),
        spent: Spent::new(limits),
        names: Vec::new(),
    };
    let mut source = serde_json::Deserializer::from_str(text);
    let stream = &mut stream;
    At { stream, plan }.deserialize(&mut source).is_ok() && source.end().is_ok()
}

struct Stream<'s, 'de> {
    plans: &'s Plans,
    check: Check<'s, 'static>,
    spent: Spent<'s>,
    /// Names of members of the objects being read, but for those that their plans name.
    names: Vec<Cow<'de, str>>,
}

impl<'s, 'de> Stream<'s, 'de> {
    fn step(&self, plan: PlanId, kind: Kind) -> &'s Step {
        self.plans.step(plan, kind)
    }

    fn begin(&mut self, effort: Effort) -> bool {
        self.check.budget.grow(1);
        self.check.descend(effort.nesting, effort.cost)
    }

    fn end(&mut self, effort: Effort) {
        self.check.ascend(effort.nesting);
    }

    fn scalar(&mut self, plan: PlanId, value: &Value) -> bool {
        match self.step(plan, Kind::of(value)) {
            Step::Accept => true,
            Step::Scalar(scalar) => {
                let number = value.as_number().filter(|_| scalar.whole);
                number.is_none_or(is_whole)
                    && self.keeps(scalar, |check, rule| check.rule(rule, value, None))
            }
            Step::Whole => self.whole(plan, value),
            _ => false,
        }
    }

    fn text(&mut self, plan: PlanId, text: &str) -> bool {
        match self.step(plan, Kind::Text) {
            Step::Accept => true,
            Step::Scalar(scalar) => self.keeps(scalar, |check, rule| check.keeps_text(rule, text)),
            Step::Whole => self.whole(plan, &Value::String(text.to_owned())),
            _ => false,
        }
    }

    fn keeps(
        &mut self,
        scalar: &Scalar,
        mut keeps: impl FnMut(&mut Check<'s, 'static>, &'s Rule) -> bool,
    ) -> bool {
        if !self.begin(scalar.effort) {
            return false;
        }
        let arena = self.check.arena;
        let kept = scalar.rules.iter().all(|(node, at)| {
            let rule = arena
                .node(*node)
                .and_then(|node| node.rules.get(*at as usize));
            rule.is_some_and(|rule| keeps(&mut self.check, rule))
        });
        self.end(scalar.effort);
        kept
    }

    /// Checks a value that has been read.
    fn whole(&mut self, plan: PlanId, value: &Value) -> bool {
        self.check.forget();
        let nodes = self.plans.nodes(plan);
        let valid = nodes.iter().all(|id| self.check.valid(*id, value, None));
        valid && !self.check.budget.is_spent()
    }

    /// Reads a value into memory, and checks it.
    fn read_whole<E: de::Error>(
        &mut self,
        plan: PlanId,
        read: impl FnOnce(&mut Reader<'s>) -> Result<Value, E>,
    ) -> Result<(), E> {
        // Where that is all there is to do, it is not done twice.
        if self.spent.is_outermost() {
            return give_up();
        }
        let mut reader = Reader::within(self.spent);
        let value = read(&mut reader)?;
        let before = std::mem::replace(&mut self.spent, reader.spent());
        self.check.budget.grow(1 + self.spent.values_since(before));
        must(self.whole(plan, &value))
    }

    /// Takes note of a member's name; its plan.
    fn member(
        &mut self,
        fields: Option<&Fields>,
        name: Name<'de>,
        marks: &mut Marks,
    ) -> Option<PlanId> {
        match name {
            Name::Known(index, plan) => marks.add(index).then_some(plan),
            Name::Other(name) => {
                self.names.push(name);
                Some(fields.map_or(ANY, |fields| fields.others))
            }
        }
    }

    /// Forgets the names from there on; whether each was there once.
    fn each_name_once(&mut self, from: usize) -> bool {
        let names = self.names.get_mut(from..).unwrap_or_default();
        let once = if names.len() <= FEW {
            let before = |at| names.iter().take(at);
            let mut each = names.iter().enumerate();
            each.all(|(at, one)| before(at).all(|other| other != one))
        } else {
            names.sort_unstable();
            names
                .windows(2)
                .all(|pair| !matches!(pair, [one, other] if one == other))
        };
        self.names.truncate(from);
        once
    }
}

/// Ends the reading; the text of the error is never shown.
fn give_up<T, E: de::Error>() -> Result<T, E> {
    Err(E::custom(""))
}

fn must<E: de::Error>(held: bool) -> Result<(), E> {
    if held { Ok(()) } else { give_up() }
}

/// A value about to be read.
struct At<'a, 's, 'de> {
    stream: &'a mut Stream<'s, 'de>,
    plan: PlanId,
}

impl<'de> DeserializeSeed<'de> for At<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        must(self.stream.scalar(self.plan, &Value::Null))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        must(self.stream.scalar(self.plan, &Value::Bool(value)))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        must(self.stream.scalar(self.plan, &Value::Number(value.into())))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        must(self.stream.scalar(self.plan, &Value::Number(value.into())))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        let number = Number::from_f64(value).map(Value::Number);
        must(number.is_some_and(|number| self.stream.scalar(self.plan, &number)))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        must(self.stream.spent.fits(value) && self.stream.text(self.plan, value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<(), A::Error> {
        let Self { stream, plan } = self;
        let elements = match stream.step(plan, Kind::Elements) {
            Step::Accept => None,
            Step::Elements(elements) => Some(&**elements),
            Step::Whole => return stream.read_whole(plan, |reader| reader.visit_seq(source)),
            _ => return give_up(),
        };
        let effort = elements.map(|elements| elements.effort).unwrap_or_default();
        must(stream.spent.enter() && stream.begin(effort))?;
        let mut length = 0;
        loop {
            let plan = elements.map_or(ANY, |elements| elements.plan(length));
            let stream = &mut *stream;
            if source.next_element_seed(At { stream, plan })?.is_none() {
                break;
            }
            must(stream.spent.count())?;
            length += 1;
        }
        if let Some(elements) = elements {
            let length = length as u64;
            let counted = (elements.least..=elements.most).contains(&length);
            must(counted && stream.check.budget.spend(elements.each * length))?;
        }
        stream.end(effort);
        stream.spent.leave();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> Result<(), A::Error> {
        let Self { stream, plan } = self;
        let fields = match stream.step(plan, Kind::Members) {
            Step::Accept => None,
            Step::Members(fields) => Some(&**fields),
            Step::Whole => return stream.read_whole(plan, |reader| reader.visit_map(source)),
            _ => return give_up(),
        };
        let effort = fields.map(|fields| fields.effort).unwrap_or_default();
        must(stream.spent.enter() && stream.begin(effort))?;
        let others_from = stream.names.len();
        let mut marks = Marks::default();
        let mut length = 0;
        while let Some(name) = source.next_key_seed(NameAt { stream, fields })? {
            must(stream.spent.count())?;
            let Some(plan) = stream.member(fields, name, &mut marks) else {
                return give_up();
            };
            let stream = &mut *stream;
            source.next_value_seed(At { stream, plan })?;
            length += 1;
        }
        must(stream.each_name_once(others_from))?;
        if let Some(fields) = fields {
            must(fields.hold(&marks, length) && stream.check.budget.spend(fields.each * length))?;
        }
        stream.end(effort);
        stream.spent.leave();
        Ok(())
    }
}

/// The name of a member.
enum Name<'de> {
    /// One that the plan names: its place, and the plan of its value.
    Known(usize, PlanId),
    Other(Cow<'de, str>),
}

/// A member's name about to be read.
struct NameAt<'a, 's, 'de> {
    stream: &'a mut Stream<'s, 'de>,
    fields: Option<&'s Fields>,
}

impl<'de> NameAt<'_, '_, 'de> {
    fn known<E: de::Error>(&mut self, name: &str) -> Result<Option<Name<'de>>, E> {
        must(self.stream.spent.fits(name))?;
        let Some(fields) = self.fields else {
            return Ok(None);
        };
        must(fields.names == ANY || self.stream.text(fields.names, name))?;
        let found = fields.find(name);
        Ok(found.map(|(index, plan)| Name::Known(index, plan)))
    }
}

impl<'de> DeserializeSeed<'de> for NameAt<'_, '_, 'de> {
    type Value = Name<'de>;

    fn deserialize<D: de::Deserializer<'de>>(self, source: D) -> Result<Name<'de>, D::Error> {
        source.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for NameAt<'_, '_, 'de> {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_borrowed_str<E: de::Error>(mut self, name: &'de str) -> Result<Name<'de>, E> {
        let known = self.known(name)?;
        Ok(known.unwrap_or(Name::Other(Cow::Borrowed(name))))
    }

    fn visit_str<E: de::Error>(mut self, name: &str) -> Result<Name<'de>, E> {
        let known = self.known(name)?;
        Ok(known.unwrap_or_else(|| Name::Other(Cow::Owned(name.to_owned()))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::schema::engine::{Schema, Source, compile, is_json};
    use crate::schema::json::parse_text;

    fn schema(schema: &Value) -> Schema {
        let source = Source {
            uri: "test:///a".into(),
            name: None,
            schema,
        };
        let compiled = compile(&[source], &[0], &mut |_, _| None);
        let compiled = compiled.unwrap_or_else(|found| panic!("{schema}: {found:?}"));
        Schema::new(Arc::new(compiled), 0)
    }

    /// Whether the text is accepted while it is read; what is must be valid otherwise, too.
    fn accepts_within(schema: &Schema, text: &str, limits: &Limits) -> bool {
        let accepted = schema.accepts(text, limits);
        let valid = parse_text(text, limits).is_ok_and(|value| schema.check(value, "body").is_ok());
        assert!(valid || !accepted, "{text}");
        accepted
    }

    fn accepts(schema: &Schema, text: &str) -> bool {
        accepts_within(schema, text, &Limits::default())
    }

    #[test]
    fn everyday_schemas_are_checked_while_the_value_is_read() {
        for (asked, valid, invalid) in [
            (json!(true), "[{\"a\":[1,null]}]", "[{\"a\":1,\"a\":1}]"),
            (json!({"type": "integer"}), "2.0", "2.5"),
            (
                json!({"type": ["integer", "null"], "minimum": 3}),
                "null",
                "2",
            ),
            (json!({"multipleOf": 0.01}), "19.99", "19.995"),
            (json!({"const": "a"}), "\"\\u0061\"", "\"b\""),
            (json!({"enum": [1, true, "x"]}), "1.0", "[1]"),
            (
                json!({"type": "string", "pattern": "^a+$"}),
                "\"aa\"",
                "\"ab\"",
            ),
            (
                json!({"type": "string", "maxLength": 1}),
                "\"\u{e9}\"",
                "\"ab\"",
            ),
            (
                json!({"type": "string", "format": "date"}),
                "\"2024-02-29\"",
                "\"2023-02-29\"",
            ),
            (
                json!({"items": {"type": "null"}, "minItems": 1}),
                "[null]",
                "[]",
            ),
            (
                json!({"prefixItems": [{"type": "null"}], "items": false}),
                "[null]",
                "[null,1]",
            ),
            (
                json!({"required": ["a"], "properties": {"b": {"type": "null"}}}),
                "{\"a\":1,\"b\":null}",
                "{\"b\":null}",
            ),
            (
                json!({"properties": {"a": true}, "additionalProperties": false}),
                "{\"a\":1}",
                "{\"b\":1}",
            ),
            (
                json!({"additionalProperties": {"type": "null"}, "maxProperties": 1}),
                "{\"a\":null}",
                "{\"a\":null,\"b\":null}",
            ),
            (
                json!({"propertyNames": {"maxLength": 1}}),
                "{\"a\":1}",
                "{\"ab\":1}",
            ),
            (
                json!({"dependentRequired": {"a": ["b"]}}),
                "{\"b\":1}",
                "{\"a\":1}",
            ),
            (
                json!({"$ref": "#/$defs/x", "$defs": {"x": {"type": "null"}}}),
                "null",
                "1",
            ),
            (
                json!({"allOf": [{"required": ["a"]}, {"properties": {"a": {"minimum": 1}}}], "properties": {"a": {"maximum": 2}}}),
                "{\"a\":2}",
                "{\"a\":3}",
            ),
            (
                json!({"anyOf": [{"type": "object", "required": ["a"]}, {"type": "null"}]}),
                "{\"a\":1}",
                "{}",
            ),
            (
                json!({"properties": {"next": {"$ref": "#"}}, "required": ["v"]}),
                "{\"v\":1,\"next\":{\"v\":1}}",
                "{\"v\":1,\"next\":{}}",
            ),
        ] {
            let schema = schema(&asked);
            assert!(accepts(&schema, valid), "{asked} {valid}");
            assert!(!accepts(&schema, invalid), "{asked} {invalid}");
        }
    }

    #[test]
    fn parts_that_take_the_whole_value_are_read_alone() {
        let inner = json!({"oneOf": [{"required": ["x"]}, {"required": ["y"]}]});
        let schema = schema(&json!({"properties": {
            "a": inner,
            "b": {"type": "array", "uniqueItems": true},
            "c": {"not": {"type": "string", "minLength": 2}},
        }}));
        assert!(accepts(&schema, r#"{"a":{"x":[1]},"b":[1,2],"c":"a"}"#));
        for wrong in [
            r#"{"a":{"x":1,"y":1}}"#,
            r#"{"b":[1,1.0]}"#,
            r#"{"c":"ab"}"#,
        ] {
            assert!(!accepts(&schema, wrong), "{wrong}");
        }
        // The limits hold across what is read either way.
        let text = r#"{"a":{"x":[1]},"b":[1,2]}"#;
        for (values, depth, may) in [(6, 3, true), (5, 3, false), (6, 2, false)] {
            let limits = Limits {
                values,
                depth,
                ..Limits::default()
            };
            assert_eq!(accepts_within(&schema, text, &limits), may, "{limits:?}");
        }
    }

    #[test]
    fn a_root_that_takes_the_whole_value_is_not_read_twice() {
        for asked in [
            json!({"oneOf": [{"required": ["x"]}, {"required": ["y"]}]}),
            json!({"$dynamicRef": "#d", "$dynamicAnchor": "e", "$defs": {"d": {"$dynamicAnchor": "d"}}}),
        ] {
            assert!(!accepts(&schema(&asked), r#"{"x":1}"#), "{asked}");
        }
    }

    #[test]
    fn members_are_told_apart_however_many_and_however_written() {
        let schema = schema(&json!({"properties": {"a": {"type": "integer"}}}));
        for wrong in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"b":1,"\u0062":1}"#,
            r#"{"b":{"c":1,"c":1}}"#,
            r#"{"\u0061":"x"}"#,
        ] {
            assert!(!accepts(&schema, wrong), "{wrong}");
        }
        let many = |last: usize| {
            let names = (0..1_000).chain([last]);
            let members: Vec<_> = names.map(|name| format!("\"m{name}\":{{}}")).collect();
            format!("{{\"a\":1,{}}}", members.join(","))
        };
        assert!(accepts(&schema, &many(1_000)));
        assert!(!accepts(&schema, &many(500)));
    }

    #[test]
    fn nodes_that_combine_without_end_are_not_planned_without_end() {
        // Each level of the value doubles what must hold there.
        let doubled = json!({"$defs": {
            "a": {"properties": {"n": {"$ref": "#/$defs/b"}}, "required": ["v"]},
            "b": {"allOf": [{"$ref": "#/$defs/a"}, {"properties": {"n": {"$ref": "#/$defs/b"}}}]},
        }, "$ref": "#/$defs/b"});
        let schema = schema(&doubled);
        assert!(schema.schemas.plans.len() < 200);
        let nest = |levels: usize, last: &str| {
            (0..levels).fold(last.to_owned(), |inner, _| {
                format!("{{\"v\":1,\"n\":{inner}}}")
            })
        };
        assert!(accepts(&schema, &nest(5, "{\"v\":1}")));
        assert!(!accepts(&schema, &nest(5, "{}")));
    }

    #[test]
    fn what_no_limit_allows_is_not_accepted() {
        let limits = Limits {
            depth: 2,
            values: 3,
            string: 2,
        };
        for (text, may) in [
            ("[[1,1]]", true),
            ("[[[]]]", false),
            ("[1,1,1,1]", false),
            ("{\"a\":[1,1]}", true),
            ("{\"a\":[1,1,1]}", false),
            ("\"abc\"", false),
            ("{\"abc\":1}", false),
            ("1 2", false),
            ("[1", false),
            ("1e999", false),
            ("\"\\ud800\"", false),
        ] {
            assert_eq!(is_json(text, &limits), may, "{text}");
            assert_eq!(parse_text(text, &limits).is_ok(), may, "{text}");
        }
    }
}
