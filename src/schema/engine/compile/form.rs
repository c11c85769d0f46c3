//! The form that each keyword's value must have.

use serde_json::{Map, Number, Value};

use super::Compiler;
use crate::schema::engine::Fault;
use crate::schema::engine::path::Path;

/// Keywords whose value is text and asserts nothing by itself.
const TEXTS: &[&str] = &[
    "$anchor",
    "$comment",
    "$dynamicAnchor",
    "$id",
    "$schema",
    "contentEncoding",
    "contentMediaType",
    "description",
    "title",
];

/// Keywords that are true or false.
const FLAGS: &[&str] = &["deprecated", "readOnly", "uniqueItems", "writeOnly"];

/// A subschema while it is being compiled.
pub(super) struct Here<'s, 'p> {
    pub keywords: &'s Map<String, Value>,
    pub path: &'p Path<'p>,
}

impl<'s> Here<'s, '_> {
    pub(super) fn get(&self, keyword: &str) -> Option<&'s Value> {
        self.keywords.get(keyword)
    }
}

impl<'s> Compiler<'s, '_, '_> {
    /// Reports annotations that are not what they must be.
    pub(super) fn check_annotations(&mut self, here: &Here<'s, '_>) {
        for keyword in TEXTS {
            self.text(here, keyword);
        }
        for keyword in FLAGS {
            if here.get(keyword).is_some_and(|value| !value.is_boolean()) {
                self.misformed(here, keyword, "`true` or `false`");
            }
        }
        if here.get("examples").is_some_and(|value| !value.is_array()) {
            self.misformed(here, "examples", "a list");
        }
        if here
            .get("$vocabulary")
            .is_some_and(|value| !value.is_object())
        {
            self.misformed(here, "$vocabulary", "a mapping");
        }
    }

    pub(super) fn misformed(&mut self, here: &Here<'s, '_>, keyword: &str, form: &'static str) {
        self.report(&here.path.key(keyword), Fault::Form(form));
    }

    pub(super) fn text(&mut self, here: &Here<'s, '_>, keyword: &str) -> Option<&'s str> {
        let value = here.get(keyword)?;
        let text = value.as_str();
        if text.is_none() {
            self.misformed(here, keyword, "text");
        }
        text
    }

    pub(super) fn number(&mut self, here: &Here<'s, '_>, keyword: &str) -> Option<&'s Number> {
        match here.get(keyword)? {
            Value::Number(number) => Some(number),
            _ => {
                self.misformed(here, keyword, "a number");
                None
            }
        }
    }

    /// A whole number from 0; `2.0` is one too.
    pub(super) fn count(&mut self, here: &Here<'s, '_>, keyword: &str) -> Option<u64> {
        let value = here.get(keyword)?;
        let whole = |float: &f64| *float >= 0.0 && float.fract() == 0.0;
        // Beyond 64 bits the count is as good as endless.
        let count = value
            .as_u64()
            .or_else(|| value.as_f64().filter(whole).map(|float| float as u64));
        if count.is_none() {
            self.misformed(here, keyword, "a whole number from 0");
        }
        count
    }

    /// A list of names, each once.
    pub(super) fn names(&mut self, value: &'s Value, path: &Path<'_>) -> Box<[Box<str>]> {
        let list = value.as_array().map(Vec::as_slice);
        let mut names: Vec<Box<str>> = list
            .unwrap_or_default()
            .iter()
            .filter_map(|name| name.as_str().map(Into::into))
            .collect();
        names.sort_unstable();
        names.dedup();
        if list.is_none_or(|list| list.len() != names.len()) {
            self.report(path, Fault::Form("a list of names, each once"));
        }
        names.into()
    }
}
