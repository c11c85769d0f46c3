//! The formats that are asserted (JSON Schema validation §7.3), each by the grammar of its RFC.

mod host;
mod mail;
mod text;
mod time;

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::pattern;
use super::uri::{Alphabet, is_absolute, is_reference};
pub use host::Labels;

/// A format that a string can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `byte` of OpenAPI: padded base64 (RFC 4648 §4).
    Byte,
    /// RFC 3339 `full-date`.
    Date,
    /// RFC 3339 `date-time`.
    DateTime,
    /// RFC 3339 appendix A `duration`.
    Duration,
    /// RFC 5321 §4.1.2 `Mailbox`.
    Email,
    /// RFC 1123 §2.1, with A-labels as RFC 5891 has them.
    Hostname,
    /// RFC 6531 §3.3 `Mailbox`.
    IdnEmail,
    /// RFC 2673 §3.2.
    Ipv4,
    /// RFC 4291 §2.2.
    Ipv6,
    /// RFC 3987.
    Iri,
    /// RFC 3987, relative or not.
    IriReference,
    /// RFC 6901.
    JsonPointer,
    /// ECMA-262.
    Regex,
    /// draft-handrews-relative-json-pointer-01.
    RelativeJsonPointer,
    /// RFC 3339 `full-time`.
    Time,
    /// RFC 3986.
    Uri,
    /// RFC 3986, relative or not.
    UriReference,
    /// RFC 6570.
    UriTemplate,
    /// RFC 4122 §3.
    Uuid,
}

/// All formats by name.
pub const FORMATS: &[(&str, Format)] = &[
    ("byte", Format::Byte),
    ("date", Format::Date),
    ("date-time", Format::DateTime),
    ("duration", Format::Duration),
    ("email", Format::Email),
    ("hostname", Format::Hostname),
    ("idn-email", Format::IdnEmail),
    ("ipv4", Format::Ipv4),
    ("ipv6", Format::Ipv6),
    ("iri", Format::Iri),
    ("iri-reference", Format::IriReference),
    ("json-pointer", Format::JsonPointer),
    ("regex", Format::Regex),
    ("relative-json-pointer", Format::RelativeJsonPointer),
    ("time", Format::Time),
    ("uri", Format::Uri),
    ("uri-reference", Format::UriReference),
    ("uri-template", Format::UriTemplate),
    ("uuid", Format::Uuid),
];

impl Format {
    /// The format of that name.
    pub fn named(name: &str) -> Option<Self> {
        let known = FORMATS.iter().find(|(known, _)| *known == name);
        known.map(|(_, format)| *format)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        let known = FORMATS.iter().find(|(_, format)| *format == self);
        known.map_or("", |(name, _)| name)
    }

    /// Whether it takes the tables of [`Labels`].
    pub fn needs_labels(self) -> bool {
        matches!(self, Self::Hostname | Self::Email | Self::IdnEmail)
    }

    /// Steps that it takes to find out whether the text has the format.
    pub fn cost(self, text: &str) -> u64 {
        let length = text.len() as u64;
        match self {
            // Each property is looked up in the tables of Unicode.
            Self::Regex if text.contains("\\p") || text.contains("\\P") => length * 1_000,
            Self::Regex => length * 8,
            _ => length / 4,
        }
    }

    /// Whether the text has the format.
    pub fn holds(self, text: &str, labels: &Labels) -> bool {
        match self {
            Self::Byte => is_base64(text),
            Self::Date => time::is_date(text),
            Self::DateTime => time::is_date_time(text),
            Self::Duration => time::is_duration(text),
            Self::Email => mail::is_address(text, false, labels),
            Self::Hostname => host::is_hostname(text, labels),
            Self::IdnEmail => mail::is_address(text, true, labels),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Self::Iri => is_absolute(text, Alphabet::Iri),
            Self::IriReference => is_reference(text, Alphabet::Iri),
            Self::JsonPointer => text::is_json_pointer(text),
            Self::Regex => pattern::is_expression(text),
            Self::RelativeJsonPointer => text::is_relative_json_pointer(text),
            Self::Time => time::is_time(text),
            Self::Uri => is_absolute(text, Alphabet::Uri),
            Self::UriReference => is_reference(text, Alphabet::Uri),
            Self::UriTemplate => text::is_uri_template(text),
            Self::Uuid => text::is_uuid(text),
        }
    }
}

/// Padded base64 (RFC 4648 §4).
pub fn is_base64(text: &str) -> bool {
    STANDARD.decode(text).is_ok()
}

#[cfg(test)]
mod tests;
