//! What a token would have had to be, for whoever reads the trace of a refusal. What is expected is the
//! policy's and is always told; what the token holds only where values are shown.

use super::access::{Accepted, Env};
use super::authenticate::Stop;
use super::claims::Claims;
use super::issuer::{Issuer, KeySource, KeyState};
use super::jws::Header;
use crate::reply::Code;

/// What the trace says of a refusal by one issuer.
pub struct Expectation<'a> {
    pub header: &'a Header,
    pub claims: &'a Claims,
    pub issuer: &'a Issuer,
    pub item: &'a Accepted,
    pub env: &'a Env<'a>,
    pub shows_values: bool,
}

impl Expectation<'_> {
    /// The code, what was expected and, where values are shown, what is there.
    pub fn tell(&self, stop: &Stop) -> String {
        let name = &self.issuer.name;
        let Stop::Refused(refusal) = stop else {
            return format!("the keys of issuer {name} have to come first");
        };
        let mut text = format!("issuer {name} refuses it: {}", refusal.code.as_str());
        if let Some((expected, held)) = self.of(refusal.code) {
            text += &format!("; {expected}");
            if self.shows_values {
                text += &format!("; {held}");
            }
        }
        text
    }

    fn of(&self, code: Code) -> Option<(String, String)> {
        let skew = self.issuer.clock_skew;
        let now = self.env.now.0;
        Some(match code {
            Code::AudienceMismatch => {
                let own = &self.issuer.audiences;
                let names = self.item.audiences.as_ref().unwrap_or(own).join(", ");
                (
                    format!("its aud has to name one of {names}"),
                    self.held(&["aud"]),
                )
            }
            Code::AlgorithmNotAllowed => {
                let names: Vec<_> = self
                    .issuer
                    .algorithms
                    .iter()
                    .map(|alg| alg.as_str())
                    .collect();
                let expected = format!(
                    "its alg has to be the key's, and one of {}",
                    names.join(", ")
                );
                (expected, format!("its alg is {:?}", self.header.algorithm))
            }
            Code::KeyUnknown => {
                let expected = format!("its kid has to be one of {}", self.kids());
                (
                    expected,
                    format!("its kid is {}", shown(self.header.kid.as_deref())),
                )
            }
            Code::TokenExpired => (
                format!("its exp has to be later than {now}, with {skew} seconds of tolerance"),
                self.held(&["exp"]),
            ),
            Code::TokenNotYetValid => (
                format!(
                    "its nbf and iat must not be later than {now}, with {skew} seconds of tolerance"
                ),
                self.held(&["nbf", "iat"]),
            ),
            Code::ExpiryMissing => ("it has to have an exp".to_owned(), self.held(&["exp"])),
            Code::TokenTypeNotAllowed => {
                let expected = match &self.issuer.types {
                    Some(types) => format!("its typ has to be one of {}", types.join(", ")),
                    None => "its typ has to be JWT or at+jwt, if it has one".to_owned(),
                };
                (
                    expected,
                    format!("its typ is {}", shown(self.header.typ.as_deref())),
                )
            }
            Code::TokenLifetimeTooLong => (
                format!(
                    "it may live for {} seconds",
                    self.issuer.max_lifetime.unwrap_or(0)
                ),
                self.held(&["iat", "exp"]),
            ),
            Code::TokenRevoked => (
                "its jti, sub or iat is among the revoked".to_owned(),
                self.held(&["jti", "sub", "iat"]),
            ),
            Code::AuthenticationTooOld => (
                "it has to have an auth_time that has passed".to_owned(),
                self.held(&["auth_time"]),
            ),
            _ => return None,
        })
    }

    fn held(&self, names: &[&str]) -> String {
        let of = |name: &&str| match self.claims.named(name) {
            Some(value) => format!("its {name} is {value}"),
            None => format!("it has no {name}"),
        };
        names.iter().map(of).collect::<Vec<_>>().join(", ")
    }

    /// The names of the keys that there are.
    fn kids(&self) -> String {
        let keys = match &self.issuer.keys {
            KeySource::Inline(keys) => Some(keys),
            KeySource::Remote(_) => match self.env.keys.lookup(self.item.issuer) {
                KeyState::Ready(keys) => Some(keys),
                KeyState::Pending | KeyState::Unavailable => None,
            },
        };
        let keys = keys.into_iter().flat_map(|keys| keys.keys());
        let kids: Vec<_> = keys.map(|key| shown(key.kid())).collect();
        kids.join(", ")
    }
}

fn shown(text: Option<&str>) -> String {
    text.map_or("none".to_owned(), |text| format!("{text:?}"))
}
