//! The keywords that hold subschemas, and the drafts that know them.

/// A draft of JSON Schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draft {
    /// Draft 7.
    V7,
    /// Draft 2020-12.
    V2020,
}

impl Draft {
    /// The draft of that `$schema`.
    pub fn of(dialect: &str) -> Option<Self> {
        let uri = dialect.trim_end_matches('#');
        match uri.split_once("://")? {
            ("http" | "https", "json-schema.org/draft-07/schema") => Some(Self::V7),
            ("http" | "https", "json-schema.org/draft/2020-12/schema") => Some(Self::V2020),
            _ => None,
        }
    }
}

/// How a keyword holds subschemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// One.
    One,
    /// A list of them.
    List,
    /// One, or a list of them (`items` of draft 7).
    OneOrList,
    /// A mapping of names to subschemas.
    Named,
}

/// All keywords that hold subschemas, wherever a reference may lead.
pub const SUBSCHEMAS: &[(&str, Holds)] = &[
    ("$defs", Holds::Named),
    ("additionalItems", Holds::One),
    ("additionalProperties", Holds::One),
    ("allOf", Holds::List),
    ("anyOf", Holds::List),
    ("contains", Holds::One),
    ("definitions", Holds::Named),
    ("dependencies", Holds::Named),
    ("dependentSchemas", Holds::Named),
    ("else", Holds::One),
    ("if", Holds::One),
    ("items", Holds::OneOrList),
    ("not", Holds::One),
    ("oneOf", Holds::List),
    ("patternProperties", Holds::Named),
    ("prefixItems", Holds::List),
    ("properties", Holds::Named),
    ("propertyNames", Holds::One),
    ("then", Holds::One),
    ("unevaluatedItems", Holds::One),
    ("unevaluatedProperties", Holds::One),
];
