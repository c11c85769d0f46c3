//! Regular expressions of ECMA-262, as `pattern` and `patternProperties` have them, in linear time.
//!
//! Most patterns of APIs are a row of character classes (`^[A-Z]{3}-[0-9]{4}$`): those are matched
//! as such, which takes a hundred bytes and no compilation to speak of. All others run on a machine
//! that keeps every way to match at once instead of going back. Look-around and back-references,
//! which neither can do, are refused.

mod class;
mod machine;
mod parse;
mod sequence;

use std::collections::BTreeMap;

use super::budget::Budget;
use class::{Class, Classes};
pub use class::{Ranges, property};
use machine::Machine;
pub use machine::Scratch;
pub use parse::Bad;
use sequence::Sequence;

/// Number of a pattern within [`Patterns`].
pub type PatternId = u32;

/// Patterns of a policy, each once.
#[derive(Debug, Default)]
pub struct Patterns {
    classes: Vec<Class>,
    list: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    text: Box<str>,
    matcher: Matcher,
}

#[derive(Debug)]
enum Matcher {
    Sequence(Sequence),
    Machine(Machine),
}

impl Patterns {
    /// The pattern as written.
    pub fn text(&self, id: PatternId) -> &str {
        let pattern = self.list.get(id as usize);
        pattern.map_or("", |pattern| &pattern.text)
    }

    /// Whether the pattern matches anywhere in the text; `false` once the budget is used up.
    pub fn is_match(
        &self,
        id: PatternId,
        text: &str,
        scratch: &mut Scratch,
        budget: &mut Budget<'_>,
    ) -> bool {
        match self.list.get(id as usize).map(|pattern| &pattern.matcher) {
            Some(Matcher::Sequence(sequence)) => {
                // It looks at each character at most once, and stops early.
                budget.spend(1 + text.len() as u64 / 64) && sequence.is_match(text, &self.classes)
            }
            Some(Matcher::Machine(machine)) => {
                machine.is_match(text, &self.classes, scratch, budget)
            }
            None => false,
        }
    }
}

/// Compiles patterns, equal ones once.
#[derive(Debug, Default)]
pub struct Builder {
    classes: Classes,
    list: Vec<Pattern>,
    by_text: BTreeMap<String, Result<PatternId, Bad>>,
}

impl Builder {
    /// The number of the pattern.
    pub fn add(&mut self, text: &str) -> Result<PatternId, Bad> {
        if let Some(known) = self.by_text.get(text) {
            return *known;
        }
        let added = self.compile(text);
        self.by_text.insert(text.to_owned(), added);
        added
    }

    fn compile(&mut self, text: &str) -> Result<PatternId, Bad> {
        let tree = parse::pattern(text, &mut self.classes)?;
        let matcher = match Sequence::of(&tree, &self.classes) {
            Some(sequence) => Matcher::Sequence(sequence),
            None => Matcher::Machine(Machine::compile(&tree)?),
        };
        let id = PatternId::try_from(self.list.len()).map_err(|_| Bad::Size)?;
        self.list.push(Pattern {
            text: text.into(),
            matcher,
        });
        Ok(id)
    }

    /// All patterns, ready to match.
    pub fn finish(self) -> Patterns {
        Patterns {
            classes: self.classes.finish(),
            list: self.list,
        }
    }
}

/// Whether the text is a pattern that schemas can have: one that runs in linear time.
pub fn is_pattern(text: &str) -> bool {
    Builder::default().add(text).is_ok()
}

/// Whether the text is a regular expression of ECMA-262, whatever it takes to run it.
pub fn is_expression(text: &str) -> bool {
    parse::is_expression(text)
}

#[cfg(test)]
mod tests;
