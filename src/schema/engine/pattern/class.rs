//! Sets of characters.

use std::collections::BTreeMap;

use regex_syntax::ast::{Ast, ClassUnicode, ClassUnicodeKind, ClassUnicodeOpKind, Position, Span};
use regex_syntax::hir::translate::Translator;
use regex_syntax::hir::{Class as Parsed, HirKind};

/// Ranges of code points, sorted and apart from each other.
pub type Ranges = Vec<(u32, u32)>;

/// Number of a class within all classes.
pub type ClassId = u32;

const LAST: u32 = 0x10_FFFF;

/// A set of characters, ready to test.
#[derive(Debug)]
pub struct Class {
    /// One bit per ASCII character.
    ascii: u128,
    /// Ranges beyond ASCII.
    wide: Box<[(u32, u32)]>,
}

impl Class {
    fn new(ranges: &Ranges) -> Self {
        let mut ascii = 0;
        let mut wide = Vec::new();
        for (first, last) in ranges {
            for code in *first..=(*last).min(127) {
                ascii |= 1_u128 << code;
            }
            if *last > 127 {
                wide.push(((*first).max(128), *last));
            }
        }
        Self {
            ascii,
            wide: wide.into(),
        }
    }

    /// Whether the character belongs to it.
    pub fn holds(&self, char: char) -> bool {
        let code = u32::from(char);
        if code < 128 {
            return self.ascii >> code & 1 == 1;
        }
        within(&self.wide, code)
    }
}

/// Whether one of the sorted ranges holds the code point.
pub fn within(ranges: &[(u32, u32)], code: u32) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= code);
    let range = after.checked_sub(1).and_then(|index| ranges.get(index));
    range.is_some_and(|(_, last)| code <= *last)
}

/// All classes of all patterns, equal ones once.
#[derive(Debug, Default)]
pub struct Classes {
    ranges: Vec<Ranges>,
    known: BTreeMap<Ranges, ClassId>,
}

impl Classes {
    /// The number of the class of those ranges.
    pub fn add(&mut self, ranges: Ranges) -> ClassId {
        if let Some(known) = self.known.get(&ranges) {
            return *known;
        }
        let id = self.ranges.len() as ClassId;
        self.ranges.push(ranges.clone());
        self.known.insert(ranges, id);
        id
    }

    /// Whether no character belongs to both.
    pub fn apart(&self, one: ClassId, other: ClassId) -> bool {
        let ranges = |id: ClassId| self.ranges.get(id as usize).into_iter().flatten();
        let mut others = ranges(other).peekable();
        for (first, last) in ranges(one) {
            while others.next_if(|(_, end)| end < first).is_some() {}
            if others.peek().is_some_and(|(start, _)| start <= last) {
                return false;
            }
        }
        true
    }

    pub fn finish(self) -> Vec<Class> {
        self.ranges.iter().map(Class::new).collect()
    }
}

/// Sorts ranges and joins those that touch.
pub fn tidy(mut ranges: Ranges) -> Ranges {
    ranges.sort_unstable();
    let mut tidy: Ranges = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match tidy.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = (*end).max(last),
            _ => tidy.push((first, last)),
        }
    }
    tidy
}

/// All characters but those of tidy ranges.
pub fn others(ranges: &Ranges) -> Ranges {
    let mut others = Vec::with_capacity(ranges.len() + 1);
    let mut next = 0;
    for (first, last) in ranges {
        if next < *first {
            others.push((next, first - 1));
        }
        next = last + 1;
    }
    if next <= LAST {
        others.push((next, LAST));
    }
    others
}

/// Adds the other cases of all letters.
pub fn any_case(ranges: &mut Ranges) {
    let mut more = Vec::new();
    for (first, last) in ranges.iter() {
        // Whole scripts hold both cases already.
        for code in *first..=(*last).min(first.saturating_add(1024)) {
            let Some(char) = char::from_u32(code) else {
                continue;
            };
            for case in char.to_lowercase().chain(char.to_uppercase()) {
                more.push((u32::from(case), u32::from(case)));
            }
        }
    }
    ranges.append(&mut more);
}

/// `\d`.
pub const DIGITS: &[(u32, u32)] = &[(0x30, 0x39)];
/// `\w`.
pub const WORD: &[(u32, u32)] = &[(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)];
/// `\s`: white space and line terminators (ECMA-262 §12.2, §12.3).
pub const SPACE: &[(u32, u32)] = &[
    (0x09, 0x0D),
    (0x20, 0x20),
    (0xA0, 0xA0),
    (0x1680, 0x1680),
    (0x2000, 0x200A),
    (0x2028, 0x2029),
    (0x202F, 0x202F),
    (0x205F, 0x205F),
    (0x3000, 0x3000),
    (0xFEFF, 0xFEFF),
];
/// What `.` does not match.
pub const LINE_ENDS: &[(u32, u32)] = &[(0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029)];

/// The characters of a Unicode property, as `\p{…}` names it; `None` where there is no such one.
pub fn property(name: &str) -> Option<Ranges> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'=' | b'-');
    if !name.bytes().all(plain) {
        return None;
    }
    let kind = match name.split_once('=') {
        None => ClassUnicodeKind::Named(name.to_owned()),
        // The tables know others, such as `Age`, which ECMA-262 (22.2.1, table 67) does not have.
        Some((
            property @ ("General_Category" | "gc" | "Script" | "sc" | "Script_Extensions" | "scx"),
            value,
        )) => ClassUnicodeKind::NamedValue {
            op: ClassUnicodeOpKind::Equal,
            name: property.to_owned(),
            value: value.to_owned(),
        },
        Some(_) => return None,
    };
    // Not by its parser, which is far larger than what is asked for here.
    let expression = Ast::class_unicode(ClassUnicode {
        span: Span::splat(Position::new(0, 1, 1)),
        negated: false,
        kind,
    });
    let parsed = Translator::new().translate("", &expression).ok()?;
    match parsed.into_kind() {
        HirKind::Class(Parsed::Unicode(class)) => {
            let ranges = class.iter();
            Some(
                ranges
                    .map(|range| (range.start().into(), range.end().into()))
                    .collect(),
            )
        }
        // A property of one character.
        HirKind::Literal(literal) => {
            let one = std::str::from_utf8(&literal.0).ok()?.chars().next()?;
            Some(vec![(one.into(), one.into())])
        }
        _ => None,
    }
}
