//! Which route a request takes, and what becomes of requests that no route takes.

use std::collections::BTreeSet;

use super::Exchange;
use crate::head::RequestHead;
use crate::policy::{Options, Policy, Unmatched};
use crate::reply::{Code, Refusal};
use crate::route::path::Path;
use crate::route::{Miss, Taken};

impl Exchange {
    /// The route that a request takes; `None` where it passes without one.
    pub(super) fn find_route<'r, 'p>(
        &mut self,
        policy: &'r Policy,
        head: &RequestHead,
        method: &str,
        path: &Path<'p>,
    ) -> Result<Option<Taken<'r, 'p>>, Refusal> {
        let miss = match policy.router.find(head.authority(), method, path) {
            Ok(taken) => return Ok(Some(taken)),
            Err(miss) => miss,
        };
        let forwarded = method == "OPTIONS" && policy.options == Options::Forward;
        match miss {
            // What has two meanings passes nowhere.
            Miss::EncodedSlash => Err(path_invalid("The path holds an encoded slash.")),
            Miss::PathParameter => Err(path_invalid(
                "The path is another one without what follows a semicolon.",
            )),
            Miss::Method(methods) if forwarded => {
                self.forward_options(policy, head, &methods, path);
                Ok(None)
            }
            _ if policy.unmatched == Unmatched::Allow => {
                let note = || "no route; `unmatched: allow` lets it pass".into();
                self.trace.note("route", note);
                Ok(None)
            }
            Miss::Method(methods) => Err(method_not_allowed(methods, policy.options)),
            Miss::NotFound => {
                let detail = "No route has this host and path.";
                Err(Refusal::new(Code::RouteNotFound, detail))
            }
        }
    }

    /// A preflight request goes where the request goes that it asks about.
    fn forward_options(
        &mut self,
        policy: &Policy,
        head: &RequestHead,
        methods: &BTreeSet<String>,
        path: &Path<'_>,
    ) {
        self.trace.note("route", || {
            "no route; `routing.options: forward` lets it pass".into()
        });
        let asked = head.headers.single("access-control-request-method");
        let asked = asked
            .ok()
            .flatten()
            .and_then(|m| std::str::from_utf8(m).ok());
        let method = asked.or(methods.first().map(String::as_str));
        let taken = policy
            .router
            .find(head.authority(), method.unwrap_or_default(), path);
        self.route = taken.ok().map(|taken| taken.route);
    }
}

fn path_invalid(detail: &'static str) -> Refusal {
    Refusal::new(Code::PathInvalid, detail)
}

fn method_not_allowed(mut methods: BTreeSet<String>, options: Options) -> Refusal {
    if options == Options::Forward {
        methods.insert("OPTIONS".into());
    }
    let allow = methods.into_iter().collect::<Vec<_>>().join(", ");
    let mut refusal = Refusal::new(
        Code::MethodNotAllowed,
        format!("This path answers to {allow}."),
    );
    // RFC 9110 §15.5.6: a 405 must carry Allow.
    refusal.headers.push(("allow".into(), allow));
    refusal
}
