//! `request.parameters`: raw form and compilation.

use deserr::Deserr;
use serde::Serialize;
use serde_json::Value;

use super::plan::Planner;
use crate::config::problem::{Place, Problems, did_you_mean};
use crate::config::schemas::SchemaTable;
use crate::schema::MediaType;
use crate::schema::params::{Location, Param, Style, Written};

/// One parameter of a route, in the terms of OpenAPI.
#[derive(Clone, Debug, PartialEq, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "Parameter", deny_unknown_fields))]
pub struct RawParameter {
    /// Its name. Names of headers are matched in any case.
    pub name: String,
    /// Where it stands.
    #[deserr(rename = "in")]
    #[serde(rename = "in")]
    pub location: RawLocation,
    /// Whether a request without it is refused. Path parameters always are.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// How it is written: by default `simple` in paths and headers, `form` in queries and cookies.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub style: Option<RawStyle>,
    /// Whether elements and members stand on their own; by default so for `form` only.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explode: Option<bool>,
    /// Whether `name=` passes in a query whatever the schema says.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_empty_value: bool,
    /// `application/json` where the parameter is a JSON text instead of being written in a style.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// JSON Schema of its value. Text is read as the types that the schema allows: `5` is a number
    /// under `type: integer` and text under `type: string`.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "ParameterLocation"))]
pub enum RawLocation {
    /// A `{name}` of the route's path.
    Path,
    /// Behind the `?`.
    Query,
    /// A header field.
    Header,
    /// A cookie.
    Cookie,
}

/// How a parameter is written (OpenAPI 3.1, "Style Values").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "ParameterStyle"))]
pub enum RawStyle {
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

impl From<RawLocation> for Location {
    fn from(raw: RawLocation) -> Self {
        match raw {
            RawLocation::Path => Self::Path,
            RawLocation::Query => Self::Query,
            RawLocation::Header => Self::Header,
            RawLocation::Cookie => Self::Cookie,
        }
    }
}

impl From<RawStyle> for Style {
    fn from(raw: RawStyle) -> Self {
        match raw {
            RawStyle::Simple => Self::Simple,
            RawStyle::Label => Self::Label,
            RawStyle::Matrix => Self::Matrix,
            RawStyle::Form => Self::Form,
            RawStyle::SpaceDelimited => Self::SpaceDelimited,
            RawStyle::PipeDelimited => Self::PipeDelimited,
            RawStyle::DeepObject => Self::DeepObject,
        }
    }
}

/// Header parameters that other parts of the policy decide on (OpenAPI 3.1, "Parameter Object").
const RESERVED_HEADERS: [(&str, &str); 3] = [
    ("accept", "content negotiation"),
    ("content-type", "`body.contentTypes`"),
    ("authorization", "`access`"),
];

/// Compiles a route's parameters; `path_names` are those of its path template.
pub(super) fn compile(
    raw: &[RawParameter],
    path_names: &[String],
    at: &Place,
    schemas: &SchemaTable,
    problems: &mut Problems,
) -> Vec<Param> {
    let planner = Planner {
        shared: schemas.shared(),
    };
    let mut params: Vec<Param> = Vec::with_capacity(raw.len());
    for (index, one) in raw.iter().enumerate() {
        let at = at.index(index);
        let param = one.compile(&planner, schemas, &at, problems);
        let same = |held: &Param| held.location == param.location && held.name == param.name;
        if params.iter().any(same) {
            problems.add(
                &at,
                format!(
                    "`{}` in {} is there twice; drop one",
                    one.name,
                    param.location.as_str()
                ),
            );
        }
        if param.location == Location::Path && !path_names.contains(&one.name) {
            let near = did_you_mean(&one.name, path_names.iter().map(String::as_str));
            let message = format!("the route's path has no `{{{}}}`{near}", one.name);
            problems.add(&at.key("name"), message);
        }
        params.push(param);
    }
    reserve_names(&mut params);
    params
}

/// An object whose members come on their own takes no name of another parameter.
fn reserve_names(params: &mut [Param]) {
    let names: Vec<_> = params
        .iter()
        .map(|param| (param.location, param.name.clone()))
        .collect();
    for param in params {
        let others = names
            .iter()
            .filter(|(location, name)| *location == param.location && *name != param.name);
        param.siblings = others.map(|(_, name)| name.clone()).collect();
    }
}

impl RawParameter {
    /// The request field that it stands in, in lower case, if it stands in one.
    pub(super) fn field(&self) -> Option<String> {
        match self.location {
            RawLocation::Header => Some(self.name.to_ascii_lowercase()),
            RawLocation::Cookie => Some("cookie".to_owned()),
            RawLocation::Path | RawLocation::Query => None,
        }
    }

    /// Its schema, with the place.
    pub(super) fn schema_at(&self, at: &Place) -> Option<(Place, &Value)> {
        Some((at.key("schema"), self.schema.as_ref()?))
    }

    fn compile(
        &self,
        planner: &Planner<'_>,
        schemas: &SchemaTable,
        at: &Place,
        problems: &mut Problems,
    ) -> Param {
        let location = Location::from(self.location);
        self.check_name(location, at, problems);
        if self.required == Some(false) && location == Location::Path {
            problems.add(
                &at.key("required"),
                "a path parameter is always there; write `true`, or leave it out",
            );
        }
        if self.allow_empty_value && location != Location::Query {
            problems.add(
                &at.key("allowEmptyValue"),
                "only has a meaning in a query; drop it",
            );
        }
        let name = match location {
            Location::Header => self.name.to_ascii_lowercase(),
            _ => self.name.clone(),
        };
        Param {
            name,
            location,
            required: self.required.unwrap_or(location == Location::Path),
            allow_empty: self.allow_empty_value,
            written: self.written(location, planner, at, problems),
            schema: schemas.get(&at.key("schema")),
            siblings: Vec::new(),
        }
    }

    fn check_name(&self, location: Location, at: &Place, problems: &mut Problems) {
        let at = at.key("name");
        if self.name.is_empty() {
            problems.add(&at, "is empty; write the parameter's name");
        }
        if location != Location::Header {
            return;
        }
        let lower = self.name.to_ascii_lowercase();
        if let Some((_, other)) = RESERVED_HEADERS.iter().find(|(name, _)| *name == lower) {
            problems.add(
                &at,
                format!("`{}` is decided by {other}; drop it here", self.name),
            );
        } else if !crate::schema::is_token(&self.name) {
            problems.add(
                &at,
                format!("`{}` is no field name (RFC 9110 §5.1)", self.name),
            );
        }
    }

    fn written(
        &self,
        location: Location,
        planner: &Planner<'_>,
        at: &Place,
        problems: &mut Problems,
    ) -> Written {
        if let Some(media) = &self.content_type {
            self.check_content(media, at, problems);
            return Written::Json;
        }
        let any = Value::Bool(true);
        let schema = self.schema.as_ref().unwrap_or(&any);
        let style = self
            .style
            .map_or_else(|| default_style(location), Style::from);
        if !styles_of(location).contains(&style) {
            problems.add(
                &at.key("style"),
                format!(
                    "{} parameters are never written so; write {}",
                    location.as_str(),
                    style_names(location)
                ),
            );
        }
        let plan = planner.plan(schema, schema);
        if style == Style::DeepObject && plan.object.is_none() {
            problems.add(
                &at.key("style"),
                "`deepObject` needs a schema with `type: object`",
            );
        }
        Written::Style {
            style,
            explode: self.explode.unwrap_or(style == Style::Form),
            plan,
        }
    }

    fn check_content(&self, media: &str, at: &Place, problems: &mut Problems) {
        if !MediaType::parse(media.as_bytes()).is_some_and(|media| media.is_json()) {
            problems.add(
                &at.key("contentType"),
                format!("`{media}` is not checked inside a parameter; write `application/json`"),
            );
        }
        for (key, there) in [
            ("style", self.style.is_some()),
            ("explode", self.explode.is_some()),
        ] {
            if there {
                problems.add(&at.key(key), "has no meaning beside `contentType`; drop it");
            }
        }
    }
}

fn default_style(location: Location) -> Style {
    match location {
        Location::Path | Location::Header => Style::Simple,
        Location::Query | Location::Cookie => Style::Form,
    }
}

fn styles_of(location: Location) -> &'static [Style] {
    match location {
        Location::Path => &[Style::Simple, Style::Label, Style::Matrix],
        Location::Query => &[
            Style::Form,
            Style::SpaceDelimited,
            Style::PipeDelimited,
            Style::DeepObject,
        ],
        Location::Header => &[Style::Simple],
        Location::Cookie => &[Style::Form],
    }
}

fn style_names(location: Location) -> &'static str {
    match location {
        Location::Path => "`simple`, `label` or `matrix`",
        Location::Query => "`form`, `spaceDelimited`, `pipeDelimited` or `deepObject`",
        Location::Header => "`simple`",
        Location::Cookie => "`form`",
    }
}
