//! Mail addresses (RFC 5321 §4.1.2; RFC 6531 §3.3 with letters of all scripts).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::host::{Labels, is_hostname, is_idn_hostname};

/// Octets of a local part and of a domain (RFC 5321 §4.5.3.1).
const MAX_LOCAL: usize = 64;
const MAX_DOMAIN: usize = 255;

/// Whether the text is one address, without a name around it.
pub fn is_address(text: &str, international: bool, labels: &Labels) -> bool {
    // A quoted local part may hold the sign itself, a domain never.
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    (international || text.is_ascii())
        && local.len() <= MAX_LOCAL
        && domain.len() <= MAX_DOMAIN
        && is_local(local)
        && match domain.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').is_some_and(is_literal),
            None if domain.is_ascii() => is_hostname(domain, labels),
            None => is_idn_hostname(domain, labels),
        }
}

fn is_local(text: &str) -> bool {
    let quoted = text.strip_prefix('"');
    match quoted {
        Some(rest) => rest.strip_suffix('"').is_some_and(is_quoted),
        None => text
            .split('.')
            .all(|atom| !atom.is_empty() && atom.chars().all(is_atom)),
    }
}

/// `atext` (RFC 5322 §3.2.3).
fn is_atom(char: char) -> bool {
    !char.is_ascii() || char.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(char)
}

/// `QcontentSMTP`: any printable character, quotes and backslashes behind a backslash.
fn is_quoted(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        let fits = match char {
            '\\' => chars.next().is_some_and(|next| matches!(next, ' '..='~')),
            '"' => false,
            '\t' => true,
            other => !other.is_ascii() || matches!(other, ' '..='~'),
        };
        if !fits {
            return false;
        }
    }
    true
}

/// An address in brackets (RFC 5321 §4.1.3).
fn is_literal(text: &str) -> bool {
    match text.split_at_checked(5) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => {
            address.parse::<Ipv6Addr>().is_ok()
        }
        _ => text.parse::<Ipv4Addr>().is_ok(),
    }
}
