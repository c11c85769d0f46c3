//! Forms: the fields of `application/x-www-form-urlencoded` and `multipart/form-data` bodies, put
//! together to the object that the schema describes.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::engine::Schema;
use super::explain;
use super::json::{self, Limits};
use super::media::{MediaRange, MediaType};
use super::multipart::Part;
use super::params::{
    Encoding, Form, Members, Pair, Plan, Reading, SplitError, Style, Text, bracket_steps,
    query_pairs, split_members, split_named,
};
use crate::reply::Violation;

/// What a form must hold.
#[derive(Clone, Debug, Default)]
pub struct FormRule {
    /// What the object of all fields must be.
    pub schema: Option<Schema>,
    /// What text may stand for.
    pub members: Members,
    /// What is said of single fields.
    pub fields: BTreeMap<String, FieldRule>,
}

/// What is said of one field (OpenAPI 3.1, "Encoding Object").
#[derive(Clone, Debug, Default)]
pub struct FieldRule {
    /// How it is written, in a URL-encoded form; as JSON where it is an object and nothing is said.
    pub style: Option<(Style, bool)>,
    /// Accepted types of its parts, in a multipart form; empty accepts any.
    pub types: Vec<MediaRange>,
    /// Largest part, in bytes.
    pub max_bytes: Option<usize>,
}

/// Why a form is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormFault {
    /// It does not decode, or is not in its style.
    Malformed(Violation),
    /// A field with one value came several times.
    Repeated(Violation),
    /// A part breaks what is said of its field.
    Part(Violation),
    /// The object of all fields breaks the schema.
    Mismatch(Vec<Violation>),
}

/// A field's value before types are read into it.
#[derive(Clone, Debug)]
enum Leaf {
    Text(Text),
    Json(Value),
    /// Several parts of one name.
    List(Vec<Leaf>),
}

impl FormRule {
    /// Checks a URL-encoded form (<https://url.spec.whatwg.org/#application/x-www-form-urlencoded>).
    pub fn check_urlencoded(&self, body: &[u8], limits: &Limits) -> Result<(), FormFault> {
        let malformed = |expected| FormFault::Malformed(at("", "form", expected));
        let pairs = query_pairs(body).map_err(|_| malformed("percent-encoded UTF-8"))?;
        if pairs.len() > limits.values {
            return Err(malformed("fewer fields"));
        }
        // Looked up by name: a search per pair would let a small body cost a lot of time.
        let mut left: BTreeMap<String, Vec<&[u8]>> = BTreeMap::new();
        for Pair { name, value } in pairs {
            left.entry(name).or_default().push(value);
        }
        let mut fields = Vec::new();
        for (name, plan) in &self.members.named {
            let style = self.fields.get(name).and_then(|field| field.style);
            let leaf = if let Some((Style::DeepObject, _)) = style {
                read_brackets(name, &mut left)?
            } else {
                let values = left.remove(name);
                let read = |values: Vec<_>| read_values(name, plan, style, &values, limits);
                values.map(read).transpose()?
            };
            fields.extend(leaf.map(|leaf| (name.clone(), leaf)));
        }
        let text = Plan::text();
        let other = self.members.others.as_ref().unwrap_or(&text);
        for (name, values) in left {
            let leaf = read_values(&name, other, None, &values, limits)?;
            fields.push((name, leaf));
        }
        self.check_fields(fields)
    }

    /// Checks the parts of a multipart form.
    pub fn check_parts(&self, parts: Vec<Part<'_>>, limits: &Limits) -> Result<(), FormFault> {
        let mut fields: Vec<(String, Leaf)> = Vec::new();
        for part in parts {
            let name = part.name.clone();
            let leaf = self.read_part(part, limits)?;
            match fields.iter_mut().find(|(held, _)| *held == name) {
                None => fields.push((name, leaf)),
                Some((_, Leaf::List(list))) => list.push(leaf),
                Some((_, held)) => {
                    let first = std::mem::replace(held, Leaf::List(Vec::new()));
                    *held = Leaf::List(vec![first, leaf]);
                }
            }
        }
        self.check_fields(fields)
    }

    fn read_part(&self, part: Part<'_>, limits: &Limits) -> Result<Leaf, FormFault> {
        let name = &part.name;
        let rule = self.fields.get(name);
        if let Some(rule) = rule {
            rule.check(&part)?;
        }
        let plan = self
            .members
            .named
            .get(name)
            .or(self.members.others.as_ref());
        let structured = plan.is_some_and(|plan| {
            let element = plan.array.as_deref().unwrap_or(plan);
            element.forms().all(|form| form != Form::Scalar)
        });
        let media = part.media.as_ref();
        let json = media.map_or(structured, MediaType::is_json);
        if json && !part.is_file {
            if !media.is_none_or(MediaType::is_utf8) {
                return Err(FormFault::Part(at(name, "contentType", "UTF-8")));
            }
            return read_json(name, part.content, limits);
        }
        let text = media.is_none_or(|media| media.is_text() && media.is_utf8());
        if part.is_file || !text {
            // OpenAPI counts a file's bytes as the characters of a string.
            let stand_in = "0".repeat(part.content.len());
            return Ok(Leaf::Json(Value::String(stand_in)));
        }
        let malformed = |_| FormFault::Malformed(at(name, "form", "text in UTF-8"));
        let text = std::str::from_utf8(part.content).map_err(malformed)?;
        Ok(Leaf::Text(Text::One(text.to_owned())))
    }

    fn check_fields(&self, fields: Vec<(String, Leaf)>) -> Result<(), FormFault> {
        let plans = self.members.named.values().chain(&self.members.others);
        let ambiguous = plans.into_iter().any(Plan::is_ambiguous);
        let typed = self.check_reading(fields.clone(), Reading::Typed);
        match typed {
            Err(FormFault::Mismatch(_)) if ambiguous => {
                self.check_reading(fields, Reading::Textual).or(typed)
            }
            outcome => outcome,
        }
    }

    fn check_reading(
        &self,
        fields: Vec<(String, Leaf)>,
        reading: Reading,
    ) -> Result<(), FormFault> {
        let text = Plan::text();
        let mut object = Map::new();
        for (name, leaf) in fields {
            let named = self.members.named.get(&name);
            let plan = named.or(self.members.others.as_ref()).unwrap_or(&text);
            let value = leaf
                .read(plan, reading)
                .map_err(|error| split_fault(&name, error))?;
            object.insert(name, value);
        }
        let Some(schema) = &self.schema else {
            return Ok(());
        };
        let checked = schema.check(Value::Object(object), "body");
        checked.map_err(|mismatch| FormFault::Mismatch(mismatch.violations))
    }
}

impl FieldRule {
    fn check(&self, part: &Part<'_>) -> Result<(), FormFault> {
        if let Some(most) = self.max_bytes
            && part.content.len() > most
        {
            let expected = format!("at most {most} bytes");
            return Err(FormFault::Part(at(&part.name, "maxBytes", &expected)));
        }
        if self.types.is_empty() {
            return Ok(());
        }
        // RFC 7578 §4.4: a part without a type is plain text.
        let plain = MediaType::parse(b"text/plain");
        let media = part.media.as_ref().or(plain.as_ref());
        let fits = |media: &MediaType| self.types.iter().any(|range| range.fit(media).is_some());
        if media.is_some_and(fits) {
            return Ok(());
        }
        let names: Vec<_> = self.types.iter().map(ToString::to_string).collect();
        let expected = format!("content of {}", names.join(" or "));
        Err(FormFault::Part(at(&part.name, "contentType", &expected)))
    }
}

impl Leaf {
    fn read(self, plan: &Plan, reading: Reading) -> Result<Value, SplitError> {
        match (self, &plan.array) {
            (Self::Text(text), _) => plan.read(text, reading),
            (Self::Json(value @ Value::Array(_)), _) => Ok(value),
            (Self::Json(value), Some(_)) if plan.forms().all(|form| form != Form::Scalar) => {
                Ok(Value::Array(vec![value]))
            }
            (Self::Json(value), _) => Ok(value),
            (Self::List(leaves), Some(element)) => {
                let read = leaves.into_iter().map(|leaf| leaf.read(element, reading));
                Ok(Value::Array(read.collect::<Result<_, _>>()?))
            }
            (Self::List(_), None) => Err(SplitError::Repeated),
        }
    }
}

/// Reads all values that came under one name.
fn read_values(
    name: &str,
    plan: &Plan,
    style: Option<(Style, bool)>,
    values: &[&[u8]],
    limits: &Limits,
) -> Result<Leaf, FormFault> {
    let fault = |error| split_fault(name, error);
    let scalar = plan.forms().any(|form| form == Form::Scalar);
    let (style, explode) = style.unwrap_or((Style::Form, true));
    if plan.array.is_some() && (values.len() > 1 || !scalar) {
        let list = split_named(values, style, explode, Form::Array, Encoding::Query);
        return list.map(Leaf::Text).map_err(fault);
    }
    let [value] = values else {
        return Err(fault(SplitError::Repeated));
    };
    let object = plan.object.is_some() && !scalar;
    if object && !explode {
        let object = split_named(values, style, false, Form::Object, Encoding::Query);
        return object.map(Leaf::Text).map_err(fault);
    }
    let text = Encoding::Query.decode(value).map_err(fault)?;
    if object {
        read_json(name, text.as_bytes(), limits)
    } else {
        Ok(Leaf::Text(Text::One(text)))
    }
}

/// Takes out what came as `name[key]`.
fn read_brackets(
    name: &str,
    left: &mut BTreeMap<String, Vec<&[u8]>>,
) -> Result<Option<Leaf>, FormFault> {
    let prefix = format!("{name}[");
    let own: Vec<_> = left
        .range(prefix.clone()..)
        .take_while(|(written, _)| written.starts_with(&prefix))
        .filter_map(|(written, _)| Some((written.clone(), bracket_steps(written, name)?)))
        .collect();
    if own.is_empty() {
        return Ok(None);
    }
    let mut members = Vec::new();
    for (written, steps) in own {
        for value in left.remove(&written).unwrap_or_default() {
            members.push((steps.clone(), value));
        }
    }
    let object = split_members(members, Encoding::Query);
    let object = object.map_err(|error| split_fault(name, error))?;
    Ok(Some(Leaf::Text(object)))
}

fn read_json(name: &str, text: &[u8], limits: &Limits) -> Result<Leaf, FormFault> {
    let malformed =
        |_| FormFault::Malformed(at(name, "content", "one JSON text without duplicates"));
    json::parse(text, limits).map(Leaf::Json).map_err(malformed)
}

fn split_fault(name: &str, error: SplitError) -> FormFault {
    match error {
        SplitError::Repeated => FormFault::Repeated(at(name, "form", "one value")),
        SplitError::Malformed => FormFault::Malformed(at(name, "form", "percent-encoded UTF-8")),
        SplitError::Style => FormFault::Malformed(at(
            name,
            "style",
            "a value in the style that the API describes",
        )),
    }
}

fn at(name: &str, keyword: &str, expected: &str) -> Violation {
    let pointer = if name.is_empty() {
        String::new()
    } else {
        explain::below("", name)
    };
    explain::violation("body", pointer, keyword, expected.to_owned())
}
