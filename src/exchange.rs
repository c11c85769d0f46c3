//! One request and its response: data in, decisions out.
//!
//! head → route → token → body → upstream; response → hints. Nothing here calls the host; the
//! driver carries out what is decided, and `forecourt explain` prints the trace of it.

use std::rc::Rc;

use crate::head::{Edit, Headers, RequestHead, ResponseHead};
use crate::hints;
use crate::policy::{BodyChecks, Mode, Policy, Route, Unmatched};
use crate::reply::{Code, Refusal, Reply};
use crate::route::{Miss, path};
use crate::schema::BodyPlan;
use crate::time::UnixTime;
use crate::token::{Env, Granted, Outcome};
use crate::trace::Trace;

/// What the driver does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Apply the edits and let the message go on.
    Forward(Vec<Edit>),
    /// Apply the edits; keep the body until it is whole, then hand it to [`Exchange::body`]. The
    /// headers wait too, unless `headers_first`.
    AwaitBody {
        /// Changes to the request's headers.
        edits: Vec<Edit>,
        /// The headers go to the service before the body has been checked.
        headers_first: bool,
    },
    /// Answer in the service's place.
    Reply(Reply),
}

/// One request and its response.
#[derive(Debug)]
pub struct Exchange {
    policy: Rc<Policy>,
    head: RequestHead,
    route: Option<usize>,
    state: State,
    asked: hints::Asked,
    granted: Option<Granted>,
    refused: Option<Code>,
    monitored: Vec<Code>,
    trace: Trace,
}

#[derive(Debug)]
enum State {
    /// Nothing was asked yet.
    Fresh,
    /// The body is being gathered.
    Body(BodyPlan),
    /// The request went on; its response is next.
    Forwarded,
    /// We answered ourselves; nothing more is decided.
    Replied,
}

impl Exchange {
    /// Begins an exchange under a policy.
    pub fn new(policy: Rc<Policy>, trace: Trace) -> Self {
        Self {
            policy,
            head: RequestHead::default(),
            route: None,
            state: State::Fresh,
            asked: hints::Asked::default(),
            granted: None,
            refused: None,
            monitored: Vec::new(),
            trace,
        }
    }

    /// Decides on a request's head; `ends` when no body follows.
    pub fn request(&mut self, head: RequestHead, ends: bool, env: &Env<'_>) -> Step {
        self.head = head;
        let policy = Rc::clone(&self.policy);
        match self.head_decided(&policy, ends, env) {
            Ok(step) => step,
            Err(refusal) => self.refuse(&refusal),
        }
    }

    fn head_decided(
        &mut self,
        policy: &Policy,
        ends: bool,
        env: &Env<'_>,
    ) -> Result<Step, Refusal> {
        let mut edits = self.scrub(policy);
        let Some(index) = self.find_route(policy)? else {
            self.state = State::Forwarded;
            return Ok(Step::Forward(edits));
        };
        let Some(route) = policy.routes.get(index) else {
            return Err(internal());
        };
        self.route = Some(index);
        self.check_access(policy, route, env, &mut edits)?;
        self.remember_for_hints();
        match self.plan_body(route, ends)? {
            BodyPlan::NoBody => {
                self.state = State::Forwarded;
                Ok(Step::Forward(edits))
            }
            plan => {
                self.state = State::Body(plan);
                Ok(Step::AwaitBody {
                    edits,
                    headers_first: policy.body_checks == BodyChecks::Stream,
                })
            }
        }
    }

    /// Removes the headers that some route sets, however the client spelled them: frameworks that
    /// follow CGI read `x_user_id` as `x-user-id`.
    fn scrub(&mut self, policy: &Policy) -> Vec<Edit> {
        let mut edits: Vec<Edit> = Vec::new();
        for (name, _) in self.head.headers.iter() {
            let same = |held: &String| {
                held.len() == name.len()
                    && held
                        .bytes()
                        .zip(name)
                        .all(|(a, b)| a == *b || a == b'-' && *b == b'_')
            };
            if policy.identity_headers.iter().any(same)
                && let Ok(name) = std::str::from_utf8(name)
            {
                let edit = Edit::Remove(name.to_owned());
                if !edits.contains(&edit) {
                    self.trace.note("head", || {
                        format!("`{name}` came from the client and is removed: this policy sets it")
                    });
                    edits.push(edit);
                }
            }
        }
        self.head.headers.apply(&edits);
        edits
    }

    /// The route's index, or `None` where the policy lets unmatched requests pass.
    fn find_route(&mut self, policy: &Policy) -> Result<Option<usize>, Refusal> {
        let method = self.head.method();
        let method = std::str::from_utf8(method).unwrap_or_default();
        if method.is_empty() || self.head.target().is_empty() {
            return Err(Refusal::new(
                Code::RequestMalformed,
                "The request has no single method and path.",
            ));
        }
        let path = path::parse(self.head.target())
            .map_err(|error| Refusal::new(Code::PathInvalid, error.detail()))?;
        let miss = match policy.router.find(self.head.authority(), method, &path) {
            Ok(taken) => {
                self.trace.note("route", || {
                    let name = policy
                        .routes
                        .get(taken.route)
                        .map_or("", |route| &route.name);
                    format!(
                        "`{name}` (routes[{}]) takes {method} {}",
                        taken.route, path.raw
                    )
                });
                return Ok(Some(taken.route));
            }
            Err(miss) => miss,
        };
        if policy.unmatched == Unmatched::Allow {
            self.trace.note("route", || {
                "no route; `unmatched: allow` lets it pass".into()
            });
            return Ok(None);
        }
        Err(unmatched(miss))
    }

    fn check_access(
        &mut self,
        policy: &Policy,
        route: &Route,
        env: &Env<'_>,
        edits: &mut Vec<Edit>,
    ) -> Result<(), Refusal> {
        match route
            .access
            .check(&policy.issuers, &self.head, env, &mut self.trace)
        {
            Outcome::Anonymous => Ok(()),
            Outcome::Granted(granted) => {
                edits.extend(granted.edits.iter().cloned());
                self.granted = Some(granted);
                Ok(())
            }
            Outcome::Refused(refusal) => self.weigh(route, refusal),
            Outcome::AwaitKeys(_) => self.weigh(
                route,
                Refusal::new(
                    Code::KeysUnavailable,
                    "The issuer's keys are not available yet.",
                ),
            ),
        }
    }

    fn remember_for_hints(&mut self) {
        self.asked.verified = self.granted.is_some();
        self.asked.credentials = self.head.headers.has("authorization");
        self.asked.method = self.head.method().to_vec();
    }

    fn plan_body(&mut self, route: &Route, ends: bool) -> Result<BodyPlan, Refusal> {
        let Some(rule) = &route.body else {
            return Ok(BodyPlan::NoBody);
        };
        match rule.check_head(&self.head, ends, &mut self.trace) {
            Ok(plan) => Ok(plan),
            Err(refusal) => self.weigh(route, refusal).map(|()| BodyPlan::NoBody),
        }
    }

    /// How many bytes of body may be gathered; `None` when no body is awaited.
    pub fn body_limit(&self) -> Option<u64> {
        match &self.state {
            State::Body(_) => self.route()?.body.as_ref().map(|rule| rule.max_bytes()),
            _ => None,
        }
    }

    /// Decides on a body that is still growing: a reply once it is too large.
    pub fn body_so_far(&mut self, bytes: u64) -> Option<Step> {
        let limit = self.body_limit()?;
        if bytes <= limit {
            return None;
        }
        let refusal = Refusal::new(
            Code::BodyTooLarge,
            format!("The body is larger than {limit} bytes."),
        );
        Some(self.weigh_body(refusal))
    }

    /// Decides on the whole body.
    pub fn body(&mut self, body: &[u8]) -> Step {
        if let Some(step) = self.body_so_far(body.len() as u64) {
            return step;
        }
        let policy = Rc::clone(&self.policy);
        let rule = self
            .route
            .and_then(|index| policy.routes.get(index))
            .and_then(|route| route.body.as_ref());
        let (State::Body(plan), Some(rule)) = (&self.state, rule) else {
            return self.refuse(&internal());
        };
        match rule.check(plan, body, &mut self.trace) {
            Ok(()) => {
                self.state = State::Forwarded;
                Step::Forward(Vec::new())
            }
            Err(refusal) => self.weigh_body(refusal),
        }
    }

    fn weigh_body(&mut self, refusal: Refusal) -> Step {
        let policy = Rc::clone(&self.policy);
        let Some(route) = self.route.and_then(|index| policy.routes.get(index)) else {
            return self.refuse(&internal());
        };
        match self.weigh(route, refusal) {
            Ok(()) => {
                self.state = State::Forwarded;
                Step::Forward(Vec::new())
            }
            Err(refusal) => self.refuse(&refusal),
        }
    }

    /// In monitor mode a refusal is noted and the request goes on.
    fn weigh(&mut self, route: &Route, refusal: Refusal) -> Result<(), Refusal> {
        if route.mode == Mode::Enforce {
            return Err(refusal);
        }
        self.monitored.push(refusal.code);
        self.trace.note("mode", || {
            format!(
                "monitor: would have refused with `{}`, lets it pass",
                refusal.code.as_str()
            )
        });
        Ok(())
    }

    /// Ends the exchange with a refusal; also the driver's answer to a host that failed.
    pub fn refuse(&mut self, refusal: &Refusal) -> Step {
        self.state = State::Replied;
        self.refused = Some(refusal.code);
        self.trace.note("reply", || {
            format!(
                "{} `{}`: {}",
                refusal.code.status(),
                refusal.code.as_str(),
                refusal.detail
            )
        });
        Step::Reply(refusal.reply(&self.head))
    }

    /// Decides on the head of the service's answer. Our own replies are left as they are.
    pub fn response(&mut self, head: &ResponseHead, now: UnixTime) -> Vec<Edit> {
        if !self.is_forwarded() {
            return Vec::new();
        }
        let policy = Rc::clone(&self.policy);
        let untouched = hints::Rule::default();
        let route = self.route.and_then(|index| policy.routes.get(index));
        let rule = route.map_or(&untouched, |route| &route.hints);
        rule.decide(&self.asked, head, now, &mut self.trace)
    }

    /// Whether the request went to the service.
    pub fn is_forwarded(&self) -> bool {
        matches!(self.state, State::Forwarded)
    }

    /// The reason of the refusal that was carried out.
    pub fn refused(&self) -> Option<Code> {
        self.refused
    }

    /// The reasons of refusals that monitor mode let pass.
    pub fn monitored(&self) -> &[Code] {
        &self.monitored
    }

    /// The route taken.
    pub fn route(&self) -> Option<&Route> {
        self.policy.routes.get(self.route?)
    }

    /// Who was verified.
    pub fn granted(&self) -> Option<&Granted> {
        self.granted.as_ref()
    }

    /// The request's headers as they came, less those that were removed.
    pub fn headers(&self) -> &Headers {
        &self.head.headers
    }

    /// What was recorded.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }
}

/// The refusal of a request whose checks could not be carried out.
pub fn internal() -> Refusal {
    Refusal::new(Code::Internal, "The request could not be checked.")
}

fn unmatched(miss: Miss) -> Refusal {
    match miss {
        Miss::NotFound => Refusal::new(Code::RouteNotFound, "No route has this host and path."),
        Miss::Method(methods) => {
            let allow = methods.into_iter().collect::<Vec<_>>().join(", ");
            let mut refusal = Refusal::new(
                Code::MethodNotAllowed,
                format!("This path answers to {allow}."),
            );
            // RFC 9110 §15.5.6: a 405 must carry Allow.
            refusal.headers.push(("allow".into(), allow));
            refusal
        }
    }
}
