//! The outline of a policy's schemas: which subschemas apply to which parts of a value.
//!
//! It answers one question before it is asked of the engine: how much work and memory would a full
//! list of errors cost for this value? A small recursive schema can make that exponential in the
//! depth of the value, though deciding whether the value is valid is not.

use std::collections::BTreeMap;

use serde_json::Value;

/// How deep schemas and values may nest together before an answer is given up.
const MAX_DEPTH: usize = 512;

/// Memory that a list of errors may take, estimated in bytes.
const BUDGET: usize = 4 << 20;

/// What one error is estimated to take: the engine's record, its paths and its location.
const ERROR_BYTES: usize = 512;

/// Number of a subschema within [`Shapes`].
pub type ShapeId = usize;

/// One subschema's outline.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// How many errors its own keywords can report for one value.
    pub errors: usize,
    /// Subschemas that apply to the same value.
    pub same: Vec<ShapeId>,
    /// Subschemas that apply to the same value and whose errors are kept as alternatives, each
    /// with a copy of the value it is about: `anyOf`, `oneOf`.
    pub alternatives: Vec<ShapeId>,
    /// Subschemas that apply to the member of that name.
    pub members: BTreeMap<String, ShapeId>,
    /// Subschemas that may apply to any member.
    pub any_member: Vec<ShapeId>,
    /// Subschemas that may apply to any element.
    pub any_element: Vec<ShapeId>,
}

impl Shape {
    fn children(&self) -> impl Iterator<Item = ShapeId> {
        let lists = [
            &self.same,
            &self.alternatives,
            &self.any_member,
            &self.any_element,
        ];
        lists
            .into_iter()
            .flatten()
            .chain(self.members.values())
            .copied()
    }
}

/// The outlines of all subschemas, and where each entry starts.
#[derive(Clone, Debug, Default)]
pub struct Shapes {
    shapes: Vec<Shape>,
    entries: BTreeMap<String, ShapeId>,
}

impl Shapes {
    /// The outlines, addressed by their index, and the outline of each entry.
    pub fn new(shapes: Vec<Shape>, entries: BTreeMap<String, ShapeId>) -> Self {
        Self { shapes, entries }
    }

    /// For each outline, whether an entry leads to it.
    pub fn reachable(&self) -> Vec<bool> {
        let mut reached = vec![false; self.shapes.len()];
        let mut next: Vec<ShapeId> = self.entries.values().copied().collect();
        while let Some(id) = next.pop() {
            let (Some(seen), Some(shape)) = (reached.get_mut(id), self.shapes.get(id)) else {
                continue;
            };
            if !std::mem::replace(seen, true) {
                next.extend(shape.children());
            }
        }
        reached
    }

    /// Whether listing all errors of `value` against `entry` stays within the memory budget.
    ///
    /// Costs no more than a bounded walk itself.
    pub fn affordable(&self, entry: &str, value: &Value) -> bool {
        let mut walk = Walk {
            shapes: &self.shapes,
            left: BUDGET,
        };
        self.entries
            .get(entry)
            .and_then(|id| walk.visit(*id, value, false, 0))
            .is_some()
    }
}

struct Walk<'s> {
    shapes: &'s [Shape],
    left: usize,
}

impl Walk<'_> {
    /// `None` once the budget is used up.
    fn visit(&mut self, id: ShapeId, value: &Value, copied: bool, depth: usize) -> Option<()> {
        let shape = self.shapes.get(id)?;
        (depth < MAX_DEPTH).then_some(())?;
        self.spend(64)?;
        for _ in 0..shape.errors {
            self.spend(ERROR_BYTES)?;
            if copied {
                self.copy(value)?;
            }
        }
        for next in &shape.same {
            self.visit(*next, value, copied, depth + 1)?;
        }
        for next in &shape.alternatives {
            self.visit(*next, value, true, depth + 1)?;
        }
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    // An error about members that should not be there lists their names.
                    self.spend(32 + name.len())?;
                    for next in shape.members.get(name).into_iter().chain(&shape.any_member) {
                        self.visit(*next, member, copied, depth + 1)?;
                    }
                }
            }
            Value::Array(elements) => {
                for element in elements {
                    for next in &shape.any_element {
                        self.visit(*next, element, copied, depth + 1)?;
                    }
                }
            }
            _ => {}
        }
        Some(())
    }

    /// What a copy of the value takes.
    fn copy(&mut self, value: &Value) -> Option<()> {
        self.spend(32)?;
        match value {
            Value::String(text) => self.spend(text.len()),
            Value::Array(elements) => elements.iter().try_for_each(|element| self.copy(element)),
            Value::Object(members) => members.iter().try_for_each(|(name, member)| {
                self.spend(64 + name.len())?;
                self.copy(member)
            }),
            _ => Some(()),
        }
    }

    fn spend(&mut self, bytes: usize) -> Option<()> {
        self.left = self.left.checked_sub(bytes)?;
        Some(())
    }
}
