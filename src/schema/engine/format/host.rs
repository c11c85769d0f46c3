//! Host names (RFC 1123 §2.1) and the labels behind `xn--` (RFC 5890 to 5892, RFC 3492).

use crate::schema::engine::pattern::{Ranges, property};

/// Octets of a name and of one label (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// Characters that labels may hold, by the general categories of Unicode (RFC 5892 §2.1).
#[derive(Debug, Default)]
pub struct Labels {
    letters: Ranges,
    marks: Ranges,
}

/// Allowed though their category is not (RFC 5892 §2.6), or where their neighbours are right.
const EXCEPTIONS: &[char] = &[
    '\u{B7}', '\u{375}', '\u{5F3}', '\u{5F4}', '\u{6FD}', '\u{6FE}', '\u{F0B}', '\u{200C}',
    '\u{200D}', '\u{3007}', '\u{30FB}',
];

/// Refused though their category is allowed (RFC 5892 §2.6).
const DISALLOWED: &[char] = &[
    '\u{640}', '\u{7FA}', '\u{302E}', '\u{302F}', '\u{3031}', '\u{3032}', '\u{3033}', '\u{3034}',
    '\u{3035}', '\u{303B}',
];

/// Characters with the canonical combining class Virama.
const VIRAMAS: &[char] = &[
    '\u{94D}',
    '\u{9CD}',
    '\u{A4D}',
    '\u{ACD}',
    '\u{B4D}',
    '\u{BCD}',
    '\u{C4D}',
    '\u{CCD}',
    '\u{D3B}',
    '\u{D3C}',
    '\u{D4D}',
    '\u{DCA}',
    '\u{E3A}',
    '\u{EBA}',
    '\u{F84}',
    '\u{1039}',
    '\u{103A}',
    '\u{1714}',
    '\u{1734}',
    '\u{17D2}',
    '\u{1A60}',
    '\u{1B44}',
    '\u{1BAA}',
    '\u{1BAB}',
    '\u{1BF2}',
    '\u{1BF3}',
    '\u{2D7F}',
    '\u{A806}',
    '\u{A82C}',
    '\u{A8C4}',
    '\u{A953}',
    '\u{A9C0}',
    '\u{AAF6}',
    '\u{ABED}',
    '\u{10A3F}',
    '\u{11046}',
    '\u{1107F}',
    '\u{110B9}',
    '\u{11133}',
    '\u{11134}',
    '\u{111C0}',
    '\u{11235}',
    '\u{112EA}',
    '\u{1134D}',
    '\u{11442}',
    '\u{114C2}',
    '\u{115BF}',
    '\u{1163F}',
    '\u{116B6}',
    '\u{1172B}',
    '\u{11839}',
    '\u{119E0}',
    '\u{11A34}',
    '\u{11A47}',
    '\u{11A99}',
    '\u{11C3F}',
    '\u{11D44}',
    '\u{11D45}',
    '\u{11D97}',
];

impl Labels {
    /// Reads the tables of Unicode.
    pub fn load() -> Self {
        let all = |names: &[&str]| {
            let mut ranges: Ranges = names
                .iter()
                .filter_map(|name| property(name))
                .flatten()
                .collect();
            ranges.sort_unstable();
            ranges
        };
        Self {
            letters: all(&["Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Nd"]),
            marks: all(&["Mn", "Mc", "Me"]),
        }
    }

    fn allow(&self, char: char) -> bool {
        if char.is_ascii() {
            return char.is_ascii_alphanumeric() || char == '-';
        }
        EXCEPTIONS.contains(&char) || holds(&self.letters, char) && !DISALLOWED.contains(&char)
    }
}

fn holds(ranges: &Ranges, char: char) -> bool {
    let code = u32::from(char);
    let after = ranges.partition_point(|(first, _)| *first <= code);
    let range = after.checked_sub(1).and_then(|index| ranges.get(index));
    range.is_some_and(|(_, last)| code <= *last)
}

/// Whether the text is a host name in its ASCII form.
pub fn is_hostname(text: &str, labels: &Labels) -> bool {
    text.len() <= MAX_NAME && text.split('.').all(|label| is_label(label, labels))
}

/// Whether the text is a host name whose labels may be of any script.
pub fn is_idn_hostname(text: &str, labels: &Labels) -> bool {
    text.len() <= MAX_NAME
        && text.split('.').all(|label| {
            if label.is_ascii() {
                is_label(label, labels)
            } else {
                label.len() <= MAX_LABEL * 2 && is_unicode_label(label, labels)
            }
        })
}

fn is_label(label: &str, labels: &Labels) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if label.is_empty()
        || label.len() > MAX_LABEL
        || label.starts_with('-')
        || label.ends_with('-')
        || !label.bytes().all(plain)
    {
        return false;
    }
    // Hyphens in the third and fourth place are reserved (RFC 5891 §4.2.3.1).
    match label.split_at_checked(4) {
        Some((prefix, encoded)) if prefix.ends_with("--") => {
            prefix.eq_ignore_ascii_case("xn--")
                && decode(encoded).is_some_and(|decoded| is_unicode_label(&decoded, labels))
        }
        _ => true,
    }
}

/// Whether it is a U-label: characters that are allowed, each beside what it needs.
fn is_unicode_label(label: &str, labels: &Labels) -> bool {
    let hyphens = label.starts_with('-')
        || label.ends_with('-')
        || label.chars().skip(2).take(2).eq("--".chars());
    let first = label.chars().next();
    if hyphens || first.is_none_or(|first| holds(&labels.marks, first)) {
        return false;
    }
    let mut before = None;
    let mut rest = label.chars();
    while let Some(char) = rest.next() {
        if !labels.allow(char) || !fits_context(char, before, rest.clone().next(), label) {
            return false;
        }
        before = Some(char);
    }
    true
}

/// The rules of RFC 5892 appendix A.
fn fits_context(char: char, before: Option<char>, after: Option<char>, label: &str) -> bool {
    let within = |char: Option<char>, first: char, last: char| {
        char.is_some_and(|char| (first..=last).contains(&char))
    };
    match char {
        '\u{200D}' => before.is_some_and(|before| VIRAMAS.contains(&before)),
        '\u{B7}' => before == Some('l') && after == Some('l'),
        '\u{375}' => within(after, '\u{370}', '\u{3FF}'),
        '\u{5F3}' | '\u{5F4}' => within(before, '\u{590}', '\u{5FF}'),
        '\u{30FB}' => label.chars().any(|other| {
            matches!(other, '\u{3040}'..='\u{309F}' | '\u{30A1}'..='\u{30FA}'
                | '\u{30FC}'..='\u{30FF}' | '\u{3005}' | '\u{3007}' | '\u{3400}'..='\u{4DBF}'
                | '\u{4E00}'..='\u{9FFF}')
        }),
        '\u{660}'..='\u{669}' => !label.contains(|other| ('\u{6F0}'..='\u{6F9}').contains(&other)),
        _ => true,
    }
}

/// Punycode (RFC 3492 §6.2).
fn decode(encoded: &str) -> Option<String> {
    let (basic, digits) = encoded.rsplit_once('-').unwrap_or(("", encoded));
    if basic.is_empty() && encoded.contains('-') {
        return None;
    }
    let mut decoded: Vec<char> = basic.chars().collect();
    let (mut code, mut index, mut bias) = (128_u32, 0_u32, 72_u32);
    let mut digits = digits.bytes().peekable();
    while digits.peek().is_some() {
        let start = index;
        let mut weight = 1_u32;
        let mut position = 36_u32;
        loop {
            let digit = digit(digits.next()?)?;
            index = index.checked_add(digit.checked_mul(weight)?)?;
            let threshold = position.saturating_sub(bias).clamp(1, 26);
            if digit < threshold {
                break;
            }
            weight = weight.checked_mul(36 - threshold)?;
            position += 36;
        }
        let length = decoded.len() as u32 + 1;
        bias = adapt(index - start, length, start == 0);
        code = code.checked_add(index / length)?;
        index %= length;
        decoded.insert(index as usize, char::from_u32(code)?);
        index += 1;
    }
    Some(decoded.into_iter().collect())
}

fn digit(byte: u8) -> Option<u32> {
    match byte {
        b'a'..=b'z' => Some(u32::from(byte - b'a')),
        b'A'..=b'Z' => Some(u32::from(byte - b'A')),
        b'0'..=b'9' => Some(u32::from(byte - b'0') + 26),
        _ => None,
    }
}

/// Bias adaptation (RFC 3492 §6.1).
fn adapt(delta: u32, length: u32, first: bool) -> u32 {
    let mut delta = if first { delta / 700 } else { delta / 2 };
    delta += delta / length;
    let mut position = 0;
    while delta > 455 {
        delta /= 35;
        position += 36;
    }
    position + 36 * delta / (delta + 38)
}
