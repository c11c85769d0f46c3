//! Path templates: `/products/{id}`, `/files/{name}.json`, `/compare/{base}...{head}`,
//! `/assets/{rest=**}`.

use super::path;

/// A path template, split into the segments that the router walks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// One matcher a segment.
    pub segments: Vec<Part>,
    /// The names of its parameters, in order.
    pub names: Vec<String>,
}

/// What one segment of a template accepts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// Exactly this text.
    Literal(String),
    /// Literal text around parameters: `{name}.json` is `["", ".json"]`. A parameter takes at least
    /// one character and, but for the last, as few as it can.
    Mixed(Vec<String>),
    /// Any one segment that is not empty.
    Any,
    /// Everything that follows, at least one segment; only at the end.
    Rest,
}

impl Template {
    /// Reads a template; the error says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err("a path begins with `/`".into());
        };
        if text.len() > path::MAX_PATH {
            return Err("a path has at most 8 KiB".into());
        }
        let mut template = Self {
            segments: Vec::new(),
            names: Vec::new(),
        };
        if !rest.is_empty() {
            for piece in rest.split('/') {
                if template.segments.last() == Some(&Part::Rest) {
                    return Err("`{name=**}` takes the rest of the path, so it comes last".into());
                }
                let part = template.part(piece)?;
                template.segments.push(part);
            }
        }
        template.check_normal()?;
        Ok(template)
    }

    fn part(&mut self, piece: &str) -> Result<Part, String> {
        let mut literals = vec![String::new()];
        let mut rest = piece;
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, after) = behind
                .split_once('}')
                .ok_or("`{` without a `}` in the same segment")?;
            let (name, wild) = match name.split_once('=') {
                None => (name, false),
                Some((name, "*")) => (name, false),
                Some((name, "**")) => (name, true),
                Some(_) => return Err("a parameter is `{name}`, or `{name=**}` at the end".into()),
            };
            self.name(name)?;
            if wild {
                return match (before, after) {
                    ("", "") => Ok(Part::Rest),
                    _ => Err("`{name=**}` stands alone in its segment".into()),
                };
            }
            if literals.len() > 1 && before.is_empty() {
                return Err("two parameters need text between them".into());
            }
            push_literal(&mut literals, before)?;
            literals.push(String::new());
            rest = after;
        }
        if rest.contains('}') {
            return Err("`}` without a `{` in the same segment".into());
        }
        push_literal(&mut literals, rest)?;
        Ok(match literals.len() {
            1 => Part::Literal(literals.pop().unwrap_or_default()),
            2 if literals.iter().all(String::is_empty) => Part::Any,
            _ => Part::Mixed(literals),
        })
    }

    fn name(&mut self, name: &str) -> Result<(), String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || !name.chars().all(plain) {
            return Err("a parameter's name has letters, digits, `_`, `-` and `.`".into());
        }
        if self.names.iter().any(|held| held == name) {
            return Err(format!("the parameter `{name}` is named twice"));
        }
        self.names.push(name.to_owned());
        Ok(())
    }

    /// Its segments with a slash at the end where there is none, and without where there is one;
    /// `None` for `/`, and for a template that takes the rest of the path, slashes and all.
    pub fn other_end(&self) -> Option<Vec<Part>> {
        let (last, before) = self.segments.split_last()?;
        match last {
            Part::Rest => None,
            Part::Literal(text) if text.is_empty() => Some(before.to_vec()),
            _ => {
                let slash = Part::Literal(String::new());
                Some(self.segments.iter().cloned().chain([slash]).collect())
            }
        }
    }

    /// A template that no request can reach, because its paths are refused, is a mistake.
    fn check_normal(&self) -> Result<(), String> {
        if self.segments.len() > path::MAX_SEGMENTS {
            return Err("a path has at most 128 segments".into());
        }
        for (at, part) in self.segments.iter().enumerate() {
            match part {
                Part::Literal(text) if text.is_empty() && at + 1 < self.segments.len() => {
                    return Err(
                        "`//` never matches: requests with empty segments are refused".into(),
                    );
                }
                Part::Literal(text) if path::is_dots(text) => {
                    return Err("dot segments never match: such requests are refused".into());
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn push_literal(literals: &mut [String], text: &str) -> Result<(), String> {
    if text.contains('*') {
        return Err(
            "`*` is not a wildcard here: write `{name}` for a segment, `{name=**}` for the rest"
                .into(),
        );
    }
    if let Some(bad) = text
        .chars()
        .find(|c| "?#\\".contains(*c) || c.is_control() || *c == ' ')
    {
        return Err(format!("{bad:?} cannot stand in a path"));
    }
    if text.to_ascii_lowercase().contains("%2f") {
        return Err("an encoded slash is never matched as text; have a parameter take it".into());
    }
    let decoded = if text.is_ascii() {
        path::parse(format!("/{text}").as_bytes())
            .ok()
            .and_then(|path| path.segments.into_iter().next())
            .map(|segment| segment.text.into_owned())
    } else {
        Some(text.to_owned())
    };
    // A literal such as `.` beside a parameter is no dot segment: take it as it stands.
    let decoded = decoded.unwrap_or_else(|| text.to_owned());
    if let Some(last) = literals.last_mut() {
        last.push_str(&decoded);
    }
    Ok(())
}

/// Matches a segment against the literals of [`Part::Mixed`]: the byte ranges of its parameters.
pub fn match_mixed(literals: &[String], text: &str) -> Option<Vec<(usize, usize)>> {
    let (first, rest) = literals.split_first()?;
    let mut at = text.strip_prefix(first.as_str()).map(|_| first.len())?;
    let mut ranges = Vec::with_capacity(rest.len());
    for (index, literal) in rest.iter().enumerate() {
        let tail = text.get(at..)?;
        let first_char = tail.chars().next()?.len_utf8();
        let end = if index + 1 == rest.len() {
            let end = text.len().checked_sub(literal.len())?;
            (text.is_char_boundary(end) && text.ends_with(literal.as_str())).then_some(end)?
        } else {
            at + first_char + tail.get(first_char..)?.find(literal.as_str())?
        };
        if end < at + first_char {
            return None;
        }
        ranges.push((at, end));
        at = end + literal.len();
    }
    Some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn templates_split_into_parts() {
        let parts = |text| Template::parse(text).unwrap().segments;
        let literal = |text: &str| Part::Literal(text.into());
        assert_eq!(parts("/"), []);
        assert_eq!(parts("/a/{id}"), [literal("a"), Part::Any]);
        assert_eq!(parts("/a/"), [literal("a"), literal("")]);
        assert_eq!(
            parts("/{n}.json"),
            [Part::Mixed(vec!["".into(), ".json".into()])]
        );
        assert_eq!(
            parts("/c/{base}...{head}"),
            [
                literal("c"),
                Part::Mixed(vec!["".into(), "...".into(), "".into()])
            ]
        );
        assert_eq!(parts("/f/{rest=**}"), [literal("f"), Part::Rest]);
        assert_eq!(parts("/caf%C3%A9"), parts("/café"));
    }

    #[test]
    fn templates_that_cannot_be_meant_are_refused() {
        for text in [
            "",
            "a",
            "/a//b",
            "/a/../b",
            "/{",
            "/}",
            "/{}",
            "/{a}/{a}",
            "/{a}{b}",
            "/{r=**}/x",
            "/x{r=**}",
            "/{a=b}",
            "/a*",
            "/*",
            "/a?b",
            "/a#b",
            "/a b",
            "/a\\b",
            "/{a b}",
            "/a%2Fb",
            "/{a}-%2f",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn mixed_segments_take_what_lies_between_their_literals() {
        let hit = |literals: &[&str], text: &str| {
            let literals: Vec<_> = literals.iter().map(|l| (*l).to_owned()).collect();
            match_mixed(&literals, text).map(|ranges| {
                ranges
                    .iter()
                    .map(|(s, e)| text.get(*s..*e).unwrap_or_default().to_owned())
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(hit(&["", ".json"], "a.json.json").unwrap(), ["a.json"]);
        assert_eq!(hit(&["", "...", ""], "x...y").unwrap(), ["x", "y"]);
        assert_eq!(hit(&["img-", ".png"], "img-é.png").unwrap(), ["é"]);
        for (literals, text) in [
            (["", ".json"], ".json"),
            (["", ".json"], "a.xml"),
            (["a", "a"], "a"),
            (["a", "a"], "aa"),
        ] {
            assert_eq!(hit(&literals, text), None, "{text}");
        }
    }
}
