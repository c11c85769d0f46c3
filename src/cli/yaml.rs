//! YAML 1.2 (and so JSON) to JSON values, remembering where each value stands.
//!
//! What YAML allows and a policy has no use for is refused with its line: duplicate keys, tags,
//! several documents, keys that are not text, numbers that JSON does not have.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};
use serde_json::{Map, Number, Value};

use crate::config::problem::Place;

/// Deepest nesting, as in the module's own JSON reader.
const MAX_DEPTH: usize = 100;
/// Most values of a document, aliases written out.
const MAX_VALUES: usize = 2_000_000;

/// Line and column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// A document and where its values stand.
#[derive(Debug)]
pub struct Document {
    /// The document as JSON.
    pub value: Value,
    positions: HashMap<Place, Position>,
}

/// Why a text is no document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where.
    pub position: Position,
    /// What is wrong.
    pub message: String,
}

impl Document {
    /// Reads one document.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut reader = Reader {
            events: Parser::new_from_str(text),
            positions: HashMap::new(),
            anchors: HashMap::new(),
            values: 0,
            last: Position { line: 1, column: 1 },
        };
        let value = reader.document()?;
        Ok(Self {
            value,
            positions: reader.positions,
        })
    }

    /// Where that place stands; for one that is not in the document, where its nearest parent does.
    pub fn position(&self, place: &Place) -> Option<Position> {
        let mut place = Some(place.clone());
        while let Some(current) = place {
            if let Some(position) = self.positions.get(&current) {
                return Some(*position);
            }
            place = current.parent();
        }
        None
    }
}

type Next<'a> = (Event<'a>, Position);

struct Reader<'a> {
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
    positions: HashMap<Place, Position>,
    anchors: HashMap<usize, (Value, usize)>,
    values: usize,
    last: Position,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Value, SyntaxError> {
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(_), _) => {}
                (Event::StreamEnd, at) => return Err(error(at, "the document is empty")),
                first => {
                    let value = self.value(first, &Place::root(), 0)?;
                    return self.end().map(|()| value);
                }
            }
        }
    }

    fn end(&mut self) -> Result<(), SyntaxError> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::DocumentEnd, _) => {}
                (_, at) => return Err(error(at, "a second document begins; write one per file")),
            }
        }
    }

    fn next(&mut self) -> Result<Next<'a>, SyntaxError> {
        match self.events.next() {
            Some(Ok((event, span))) => {
                self.last = position(&span.start);
                Ok((event, self.last))
            }
            Some(Err(found)) => Err(syntax(&found)),
            None => Err(error(self.last, "the document ends too early")),
        }
    }

    fn value(
        &mut self,
        (event, at): Next<'a>,
        place: &Place,
        depth: usize,
    ) -> Result<Value, SyntaxError> {
        let before = self.values;
        self.count(1, at)?;
        if depth > MAX_DEPTH {
            return Err(error(at, "nested too deeply"));
        }
        self.positions.entry(place.clone()).or_insert(at);
        let (value, anchor) = match event {
            Event::Alias(id) => {
                let Some((value, size)) = self.anchors.get(&id).cloned() else {
                    return Err(error(at, "an alias cannot lie inside what it stands for"));
                };
                self.count(size, at)?;
                (value, 0)
            }
            Event::Scalar(text, style, anchor, tag) => {
                (scalar(&text, style, tag.as_deref(), at)?, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                untagged(tag.as_deref(), at)?;
                (self.sequence(place, depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                untagged(tag.as_deref(), at)?;
                (self.mapping(place, depth)?, anchor)
            }
            _ => return Err(error(at, "a value is missing")),
        };
        if anchor > 0 {
            self.anchors
                .insert(anchor, (value.clone(), self.values - before));
        }
        Ok(value)
    }

    fn count(&mut self, values: usize, at: Position) -> Result<(), SyntaxError> {
        self.values = self.values.saturating_add(values);
        if self.values > MAX_VALUES {
            return Err(error(at, "the document is too large, aliases written out"));
        }
        Ok(())
    }

    fn sequence(&mut self, place: &Place, depth: usize) -> Result<Value, SyntaxError> {
        let mut elements = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::Array(elements)),
                first => {
                    let place = place.index(elements.len());
                    elements.push(self.value(first, &place, depth + 1)?);
                }
            }
        }
    }

    fn mapping(&mut self, place: &Place, depth: usize) -> Result<Value, SyntaxError> {
        let mut members = Map::new();
        loop {
            let (key, at) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Value::Object(members)),
                (Event::Scalar(text, ..), at) => (text.into_owned(), at),
                (_, at) => return Err(error(at, "a key must be text")),
            };
            if members.contains_key(&key) {
                return Err(error(at, &format!("`{key}` is here twice")));
            }
            let place = place.key(&key);
            // The key's position, not the value's: that is where an editor shall jump.
            self.positions.insert(place.clone(), at);
            let first = self.next()?;
            let value = self.value(first, &place, depth + 1)?;
            members.insert(key, value);
        }
    }
}

fn untagged(tag: Option<&Tag>, at: Position) -> Result<(), SyntaxError> {
    match tag {
        None => Ok(()),
        Some(tag) => Err(error(at, &format!("the tag `{tag}` has no meaning here"))),
    }
}

fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    at: Position,
) -> Result<Value, SyntaxError> {
    if tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str") {
        return Ok(Value::String(text.to_owned()));
    }
    untagged(tag, at)?;
    if style != ScalarStyle::Plain {
        return Ok(Value::String(text.to_owned()));
    }
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        other => match number(other, at)? {
            Some(number) => Value::Number(number),
            None => Value::String(other.to_owned()),
        },
    })
}

/// A number of YAML's core schema (YAML 1.2 §10.3.2), or `None` for what is text.
fn number(text: &str, at: Position) -> Result<Option<Number>, SyntaxError> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let radix = |prefix: &str, radix| {
        let digits = text
            .strip_prefix(prefix)
            .filter(|digits| !digits.is_empty())?;
        u64::from_str_radix(digits, radix).ok().map(Number::from)
    };
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Ok(Some(number));
    }
    if matches!(digits.to_ascii_lowercase().as_str(), ".inf" | ".nan") {
        return Err(error(at, "JSON has no infinity and no NaN"));
    }
    let numeric = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.contains(|c: char| c.is_ascii_digit())
        && digits
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    if !numeric {
        return Ok(None);
    }
    let plain = text.strip_prefix('+').unwrap_or(text);
    if let Ok(number) = plain.parse::<u64>() {
        return Ok(Some(number.into()));
    }
    if let Ok(number) = plain.parse::<i64>() {
        return Ok(Some(number.into()));
    }
    match plain.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Number::from_f64(number)),
        Ok(_) => Err(error(at, "the number is too large")),
        Err(_) => Ok(None),
    }
}

fn position(marker: &Marker) -> Position {
    Position {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

fn syntax(found: &ScanError) -> SyntaxError {
    error(position(found.marker()), found.info())
}

fn error(position: Position, message: &str) -> SyntaxError {
    SyntaxError {
        position,
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn value(text: &str) -> Value {
        Document::parse(text).unwrap().value
    }

    fn at(text: &str) -> (usize, usize) {
        let position = Document::parse(text).unwrap_err().position;
        (position.line, position.column)
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        assert_eq!(
            value(
                "[a, 1, -2, 1.5, 0x1f, 0o17, true, no, ~, '1', 5m, 1.2.3, 1e3, +4, 2024-01-01, \"\", .5]"
            ),
            json!([
                "a",
                1,
                -2,
                1.5,
                31,
                15,
                true,
                "no",
                null,
                "1",
                "5m",
                "1.2.3",
                1000.0,
                4,
                "2024-01-01",
                "",
                0.5
            ])
        );
        assert_eq!(value("!!str 5"), json!("5"));
        assert_eq!(
            value("{\"a\": [1, {\"b\": null}]}"),
            json!({"a": [1, {"b": null}]})
        );
    }

    #[test]
    fn places_lead_back_to_lines() {
        let document = Document::parse("a:\n  - b: 1\n  - \"c d\": 2\n").unwrap();
        let place = Place::root().key("a").index(1).key("c d");
        let position = document.position(&place).unwrap();
        assert_eq!((position.line, position.column), (3, 5));
        let missing = Place::root().key("a").index(0).key("x").key("y");
        assert_eq!(document.position(&missing).unwrap().line, 2);
    }

    #[test]
    fn aliases_are_written_out_but_not_without_end() {
        assert_eq!(value("a: &x [1]\nb: *x"), json!({"a": [1], "b": [1]}));
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let alias = format!("*a{}", level - 1);
            bomb += &format!(
                "a{level}: &a{level} [{}]\n",
                [alias.as_str(); 10].join(", ")
            );
        }
        assert!(
            Document::parse(&bomb)
                .unwrap_err()
                .message
                .contains("too large")
        );
        assert!(Document::parse("a: &x [*x]").is_err());
    }

    #[test]
    fn what_a_policy_has_no_use_for_is_refused_with_its_line() {
        assert_eq!(at("a: 1\na: 2\n"), (2, 1));
        assert_eq!(at("a: 1\n---\nb: 2\n"), (2, 1));
        assert_eq!(at("a: !x 1"), (1, 4));
        assert_eq!(at("? [a]\n: 1").0, 1);
        assert_eq!(at("a: .nan").0, 1);
        assert_eq!(at("a: 1e999").0, 1);
        assert!(Document::parse("a: [1").is_err());
        assert!(Document::parse("").is_err());
        assert!(Document::parse(&"[".repeat(10_000)).is_err());
    }
}
