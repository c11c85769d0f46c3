//! The serialization styles of OpenAPI (3.1 "Style Values", after RFC 6570): text is split by
//! style first and percent-decoded afterwards, so an encoded delimiter is part of a value.

use super::text::{self, Malformed, split_once};

/// How deep brackets of a `deepObject` may nest.
const MAX_BRACKETS: usize = 8;

/// How many members an object may have: finding one that comes twice costs their square.
const MAX_MEMBERS: usize = 1000;

/// How a parameter is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `a,b` in paths and headers.
    Simple,
    /// `.a,b` in paths.
    Label,
    /// `;name=a,b` in paths.
    Matrix,
    /// `name=a,b` in queries and cookies.
    Form,
    /// `name=a%20b` in queries.
    SpaceDelimited,
    /// `name=a|b` in queries.
    PipeDelimited,
    /// `name[key]=a` in queries.
    DeepObject,
}

/// What a value is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One piece of text.
    Scalar,
    /// A list.
    Array,
    /// Names with values.
    Object,
}

/// A value whose structure is known, all its leaves still text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// A leaf.
    One(String),
    /// A list.
    Many(Vec<Text>),
    /// Names with values; no name twice.
    Fields(Vec<(String, Text)>),
}

/// Why a value could not be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitError {
    /// It does not decode.
    Malformed,
    /// Something that stands once came more than once.
    Repeated,
    /// It is not written in its style.
    Style,
}

impl From<Malformed> for SplitError {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

/// How leaves are decoded where the parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Percent-encoded.
    Percent,
    /// Percent-encoded, with `+` for a space.
    Query,
    /// As it is: header fields are not percent-encoded.
    Plain,
}

impl Encoding {
    /// Decodes one piece.
    pub fn decode(self, raw: &[u8]) -> Result<String, SplitError> {
        match self {
            Self::Percent => Ok(text::decode(raw, false)?),
            Self::Query => Ok(text::decode(raw, true)?),
            Self::Plain => match std::str::from_utf8(raw.trim_ascii()) {
                Ok(plain) => Ok(plain.to_owned()),
                Err(_) => Err(SplitError::Malformed),
            },
        }
    }

    fn one(self, raw: &[u8]) -> Result<Text, SplitError> {
        self.decode(raw).map(Text::One)
    }
}

/// Reads one raw value that stands on its own: a path segment's part, or a header field's value.
pub fn split_value(
    raw: &[u8],
    name: &str,
    style: Style,
    explode: bool,
    form: Form,
    encoding: Encoding,
) -> Result<Text, SplitError> {
    match style {
        Style::Label => {
            let rest = raw.strip_prefix(b".").ok_or(SplitError::Style)?;
            let delimiter = if explode { b'.' } else { b',' };
            split(rest, Delimiter::Byte(delimiter), explode, form, encoding)
        }
        Style::Matrix => {
            let rest = raw.strip_prefix(b";").ok_or(SplitError::Style)?;
            split_matrix(rest, name, explode, form, encoding)
        }
        _ => split(raw, Delimiter::Byte(b','), explode, form, encoding),
    }
}

/// Reads all values that came under the parameter's own name, as `name=value`.
pub fn split_named(
    values: &[&[u8]],
    style: Style,
    explode: bool,
    form: Form,
    encoding: Encoding,
) -> Result<Text, SplitError> {
    if form == Form::Array && explode {
        let elements: Result<_, _> = values.iter().map(|raw| encoding.one(raw)).collect();
        return elements.map(Text::Many);
    }
    let [raw] = values else {
        return Err(SplitError::Repeated);
    };
    let delimiter = match style {
        Style::SpaceDelimited => Delimiter::Space,
        Style::PipeDelimited => Delimiter::Pipe,
        _ => Delimiter::Byte(b','),
    };
    // Exploded objects have no value under the parameter's own name.
    split(raw, delimiter, false, form, encoding)
}

/// Reads an object whose members came as names of their own.
pub fn split_members<'a>(
    members: impl IntoIterator<Item = (Vec<String>, &'a [u8])>,
    encoding: Encoding,
) -> Result<Text, SplitError> {
    let mut root = Vec::new();
    for (count, (path, raw)) in members.into_iter().enumerate() {
        if count == MAX_MEMBERS {
            return Err(SplitError::Style);
        }
        insert(&mut root, &path, encoding.one(raw)?)?;
    }
    Ok(Text::Fields(root))
}

/// The steps in `name[a][b]`, if `text` is the parameter `name` in brackets.
pub fn bracket_steps(text: &str, name: &str) -> Option<Vec<String>> {
    let mut rest = text.strip_prefix(name)?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (step, after) = rest.strip_prefix('[')?.split_once(']')?;
        steps.push(step.to_owned());
        rest = after;
    }
    (!steps.is_empty() && steps.len() <= MAX_BRACKETS).then_some(steps)
}

/// Puts a leaf where its steps lead; a leaf that is there already becomes a list of both.
fn insert(fields: &mut Vec<(String, Text)>, path: &[String], leaf: Text) -> Result<(), SplitError> {
    let Some((step, rest)) = path.split_first() else {
        return Err(SplitError::Style);
    };
    let held = fields.iter_mut().find(|(name, _)| name == step);
    match (held, rest.is_empty()) {
        (None, true) => fields.push((step.clone(), leaf)),
        (None, false) => {
            let mut inner = Vec::new();
            insert(&mut inner, rest, leaf)?;
            fields.push((step.clone(), Text::Fields(inner)));
        }
        (Some((_, Text::Fields(inner))), false) => insert(inner, rest, leaf)?,
        (Some((_, Text::Many(list))), true) => list.push(leaf),
        (Some((_, held @ Text::One(_))), true) => {
            let first = std::mem::replace(held, Text::Many(Vec::new()));
            *held = Text::Many(vec![first, leaf]);
        }
        (Some(_), _) => return Err(SplitError::Style),
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Delimiter {
    Byte(u8),
    /// A space, which a query writes `%20` or `+`.
    Space,
    /// `|`, often written `%7C`.
    Pipe,
}

impl Delimiter {
    fn pieces(self, raw: &[u8]) -> Vec<&[u8]> {
        if raw.is_empty() {
            return Vec::new();
        }
        let mut pieces = Vec::new();
        let (mut start, mut at) = (0, 0);
        while at < raw.len() {
            let length = self.length_at(raw.get(at..).unwrap_or_default());
            if length > 0 {
                pieces.push(raw.get(start..at).unwrap_or_default());
                start = at + length;
            }
            at += length.max(1);
        }
        pieces.push(raw.get(start..).unwrap_or_default());
        pieces
    }

    /// How long the delimiter is that `rest` begins with; 0 if it begins with none.
    fn length_at(self, rest: &[u8]) -> usize {
        let (plain, encoded): (&[u8], &[u8]) = match self {
            Self::Byte(byte) => return usize::from(rest.first() == Some(&byte)),
            Self::Space => (b"+ ", b"%20"),
            Self::Pipe => (b"|", b"%7C"),
        };
        let head = rest.get(..3).unwrap_or_default();
        if head.eq_ignore_ascii_case(encoded) {
            3
        } else {
            usize::from(rest.first().is_some_and(|byte| plain.contains(byte)))
        }
    }
}

fn split(
    raw: &[u8],
    delimiter: Delimiter,
    explode: bool,
    form: Form,
    encoding: Encoding,
) -> Result<Text, SplitError> {
    match form {
        Form::Scalar => encoding.one(raw),
        Form::Array => {
            let pieces = delimiter.pieces(raw);
            let elements: Result<_, _> = pieces.into_iter().map(|raw| encoding.one(raw)).collect();
            elements.map(Text::Many)
        }
        Form::Object if explode => {
            let pieces = delimiter.pieces(raw);
            fields(
                pieces.into_iter().map(|piece| split_once(piece, b'=')),
                encoding,
            )
        }
        Form::Object => {
            let pieces = delimiter.pieces(raw);
            let pairs = pieces.chunks(2).map(|pair| match pair {
                [name, value] => Some((*name, *value)),
                _ => None,
            });
            fields(pairs, encoding)
        }
    }
}

fn split_matrix(
    raw: &[u8],
    name: &str,
    explode: bool,
    form: Form,
    encoding: Encoding,
) -> Result<Text, SplitError> {
    let pieces: Vec<_> = raw
        .split(|byte| *byte == b';')
        .map(|piece| split_once(piece, b'=').unwrap_or((piece, b"")))
        .collect();
    if form == Form::Object && explode {
        return fields(pieces.into_iter().map(Some), encoding);
    }
    let mut values = Vec::new();
    for (written, value) in pieces {
        if encoding.decode(written)? != name {
            return Err(SplitError::Style);
        }
        values.push(value);
    }
    split_named(&values, Style::Simple, explode, form, encoding)
}

fn fields<'a>(
    pairs: impl Iterator<Item = Option<(&'a [u8], &'a [u8])>>,
    encoding: Encoding,
) -> Result<Text, SplitError> {
    let mut fields: Vec<(String, Text)> = Vec::new();
    for pair in pairs {
        let (name, value) = pair.ok_or(SplitError::Style)?;
        let name = encoding.decode(name)?;
        if fields.iter().any(|(held, _)| *held == name) {
            return Err(SplitError::Repeated);
        }
        if fields.len() == MAX_MEMBERS {
            return Err(SplitError::Style);
        }
        fields.push((name, encoding.one(value)?));
    }
    Ok(Text::Fields(fields))
}
