//! UUIDs, JSON Pointers and URI templates.

/// RFC 4122 §3.
pub fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// RFC 6901 §3.
pub fn is_json_pointer(text: &str) -> bool {
    let escapes = |text: &str| {
        let mut after = text.split('~').skip(1);
        after.all(|rest| rest.starts_with(['0', '1']))
    };
    text.is_empty() || text.starts_with('/') && escapes(text)
}

/// A number of levels up, then a JSON Pointer or `#`.
pub fn is_relative_json_pointer(text: &str) -> bool {
    let end = text.find(|char: char| !char.is_ascii_digit());
    let (levels, rest) = text.split_at(end.unwrap_or(text.len()));
    let padded = levels.len() > 1 && levels.starts_with('0');
    !levels.is_empty() && !padded && (rest == "#" || is_json_pointer(rest))
}

/// RFC 6570 §2.
pub fn is_uri_template(text: &str) -> bool {
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if next == '{' {
            let Some((expression, after)) = rest.get(1..).and_then(|rest| rest.split_once('}'))
            else {
                return false;
            };
            if !is_expression(expression) {
                return false;
            }
            rest = after;
        } else {
            let end = rest.find('{').unwrap_or(rest.len());
            let (literals, after) = rest.split_at(end);
            if !are_literals(literals) {
                return false;
            }
            rest = after;
        }
    }
    true
}

fn is_expression(text: &str) -> bool {
    let operators = ['+', '#', '.', '/', ';', '?', '&', '=', ',', '!', '@', '|'];
    let variables = text.strip_prefix(operators).unwrap_or(text);
    variables.split(',').all(is_variable)
}

fn is_variable(text: &str) -> bool {
    let name = match text.split_once(':') {
        Some((name, length)) => {
            let digits = length.bytes().all(|byte| byte.is_ascii_digit());
            if !digits || !(1..=4).contains(&length.len()) || length.starts_with('0') {
                return false;
            }
            name
        }
        None => text.strip_suffix('*').unwrap_or(text),
    };
    name.split('.').all(|part| {
        !part.is_empty() && fits(part, |char| char.is_ascii_alphanumeric() || char == '_')
    })
}

fn are_literals(text: &str) -> bool {
    fits(text, |char| {
        !char.is_control()
            && !matches!(
                char,
                ' ' | '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}'
            )
    })
}

/// Whether all characters fit, or are percent-encoded bytes.
fn fits(text: &str, fits: impl Fn(char) -> bool) -> bool {
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        let fit = if char == '%' {
            let mut hex = || chars.next().is_some_and(|digit| digit.is_ascii_hexdigit());
            hex() && hex()
        } else {
            fits(char)
        };
        if !fit {
            return false;
        }
    }
    true
}
