//! JSON Schema, drafts 2020-12 and 7: every schema of a policy, compiled once for all routes.
//!
//! Schemas become one list of small nodes that refer to each other by number, so a thousand routes
//! that share a hundred schemas share their nodes. Deciding takes no memory worth naming; what a
//! refusal lists is found in a second pass, only for values that are known to be wrong. Both are
//! bounded by the value's size, whatever the schema: see [`budget`].

mod budget;
mod check;
mod compile;
mod equal;
mod explain;
mod format;
mod keyword;
mod meta;
mod node;
mod number;
mod path;
mod pattern;
mod plan;
mod registry;
mod stream;
mod uri;

use std::sync::Arc;

use serde_json::Value;

use super::json::Limits;
use crate::reply::Violation;
use check::Check;
pub use compile::{Choice, NUMBER_FORMATS, compile};
pub use format::FORMATS;
pub use keyword::SUBSCHEMAS;
pub use node::TYPES;
use node::{Arena, NOTHING, NodeId};
pub use path::{MAX_DEPTH, Path};
pub use pattern::{Bad as BadPattern, is_pattern};
use plan::{PlanId, Plans};

/// A document to compile.
#[derive(Clone, Debug)]
pub struct Source<'s> {
    /// What it is known by, besides its own `$id`.
    pub uri: String,
    /// The name that `#/schemas/NAME` refers to it by, from everywhere.
    pub name: Option<&'s str>,
    /// The schema; of draft 2020-12 unless its `$schema` says otherwise.
    pub schema: &'s Value,
}

/// Why a document cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Number of the document.
    pub document: usize,
    /// JSON Pointer to the keyword or subschema.
    pub pointer: String,
    /// What is wrong there.
    pub fault: Fault,
}

/// What can be wrong with a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It must be something else: this.
    Form(&'static str),
    /// It names a type that there is not.
    Type(String),
    /// It nests deeper than [`MAX_DEPTH`] levels.
    TooDeep,
    /// It is of a dialect that is not known.
    Dialect,
    /// Another schema has that address too.
    SameId(String),
    /// The pattern cannot be run.
    Pattern(BadPattern),
    /// The reference leads out of the policy.
    Outside(String),
    /// The policy has no shared schema of that name.
    NotShared(String),
    /// The reference leads to nothing in a document.
    Nowhere {
        /// As written.
        reference: String,
        /// Number of the document.
        document: usize,
        /// Where it would lead to.
        pointer: String,
    },
    /// It leads back to itself for the same value, so that a check would never end.
    Endless,
}

/// All schemas that the routes of a policy use.
#[derive(Debug)]
pub struct Schemas {
    arena: Arena,
    plans: Plans,
    entries: Vec<(NodeId, PlanId)>,
}

/// One schema of the policy, ready to check values against.
#[derive(Clone, Debug)]
pub struct Schema {
    schemas: Arc<Schemas>,
    node: NodeId,
    plan: PlanId,
}

/// A value that broke its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What to mend, sorted, at most [`super::explain::MOST`]. Empty where finding out would cost
    /// too much.
    pub violations: Vec<Violation>,
}

impl Schema {
    /// The schema of that entry.
    pub fn new(schemas: Arc<Schemas>, entry: usize) -> Self {
        let held = schemas.entries.get(entry).copied();
        let (node, plan) = held.unwrap_or((NOTHING, plan::NONE));
        Self {
            schemas,
            node,
            plan,
        }
    }

    /// Whether the text is one JSON text within the limits and valid, where that shows while it is
    /// being read, at a fraction of the cost. Where it does not, the text may still be valid:
    /// [`parse_json`](super::parse_json) and [`Schema::check`] decide.
    pub fn accepts(&self, text: &str, limits: &Limits) -> bool {
        let Schemas { arena, plans, .. } = &*self.schemas;
        stream::accepts(arena, plans, self.plan, text, limits)
    }

    /// Checks a value that stood at `location` of the request.
    ///
    /// A check that would take more steps than the value's size allows fails.
    pub fn check(&self, value: Value, location: &'static str) -> Result<(), Mismatch> {
        self.check_value(&value, location)
    }

    fn check_value(&self, value: &Value, location: &'static str) -> Result<(), Mismatch> {
        let mut check = Check::new(&self.schemas.arena, value);
        let valid = check.valid(self.node, value, None);
        if check.budget.is_spent() {
            let violations = Vec::new();
            return Err(Mismatch { violations });
        }
        if valid {
            return Ok(());
        }
        let violations = explain::violations(&self.schemas.arena, self.node, value, location);
        Err(Mismatch { violations })
    }
}

/// Whether the text is one JSON text within the limits. Where it is not,
/// [`parse_json`](super::parse_json) says why.
pub fn is_json(text: &str, limits: &Limits) -> bool {
    let (arena, plans) = (Arena::default(), Plans::default());
    stream::accepts(&arena, &plans, plan::ANY, text, limits)
}

#[cfg(test)]
mod tests;
