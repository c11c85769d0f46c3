//! Request checks: is this request one that the API describes?
//!
//! A [`BodyRule`] is what a route says about request bodies. It decides in two steps, because a
//! proxy sees the head long before the body: [`BodyRule::check_head`] refuses what the head already
//! gives away and says what is left to do, [`BodyRule::check`] looks at the whole body.
mod body;
mod engine;
mod explain;
mod form;
mod inflate;
mod json;
mod media;
mod multipart;
pub mod params;

pub use body::{BodyPlan, BodyRule, Content, ContentCheck};
pub use engine::{
    BadPattern, Choice as SchemaChoice, FORMATS, Fault as SchemaFault, Finding as SchemaFinding,
    MAX_DEPTH as MAX_SCHEMA_DEPTH, Mismatch, NUMBER_FORMATS, Path as SchemaPath, SUBSCHEMAS,
    Schema, Schemas, Source as SchemaSource, TYPES, compile as compile_schemas, is_pattern,
};
pub use explain::MOST as MOST_VIOLATIONS;
pub use form::{FieldRule, FormRule};
pub use inflate::{Coding, InflateError, MAX_RATIO, inflate};
pub use json::{Fault, Limits, parse as parse_json};
pub use media::{Fit, MediaRange, MediaType, is_token};
pub use multipart::{MultipartError, Part, parse as parse_multipart};
