//! `request.body`: raw form and compilation.

use std::collections::BTreeMap;

use deserr::Deserr;
use serde::Serialize;
use serde_json::Value;

use super::RawPartMode;
use super::params::RawStyle;
use super::plan::Planner;
use crate::config::problem::{Place, Problems, did_you_mean};
use crate::config::schemas::SchemaTable;
use crate::schema::params::{Members, Style};
use crate::schema::{
    BodyRule, Content, ContentCheck, FieldRule, FormRule, Limits, MediaRange, Schema,
};

/// `maxBytes` where the policy names none.
pub const DEFAULT_MAX_BYTES: u64 = 64 << 10;

/// Largest `maxBytes` of a body that is held for a check: Wasm never gives memory back.
pub const MOST_CHECKED_BYTES: u64 = 8 << 20;

/// Largest `maxBytes` of a body that only its size is checked of.
pub const MOST_BYTES: u64 = 1 << 30;

/// What a request's body must look like.
#[derive(Clone, Debug, Default, PartialEq, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "RequestBody", deny_unknown_fields))]
pub struct RawBody {
    /// Accepted media types: a type, `type/*`, `type/*+json` or `*/*`. `application/json` takes
    /// every `+json` type too. With a schema the default is `application/json`; without one any
    /// type passes.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_types: Option<Vec<String>>,
    /// JSON Schema of the body, draft 2020-12, or draft 7 where `$schema` says so; also of forms
    /// (`application/x-www-form-urlencoded`, `multipart/form-data`), as an object of their fields.
    /// `$ref: "#/schemas/NAME"` leads to one of the policy's `schemas`.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// What each accepted media type must hold, where it differs between them; instead of
    /// `contentTypes` and `schema`.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<BTreeMap<String, RawContent>>,
    /// Largest body in bytes, as sent and once inflated: 65536 by default, at most 8388608 (8 MiB)
    /// where the body is checked and 1073741824 (1 GiB) where only its size is.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Whether a request without a body is refused; GET, HEAD and OPTIONS never need one. By
    /// default true where there is a schema, and false elsewhere.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// What becomes of bodies with a `Content-Encoding`: `refuse` by default.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<RawCoding>,
    /// Whether refusals over bodies are carried out, where it differs from `request.mode`.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<RawPartMode>,
}

/// What becomes of bodies with a content coding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "ContentEncoding"))]
pub enum RawCoding {
    /// 415.
    #[default]
    Refuse,
    /// `gzip` and `deflate` are undone for the check, up to `maxBytes` and to a hundred times the
    /// size sent; the service gets the bytes that came.
    Inflate,
}

/// What a body of one media type must hold.
#[derive(Clone, Debug, Default, PartialEq, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "cli",
    schemars(rename = "RequestContent", deny_unknown_fields)
)]
pub struct RawContent {
    /// JSON Schema of the body, or of the object of a form's fields.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// What is said of single fields of a form.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub encoding: BTreeMap<String, RawField>,
}

/// What is said of one field of a form (OpenAPI 3.1, "Encoding Object").
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "FormField", deny_unknown_fields))]
pub struct RawField {
    /// Accepted media types of its parts in a multipart form; by default any.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub content_types: Vec<String>,
    /// Largest part in bytes, in a multipart form.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<usize>,
    /// How it is written in a URL-encoded form; objects are JSON texts by default.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub style: Option<RawStyle>,
    /// Whether elements stand on their own in a URL-encoded form; by default so for `form` only.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explode: Option<bool>,
}

/// A content of the body before it is compiled.
struct Wanted<'r> {
    text: &'r str,
    place: Place,
    schema: Option<&'r Value>,
    schema_at: Place,
    encoding: &'r BTreeMap<String, RawField>,
}

impl RawBody {
    /// Every schema used here with its place.
    pub(super) fn schemas(&self, at: &Place) -> Vec<(Place, &Value)> {
        let own = self
            .schema
            .as_ref()
            .map(|schema| (at.key("schema"), schema));
        let place = at.key("content");
        let contents = self.content.iter().flatten();
        let of_contents = contents.filter_map(|(name, content)| {
            Some((place.key(name).key("schema"), content.schema.as_ref()?))
        });
        own.into_iter().chain(of_contents).collect()
    }

    pub(super) fn compile(
        &self,
        at: &Place,
        schemas: &SchemaTable,
        problems: &mut Problems,
    ) -> BodyRule {
        let contents = self.contents(at, schemas, problems);
        let checked = contents
            .iter()
            .any(|content| !matches!(content.check, ContentCheck::SizeOnly));
        if self.schema.is_some() && !checked {
            problems.add(
                &at.key("contentTypes"),
                "names neither JSON nor a form, so `schema` would never be used; add \
                 `application/json`",
            );
        }
        let has_schema = !self.schemas(at).is_empty();
        BodyRule {
            max_bytes: self.max_bytes(checked, &at.key("maxBytes"), problems),
            required: self.required.unwrap_or(has_schema),
            contents,
            inflate: self.content_encoding.unwrap_or_default() == RawCoding::Inflate,
            limits: Limits::default(),
            explain: true,
            monitor: false,
        }
    }

    fn contents(&self, at: &Place, schemas: &SchemaTable, problems: &mut Problems) -> Vec<Content> {
        let none = BTreeMap::new();
        let mut contents: Vec<Content> = Vec::new();
        for wanted in self.wanted(at, &none, problems) {
            let Some(range) = MediaRange::parse(wanted.text) else {
                problems.add(&wanted.place, media_problem(wanted.text));
                continue;
            };
            if contents.iter().any(|content| content.range == range) {
                problems.add(&wanted.place, format!("`{range}` is there twice; drop one"));
                continue;
            }
            let check = wanted.check(&range, schemas, problems);
            contents.push(Content { range, check });
        }
        contents
    }

    /// The contents in either of their two forms.
    fn wanted<'r>(
        &'r self,
        at: &Place,
        none: &'r BTreeMap<String, RawField>,
        problems: &mut Problems,
    ) -> Vec<Wanted<'r>> {
        let at_types = at.key("contentTypes");
        if let Some(content) = &self.content {
            for (key, there) in [
                ("contentTypes", self.content_types.is_some()),
                ("schema", self.schema.is_some()),
            ] {
                if there {
                    problems.add(
                        &at.key(key),
                        "stands in `content` instead; drop one of the two",
                    );
                }
            }
            let at = at.key("content");
            let wanted = content.iter().map(|(name, content)| Wanted {
                text: name,
                place: at.key(name),
                schema: content.schema.as_ref(),
                schema_at: at.key(name).key("schema"),
                encoding: &content.encoding,
            });
            return at_least_one(wanted.collect(), &at, problems);
        }
        let shorthand = |text, place| Wanted {
            text,
            place,
            schema: self.schema.as_ref(),
            schema_at: at.key("schema"),
            encoding: none,
        };
        match (&self.content_types, &self.schema) {
            (Some(types), _) => {
                let types = types.iter().enumerate();
                let wanted = types.map(|(index, text)| shorthand(text, at_types.index(index)));
                at_least_one(wanted.collect(), &at_types, problems)
            }
            (None, Some(_)) => vec![shorthand("application/json", at_types)],
            (None, None) => Vec::new(),
        }
    }

    fn max_bytes(&self, checked: bool, at: &Place, problems: &mut Problems) -> u64 {
        let most = if checked {
            MOST_CHECKED_BYTES
        } else {
            MOST_BYTES
        };
        let asked = self.max_bytes.unwrap_or(DEFAULT_MAX_BYTES);
        if asked == 0 {
            problems.add(at, "is 0, so no body could ever pass; write at least 1");
        } else if asked > most {
            problems.add(
                at,
                format!("is more than the {most} bytes that can be held; write less"),
            );
        }
        asked.min(most)
    }
}

/// Reports an empty list of types, which would let no body pass.
fn at_least_one<'r>(
    wanted: Vec<Wanted<'r>>,
    at: &Place,
    problems: &mut Problems,
) -> Vec<Wanted<'r>> {
    if wanted.is_empty() {
        problems.add(
            at,
            "is empty, so no body could ever pass; name a type, or leave it out",
        );
    }
    wanted
}

impl Wanted<'_> {
    fn check(
        &self,
        range: &MediaRange,
        schemas: &SchemaTable,
        problems: &mut Problems,
    ) -> ContentCheck {
        let schema = schemas.get(&self.schema_at);
        if range.is("application", "x-www-form-urlencoded") {
            ContentCheck::UrlEncoded(self.form(schema, schemas, false, problems))
        } else if range.is("multipart", "form-data") {
            ContentCheck::Multipart(self.form(schema, schemas, true, problems))
        } else {
            let at = self.place.key("encoding");
            if !self.encoding.is_empty() {
                problems.add(&at, "only has a meaning for forms; drop it");
            }
            if range.is_json() {
                ContentCheck::Json(schema)
            } else {
                ContentCheck::SizeOnly
            }
        }
    }

    fn form(
        &self,
        schema: Option<Schema>,
        schemas: &SchemaTable,
        multipart: bool,
        problems: &mut Problems,
    ) -> FormRule {
        let planner = Planner {
            shared: schemas.shared(),
        };
        let plan = self.schema.map(|schema| planner.plan(schema, schema));
        let members: Members = match plan {
            Some(plan) => plan.object.map(|members| *members).unwrap_or_else(|| {
                problems.add(
                    &self.schema_at,
                    "must have `type: object`: a form is an object of its fields",
                );
                Members::default()
            }),
            None => Members::default(),
        };
        let at = self.place.key("encoding");
        let mut fields = BTreeMap::new();
        for (name, raw) in self.encoding {
            let at = at.key(name);
            if !members.named.contains_key(name) {
                let near = did_you_mean(name, members.named.keys().map(String::as_str));
                problems.add(&at, format!("the schema has no property `{name}`{near}"));
            }
            fields.insert(name.clone(), raw.compile(multipart, &at, problems));
        }
        FormRule {
            schema,
            members,
            fields,
        }
    }
}

impl RawField {
    fn compile(&self, multipart: bool, at: &Place, problems: &mut Problems) -> FieldRule {
        let mut types = Vec::new();
        for (index, text) in self.content_types.iter().enumerate() {
            match MediaRange::parse(text) {
                Some(range) => types.push(range),
                None => problems.add(&at.key("contentTypes").index(index), media_problem(text)),
            }
        }
        let of_parts = [
            ("contentTypes", !self.content_types.is_empty()),
            ("maxBytes", self.max_bytes.is_some()),
        ];
        let of_text = [
            ("style", self.style.is_some()),
            ("explode", self.explode.is_some()),
        ];
        let (misplaced, home) = if multipart {
            (of_text, "application/x-www-form-urlencoded")
        } else {
            (of_parts, "multipart/form-data")
        };
        for (key, there) in misplaced {
            if there {
                problems.add(
                    &at.key(key),
                    format!("only has a meaning in `{home}`; drop it"),
                );
            }
        }
        FieldRule {
            style: self.style(at, problems),
            types,
            max_bytes: self.max_bytes,
        }
    }

    fn style(&self, at: &Place, problems: &mut Problems) -> Option<(Style, bool)> {
        if self.style.is_none() && self.explode.is_none() {
            return None;
        }
        let style = self.style.map_or(Style::Form, Style::from);
        if matches!(style, Style::Simple | Style::Label | Style::Matrix) {
            problems.add(
                &at.key("style"),
                "is not a style of forms; write `form`, `spaceDelimited`, `pipeDelimited` or \
                 `deepObject`",
            );
        }
        Some((style, self.explode.unwrap_or(style == Style::Form)))
    }
}

fn media_problem(text: &str) -> String {
    if text.contains(';') {
        format!("`{text}` has parameters, which play no part in matching; write the type alone")
    } else {
        format!("`{text}` is not a media type; write one such as `application/json` or `image/*`")
    }
}
