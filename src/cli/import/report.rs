//! What an import has to say: what the policy does not express, and why a document is refused.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

/// How a policy differs from its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nobody can call until a person has decided something.
    Closed,
    /// The document asks for something that the policy does not check.
    Unchecked,
    /// The document can be read in more than one way.
    Assumed,
}

impl Kind {
    /// Its name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Unchecked => "not checked",
            Self::Assumed => "assumed",
        }
    }
}

/// Every difference between a document and its policy: what it is, and each place it concerns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report(BTreeMap<(Kind, String), Vec<String>>);

impl Report {
    /// Adds a difference; `place` is a JSON Pointer behind `#`, behind the file's name where that
    /// is not the document itself.
    pub fn add(&mut self, kind: Kind, place: String, message: impl Into<String>) {
        let places = self.0.entry((kind, message.into())).or_default();
        if !places.contains(&place) {
            places.push(place);
        }
    }

    /// Every difference with its places, the most pressing first.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &str, &[String])> {
        self.0
            .iter()
            .map(|((kind, message), places)| (*kind, message.as_str(), places.as_slice()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many places of each kind there are, for one line.
    pub fn summary(&self) -> String {
        let count = |wanted: Kind| -> usize {
            self.iter()
                .filter(|(kind, ..)| *kind == wanted)
                .map(|(.., places)| places.len())
                .sum()
        };
        let parts: Vec<_> = [Kind::Closed, Kind::Unchecked, Kind::Assumed]
            .into_iter()
            .filter(|kind| count(*kind) > 0)
            .map(|kind| format!("{} {}", count(kind), kind.as_str()))
            .collect();
        match parts.is_empty() {
            true => "everything is expressed".into(),
            false => parts.join(", "),
        }
    }

    /// For machines.
    pub fn json(&self) -> Value {
        self.iter()
            .map(|(kind, message, places)| {
                json!({"kind": kind.as_str(), "message": message, "places": places})
            })
            .collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, message, places) in self.iter() {
            writeln!(f, "{}: {message}", kind.as_str())?;
            for place in places {
                writeln!(f, "  {place}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_listed_below_what_they_have_in_common() {
        let mut report = Report::default();
        assert_eq!(report.summary(), "everything is expressed");
        report.add(Kind::Assumed, "#/c".into(), "third");
        report.add(Kind::Unchecked, "#/b".into(), "second");
        report.add(Kind::Unchecked, "#/a".into(), "second");
        report.add(Kind::Unchecked, "#/a".into(), "second");
        report.add(Kind::Closed, "#/d".into(), "first");
        assert_eq!(
            report.to_string(),
            "closed: first\n  #/d\nnot checked: second\n  #/b\n  #/a\nassumed: third\n  #/c\n"
        );
        assert_eq!(report.summary(), "1 closed, 2 not checked, 1 assumed");
    }
}
