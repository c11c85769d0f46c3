//! A route's `request`: raw form and compilation.
mod body;
mod params;
mod plan;

use std::collections::BTreeSet;

use deserr::Deserr;
use serde::Serialize;
use serde_json::Value;

use super::problem::{Place, Problems};
use super::schemas::SchemaTable;
use crate::schema::params::ParamRule;
use crate::schema::{BodyRule, Limits};

pub use body::{
    DEFAULT_MAX_BYTES, MOST_BYTES, MOST_CHECKED_BYTES, RawBody, RawCoding, RawContent, RawField,
};
pub use params::{RawLocation, RawParameter, RawStyle};

/// What a request must look like to reach the service.
#[derive(Clone, Debug, Default, PartialEq, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "Request", deny_unknown_fields))]
pub struct RawRequest {
    /// Whether refusals over parameters and bodies are carried out: `enforce` by default.
    /// `parametersMode` and `body.mode` go before it. Whether they may call is `access` alone.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<RawPartMode>,
    /// Its parameters in path, query, header and cookie. Without it none is checked.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Vec<RawParameter>>,
    /// Whether the query may hold parameters that `parameters` does not name: `refuse` by default.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additional_parameters: Option<RawAdditional>,
    /// Whether refusals over parameters are carried out, where it differs from `mode`.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters_mode: Option<RawPartMode>,
    /// What its body must look like. Without it bodies pass unchecked.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<RawBody>,
    /// Bounds on what is checked.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<RawLimits>,
    /// Whether refusals list what to mend: `on` by default, `off` for APIs that tell strangers
    /// nothing.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<RawErrors>,
}

/// What becomes of parameters that a route does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "AdditionalParameters"))]
pub enum RawAdditional {
    /// They pass unchecked.
    Allow,
    /// The request is refused.
    Refuse,
}

/// Whether a part's refusals are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "PartMode"))]
pub enum RawPartMode {
    /// A refused request gets the refusal.
    #[default]
    Enforce,
    /// A refused request is logged and counted, and passes.
    Monitor,
    /// The part is not checked.
    Off,
}

/// Whether refusals list what to mend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", schemars(rename = "RequestErrors"))]
pub enum RawErrors {
    /// They do.
    #[default]
    On,
    /// They name the reason alone.
    Off,
}

/// Bounds on what is checked; each has its own reason code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserr, Serialize)]
#[deserr(error = Problems, deny_unknown_fields, rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "cli",
    schemars(rename = "RequestLimits", deny_unknown_fields)
)]
pub struct RawLimits {
    /// Longest query in bytes: 8192 by default, at most 1048576. Answered with 414.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_query_bytes: Option<usize>,
    /// Largest sum of all fields' names and values in bytes: 61440 by default, at most 8388608.
    /// Answered with 431.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_header_bytes: Option<usize>,
    /// How many arrays and objects of a JSON text may nest: 64 by default, at most 120.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_depth: Option<usize>,
    /// How many members and elements a JSON text may have in all: 100000 by default, at most
    /// 1000000.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_values: Option<usize>,
    /// How long a string of a JSON text may be, in bytes of UTF-8: as long as the body by default.
    #[deserr(default)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_string_bytes: Option<usize>,
}

impl RawRequest {
    /// Every schema used here with its place, for [`SchemaTable::compile`].
    pub fn schemas(&self, at: &Place) -> Vec<(Place, &Value)> {
        let at_params = at.key("parameters");
        let params = self.parameters.iter().flatten().enumerate();
        let of_params = params.filter_map(|(index, one)| one.schema_at(&at_params.index(index)));
        let body = self.body.iter();
        let of_body = body.flat_map(|body| body.schemas(&at.key("body")));
        of_params.chain(of_body).collect()
    }

    /// Compiles the rule for bodies, where there is one.
    pub fn compile(
        &self,
        at: &Place,
        schemas: &SchemaTable,
        problems: &mut Problems,
    ) -> Option<BodyRule> {
        let limits = self.json_limits(&at.key("limits"), problems);
        let body = self.body.as_ref()?;
        let mut rule = body.compile(&at.key("body"), schemas, problems);
        rule.limits = limits;
        rule.explain = self.explains();
        let mode = body.mode.or(self.mode).unwrap_or_default();
        rule.monitor = mode == RawPartMode::Monitor;
        (mode != RawPartMode::Off).then_some(rule)
    }

    /// The request fields that its parameters stand in, in lower case, each once.
    pub(super) fn fields(&self) -> Vec<String> {
        let parameters = self.parameters.iter().flatten();
        let fields: BTreeSet<_> = parameters.filter_map(RawParameter::field).collect();
        fields.into_iter().collect()
    }

    /// Compiles the rule for parameters, where there is one; `path_names` are the names in the
    /// route's path template.
    pub fn compile_parameters(
        &self,
        at: &Place,
        path_names: &[String],
        schemas: &SchemaTable,
        problems: &mut Problems,
    ) -> Option<ParamRule> {
        let raw = self.parameters.as_deref().unwrap_or_default();
        let place = at.key("parameters");
        let params = params::compile(raw, path_names, &place, schemas, problems);
        if self.parameters.is_none() && self.additional_parameters == Some(RawAdditional::Refuse) {
            problems.add(
                &at.key("additionalParameters"),
                "refuses every parameter where `parameters` names none; write `parameters: []` \
                 if that is meant",
            );
        }
        let mode = self.parameters_mode.or(self.mode).unwrap_or_default();
        let limits = self.limits.clone().unwrap_or_default();
        let at_limits = at.key("limits");
        let rule = ParamRule {
            params,
            additional: self.parameters.is_none()
                || self.additional_parameters == Some(RawAdditional::Allow),
            max_query: bounded(
                limits.max_query_bytes,
                (8 << 10, 1 << 20),
                &at_limits.key("maxQueryBytes"),
                problems,
            ),
            max_headers: bounded(
                limits.max_header_bytes,
                (60 << 10, 8 << 20),
                &at_limits.key("maxHeaderBytes"),
                problems,
            ),
            // The same findings are reported with the body's.
            limits: self.json_limits(&at_limits, &mut Problems::default()),
            explain: self.explains(),
            monitor: mode == RawPartMode::Monitor,
        };
        (mode != RawPartMode::Off).then_some(rule)
    }

    fn explains(&self) -> bool {
        self.errors.unwrap_or_default() == RawErrors::On
    }

    fn json_limits(&self, at: &Place, problems: &mut Problems) -> Limits {
        let raw = self.limits.clone().unwrap_or_default();
        let usual = Limits::default();
        let most = usize::MAX;
        Limits {
            depth: bounded(
                raw.max_depth,
                (usual.depth, Limits::DEEPEST),
                &at.key("maxDepth"),
                problems,
            ),
            values: bounded(
                raw.max_values,
                (usual.values, 1_000_000),
                &at.key("maxValues"),
                problems,
            ),
            string: bounded(
                raw.max_string_bytes,
                (usual.string, most),
                &at.key("maxStringBytes"),
                problems,
            ),
        }
    }
}

/// A limit between 1 and `most`, or its usual value.
fn bounded(
    raw: Option<usize>,
    (usual, most): (usize, usize),
    at: &Place,
    problems: &mut Problems,
) -> usize {
    let Some(asked) = raw else { return usual };
    if asked == 0 {
        problems.add(at, "is 0, so nothing could ever pass; write at least 1");
    } else if asked > most {
        problems.add(at, format!("is more than {most}; write less"));
    }
    asked.clamp(1, most)
}

#[cfg(test)]
mod tests;
