//! Which service a request goes to, and how that is shown who is calling.

use super::Exchange;
use crate::head::{Edit, Headers};
use crate::policy::{Policy, Role};
use crate::reply::{Code, Refusal};
use crate::service::{Caller, CallerHeader, SERVICE, Service};
use crate::token::Env;
use crate::token::identity::IdentityState;

impl Exchange {
    pub(super) fn service<'a>(&self, policy: &'a Policy) -> Option<&'a Service> {
        let index = match self.route {
            Some(route) => policy.routes.get(route)?.service,
            None => policy.default_service,
        };
        policy.services.get(index?)
    }

    /// Names the service to Envoy's routes, where there are several, and shows it who is calling. The
    /// token to wait for, if that is still to come. Monitor mode has no say: a private service answers
    /// nobody whom it does not know.
    pub(super) fn address(
        &mut self,
        policy: &Policy,
        service: &Service,
        edits: &mut Vec<Edit>,
        env: &Env<'_>,
        last: bool,
    ) -> Result<Option<usize>, Refusal> {
        // With a cache, the instance behind it shows who is calling.
        if let (Some(caller), false) = (&service.caller, policy.role == Role::Request) {
            match env.identities.token(caller.identity) {
                IdentityState::Ready(token) => {
                    let own = self.own_authorization(edits);
                    self.tell_identity(policy, service, caller, !own.is_empty());
                    edits.extend(caller.show(token, own));
                }
                IdentityState::Pending if !last => return Ok(Some(caller.identity)),
                _ => return Err(identity_unavailable()),
            }
        }
        // Behind the cache Envoy has chosen its route.
        if policy.services.len() > 1 && policy.role != Role::Response {
            self.trace
                .note("service", || format!("goes to `{}`", service.name));
            let name = service.name.clone().into_bytes();
            edits.push(Edit::Set(SERVICE.to_owned(), name));
        }
        Ok(None)
    }

    /// What of the request's own `Authorization` would go on.
    fn own_authorization(&self, edits: &[Edit]) -> Vec<Vec<u8>> {
        const NAME: &str = "authorization";
        let mut own = Headers::default();
        for value in self.head.headers.all(NAME) {
            own.apply(&[Edit::Add(NAME.to_owned(), value.to_vec())]);
        }
        own.apply(edits);
        own.all(NAME).map(<[u8]>::to_vec).collect()
    }

    fn tell_identity(
        &mut self,
        policy: &Policy,
        service: &Service,
        caller: &Caller,
        has_own: bool,
    ) {
        let identity = policy.identities.get(caller.identity);
        let audience = identity.map_or("", |identity| &identity.audience);
        self.trace.note("identity", || {
            let (name, header) = (&service.name, caller.header.name());
            let own = match (&caller.header, has_own) {
                (_, false) => "; it has no `authorization` of its own".to_owned(),
                (CallerHeader::Serverless, true) => {
                    "; its own `authorization` stays beside it".to_owned()
                }
                (CallerHeader::Authorization { original: None }, true) => {
                    "; its own `authorization` is dropped for it".to_owned()
                }
                (CallerHeader::Authorization { original: Some(to) }, true) => {
                    format!("; its own `authorization` moves to `{to}`")
                }
            };
            format!("`{name}` is shown an identity token for {audience} in `{header}`{own}")
        });
    }
}

/// The refusal of a request whose service could not be shown who is calling.
fn identity_unavailable() -> Refusal {
    /// Seconds after which a client may try again.
    const RETRY_AFTER: &str = "5";
    let detail = "The service cannot be called at the moment.";
    let mut refusal = Refusal::new(Code::IdentityUnavailable, detail);
    let retry = ("retry-after".to_owned(), RETRY_AFTER.to_owned());
    refusal.headers.push(retry);
    refusal
}
