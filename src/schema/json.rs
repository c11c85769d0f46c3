//! One pass over the bytes of a JSON text (RFC 8259) that both reads it and refuses what two
//! readers could read differently: duplicate members, invalid UTF-8, a byte order mark, lone
//! surrogates, trailing text, too deep or too many values.
//!
//! Numbers: integers of 64 bits are exact, every other number is the nearest IEEE 754 double
//! (RFC 8259 §6), and one beyond the range of doubles is refused.

use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Value};

/// Bounds on one JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many arrays and objects may nest; at most [`Limits::DEEPEST`].
    pub depth: usize,
    /// How many members and elements all objects and arrays may have together.
    pub values: usize,
    /// How long a string or a member's name may be, in bytes of UTF-8 once decoded.
    pub string: usize,
}

impl Limits {
    /// No limit on depth may be above this: deeper texts would exhaust the parser's stack.
    pub const DEEPEST: usize = 120;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 64,
            values: 100_000,
            string: usize::MAX,
        }
    }
}

/// Why a text was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not one JSON text in UTF-8; holds what is wrong and where, never a piece of the text.
    Syntax(String),
    /// A member is named twice: JSON Pointer (RFC 6901) to its second occurrence.
    Duplicate(String),
    /// Nested deeper than allowed: pointer to the value that goes too deep.
    TooDeep(String),
    /// More members and elements than allowed.
    TooMany,
    /// A string longer than allowed: pointer to it, or to the object whose member's name it is.
    TooLong(String),
}

/// The text that the bytes are: UTF-8, and without a byte order mark.
pub fn text(bytes: &[u8]) -> Result<&str, Fault> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(Fault::Syntax("it begins with a byte order mark".into()));
    }
    std::str::from_utf8(bytes)
        .map_err(|error| Fault::Syntax(format!("byte {} is not UTF-8", error.valid_up_to())))
}

/// Reads one JSON text.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Value, Fault> {
    parse_text(text(bytes)?, limits)
}

/// Reads one JSON text that is known to be UTF-8.
pub fn parse_text(text: &str, limits: &Limits) -> Result<Value, Fault> {
    let mut reader = Reader::within(Spent::new(limits));
    let mut source = serde_json::Deserializer::from_str(text);
    let read = reader
        .deserialize(&mut source)
        .and_then(|value| source.end().map(|()| value));
    read.map_err(|error| reader.fault().unwrap_or_else(|| syntax(&error)))
}

fn syntax(error: &serde_json::Error) -> Fault {
    let what = if error.is_eof() {
        "it ends too early"
    } else {
        "the text is not JSON"
    };
    Fault::Syntax(format!(
        "{what} at line {} column {}",
        error.line(),
        error.column()
    ))
}

/// How much of its limits a text has taken while it is being read.
#[derive(Clone, Copy, Debug)]
pub struct Spent<'l> {
    limits: &'l Limits,
    depth: usize,
    values: usize,
}

impl<'l> Spent<'l> {
    /// That of a text of which nothing has been read.
    pub fn new(limits: &'l Limits) -> Self {
        Self {
            limits,
            depth: 0,
            values: 0,
        }
    }

    /// Begins an array or object; whether it may be there.
    pub fn enter(&mut self) -> bool {
        self.depth += 1;
        self.depth <= self.limits.depth.min(Limits::DEEPEST)
    }

    /// Ends an array or object.
    pub fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Whether no array or object has begun.
    pub fn is_outermost(&self) -> bool {
        self.depth == 0
    }

    /// Counts a member or an element; whether it may be there.
    pub fn count(&mut self) -> bool {
        self.values += 1;
        self.values <= self.limits.values
    }

    /// How many members and elements have been counted since then.
    pub fn values_since(&self, before: Self) -> usize {
        self.values - before.values
    }

    /// Whether a string or a member's name may be that long.
    pub fn fits(&self, string: &str) -> bool {
        string.len() <= self.limits.string
    }
}

enum Step {
    Member(String),
    Element(usize),
}

/// Our own verdict; serde's error type could only carry it as text.
#[derive(Clone, Copy)]
enum Verdict {
    Duplicate,
    TooDeep,
    TooMany,
    TooLong,
}

/// Reads values into memory.
pub struct Reader<'l> {
    spent: Spent<'l>,
    verdict: Option<Verdict>,
    /// The way to what the verdict is about, its last step first. Noted on the way back from there,
    /// so that it costs nothing where all is well.
    way: Vec<Step>,
}

impl<'l> Reader<'l> {
    /// Goes on with a text of which so much has been read.
    pub fn within(spent: Spent<'l>) -> Self {
        Self {
            spent,
            verdict: None,
            way: Vec::new(),
        }
    }

    /// How much has been read.
    pub fn spent(&self) -> Spent<'l> {
        self.spent
    }

    fn fault(&self) -> Option<Fault> {
        Some(match self.verdict? {
            Verdict::Duplicate => Fault::Duplicate(self.pointer()),
            Verdict::TooDeep => Fault::TooDeep(self.pointer()),
            Verdict::TooMany => Fault::TooMany,
            Verdict::TooLong => Fault::TooLong(self.pointer()),
        })
    }

    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in self.way.iter().rev() {
            push_step(&mut pointer, step);
        }
        pointer
    }

    fn fail<E: de::Error>(&mut self, verdict: Verdict) -> E {
        self.verdict = Some(verdict);
        E::custom("")
    }

    fn must<E: de::Error>(&mut self, held: bool, verdict: Verdict) -> Result<(), E> {
        if held {
            Ok(())
        } else {
            Err(self.fail(verdict))
        }
    }

    fn string<E: de::Error>(&mut self, string: &str) -> Result<(), E> {
        let fits = self.spent.fits(string);
        self.must(fits, Verdict::TooLong)
    }

    fn enter<E: de::Error>(&mut self) -> Result<(), E> {
        let may = self.spent.enter();
        self.must(may, Verdict::TooDeep)
    }

    fn count<E: de::Error>(&mut self) -> Result<(), E> {
        let may = self.spent.count();
        self.must(may, Verdict::TooMany)
    }

    /// Notes a step of the way back from what the verdict is about.
    fn came_by(&mut self, step: impl FnOnce() -> Step) {
        if self.verdict.is_some() {
            self.way.push(step());
        }
    }
}

fn push_step(pointer: &mut String, step: &Step) {
    pointer.push('/');
    match step {
        Step::Member(name) => pointer.push_str(&name.replace('~', "~0").replace('/', "~1")),
        Step::Element(index) => pointer.push_str(&index.to_string()),
    }
}

impl<'de> DeserializeSeed<'de> for &mut Reader<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        self.string(value)?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut elements = Vec::new();
        loop {
            let element = source
                .next_element_seed(&mut *self)
                .inspect_err(|_| self.came_by(|| Step::Element(elements.len())))?;
            let Some(element) = element else { break };
            self.count()?;
            elements.push(element);
        }
        self.spent.leave();
        Ok(Value::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut members = Map::new();
        while let Some(name) = source.next_key::<String>()? {
            self.string(&name)?;
            self.count()?;
            let place = match members.entry(name) {
                Entry::Vacant(place) => place,
                Entry::Occupied(known) => {
                    let error = self.fail(Verdict::Duplicate);
                    self.came_by(|| Step::Member(known.key().clone()));
                    return Err(error);
                }
            };
            let value = source
                .next_value_seed(&mut *self)
                .inspect_err(|_| self.came_by(|| Step::Member(place.key().clone())))?;
            place.insert(value);
        }
        self.spent.leave();
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn read(text: &str) -> Result<Value, Fault> {
        parse(text.as_bytes(), &Limits::default())
    }

    fn is_syntax(read: Result<Value, Fault>) -> bool {
        matches!(read, Err(Fault::Syntax(_)))
    }

    #[test]
    fn reads_every_kind_of_value() {
        let text = r#" {"a": [1, -2, 0.5, true, null, "\u00e9\ud83d\ude00"], "b": {}} "#;
        assert_eq!(
            read(text),
            Ok(json!({"a": [1, -2, 0.5, true, null, "é😀"], "b": {}}))
        );
        assert_eq!(read("\"x\""), Ok(json!("x")));
    }

    #[test]
    fn duplicate_members_are_refused_however_they_are_written() {
        for (text, pointer) in [
            (r#"{"a":1,"a":2}"#, "/a"),
            (r#"{"a":1,"\u0061":2}"#, "/a"),
            (r#"[0,{"x~/y":1,"x~\/y":1}]"#, "/1/x~0~1y"),
            (r#"{"":1,"":1}"#, "/"),
        ] {
            assert_eq!(read(text), Err(Fault::Duplicate(pointer.into())), "{text}");
        }
        assert!(read(r#"{"a":{"a":1},"A":{"a":1}}"#).is_ok());
    }

    #[test]
    fn what_is_not_one_json_text_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "[1",
            "[1,]",
            "{\"a\":1,}",
            "{'a':1}",
            "{a:1}",
            "01",
            "+1",
            "1.",
            ".5",
            "NaN",
            "Infinity",
            "nul",
            "1 2",
            "{} {}",
            "{}\u{0}",
            "// c\n1",
            "\"a\nb\"",
            "\"\\x\"",
            "\u{feff}1",
            "\u{a0}1",
            "1e400",
            "-1e999",
        ] {
            assert!(is_syntax(read(text)), "{text:?}");
        }
    }

    #[test]
    fn lone_surrogates_and_invalid_utf8_are_refused() {
        for text in [
            r#""\ud800""#,
            r#""\udc00""#,
            r#""\ud800\u0041""#,
            r#"{"\udfff":1}"#,
        ] {
            assert!(is_syntax(read(text)), "{text}");
        }
        for text in [
            &b"\"\xff\""[..],
            b"\"\xc0\xaf\"",
            b"\"\xed\xa0\x80\"",
            b"\xfe\xff\0\"",
            b"{}\xff",
        ] {
            assert!(is_syntax(parse(text, &Limits::default())), "{text:?}");
        }
        assert_eq!(
            parse(b"\xef\xbb\xbf{}", &Limits::default()),
            Err(Fault::Syntax("it begins with a byte order mark".into()))
        );
    }

    #[test]
    fn numbers_have_one_defined_value() {
        assert_eq!(read("18446744073709551615"), Ok(json!(u64::MAX)));
        assert_eq!(read("-9223372036854775808"), Ok(json!(i64::MIN)));
        assert_eq!(
            read("18446744073709551616"),
            Ok(json!(18446744073709551616.0))
        );
        assert_eq!(read("1e2"), Ok(json!(100.0)));
        assert_eq!(read("1e-999"), Ok(json!(0.0)));
        let digits = "9".repeat(400);
        assert!(is_syntax(read(&digits)));
    }

    #[test]
    fn depth_is_bounded_at_the_limit_and_never_overflows_the_stack() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(&nested(64)).is_ok());
        assert_eq!(read(&nested(65)), Err(Fault::TooDeep("/0".repeat(64))));
        let deepest = Limits {
            depth: usize::MAX,
            ..Limits::default()
        };
        assert!(parse(nested(Limits::DEEPEST).as_bytes(), &deepest).is_ok());
        let too_deep = parse(nested(Limits::DEEPEST + 1).as_bytes(), &deepest);
        assert!(matches!(too_deep, Err(Fault::TooDeep(_))));
        assert!(matches!(read(&"[".repeat(1 << 20)), Err(Fault::TooDeep(_))));
        assert!(matches!(
            read(&"{\"a\":".repeat(100_000)),
            Err(Fault::TooDeep(_))
        ));
    }

    #[test]
    fn members_and_elements_are_counted_over_the_whole_text() {
        let limits = Limits {
            values: 3,
            ..Limits::default()
        };
        assert!(parse(br#"{"a":[1,2]}"#, &limits).is_ok());
        assert_eq!(parse(br#"{"a":[1,2],"b":1}"#, &limits), Err(Fault::TooMany));
        let wide = format!("[{}1]", "1,".repeat(1 << 19));
        assert_eq!(read(&wide), Err(Fault::TooMany));
    }

    #[test]
    fn long_strings_are_refused_with_their_place() {
        let limits = Limits {
            string: 3,
            ..Limits::default()
        };
        assert!(parse(br#"{"abc":"\u0041bc"}"#, &limits).is_ok());
        let long = parse(br#"{"a":["abcd"]}"#, &limits);
        assert_eq!(long, Err(Fault::TooLong("/a/0".into())));
        assert_eq!(
            parse(br#"{"abcd":1}"#, &limits),
            Err(Fault::TooLong(String::new()))
        );
    }
}
