//! What the engine would take silently: keywords, types and formats that are misspelled, and
//! patterns that never match.

use serde_json::{Map, Value};

use super::super::keywords::{
    ANNOTATIONS, APPLICATORS, FORMATS, NUMBER_FORMATS, OTHER_KEYWORDS, TYPES,
};
use super::{Here, Pattern, Walk};
use crate::config::problem::{Place, did_you_mean};
use crate::schema::ShapeId;

impl Walk<'_, '_> {
    pub(super) fn check_keywords(
        &mut self,
        keywords: &Map<String, Value>,
        here: &Here,
        id: ShapeId,
    ) {
        let known = || {
            let applicators = APPLICATORS.iter().map(|(name, ..)| *name);
            applicators.chain(OTHER_KEYWORDS.iter().copied())
        };
        for (keyword, value) in keywords {
            let at = here.place.key(keyword);
            match (keyword.as_str(), value) {
                ("nullable", _) => self.problems.add(
                    &at,
                    "is OpenAPI 3.0 and means nothing in JSON Schema; add `null` to `type` instead",
                ),
                ("type", _) => self.check_type(value, &at),
                ("format", Value::String(format)) => self.check_format(format, &at),
                ("pattern", Value::String(pattern)) => self.check_pattern(pattern, at, id),
                ("patternProperties", Value::Object(named)) => {
                    for pattern in named.keys() {
                        self.check_pattern(pattern, at.key(pattern), id);
                    }
                }
                (name, _) if known().any(|one| one == name) || ANNOTATIONS.contains(&name) => {}
                (name, _) => {
                    let near = did_you_mean(name, known());
                    if !near.is_empty() {
                        self.problems
                            .add(&at, format!("`{name}` is no keyword of JSON Schema{near}"));
                    }
                }
            }
        }
    }

    fn check_type(&mut self, value: &Value, at: &Place) {
        let names: Vec<&Value> = match value {
            Value::Array(names) => names.iter().collect(),
            one => vec![one],
        };
        for name in names {
            let text = name.as_str().unwrap_or_default();
            if !TYPES.contains(&text) {
                let near = did_you_mean(text, TYPES.iter().copied());
                let message = format!("{name} is no type; known are {}{near}", TYPES.join(", "));
                self.problems.add(at, message);
            }
        }
    }

    fn check_format(&mut self, format: &str, at: &Place) {
        let numbers = NUMBER_FORMATS.iter().map(|(name, ..)| *name);
        let asserted = FORMATS.iter().copied().chain(numbers);
        if format == "idn-hostname" {
            self.problems.add(
                at,
                "is not asserted: its tables would make the module much larger; write `hostname` \
                 for names in their ASCII form, or a `pattern`",
            );
        } else if !asserted.clone().any(|known| known == format) {
            let near = did_you_mean(format, asserted);
            if !near.is_empty() {
                let message = format!("`{format}` is no known format{near}");
                self.problems.add(at, message);
            }
        }
    }

    fn check_pattern(&mut self, pattern: &str, place: Place, shape: ShapeId) {
        if pattern.starts_with("/^") || pattern.len() > 2 && pattern.ends_with("$/") {
            self.problems.add(
                &place,
                "can never match: JSON Schema patterns stand without slashes around them",
            );
        }
        let text = pattern.to_owned();
        self.patterns.push(Pattern { place, text, shape });
    }
}
