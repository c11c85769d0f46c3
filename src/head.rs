//! Message heads as they came off the wire: bytes until somebody has a reason to parse them.
//!
//! Envoy hands names over in lower case; a scenario or the command line may not, so [`Headers`]
//! lower-cases names once, on the way in.

use std::fmt;

/// The fields of one message, in order, repeated names kept apart.
///
/// The texts lie in one buffer, which is the one that the host gave: reading a head costs one
/// allocation however many fields it has.
#[derive(Clone, Default)]
pub struct Headers {
    texts: Vec<u8>,
    fields: Vec<Field>,
}

/// Where a field's name and value lie.
#[derive(Clone, Copy)]
struct Field {
    name: Span,
    value: Span,
}

#[derive(Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
}

impl Span {
    fn of(self, texts: &[u8]) -> &[u8] {
        texts.get(self.start..self.end).unwrap_or_default()
    }

    /// Most texts differ in their length already.
    fn is(self, text: &str, texts: &[u8]) -> bool {
        self.end - self.start == text.len() && self.of(texts) == text.as_bytes()
    }
}

/// A field that must stand alone came more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

impl Headers {
    /// Takes the fields in the order given.
    pub fn new(fields: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        let mut headers = Self::default();
        for (mut name, value) in fields {
            name.make_ascii_lowercase();
            headers.push(&name, &value);
        }
        headers
    }

    /// Reads the proxy-wasm wire form of a map: a count, then the sizes of each name and value, then
    /// the names and values themselves, each with a zero behind it; all numbers `u32`, little endian.
    pub fn from_wire(mut bytes: Vec<u8>) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::default());
        }
        let number = |bytes: &[u8], at: usize| -> Option<usize> {
            let four = bytes.get(at..at.checked_add(4)?)?;
            usize::try_from(u32::from_le_bytes(four.try_into().ok()?)).ok()
        };
        let count = number(&bytes, 0)?;
        let mut at = count.checked_mul(8)?.checked_add(4)?;
        let mut fields = Vec::with_capacity(count.min(bytes.len() / 8));
        for index in 0..count {
            let sizes = index.checked_mul(8)?.checked_add(4)?;
            let mut text = |size: usize| -> Option<Span> {
                let (start, end) = (at, at.checked_add(size)?);
                at = end.checked_add(1)?;
                (end <= bytes.len()).then_some(Span { start, end })
            };
            let name = text(number(&bytes, sizes)?)?;
            let value = text(number(&bytes, sizes.checked_add(4)?)?)?;
            fields.push(Field { name, value });
            bytes.get_mut(name.start..name.end)?.make_ascii_lowercase();
        }
        Some(Self {
            texts: bytes,
            fields,
        })
    }

    /// Every field, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let texts = &self.texts;
        let field = |field: &Field| (field.name.of(texts), field.value.of(texts));
        self.fields.iter().map(field)
    }

    /// Every value of one field, in order. `name` is in lower case.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let texts = &self.texts;
        self.fields
            .iter()
            .filter(move |field| field.name.is(name, texts))
            .map(|field| field.value.of(texts))
    }

    /// The value of a field that must not be repeated.
    pub fn single(&self, name: &str) -> Result<Option<&[u8]>, Repeated> {
        let mut values = self.all(name);
        let first = values.next();
        match values.next() {
            Some(_) => Err(Repeated),
            None => Ok(first),
        }
    }

    /// Whether the field is there at all, even empty.
    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// Applies edits in order, as Envoy's header map would.
    pub fn apply(&mut self, edits: &[Edit]) {
        for edit in edits {
            match edit {
                Edit::Remove(name) => self.remove(name),
                Edit::Set(name, value) => {
                    self.remove(name);
                    self.push(name.as_bytes(), value);
                }
                Edit::Add(name, value) => self.push(name.as_bytes(), value),
            }
        }
    }

    fn remove(&mut self, name: &str) {
        let texts = &self.texts;
        self.fields.retain(|field| !field.name.is(name, texts));
    }

    fn push(&mut self, name: &[u8], value: &[u8]) {
        let name = self.keep(name);
        let value = self.keep(value);
        self.fields.push(Field { name, value });
    }

    fn keep(&mut self, text: &[u8]) -> Span {
        let start = self.texts.len();
        self.texts.extend_from_slice(text);
        Span {
            start,
            end: self.texts.len(),
        }
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = |(name, value): (&[u8], &[u8])| {
            let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
            (text(name), text(value))
        };
        f.debug_list().entries(self.iter().map(field)).finish()
    }
}

/// A change to the fields of a message; names are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Replace every field of that name by this one.
    Set(String, Vec<u8>),
    /// Append one more field of that name.
    Add(String, Vec<u8>),
    /// Drop every field of that name.
    Remove(String),
}

/// The head of a request: pseudo-header fields (`:method`, `:path`, `:authority`) among the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHead {
    /// All fields.
    pub headers: Headers,
}

impl RequestHead {
    /// The method, empty where Envoy gave none or several.
    pub fn method(&self) -> &[u8] {
        self.pseudo(":method")
    }

    /// The request target in origin form: path and query.
    pub fn target(&self) -> &[u8] {
        self.pseudo(":path")
    }

    /// Host and port as the client named them.
    pub fn authority(&self) -> &[u8] {
        self.pseudo(":authority")
    }

    fn pseudo(&self, name: &str) -> &[u8] {
        self.headers.single(name).ok().flatten().unwrap_or_default()
    }

    /// Whether the client speaks gRPC, and so reads a `grpc-status` instead of a body.
    pub fn is_grpc(&self) -> bool {
        self.headers.all("content-type").any(|value| {
            value
                .strip_prefix(b"application/grpc")
                .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
        })
    }
}

/// The head of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHead {
    /// All fields, `:status` among them.
    pub headers: Headers,
}

impl ResponseHead {
    /// The status code, if it is one.
    pub fn status(&self) -> Option<u16> {
        let value = self.headers.single(":status").ok().flatten()?;
        std::str::from_utf8(value).ok()?.parse().ok()
    }
}

/// Writes fields in the wire form that [`Headers::from_wire`] reads.
pub fn to_wire(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    // No list of fields that fits a 32-bit memory overflows these casts.
    let number = |value: usize| (value as u32).to_le_bytes();
    let mut wire = number(fields.len()).to_vec();
    for (name, value) in fields {
        wire.extend(number(name.len()));
        wire.extend(number(value.len()));
    }
    for part in fields.iter().flat_map(|(name, value)| [name, value]) {
        wire.extend_from_slice(part);
        wire.push(0);
    }
    wire
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const FIELDS: &[(&[u8], &[u8])] = &[(b":path", b"/a"), (b"X-\xff", b"\0\xfe"), (b"empty", b"")];

    #[test]
    fn the_wire_form_reads_back_whatever_the_bytes() {
        let read = Headers::from_wire(to_wire(FIELDS)).unwrap();
        let held: Vec<_> = read.iter().collect();
        assert_eq!(
            held,
            [
                (&b":path"[..], &b"/a"[..]),
                (b"x-\xff", b"\0\xfe"),
                (b"empty", b"")
            ]
        );
        assert_eq!(Headers::from_wire(Vec::new()), Some(Headers::default()));
    }

    #[test]
    fn a_wire_form_that_lies_about_its_sizes_is_refused() {
        let wire = to_wire(FIELDS);
        for end in 1..wire.len() - 1 {
            assert_eq!(Headers::from_wire(wire[..end].to_vec()), None, "{end}");
        }
        assert_eq!(Headers::from_wire(vec![0xff; 64]), None);
    }

    #[test]
    fn edits_apply_to_fields_however_they_came() {
        let mut read = Headers::from_wire(to_wire(FIELDS)).unwrap();
        read.apply(&[
            Edit::Set(":path".into(), b"/b".to_vec()),
            Edit::Add("empty".into(), b"no more".to_vec()),
            Edit::Remove("absent".into()),
        ]);
        let wanted: [(&[u8], &[u8]); 4] = [
            (b"x-\xff", b"\0\xfe"),
            (b"empty", b""),
            (b":path", b"/b"),
            (b"empty", b"no more"),
        ];
        let owned = |(name, value): &(&[u8], &[u8])| (name.to_vec(), value.to_vec());
        assert_eq!(read, Headers::new(wanted.iter().map(owned).collect()));
        assert_ne!(read, Headers::default());
    }

    #[test]
    fn a_field_that_must_stand_alone_is_not_taken_twice() {
        let headers = Headers::new(vec![
            (b"Host".to_vec(), b"a".to_vec()),
            (b"host".to_vec(), b"b".to_vec()),
        ]);
        assert_eq!(headers.single("host"), Err(Repeated));
        assert_eq!(headers.single("other"), Ok(None));
    }
}
