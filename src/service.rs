//! The services behind the proxy: which one a request goes to, and how the proxy shows who is calling.

use crate::head::Edit;
use crate::token::identity::IdentityToken;
use crate::token::remote::Url;

/// The field by which Cloud Run takes a caller's identity before it looks at `Authorization`. It is
/// removed from every client's request.
pub const SERVERLESS_AUTHORIZATION: &str = "x-serverless-authorization";
/// The field that tells Envoy's routes, where there are several services, which one a request is for.
/// It is removed from every client's request.
pub const SERVICE: &str = "x-forecourt-service";

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The policy's name for it.
    pub name: String,
    /// The proxy's cluster that reaches it.
    pub cluster: String,
    /// Where it is; `None` where only the cluster knows.
    pub url: Option<Url>,
    /// How it is shown who is calling; `None` where anybody may call it.
    pub caller: Option<Caller>,
}

/// How a service is shown who is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The index of the token among the policy's identities.
    pub identity: usize,
    /// The field that carries it.
    pub header: CallerHeader,
}

/// The field that carries a caller's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerHeader {
    /// [`SERVERLESS_AUTHORIZATION`]; the request's own `Authorization` is left alone.
    Serverless,
    /// `Authorization`, in the place of the request's own.
    Authorization {
        /// Where the request's own goes.
        original: Option<String>,
    },
}

impl CallerHeader {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Serverless => SERVERLESS_AUTHORIZATION,
            Self::Authorization { .. } => "authorization",
        }
    }
}

impl Caller {
    /// The field that the request's own `Authorization` is moved to.
    pub fn original(&self) -> Option<&str> {
        match &self.header {
            CallerHeader::Authorization { original } => original.as_deref(),
            CallerHeader::Serverless => None,
        }
    }

    /// Puts the token into a request with this `Authorization` of its own.
    pub fn show(&self, token: &IdentityToken, own: Vec<Vec<u8>>) -> Vec<Edit> {
        let mut edits = Vec::new();
        if let Some(original) = self.original() {
            let moved = own.into_iter();
            edits.extend(moved.map(|value| Edit::Add(original.to_owned(), value)));
        }
        let value = format!("Bearer {}", token.as_str());
        edits.push(Edit::Set(self.header.name().to_owned(), value.into_bytes()));
        edits
    }
}
