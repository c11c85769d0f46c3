//! How a refusal tells what to mend.

use crate::reply::Violation;

/// How many violations a refusal lists.
pub const MOST: usize = 20;

/// Longest pointer and longest expectation, in bytes; more is cut off with an ellipsis.
const MAX_TEXT: usize = 256;

/// One violation, its texts cut to size.
pub fn violation(
    location: &'static str,
    pointer: String,
    keyword: &str,
    expected: String,
) -> Violation {
    Violation {
        location,
        pointer: cut(pointer),
        keyword: keyword.to_owned(),
        expected: cut(expected),
    }
}

/// The pointer to a member of what `pointer` leads to.
pub fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT)
            .rev()
            .find(|end| text.is_char_boundary(*end))
            .unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    text
}
