//! Patterns that are a row of character classes from the start of the text.

use super::class::{Class, ClassId, Classes};
use super::parse::Tree;

/// Most steps; longer rows run on the machine.
const MAX_STEPS: usize = 256;

/// A row of classes, each with how often it may come.
#[derive(Debug)]
pub struct Sequence {
    steps: Box<[Step]>,
    /// Whether the text must end with the row.
    to_end: bool,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    class: ClassId,
    least: u32,
    most: u32,
}

impl Sequence {
    /// The row that the expression is, if it is one that can be matched without choices.
    pub fn of(tree: &Tree, classes: &Classes) -> Option<Self> {
        let Tree::Row(row) = tree else { return None };
        let (first, mut rest) = row.split_first()?;
        if *first != Tree::Start {
            return None;
        }
        let mut to_end = false;
        if let Some((Tree::End, before)) = rest.split_last() {
            to_end = true;
            rest = before;
        }
        let mut steps = Vec::new();
        for part in rest {
            collect(part, &mut steps)?;
        }
        has_no_choice(&steps, classes).then(|| Self {
            steps: steps.into(),
            to_end,
        })
    }

    pub fn is_match(&self, text: &str, classes: &[Class]) -> bool {
        let mut rest = text.chars();
        for step in &self.steps {
            let Some(class) = classes.get(step.class as usize) else {
                return false;
            };
            let mut count = 0;
            while count < step.most {
                let mut ahead = rest.clone();
                if !ahead.next().is_some_and(|char| class.holds(char)) {
                    break;
                }
                rest = ahead;
                count += 1;
            }
            if count < step.least {
                return false;
            }
        }
        !self.to_end || rest.as_str().is_empty()
    }
}

fn collect(tree: &Tree, steps: &mut Vec<Step>) -> Option<()> {
    match tree {
        Tree::Class(class) => steps.push(Step {
            class: *class,
            least: 1,
            most: 1,
        }),
        Tree::Row(row) => {
            for part in row {
                collect(part, steps)?;
            }
        }
        Tree::Repeat(inner, least, most) => match inner.as_ref() {
            Tree::Class(class) => steps.push(Step {
                class: *class,
                least: *least,
                most: most.unwrap_or(u32::MAX),
            }),
            inner if Some(*least) == *most => {
                for _ in 0..*least {
                    let before = steps.len();
                    collect(inner, steps)?;
                    if steps.len() == before {
                        // Nothing, however often.
                        break;
                    }
                    if steps.len() > MAX_STEPS {
                        return None;
                    }
                }
            }
            _ => return None,
        },
        _ => return None,
    }
    (steps.len() <= MAX_STEPS).then_some(())
}

/// Whether taking as many characters as possible at each step is right: what may follow a step of
/// no fixed length never begins with a character of its own.
fn has_no_choice(steps: &[Step], classes: &Classes) -> bool {
    let mut rest = steps;
    while let Some((step, after)) = rest.split_first() {
        rest = after;
        if step.least == step.most {
            continue;
        }
        for next in after {
            if !classes.apart(step.class, next.class) {
                return false;
            }
            if next.least > 0 {
                break;
            }
        }
    }
    true
}
