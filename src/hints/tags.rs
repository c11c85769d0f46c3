//! Names under which a cache can be told to drop answers: `Surrogate-Key`, `Cache-Tag` and
//! `Cache-Groups` (RFC 9875), made from templates and the request's path.

use sfv::{BareItem, FieldType, ListEntry, StringRef};

use super::structured;
use crate::head::{Edit, ResponseHead};

/// The most bytes of one tag; a longer one is left out.
pub const MAX_BYTES: usize = 256;

/// The fields that carry tags, each with its templates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// `Surrogate-Key`, separated by spaces.
    pub surrogate_key: Vec<Template>,
    /// `Cache-Tag`, separated by commas.
    pub cache_tag: Vec<Template>,
    /// `Cache-Groups`, a List of Strings.
    pub cache_groups: Vec<Template>,
}

impl Tags {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The edits that add the tags which the answer lacks.
    pub fn edits(&self, answer: &ResponseHead, path: &[(String, Vec<u8>)]) -> Vec<Edit> {
        let edits = [
            plain(answer, "surrogate-key", b' ', &self.surrogate_key, path),
            plain(answer, "cache-tag", b',', &self.cache_tag, path),
            groups(answer, &self.cache_groups, path),
        ];
        edits.into_iter().flatten().collect()
    }
}

/// A tag with the names of path parameters in braces: `product-{id}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Parameter(String),
}

impl Template {
    /// Reads a template. Its text is printable ASCII that separates or quotes nothing in any of
    /// the fields: no space, comma, quote, backslash or single brace.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (part, after) = match rest.strip_prefix('{') {
                Some(inner) => {
                    let (name, after) = inner.split_once('}')?;
                    (Part::Parameter(name.to_owned()), after)
                }
                None => {
                    let end = rest.find('{').unwrap_or(rest.len());
                    let (text, after) = rest.split_at_checked(end)?;
                    (Part::Text(text.to_owned()), after)
                }
            };
            parts.push(part);
            rest = after;
        }
        let good = |part: &Part| match part {
            Part::Text(text) => text.bytes().all(is_plain),
            Part::Parameter(name) => !name.is_empty(),
        };
        (!parts.is_empty() && parts.iter().all(good)).then_some(Self(parts))
    }

    /// The names of the parameters in it.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Parameter(name) => Some(name.as_str()),
        })
    }

    /// The tag; `None` where a parameter is missing or the tag grows too long.
    fn expand(&self, path: &[(String, Vec<u8>)]) -> Option<String> {
        let mut tag = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => tag.push_str(text),
                Part::Parameter(wanted) => {
                    let (_, value) = path.iter().find(|(name, _)| name == wanted)?;
                    push_escaped(&mut tag, value);
                }
            }
            if tag.len() > MAX_BYTES {
                return None;
            }
        }
        Some(tag)
    }
}

/// What the client put into its path must not become a second tag.
fn push_escaped(tag: &mut String, value: &[u8]) {
    for byte in value {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            tag.push(char::from(*byte));
        } else {
            tag.push_str(&format!("%{byte:02X}"));
        }
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b',' | b'"' | b'\\' | b'{' | b'}')
}

fn plain(
    answer: &ResponseHead,
    name: &str,
    separator: u8,
    templates: &[Template],
    path: &[(String, Vec<u8>)],
) -> Option<Edit> {
    let held: Vec<_> = answer
        .headers
        .all(name)
        .flat_map(|line| line.split(|byte| *byte == separator || *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|tag| !tag.is_empty())
        .collect();
    let mut all = held.clone();
    let expanded: Vec<_> = templates.iter().filter_map(|t| t.expand(path)).collect();
    for tag in &expanded {
        if !all.contains(&tag.as_bytes()) {
            all.push(tag.as_bytes());
        }
    }
    let value = all.join(&[separator][..]);
    (all.len() > held.len()).then(|| Edit::Set(name.to_owned(), value))
}

/// A field that is no List says nothing to a cache, so nothing is lost with it.
fn groups(
    answer: &ResponseHead,
    templates: &[Template],
    path: &[(String, Vec<u8>)],
) -> Option<Edit> {
    let mut all = structured::list(answer.headers.all("cache-groups")).unwrap_or_default();
    let held = all.len();
    for tag in templates.iter().filter_map(|t| t.expand(path)) {
        let text = BareItem::String(StringRef::from_str(&tag).ok()?.to_owned());
        let known = all
            .iter()
            .any(|entry| matches!(entry, ListEntry::Item(item) if item.bare_item == text));
        if !known {
            all.push(sfv::Item::new(text).into());
        }
    }
    if all.len() == held {
        return None;
    }
    let value = all.serialize()?;
    Some(Edit::Set("cache-groups".to_owned(), value.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Headers;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn templates(texts: &[&str]) -> Vec<Template> {
        texts
            .iter()
            .map(|text| Template::parse(text).unwrap())
            .collect()
    }

    fn after(tags: &Tags, id: &[u8], held: &[(&str, &str)]) -> Vec<String> {
        let fields = held
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        let mut answer = ResponseHead {
            headers: Headers::new(fields.collect()),
        };
        let path = [("id".to_owned(), id.to_vec())];
        answer.headers.apply(&tags.edits(&answer, &path));
        assert_eq!(
            tags.edits(&answer, &path),
            [],
            "a second round changes nothing"
        );
        let print = |(name, value): (&[u8], &[u8])| {
            format!(
                "{}: {}",
                String::from_utf8_lossy(name),
                String::from_utf8_lossy(value)
            )
        };
        answer.headers.iter().map(print).collect()
    }

    #[test]
    fn tags_are_added_to_the_origins() {
        let all = Tags {
            surrogate_key: templates(&["products", "product-{id}"]),
            cache_tag: templates(&["products", "product-{id}"]),
            cache_groups: templates(&["products", "product-{id}"]),
        };
        assert_eq!(
            after(&all, b"7", &[]),
            [
                "surrogate-key: products product-7",
                "cache-tag: products,product-7",
                "cache-groups: \"products\", \"product-7\"",
            ]
        );
        let held = [
            ("surrogate-key", "a  products"),
            ("cache-tag", "a, products"),
            ("cache-groups", "\"a\";x, \"products\""),
        ];
        assert_eq!(
            after(&all, b"7", &held),
            [
                "surrogate-key: a products product-7",
                "cache-tag: a,products,product-7",
                "cache-groups: \"a\";x, \"products\", \"product-7\"",
            ]
        );
    }

    #[test]
    fn a_path_cannot_bring_in_a_tag_of_its_own() {
        let tags = Tags {
            surrogate_key: templates(&["p-{id}"]),
            cache_tag: templates(&["p-{id}"]),
            cache_groups: templates(&["p-{id}"]),
        };
        assert_eq!(
            after(&tags, b"1 admin,x\"\\\r\n\xff", &[]),
            [
                "surrogate-key: p-1%20admin%2Cx%22%5C%0D%0A%FF",
                "cache-tag: p-1%20admin%2Cx%22%5C%0D%0A%FF",
                "cache-groups: \"p-1%20admin%2Cx%22%5C%0D%0A%FF\"",
            ]
        );
        assert_eq!(after(&tags, &[b'x'; MAX_BYTES], &[]), Vec::<String>::new());
    }

    #[test]
    fn a_field_that_no_cache_can_read_is_written_anew() {
        let tags = Tags {
            cache_groups: templates(&["p"]),
            ..Tags::default()
        };
        assert_eq!(
            after(&tags, b"", &[("cache-groups", "a b")]),
            ["cache-groups: \"p\""]
        );
    }

    #[test]
    fn what_is_no_template() {
        for text in [
            "", "a b", "a,b", "a{", "a}", "{}", "\"", "a\\", "\u{e9}", "{id",
        ] {
            assert_eq!(Template::parse(text), None, "{text}");
        }
        let template = Template::parse("a-{b}{c}").unwrap();
        assert_eq!(template.parameters().collect::<Vec<_>>(), ["b", "c"]);
    }
}
