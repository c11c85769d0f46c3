//! Reads regular expressions (ECMA-262 §22.2.1, with what browsers take besides, annex B.1.2).

use super::class::{
    ClassId, Classes, DIGITS, LINE_ENDS, Ranges, SPACE, WORD, any_case, others, property, tidy,
};

/// How deep groups may nest.
const MAX_DEPTH: usize = 100;

/// Largest count of a repetition.
const MAX_COUNT: u32 = 1 << 20;

/// Why a pattern cannot be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// It is no regular expression.
    Syntax,
    /// It looks ahead or behind.
    LookAround,
    /// It refers back to what a group matched.
    BackReference,
    /// It is too large once compiled, or its groups nest too deeply.
    Size,
}

/// A regular expression as a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// One character.
    Class(ClassId),
    /// Begin of the text.
    Start,
    /// End of the text.
    End,
    /// Whether a word begins or ends here.
    Word(bool),
    /// One after the other.
    Row(Vec<Tree>),
    /// Any of them.
    Either(Vec<Tree>),
    /// So many times; without a limit where there is no most.
    Repeat(Box<Tree>, u32, Option<u32>),
}

/// Reads the pattern of a schema. Beyond ECMA-262 it takes `\A`, `\z` and `(?i)`, which APIs have
/// from other languages and which cannot mean anything else.
pub fn pattern(text: &str, classes: &mut Classes) -> Result<Tree, Bad> {
    read(text, classes, false)
}

/// Whether the text is a regular expression of ECMA-262.
pub fn is_expression(text: &str) -> bool {
    read(text, &mut Classes::default(), true).is_ok()
}

fn read(text: &str, classes: &mut Classes, only_syntax: bool) -> Result<Tree, Bad> {
    let mut parser = Parser {
        rest: text,
        classes,
        only_syntax,
        any_case: false,
        depth: 0,
    };
    let tree = parser.either()?;
    // What is left begins with a parenthesis that closes nothing.
    parser.rest.is_empty().then_some(tree).ok_or(Bad::Syntax)
}

struct Parser<'t, 'c> {
    rest: &'t str,
    classes: &'c mut Classes,
    /// Whether what cannot be run is passed over, and nothing but ECMA-262 is taken.
    only_syntax: bool,
    any_case: bool,
    depth: usize,
}

/// What an escape stands for.
enum Escape {
    Char(u32),
    Set(Ranges),
}

impl Parser<'_, '_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    fn take(&mut self, expected: &str) -> bool {
        let rest = self.rest.strip_prefix(expected);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn either(&mut self) -> Result<Tree, Bad> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Bad::Size);
        }
        let mut ways = vec![self.row()?];
        while self.take("|") {
            ways.push(self.row()?);
        }
        self.depth -= 1;
        Ok(match ways.pop() {
            Some(only) if ways.is_empty() => only,
            last => {
                ways.extend(last);
                Tree::Either(ways)
            }
        })
    }

    fn row(&mut self) -> Result<Tree, Bad> {
        let mut row = Vec::new();
        while let Some(next) = self.peek() {
            if matches!(next, '|' | ')') {
                break;
            }
            let term = self.term()?;
            let term = self.repeated(term)?;
            row.extend(term);
        }
        Ok(Tree::Row(row))
    }

    /// One term; `None` where it matches without a trace, as a group that only sets flags.
    fn term(&mut self) -> Result<Option<Tree>, Bad> {
        match self.next() {
            Some('^') => Ok(Some(Tree::Start)),
            Some('$') => Ok(Some(Tree::End)),
            Some('.') => Ok(Some(self.class(others(&LINE_ENDS.to_vec())))),
            Some('(') => self.group(),
            Some('[') => {
                let ranges = self.set()?;
                Ok(Some(self.class(ranges)))
            }
            Some('\\') => self.escaped_term(),
            Some('*' | '+' | '?') => Err(Bad::Syntax),
            Some(char) => Ok(Some(self.literal(char.into()))),
            None => Err(Bad::Syntax),
        }
    }

    fn class(&mut self, ranges: Ranges) -> Tree {
        Tree::Class(self.classes.add(ranges))
    }

    fn literal(&mut self, code: u32) -> Tree {
        let mut ranges = vec![(code, code)];
        if self.any_case {
            any_case(&mut ranges);
            ranges = tidy(ranges);
        }
        self.class(ranges)
    }

    fn repeated(&mut self, term: Option<Tree>) -> Result<Option<Tree>, Bad> {
        let before = self.rest;
        let (least, most) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => match self.counts()? {
                Some(counts) => counts,
                None => return Ok(term),
            },
            _ => return Ok(term),
        };
        if self.rest.len() == before.len() {
            self.next();
        }
        // A lazy repetition matches the same texts.
        self.take("?");
        if matches!(self.peek(), Some('*' | '+' | '?')) {
            return Err(Bad::Syntax);
        }
        Ok(term.map(|term| match term {
            // However often, it is the same place.
            Tree::Start | Tree::End | Tree::Word(_) if least > 0 => term,
            term => Tree::Repeat(Box::new(term), least, most),
        }))
    }

    /// `{2}`, `{2,}`, `{2,3}`; `None`, and nothing read, where the brace means itself.
    fn counts(&mut self) -> Result<Option<(u32, Option<u32>)>, Bad> {
        let Some((inner, rest)) = self
            .rest
            .strip_prefix('{')
            .and_then(|rest| rest.split_once('}'))
        else {
            return Ok(None);
        };
        let (least, most) = inner.split_once(',').unwrap_or((inner, inner));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if least.is_empty() || !digits(least) || !digits(most) {
            return Ok(None);
        }
        // More digits than fit are more than the largest count.
        let count = |text: &str| text.parse().unwrap_or(u32::MAX);
        let least = count(least);
        let most = (!most.is_empty()).then(|| count(most));
        if most.is_some_and(|most| most < least) {
            return Err(Bad::Syntax);
        }
        if !self.only_syntax && most.unwrap_or(least) > MAX_COUNT {
            return Err(Bad::Size);
        }
        self.rest = rest;
        Ok(Some((least, most)))
    }

    fn group(&mut self) -> Result<Option<Tree>, Bad> {
        let any_case = self.any_case;
        if self.take("?") {
            if ["=", "!", "<=", "<!"].iter().any(|look| self.take(look)) {
                if !self.only_syntax {
                    return Err(Bad::LookAround);
                }
            } else if self.take("<") {
                self.name('>')?;
            } else if !self.take(":") && self.flags()? {
                return Ok(None);
            }
        }
        let inner = self.either()?;
        if !self.take(")") {
            return Err(Bad::Syntax);
        }
        self.any_case = any_case;
        Ok(Some(inner))
    }

    /// `i:` or `i)`; whether the group ends with them, so that they hold for the rest around it.
    fn flags(&mut self) -> Result<bool, Bad> {
        if self.only_syntax {
            return Err(Bad::Syntax);
        }
        let mut on = true;
        loop {
            match self.next() {
                Some('i') => self.any_case = on,
                Some('-') if on => on = false,
                // Without `^`, `$` or `.` for single lines there is nothing to switch.
                Some('s' | 'm') if !on => {}
                Some(':') => return Ok(false),
                Some(')') => return Ok(true),
                _ => return Err(Bad::Syntax),
            }
        }
    }

    /// A group's name and the character that ends it.
    fn name(&mut self, end: char) -> Result<(), Bad> {
        let (name, rest) = self.rest.split_once(end).ok_or(Bad::Syntax)?;
        let fits = |char: char| char.is_alphanumeric() || matches!(char, '_' | '$');
        if name.is_empty()
            || name.starts_with(|first: char| first.is_ascii_digit())
            || !name.chars().all(fits)
        {
            return Err(Bad::Syntax);
        }
        self.rest = rest;
        Ok(())
    }

    fn escaped_term(&mut self) -> Result<Option<Tree>, Bad> {
        let back = match self.peek() {
            Some('b') => return Ok(self.passed(Tree::Word(true))),
            Some('B') => return Ok(self.passed(Tree::Word(false))),
            Some('A') if !self.only_syntax => return Ok(self.passed(Tree::Start)),
            Some('z') if !self.only_syntax => return Ok(self.passed(Tree::End)),
            Some('1'..='9') => {
                while self.peek().is_some_and(|digit| digit.is_ascii_digit()) {
                    self.next();
                }
                true
            }
            Some('k') => {
                self.next();
                if !self.take("<") {
                    return Err(Bad::Syntax);
                }
                self.name('>')?;
                true
            }
            _ => false,
        };
        if back {
            return self.only_syntax.then_some(None).ok_or(Bad::BackReference);
        }
        Ok(Some(match self.escape()? {
            Escape::Char(code) => self.literal(code),
            Escape::Set(ranges) => self.class(ranges),
        }))
    }

    fn passed(&mut self, tree: Tree) -> Option<Tree> {
        self.next();
        Some(tree)
    }

    /// What follows a backslash, in a class or outside.
    fn escape(&mut self) -> Result<Escape, Bad> {
        let set = |ranges: &[(u32, u32)], not: bool| {
            let ranges = ranges.to_vec();
            Escape::Set(if not { others(&ranges) } else { ranges })
        };
        let char = self.next().ok_or(Bad::Syntax)?;
        Ok(match char {
            'd' | 'D' => set(DIGITS, char == 'D'),
            'w' | 'W' => set(WORD, char == 'W'),
            's' | 'S' => set(SPACE, char == 'S'),
            'p' | 'P' => {
                let ranges = self.property()?;
                set(&ranges, char == 'P')
            }
            't' => Escape::Char(9),
            'n' => Escape::Char(10),
            'v' => Escape::Char(11),
            'f' => Escape::Char(12),
            'r' => Escape::Char(13),
            '0' if !self.peek().is_some_and(|next| next.is_ascii_digit()) => Escape::Char(0),
            'c' => match self.next() {
                Some(letter) if letter.is_ascii_alphabetic() => {
                    Escape::Char(u32::from(letter) % 32)
                }
                _ => return Err(Bad::Syntax),
            },
            'x' => Escape::Char(self.hex(2)?),
            'u' => self.unicode()?,
            other if other.is_ascii_alphanumeric() => return Err(Bad::Syntax),
            other => Escape::Char(other.into()),
        })
    }

    /// The name in `\p{…}`, as Unicode and ECMA-262 write it.
    fn property(&mut self) -> Result<Ranges, Bad> {
        let rest = self.rest.strip_prefix('{').ok_or(Bad::Syntax)?;
        let (name, rest) = rest.split_once('}').ok_or(Bad::Syntax)?;
        self.rest = rest;
        property(name).ok_or(Bad::Syntax)
    }

    fn hex(&mut self, digits: usize) -> Result<u32, Bad> {
        let (text, rest) = self.rest.split_at_checked(digits).ok_or(Bad::Syntax)?;
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Bad::Syntax);
        }
        self.rest = rest;
        u32::from_str_radix(text, 16).map_err(|_| Bad::Syntax)
    }

    fn unicode(&mut self) -> Result<Escape, Bad> {
        if self.take("{") {
            let (digits, rest) = self.rest.split_once('}').ok_or(Bad::Syntax)?;
            let code = u32::from_str_radix(digits, 16).map_err(|_| Bad::Syntax)?;
            self.rest = rest;
            return char::from_u32(code)
                .map(|_| Escape::Char(code))
                .ok_or(Bad::Syntax);
        }
        let high = self.hex(4)?;
        let before = self.rest;
        if (0xD800..0xDC00).contains(&high) && self.take("\\u") {
            let low = self.hex(4)?;
            if (0xDC00..0xE000).contains(&low) {
                return Ok(Escape::Char(
                    0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00),
                ));
            }
            self.rest = before;
        }
        // Half a character: no text in UTF-8 holds one.
        Ok(match char::from_u32(high) {
            Some(_) => Escape::Char(high),
            None => Escape::Set(Vec::new()),
        })
    }

    /// A class in brackets, the first of which has been read.
    fn set(&mut self) -> Result<Ranges, Bad> {
        let not = self.take("^");
        let mut ranges = Vec::new();
        loop {
            if self.take("]") {
                break;
            }
            let first = self.set_atom()?;
            let Escape::Char(start) = first else {
                add(&mut ranges, first);
                continue;
            };
            // A hyphen at the end means itself.
            if !self.rest.starts_with('-') || self.rest.starts_with("-]") {
                ranges.push((start, start));
                continue;
            }
            self.next();
            match self.set_atom()? {
                Escape::Char(end) if end < start => return Err(Bad::Syntax),
                Escape::Char(end) => ranges.push((start, end)),
                set => {
                    ranges.push((start, start));
                    ranges.push(('-'.into(), '-'.into()));
                    add(&mut ranges, set);
                }
            }
        }
        if self.any_case {
            any_case(&mut ranges);
        }
        let ranges = tidy(ranges);
        Ok(if not { others(&ranges) } else { ranges })
    }

    fn set_atom(&mut self) -> Result<Escape, Bad> {
        match self.next() {
            Some('\\') if self.take("b") => Ok(Escape::Char(8)),
            Some('\\') => self.escape(),
            Some(char) => Ok(Escape::Char(char.into())),
            None => Err(Bad::Syntax),
        }
    }
}

fn add(ranges: &mut Ranges, escape: Escape) {
    match escape {
        Escape::Char(code) => ranges.push((code, code)),
        Escape::Set(mut set) => ranges.append(&mut set),
    }
}
