//! `Accept-Encoding` on its way to the service, brought down to a few values, so that a cache that
//! varies by it keeps a few variants instead of one for each browser.

use super::field;
use crate::head::{Edit, RequestHead};

/// The edit that names the codings of `offered`, in that order, which the client accepts (RFC 9110
/// §12.5.3), or `identity`, which one that says nothing takes too. A client that refuses the plain
/// form is left alone.
pub fn normalise(head: &RequestHead, offered: &[String]) -> Option<Edit> {
    let accepted = Accepted::read(head);
    if accepted.refuses_plain() {
        return None;
    }
    let named: Vec<_> = offered
        .iter()
        .filter(|coding| accepted.takes(coding))
        .map(String::as_str)
        .collect();
    let wanted = if named.is_empty() {
        "identity".to_owned()
    } else {
        named.join(", ")
    };
    let mut held = head.headers.all("accept-encoding");
    let same = held.next() == Some(wanted.as_bytes()) && held.next().is_none();
    (!same).then(|| Edit::Set("accept-encoding".to_owned(), wanted.into_bytes()))
}

/// The codings that a client names, with whether it takes them.
struct Accepted(Vec<(String, bool)>);

impl Accepted {
    /// Members that are no coding with a weight are left out: what is not understood is not
    /// accepted.
    fn read(head: &RequestHead) -> Self {
        let lines = head.headers.all("accept-encoding");
        Self(field::elements(lines).filter_map(coding).collect())
    }

    fn takes(&self, coding: &str) -> bool {
        self.said(coding).or_else(|| self.said("*")) == Some(true)
    }

    /// Only `identity;q=0` or a `*;q=0` that nothing lifts refuses the plain form.
    fn refuses_plain(&self) -> bool {
        self.said("identity").or_else(|| self.said("*")) == Some(false)
    }

    fn said(&self, coding: &str) -> Option<bool> {
        let find = self.0.iter().find(|(name, _)| name == coding);
        find.map(|(_, taken)| *taken)
    }
}

/// `coding [;q=weight]`; `x-gzip` is another name of `gzip` (RFC 9110 §8.4.1.3).
fn coding(member: &[u8]) -> Option<(String, bool)> {
    let mut parts = member.splitn(2, |byte| *byte == b';');
    let name = parts.next()?.trim_ascii();
    let taken = match parts.next() {
        None => true,
        Some(weight) => is_positive(weight.trim_ascii())?,
    };
    if !field::is_token(name) {
        return None;
    }
    let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
    let name = match name.as_str() {
        "x-gzip" => "gzip".to_owned(),
        "x-compress" => "compress".to_owned(),
        _ => name,
    };
    Some((name, taken))
}

/// Whether a weight (RFC 9110 §12.4.2) is above 0; `None` where it is no weight.
fn is_positive(weight: &[u8]) -> Option<bool> {
    let lower = weight.to_ascii_lowercase();
    let value = lower.strip_prefix(b"q=")?;
    let (whole, fraction) = match value {
        [whole] => (*whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (*whole, fraction),
        _ => return None,
    };
    let zero = fraction.iter().all(|digit| *digit == b'0');
    match whole {
        b'0' if fraction.iter().all(u8::is_ascii_digit) => Some(!zero),
        b'1' if zero => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Headers;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn normalised(lines: &[&str]) -> String {
        let fields = lines
            .iter()
            .map(|line| (b"accept-encoding".to_vec(), line.as_bytes().to_vec()));
        let mut head = RequestHead {
            headers: Headers::new(fields.collect()),
        };
        let offered = ["br".to_owned(), "gzip".to_owned()];
        if let Some(edit) = normalise(&head, &offered) {
            head.headers.apply(&[edit]);
            assert_eq!(
                normalise(&head, &offered),
                None,
                "a second round changes nothing"
            );
        }
        let values: Vec<_> = head
            .headers
            .all("accept-encoding")
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect();
        values.join(" | ")
    }

    #[test]
    fn browsers_share_a_few_values() {
        for (lines, wanted) in [
            (&["gzip, deflate, br, zstd"][..], "br, gzip"),
            (&["GZIP;q=0.5", "br ; q=1.000"], "br, gzip"),
            (&["gzip"], "gzip"),
            (&["x-gzip, compress"], "gzip"),
            (&["deflate"], "identity"),
            (&["*"], "br, gzip"),
            (&["*, br;q=0"], "gzip"),
            (&["gzip;q=0, br;q=0.000"], "identity"),
            (&[""], "identity"),
            (&[], "identity"),
        ] {
            assert_eq!(normalised(lines), wanted, "{lines:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_not_accepted() {
        for line in [
            "gzip;q=2",
            "gzip;q=",
            "gzip;level=9",
            "gzip;q=0.1234",
            "g zip",
            "gzip;q=1.1",
            "\u{e9}",
        ] {
            assert_eq!(normalised(&[line]), "identity", "{line}");
        }
    }

    #[test]
    fn a_client_that_refuses_the_plain_form_is_left_alone() {
        for line in ["gzip, identity;q=0", "br, *;q=0"] {
            assert_eq!(normalised(&[line]), line);
        }
        assert_eq!(normalised(&["gzip, *;q=0, identity"]), "gzip");
    }
}
