//! The policy that an import makes, and its text.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::security::Issuer;
use super::write::Writer;
use crate::config::VERSION;

/// A policy before it is written.
pub struct Draft {
    /// The document's title and version.
    pub(super) title: String,
    pub(super) issuers: BTreeMap<String, Issuer>,
    pub(super) services: BTreeMap<String, Value>,
    pub(super) default_service: Option<String>,
    pub(super) schemas: BTreeMap<String, Value>,
    pub(super) routes: Vec<DraftRoute>,
}

/// A route before it is written.
pub struct DraftRoute {
    /// What it is for.
    pub(super) comment: String,
    /// The operation's place in the document.
    pub(super) origin: String,
    pub(super) value: Value,
}

impl Draft {
    /// How many routes and schemas it has.
    pub fn size(&self) -> (usize, usize) {
        (self.routes.len(), self.schemas.len())
    }

    /// The policy as a document.
    pub fn document(&self) -> Value {
        let issuers = self.issuers.iter();
        let issuers: Map<_, _> = issuers
            .map(|(name, issuer)| (name.clone(), issuer.value.clone()))
            .collect();
        let mut document = json!({
            "version": VERSION,
            "routes": self.routes.iter().map(|route| &route.value).collect::<Vec<_>>(),
        });
        if let Value::Object(keys) = &mut document {
            let default = self.default_service.as_deref();
            keys.extend(default.map(|name| ("defaultService".to_owned(), name.into())));
            for (key, members) in [
                ("issuers", issuers),
                ("services", self.services.clone().into_iter().collect()),
                ("schemas", self.schemas.clone().into_iter().collect()),
            ] {
                if !members.is_empty() {
                    keys.insert(key.into(), members.into());
                }
            }
        }
        document
    }

    /// The policy as YAML with comments, in a stable order.
    pub fn yaml(&self) -> String {
        let mut out = Writer::default();
        let title = match self.title.as_str() {
            "" => "an OpenAPI document".to_owned(),
            title => format!("the OpenAPI document of {title}"),
        };
        out.comment(
            0,
            &format!("Made by `forecourt import openapi` from {title}."),
        );
        out.line(&format!("version: {VERSION}"));
        if !self.issuers.is_empty() {
            out.line("\nissuers:");
            for (name, issuer) in &self.issuers {
                for comment in &issuer.comments {
                    out.comment(2, comment);
                }
                out.member(2, name, &issuer.value);
            }
        }
        for (key, members) in [("services", &self.services), ("schemas", &self.schemas)] {
            if !members.is_empty() {
                out.line(&format!("\n{key}:"));
                for (name, value) in members {
                    out.member(2, name, value);
                }
            }
        }
        if let Some(name) = &self.default_service {
            out.line("");
            out.member(0, "defaultService", &name.as_str().into());
        }
        match self.routes.is_empty() {
            true => out.line("\nroutes: []"),
            false => out.line("\nroutes:"),
        }
        for route in &self.routes {
            out.comment(2, &route.comment);
            out.element(2, &route.value);
        }
        out.text()
    }
}
