//! Runs a regular expression over a text by following all ways to match at once: its time is the
//! length of the text times the size of the program, whatever both are.

use super::super::budget::Budget;
use super::class::{Class, ClassId, WORD, within};
use super::parse::{Bad, Tree};

/// Largest program.
const MAX_OPS: usize = 20_000;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Takes one character.
    Class(ClassId),
    /// Goes on at both places.
    Split(u32, u32),
    Jump(u32),
    Start,
    End,
    Word(bool),
    Match,
}

/// A compiled regular expression.
#[derive(Debug)]
pub struct Machine {
    ops: Box<[Op]>,
    /// Whether it can only match from the start of the text.
    from_start: bool,
}

impl Machine {
    pub fn compile(tree: &Tree) -> Result<Self, Bad> {
        let mut ops = Vec::new();
        emit(tree, &mut ops)?;
        ops.push(Op::Match);
        let from_start = match tree {
            Tree::Row(row) => row.first() == Some(&Tree::Start),
            _ => false,
        };
        Ok(Self {
            ops: ops.into(),
            from_start,
        })
    }

    pub fn is_match(
        &self,
        text: &str,
        classes: &[Class],
        scratch: &mut Scratch,
        budget: &mut Budget<'_>,
    ) -> bool {
        scratch.prepare(self.ops.len());
        let mut before = None;
        let mut rest = text.chars();
        loop {
            let mut ahead = rest.clone();
            let next = ahead.next();
            if before.is_none() || !self.from_start {
                scratch.pending.push(0);
            }
            if self.follow(before, next, scratch) {
                return true;
            }
            let Some(char) = next else { return false };
            if !budget.spend(1 + scratch.threads.len() as u64 / 4) {
                return false;
            }
            for at in scratch.threads.drain(..) {
                if let Some(Op::Class(class)) = self.ops.get(at as usize)
                    && classes
                        .get(*class as usize)
                        .is_some_and(|class| class.holds(char))
                {
                    scratch.pending.push(at + 1);
                }
            }
            if scratch.pending.is_empty() && self.from_start {
                return false;
            }
            before = next;
            rest = ahead;
        }
    }

    /// Follows all pending places to where they take a character; whether one is a match.
    fn follow(&self, before: Option<char>, next: Option<char>, scratch: &mut Scratch) -> bool {
        scratch.round += 1;
        // The order of ways does not matter: the first match decides.
        while let Some(at) = scratch.pending.pop() {
            match scratch.seen.get_mut(at as usize) {
                Some(round) if *round != scratch.round => *round = scratch.round,
                _ => continue,
            }
            let goes_on = match self.ops.get(at as usize) {
                Some(Op::Class(_)) => {
                    scratch.threads.push(at);
                    false
                }
                Some(Op::Split(one, other)) => {
                    scratch.pending.push(*one);
                    scratch.pending.push(*other);
                    false
                }
                Some(Op::Jump(to)) => {
                    scratch.pending.push(*to);
                    false
                }
                Some(Op::Start) => before.is_none(),
                Some(Op::End) => next.is_none(),
                Some(Op::Word(edge)) => (is_word(before) != is_word(next)) == *edge,
                Some(Op::Match) => return true,
                None => false,
            };
            if goes_on {
                scratch.pending.push(at + 1);
            }
        }
        false
    }
}

fn is_word(char: Option<char>) -> bool {
    char.is_some_and(|char| within(WORD, char.into()))
}

/// Room that matches reuse.
#[derive(Debug, Default)]
pub struct Scratch {
    threads: Vec<u32>,
    pending: Vec<u32>,
    /// The round in which each place was last reached.
    seen: Vec<u64>,
    round: u64,
}

impl Scratch {
    fn prepare(&mut self, ops: usize) {
        self.threads.clear();
        self.pending.clear();
        if self.seen.len() < ops {
            self.seen.resize(ops, 0);
        }
    }
}

fn emit(tree: &Tree, ops: &mut Vec<Op>) -> Result<(), Bad> {
    match tree {
        Tree::Class(class) => ops.push(Op::Class(*class)),
        Tree::Start => ops.push(Op::Start),
        Tree::End => ops.push(Op::End),
        Tree::Word(edge) => ops.push(Op::Word(*edge)),
        Tree::Row(row) => {
            for part in row {
                emit(part, ops)?;
            }
        }
        Tree::Either(ways) => emit_either(ways, ops)?,
        Tree::Repeat(inner, least, most) => {
            for _ in 0..*least {
                let before = ops.len();
                emit(inner, ops)?;
                if ops.len() == before {
                    // Nothing, however often.
                    break;
                }
            }
            match most {
                None => emit_loop(inner, ops)?,
                Some(most) => {
                    for _ in *least..*most {
                        emit_option(inner, ops)?;
                    }
                }
            }
        }
    }
    (ops.len() <= MAX_OPS).then_some(()).ok_or(Bad::Size)
}

fn emit_either(ways: &[Tree], ops: &mut Vec<Op>) -> Result<(), Bad> {
    let mut ends = Vec::new();
    for (index, way) in ways.iter().enumerate() {
        let split = ops.len();
        let last = index + 1 == ways.len();
        if !last {
            ops.push(Op::Jump(0));
        }
        emit(way, ops)?;
        if !last {
            ends.push(ops.len());
            ops.push(Op::Jump(0));
            let next = place(ops);
            set(ops, split, Op::Split(split as u32 + 1, next));
        }
    }
    let end = place(ops);
    for jump in ends {
        set(ops, jump, Op::Jump(end));
    }
    Ok(())
}

fn emit_loop(inner: &Tree, ops: &mut Vec<Op>) -> Result<(), Bad> {
    let split = ops.len();
    ops.push(Op::Jump(0));
    emit(inner, ops)?;
    ops.push(Op::Jump(split as u32));
    let end = place(ops);
    set(ops, split, Op::Split(split as u32 + 1, end));
    Ok(())
}

fn emit_option(inner: &Tree, ops: &mut Vec<Op>) -> Result<(), Bad> {
    let split = ops.len();
    ops.push(Op::Jump(0));
    emit(inner, ops)?;
    let end = place(ops);
    set(ops, split, Op::Split(split as u32 + 1, end));
    Ok(())
}

/// The place of the next operation; there are never more than [`MAX_OPS`] by far.
fn place(ops: &[Op]) -> u32 {
    ops.len() as u32
}

fn set(ops: &mut [Op], at: usize, op: Op) {
    if let Some(held) = ops.get_mut(at) {
        *held = op;
    }
}
