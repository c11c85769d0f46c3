//! What is wrong with a policy: every finding with its place in the document and its mend.

use std::fmt;
use std::ops::ControlFlow;

use deserr::{
    DeserializeError, ErrorKind, IntoValue, MergeWithError, ValueKind, ValuePointerRef,
    take_cf_content,
};

/// A place in the policy document, as `routes[3].access.claims[0].claim`.
///
/// A key that is not a plain name is written in brackets and quotes: `schemas["a b"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place(String);

impl Place {
    /// The whole document.
    pub fn root() -> Self {
        Self::default()
    }

    /// The member of that name.
    pub fn key(&self, key: &str) -> Self {
        let plain = !key.is_empty()
            && key
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'$'));
        let dot = if self.0.is_empty() { "" } else { "." };
        Self(if plain {
            format!("{}{dot}{key}", self.0)
        } else {
            format!("{}[{key:?}]", self.0)
        })
    }

    /// The element at that index.
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The place that this one lies in; `None` for the whole document.
    pub fn parent(&self) -> Option<Self> {
        let text = match self.0.strip_suffix(']') {
            // A quoted key may hold brackets of its own, so find where the quote began.
            Some(inner) if inner.ends_with('"') => self.0.rsplit_once("[\"").map(|(text, _)| text),
            Some(_) => self.0.rsplit_once('[').map(|(text, _)| text),
            None => Some(self.0.rsplit_once('.').map_or("", |(text, _)| text)),
        };
        (!self.0.is_empty()).then(|| Self(text.unwrap_or_default().to_owned()))
    }

    fn from_pointer(pointer: ValuePointerRef<'_>) -> Self {
        match pointer {
            ValuePointerRef::Origin => Self::root(),
            ValuePointerRef::Key { key, prev } => Self::from_pointer(*prev).key(key),
            ValuePointerRef::Index { index, prev } => Self::from_pointer(*prev).index(index),
        }
    }

    /// The place as text; empty for the whole document.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "policy" } else { &self.0 })
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Every finding of one compilation, in document order as far as it was walked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Adds a finding.
    pub fn add(&mut self, place: &Place, message: impl Into<String>) {
        self.0.push(Problem {
            place: place.clone(),
            message: message.into(),
        });
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What is allowed but may not be meant, each with its place and the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warnings(pub Vec<Problem>);

impl Warnings {
    /// Adds a finding.
    pub fn add(&mut self, place: &Place, message: impl Into<String>) {
        self.0.push(Problem {
            place: place.clone(),
            message: message.into(),
        });
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// `, did you mean `x`?`, where one of the known names is near; empty otherwise.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let nearest = known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1));
    match nearest {
        Some((_, candidate)) => format!(", did you mean `{candidate}`?"),
        None => String::new(),
    }
}

impl MergeWithError<Problems> for Problems {
    fn merge(
        held: Option<Self>,
        other: Problems,
        _: ValuePointerRef<'_>,
    ) -> ControlFlow<Self, Self> {
        let mut held = held.unwrap_or_default();
        held.0.extend(other.0);
        ControlFlow::Continue(held)
    }
}

impl DeserializeError for Problems {
    fn error<V: IntoValue>(
        held: Option<Self>,
        error: ErrorKind<'_, V>,
        location: ValuePointerRef<'_>,
    ) -> ControlFlow<Self, Self> {
        let place = Place::from_pointer(location);
        let (place, message) = match error {
            ErrorKind::IncorrectValueKind { actual, accepted } => (
                place,
                format!(
                    "is {}, but must be {}",
                    kind(actual.kind()),
                    kinds(accepted)
                ),
            ),
            ErrorKind::MissingField { field } => (place, format!("`{field}` is missing")),
            ErrorKind::UnknownKey { key, accepted } => {
                (place.key(key), unknown("key", key, accepted))
            }
            ErrorKind::UnknownValue { value, accepted } => {
                (place, unknown("value", value, accepted))
            }
            ErrorKind::BadSequenceLen { expected, .. } => {
                (place, format!("must have exactly {expected} elements"))
            }
            ErrorKind::Unexpected { msg } => (place, msg),
        };
        let mut held = held.unwrap_or_default();
        held.add(&place, message);
        ControlFlow::Continue(held)
    }
}

/// One finding as the error of a hand-written `Deserr` implementation.
pub fn refuse<E: DeserializeError>(location: ValuePointerRef<'_>, message: String) -> E {
    take_cf_content(E::error::<serde_json::Value>(
        None,
        ErrorKind::Unexpected { msg: message },
        location,
    ))
}

fn unknown(what: &str, given: &str, accepted: &[&str]) -> String {
    let near = did_you_mean(given, accepted.iter().copied());
    if near.is_empty() {
        format!(
            "unknown {what} `{given}`; known are {}",
            accepted.join(", ")
        )
    } else {
        format!("unknown {what} `{given}`{near}")
    }
}

fn kinds(accepted: &[ValueKind]) -> String {
    let mut names: Vec<_> = accepted.iter().copied().map(kind).collect();
    names.dedup();
    names.join(" or ")
}

fn kind(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Null => "null",
        ValueKind::Boolean => "true or false",
        ValueKind::Integer | ValueKind::NegativeInteger => "a whole number",
        ValueKind::Float => "a number",
        ValueKind::String => "a string",
        ValueKind::Sequence => "a list",
        ValueKind::Map => "a mapping",
    }
}
