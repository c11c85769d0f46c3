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
    /// Subschemas of which a member of the value chooses one.
    pub choice: Option<Choice>,
    /// Subschemas that apply to the member of that name.
    pub members: BTreeMap<String, ShapeId>,
    /// Subschemas that may apply to any member.
    pub any_member: Vec<ShapeId>,
    /// Subschemas that may apply to any element.
    pub any_element: Vec<ShapeId>,
}

/// Subschemas for the same value, of which the text of one member chooses the one that applies.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// The member's name.
    pub member: String,
    /// Subschemas by the texts that choose them.
    pub by_value: BTreeMap<String, ShapeId>,
}

impl Choice {
    /// How many levels of keywords stand between the value and what is chosen.
    const LEVELS: u64 = 3;

    fn of(&self, value: &Value) -> Option<ShapeId> {
        let text = value.get(&self.member)?.as_str()?;
        self.by_value.get(text).copied()
    }

    fn ids(&self) -> impl Iterator<Item = &ShapeId> {
        self.by_value.values()
    }
}

impl Shape {
    /// Its cost, given those of its children; a child without one leads back here.
    fn cost(&self, costs: &[Option<Cost>]) -> Cost {
        let of = |id: &ShapeId| costs.get(*id).copied().flatten().unwrap_or_default();
        let sum = |ids: &[ShapeId]| {
            ids.iter()
                .fold(0_u64, |sum, id| sum.saturating_add(of(id).times))
        };
        let here = self.same.iter().chain(&self.alternatives);
        let named = self.members.values().map(|id| of(id).times).max();
        let member = named
            .unwrap_or_default()
            .saturating_add(sum(&self.any_member));
        let below = member.max(sum(&self.any_element));
        let (chosen, nested_chosen) = self.cost_of_choice(of);
        let nested = here.map(|id| of(id).nested).max().unwrap_or_default();
        Cost {
            times: 1_u64
                .saturating_add(sum(&self.same))
                .saturating_add(sum(&self.alternatives))
                .saturating_add(chosen)
                .saturating_add(below),
            nested: 1 + nested.max(nested_chosen),
        }
    }

    /// Checks and nesting of the branches of a choice: each is asked for its name, one is checked.
    fn cost_of_choice(&self, of: impl Fn(&ShapeId) -> Cost) -> (u64, u64) {
        let Some(choice) = &self.choice else {
            return (0, 0);
        };
        let times = choice.ids().map(|id| of(id).times).max();
        let nested = choice.ids().map(|id| of(id).nested).max();
        (
            times
                .unwrap_or_default()
                .saturating_add(choice.by_value.len() as u64),
            Choice::LEVELS + nested.unwrap_or_default(),
        )
    }

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
            .chain(self.choice.iter().flat_map(Choice::ids))
            .copied()
    }
}

/// What a subschema can make the engine do, whatever the value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// How often one part of a value may be checked. The engine remembers what it found where a
    /// reference leads back to where it came from, so such references count nothing.
    pub times: u64,
    /// How deep subschemas of one value nest.
    pub nested: u64,
}

impl Cost {
    /// Most checks of one part of a value.
    pub const MOST_TIMES: u64 = 100_000;
    /// Deepest nesting for one value: with a value of [`super::Limits::DEEPEST`] levels it stays
    /// within the megabyte of stack that V8 gives a module, by half.
    pub const MOST_NESTED: u64 = 24;
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

    /// What each outline can cost.
    pub fn costs(&self) -> Vec<Cost> {
        let mut costs = vec![None; self.shapes.len()];
        let mut open = vec![false; self.shapes.len()];
        for root in 0..self.shapes.len() {
            // Children first, on a stack of our own: chains of references may be long.
            let mut stack = vec![root];
            while let Some(&id) = stack.last() {
                let (Some(shape), Some(seen)) = (self.shapes.get(id), open.get_mut(id)) else {
                    break;
                };
                if !std::mem::replace(seen, true) {
                    let unseen = |next: &ShapeId| open.get(*next) == Some(&false);
                    stack.extend(shape.children().filter(unseen));
                    continue;
                }
                stack.pop();
                if costs.get(id) == Some(&None) {
                    let cost = shape.cost(&costs);
                    if let Some(held) = costs.get_mut(id) {
                        *held = Some(cost);
                    }
                }
            }
        }
        costs.into_iter().map(Option::unwrap_or_default).collect()
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
        if let Some(chosen) = shape.choice.as_ref().and_then(|choice| choice.of(value)) {
            self.visit(chosen, value, copied, depth + 1)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(length: usize, twice: bool) -> Shapes {
        let shape = |id: usize| Shape {
            same: if id + 1 == length {
                Vec::new()
            } else {
                vec![id + 1; 1 + usize::from(twice)]
            },
            ..Shape::default()
        };
        Shapes::new((0..length).map(shape).collect(), BTreeMap::new())
    }

    #[test]
    fn costs_add_up_along_chains_and_double_where_they_fork() {
        assert_eq!(
            chain(5, false).costs()[0],
            Cost {
                times: 5,
                nested: 5
            }
        );
        assert_eq!(chain(5, true).costs()[0].times, 31);
        assert_eq!(chain(100, true).costs()[0].times, u64::MAX);
        let long = chain(200_000, false).costs();
        assert_eq!(long[0].nested, 200_000);
    }

    #[test]
    fn members_of_different_names_do_not_add_up() {
        let leaf = Shape::default();
        let root = Shape {
            members: BTreeMap::from([("a".into(), 1), ("b".into(), 1)]),
            any_member: vec![1],
            ..Shape::default()
        };
        let shapes = Shapes::new(vec![root, leaf], BTreeMap::new());
        assert_eq!(
            shapes.costs()[0],
            Cost {
                times: 3,
                nested: 1
            }
        );
    }

    #[test]
    fn recursion_ends() {
        let shape = Shape {
            same: vec![0],
            any_member: vec![0],
            ..Shape::default()
        };
        let shapes = Shapes::new(vec![shape], BTreeMap::new());
        assert_eq!(
            shapes.costs()[0],
            Cost {
                times: 1,
                nested: 1
            }
        );
    }
}
